"""Properties over random grids and rules: a window reads as the same part of the whole, and rules are undone exactly."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform
from rasterio.windows import Window

from s2change_plugin.engine.grid import slices_in
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.radiometry import DnRule, to_reflectance
from s2change_plugin.engine.scene import open_scene
from s2change_plugin.engine.stack import to_dn
from tests.conftest import textured, write_stack

GROUND = textured(3, 160, 160, 1)
BANDS = ("B03", "B04", "B11")
# One place, and about ten metres there.
UNITS = {"EPSG:32631": 10.0, "EPSG:4326": 0.0001, "EPSG:3857": 14.0}
CORNERS = {crs: [part[0] for part in transform("EPSG:32631", crs, [500000.0], [5000000.0])] for crs in UNITS}


@st.composite
def grids(draw: st.DrawFn) -> dict[str, object]:
    """Where a stack of (rows, cols) lies: somewhere near the same place, in one of three CRS, in pixels of 7 to 25 m."""
    crs = draw(st.sampled_from(sorted(UNITS)))
    unit, (x, y) = UNITS[crs], CORNERS[crs]
    size = unit * draw(st.sampled_from([0.7, 1.0, 1.0, 2.0, 2.5]))
    right, down = (draw(st.one_of(st.integers(-12, 12).map(float), st.floats(-12, 12))) for _ in range(2))
    return {"crs": crs, "origin": (x + right * unit, y - down * unit), "pixel": (size, size)}


def windows_of(height: int, width: int) -> st.SearchStrategy[Window]:
    """Windows that may reach beyond the grid."""
    return st.builds(Window, st.integers(-20, width - 1), st.integers(-20, height - 1), st.integers(1, 90), st.integers(1, 90))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(grids(), grids(), st.data(), st.booleans())
def test_a_window_reads_as_the_same_part_of_the_whole(one: dict, other: dict, data: st.DataObject, masked: bool) -> None:
    with TemporaryDirectory() as folder:
        values = GROUND.copy()
        values[:, 40:60, 30:80] = 0
        before = open_scene(str(write_stack(Path(folder, "a.tif"), values, BANDS, **one)))
        after = open_scene(str(write_stack(Path(folder, "b.tif"), GROUND[:, ::-1], BANDS, **other)))
        mask = np.zeros((1, 50, 50), np.uint8)
        mask[0, 20:30, 15:40] = 1
        options = PairOptions(register=False, clouds="none", mask_buffer=35)
        if masked:
            own = write_stack(Path(folder, "m.tif"), mask, None, crs="EPSG:32631", origin=(500100, 4999900), pixel=(20, 20))
            options = PairOptions(register=False, clouds="none", mask_buffer=35, after_mask=str(own))
        with open_pair(before, after, BANDS, options) as pair:
            margin = Window(-20, -20, pair.grid.width + 110, pair.grid.height + 110)
            whole = pair.read(margin)
            window = data.draw(windows_of(*pair.grid.shape))
            part = pair.read(window)
        rows, cols = slices_in(window, margin)
        np.testing.assert_array_equal(part.quality, whole.quality[rows, cols])
        # Half a digital number: GDAL may place a pixel a hundredth of a pixel off, another way in another window.
        np.testing.assert_allclose(part.before, whole.before[:, rows, cols], atol=5e-5)
        np.testing.assert_allclose(part.after, whole.after[:, rows, cols], atol=5e-5)


@given(st.integers(1, 65534), st.sampled_from([1000.0, 10000.0]), st.integers(-2000, 2000))
def test_digital_numbers_come_back_from_the_reflectance_that_a_rule_gives(dn: int, quantification: float, offset: int) -> None:
    rule = DnRule(1 / quantification, offset / quantification, "")
    reflectance = to_reflectance(np.array([dn], np.uint16), rule)
    assert reflectance.dtype == np.float32
    assert math.isclose(float(reflectance[0]) * quantification - offset, dn, abs_tol=quantification * 4e-6 + dn * 4e-7)


@given(st.lists(st.one_of(st.floats(-0.2, 6.4), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=50))
def test_what_is_stored_of_reflectance_is_it_to_half_a_step_and_never_turns_ground_into_nodata(values: list[float]) -> None:
    reflectance = np.array(values, np.float32)
    dn = to_dn(reflectance)
    assert ((dn == 0) == np.isnan(reflectance)).all()
    assert ((dn == 65535) == np.isposinf(reflectance)).all()
    ground = np.isfinite(reflectance) & (reflectance > 1e-4)
    np.testing.assert_allclose(dn[ground] / 10000, reflectance[ground], atol=5.1e-5)
