from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize
from scipy.ndimage import label

from s2change_plugin.engine import outputs
from s2change_plugin.engine.evidence import NAMES, Evidence, pixels_of
from s2change_plugin.engine.grid import Grid, windows
from s2change_plugin.engine.pair import PairWindow
from s2change_plugin.engine.polygons import draw_polygons
from s2change_plugin.engine.validity import Quality

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 60, 80)


BANDS = ("B03", "B04", "B08", "B11")


def drawn(
    tmp_path: Path,
    levels: np.ndarray,
    threshold: float = 0.5,
    target: str = "change.gpkg",
    *,
    quality: np.ndarray | None = None,
    side: int = 80,
    dates: np.ndarray | None = None,
) -> geopandas.GeoDataFrame:
    """Polygons of stored probability, its evidence from windows of a side; dates (date, band, row, col) have the bands `BANDS`."""
    mask = outputs.to_mask(levels, threshold)
    quality = np.where(levels == 255, np.uint8(Quality.CLOUD), np.uint8(0)) if quality is None else quality
    bands, shown = (BANDS, dates) if dates is not None else ((), np.zeros((2, 0, *GRID.shape), np.float32))
    for name, layer, values in (("mask", outputs.MASK, mask), ("quality", outputs.QUALITY, quality)):
        writer = outputs.RasterWriter(tmp_path / name, GRID, layer, {})
        writer.write(values, GRID.window)
        writer.close()
    with closing(Evidence(tmp_path)) as evidence:
        for window in windows(*GRID.shape, side):
            part = window.toslices()
            seen = PairWindow(*(date[:, part[0], part[1]] for date in shown), quality[part])
            evidence.add(window, pixels_of(mask[part] == outputs.CHANGE, levels[part], seen, bands))
        draw_polygons(tmp_path / "mask", tmp_path / "quality", evidence, tmp_path / target)
    if target != "change.gpkg":
        (tmp_path / target).rename(tmp_path / "change.gpkg")
    return geopandas.read_file(tmp_path / "change.gpkg", layer="change")


@pytest.fixture
def levels() -> np.ndarray:
    values = np.zeros((60, 80), np.uint8)
    values[10:20, 10:30] = 200
    values[12:14, 12:14] = 0
    values[20, 30] = 250
    values[40:50, 70:80] = 150
    values[45, 75] = 255
    return values


def test_polygons_follow_the_pixels_exactly(tmp_path: Path, levels: np.ndarray) -> None:
    table = drawn(tmp_path, levels)
    back = rasterize(table.geometry, out_shape=GRID.shape, transform=GRID.transform)
    np.testing.assert_array_equal(back == 1, (levels >= 125) & (levels != 255))
    assert table.is_valid.all()


def test_areas_that_meet_at_a_corner_only_are_two(tmp_path: Path, levels: np.ndarray) -> None:
    assert len(drawn(tmp_path, levels)) == 3


def test_each_polygon_has_its_area_and_mean_probability(tmp_path: Path, levels: np.ndarray) -> None:
    table = drawn(tmp_path, levels)
    assert table.area_ha.tolist() == pytest.approx([1.96 / 0.9996**2, 0.99 / 0.9996**2, 0.01], rel=1e-3)
    assert table.mean_probability.tolist() == pytest.approx([0.8, 0.6, 1.0])


def test_more_polygons_than_are_held_at_a_time_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.where(np.random.default_rng(0).random((60, 80)) < 0.2, 200, 0).astype(np.uint8)
    whole = drawn(tmp_path, levels)
    monkeypatch.setattr("s2change_plugin.engine.polygons._MOST_HELD", 50)
    parts = drawn(tmp_path, levels)
    assert len(whole) > 300
    assert (parts.crs, list(parts)) == (whole.crs, list(whole))

    def rows(table: geopandas.GeoDataFrame) -> list[tuple[object, ...]]:
        return sorted((row.geometry.wkt, row.area_ha, row.mean_probability) for row in table.itertuples())

    assert rows(parts) == rows(whole)


def test_the_largest_areas_of_all_are_given_whether_they_are_written_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = np.zeros(GRID.shape, np.uint8)
    for place, length in enumerate((3, 9, 2, 7, 1, 8, 4)):
        levels[4 * place, :length] = 200
    monkeypatch.setattr("s2change_plugin.engine.polygons._MOST_HELD", 2)
    table = drawn(tmp_path, levels)
    with closing(Evidence(tmp_path)) as evidence:
        given = draw_polygons(tmp_path / "mask", tmp_path / "quality", evidence, None, 3)
    known = table.nlargest(3, "area_ha")
    assert [round(area.area_ha, 4) for area in given] == known.area_ha.tolist()
    assert [area.geometry.area for area in given] == [900, 800, 700]
    assert all(area.geometry.equals(shape) for area, shape in zip(given, known.geometry, strict=True))


def test_an_area_that_touches_a_window_alone_has_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.zeros(GRID.shape, np.uint8)
    # The first ends where the second window begins, in which there is another area, described after it.
    levels[2:6, 12:16], levels[2:4, 20:22] = 200, 150
    monkeypatch.setattr("s2change_plugin.engine.polygons._MOST_HELD", 1)
    table = drawn(tmp_path, levels, side=16).sort_values("area_ha", ascending=False)
    assert table.mean_probability.tolist() == pytest.approx([0.8, 0.6])


def test_an_area_that_spans_windows_has_one_mean(tmp_path: Path, levels: np.ndarray) -> None:
    levels[10:20, 20:30] = 150
    dates = np.random.default_rng(0).uniform(0.05, 0.5, (2, 4, *GRID.shape)).astype(np.float32)
    whole, parts = (drawn(tmp_path, levels, side=side, dates=dates) for side in (80, 16))
    # 96 pixels at 0.8, 100 at 0.6.
    assert whole.mean_probability[0] == pytest.approx((96 * 0.8 + 100 * 0.6) / 196, abs=1e-4)
    for name in ("mean_probability", *NAMES, "observed_around"):
        assert parts[name].tolist() == pytest.approx(whole[name].tolist(), abs=1e-4), name


def test_each_polygon_has_the_mean_indices_of_its_own_pixels_on_both_dates(tmp_path: Path, levels: np.ndarray) -> None:
    dates = np.full((2, 4, *GRID.shape), 0.1, np.float32)
    # Vegetation under the large area before, bright ground under one half of it after.
    dates[0, 2, 10:20, 10:30] = 0.4
    dates[1, 3, 10:20, 10:20] = 0.3
    table = drawn(tmp_path, levels, dates=dates)
    assert table.ndvi_before.tolist() == pytest.approx([0.6, 0, 0], abs=0.004)
    assert table.ndvi_after.tolist() == pytest.approx([0, 0, 0], abs=0.004)
    assert table.ndbi_before.tolist() == pytest.approx([-0.6, 0, 0], abs=0.004)
    assert table.ndbi_after.tolist() == pytest.approx([0.5 * 96 / 196, 0, 0], abs=0.004)
    assert table.mndwi_after.tolist() == pytest.approx([-0.5 * 96 / 196, 0, 0], abs=0.004)


def test_an_index_without_its_bands_is_empty(tmp_path: Path, levels: np.ndarray) -> None:
    assert drawn(tmp_path, levels)[list(NAMES)].isna().all(None)


def test_each_polygon_says_how_much_of_the_ground_around_it_was_observed(tmp_path: Path) -> None:
    levels, quality = np.zeros((2, *GRID.shape), np.uint8)
    levels[30, [10, 40, 70]] = 250
    # Beside the first a cloud, beside the second the edge of the area of interest; the last lies by itself.
    quality[:, :10], quality[:, 41:60] = Quality.CLOUD, Quality.OUTSIDE
    levels[quality != 0] = 255
    for side in (80, 16):
        table = drawn(tmp_path, levels, quality=quality, side=side)
        around = dict(zip(table.geometry.centroid.x.round().astype(int), table.observed_around, strict=True))
        assert around == {500105: pytest.approx(7 / 13, abs=1e-4), 500405: 1, 500705: 1}


def test_of_ground_beyond_the_map_nothing_is_said(tmp_path: Path) -> None:
    levels, quality = np.zeros((2, *GRID.shape), np.uint8)
    levels[0, [0, 40]] = 250
    # Of the 7 × 7 pixels around the corner that lie on the map a column is under a cloud; around the other 7 × 13 all are seen.
    quality[:, 5] = Quality.CLOUD
    levels[quality != 0] = 255
    table = drawn(tmp_path, levels, quality=quality)
    around = dict(zip(table.geometry.centroid.x.round().astype(int), table.observed_around, strict=True))
    assert around == {500005: pytest.approx(6 / 7, abs=1e-4), 500405: 1}


def test_areas_that_reach_through_many_windows_and_into_each_other_keep_their_pixels_apart(tmp_path: Path) -> None:
    levels = np.where(np.random.default_rng(3).random(GRID.shape) < 0.6, 130, 0).astype(np.uint8)
    levels[levels > 0] += np.random.default_rng(4).integers(0, 120, (levels > 0).sum(), np.uint8)
    table = drawn(tmp_path, levels, side=7)
    numbers, _ = label(levels >= 125)
    known = {number: levels[numbers == number].mean() * 0.004 for number in range(1, numbers.max() + 1)}
    assert len(table) == len(known) > 20
    places = [~GRID.transform @ shape.representative_point().coords[0] for shape in table.geometry]
    for mean, (col, row) in zip(table.mean_probability, places, strict=True):
        assert mean == pytest.approx(known[numbers[int(row), int(col)]], abs=1e-4)


def test_no_change_is_an_empty_layer_that_opens(tmp_path: Path) -> None:
    table = drawn(tmp_path, np.zeros((60, 80), np.uint8))
    assert len(table) == 0
    assert {"area_ha", "mean_probability", *NAMES, "observed_around"} <= set(table.columns)
    assert table.crs.to_epsg() == 32631


@pytest.mark.parametrize("name", ["change!v2.gpkg", "v2.gpkg;old.gpkg", "!work/v2.gpkg"])
def test_signs_of_a_url_in_a_path_leave_other_files_as_they_are(
    tmp_path: Path, levels: np.ndarray, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "!work").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("v2.gpkg").write_text("another's")
    monkeypatch.setattr("s2change_plugin.engine.polygons._MOST_HELD", 1)
    assert len(drawn(tmp_path, levels, target=name)) == 3
    assert Path("v2.gpkg").read_text() == "another's"
    assert [path.name for path in tmp_path.rglob("*.gpkg")].count("v2.gpkg") == 1
