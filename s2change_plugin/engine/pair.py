"""Two scenes on one grid: laid over each other once, then read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.windows import Window

from .bands import TEN_BANDS
from .errors import GridMismatch, UnitsUnclear, UnreadableInput
from .grid import Grid, base_grid, bounds_window, place_of, sample_windows
from .radiometry import Array, band_shifts, is_added_offset
from .registration import NOT_ASKED, Shift, measure_shift
from .scene import Scene, SceneReader
from .validity import Codes, quality_of

# Enough ground for statistics and for the shift: 16 samples of 2.56 km.
_SAMPLES, _SAMPLE_SIZE = 16, 256
# Where edges of ground stand out best, at 10 m.
_REGISTRATION_BANDS = ("B03", "B04", "B08")


@dataclass(frozen=True)
class PairWindow:
    """What both dates show of a window.

    Attributes:
        before, after: float32 (band, row, col) reflectance, NaN where not usable.
        quality: uint8 (row, col), codes of `validity.Quality`.
    """

    before: Array
    after: Array
    quality: Codes


class Pair:
    """Two open scenes on their common grid; made by `open_pair`."""

    def __init__(self, before: Scene, after: Scene, register: bool = True, trust_units: bool = False) -> None:
        """Lay the scenes over each other; see `open_pair`."""
        base = base_grid(before.grid)
        window = bounds_window(base, after.grid.bounds, after.grid.crs)
        if window is None:
            raise GridMismatch(
                f"{after.source} does not overlap {before.source}: {place_of(after.grid)} against {place_of(before.grid)}. "
                "Pick two scenes of one place."
            )
        self.before, self.after = before, after
        self.grid = base.crop(window)
        self.shift = NOT_ASKED
        self._readers = (SceneReader(before, self.grid), SceneReader(after, self.grid))
        samples = list(self._samples())
        if not trust_units:
            _require_one_unit(before, after, samples)
        if register:
            self.shift = _shift_of(samples, tuple(before.bands))
        if self.shift.matters:
            self._readers[1].close()
            self._readers = (self._readers[0], SceneReader(after, _moved(self.grid, self.shift)))

    def read(self, window: Window) -> PairWindow:
        """Both dates of a window; it may reach beyond the grid, where nothing is observed."""
        before, after = (reader.read(window) for reader in self._readers)
        quality = quality_of(before, after)
        before[np.isinf(before)] = np.nan
        after[np.isinf(after)] = np.nan
        return PairWindow(before, after, quality)

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            reader.close()

    def _samples(self) -> Iterator[PairWindow]:
        for window in sample_windows(self.grid.height, self.grid.width, _SAMPLE_SIZE, _SAMPLES):
            yield self.read(window)


@contextmanager
def open_pair(
    before: Scene, after: Scene, bands: Sequence[str] = TEN_BANDS, register: bool = True, trust_units: bool = False
) -> Iterator[Pair]:
    """Two scenes on one grid, open for reading.

    The grid is `before`'s own where its pixels measure 8–12 m on the ground, else a 10 m UTM grid, cut to the overlap.
    The measured shift moves `after`'s grid, so that each of its pixels is resampled once.

    Args:
        before, after: the two dates.
        bands: which to read, in this order.
        register: measure the sub-pixel shift and take it out.
        trust_units: the user has said in which units both are; do not ask.

    Raises:
        UnreadableInput: both are the same raster.
        BandsUnknown: one of the bands is missing.
        GridMismatch: they do not overlap.
        UnitsUnclear: one of them seems to carry the offset of 1000 and the other not.
    """
    _require_two(before.source, after.source)
    pair = Pair(before.select(bands), after.select(bands), register, trust_units)
    try:
        yield pair
    finally:
        pair.close()


def _require_two(before: str, after: str) -> None:
    same = before == after or (Path(before).exists() and Path(after).exists() and Path(before).samefile(after))
    if same:
        raise UnreadableInput(f"Before and after are the same raster, {before}. Pick two dates.")


def _require_one_unit(before: Scene, after: Scene, samples: Sequence[PairWindow]) -> None:
    shifts = band_shifts([sample.before for sample in samples], [sample.after for sample in samples])
    if not is_added_offset(shifts):
        return
    middle = float(np.median(shifts))
    brighter, side = (after, "after") if middle > 0 else (before, "before")
    raise UnitsUnclear(
        f"{brighter.source} is brighter by about {abs(middle):.0f} DN in every band ({float(np.min(shifts)):+.0f} to "
        f"{float(np.max(shifts)):+.0f}), as products since baseline 04.00 are before their offset is removed. "
        f"If so, add --{side}-units dn+1000; if both dates really are in one unit, add --before-units dn --after-units dn."
    )


def _shift_of(samples: Sequence[PairWindow], bands: tuple[str, ...]) -> Shift:
    chosen = [place for place, name in enumerate(bands) if name in _REGISTRATION_BANDS] or list(range(len(bands)))
    return measure_shift([sample.before[chosen] for sample in samples], [sample.after[chosen] for sample in samples])


def _moved(grid: Grid, shift: Shift) -> Grid:
    """The grid laid where `after` shows what `before` shows on the grid itself."""
    return Grid(grid.crs, grid.transform @ Affine.translation(shift.cols, shift.rows), grid.height, grid.width)
