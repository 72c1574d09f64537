"""Where a file's pixels lie on a grid that is parallel to it, and reading them there: as they are, or interpolated between.

GDAL's general warp follows every pixel through two coordinate systems; on parallel grids of one CRS all pixels of a row and
all of a column share their place, which costs a fraction of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from .grid import Grid, box_around, slices_in
from .radiometry import Array

# A tenth of a thousandth of a pixel over the whole raster: below it two grids are the same, or parallel.
_SAME = 1e-4
# The largest factor by which pixels are made finer: 60 m to 10 m.
_FINEST = 6
# Pixels that the kernel reaches before the one at or before a place, and how many it takes.
_BEFORE, _TAPS = 1, 4
# Lines that are interpolated at a time: with fewer, threads wait for each other's steps.
_LINES = 192
# Of a sum of weights.
_ROUNDING = 2e-6
# Of an interpolated value, the least share of its weight that must lie on pixels that are there.
_LEAST_WEIGHT = 0.25


@dataclass(frozen=True)
class Placement:
    """Where a grid lies on a file that is parallel to it.

    Attributes:
        factor: pixels of the grid in one of the file, each way.
        row, col: of the grid's upper left corner, in the file's pixels.
    """

    factor: int
    row: float
    col: float

    @property
    def exact(self) -> bool:
        """True where the pixels of both are the same."""
        return self.factor == 1 and max(abs(self.row - round(self.row)), abs(self.col - round(self.col))) < _SAME

    @property
    def reach(self) -> int:
        """Pixels of the grid over which one of the file spreads."""
        return 0 if self.exact else 2 * self.factor

    def source(self, window: Window) -> Window:
        """What of the file is needed for a window of the grid; it may reach beyond the file."""
        (top, tall), (left, wide) = self._span(window.row_off, window.height, 0), self._span(window.col_off, window.width, 1)
        return Window(left, top, wide, tall)

    def nearest(self, window: Window) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of the file's rows and columns the centres of a window's rows and columns lie in; it may reach beyond the file."""
        return self._nearest(window.row_off, window.height, self.row), self._nearest(window.col_off, window.width, self.col)

    def _nearest(self, start: float, length: float, corner: float) -> NDArray[np.intp]:
        return np.floor((np.arange(int(length)) + start + 0.5) / self.factor + corner).astype(np.intp)

    def _span(self, start: float, length: float, axis: int) -> tuple[int, int]:
        """(first, count) of the file's pixels along an axis."""
        corner = (self.row, self.col)[axis]
        if self.exact:
            return int(start) + round(corner), int(length)
        first, last = (math.floor(_centre(at, self.factor, corner)) for at in (start, start + length - 1))
        return first - _BEFORE, last - first + _TAPS


def placement_of(grid: Grid, file: Grid) -> Placement | None:
    """Where a grid lies on a file's own, if both are parallel and the file's pixels are as large or a whole number of times larger."""
    if grid.crs != file.crs or not (grid.north_up and file.north_up):
        return None
    tall, wide = file.transform.e / grid.transform.e, file.transform.a / grid.transform.a
    factor = round(wide)
    # How far the last pixel is off where the first is right.
    drift = max(abs(tall / factor - 1) * grid.height, abs(wide / factor - 1) * grid.width) if factor else math.inf
    if not 1 <= factor <= _FINEST or drift >= _SAME:
        return None
    col, row = ~file.transform @ (grid.transform.c, grid.transform.f)
    return Placement(factor, float(row), float(col))


def interpolated(values: Array, window: Window, placement: Placement, complete: bool = False) -> Array:
    """A window of a grid, by cubic convolution along the rows and the columns: float32 (band, row, col).

    Where pixels are missing the others' weights count; a pixel that lies in a missing one of the file is missing.

    Args:
        values: (band, row, col) of the file under `placement.source(window)`; NaN is missing.
        window: of the grid.
        placement: of the grid on the file.
        complete: nothing is missing, as the caller knows.

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing", a = −1/2, which is GDAL's too.
    """
    if complete:
        return _both_ways(values, window, placement)
    there = np.isfinite(values)
    missing = np.logical_not(there.all(0))
    if not missing.any():
        return _both_ways(values, window, placement)
    found = _both_ways(np.where(there, values, np.float32(0)), window, placement)
    # Made up for where it matters alone, since that takes several times as long.
    box = box_around(spread(missing[None], window, placement)[0], 0)
    if box:
        rows, cols = box
        near = Window(window.col_off + cols.start, window.row_off + rows.start, cols.stop - cols.start, rows.stop - rows.start)
        there = there[(slice(None), *slices_in(placement.source(near), placement.source(window)))]
        _make_up(found[:, rows, cols], there[:1] if (there == there[0]).all() else there, near, placement)
    return found


def _make_up(found: Array, there: NDArray[np.bool_], window: Window, placement: Placement) -> None:
    """Make up, in place, for pixels that were missing and counted as 0; `there` is of all bands together or of each."""
    weight = _both_ways(there.astype(np.float32), window, placement)
    rows, cols = (_nearest(window, placement, axis) for axis in (0, 1))
    missing = ~there[:, rows[:, None], cols] | (weight < _LEAST_WEIGHT)
    # Where nothing is missing, what a window without any missing pixel would give.
    np.divide(found, weight, out=found, where=~missing & (np.abs(weight - 1) > _ROUNDING))
    np.copyto(found, np.nan, where=missing)


def spread(mask: NDArray[np.bool_], window: Window, placement: Placement) -> NDArray[np.bool_]:
    """True where a pixel of a window of the grid is interpolated from any True one; arguments as `interpolated`."""
    return _both_ways(mask.astype(np.float32), window, placement, absolute=True) > 0


def _both_ways(values: Array, window: Window, placement: Placement, absolute: bool = False) -> Array:
    found = np.empty((len(values), int(window.height), int(window.width)), np.float32)
    columns = _phases(window.col_off, window.width, placement.col, placement.factor, absolute)
    rows = _phases(window.row_off, window.height, placement.row, placement.factor, absolute)
    between = np.empty((found.shape[1], values.shape[2]), np.float32)
    for band, out in zip(values, found, strict=True):
        _along(band, between, rows)
        _along(between.T, out.T, columns)
    return found


def _along(values: Array, out: Array, phases: list[tuple[int, int, int, int, Array]]) -> None:
    """Interpolate along the first axis, some lines of memory at a time, which stay in the processor's cache from one tap to the next."""
    across = values.strides[0] < values.strides[1]
    for start, step, first, count, weights in phases:
        for line in range(0, values.shape[1] if across else count, _LINES):
            lines = slice(line, line + _LINES) if across else slice(None)
            begin, end = (0, count) if across else (line, min(line + _LINES, count))
            taps = [
                (values[first + tap + begin : first + tap + end, lines], weight) for tap, weight in enumerate(weights) if weight
            ]
            target = out[start::step][begin:end, lines]
            total = np.multiply(*taps[0], out=target if step == 1 else None)
            share = np.empty_like(total)
            for there, weight in taps[1:]:
                total += np.multiply(there, weight, out=share)
            if step > 1:
                target[:] = total


def _phases(start: float, length: float, corner: float, factor: int, absolute: bool) -> list[tuple[int, int, int, int, Array]]:
    """Pixels that lie alike in the file's: (first, step) of them, (first, count) of the file's, four weights."""
    origin = math.floor(_centre(start, factor, corner)) - _BEFORE
    found = []
    for phase in range(min(factor, int(length))):
        at = _centre(start + phase, factor, corner)
        weights = _cubic(at - math.floor(at))
        count = math.ceil((int(length) - phase) / factor)
        found.append((phase, factor, math.floor(at) - _BEFORE - origin, count, np.abs(weights) if absolute else weights))
    return found


def _centre(pixel: float, factor: int, corner: float) -> float:
    """Where the centre of a pixel of the grid lies, counted in the file's pixels from the first one's centre."""
    at = (pixel + 0.5) / factor + corner - 0.5
    # On a pixel, not a rounding error before it.
    return round(at, 6)


def _cubic(part: float) -> Array:
    """Weights of the four pixels around a place, part of the way from the second to the third."""
    distances = np.abs(np.array([1 + part, part, 1 - part, 2 - part]))
    near = 1.5 * distances**3 - 2.5 * distances**2 + 1
    far = -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2
    weights = np.where(distances < 1, near, np.where(distances < 2, far, 0))
    return np.where(np.abs(weights) < 1e-6, 0, weights).astype(np.float32)


def _nearest(window: Window, placement: Placement, axis: int) -> NDArray[np.int64]:
    """The pixel of the file, counted in what `Placement.source` covers, in which each pixel's centre lies."""
    start, length = (window.row_off, window.height) if axis == 0 else (window.col_off, window.width)
    corner = (placement.row, placement.col)[axis]
    origin = math.floor(_centre(start, placement.factor, corner)) - _BEFORE
    centres = (start + np.arange(int(length)) + 0.5) / placement.factor + corner
    return np.asarray(np.floor(np.round(centres, 6)) - origin, np.int64)
