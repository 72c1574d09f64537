"""The command `area`, as a person or a script uses it."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
from click.testing import CliRunner, Result
from shapely.geometry import box

from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.area import Stratum, estimated, shares_of
from tests.conftest import write_stack

# Hectares, pixels, and answers: change, no change, cannot be told, none.
_MAP = {"change": (100.0, 10_000, (60, 20, 0, 0)), "no change": (900.0, 90_000, (2, 198, 0, 0))}


def table(strata: dict[str, tuple[float, int, tuple[int, int, int, int]]] = _MAP) -> geopandas.GeoDataFrame:
    """A sample of which a person has said what is true."""
    rows = [
        (answer, name, pixels, hectares, sum(answers))
        for name, (hectares, pixels, answers) in strata.items()
        for answer, count in zip((1, 0, 255, None), answers, strict=True)
        for _ in range(count)
    ]
    columns = ("reference", "stratum", "stratum_px", "stratum_ha", "drawn")
    found = geopandas.GeoDataFrame(rows, columns=columns, geometry=[box(0, 0, 1, 1)] * len(rows), crs="EPSG:32631")
    places = np.arange(len(rows))
    more = {"number": places + 1, "note": None, "lon": places / 1000, "lat": 45.0, "map": "m.tif", "seed": 0}
    return found.assign(**more, map_ha=sum(hectares for hectares, _, _ in strata.values())).astype({"reference": "Int32"})


def write(path: Path, strata: dict[str, tuple[float, int, tuple[int, int, int, int]]] = _MAP) -> Path:
    """It as a file."""
    table(strata).to_file(path, layer="sample")
    return path


def area(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["area", *map(str, arguments)])


def result(*arguments: object) -> dict:
    done = area(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(*arguments: object) -> str:
    done = area(*arguments)
    assert done.exit_code == 1, done.output
    return done.stderr.strip().splitlines()[-1]


def test_each_part_of_the_map_counts_by_its_area(tmp_path: Path) -> None:
    said = result(write(tmp_path / "s.gpkg"))
    # Three quarters of 100 ha, and a hundredth of 900 ha.
    assert said["area_ha"]["value"] == pytest.approx(75 + 9)
    assert said["mapped_ha"] == 100
    assert said["observed_ha"] == 1000
    scores = {name: one["value"] for name, one in said["scores"].items()}
    assert scores["precision"] == 0.75
    assert scores["recall"] == pytest.approx(75 / 84, abs=1e-5)
    assert scores["f1"] == pytest.approx(2 * 75 / 184, abs=1e-5)
    assert scores["accuracy"] == pytest.approx((75 + 891) / 1000)
    assert said["warnings"] == []


def test_intervals_are_those_of_textbooks_where_answers_are_many(tmp_path: Path) -> None:
    said = result(
        write(
            tmp_path / "s.gpkg", {"change": (100.0, 10**8, (6000, 2000, 0, 0)), "no change": (900.0, 10**9, (200, 19800, 0, 0))}
        )
    )
    # Olofsson et al. 2014, equations 10 and 11.
    error = 1.96 * np.sqrt(100**2 * 0.75 * 0.25 / 7999 + 900**2 * 0.01 * 0.99 / 19999)
    assert said["area_ha"]["high"] - said["area_ha"]["low"] == pytest.approx(2 * error, rel=0.02)
    assert (said["area_ha"]["high"] + said["area_ha"]["low"]) / 2 == pytest.approx(84, abs=0.05 * error)
    assert said["scores"]["precision"]["low"] == pytest.approx(0.75 - 1.96 * np.sqrt(0.75 * 0.25 / 7999), abs=1e-3)


def test_where_none_of_a_part_has_changed_some_may_have(tmp_path: Path) -> None:
    said = result(
        write(tmp_path / "s.gpkg", {"change": (100.0, 10_000, (80, 0, 0, 0)), "no change": (900.0, 90_000, (0, 200, 0, 0))})
    )
    assert said["area_ha"]["value"] == 100
    # Of 200 pixels without any change the 97.5 % quantile after Jeffreys's prior is 1.24 %.
    assert said["area_ha"]["high"] == pytest.approx(100 + 0.0124 * 900, abs=1)
    assert said["area_ha"]["low"] <= 100
    assert said["scores"]["recall"]["low"] < 0.95
    assert said["scores"]["recall"]["high"] == 1


def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2change_plugin.engine.area._DRAWS", 4000)
    random = np.random.default_rng(0)
    hectares, shares = np.array([50.0, 950.0]), (0.6, 0.004)
    held = 0
    for _ in range(300):
        changed = [int(random.binomial(count, share)) for count, share in zip((75, 225), shares, strict=True)]
        strata = [
            Stratum("change", 10**6, 50.0, 75, changed[0], 75 - changed[0], 0),
            Stratum("no change", 10**7, 950.0, 225, changed[1], 225 - changed[1], 0),
        ]
        found = estimated((shares_of(strata) * hectares).sum(1))
        held += found.low <= hectares @ shares <= found.high
    # Of 300, 285 with a standard deviation of 3.8; by the normal distribution it would be 261.
    assert 270 <= held <= 297


def test_a_part_that_was_looked_at_whole_is_certain(tmp_path: Path) -> None:
    said = result(write(tmp_path / "s.gpkg", {"change": (2.0, 20, (15, 5, 0, 0)), "no change": (8.0, 80, (4, 76, 0, 0))}))
    for one in (said["area_ha"], *said["scores"].values()):
        assert one["low"] == one["value"] == one["high"]
    assert said["area_ha"]["value"] == pytest.approx(1.9)


def test_what_has_no_answer_and_what_cannot_be_told_is_left_out_and_said(tmp_path: Path) -> None:
    answers = {"change": (100.0, 10_000, (60, 20, 3, 0)), "no change": (900.0, 90_000, (2, 198, 0, 50))}
    said = result(write(tmp_path / "s.gpkg", answers))
    assert said["area_ha"] == result(write(tmp_path / "all.gpkg"))["area_ha"]
    assert said["told"] == 280
    assert said["drawn"] == 333
    assert [text.split(" pixels")[0] for text in said["warnings"]] == ["50", "3"]


def test_a_part_of_which_nothing_can_be_told_is_refused_in_its_own_words(tmp_path: Path) -> None:
    answers = {"change": (0.03, 3, (0, 0, 3, 0)), "no change": (900.0, 90_000, (2, 198, 0, 0))}
    assert "In “change” all 3 pixels with an answer cannot be told" in refusal(write(tmp_path / "s.gpkg", answers))


def test_the_sample_of_a_small_map_is_whole(tmp_path: Path) -> None:
    """Hectares of its parts are rounded, each by itself."""
    for rows in range(58, 66):
        values = np.zeros((1, rows, 67), np.uint8)
        values[:, 3:5, 7:23] = 1
        mask = write_stack(tmp_path / f"{rows}.tif", values, None, origin=(512345.0, 4987654.0))
        done = CliRunner().invoke(main, ["sample", str(mask), str(tmp_path / f"{rows}.gpkg")])
        assert done.exit_code == 0
        geopandas.read_file(tmp_path / f"{rows}.gpkg", layer="sample").assign(reference=0).to_file(tmp_path / "s.gpkg")
        assert result(tmp_path / "s.gpkg")["area_ha"]["value"] == 0


def test_of_a_map_and_ground_without_change_scores_are_not_defined(tmp_path: Path) -> None:
    said = result(write(tmp_path / "s.gpkg", {"no change": (900.0, 90_000_000, (0, 200, 0, 0))}))
    assert said["area_ha"]["value"] == said["area_ha"]["low"] == 0
    assert said["area_ha"]["high"] > 5
    assert said["mapped_ha"] == 0
    assert said["scores"]["precision"] == {"value": None, "low": None, "high": None}
    assert "precision not defined" in area(tmp_path / "s.gpkg").output


@pytest.mark.parametrize(
    ("strata", "sentence"),
    [
        (
            {"change": (1.0, 100, (5, 5, 0, 0)), "no change": (9.0, 900, (0, 0, 0, 10))},
            "Of the 10 pixels in “no change” none has an answer",
        ),
        ({"change": (1.0, 100, (5, 5, 0, 0)), "forest": (9.0, 900, (1, 1, 0, 0))}, "of a stratum that is not known, 'forest'"),
        ({"no change": (9.0, 900, (0, 0, 0, 0))}, "is empty"),
    ],
)
def test_what_no_area_comes_of_is_refused(tmp_path: Path, strata: dict, sentence: str) -> None:
    assert sentence in refusal(write(tmp_path / "s.gpkg", strata))


def test_what_is_left_of_a_part_is_what_has_an_answer_and_the_rest_is_said(tmp_path: Path) -> None:
    table().drop(index=range(0, 250, 10)).to_file(tmp_path / "s.gpkg")
    said = result(tmp_path / "s.gpkg")
    assert (said["drawn"], said["told"]) == (280, 255)
    assert said["warnings"][0].startswith("25 pixels of the sample have no answer, 25 of which come before others that have one.")


def test_what_comes_last_may_have_no_answer(tmp_path: Path) -> None:
    whole = table().sample(frac=1, random_state=0).assign(number=range(1, 281))
    for count, said in (
        (0, []),
        (30, ["30 pixels of the sample have no answer. The others count as if they were all that was drawn."]),
    ):
        whole.loc[whole["number"] > 280 - count, "reference"] = None
        whole.to_file(tmp_path / f"{count}.gpkg")
        assert result(tmp_path / f"{count}.gpkg")["warnings"] == said


def test_a_sample_without_all_of_a_part_is_refused(tmp_path: Path) -> None:
    whole = table()
    whole[whole["stratum"] == "change"].to_file(tmp_path / "s.gpkg")
    assert "lacks all pixels of a part of the map (only change is there)" in refusal(tmp_path / "s.gpkg")


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("reference", 2, "the reference of a pixel is 2."),
        ("stratum_ha", 7.0, "holds pixels of two samples in “change”"),
        ("drawn", 100, "holds pixels of two samples in “change”"),
        ("map_ha", 7.0, "holds pixels of two samples."),
        ("map", "n.tif", "holds pixels of two samples."),
        ("stratum", None, "a stratum that is not known"),
        ("stratum_px", None, "a pixel lacks its number, its place, or one of"),
        ("stratum_ha", -1.0, "a pixel lacks its number, its place, or one of"),
        ("lon", 0.05, "holds the pixel at 0.050000, 45.000000 twice"),
    ],
)
def test_what_was_changed_by_hand_is_refused(tmp_path: Path, column: str, value: object, sentence: str) -> None:
    changed = table()
    changed.loc[7, column] = value
    changed.to_file(tmp_path / "s.gpkg")
    assert sentence in refusal(tmp_path / "s.gpkg")


def test_more_pixels_than_were_drawn_are_refused(tmp_path: Path) -> None:
    table().assign(drawn=lambda one: one["drawn"] - 1).to_file(tmp_path / "s.gpkg")
    assert "holds more pixels in “change” than were drawn" in refusal(tmp_path / "s.gpkg")


@pytest.mark.parametrize("name", ["s.shp", "s.geojson", "s.csv", "s.fgb"])
def test_a_sample_that_was_saved_in_another_format_says_the_same(tmp_path: Path, name: str) -> None:
    saved = table({"change": (100.0, 10_000, (60, 20, 1, 1)), "no change": (900.0, 90_000, (2, 198, 0, 3))})
    if name == "s.csv":
        # Of which all is text.
        saved.drop(columns="geometry").to_csv(tmp_path / name, index=False)
    else:
        saved.to_crs(4326).to_file(tmp_path / name)
    saved.to_file(tmp_path / "s.gpkg")
    said, expected = result(tmp_path / name), result(tmp_path / "s.gpkg")
    assert {key: said[key] for key in said if key != "sample"} == {key: expected[key] for key in expected if key != "sample"}


def test_answers_in_words_are_refused(tmp_path: Path) -> None:
    table().assign(reference="yes").to_file(tmp_path / "s.gpkg")
    assert "the reference of a pixel is yes. Let it be 1 (change)" in refusal(tmp_path / "s.gpkg")


def test_a_layer_that_is_no_sample_is_refused(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"reference": [1]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32631").to_file(tmp_path / "other.gpkg")
    assert "has no field 'number'" in refusal(tmp_path / "other.gpkg")
    (tmp_path / "text.gpkg").write_text("no database")
    assert "cannot be read as polygons" in refusal(tmp_path / "text.gpkg")
    assert "There is no file" in refusal(tmp_path / "none.gpkg")


def test_the_report_says_area_interval_and_what_was_looked_at(tmp_path: Path) -> None:
    said = result(write(tmp_path / "s.gpkg"), "--report", tmp_path / "area.html")
    page = (tmp_path / "area.html").read_text()
    assert said["report"] == str(tmp_path / "area.html")
    assert "84.0 ha" in page
    assert f"{said['area_ha']['low']:,.1f} ha" in page
    assert "s.gpkg, drawn of m.tif: 280 pixels with an answer" in page
    assert '<td class="number">80</td><td class="number">60</td><td class="number">20</td>' in page
    assert "75.0 %" in page


def test_a_report_in_place_of_the_sample_is_refused_and_the_sample_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "s.gpkg")
    whole = path.read_bytes()
    assert area(path, "--report", path).exit_code == 1
    assert area(path, "--report", tmp_path / "area.txt").exit_code == 1
    assert path.read_bytes() == whole
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.gpkg"]
