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

# Hectares, pixels, and answers: change, no change, cannot be told, none.
_MAP = {"change": (100.0, 10_000, (60, 20, 0, 0)), "no change": (900.0, 90_000, (2, 198, 0, 0))}


def write(path: Path, strata: dict[str, tuple[float, int, tuple[int, int, int, int]]] = _MAP) -> Path:
    """A sample of which a person has said what is true."""
    rows = [
        {"reference": answer, "stratum": name, "stratum_pixels": pixels, "stratum_ha": hectares}
        for name, (hectares, pixels, answers) in strata.items()
        for answer, count in zip((1, 0, 255, None), answers, strict=True)
        for _ in range(count)
    ]
    names = ("reference", "stratum", "stratum_pixels", "stratum_ha")
    table = geopandas.GeoDataFrame(rows, columns=names, geometry=[box(0, 0, 1, 1)] * len(rows), crs="EPSG:32631")
    table.astype({"reference": "Int32"}).to_file(path, layer="sample")
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
            {"change": (1.0, 100, (5, 5, 0, 0)), "no change": (9.0, 900, (0, 0, 2, 8))},
            "Of the 10 pixels in “no change” none has an answer",
        ),
        ({"change": (1.0, 100, (5, 5, 0, 0)), "forest": (9.0, 900, (1, 1, 0, 0))}, "an unknown stratum 'forest'"),
        ({"no change": (9.0, 900, (0, 0, 0, 0))}, "is empty"),
    ],
)
def test_what_no_area_comes_of_is_refused(tmp_path: Path, strata: dict, sentence: str) -> None:
    assert sentence in refusal(write(tmp_path / "s.gpkg", strata))


def test_samples_of_two_maps_are_refused(tmp_path: Path) -> None:
    one, other = (
        geopandas.read_file(write(tmp_path / f"{size}.gpkg", {"change": (size, 100, (5, 5, 0, 0))})) for size in (1.0, 2.0)
    )
    geopandas.pd.concat([one, other]).to_file(tmp_path / "both.gpkg")
    assert "holds pixels of two maps in 'change'" in refusal(tmp_path / "both.gpkg")


def test_an_answer_that_is_none_is_refused(tmp_path: Path) -> None:
    table = geopandas.read_file(write(tmp_path / "s.gpkg"))
    table.loc[7, "reference"] = 2
    table.to_file(tmp_path / "two.gpkg")
    assert "the reference of a pixel is 2" in refusal(tmp_path / "two.gpkg")


def test_a_layer_that_is_no_sample_is_refused(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"reference": [1]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32631").to_file(tmp_path / "other.gpkg")
    assert "has no field 'stratum'" in refusal(tmp_path / "other.gpkg")
    (tmp_path / "text.gpkg").write_text("no database")
    assert "cannot be read as polygons" in refusal(tmp_path / "text.gpkg")
    assert "There is no file" in refusal(tmp_path / "none.gpkg")


def test_the_report_says_area_interval_and_what_was_looked_at(tmp_path: Path) -> None:
    said = result(write(tmp_path / "s.gpkg"), "--report", tmp_path / "area.html")
    page = (tmp_path / "area.html").read_text()
    assert said["report"] == str(tmp_path / "area.html")
    assert "84.00 ha" in page
    assert f"{said['area_ha']['low']:,.2f} ha" in page
    assert '<td class="number">80</td><td class="number">60</td><td class="number">20</td>' in page
    assert "75.0 %" in page


def test_a_report_in_place_of_the_sample_is_refused_and_the_sample_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "s.gpkg")
    whole = path.read_bytes()
    assert area(path, "--report", path).exit_code == 1
    assert area(path, "--report", tmp_path / "area.txt").exit_code == 1
    assert path.read_bytes() == whole
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.gpkg"]
