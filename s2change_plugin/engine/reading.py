"""Reading any window of a scene on any grid: reflectance, each pixel resampled once, what is no number or saturated marked."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from scipy.ndimage import maximum_filter

from .blocks import BlockCache
from .grid import Grid, grow, intersect, pixel_size_m, slices_in
from .placement import Placement, interpolated, placement_of, spread
from .radiometry import LOWEST_REFLECTANCE, Array, Saturation, to_reflectance
from .rasters import damaged, open_raster
from .scene import BandSource, Scene

# Two bands may well hold one number over dark water.
_BANDS_THAT_TELL = 3
# While windows walk along a row of blocks, so many of these are held: its own, the next, and some of the last; where blocks are low, so many
# rows of the grid, which windows have with their halo, what masks reach, and the first of the next row.
_PARTS_HELD, _ROWS_HELD = 2.5, 1280
# To GDAL's warp: whatever an alpha band holds but 0 is data, though it is not full, or is a band of the scene that the file calls alpha.
ANY_ALPHA = "0.000001"
# Blocks along a side of a grid from which on it is worth it to move a sample into one of them.
_FEW_BLOCKS = 4


@dataclass(frozen=True)
class _ParallelFile:
    """A file whose own grid is parallel to the one that is read on.

    Attributes:
        blocks: reads it.
        bands: what it holds.
        places: of its bands in the scene.
        placement: of the grid on it.
        zero_filled: where all its bands are 0, there is no data, unless other files hold more of the scene's; see `SceneReader`.
    """

    blocks: BlockCache
    bands: list[BandSource]
    places: list[int]
    placement: Placement
    zero_filled: bool

    def read(self, window: Window) -> Array:
        """The numbers of a window, which may reach beyond the file: float32 (band, row, col), NaN where there is none."""
        values = self._stored(window)
        if values is None:
            return np.full((len(self.bands), int(window.height), int(window.width)), np.nan, np.float32)
        return values if self.placement.exact else self._between(values, window)

    def _stored(self, window: Window) -> Array | None:
        """Its own pixels that a window needs, (band, row, col), NaN beyond its edge; None where that is all."""
        wanted = self.placement.source(window)
        inside = intersect(wanted, self.bands[0].grid.window)
        if inside is None:
            return None
        values = np.empty((len(self.bands), int(wanted.height), int(wanted.width)), np.float32)
        if inside != wanted:
            values[:] = np.nan
        rows, cols = slices_in(inside, wanted)
        try:
            self.blocks.read(self.bands[0].path, [band.index for band in self.bands], inside, values[:, rows, cols])
        except RasterioError as error:
            raise damaged(self.bands[0].path, error) from error
        return values

    def is_zero(self, window: Window) -> NDArray[np.bool_]:
        """Where a pixel of a window lies in one that is 0 in all bands of the file: (row, col)."""
        values, wanted = self._stored(window), self.placement.source(window)
        if values is None:
            return np.zeros((int(window.height), int(window.width)), np.bool_)
        rows, cols = self.placement.nearest(window)
        zero = np.asarray((values == 0).all(0), np.bool_)
        return zero.take(rows - int(wanted.row_off), 0).take(cols - int(wanted.col_off), 1)

    def is_ordinary(self, window: Window) -> bool:
        """See `SceneReader.is_ordinary`."""
        wanted = self.placement.source(window)
        if intersect(wanted, self.bands[0].grid.window) != wanted:
            return False
        least, most = self.blocks.limits(self.bands[0].path, wanted)
        below_saturation = self.saturation is None or most < self.saturation.least
        return least > 0 and below_saturation and not any(least <= band.nodata <= most for band in self.bands)

    def wanted(self, window: Window) -> tuple[str, Window] | None:
        """The file, and the part of it that a window needs; None where it needs none."""
        inside = intersect(self.placement.source(window), self.bands[0].grid.window)
        return inside and (self.bands[0].path, inside)

    def forget(self, row: float, col: float) -> None:
        """See `SceneReader.forget`."""
        above, left = (at / self.placement.factor + off - 3 for at, off in ((row, self.placement.row), (col, self.placement.col)))
        self.blocks.forget(self.bands[0].path, above, left)

    @property
    def saturation(self) -> Saturation | None:
        """Of its bands, which are of one file and so of one unit."""
        return self.bands[0].rule.saturation

    @property
    def added(self) -> list[float]:
        """What is in each band's numbers beside those that are stored: a whole offset where there is interpolation.

        Not where another value than 0 is nodata: there 0 in all bands may be nodata too, and has to stay 0.
        """
        return [0.0 if self.placement.exact or band.nodata != 0 else band.rule.whole_offset for band in self.bands]

    @property
    def block_shape(self) -> tuple[int, int]:
        """(rows, cols) of what is decoded at once, in the file's pixels."""
        return self.blocks.part_shape(self.bands[0].path)

    @property
    def bytes_held(self) -> float:
        """For each column of the file; see `SceneReader.bytes_held`."""
        rows = max(_PARTS_HELD * self.block_shape[0], _ROWS_HELD / self.placement.factor)
        return rows * self.blocks.bytes_per_pixel(self.bands[0].path)

    def _between(self, values: Array, window: Window) -> Array:
        """What lies between the file's pixels, whose values may be changed."""
        if self.is_ordinary(window):
            values += np.array(self.added, np.float32)[:, None, None]
            return interpolated(values, window, self.placement, complete=True)
        for layer, band in zip(values, self.bands, strict=True):
            if not np.isnan(band.nodata):
                layer[layer == band.nodata] = np.nan
            layer[layer < (LOWEST_REFLECTANCE - band.rule.offset) / band.rule.scale] = np.nan
        if self.zero_filled:
            values[:, (values == 0).all(0)] = np.nan
        values[:, _is_filler(values)] = np.nan
        saturated = self.saturation.marked(values) if self.saturation else np.zeros(0, np.bool_)
        # Before anything is rounded, so that ground looks the same whatever offset its product has.
        values += np.array(self.added, np.float32)[:, None, None]
        found = interpolated(values, window, self.placement)
        if self.saturation and saturated.any():
            # Beside a saturated pixel the kernel gives anything at all, below zero too.
            found[spread(saturated, window, self.placement)] = self.saturation.mark
        return found


@dataclass(frozen=True)
class _WarpedFile:
    """A file that GDAL resamples while it is read.

    Attributes:
        dataset: to read from.
        extent: what there is of the grid.
        places, indexes: of its bands in the scene, and in the file.
        lock: one thread at a time reads.
        saturation: of the file's numbers; None where they are not interpolated, or none means it.
        raw: the same without interpolation, where there is such.
        reach: pixels of the grid over which an interpolated pixel spreads.
        zeros: the same without interpolation, where 0 may be a number as good as any; see `SceneReader`.
    """

    dataset: DatasetReader
    extent: Window
    places: list[int]
    indexes: list[int]
    lock: threading.Lock = field(default_factory=threading.Lock)
    saturation: Saturation | None = None
    raw: DatasetReader | None = None
    reach: int = 0
    zeros: DatasetReader | None = None

    @property
    def zero_filled(self) -> bool:
        """As `_ParallelFile.zero_filled`."""
        return self.zeros is not None

    def read(self, window: Window) -> Array:
        """As `_ParallelFile.read`."""
        found = np.full((len(self.places), int(window.height), int(window.width)), np.nan, np.float32)
        inside = intersect(window, self.extent)
        if inside is not None:
            rows, cols = slices_in(inside, window)
            with self.lock:
                found[:, rows, cols] = self._read_inside(inside)
        return found

    def is_zero(self, window: Window) -> NDArray[np.bool_]:
        """As `_ParallelFile.is_zero`, of a file that has `zeros`."""
        found = np.zeros((int(window.height), int(window.width)), np.bool_)
        inside = intersect(window, self.extent)
        if inside is not None and self.zeros is not None:
            with self.lock:
                found[slices_in(inside, window)] = (self._read(self.zeros, inside) == 0).all(0)
        return found

    def _read_inside(self, window: Window) -> Array:
        if self.saturation is None or self.raw is None:
            return self._read(self.dataset, window)
        wide = intersect(grow(window, self.reach), self.extent) or window
        values = self._read(self.dataset, wide)
        # Beside a saturated pixel the kernel gives anything at all, below zero too.
        if (values > self.saturation.beside).any():
            saturated = self.saturation.marked(self._read(self.raw, wide))
            size = 2 * self.reach + 1
            values[maximum_filter(saturated, (1, size, size))] = self.saturation.mark
        rows, cols = slices_in(window, wide)
        return values[:, rows, cols]

    def _read(self, dataset: DatasetReader, window: Window) -> Array:
        try:
            return np.asarray(dataset.read(self.indexes, window=window), np.float32)
        except RasterioError as error:
            raise damaged(dataset.name, error) from error


class SceneReader:
    """Open rasters of some bands of a scene, read as reflectance on one grid, by any number of threads."""

    def __init__(
        self, scene: Scene, grid: Grid, resampling: Resampling = Resampling.cubic, blocks: BlockCache | None = None
    ) -> None:
        """Open the scene's bands on a grid; a file on another grid is resampled as it is read, each pixel once.

        Args:
            scene: all its bands are read.
            grid: to read on.
            resampling: cubic or nearest.
            blocks: what has been decoded, where others read the same files; None has its own.
        """
        self.scene, self.grid, self._resampling = scene, grid, resampling
        by_path: dict[str, list[tuple[int, BandSource]]] = {}
        for place, band in enumerate(scene.bands.values()):
            by_path.setdefault(band.path, []).append((place, band))
        with ExitStack() as stack:
            self._stack = stack
            self._blocks = blocks or stack.enter_context(closing(BlockCache(open_raster)))
            self._files = [file for path, members in by_path.items() for file in self._opened(path, members)]
            self._added = np.zeros(len(scene.bands), np.float32)
            for file in self._files:
                if isinstance(file, _ParallelFile):
                    self._added[file.places] = file.added
            self._stack = stack.pop_all()

    def read(self, window: Window) -> Array:
        """Reflectance of a window, which may reach beyond the grid: float32 (band, row, col).

        NaN is nodata or outside, +inf is saturated.
        """
        if len(self._files) == 1:
            dn = self._files[0].read(window)
        else:
            dn = np.empty((len(self.scene.bands), int(window.height), int(window.width)), np.float32)
            for file in self._files:
                dn[file.places] = file.read(window)
        ordinary = self.is_ordinary(window)
        if not ordinary and len(self._files) > 1:
            self._give_zeros_back(dn, window)
        return self._reflectance(dn, ordinary)

    def _give_zeros_back(self, dn: Array, window: Window) -> None:
        """Let 0 be a number again where it was taken for no data in one file of several, and another has data there.

        No ground is 0 in every band, but in one it may be, as water is that is cut off at 0 in the short-wave infrared. Where
        pixels are interpolated each file is read by itself, and 0 left out.
        """
        doubtful = [file for file in self._files if file.zero_filled and not _is_exact(file)]
        if not any(np.isnan(dn[file.places]).any() for file in doubtful):
            return
        missing, bands = np.isnan(dn), tuple(self.scene.bands.values())
        for file in filter(_is_exact, self._files):
            for place in file.places:
                missing[place] |= dn[place] == (0 if file.zero_filled else bands[place].nodata)
        empty = missing.all(0)
        for file in doubtful:
            lost = np.isnan(dn[file.places]).all(0) & ~empty
            if lost.any():
                lost &= file.is_zero(window)
                for place in file.places:
                    dn[place][lost] = self._added[place]
        dn[:, empty] = np.nan

    def is_ordinary(self, window: Window) -> bool:
        """Whether each band of a window that was read is known to have a number for each pixel, none of them nodata or saturated.

        It is known from what blocks hold, so not where one of them has a pixel without.
        """
        return all(isinstance(file, _ParallelFile) and file.is_ordinary(window) for file in self._files)

    def wanted(self, window: Window) -> list[tuple[str, Window]]:
        """What of which files a window needs, as far as it is read block by block; see `BlockCache.fetch`."""
        found = [file.wanted(window) for file in self._files if isinstance(file, _ParallelFile)]
        return [one for one in found if one]

    def within_block(self, window: Window, margin: int) -> Window:
        """A window as near as can be whose pixels, and a margin around it, lie in one block of the first file, for less to decode.

        The same where blocks are smaller than that, or the grid has few of them along a side.
        """
        file = self._files[0]
        if not isinstance(file, _ParallelFile):
            return window
        tall, wide = (side * file.placement.factor for side in file.block_shape)
        if tall * _FEW_BLOCKS > self.grid.height or wide * _FEW_BLOCKS > self.grid.width:
            return window
        wider, origin = grow(window, margin), file.placement.source(Window(0, 0, 1, 1))
        row = _moved(wider.row_off, wider.height, tall, origin.row_off * file.placement.factor, self.grid.height)
        col = _moved(wider.col_off, wider.width, wide, origin.col_off * file.placement.factor, self.grid.width)
        return Window(col + margin, row + margin, window.width, window.height)

    def forget(self, row: float, col: float) -> None:
        """What lies wholly above a row and left of a column of the grid will not be read again."""
        for file in self._files:
            if isinstance(file, _ParallelFile):
                file.forget(row, col)

    def bytes_held(self, width: float) -> tuple[float, float]:
        """What is held in memory while windows walk over so many columns row by row and each block is decoded once.

        First of files whose blocks are as wide as the grid, which is as much for fewer columns, then of the others.
        """
        found = [0.0, 0.0]
        for file in self._files:
            if isinstance(file, _ParallelFile):
                columns, factor = file.block_shape[1], file.placement.factor
                wide = columns * factor >= self.grid.width
                found[not wide] += file.bytes_held * (columns if wide else width / factor)
        return found[0], found[1]

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _opened(self, path: str, members: Sequence[tuple[int, BandSource]]) -> list[_ParallelFile | _WarpedFile]:
        """The file on the grid: as it is where they are parallel, else resampled by GDAL, bands that tell no data by other values apart."""
        places, bands = [place for place, _ in members], [band for _, band in members]
        band = bands[0]
        placement = placement_of(self.grid, band.grid)
        if placement and (placement.exact or self._resampling == Resampling.cubic):
            with open_raster(path) as dataset:
                zero_filled = _is_zero_filled(dataset, band)
            self._blocks.add(path, [band.index for band in bands])
            return [_ParallelFile(self._blocks, bands, places, placement, zero_filled)]
        # As text, for one NaN is not another.
        alike: dict[str, list[tuple[int, BandSource]]] = {}
        for place, band in members:
            alike.setdefault(str(band.nodata), []).append((place, band))
        return [self._resampled(path, some) for some in alike.values()]

    def _resampled(self, path: str, members: Sequence[tuple[int, BandSource]]) -> _WarpedFile:
        """Bands of a file that tell no data by one value, resampled by GDAL."""
        dataset = self._stack.enter_context(open_raster(path))
        places, indexes, band = [place for place, _ in members], [band.index for _, band in members], members[0][1]
        zero_filled = _is_zero_filled(dataset, band)
        warped = self._warped(dataset, band, self._resampling, zero_filled)
        saturation = band.rule.saturation if self._resampling == Resampling.cubic else None
        raw = self._warped(dataset, band, Resampling.nearest, zero_filled) if saturation else None
        zeros = self._warped(dataset, band, Resampling.nearest, False) if zero_filled else None
        coarser = max(there / here for there, here in zip(pixel_size_m(band.grid), pixel_size_m(self.grid), strict=True))
        # A cubic kernel has a radius of two pixels, of the coarser of the two grids.
        reach = math.ceil(2 * max(1.0, coarser) - 0.1)
        return _WarpedFile(warped, self.grid.window, places, indexes, saturation=saturation, raw=raw, reach=reach, zeros=zeros)

    def _warped(self, dataset: DatasetReader, band: BandSource, resampling: Resampling, zero_filled: bool) -> DatasetReader:
        vrt = WarpedVRT(
            dataset,
            src_crs=band.grid.crs,
            crs=self.grid.crs,
            transform=self.grid.transform,
            height=self.grid.height,
            width=self.grid.width,
            resampling=resampling,
            nodata=np.nan,
            src_nodata=0.0 if zero_filled else band.nodata,
            **_warp_options(band, self.grid, zero_filled),
            dtype="float32",
            # GDAL's default lets positions be off by an eighth of a pixel to save time.
            tolerance=0.01,
        )
        return self._stack.enter_context(vrt)

    def _reflectance(self, dn: Array, ordinary: bool) -> Array:
        """Reflectance of the files' numbers, with nodata and saturation marked, of which `is_ordinary` windows have none."""
        bands = tuple(self.scene.bands.values())
        if not ordinary and all(band.nodata != 0 for band in bands):
            # ESA: 0 is nodata; and an export that declares another value, or none, fills with it too. No ground is 0 in every band.
            dn[:, (dn == 0).all(0)] = np.nan
        if not ordinary:
            dn[:, _is_filler(dn)] = np.nan
        for layer, band, added in zip(dn, bands, self._added, strict=True):
            if not ordinary and not np.isnan(band.nodata) and not added:
                layer[layer == band.nodata] = np.nan
            saturated = band.rule.saturation.marked(layer, float(added)) if not ordinary and band.rule.saturation else None
            to_reflectance(layer, replace(band.rule, offset=0.0) if added else band.rule, out=layer)
            if not ordinary:
                layer[layer < LOWEST_REFLECTANCE] = np.nan
            if saturated is not None:
                layer[saturated] = np.inf
        return dn


def _is_filler(numbers: Array) -> NDArray[np.bool_]:
    """Where one number below 0 stands in all of three bands or more, which no ground shows: (row, col).

    What was filled with 0 holds it where an offset has been taken off the fill too; some exports fill with −1.
    """
    if len(numbers) < _BANDS_THAT_TELL:
        return np.zeros(numbers.shape[1:], np.bool_)
    return np.asarray((numbers[0] < 0) & (numbers == numbers[0]).all(0), np.bool_)


def _is_exact(file: _ParallelFile | _WarpedFile) -> bool:
    """Whether a file is read as it is."""
    return isinstance(file, _ParallelFile) and file.placement.exact


def _moved(at: int, length: int, side: int, origin: int, room: int) -> int:
    """A start near another from which so much lies within one block of a side, if it can be; 0 is `origin` within the blocks."""
    if length > side:
        return at
    nearest = (at + origin + length // 2) // side
    # The last one may be cut short by the edge, and then the one before it is taken.
    for block in (nearest, nearest - 1):
        moved = min(max(at + origin, block * side), (block + 1) * side - length) - origin
        if 0 <= moved <= room - length:
            return moved
    return at


def _is_zero_filled(dataset: DatasetReader, band: BandSource) -> bool:
    """Whether 0 is what there is where there is no data: of floating point that does not say."""
    return dataset.nodatavals[band.index - 1] is None and np.isnan(band.nodata)


def _warp_options(band: BandSource, grid: Grid, zero_filled: bool) -> dict[str, str]:
    """GDAL's options for a band on another grid.

    GDAL widens its kernel where it makes pixels coarser, by a factor that it estimates for each window anew: told once, it is
    the same in all of them.
    """
    widths = zip(("YSCALE", "XSCALE"), pixel_size_m(band.grid), pixel_size_m(grid), strict=True)
    # Nearly alike pixels and finer ones are interpolated as they are.
    options = {name: f"{there / here if there < 0.95 * here else 1:.6f}" for name, there, here in widths}
    options["SRC_ALPHA_MAX"] = ANY_ALPHA
    # A pixel of no ground is zero in every band; what is declared as nodata is so in each band by itself, which is not rasterio's default.
    options["UNIFIED_SRC_NODATA"] = "YES" if zero_filled else "NO"
    return options
