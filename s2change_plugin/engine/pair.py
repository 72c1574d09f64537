"""Two scenes on one grid: laid over each other once, then read window by window."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from time import perf_counter

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window
from scipy.ndimage import binary_dilation

from .bands import TEN_BANDS
from .blocks import BUDGET, BlockCache
from .errors import BandsUnknown, GridMismatch, UnreadableInput
from .grid import Grid, apart, base_grid, bounds_window, intersect, place_of, sample_windows, slices_in
from .masks import BUFFER_M, CLOUDS, Area, MaskReader, masks_of, require_buffer
from .normalisation import NOT_ASKED as NOT_NORMALISED
from .normalisation import fit_normalisation
from .radiometry import Array
from .rasters import open_raster
from .reading import SceneReader
from .registration import NOT_ASKED, Shift, measure_displacement, with_residual
from .scene import Scene
from .threads import window_threads
from .validity import LEAST_OBSERVED, Codes, Mask, Quality, date_quality, pair_quality, worse

# Enough ground for statistics and for the shift: 16 samples of 2.56 km.
_SAMPLES, _SAMPLE_SIZE = 16, 256
_FEW_SAMPLES = 9
# Places that are looked at where the samples show next to nothing; of a tile they lie 4.6 km apart.
_PLACES = 256
# What samples decoded is kept in memory until windows come to it, if it is no more than this, bytes: a block of 512² of ten bands
# for each.
_SAMPLE_BLOCKS = 200 << 20
# Pixels from the edge of a swath within which bands of other resolutions end.
_EDGE = 12
# Around a sample, what masks and interpolation look at.
_SAMPLE_MARGIN = 40
# What blocks as wide as a tile may take at most, bytes: ten bands of two tiles in floating point need 900 MB.
_LARGEST_BUDGET = 1280 << 20
# Where edges of ground stand out best, at 10 m.
_REGISTRATION_BANDS = ("B03", "B04", "B08")


@dataclass(frozen=True)
class PairOptions:
    """How two scenes are laid over each other.

    Attributes:
        register: measure the shift between them and take it out.
        normalise: bring `after` to `before`'s radiometry; see `normalisation`.
        clouds: one of `masks.CLOUDS`: which cloud mask is used.
        before_mask, after_mask: masks of the user's own; see `masks.open_mask`.
        mask_buffer: metres by which clouds and their shadows reach further than the masks say.
        area: polygons to look at; see `vectors.read_polygons`.
    """

    register: bool = True
    normalise: bool = False
    clouds: str = "auto"
    before_mask: str | None = None
    after_mask: str | None = None
    mask_buffer: float = BUFFER_M
    area: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: the text says which value.
        """
        if self.clouds not in CLOUDS:
            raise ValueError(f"clouds is {self.clouds!r} and must be one of {', '.join(CLOUDS)}")
        require_buffer(self.mask_buffer)


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

    def cut(self, rows: slice, cols: slice) -> PairWindow:
        """Some of it."""
        return PairWindow(self.before[:, rows, cols], self.after[:, rows, cols], self.quality[rows, cols])


# Reflectance of a window (band, row, col), and the codes of what a date shows of it (row, col).
_Seen = tuple[Array, Codes]


class DateReader:
    """One date, open on a grid: its reflectance and its quality codes."""

    def __init__(
        self,
        scene: Scene,
        bands: Sequence[str],
        masks: Sequence[Mask],
        grid: Grid,
        buffer_m: float,
        blocks: BlockCache | None = None,
    ) -> None:
        """Open these bands and masks; clouds reach buffer_m further than the masks say. Blocks are shared with other readers."""
        self._bands = tuple(bands)
        with ExitStack() as stack:
            blocks = blocks or stack.enter_context(closing(BlockCache(open_raster)))
            self._scene = SceneReader(scene.select(bands), grid, blocks=blocks)
            stack.callback(self._scene.close)
            self._masks = MaskReader(scene, masks, grid, buffer_m, blocks)
            stack.callback(self._masks.close)
            self._stack = stack.pop_all()

    def read(self, window: Window) -> _Seen:
        """Reflectance (band, row, col) as `SceneReader` gives it, and the date's codes, uint8 (row, col)."""
        reflectance = self._scene.read(window)
        known = dict(zip(self._bands, reflectance, strict=True))
        masked = self._masks.read(window, known)
        return reflectance, masked if self._scene.is_ordinary(window) else worse(date_quality(reflectance), masked)

    def wanted(self, window: Window) -> list[tuple[str, Window]]:
        """See `SceneReader.wanted`."""
        return self._scene.wanted(window)

    def within_block(self, window: Window) -> Window:
        """See `SceneReader.within_block`."""
        return self._scene.within_block(window, _SAMPLE_MARGIN)

    def forget(self, row: float, col: float) -> None:
        """See `SceneReader.forget`."""
        self._scene.forget(row, col)

    def bytes_held(self, width: float) -> tuple[float, float]:
        """See `SceneReader.bytes_held`."""
        return self._scene.bytes_held(width)

    def close(self) -> None:
        """Close the files."""
        self._stack.close()


class Pair:
    """Two open scenes on their common grid; made by `open_pair`.

    Attributes:
        before, after: the scenes, with all their bands.
        bands: those that are read, in their order.
        base: before's own 10 m grid, or the UTM grid that stands for it.
        grid: common to both, the part of `base` that both cover.
        after_grid: on which `after` is read, so that its ground lies under `before`'s: `grid` with the shift taken out.
        masks: of before, of after.
        area: of interest; None is all of the grid.
        shift: measured between the dates; it is taken out of what is read.
        normalisation: of `after`, done when it is read.
        sampled: windows spread over the grid.
        samples: what is read of these.
        ground: the same without what two of them show, so that no pixel counts twice.
        spread: windows that speak for the whole grid: those, but where they were chosen for showing any ground at all.
        timed: the first half of the windows.
        sampling_s: how long it took to read these for the first time, seconds.
    """

    def __init__(self, before: Scene, after: Scene, bands: Sequence[str], options: PairOptions) -> None:
        """Lay the scenes over each other; see `open_pair`."""
        fine = before.select(bands).grid
        base = base_grid(fine)
        over = after.select(bands).grid
        window = bounds_window(base, over.bounds, over.crs)
        if window is None:
            raise GridMismatch(
                f"{after.source} does not overlap {before.source}: {place_of(over)} against {place_of(fine)}. "
                "Pick two scenes of one place."
            )
        self.before, self.after, self.bands, self.options = before, after, tuple(bands), options
        self.base, self.grid = base, base.crop(window)
        self.after_grid = self.grid
        self.area = Area(options.area, self.grid) if options.area else None
        self.masks = (masks_of(before, options.clouds, options.before_mask), masks_of(after, options.clouds, options.after_mask))
        self.shift, self.normalisation = NOT_ASKED, NOT_NORMALISED
        self.samples: list[PairWindow] = []
        self.sampling_s = 0.0
        self._sampled_before: dict[Window, _Seen] = {}
        # Of each date and sample, see the function of this name.
        self._lacking: tuple[dict[Window, NDArray[np.int64]], ...] = ({}, {})
        self._spread: list[PairWindow] | None = None
        with ExitStack() as stack:
            self._blocks = stack.enter_context(closing(BlockCache(open_raster)))
            self._before = self._opened(before, self.masks[0], self.grid)
            stack.callback(self._before.close)
            self._after = self._opened(after, self.masks[1], self.grid)
            self._stack = stack.pop_all()
        wide, rest = self._bytes_held(self.grid.width)
        # Fewer columns at a time would be no less of blocks that are as wide as the grid.
        self._all_columns = wide > 0
        if self._all_columns:
            self._blocks.grow(min(wide + rest, _LARGEST_BUDGET))
        planned = self.windows_over(self.grid.window)
        moved = tuple(map(self._before.within_block, planned))
        # Two rows of them may come to lie in one row of blocks.
        meet = any(intersect(one, other) for one, other in combinations(moved, 2))
        self.sampled = planned if meet else moved
        self.timed = self.sampled[: math.ceil(len(self.sampled) / 2)]
        self._apart = apart(planned) if self.sampled == planned else self.sampled

    def measure(self, when_timed: Callable[[], object] = lambda: None) -> None:
        """Read the samples, and measure from them what is taken out: the shift, and where asked the radiometric difference.

        Args:
            when_timed: called after half of the samples, to begin other work: how long these took is a measure of this machine.
        """
        begun = perf_counter()
        self.samples = self._read_samples(self.timed)
        self.sampling_s = perf_counter() - begun
        when_timed()
        self.samples += self._read_samples(self.sampled[len(self.timed) :])
        # By what is shown, wherever the area of interest ends: what lies inside must not depend on that.
        shown = (np.isfinite(sample.before).all(0) & np.isfinite(sample.after).all(0) for sample in self.ground)
        if sum(map(np.count_nonzero, shown)) < LEAST_OBSERVED:
            self._sample_elsewhere()
        if self.options.register:
            self._take_out_shift()
        self._sampled_before.clear()
        if self.options.normalise:
            self.normalisation = fit_normalisation(
                [sample.before for sample in self.ground], [sample.after for sample in self.ground], self.bands
            )

    @property
    def ground(self) -> list[PairWindow]:
        """See `Pair`."""
        return [
            sample.cut(*slices_in(own, window))
            for own, window, sample in zip(self._apart, self.sampled, self.samples, strict=True)
        ]

    @property
    def spread(self) -> list[PairWindow]:
        """See `Pair`."""
        return self.ground if self._spread is None else self._spread

    @property
    def gaps(self) -> tuple[dict[str, float], dict[str, float]]:
        """Of each date: for each band the share of the sampled pixels that it lacks, of those that any band has."""
        one, other = (sum(of_date[window] for window in self.sampled) for of_date in self._lacking)
        return self._shares(np.asarray(one)), self._shares(np.asarray(other))

    def _shares(self, counts: NDArray[np.int64]) -> dict[str, float]:
        """By band, of counts as `_lacking` gives them; a band that is nowhere there lacks all, at the edges too."""
        (inside, lacking), shown = counts[:-1].reshape(2, -1), max(1, counts[-1])
        return dict(zip(self.bands, np.where(lacking == shown, 1.0, inside / shown).tolist(), strict=True))

    def set_aside(self, folder: Path) -> None:
        """Before windows are read: what was decoded for the samples waits for them in memory, or in a folder if it is much."""
        self._blocks.set_aside(_SAMPLE_BLOCKS, folder)

    def windows_over(self, part: Window) -> tuple[Window, ...]:
        """Windows spread over a part of the grid, few and small enough to look at before a run."""
        found = sample_windows(int(part.height), int(part.width), _SAMPLE_SIZE, _SAMPLES)
        return tuple(Window(part.col_off + one.col_off, part.row_off + one.row_off, one.width, one.height) for one in found)

    def read(self, window: Window) -> PairWindow:
        """Both dates of a window; it may reach beyond the grid, where nothing is observed."""
        self._blocks.fetch(self._before.wanted(window) + self._after.wanted(window))
        return self._together(window, self._before.read(window), self._after.read(window))

    def _together(self, window: Window, one: _Seen, other: _Seen) -> PairWindow:
        """What both dates show of a window, of what each by itself shows of it; their reflectance is changed in place."""
        (before, before_codes), (after, after_codes) = one, other
        quality = pair_quality(before_codes, after_codes)
        for reflectance, codes in ((before, before_codes), (after, after_codes)):
            if codes.any():
                # Snow on both dates is ground like any other.
                hidden = (codes != Quality.OBSERVED) & ~((codes == Quality.SNOW) & (quality == Quality.OBSERVED))
                reflectance[:, hidden] = np.nan
        self.normalisation.apply(after)
        if self.area is not None:
            # Reflectance stays: what lies inside must not depend on where the area ends.
            quality[self.area.outside(window)] = Quality.OUTSIDE
        return PairWindow(before, after, quality)

    def forget(self, row: float, col: float) -> None:
        """What lies wholly above a row and left of a column of the grid will not be read again."""
        self._before.forget(row, col)
        self._after.forget(row, col)

    def block_bytes(self, width: float) -> float:
        """What blocks take of the memory at most while windows walk over so many columns row by row."""
        return min(sum(self._bytes_held(min(width, self.widest))), self._blocks.budget)

    @property
    def widest(self) -> int:
        """Columns that can be so read in the memory that blocks may take, each block decoded once."""
        _, each = self._bytes_held(1)
        return int(BUDGET / each) if each and not self._all_columns else self.grid.width

    def _bytes_held(self, width: float) -> tuple[float, float]:
        (wide, rest), (other_wide, other_rest) = self._before.bytes_held(width), self._after.bytes_held(width)
        return wide + other_wide, rest + other_rest

    def close(self) -> None:
        """Close the files."""
        self._after.close()
        self._stack.close()

    def _sample_elsewhere(self) -> None:
        """Take samples where both dates show most, as a narrow strip between two swaths, or a hole between clouds; one band tells where."""
        planned = tuple(sample_windows(*self.grid.shape, _SAMPLE_SIZE, _PLACES))
        if len(planned) <= len(self.sampled):
            return
        with ExitStack() as opened:
            readers = [
                opened.enter_context(closing(self._opened(scene, masks, self.grid, self.bands[:1])))
                for scene, masks in zip((self.before, self.after), self.masks, strict=True)
            ]

            def seen(window: Window) -> int:
                one, other = (reader.read(window)[1] for reader in readers)
                return int((pair_quality(one, other) == Quality.OBSERVED).sum())

            with ThreadPoolExecutor(window_threads()) as pool:
                counts = list(pool.map(seen, planned))
        most = sorted(sorted(range(len(planned)), key=lambda place: -counts[place])[:_SAMPLES])
        chosen = [place for place in most if counts[place]]
        if chosen:
            own, self._spread = apart(planned), self.ground
            self.sampled, self._apart = tuple(planned[place] for place in chosen), tuple(own[place] for place in chosen)
            self._sampled_before.clear()
            self.samples = self._read_samples(self.sampled)

    def _opened(self, scene: Scene, masks: Sequence[Mask], grid: Grid, bands: Sequence[str] = ()) -> DateReader:
        return DateReader(scene, bands or self.bands, masks, grid, self.options.mask_buffer, self._blocks)

    def _take_out_shift(self) -> None:
        """Measure the shift, read `after` with it taken out, and measure again; where that is no better, leave it."""
        found = self._measured_shift()
        if found.matters:
            self._read_after_on(found.moved_transform(self.grid.transform))
            left = self._measured_shift(every=2) if len(self.samples) > _FEW_SAMPLES else None
            # What can be matched may lie in the other half alone.
            found = with_residual(found, left if left and left.measured else self._measured_shift())
            if not found.measured:
                self._read_after_on(self.grid.transform)
        self.shift = found

    def _read_after_on(self, transform: Affine) -> None:
        self._after.close()
        self.after_grid = replace(self.grid, transform=transform)
        self._after = self._opened(self.after, self.masks[1], self.after_grid)
        self.samples = self._read_samples(self.sampled)

    def _read_samples(self, windows: Sequence[Window]) -> list[PairWindow]:
        """Samples as `after` lies now; `before`, which stays where it is, is read the first time only."""
        with ThreadPoolExecutor(window_threads()) as readers:
            return list(readers.map(self._sample, windows))

    def _sample(self, window: Window) -> PairWindow:
        if window not in self._sampled_before:
            self._sampled_before[window] = self._before.read(window)
        reflectance, codes = self._sampled_before[window]
        self._blocks.fetch(self._after.wanted(window))
        after = self._after.read(window)
        rows, cols = slices_in(self._apart[self.sampled.index(window)], window)
        for of_date, shown in zip(self._lacking, (reflectance, after[0]), strict=True):
            of_date[window] = _lacking(shown[:, rows, cols])
        return self._together(window, (reflectance.copy(), codes), after)

    def _measured_shift(self, every: int = 1) -> Shift:
        """From every so many-th sample; half of many are enough to see whether it helps to take the shift out."""
        chosen = [place for place, name in enumerate(self.bands) if name in _REGISTRATION_BANDS]
        chosen = chosen or list(range(len(self.bands)))
        centres = [(window.row_off + window.height / 2, window.col_off + window.width / 2) for window in self.sampled]
        before, after = ([getattr(sample, side)[chosen] for sample in self.samples[::every]] for side in ("before", "after"))
        return measure_displacement(before, after, centres[::every], self.grid.shape)


def _lacking(reflectance: Array) -> NDArray[np.int64]:
    """Counts: of each band the pixels that it lacks and another has, without those near the edge of what is there; the same with these; last, what any has."""
    missing = np.isnan(reflectance)
    nothing = missing.all(0)
    inside = ~(binary_dilation(nothing, iterations=_EDGE) if nothing.any() else nothing)
    return np.array([*(missing & inside).sum((1, 2)), *(missing & ~nothing).sum((1, 2)), (~nothing).sum()])


@contextmanager
def open_pair(
    before: Scene,
    after: Scene,
    bands: Sequence[str] = TEN_BANDS,
    options: PairOptions | None = None,
    when_timed: Callable[[], object] = lambda: None,
) -> Iterator[Pair]:
    """Two scenes on one grid, open for reading.

    The grid is `before`'s own where its pixels measure 8–12 m on the ground, else a 10 m UTM grid, cut to the overlap.
    The measured shift moves `after`'s grid, so that each of its pixels is resampled once. Whether the two may be compared
    at all is for `pair_findings.check_pair` to say.

    Args:
        before, after: the two dates.
        bands: which to read, in this order.
        options: how; None is the default of each.
        when_timed: see `Pair.measure`.

    Raises:
        UnreadableInput: both are the same raster, or a file is damaged.
        BandsUnknown: one of the bands is missing.
        GridMismatch: they do not overlap.
    """
    _require_two(before, after)
    pair = Pair(before, after, bands, options or PairOptions())
    try:
        pair.measure(when_timed)
        yield pair
    finally:
        pair.close()


def common_bands(before: Scene, after: Scene) -> tuple[str, ...]:
    """The bands of 10 and 20 m that both scenes have, in their usual order.

    Raises:
        BandsUnknown: fewer than two.
    """
    bands = tuple(name for name in TEN_BANDS if name in before.bands and name in after.bands)
    if len(bands) < 2:
        raise BandsUnknown(
            f"At least two bands of 10 or 20 m must be on both dates; before has {', '.join(before.bands)} and after "
            f"{', '.join(after.bands)}. Give scenes with more of them."
        )
    return bands


def _file_of(path: str) -> str | tuple[int, int]:
    """What tells a file from others, whatever name it is called by; for what is no file on disk its name."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _require_two(before: Scene, after: Scene) -> None:
    # A product has several names: its folder, its zip, its metadata, and what GDAL calls its parts; and a folder of bands as many as files.
    # One file may hold both dates, in layers of its own for each.
    one, other = ({(_file_of(band.path), band.index) for band in scene.bands.values()} for scene in (before, after))
    if not one.isdisjoint(other) or (before.product is not None and before.product == after.product):
        raise UnreadableInput(f"Before and after are the same raster, {before.label}. Pick two dates.")
