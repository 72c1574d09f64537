import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.placement import Placement, interpolated, placement_of, spread

from ..conftest import textured

UTM = CRS.from_epsg(32631)
FILE = Grid(UTM, Affine(60, 0, 500_000, 0, -60, 5_000_000), 60, 80)


def on_file(factor: int, row: float, col: float) -> Grid:
    """The grid with pixels finer by a factor, displaced by pixels of its own."""
    transform = FILE.transform @ Affine.scale(1 / factor) @ Affine.translation(col, row)
    return Grid(UTM, transform, FILE.height * factor, FILE.width * factor)


def read(values: np.ndarray, window: Window) -> np.ndarray:
    """A window of values, NaN beyond them."""
    wide = np.pad(values, [(0, 0), (400, 400), (400, 400)], constant_values=np.nan)
    row, col = int(window.row_off) + 400, int(window.col_off) + 400
    return wide[:, row : row + int(window.height), col : col + int(window.width)].copy()


def laid(values: np.ndarray, window: Window, placement: Placement) -> np.ndarray:
    seen = read(values, placement.source(window))
    return seen if placement.exact else interpolated(seen, window, placement)


@pytest.mark.parametrize("factor", [1, 2, 3, 6])
@pytest.mark.parametrize(("row", "col"), [(0.0, 0.0), (0.37, -0.6), (-1.25, 2.5)])
def test_interpolation_on_a_parallel_grid_is_what_gdals_cubic_warp_gives(factor: int, row: float, col: float) -> None:
    values = textured(2, FILE.height, FILE.width, 3).astype(np.float32)
    grid = on_file(factor, row, col)
    placement = placement_of(grid, FILE)
    assert placement is not None
    window = Window(5 * factor, 7 * factor, 40 * factor + 1, 30 * factor + 1)
    profile = {"driver": "GTiff", "count": 2, "dtype": "float32", "crs": UTM, "transform": FILE.transform}
    with MemoryFile() as memory:
        with memory.open(**profile, height=FILE.height, width=FILE.width) as raster:
            raster.write(values)
        with (
            memory.open() as raster,
            WarpedVRT(
                raster,
                crs=UTM,
                transform=grid.transform,
                height=grid.height,
                width=grid.width,
                resampling=Resampling.cubic,
                tolerance=0.01,
            ) as warped,
        ):
            expected = warped.read(window=window)
    np.testing.assert_allclose(laid(values, window, placement), expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("factor", [1, 2, 6])
def test_a_pixel_does_not_depend_on_the_window_that_it_is_read_in(factor: int) -> None:
    values = textured(1, FILE.height, FILE.width, 4).astype(np.float32)
    values[:, 20:24, 30:37] = np.nan
    placement = Placement(factor, 0.3, -0.45)
    whole = laid(values, Window(0, 0, FILE.width * factor, FILE.height * factor), placement)
    part = laid(values, Window(31, 17, 41, 33), placement)
    np.testing.assert_array_equal(part, whole[:, 17:50, 31:72])


def test_a_pixel_that_lies_in_a_missing_one_is_missing_and_its_neighbours_are_ground() -> None:
    values = np.full((1, FILE.height, FILE.width), 0.25, np.float32)
    values[0, 20:30, 40:50] = np.nan
    found = laid(values, Window(0, 0, FILE.width * 2 - 2, FILE.height * 2 - 2), Placement(2, 0.2, 0.2))[0]
    # A pixel's centre lies a quarter, or three, of the file's pixel from its corner, and 0.2 more.
    inside = np.zeros(found.shape, bool)
    inside[40:60, 80:100] = True
    np.testing.assert_array_equal(np.isnan(found), inside)
    np.testing.assert_allclose(found[~inside], 0.25, rtol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 6])
def test_what_is_missing_changes_its_own_band_near_it_and_nothing_else(factor: int) -> None:
    values = np.random.default_rng(1).random((3, FILE.height, FILE.width), np.float32)
    holed = values.copy()
    holed[1, 20, 30:33] = holed[1, 40, 10] = np.nan
    placement, window = Placement(factor, 0.3, -0.2), Window(5 * factor, 3 * factor, 50 * factor, 45 * factor)
    found, whole = laid(holed, window, placement), laid(values, window, placement)
    np.testing.assert_array_equal(found[[0, 2]], whole[[0, 2]])
    np.testing.assert_array_equal(found[1], laid(holed[1:2], window, placement)[0])
    near = np.isnan(read(holed, placement.source(window))[1])
    assert not ((found != whole).any(0) & ~spread(near[None], window, placement)[0]).any()
    assert np.isnan(found[1]).sum() == 4 * factor**2


def test_what_spreads_is_every_pixel_that_a_marked_one_changes() -> None:
    placement, window = Placement(2, 0.3, -0.2), Window(0, 0, FILE.width * 2, FILE.height * 2)
    values = np.zeros((1, FILE.height, FILE.width), np.float32)
    marked = values.copy()
    marked[0, 25, 40] = 1e6
    change = np.nan_to_num(laid(marked, window, placement)) != np.nan_to_num(laid(values, window, placement))
    source = read(marked, placement.source(window))
    np.testing.assert_array_equal(spread(source > 0, window, placement), change)


@pytest.mark.parametrize(
    ("grid", "why"),
    [
        (Grid(UTM, FILE.transform @ Affine.rotation(1), 60, 80), "turned"),
        (Grid(UTM, FILE.transform @ Affine.scale(1.01), 60, 80), "another scale"),
        (Grid(UTM, FILE.transform @ Affine.scale(2), 30, 40), "coarser"),
        (Grid(UTM, FILE.transform @ Affine.scale(1 / 7), 420, 560), "very much finer"),
        (Grid(CRS.from_epsg(32632), FILE.transform, 60, 80), "another CRS"),
    ],
)
def test_other_grids_are_left_to_gdal(grid: Grid, why: str) -> None:
    assert placement_of(grid, FILE) is None, why


def test_the_files_own_pixels_are_exact() -> None:
    placement = placement_of(on_file(1, 3, -2), FILE)
    assert placement is not None
    assert placement.exact
    assert placement.source(Window(4, 5, 6, 7)) == Window(2, 8, 6, 7)
