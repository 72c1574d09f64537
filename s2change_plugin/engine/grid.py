"""Grids: CRS, transform and shape; the common grid of a pair; windows and true areas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS as ProjCRS
from pyproj import Geod, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from .errors import GridMismatch

Bounds = tuple[float, float, float, float]

TARGET_GSD_M = 10.0
# A grid whose pixels measure this much on the ground is a Sentinel-2 10 m grid, whatever its CRS.
NATIVE_GSD_M = (8.0, 12.0)
# Every ellipsoid of the Earth in use has its larger radius between these, and no other body's has.
_EARTH_RADIUS_M = (6.3e6, 6.5e6)
# Windows are not cut smaller than this for threads to share, pixels: context around them would outweigh what is shared.
SMALL = 256
_WGS84 = Geod(ellps="WGS84")


@dataclass(frozen=True)
class Grid:
    """A raster's place on the ground.

    Attributes:
        crs: coordinate reference system.
        transform: affine from (col, row) of a pixel's upper left corner to CRS coordinates.
        height, width: pixels.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def bounds(self) -> Bounds:
        """(left, bottom, right, top) in CRS units, of the four corners' hull."""
        corners = [self.transform @ corner for corner in ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def window(self) -> Window:
        """All of it."""
        return Window(0, 0, self.width, self.height)

    @property
    def north_up(self) -> bool:
        """True where rows run south and columns east, without rotation."""
        t = self.transform
        return t.b == 0 and t.d == 0 and t.a > 0 and t.e < 0

    def crop(self, window: Window) -> Grid:
        """The part of it under a window of whole pixels."""
        moved = self.transform @ Affine.translation(window.col_off, window.row_off)
        return Grid(self.crs, moved, int(window.height), int(window.width))


def pixel_size_m(grid: Grid) -> tuple[float, float]:
    """Height and width of the central pixel on the ground, geodesic metres."""
    row, col = grid.height / 2, grid.width / 2
    corners = [grid.transform @ corner for corner in ((col, row), (col, row + 1), (col + 1, row))]
    xs, ys = zip(*corners, strict=True)
    lon, lat = _to_lonlat(grid.crs).transform(xs, ys)
    _, _, metres = _WGS84.inv([lon[0], lon[0]], [lat[0], lat[0]], lon[1:], lat[1:])
    return float(metres[0]), float(metres[1])


def is_native(grid: Grid) -> bool:
    """True where windows of the grid can go to the network as they are: north up, pixels of 8–12 m on the ground."""
    low, high = NATIVE_GSD_M
    return grid.north_up and all(low <= size <= high for size in pixel_size_m(grid))


def base_grid(grid: Grid) -> Grid:
    """The 10 m grid of a scene: its own where that measures 8–12 m on the ground, else one in its UTM zone."""
    return grid if is_native(grid) else utm_grid(grid)


def utm_grid(grid: Grid) -> Grid:
    """A 10 m grid over the same ground, in the UTM zone of its centre, aligned to multiples of 10 m.

    Raises:
        GridMismatch: the place lies outside all UTM zones.
    """
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds)
    if not all(math.isfinite(value) for value in (west, south, east, north)):
        raise GridMismatch(f"The place {place_of(grid)} is not on Earth. Assign the right CRS or georeference.")
    # Across 180° the west lies east of the east; and some rasters count longitude on beyond 180.
    lon = ((west + east + (360 if west > east else 0)) / 2 + 180) % 360 - 180
    lat = (south + north) / 2
    zones = query_utm_crs_info("WGS 84", AreaOfInterest(lon, lat, lon, lat))
    if not zones:
        raise GridMismatch(f"No UTM zone covers longitude {lon:.2f}, latitude {lat:.2f}; give rasters on a 10 m grid.")
    crs = CRS.from_epsg(int(zones[0].code))
    left, bottom, right, top = transform_bounds(grid.crs, crs, *grid.bounds)
    step = TARGET_GSD_M
    left, bottom = math.floor(left / step) * step, math.floor(bottom / step) * step
    width, height = math.ceil((right - left) / step), math.ceil((top - bottom) / step)
    return Grid(crs, Affine(step, 0, left, 0, -step, bottom + height * step), height, width)


def bounds_window(grid: Grid, bounds: Bounds, crs: CRS) -> Window | None:
    """The window of whole pixels of a north-up grid that covers bounds given in any CRS, or None where they do not meet.

    Bounds that end within a hundredth of a pixel of an edge end at that edge.
    """
    if crs != grid.crs:
        try:
            moved = transform_bounds(crs, grid.crs, *bounds)
            if not all(map(math.isfinite, moved)):
                # Such as those of the whole Earth, for which the grid's CRS has no place.
                left, bottom, right, top = transform_bounds(grid.crs, crs, *grid.bounds)
                shared = max(bounds[0], left), max(bounds[1], bottom), min(bounds[2], right), min(bounds[3], top)
                moved = transform_bounds(crs, grid.crs, *shared) if shared[0] < shared[2] and shared[1] < shared[3] else moved
            bounds = moved
        except (CRSError, CPLE_BaseError) as error:
            raise GridMismatch(f"Bounds {bounds} in {name_of(crs)} cannot be placed in {name_of(grid.crs)}: {error}.") from error
    if not all(math.isfinite(value) for value in bounds):
        return None
    if crs != grid.crs and grid.crs.is_geographic and bounds[0] > bounds[2]:
        # Across 180°: the grid may lie on either side of it, or count on beyond.
        west, south, east, north = bounds
        sides = ((west, south, east + 360, north), (west - 360, south, east, north))
        return next(filter(None, (bounds_window(grid, side, grid.crs) for side in sides)), None)
    left, top = ~grid.transform @ (bounds[0], bounds[3])
    right, bottom = ~grid.transform @ (bounds[2], bounds[1])
    slack = 0.01
    col, row = max(0, math.floor(left + slack)), max(0, math.floor(top + slack))
    last_col, last_row = min(grid.width, math.ceil(right - slack)), min(grid.height, math.ceil(bottom - slack))
    if last_col <= col or last_row <= row:
        return None
    return Window(col, row, last_col - col, last_row - row)


def windows(height: int, width: int, size: int) -> list[Window]:
    """Windows of at most size × size pixels that cover height × width once, row by row, aligned to the origin."""
    return [
        Window(col, row, min(size, width - col), min(size, height - row))
        for row in range(0, height, size)
        for col in range(0, width, size)
    ]


def aligned_windows(area: Window, size: int, step: int) -> list[Window]:
    """Windows that cover an area once, row by row, each from a multiple of `step` on.

    Args:
        area: of a grid, whole pixels.
        size: of each at most, pixels, rounded up to a multiple of `step`; a smaller area is cut all the same, for threads to share.
        step: of which the first row and column of each window is a multiple; the first windows may so begin before the area.
    """
    row, col = (int(start) // step * step for start in (area.row_off, area.col_off))
    height, width = int(area.row_off + area.height) - row, int(area.col_off + area.width) - col
    size = min(size, max(SMALL, math.ceil(max(height, width) / 2)))
    size = math.ceil(size / step) * step
    return [Window(col + one.col_off, row + one.row_off, one.width, one.height) for one in windows(height, width, size)]


def grow(window: Window, halo: int) -> Window:
    """The window with a margin of halo pixels on each side; it may reach beyond the raster."""
    return Window(window.col_off - halo, window.row_off - halo, window.width + 2 * halo, window.height + 2 * halo)


def intersect(one: Window, other: Window) -> Window | None:
    """What two windows share, or None; unlike rasterio's, it raises nothing for windows that do not meet."""
    col, row = max(one.col_off, other.col_off), max(one.row_off, other.row_off)
    last_col = min(one.col_off + one.width, other.col_off + other.width)
    last_row = min(one.row_off + one.height, other.row_off + other.height)
    return Window(col, row, last_col - col, last_row - row) if last_col > col and last_row > row else None


def slices_in(window: Window, frame: Window) -> tuple[slice, slice]:
    """Where a window lies in an array that holds the frame: (rows, cols)."""
    row, col = int(window.row_off - frame.row_off), int(window.col_off - frame.col_off)
    return slice(row, row + int(window.height)), slice(col, col + int(window.width))


def around(window: Window, frame: Window) -> list[Window]:
    """The parts of a frame that lie around a window inside it: above, below, left and right."""
    (top, bottom), (left, right) = ((part.start, part.stop) for part in slices_in(window, frame))
    height, width = int(frame.height), int(frame.width)
    parts = (
        (0, 0, top, width),
        (bottom, 0, height - bottom, width),
        (top, 0, bottom - top, left),
        (top, right, bottom - top, width - right),
    )
    return [Window(frame.col_off + col, frame.row_off + row, wide, tall) for row, col, tall, wide in parts if tall and wide]


def box_around(mask: NDArray[np.bool_], more: int) -> tuple[slice, slice] | None:
    """Rows and columns of a mask (row, col) from the first True to the last, and so many more on all sides; None without any."""
    rows, cols = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return slice(max(0, rows[0] - more), rows[-1] + more + 1), slice(max(0, cols[0] - more), cols[-1] + more + 1)


def pixel_area_m2(grid: Grid, window: Window) -> float:
    """Mean area of a window's pixels on the WGS 84 ellipsoid, square metres.

    Within a window of 512 pixels of 10 m the area varies by less than 0.1 % up to latitude 60, in degrees as in UTM.
    """
    part = grid.crop(window)
    return geodesic_area_m2(part) / (part.height * part.width)


def geodesic_area_m2(grid: Grid) -> float:
    """Area of a grid's bounds on the WGS 84 ellipsoid, square metres."""
    xs, ys = _densified_ring(*grid.bounds)
    lon, lat = _to_lonlat(grid.crs).transform(xs, ys)
    area, _ = _WGS84.polygon_area_perimeter(lon, lat)
    return abs(float(area))


def geodesic_areas_m2(geometries: Sequence[Any], crs: CRS) -> NDArray[np.float64]:
    """Area of each polygon on the WGS 84 ellipsoid, square metres; geometries are shapely's, in the given CRS.

    By Lambert's cylindrical projection around their middle meridian, which is true to area on the ellipsoid, all at once. What is straight there
    is not quite what is straight in the CRS, which for a square of 1 km makes less than a millionth.
    """
    import shapely

    outlines = np.array(geometries, object)
    if not len(outlines):
        return np.empty(0)
    left, bottom, right, top = shapely.total_bounds(outlines)
    middle, _ = _to_lonlat(crs).transform((left + right) / 2, (bottom + top) / 2)
    true_to_area = f"+proj=cea +lon_0={middle} +datum=WGS84 +units=m"
    lay = Transformer.from_crs(for_pyproj(crs), true_to_area, always_xy=True).transform
    return np.asarray(shapely.area(shapely.transform(outlines, lambda places: np.column_stack(lay(*places.T)))), np.float64)


@cache
def is_on_earth(crs: CRS) -> bool:
    """True for a CRS in which places on Earth can be given."""
    if not (crs.is_geographic or crs.is_projected):
        return False
    low, high = _EARTH_RADIUS_M
    body = for_pyproj(crs).ellipsoid
    return body is not None and low < body.semi_major_metre < high


def crs_of(text: str | None) -> CRS | None:
    """The CRS that a text names, such as EPSG:32631, or holds, as WKT; None of none.

    Raises:
        ValueError: it is not one; the text says so.
    """
    try:
        return CRS.from_user_input(text) if text else None
    except CRSError as error:
        raise ValueError(f"{text} is not a CRS that is known; give one such as EPSG:32631") from error


def for_pyproj(crs: CRS) -> ProjCRS:
    """A CRS of rasterio as pyproj and geopandas have it, in the words that every CRS can be said in."""
    return ProjCRS.from_wkt(crs.to_wkt(version="WKT2_2019"))


def fits_geopackage(crs: CRS) -> bool:
    """Whether a GeoPackage can say a CRS: those that only WKT2 has words for, such as one with a turned pole, it cannot."""
    try:
        for_pyproj(crs).to_wkt("WKT1_GDAL")
    except ProjError:
        return False
    return True


def lonlat_of(point: Any, crs: CRS) -> tuple[float, float]:
    """Longitude and latitude, degrees, of a shapely point in a CRS."""
    lon, lat = lonlats_of(point.x, point.y, crs)
    return float(lon), float(lat)


def lonlats_of(xs: Any, ys: Any, crs: CRS) -> tuple[Any, Any]:
    """Longitudes and latitudes, degrees, of places in a CRS, each (n,)."""
    lon, lat = _to_lonlat(crs).transform(xs, ys)
    return lon, lat


def name_of(crs: CRS) -> str:
    """A CRS in the few characters that a message has room for, such as "EPSG:32631"."""
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else str(for_pyproj(crs).name)


def place_of(grid: Grid, crs: CRS | None = None) -> str:
    """A grid's bounds and CRS as a message shows them: in the CRS that is asked for, if the grid has a place there, else in its own."""
    if crs is not None and crs != grid.crs:
        with suppress(CRSError, CPLE_BaseError):
            bounds = transform_bounds(grid.crs, crs, *grid.bounds)
            if all(map(math.isfinite, bounds)):
                return _said(bounds, crs)
    return _said(grid.bounds, grid.crs)


def _said(bounds: Bounds, crs: CRS) -> str:
    digits = 4 if crs.is_geographic else 0
    return f"({', '.join(f'{value:.{digits}f}' for value in bounds)}) in {name_of(crs)}"


def _densified_ring(left: float, bottom: float, right: float, top: float) -> tuple[list[float], list[float]]:
    steps = np.linspace(0, 1, 9)[:-1]
    xs = [*(left + steps * (right - left)), *[right] * 8, *(right - steps * (right - left)), *[left] * 8]
    ys = [*[bottom] * 8, *(bottom + steps * (top - bottom)), *[top] * 8, *(top - steps * (top - bottom))]
    return xs, ys


def _to_lonlat(crs: CRS) -> Transformer:
    return Transformer.from_crs(for_pyproj(crs), "EPSG:4326", always_xy=True)


def sample_windows(height: int, width: int, size: int, most: int) -> Iterator[Window]:
    """At most `most` windows of size × size, spread evenly over height × width; smaller where the raster is smaller.

    A raster that so many can cover is covered; they then overlap, see `apart`.
    """
    rows = min(round(most**0.5), math.ceil(height / size))
    cols = min(most // rows, math.ceil(width / size))
    tall, wide = min(size, height), min(size, width)
    for row in np.linspace(0, height - tall, rows):
        for col in np.linspace(0, width - wide, cols):
            yield Window(int(col), int(row), wide, tall)


def apart(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Windows in rows and columns, as `sample_windows` gives them, without what they share: neighbours part in the middle of it."""
    rows = _apart({(int(one.row_off), int(one.row_off + one.height)) for one in windows})
    cols = _apart({(int(one.col_off), int(one.col_off + one.width)) for one in windows})
    each = [(rows[one.row_off], cols[one.col_off]) for one in windows]
    return tuple(Window(left, top, right - left, bottom - top) for (top, bottom), (left, right) in each)


def _apart(spans: set[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """What is left of spans (start, end), by where each starts."""
    ordered = sorted(spans)
    middles = [(end + start) // 2 if start < end else None for (_, end), (start, _) in pairwise(ordered)]
    return {
        start: (start if before is None else before, end if after is None else after)
        for (start, end), before, after in zip(ordered, [None, *middles], [*middles, None], strict=True)
    }
