from pathlib import Path

import geopandas
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import rasterize

from s2change_plugin.engine import outputs
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.polygons import write_polygons

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 60, 80)


def drawn(tmp_path: Path, levels: np.ndarray, threshold: float = 0.5, target: str = "change.gpkg") -> geopandas.GeoDataFrame:
    layers = {"mask": (outputs.MASK, outputs.to_mask(levels, threshold)), "probability": (outputs.PROBABILITY, levels)}
    for name, (layer, values) in layers.items():
        writer = outputs.RasterWriter(tmp_path / name, GRID, layer, {})
        writer.write(values, GRID.window)
        writer.close()
    write_polygons(tmp_path / "mask", tmp_path / "probability", tmp_path / target)
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


def test_an_area_that_spans_windows_has_one_mean(tmp_path: Path, levels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    levels[10:20, 20:30] = 150
    whole = drawn(tmp_path, levels)
    monkeypatch.setattr("s2change_plugin.engine.polygons._WINDOW", 16)
    assert drawn(tmp_path, levels).mean_probability.tolist() == whole.mean_probability.tolist()
    # 96 pixels at 0.8, 100 at 0.6.
    assert whole.mean_probability[0] == pytest.approx((96 * 0.8 + 100 * 0.6) / 196, abs=1e-4)


def test_no_change_is_an_empty_layer_that_opens(tmp_path: Path) -> None:
    table = drawn(tmp_path, np.zeros((60, 80), np.uint8))
    assert len(table) == 0
    assert {"area_ha", "mean_probability"} <= set(table.columns)
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
