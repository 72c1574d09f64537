import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest
import rasterio.shutil
from click.testing import CliRunner, Result
from rasterio.io import MemoryFile

from s2change_plugin.engine import pictures
from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.card import SHIPPED
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.scene import open_scene
from s2change_plugin.engine.validity import Quality
from tests.conftest import textured, write_stack
from tests.standin import write_standin


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "models"))
    write_standin(tmp_path / "models", "standin")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two dates that cover each other by three quarters, the second a little brighter, moved, and in part without data."""
    ground = textured(10, 380, 350, 1)
    before, later = ground[:, 5:305, 5:345], ground[:, 79:379, 6:346] + 500
    later[:, :, 300:] = 0
    before = write_stack(tmp_path / "<b>20210620.tif", before)
    return before, write_stack(tmp_path / "20230901.tif", later, origin=(500000, 5000000 - 750))


def check(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["check", "--model", "standin", *map(str, arguments)])


def test_every_topic_is_a_finding_with_a_sentence_and_what_is_not_well_says_what_to_do(pair: tuple[Path, Path]) -> None:
    done = check(*pair, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    topics = [finding["topic"] for finding in found["findings"]]
    expected = {
        "level",
        "model",
        "baseline",
        "platform",
        "dates",
        "units",
        "overlap",
        "usable",
        "clouds",
        "shift",
        "brightness",
        "season",
        "run",
    }
    assert set(topics) == expected
    assert len(topics) == len(expected)
    for finding in found["findings"]:
        assert re.fullmatch(r"[A-Z0-9].*\.", finding["text"]), finding
        assert finding["severity"] == "ok" or finding["advice"] or "--" in finding["text"], finding
    assert found["severity"] == "warning"


def test_what_the_spectral_test_finds_is_said_and_that_it_misses_some(tmp_path: Path) -> None:
    ground = textured(10, 300, 340, 1)
    later = ground.copy()
    # As wide and bright in all bands as a thick cloud: 12 % of the ground, and 15.7 % with the rim of 80 m that the test adds, but for its corners.
    later[:, 100:220, 100:202] += 9000
    before, after = write_stack(tmp_path / "a.tif", ground), write_stack(tmp_path / "b.tif", later)

    def said(*options: str) -> str:
        findings = json.loads(check(before, after, "--json", "--mask-buffer", "0", *options).stdout)["findings"]
        return next(finding["text"] for finding in findings if finding["topic"] == "clouds")

    found = re.search(r"It finds (\d+\.\d) % under clouds, and misses thin and small ones", said("--clouds", "spectral"))
    assert float(found[1]) == pytest.approx(15.5, abs=0.3)
    assert "It finds" not in said("--clouds", "none")


def test_the_numbers_are_those_of_the_pair(pair: tuple[Path, Path]) -> None:
    numbers = json.loads(check(*pair, "--json").stdout)["numbers"]
    assert numbers["overlap_before"] == numbers["overlap_after"] == pytest.approx(0.75, abs=1e-3)
    assert (numbers["days"], numbers["day_of_year_gap"]) == (803, 73)
    assert numbers["usable_share"] == pytest.approx(300 / 340, abs=0.005)
    assert numbers["brightness"] == pytest.approx(0.05, abs=0.005)
    assert numbers["severity"] == 1
    # The second date begins 74 rows further down and says 75, and one column further right and says none.
    assert (numbers["shift_rows"], numbers["shift_cols"]) == pytest.approx((1, -1), abs=0.1)
    assert numbers["shift_residual"] < 0.1


def test_without_json_each_finding_is_a_line(pair: tuple[Path, Path]) -> None:
    lines = check(*pair).stdout.splitlines()
    assert len(lines) == 13
    assert all(line.startswith(("ok ", "warning ")) for line in lines)


class Page(HTMLParser):
    """What a page shows: its text, and the pictures inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.pictures = "", []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list) -> None:
        assert tag != "b" or not attrs
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])


def test_the_report_holds_every_finding_and_a_picture_and_nothing_from_outside(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = check(*pair, "--json", "--report", tmp_path / "check.html")
    assert done.exit_code == 0, done.output
    html = (tmp_path / "check.html").read_text("utf-8")
    page = Page()
    page.feed(html)
    for finding in json.loads(done.stdout)["findings"]:
        assert finding["text"] in page.text
        assert finding["advice"] in page.text
    assert "<b>20210620.tif" in page.text, "a file's name is text, whatever it holds"
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", html)
    (picture,) = page.pictures
    with MemoryFile(b64decode(picture.partition("base64,")[2])) as file, file.open() as raster:
        assert raster.width > 2.5 * raster.height


def test_the_report_says_what_the_model_is_for_and_where_it_fails(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    entries = {"detects": "New <buildings>.", "known_failures": ("Seasons: four of ten fields.",), "simulated_levels": ("L2A",)}
    write_standin(tmp_path / "models", "mine", thresholds={"f1": 0.588, "recall": 0.2}, **entries)
    assert check(*pair, "--model", "mine", "--report", tmp_path / "check.html").exit_code == 0
    page = Page()
    page.feed((tmp_path / "check.html").read_text("utf-8"))
    goals = ("0.588 for the best balance (F1)", "0.200 for little missed (recall 0.8)")
    for said in ("New <buildings>.", "Seasons: four of ten fields.", "Level-1C; Level-2A simulated only", *goals):
        assert said in page.text
    assert "few false alarms" not in page.text


def test_what_cannot_be_opened_is_a_finding_and_the_rest_is_looked_at(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = check(pair[0], tmp_path / "none.tif", "--json", "--report", tmp_path / "check.html")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["severity"] == "stop"
    assert found["numbers"]["severity"] == 2
    assert "does not exist" in found["findings"][0]["text"]
    assert "cannot be compared as it is" in (tmp_path / "check.html").read_text("utf-8")
    far = write_stack(tmp_path / "far.tif", textured(10, 60, 60, 1), origin=(700000, 5000000))
    found = json.loads(check(pair[0], far, "--json").stdout)
    assert {finding["topic"] for finding in found["findings"]} >= {"level", "dates", "input"}
    assert found["severity"] == "stop"


def test_a_missing_band_stops_and_the_rest_is_still_looked_at(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    four = write_stack(tmp_path / "four.tif", textured(4, 300, 340, 1), ("B02", "B03", "B04", "B08"))
    findings = {finding["topic"]: finding for finding in json.loads(check(pair[0], four, "--json").stdout)["findings"]}
    assert findings["model"]["severity"] == "stop"
    assert "after has no B05" in findings["model"]["text"]
    assert {"shift", "units", "usable", "overlap"} <= set(findings)


def test_a_method_without_a_model_is_checked_without_one(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    four = write_stack(tmp_path / "four.tif", textured(4, 300, 340, 1), ("B02", "B03", "B04", "B08"))
    done = CliRunner().invoke(main, ["check", str(pair[0]), str(four), "--method", "cva", "--json"])
    found = {finding["topic"]: finding["severity"] for finding in json.loads(done.stdout)["findings"]}
    assert "model" not in found
    assert "stop" not in found.values()
    assert found["level"] == "warning"
    one = write_stack(tmp_path / "one.tif", textured(2, 300, 340, 1), ("B01", "B04"))
    done = CliRunner().invoke(main, ["check", str(pair[0]), str(one), "--method", "cva", "--json"])
    assert "At least two bands" in next(one["text"] for one in json.loads(done.stdout)["findings"] if one["severity"] == "stop")


def test_where_no_model_ships_the_pair_is_looked_at_without_one(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.card.shipped_models", lambda: tmp_path / "nowhere")
    found = json.loads(CliRunner().invoke(main, ["check", *map(str, pair), "--json"]).stdout)["findings"]
    (model,) = [finding for finding in found if finding["topic"] == "model"]
    assert model["severity"] == "stop"
    assert "No model that ships is here. Name another with --model" in model["text"]
    assert {"shift", "units", "usable", "overlap"} <= {finding["topic"] for finding in found}


@pytest.mark.parametrize("place", [0, 1])
def test_the_model_that_a_run_would_use_is_checked(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.card.shipped_models", lambda: tmp_path / "models")
    write_standin(tmp_path / "models", SHIPPED[place])
    found = json.loads(CliRunner().invoke(main, ["check", *map(str, pair), "--json"]).stdout)["findings"]
    values = {finding["topic"]: finding["values"] for finding in found}
    assert values["model"]["model"] == SHIPPED[place]
    assert values["run"]["memory_gb"] > 0


def test_a_broken_card_of_what_ships_stops_as_it_would_a_run(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.card.shipped_models", lambda: tmp_path / "models")
    (tmp_path / "models" / f"{SHIPPED[0]}.safetensors").touch()
    found = json.loads(CliRunner().invoke(main, ["check", *map(str, pair), "--json"]).stdout)["findings"]
    (model,) = [finding for finding in found if finding["topic"] == "model"]
    assert model["severity"] == "stop"
    assert "has no card" in model["text"]


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = check(*pair, "--report", tmp_path / "none" / "check.html")
    assert "Comparing dates" not in done.output, "it is said before anything is looked at"
    assert done.exit_code == 1
    assert "does not exist" in done.stderr.splitlines()[-1]


def test_a_model_that_is_not_there_is_a_finding(pair: tuple[Path, Path]) -> None:
    done = check(*pair, "--model", "nowhere", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["severity"]) == (0, "stop")
    (model,) = [finding for finding in found["findings"] if finding["topic"] == "model"]
    assert "no model 'nowhere'" in model["text"]
    assert found["numbers"]["usable_share"] is not None


def test_an_input_is_never_overwritten_by_the_report(pair: tuple[Path, Path]) -> None:
    before = pair[0].read_bytes()
    assert check(*pair, "--report", pair[0]).exit_code == 1
    assert pair[0].read_bytes() == before


def test_a_report_takes_the_place_of_no_band_and_has_a_name_for_a_page(tmp_path: Path) -> None:
    values = textured(2, 80, 80, 1)
    (tmp_path / "bands").mkdir()
    bands = [write_stack(tmp_path / "bands" / f"{name}.tif", values[[0]], None) for name in ("B02", "B03")]
    after = write_stack(tmp_path / "after.tif", values, ("B02", "B03"))
    page = write_stack(tmp_path / "page.html", values, ("B02", "B03"))
    rasterio.shutil.copy(str(page), str(tmp_path / "of.vrt"), driver="VRT")
    for before, report, said in (
        (tmp_path / "bands", bands[0], "is no name for a report: let it end in .html"),
        (tmp_path / "of.vrt", page, "is an input"),
    ):
        kept = report.read_bytes()
        done = check(before, after, "--report", report)
        assert (done.exit_code, report.read_bytes() == kept) == (1, True)
        assert said in done.stderr


def test_scenes_without_a_common_band_are_a_finding(tmp_path: Path) -> None:
    values = textured(2, 80, 80, 1)
    paths = [write_stack(tmp_path / f"{bands[0]}.tif", values, bands) for bands in (("B02", "B03"), ("B04", "B08"))]
    found = json.loads(check(*paths, "--json").stdout)
    assert found["severity"] == "stop"
    assert "must be on both dates" in found["findings"][-1]["text"]


def test_a_small_area_is_looked_at_where_it_is(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    import geopandas
    from shapely.geometry import box

    area = box(500400, 4998000, 500700, 4998300)
    geopandas.GeoSeries([area, box(700000, 4000000, 700100, 4000100)], crs="EPSG:32631").to_file(tmp_path / "area.gpkg")
    found = json.loads(check(*pair, "--json", "--area", tmp_path / "area.gpkg").stdout)
    assert found["numbers"]["usable_share"] == 1


def test_an_area_smaller_than_a_dot_of_the_picture_is_in_the_picture(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import geopandas
    from shapely.geometry import box

    monkeypatch.setattr(pictures, "_PICTURE_PIXELS", 10)
    geopandas.GeoSeries([box(501010, 4998010, 501050, 4998050)], crs="EPSG:32631").to_file(tmp_path / "area.gpkg")
    options = PairOptions(register=False, area=str(tmp_path / "area.gpkg"))
    with open_pair(*(open_scene(str(path)) for path in pair), TEN_BANDS, options) as opened:
        shown = pictures._shown_quality(opened, pictures._coarser(opened.grid))
    assert max(shown.shape) <= 10
    assert 1 <= (shown != Quality.OUTSIDE).sum() <= 4


def test_normalisation_is_told_where_it_is_asked_for(pair: tuple[Path, Path]) -> None:
    findings = {finding["topic"]: finding for finding in json.loads(check(*pair, "--json", "--normalise").stdout)["findings"]}
    assert "RMSE" in findings["normalisation"]["text"]
    assert findings["brightness"]["severity"] == "ok"
