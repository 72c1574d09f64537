"""The command `compare`, as a person or a script uses it."""

import csv
import json
import re
from base64 import b64decode
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner, Result
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.warp import reproject, transform_bounds
from shapely.geometry import box

from s2change_plugin.engine import compare as module
from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.grid import Grid, geodesic_area_m2
from s2change_plugin.engine.outputs import MASK, PROBABILITY, QUALITY, Layer
from s2change_plugin.engine.pictures import agreement_picture
from s2change_plugin.engine.scores import AGREEMENT_COLOURS
from tests.conftest import write_stack

LEFT, TOP = 500000, 5000000


@pytest.fixture
def found() -> np.ndarray:
    """What a map of 60 × 80 pixels says: a block of change, five columns not observed."""
    values = np.zeros((60, 80), np.uint8)
    values[10:30, 10:30] = 1
    values[:, 75:] = 255
    return values


@pytest.fixture
def truth() -> np.ndarray:
    """What is true of it: the block, moved by five columns, and change where the map saw nothing; one row is not labelled."""
    values = np.zeros((60, 80), np.uint8)
    values[10:30, 15:35] = 1
    values[40:50, 70:] = 1
    values[59] = 255
    return values


@pytest.fixture
def mask(tmp_path: Path, found: np.ndarray) -> Path:
    return write(tmp_path / "mask.tif", found)


def write(path: Path, values: np.ndarray, **profile: object) -> Path:
    return write_stack(path, values[None], None, **profile)


def draw(path: Path, *shapes: object, crs: str = "EPSG:32631") -> Path:
    geopandas.GeoDataFrame(geometry=list(shapes), crs="EPSG:32631").to_crs(crs).to_file(path)
    return path


def pixels(rows: slice, cols: slice) -> object:
    """The rectangle of some pixels."""
    return box(LEFT + 10 * cols.start, TOP - 10 * rows.stop, LEFT + 10 * cols.stop, TOP - 10 * rows.start)


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def result(*arguments: object) -> dict:
    done = compare(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def counts(*arguments: object) -> list[int]:
    """tp, fp, fn, tn, not observed, not labelled."""
    names = ("true_positive", "false_positive", "false_negative", "true_negative", "unobserved", "unlabelled")
    return [result(*arguments)["pixels"][name] for name in names]


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def refusal(*arguments: object) -> str:
    done = compare(*arguments)
    assert done.exit_code == 1, done.output
    return done.stderr.strip().splitlines()[-1]


def test_scores_are_of_what_is_observed_and_labelled_and_the_rest_is_counted(
    tmp_path: Path, mask: Path, truth: np.ndarray
) -> None:
    said = result(mask, write(tmp_path / "truth.tif", truth))
    # 20 rows of 15 shared columns, 5 more on each side; of the second block of 10 × 10 the map saw 5 columns.
    assert [said["pixels"][name] for name in ("true_positive", "false_positive", "false_negative")] == [300, 100, 150]
    assert said["pixels"]["unobserved"] == 59 * 5
    assert said["pixels"]["unobserved_change"] == 50
    assert said["pixels"]["unlabelled"] == 80
    assert said["scores"]["pixels"] == 59 * 75
    assert said["scores"]["f1"] == pytest.approx(600 / 850, abs=1e-4)
    assert said["scores"]["precision"] == 0.75
    assert said["scores"]["recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert said["scores"]["iou"] == pytest.approx(300 / 550, abs=1e-4)
    assert said["scores"]["prevalence"] == pytest.approx(450 / (59 * 75), abs=1e-4)
    assert said["scores"]["kappa"] < said["scores"]["f1"] < said["scores"]["accuracy"]
    assert said["warnings"] == []


def test_areas_are_those_on_the_ground(tmp_path: Path, truth: np.ndarray) -> None:
    # In degrees at 45° north, where a pixel is narrower than it is tall.
    place = {"crs": "EPSG:4326", "origin": (3.0, 45.0), "pixel": (1e-4, 1e-4)}
    mask = write(tmp_path / "mask.tif", np.ones((60, 80), np.uint8), **place)
    said = result(mask, write(tmp_path / "truth.tif", truth, **place))
    with rasterio.open(mask) as raster:
        whole = geodesic_area_m2(Grid(raster.crs, raster.transform, *raster.shape)) / 1e4
    hectares = said["hectares"]
    assert hectares["true_positive"] + hectares["false_positive"] + hectares["unlabelled"] == pytest.approx(whole, rel=1e-5)
    assert hectares["reference_change"] == pytest.approx(500 / 4800 * whole, rel=1e-4)


def test_areas_of_a_map_that_spans_latitudes_are_those_where_the_pixels_lie(tmp_path: Path) -> None:
    # Two windows, from 60° to 30° north and on to the equator; the upper one is change.
    truth = np.zeros((1024, 4), np.uint8)
    truth[:512] = 1
    place = {"crs": "EPSG:4326", "origin": (3.0, 60.0), "pixel": (30 / 512, 30 / 512)}
    mask = write(tmp_path / "mask.tif", np.ones_like(truth), **place)
    hectares = result(mask, write(tmp_path / "truth.tif", truth, **place))["hectares"]
    # On a globe the area between two latitudes goes by the difference of their sines; the ellipsoid makes less than a hundredth.
    expected = (np.sin(np.pi / 3) - 0.5) / 0.5
    assert hectares["true_positive"] / hectares["false_positive"] == pytest.approx(expected, rel=0.01)


def test_the_confusion_raster_says_of_each_pixel_what_it_is(
    tmp_path: Path, mask: Path, found: np.ndarray, truth: np.ndarray
) -> None:
    target = tmp_path / "confusion.tif"
    assert compare(mask, write(tmp_path / "truth.tif", truth), "--confusion", target).exit_code == 0
    expected = np.where((found == 255) | (truth == 255), 255, np.array([[0, 3], [2, 1]])[found % 2, truth % 2])
    np.testing.assert_array_equal(read(target), expected)
    with rasterio.open(target) as raster, rasterio.open(mask) as given:
        assert (raster.crs, raster.transform, raster.nodata) == (given.crs, given.transform, 255)
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.colormap(1)[2][:3] == AGREEMENT_COLOURS[2]
        assert raster.tags(1)["3"] == "false negative (missed)"


def test_the_table_holds_every_pixel_once(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    target = tmp_path / "table.csv"
    assert compare(mask, write(tmp_path / "truth.tif", truth), "--table", target).exit_code == 0
    with target.open(encoding="utf-8", newline="") as file:
        lines = {(line["mask"], line["reference"]): line for line in csv.DictReader(file)}
    assert len(lines) == 9
    assert sum(int(line["pixels"]) for line in lines.values()) == 60 * 80
    assert int(lines["change", "no change"]["pixels"]) == 100
    assert int(lines["not observed", "change"]["pixels"]) == 50
    assert float(lines["change", "change"]["hectares"]) == pytest.approx(3, rel=2e-3)


def test_polygons_hold_the_pixels_whose_centres_are_inside(tmp_path: Path, mask: Path) -> None:
    # Four metres less than the block on each side leave all centres inside, six leave the rim out.
    block = pixels(slice(10, 30), slice(10, 30))
    assert counts(mask, draw(tmp_path / "a.gpkg", block.buffer(-4, join_style="mitre")))[:3] == [400, 0, 0]
    assert counts(mask, draw(tmp_path / "b.gpkg", block.buffer(-6, join_style="mitre")))[:3] == [324, 76, 0]


def test_polygons_of_another_crs_and_of_a_named_layer_are_the_same(tmp_path: Path, mask: Path) -> None:
    shapes = (pixels(slice(10, 30), slice(15, 35)), pixels(slice(40, 50), slice(70, 80)))
    here = counts(mask, draw(tmp_path / "a.gpkg", *shapes))
    assert here == [300, 100, 150, 60 * 75 - 550, 300, 0]
    assert counts(mask, f"{draw(tmp_path / 'b.gpkg', *shapes, crs='EPSG:4326')}|layername=b") == here


def test_outside_of_the_labelled_area_nothing_counts(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    labelled = draw(tmp_path / "labelled.gpkg", pixels(slice(0, 60), slice(0, 20)))
    change = draw(tmp_path / "change.gpkg", pixels(slice(10, 30), slice(15, 35)))
    expected = [100, 100, 0, 20 * 60 - 200, 0, 60 * 60]
    assert counts(mask, change, "--labelled", labelled) == expected
    truth[59] = 0
    assert counts(mask, write(tmp_path / "truth.tif", truth), "--labelled", labelled) == expected


def test_a_reference_that_lies_less_than_half_a_pixel_off_is_the_same(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    moved = counts(mask, write(tmp_path / "moved.tif", truth, origin=(LEFT + 4, TOP - 4)))
    assert moved == counts(mask, write(tmp_path / "truth.tif", truth))


@pytest.mark.parametrize(("crs", "pixel"), [("EPSG:32632", 2.0), ("EPSG:4326", 2e-5)])
def test_a_finer_reference_in_another_crs_is_taken_at_the_masks_pixel_centres(
    tmp_path: Path, mask: Path, truth: np.ndarray, crs: str, pixel: float
) -> None:
    there = write(tmp_path / "truth.tif", truth)
    with rasterio.open(there) as raster:
        left, bottom, right, top = transform_bounds(raster.crs, crs, *raster.bounds)
        finer = np.full((int((top - bottom) / pixel) + 1, int((right - left) / pixel) + 1), 255, np.uint8)
        place = {"src_transform": raster.transform, "src_crs": raster.crs, "dst_crs": crs}
        transform = Affine(pixel, 0, left, 0, -pixel, top)
        reproject(raster.read(1), finer, **place, dst_transform=transform, dst_nodata=255, resampling=Resampling.nearest)
    laid = write(tmp_path / "finer.tif", finer, crs=crs, origin=(left, top), pixel=(pixel, pixel))
    assert counts(mask, laid) == counts(mask, there)


def test_what_a_smaller_reference_does_not_show_is_unlabelled(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    part = truth[5:40, 5:50]
    same = write(tmp_path / "same.tif", part, origin=(LEFT + 50, TOP - 50))
    moved = write(tmp_path / "moved.tif", part, origin=(LEFT + 53, TOP - 52))
    assert counts(mask, same) == [300, 100, 100, 35 * 45 - 500, 0, 4800 - 35 * 45]
    # Zero, which the warper puts where nothing is, must not become "no change".
    assert counts(mask, moved) == counts(mask, same)


def test_a_reference_without_crs_is_taken_pixel_by_pixel_if_it_has_the_masks_shape(
    tmp_path: Path, mask: Path, truth: np.ndarray
) -> None:
    bare = write(tmp_path / "bare.tif", truth, crs=None)
    assert counts(mask, bare) == counts(mask, write(tmp_path / "truth.tif", truth))
    message = refusal(mask, write(tmp_path / "smaller.tif", truth[1:], crs=None))
    assert "59 × 80" in message
    assert "60 × 80" in message


@pytest.mark.parametrize("crs", [None, 'LOCAL_CS["Unknown",UNIT["metre",1]]'])
def test_a_reference_without_crs_lies_where_its_georeference_says_in_the_masks(
    tmp_path: Path, mask: Path, truth: np.ndarray, crs: str | None
) -> None:
    expected = result(mask, write(tmp_path / "truth.tif", truth))
    south_up = write(tmp_path / "up.tif", truth[::-1], crs=crs, origin=(LEFT, TOP - 600), pixel=(10, -10))
    moved = write(tmp_path / "moved.tif", np.roll(truth, -3, 1), crs=crs, origin=(LEFT + 30, TOP))
    for reference in (south_up, moved):
        said = result(mask, reference)
        assert said["pixels"]["true_positive"] == expected["pixels"]["true_positive"] == 300
        assert "fits the mask's, EPSG:32631" in said["laid"]
        assert said["warnings"] == []
    # Other places, sizes, and more than half beside the mask.
    for origin, pixel in (((0, 0), (2, 2)), ((LEFT, TOP), (30, 30)), ((LEFT + 500, TOP), (10, 10))):
        said = result(mask, write(tmp_path / "elsewhere.tif", truth, crs=crs, origin=origin, pixel=pixel))
        assert said["pixels"] == expected["pixels"]
        assert "in EPSG:32631 if that is its CRS, does not fit the mask" in said["warnings"][0]
    # In pixels from the upper left corner, as pictures count.
    said = result(mask, write(tmp_path / "picture.tif", truth, crs=crs, origin=(0, 0), pixel=(1, 1)))
    assert (said["pixels"], said["warnings"]) == (expected["pixels"], [])


def test_other_values_are_named_or_refused(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    plain = counts(mask, write(tmp_path / "truth.tif", truth))
    # OSCD's labels: 1 no change, 2 change.
    oscd = write(tmp_path / "oscd.tif", np.where(truth == 255, 255, truth + 1).astype(np.uint8))
    assert "value 2" in refusal(mask, oscd)
    assert "--change-value" in refusal(mask, oscd)
    assert counts(mask, oscd, "--change-value", 2) == plain
    # A picture of black and white: 255 is change where that is said, and nothing is unlabelled.
    white = write(tmp_path / "white.tif", np.where(truth == 1, 255, 0).astype(np.uint8))
    assert counts(mask, white, "--change-value", 255)[:3] == plain[:3]
    assert counts(mask, white, "--change-value", 255)[5] == 0


@pytest.mark.parametrize("nodata", [-9999, float("nan")])
def test_the_files_own_nodata_is_unlabelled(tmp_path: Path, mask: Path, truth: np.ndarray, nodata: float) -> None:
    values = np.where(truth == 255, np.float32(nodata), truth).astype(np.float32)
    assert counts(mask, write(tmp_path / "floats.tif", values, nodata=nodata)) == counts(mask, write(tmp_path / "t.tif", truth))


def test_a_reference_of_one_class_is_warned_of(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    # As many programs burn polygons: 1 inside, and 0 elsewhere marked as nodata.
    (warning,) = result(mask, write(tmp_path / "burnt.tif", (truth == 1).astype(np.uint8), nodata=0))["warnings"]
    assert "nothing but change" in warning
    assert "nodata" in warning
    (warning,) = result(mask, write(tmp_path / "white.tif", np.where(truth == 1, 255, 0).astype(np.uint8)))["warnings"]
    assert "no change where" in warning
    assert "--change-value" in warning


def test_a_mask_of_nothing_but_change_is_warned_of(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    """As many programs burn polygons; what is missed would be taken for not observed, and recall be 1."""
    with rasterio.open(mask) as raster:
        burnt = write(tmp_path / "burnt.tif", (raster.read(1) == 1).astype(np.uint8), nodata=0)
    (warning,) = result(burnt, write(tmp_path / "truth.tif", truth))["warnings"]
    assert "The mask holds nothing but change" in warning
    assert result(mask, write(tmp_path / "same.tif", truth))["warnings"] == []


def test_windows_do_not_matter(tmp_path: Path, mask: Path, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    references = [
        write(tmp_path / "moved.tif", truth, origin=(LEFT + 3, TOP - 3)),
        draw(tmp_path / "a.gpkg", pixels(slice(10, 30), slice(15, 35)), crs="EPSG:4326"),
    ]
    whole = [result(mask, reference, "--confusion", tmp_path / "whole.tif") for reference in references]
    monkeypatch.setattr(module, "_WINDOW", 16)
    for before, reference in zip(whole, references, strict=True):
        after = result(mask, reference, "--confusion", tmp_path / "part.tif")
        assert after["pixels"] == before["pixels"]
        assert after["hectares"] == pytest.approx(before["hectares"], abs=1e-3)
    np.testing.assert_array_equal(read(tmp_path / "part.tif"), read(tmp_path / "whole.tif"))


@pytest.mark.parametrize("layer", [QUALITY, PROBABILITY, module.CONFUSION])
def test_another_result_of_a_run_is_not_taken_for_its_mask(tmp_path: Path, mask: Path, layer: Layer) -> None:
    """Where all was observed, the quality is 0 everywhere: a map without any change, of which scores would say little."""
    other, said = (
        write(tmp_path / "other.tif", np.zeros((60, 80), np.uint8)),
        f"holds {layer.descriptions[0]!r}, not what changed",
    )
    with rasterio.open(other, "r+") as file:
        file.set_band_description(1, layer.descriptions[0])
    # Others may call theirs so.
    assert result(other, mask)["pixels"]
    with rasterio.open(other, "r+") as file:
        file.update_tags(S2CHANGE_VERSION="0.1.0")
    assert f"The mask {other} {said}" in refusal(other, mask)
    assert f"The reference {other} {said}" in refusal(mask, other)
    with rasterio.open(other, "r+") as file:
        file.set_band_description(1, MASK.descriptions[0])
    assert result(mask, other)["pixels"]


def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    there = write(tmp_path / "truth.tif", truth)
    assert "both mask and reference" in refusal(mask, mask)
    assert "does not exist" in refusal(tmp_path / "none.tif", there)
    assert f"There is no file {tmp_path / 'none.tif'}, which should hold the reference" in refusal(mask, tmp_path / "none.tif")
    assert "holds the value 37" in refusal(write(tmp_path / "odd.tif", np.full((60, 80), 37, np.uint8)), there)
    assert "has 2 layers" in refusal(mask, write_stack(tmp_path / "two.tif", np.zeros((2, 60, 80), np.uint8), None))
    assert "has no CRS" in refusal(write(tmp_path / "bare.tif", truth, crs=None), there)
    placeless = write_stack(tmp_path / "local.tif", truth[None], None, crs='LOCAL_CS["Unknown",UNIT["metre",1]]')
    assert "has no CRS on Earth" in refusal(placeless, there)
    assert (
        result(mask, placeless)["pixels"]
        == result(mask, write_stack(tmp_path / "none.tif", truth[None], None, crs=None))["pixels"]
    )
    assert "no pixel is both" in refusal(mask, write(tmp_path / "far.tif", truth, origin=(700000, TOP))).lower()
    far = draw(tmp_path / "far.gpkg", box(700000, TOP, 700100, TOP + 100))
    assert "does not meet the mask" in refusal(mask, far)
    assert "the labelled area" in refusal(mask, there, "--labelled", far)
    near = draw(tmp_path / "near.gpkg", pixels(slice(10, 30), slice(10, 30)))
    assert "--change-value" in refusal(mask, near, "--change-value", 2)


def test_outputs_appear_all_or_none(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    there = write(tmp_path / "truth.tif", truth)
    out = tmp_path / "out"
    out.mkdir()
    asked = ["--confusion", out / "c.tif", "--table", out / "t.csv", "--report", out / "r.html"]
    assert compare(mask, write(tmp_path / "odd.tif", truth + 1), *asked).exit_code == 1
    assert list(out.iterdir()) == []
    assert compare(mask, there, *asked).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["c.tif", "r.html", "t.csv"]
    assert "cannot be an output too" in refusal(mask, there, "--confusion", there)
    assert "same file name" in refusal(mask, there, "--table", out / "x", "--report", out / "x")
    assert "does not exist" in refusal(mask, there, "--table", out / "none" / "t.csv")
    for wrong, end in ((("--table", out / "t.html"), "csv"), (("--report", out / "r.tif"), "html")):
        assert f"let it end in .{end}" in refusal(mask, there, *wrong)


@pytest.mark.parametrize("side", ["mask", "reference"])
def test_what_lies_behind_an_input_is_not_replaced(tmp_path: Path, mask: Path, truth: np.ndarray, side: str) -> None:
    there = write(tmp_path / "truth.tif", truth)
    behind = mask if side == "mask" else there
    rasterio.shutil.copy(str(behind), str(tmp_path / "of.vrt"), driver="VRT")
    kept = behind.read_bytes()
    given = (tmp_path / "of.vrt", there) if side == "mask" else (mask, tmp_path / "of.vrt")
    assert "is an input" in refusal(*given, "--confusion", behind)
    assert behind.read_bytes() == kept


def test_a_program_hears_progress_and_the_result(
    tmp_path: Path, mask: Path, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.__main__.stop_when_input_closes", lambda: None)
    done = compare(mask, write(tmp_path / "truth.tif", truth), "--table", tmp_path / "t.csv", "--events")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["stage"] for event in events if event["event"] == "progress"] == ["compare", "compare", "write", "write"]
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "result"
    assert events[-1]["scores"]["precision"] == 0.75


def test_accuracy_is_never_said_alone(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    said = compare(mask, write(tmp_path / "truth.tif", truth)).stdout
    for word in (
        "F1 0.706",
        "precision 0.750",
        "recall 0.667",
        "IoU 0.545",
        "kappa",
        "overall accuracy",
        "10.17 %",
        "295 not observed",
    ):
        assert word in said


def test_the_report_holds_scores_and_picture_and_nothing_from_outside(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    reference = write(tmp_path / "<b>truth.tif", truth)
    done = compare(mask, reference, "--report", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "&lt;b&gt;truth.tif" in page
    assert "<b>truth" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    for text in ("0.706", "0.750", "0.667", "0.545", "10.17 %", "4,425", ">50<", ">245<"):
        assert text in page
    encoded = re.search(r"base64,([^\"]+)", page)
    assert encoded
    with MemoryFile(b64decode(encoded[1])) as file, file.open() as picture:
        assert picture.shape == (60, 80)
        assert tuple(picture.read([1, 2, 3])[:, 20, 20]) == AGREEMENT_COLOURS[1]
        assert tuple(picture.read([1, 2, 3])[:, 5, 5]) == AGREEMENT_COLOURS[0]
        assert tuple(picture.read([1, 2, 3])[:, 5, 78]) == AGREEMENT_COLOURS[255]


def test_the_report_says_which_model_goal_and_threshold_made_the_mask(tmp_path: Path, mask: Path, truth: np.ndarray) -> None:
    reference = write(tmp_path / "truth.tif", truth)
    with rasterio.open(mask, "r+") as raster:
        raster.update_tags(S2CHANGE_MODEL="mine", S2CHANGE_THRESHOLD="0.588", S2CHANGE_GOAL="precision")
    assert result(mask, reference, "--report", tmp_path / "r.html")["goal"] == "precision"
    assert "model mine, threshold 0.588, goal precision" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("origin", [(500000, 5000000), (500003, 4999996)], ids=["own pixels", "other pixels"])
def test_what_a_reference_masks_itself_is_not_labelled(tmp_path: Path, truth: np.ndarray, origin: tuple[float, float]) -> None:
    truth = np.where(truth == 1, np.uint8(1), np.uint8(0))
    mask, reference = write(tmp_path / "m.tif", truth), write(tmp_path / "r.tif", truth, origin=origin)
    assert result(mask, reference)["pixels"]["unlabelled"] == 0
    shown = np.full(truth.shape, 255, np.uint8)
    shown[:10] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(reference, "r+") as raster:
        raster.write_mask(shown)
    assert result(mask, reference)["pixels"]["unlabelled"] == 10 * truth.shape[1]


def test_a_map_without_change_whose_255_may_be_meant_as_change_is_doubted(tmp_path: Path, truth: np.ndarray) -> None:
    mask = write(tmp_path / "m.tif", np.where(truth == 1, np.uint8(255), np.uint8(0)))
    text = result(mask, write(tmp_path / "r.tif", truth))["warnings"][0]
    assert text.startswith("The mask holds no change, and")
    assert "If 255 is change in it, write 1 there." in text


def test_the_picture_of_a_map_in_degrees_is_as_wide_as_its_ground(tmp_path: Path) -> None:
    """At 60° north a degree of longitude is half as long as one of latitude."""
    confusion = write(tmp_path / "c.tif", np.zeros((100, 100), np.uint8), crs="EPSG:4326", origin=(5, 60), pixel=(1e-4, 1e-4))
    with MemoryFile(agreement_picture(confusion)) as file, file.open() as picture:
        assert picture.shape == (pytest.approx(200, abs=2), 100)
    large = write(tmp_path / "l.tif", np.zeros((700, 700), np.uint8), crs="EPSG:4326", origin=(5, 60), pixel=(1e-4, 1e-4))
    with MemoryFile(agreement_picture(large)) as file, file.open() as picture:
        assert picture.shape == (900, pytest.approx(450, abs=5))


def test_a_single_missed_pixel_is_seen_in_the_picture_of_a_large_map(tmp_path: Path) -> None:
    codes = np.zeros((2000, 3000), np.uint8)
    codes[1234, 2345] = 3
    with MemoryFile(agreement_picture(write(tmp_path / "c.tif", codes))) as file, file.open() as picture:
        assert max(picture.shape) == 900
        missed = (picture.read([1, 2, 3]) == np.array(AGREEMENT_COLOURS[3])[:, None, None]).all(0)
    assert np.argwhere(missed).tolist() == [[int(1234 * 0.3), int(2345 * 0.3)]]


def test_polygons_of_the_reference_that_are_too_small_to_count_are_told(tmp_path: Path, mask: Path) -> None:
    block, kiosk = pixels(slice(10, 30), slice(15, 35)), box(LEFT + 501, TOP - 509, LEFT + 504, TOP - 506)
    drawn = draw(tmp_path / "drawn.gpkg", block, kiosk)
    said = result(mask, drawn)
    (warning,) = said["warnings"]
    assert "1 of the 2 polygons of" in warning
    assert "holds no pixel's centre and is left out" in warning
    assert said["pixels"]["reference_change"] == 400
    assert "No polygon of" in refusal(mask, draw(tmp_path / "kiosk.gpkg", kiosk))
    # One that lies under another is large enough all the same.
    hidden = draw(tmp_path / "hidden.gpkg", pixels(slice(12, 20), slice(18, 30)), block)
    assert result(mask, hidden)["warnings"] == []
