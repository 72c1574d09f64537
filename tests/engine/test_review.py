"""The command `review`, as a person or a script uses it."""

import json
import re
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from rasterio.crs import CRS
from shapely.geometry import MultiPolygon, Point, Polygon, box

from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.grid import Grid, geodesic_area_m2
from s2change_plugin.engine.outputs import MASK, PROBABILITY, RasterWriter
from tests.conftest import write_stack

# Areas of the map, by rows and columns: of 12 × 10, 5 × 4 and 10 × 10 pixels, the last across two windows of 512.
FIRST, SECOND, THIRD = (slice(20, 32), slice(30, 40)), (slice(100, 105), slice(50, 54)), (slice(508, 518), slice(200, 210))


@pytest.fixture
def values() -> np.ndarray:
    """A map of 700 × 600 pixels: three areas of change, and a part not observed."""
    values = np.zeros((700, 600), np.uint8)
    for area in (FIRST, SECOND, THIRD):
        values[area] = 1
    values[:, 580:] = 255
    return values


@pytest.fixture
def mask(tmp_path: Path, values: np.ndarray) -> Path:
    """It, as `detect` writes it."""
    like = write_stack(tmp_path / "like.tif", values[None], None)
    with rasterio.open(like) as raster:
        grid = Grid(raster.crs, raster.transform, *raster.shape)
    tags = {"S2CHANGE_MODEL": "oscd-urban-9", "S2CHANGE_VERSION": "0.0.1", "S2CHANGE_THRESHOLD": "0.288"}
    writer = RasterWriter(tmp_path / "mask", grid, MASK, tags)
    writer.write(values, grid.window)
    return writer.finish(tmp_path / "mask.tif").rename(tmp_path / "mask.tif")


def ground(rows: slice, cols: slice) -> Polygon:
    """The outline of pixels on the grid of `write_stack`."""
    return box(500000 + 10 * cols.start, 5000000 - 10 * rows.stop, 500000 + 10 * cols.stop, 5000000 - 10 * rows.start)


def said(path: Path, *areas: tuple[object, object], crs: str = "EPSG:32631", **how: object) -> Path:
    """A layer of (outline, or rows and columns; review)."""
    shapes = [ground(*area) if isinstance(area, tuple) else area for area, _ in areas]
    table = geopandas.GeoDataFrame({"review": [answer for _, answer in areas]}, geometry=shapes, crs="EPSG:32631").to_crs(crs)
    table.to_file(path, **how)
    return path


def review(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["review", *map(str, arguments)])


def reviewed(mask: Path, polygons: object) -> tuple[dict, np.ndarray]:
    """What was said, and the mask."""
    target = mask.parent / "reviewed.tif"
    done = review(mask, polygons, "--output", target, "--json")
    assert done.exit_code == 0, done.output
    with rasterio.open(target) as raster:
        return json.loads(done.stdout), raster.read(1)


def test_each_area_becomes_what_is_said_of_it_and_the_others_stay(mask: Path, values: np.ndarray, tmp_path: Path) -> None:
    polygons = said(tmp_path / "change.gpkg", (FIRST, 0), (SECOND, 255), (THIRD, None))
    found, now = reviewed(mask, polygons)
    expected = values.copy()
    expected[FIRST], expected[SECOND] = 0, 255
    np.testing.assert_array_equal(now, expected)
    assert found["areas"] == {"change": 0, "no change": 1, "cannot be told": 1, "open": 1, "without_pixels": 0}
    assert found["pixels"] == {
        "mapped": 240,
        "looked_at": 140,
        "rejected": 120,
        "undecided": 20,
        "added": 0,
        "changed": 100,
        "unobserved": 0,
    }
    with rasterio.open(mask) as raster:
        whole = Grid(raster.crs, raster.transform, *raster.shape)
    a_pixel = geodesic_area_m2(whole) / values.size / 1e4
    for name, hectares in found["hectares"].items():
        assert hectares == pytest.approx(found["pixels"][name] * a_pixel, rel=1e-3)


def test_what_is_drawn_counts_too_and_of_areas_that_overlap_the_smaller_one(
    mask: Path, values: np.ndarray, tmp_path: Path
) -> None:
    corner = (slice(20, 24), slice(30, 34))
    drawn = (slice(300, 305), slice(300, 306))
    areas = [(corner, 1), (FIRST, 0), (drawn, 1)]
    expected = values.copy()
    expected[FIRST], expected[corner], expected[drawn] = 0, 1, 1
    # Whichever comes first.
    for order in (areas, areas[::-1]):
        found, now = reviewed(mask, said(tmp_path / "change.gpkg", *order))
        np.testing.assert_array_equal(now, expected)
    assert found["pixels"] == {
        "mapped": 240,
        "looked_at": 120,
        "rejected": 104,
        "undecided": 0,
        "added": 30,
        "changed": 166,
        "unobserved": 0,
    }


@pytest.mark.parametrize(("answers", "counts"), [((0, 1), 1), ((1, 255), 255), ((255, 0), 255)])
@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb"])
def test_of_areas_as_large_the_same_counts_in_any_order(
    mask: Path, tmp_path: Path, answers: tuple[int, int], counts: int, name: str
) -> None:
    areas = ((slice(20, 30), slice(30, 40)), (slice(25, 35), slice(35, 45)))
    for order in (1, -1):
        layer = said(tmp_path / name, *list(zip(areas, answers, strict=True))[::order])
        assert (reviewed(mask, layer)[1][25:30, 35:40] == counts).all()


def test_an_area_with_many_corners_lies_as_it_would_if_it_had_few(
    mask: Path, values: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut to each window first."""
    random = np.random.default_rng(3)
    corners = np.linspace(0, 2 * np.pi, 900)
    reach = 2000 + 800 * random.random(900)
    star = Polygon(np.column_stack([502800 + reach * np.cos(corners), 4996600 + reach * np.sin(corners)]))
    polygons = said(tmp_path / "change.gpkg", (star, 1))
    whole = reviewed(mask, polygons)[1]
    monkeypatch.setattr("s2change_plugin.engine.masks._MANY_CORNERS", 10)
    np.testing.assert_array_equal(reviewed(mask, polygons)[1], whole)
    assert whole.sum() - values.sum() > 50_000


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_of_areas_in_parts_the_smaller_whole_counts_in_any_crs(mask: Path, values: np.ndarray, tmp_path: Path, crs: str) -> None:
    """A small part of a large area lies below an area that is smaller than the whole."""
    large = MultiPolygon([ground(slice(20, 22), slice(30, 32)), ground(slice(300, 340), slice(300, 340))])
    _, now = reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, 0), (large, 1), crs=crs))
    values[FIRST], values[300:340, 300:340] = 0, 1
    np.testing.assert_array_equal(now, values)


def test_an_answer_covers_areas_without_one_and_those_stay_open(mask: Path, values: np.ndarray, tmp_path: Path) -> None:
    around = (slice(10, 110), slice(20, 60))
    found, now = reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, None), (SECOND, None), (around, 0), (THIRD, None)))
    values[around] = 0
    np.testing.assert_array_equal(now, values)
    assert found["areas"]["open"] == 3


@pytest.mark.parametrize("answer", [0, 1])
def test_what_was_not_observed_stays_so_and_the_run_s_probability_still_fits(
    mask: Path, values: np.ndarray, tmp_path: Path, answer: int
) -> None:
    across = (slice(400, 410), slice(570, 590))
    found, now = reviewed(mask, said(tmp_path / "change.gpkg", (across, answer), (FIRST, 255)))
    values[400:410, 570:580], values[FIRST] = answer, 255
    np.testing.assert_array_equal(now, values)
    assert found["pixels"]["unobserved"] == 100
    done = review(mask, tmp_path / "change.gpkg", "--output", tmp_path / "again.tif")
    assert "What the map did not observe stays so where something is said of it." in done.stdout
    with rasterio.open(mask) as raster:
        grid = Grid(raster.crs, raster.transform, *raster.shape)
        levels = np.where(raster.read(1) == 255, 255, 10).astype(np.uint8)
    writer = RasterWriter(tmp_path / "probability", grid, PROBABILITY, {})
    writer.write(levels, grid.window)
    probability = writer.finish(tmp_path / "probability.tif")
    asked = [tmp_path / "reviewed.tif", tmp_path / "sample.gpkg", "--probability", probability, "--size", 50]
    assert CliRunner().invoke(main, ["sample", *map(str, asked)]).exit_code == 0


def test_answers_that_hold_no_pixel_are_told(mask: Path, values: np.ndarray, tmp_path: Path) -> None:
    sliver, beyond, unobserved = (
        box(500301, 4999701, 500303, 4999703),
        (slice(-50, -40), slice(0, 9)),
        (slice(0, 5), slice(590, 595)),
    )
    empty = Polygon()
    polygons = said(tmp_path / "change.gpkg", (FIRST, 0), (sliver, 1), (beyond, 1), (unobserved, 0), (empty, 1))
    found, now = reviewed(mask, polygons)
    values[FIRST] = 0
    np.testing.assert_array_equal(now, values)
    assert found["areas"]["without_pixels"] == 4
    assert "4 of the areas with an answer hold no pixel" in review(mask, polygons, "--output", tmp_path / "again.tif").stderr


def test_the_sentence_says_how_far_the_review_went_and_what_it_changed(mask: Path, tmp_path: Path) -> None:
    polygons = said(tmp_path / "change.gpkg", (FIRST, 0), (SECOND, 1), (THIRD, None), ((slice(300, 310), slice(300, 310)), 1))
    done = review(mask, polygons, "--output", tmp_path / "reviewed.tif")
    assert re.search(
        r"Something is said of 3 of 4 areas, 58 % of what the map called change \(2 change, 1 no change, 0 cannot be told\)\. "
        r"Change on the map: 2\.40 ha before, 2\.20 ha now, 1\.00 ha of it added\. Mask: .*reviewed\.tif",
        done.stdout,
    )


def test_the_mask_says_how_it_was_made_and_that_it_was_reviewed(mask: Path, tmp_path: Path) -> None:
    reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, 0), (SECOND, None)))
    with rasterio.open(tmp_path / "reviewed.tif") as raster:
        tags = raster.tags()
        assert raster.descriptions == MASK.descriptions
        assert raster.nodata == 255
    assert tags["S2CHANGE_REVIEWED"] == "1 of 2 areas"
    assert tags["S2CHANGE_MODEL"] == "oscd-urban-9"
    assert tags["S2CHANGE_THRESHOLD"] == "0.288"
    assert tags["S2CHANGE_VERSION"] != "0.0.1"


def test_a_reviewed_mask_can_be_sampled_compared_and_reviewed_again(mask: Path, values: np.ndarray, tmp_path: Path) -> None:
    reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, 0)))
    once = (tmp_path / "reviewed.tif").rename(tmp_path / "once.tif")
    assert CliRunner().invoke(main, ["sample", str(once), str(tmp_path / "sample.gpkg"), "--size", "50"]).exit_code == 0
    compared = CliRunner().invoke(main, ["compare", str(mask), str(once), "--json"])
    assert json.loads(compared.stdout)["pixels"]["false_positive"] == 120
    _, twice = reviewed(once, said(tmp_path / "more.gpkg", (SECOND, 0), (THIRD, None)))
    assert twice.sum() == values.sum() - 120 - 20
    with rasterio.open(tmp_path / "reviewed.tif") as raster:
        assert raster.tags()["S2CHANGE_REVIEWED"] == "1 of 1 areas; then 1 of 2 areas"


def test_a_comparison_says_that_a_person_corrected_the_map(mask: Path, tmp_path: Path) -> None:
    reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, 0), (SECOND, None)))
    asked = [tmp_path / "reviewed.tif", mask, "--report", tmp_path / "r.html"]
    compared = CliRunner().invoke(main, ["compare", *map(str, asked), "--json"])
    assert json.loads(compared.stdout)["reviewed"] == "1 of 2 areas"
    assert "corrected by a person: 1 of 2 areas" in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_a_layer_in_another_crs_lies_where_it_belongs(mask: Path, values: np.ndarray, tmp_path: Path, crs: str) -> None:
    _, now = reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, 0), crs=crs))
    values[FIRST] = 0
    np.testing.assert_array_equal(now, values)


@pytest.mark.parametrize(("name", "kind"), [("a.shp", int), ("a.geojson", str), ("a.gpkg", float), ("a.fgb", str)])
def test_answers_count_in_whatever_kind_of_number_a_program_saved_them(
    mask: Path, values: np.ndarray, tmp_path: Path, name: str, kind: type
) -> None:
    _, now = reviewed(mask, said(tmp_path / name, (FIRST, kind(0)), (SECOND, kind(255))))
    values[FIRST], values[SECOND] = 0, 255
    np.testing.assert_array_equal(now, values)


@pytest.mark.parametrize("field", ["Review", "REVIEW"])
def test_the_field_counts_however_it_is_spelt(mask: Path, values: np.ndarray, tmp_path: Path, field: str) -> None:
    geopandas.GeoDataFrame({field: [0]}, geometry=[ground(*FIRST)], crs="EPSG:32631").to_file(tmp_path / "change.gpkg")
    _, now = reviewed(mask, tmp_path / "change.gpkg")
    values[FIRST] = 0
    np.testing.assert_array_equal(now, values)


def test_a_mask_that_takes_no_change_for_no_data_is_warned_of(mask: Path, tmp_path: Path) -> None:
    with rasterio.open(mask, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.nodata = 0
    done = review(mask, said(tmp_path / "change.gpkg", (FIRST, 0)), "--output", tmp_path / "reviewed.tif")
    assert "holds nothing but change. If 0 is its nodata and means no change, correct that." in done.stderr


def test_a_share_is_all_or_nothing_only_where_it_is(mask: Path, tmp_path: Path) -> None:
    for area, share in (((slice(20, 21), slice(30, 31)), "less than 1 %"), ((slice(0, 700), slice(0, 580)), "100 %")):
        done = review(mask, said(tmp_path / "change.gpkg", (area, 1)), "--output", tmp_path / "reviewed.tif")
        assert f", {share} of what the map called change" in done.stdout


def test_yes_and_no_are_answers_too(mask: Path, values: np.ndarray, tmp_path: Path) -> None:
    _, now = reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, False), (SECOND, True)))
    values[FIRST] = 0
    np.testing.assert_array_equal(now, values)


@pytest.mark.parametrize("nothing", ["", "  "])
def test_empty_texts_say_nothing(mask: Path, values: np.ndarray, tmp_path: Path, nothing: str) -> None:
    found, now = reviewed(mask, said(tmp_path / "change.gpkg", (FIRST, "0"), (SECOND, nothing)))
    values[FIRST] = 0
    np.testing.assert_array_equal(now, values)
    assert found["areas"]["open"] == 1


def test_an_area_in_several_parts_counts_once_and_lies_in_all(mask: Path, values: np.ndarray, tmp_path: Path) -> None:
    found, now = reviewed(mask, said(tmp_path / "change.gpkg", (MultiPolygon([ground(*FIRST), ground(*THIRD)]), 0)))
    values[FIRST], values[THIRD] = 0, 0
    np.testing.assert_array_equal(now, values)
    assert found["areas"]["no change"] == 1


@pytest.mark.parametrize(
    ("areas", "sentence"),
    [
        ([(FIRST, 2)], "the review of an area is 2"),
        ([(FIRST, 0.5)], "the review of an area is 0.5"),
        (
            [(FIRST, "yes")],
            "the review of an area is yes. Let it be 1 (change), 0 (no change) or 255 (cannot be told), or leave it empty.",
        ),
        ([(FIRST, None), (SECOND, None)], "Nothing is said of any area"),
        ([((slice(-500, -490), slice(0, 10)), 0)], "meets the mask"),
        ([(Point(500300, 4999800), 0)], "has no polygons"),
        ([(box(500301, 4999701, 500303, 4999703), 0)], "holds the centre of a pixel that the mask observed"),
        ([((slice(0, 5), slice(590, 595)), 0)], "holds the centre of a pixel that the mask observed"),
    ],
)
def test_a_layer_that_says_nothing_of_the_map_is_refused_in_a_sentence(
    mask: Path, tmp_path: Path, areas: list, sentence: str
) -> None:
    polygons = said(tmp_path / "change.gpkg", *areas)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = review(mask, polygons, "--output", tmp_path / "reviewed.tif")
    assert done.exit_code == 1
    assert sentence in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_layer_without_the_field_is_refused_with_what_to_do(mask: Path, tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"area": [1]}, geometry=[ground(*FIRST)], crs="EPSG:32631").to_file(tmp_path / "change.gpkg")
    done = review(mask, tmp_path / "change.gpkg", "--output", tmp_path / "reviewed.tif")
    assert "has no field “review”. Choose the polygons of a change map, or add it" in done.stderr


def test_neither_input_is_written_over(mask: Path, tmp_path: Path) -> None:
    polygons = said(tmp_path / "change.tif", (FIRST, 0), driver="GPKG", layer="change")
    whole = mask.read_bytes(), polygons.read_bytes()
    for target in (mask, polygons):
        assert review(mask, polygons, "--output", target).exit_code == 1
    assert (mask.read_bytes(), polygons.read_bytes()) == whole


def test_a_mask_in_degrees_is_reviewed_by_what_was_drawn_of_it(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(4326), rasterio.Affine(0.0001, 0, 3, 0, -0.0001, 45), 60, 80)
    values = np.zeros(grid.shape, np.uint8)
    values[10:20, 10:30] = 1
    writer = RasterWriter(tmp_path / "mask", grid, MASK, {})
    writer.write(values, grid.window)
    mask = writer.finish(tmp_path / "mask.tif").rename(tmp_path / "mask.tif")
    outline = box(3.001, 44.998, 3.003, 44.999)
    geopandas.GeoDataFrame({"review": [0]}, geometry=[outline], crs="EPSG:4326").to_file(tmp_path / "change.gpkg")
    assert not reviewed(mask, tmp_path / "change.gpkg")[1].any()
