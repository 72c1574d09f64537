from dataclasses import replace

import geopandas
import numpy as np
import pytest
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from shapely.geometry import box

from s2change_plugin.engine.grid import (
    Grid,
    aligned_windows,
    apart,
    around,
    base_grid,
    bounds_window,
    fits_geopackage,
    geodesic_area_m2,
    geodesic_areas_m2,
    grow,
    intersect,
    is_native,
    pixel_area_m2,
    pixel_size_m,
    place_of,
    sample_windows,
    slices_in,
    utm_grid,
    windows,
)

UTM = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 400, 300)
DEGREES = Grid(CRS.from_epsg(4326), Affine(9.4e-5, 0, 54.5, 0, -9.4e-5, 24.4), 800, 780)


def test_pixels_are_measured_on_the_ground_in_degrees_too() -> None:
    assert pixel_size_m(UTM) == pytest.approx((10, 10), rel=1e-3)
    assert pixel_size_m(DEGREES) == pytest.approx((10.4, 9.5), rel=0.01)
    assert is_native(DEGREES)


def test_a_grid_of_10_metres_is_kept_and_another_becomes_10_metres_of_utm() -> None:
    coarse = Grid(CRS.from_epsg(4326), Affine(2e-4, 0, 2.3, 0, -2e-4, 48.9), 200, 200)
    made = base_grid(coarse)
    assert base_grid(UTM) == UTM
    assert made.crs.to_epsg() == 32631
    assert (made.transform.a, made.transform.e) == (10, -10)
    assert made.transform.c % 10 == 0
    assert bounds_window(made, coarse.bounds, coarse.crs) == made.window


def test_a_grid_that_is_not_north_up_is_laid_anew() -> None:
    upside_down = Grid(UTM.crs, Affine(10, 0, 500000, 0, 10, 4996000), 400, 300)
    assert base_grid(upside_down).north_up


def test_bounds_become_the_whole_pixels_that_they_touch() -> None:
    assert bounds_window(UTM, (500095, 4999000, 500201, 4999990), UTM.crs) == Window(9, 1, 12, 99)


def test_bounds_that_end_at_a_pixel_edge_take_no_further_pixel() -> None:
    assert bounds_window(UTM, (500100, 4999000, 500200, 4999900), UTM.crs) == Window(10, 10, 10, 90)


def test_bounds_outside_have_no_window() -> None:
    assert bounds_window(UTM, (600000, 4999000, 600100, 4999100), UTM.crs) is None


def test_a_crs_with_a_turned_pole_has_no_place_in_a_geopackage() -> None:
    turned = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229 +to_meter=0.0174532925199433"
    assert not fits_geopackage(CRS.from_string(turned))
    assert fits_geopackage(UTM.crs)


def test_a_place_is_said_in_another_crs_where_it_has_one_there() -> None:
    assert place_of(UTM, CRS.from_epsg(4326)).endswith("in EPSG:4326")
    assert place_of(UTM, UTM.crs) == place_of(UTM)
    assert place_of(UTM, CRS.from_string("+proj=ortho +lon_0=180")) == place_of(UTM), "the other side of the Earth"


def test_bounds_that_the_grids_crs_has_no_place_for_are_cut_to_the_grid() -> None:
    whole = CRS.from_epsg(4326)
    assert bounds_window(UTM, (-180, -90, 180, 90), whole) == UTM.window


def test_windows_cover_every_pixel_once() -> None:
    seen = np.zeros((700, 530), int)
    for window in windows(700, 530, 256):
        seen[slices_in(window, Window(0, 0, 530, 700))] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("area", [Window(13, 21, 530, 700), Window(16, 0, 20, 30), Window(0, 8, 300, 8)])
def test_aligned_windows_cover_an_area_once_from_multiples_of_the_step(area: Window) -> None:
    seen = np.zeros((800, 600), int)
    found = aligned_windows(area, 250, 8)
    for window in found:
        assert window.row_off % 8 == window.col_off % 8 == 0
        assert max(window.width, window.height) <= 256
        seen[slices_in(window, Window(0, 0, 600, 800))] += 1
    assert (seen[slices_in(area, Window(0, 0, 600, 800))] == 1).all()
    assert seen.sum() == sum(window.width * window.height for window in found) < (area.width + 8) * (area.height + 8)


def test_an_area_of_one_window_is_cut_for_threads_to_share_unless_it_is_small() -> None:
    assert len(aligned_windows(Window(0, 0, 700, 700), 768, 8)) == 4
    assert len(aligned_windows(Window(0, 0, 250, 250), 768, 8)) == 1


@pytest.mark.parametrize("window", [Window(10, 20, 30, 40), Window(3, 5, 30, 40), Window(3, 5, 60, 70), Window(33, 5, 30, 9)])
def test_what_lies_around_a_window_is_the_frame_without_it_once(window: Window) -> None:
    frame = Window(3, 5, 60, 70)
    seen = np.zeros((70, 60), int)
    for part in [window, *around(window, frame)]:
        assert part.width > 0
        assert part.height > 0
        seen[slices_in(part, frame)] += 1
    assert (seen == 1).all()


def test_a_grown_window_holds_the_window_at_its_halo() -> None:
    window = Window(512, 0, 100, 90)
    rows, cols = slices_in(window, grow(window, 48))
    assert (rows, cols) == (slice(48, 138), slice(48, 148))


def test_windows_that_only_touch_share_nothing() -> None:
    assert intersect(Window(0, 0, 10, 10), Window(10, 0, 10, 10)) is None


def test_a_pixel_in_degrees_has_its_true_area() -> None:
    tall, wide = pixel_size_m(DEGREES)
    assert pixel_area_m2(DEGREES, Window(200, 200, 300, 300)) == pytest.approx(tall * wide, rel=1e-3)


def test_polygon_areas_are_the_sum_of_their_pixels() -> None:
    part = UTM.crop(Window(20, 30, 50, 60))
    area = geodesic_areas_m2([box(*part.bounds)], UTM.crs)[0]
    assert area == pytest.approx(pixel_area_m2(UTM, Window(20, 30, 50, 60)) * 3000, rel=1e-4)
    # The scale on the central meridian of UTM is 0.9996.
    assert area == pytest.approx(300000 / 0.9996**2, rel=1e-4)


@pytest.mark.parametrize("epsg", [32601, 32660, 3857])
def test_polygon_areas_are_true_on_both_sides_of_the_date_line(epsg: int) -> None:
    crs = CRS.from_epsg(epsg)
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(179.999 if epsg != 32601 else -179.999, 60)
    outlines = [box(x - 500, y, x + 500, y + 1000), box(x, y, x + 10, y + 10)]
    lonlat = geopandas.GeoSeries(outlines, crs=epsg).to_crs(4326)
    expected = [abs(Geod(ellps="WGS84").geometry_area_perimeter(outline)[0]) for outline in lonlat]
    assert geodesic_areas_m2(outlines, crs) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("epsg", "side"), [(4326, 0.01), (31466, 1000), (23031, 1000), (27700, 1000), (3413, 1000)])
def test_polygon_areas_are_true_in_degrees_and_on_other_ellipsoids(epsg: int, side: float) -> None:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(5, 51)
    outline = box(x, y, x + side, y + side)
    (lonlat,) = geopandas.GeoSeries([outline], crs=epsg).to_crs(4326)
    expected = abs(Geod(ellps="WGS84").geometry_area_perimeter(lonlat)[0])
    assert geodesic_areas_m2([outline], CRS.from_epsg(epsg)) == pytest.approx([expected], rel=1e-6)


def test_no_polygons_have_no_areas() -> None:
    assert geodesic_areas_m2([], UTM.crs).shape == (0,)


@pytest.mark.parametrize(
    ("height", "width", "whole"),
    [
        (40, 60, True),
        (300, 260, True),
        (457, 363, True),
        (300, 2000, True),
        (300, 3000, False),
        (1024, 1024, True),
        (1600, 900, False),
        (9000, 9000, False),
    ],
)
def test_samples_are_spread_to_the_corners_and_what_they_share_can_be_left_out(height: int, width: int, whole: bool) -> None:
    """What is measured of them counts no ground twice; a raster that so many can cover is covered."""
    found = list(sample_windows(height, width, 256, 16))
    assert len(found) <= 16
    assert {(window.height, window.width) for window in found} == {(min(256, height), min(256, width))}
    times = np.zeros((height, width), int)
    for window, own in zip(found, apart(found), strict=True):
        assert intersect(window, own) == own
        times[own.toslices()] += 1
    assert (times.min(), times.max()) == (int(whole), 1)
    assert times[0, 0] == times[-1, -1] == times[0, -1] == times[-1, 0] == 1


def test_a_raster_smaller_than_a_sample_is_one_sample() -> None:
    assert list(sample_windows(40, 60, 256, 16)) == [Window(0, 0, 60, 40)]


@pytest.mark.parametrize(("left", "right"), [(179.9, 180.1), (-180.1, -179.9), (539.9, 540.1)])
def test_a_place_across_180_degrees_keeps_its_zone(left: float, right: float) -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine((right - left) / 100, 0, left, 0, -0.002, -17.0), 100, 100)
    assert utm_grid(degrees).crs.to_epsg() in (32701, 32760)


@pytest.mark.parametrize("left", [179.8, -180.2, -179.95, 180.05])
def test_bounds_across_180_degrees_meet_a_grid_in_degrees_on_either_side(left: float) -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(0.001, 0, left, 0, -0.001, -17.0), 100, 100)
    around = transform_bounds("EPSG:4326", "EPSG:32760", 179.5, -17.5, 180.5, -16.5)
    assert bounds_window(degrees, around, CRS.from_epsg(32760)) == degrees.window
    elsewhere = replace(degrees, transform=Affine(0.001, 0, 100.0, 0, -0.001, -17.0))
    assert bounds_window(elsewhere, around, CRS.from_epsg(32760)) is None


def test_a_utm_scene_across_180_degrees_keeps_its_zone() -> None:
    coarse = Grid(CRS.from_epsg(32760), Affine(20, 0, 810000, 0, -20, 8120000), 500, 500)
    assert utm_grid(coarse).crs.to_epsg() in (32701, 32760)
    assert 0.9 < geodesic_area_m2(utm_grid(coarse)) / geodesic_area_m2(coarse) < 1.3
