"""One acquisition: where its bands are, in which unit, and reading any window of it on any grid."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from .bands import ALL_BANDS, BANDS, USUAL_ORDERS, band_of_description, band_of_file
from .errors import BandsUnknown, GridMismatch, UnreadableInput
from .grid import Grid, intersect, name_of, sample_windows, slices_in
from .radiometry import Array, DnRule, rule_for, to_reflectance

_RASTER_FILES = {".tif", ".tiff", ".jp2", ".vrt", ".img"}
# In an 8- or 16-bit file the last values below the type's maximum are saturation too once a resampling has touched them.
_SATURATED_DN = 65000
# A tenth of a thousandth of a pixel: below it two grids are the same.
_SAME_PIXEL = 1e-4


@dataclass(frozen=True)
class BandSource:
    """Where one band lies.

    Attributes:
        path: anything that GDAL opens.
        index: layer in that file, from 1.
        grid: the file's own grid.
        dtype: the stored type, numpy's name.
        nodata: the stored value that means "no data", NaN for floating point without one.
        rule: digital number to reflectance.
    """

    path: str
    index: int
    grid: Grid
    dtype: str
    nodata: float
    rule: DnRule


@dataclass(frozen=True)
class Scene:
    """One acquisition.

    Attributes:
        source: what the user named.
        bands: band name to where it lies.
    """

    source: str
    bands: dict[str, BandSource]

    @property
    def grid(self) -> Grid:
        """The grid of its finest band."""
        return min((band.grid for band in self.bands.values()), key=lambda grid: abs(grid.transform.determinant))

    @property
    def units(self) -> str:
        """In words, how its numbers became reflectance."""
        return "; ".join(dict.fromkeys(band.rule.origin for band in self.bands.values()))

    def select(self, names: Iterable[str]) -> Scene:
        """The scene with these bands alone, in this order.

        Raises:
            BandsUnknown: one of them is not there.
        """
        names = tuple(names)
        missing = [name for name in names if name not in self.bands]
        if missing:
            raise BandsUnknown(
                f"{self.source} has no {', '.join(missing)}; it has {', '.join(self.bands)}. "
                f"The model needs {', '.join(names)}: give a raster with all of them."
            )
        return Scene(self.source, {name: self.bands[name] for name in names})


def open_scene(source: str, bands: tuple[str | None, ...] | None = None, units: str = "auto", side: str = "before") -> Scene:
    """The scene in a stacked raster or in a folder of single-band files.

    Args:
        source: path of a GeoTIFF, COG, VRT (or anything that GDAL opens) with one layer per band, or a folder with files
            named `…_B02.tif`, each of any resolution.
        bands: the stack's layers in their order, None for a layer to leave out; without it the descriptions tell.
        units: "auto", "dn", "dn+1000" or "reflectance"; see `radiometry.rule_for`.
        side: "before" or "after": whose option an error message offers.

    Raises:
        UnreadableInput: not there, not a raster, damaged.
        BandsUnknown: the layers cannot be told to be Sentinel-2 bands, or there is only one.
        GridMismatch: no CRS.
        UnitsUnclear: an 8-bit picture.
    """
    folder = Path(source)
    if not folder.is_dir():
        layers = _stack_layers(source, bands, side)
    elif bands is None:
        layers = _folder_layers(folder)
    else:
        raise BandsUnknown(f"{source} is a folder, whose file names tell the bands; leave --{side}-bands out.")
    if len(layers) < 2:
        raise BandsUnknown(
            f"{source} holds one band only ({', '.join(layers)}). Give a stack with all bands, or the folder that holds the band files."
        )
    # Asked only where nothing else tells the unit, and once: all bands of a scene are in the same one.
    largest = cache(lambda: max(_largest(path, index) for path, index in layers.values()))
    found = {name: _band_source(path, index, units, side, largest) for name, (path, index) in layers.items()}
    return Scene(source, {name: found[name] for name in ALL_BANDS if name in found})


class SceneReader:
    """Open rasters of some bands of a scene, read as reflectance on one grid."""

    def __init__(self, scene: Scene, grid: Grid) -> None:
        """Open the scene's bands on a grid; a file on another grid is resampled as it is read (cubic), each pixel once."""
        self.scene, self.grid = scene, grid
        self._stack = ExitStack()
        self._files: list[tuple[DatasetReader, Window, list[int], list[int]]] = []
        by_path: dict[str, list[tuple[int, BandSource]]] = {}
        for place, band in enumerate(scene.bands.values()):
            by_path.setdefault(band.path, []).append((place, band))
        for path, members in by_path.items():
            places, sources = zip(*members, strict=True)
            dataset, extent = self._open(path, sources[0])
            self._files.append((dataset, extent, list(places), [band.index for band in sources]))

    def read(self, window: Window) -> Array:
        """Reflectance of a window, which may reach beyond the grid: float32 (band, row, col).

        NaN is nodata or outside, +inf is saturated.
        """
        dn = np.full((len(self.scene.bands), int(window.height), int(window.width)), np.nan, np.float32)
        for dataset, extent, places, indexes in self._files:
            inside = intersect(window, extent)
            if inside is not None:
                rows, cols = slices_in(inside, window)
                there = Window(inside.col_off - extent.col_off, inside.row_off - extent.row_off, inside.width, inside.height)
                try:
                    dn[places, rows, cols] = dataset.read(indexes, window=there)
                except RasterioError as error:
                    raise UnreadableInput(f"{dataset.name} cannot be read to its end, it is damaged: {error}.") from error
        return self._reflectance(dn)

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _open(self, path: str, band: BandSource) -> tuple[DatasetReader, Window]:
        """The file, resampled where its grid differs, and where it lies on ours."""
        dataset = self._stack.enter_context(open_raster(path))
        place = _pixel_place(band.grid, self.grid)
        if place is not None:
            return dataset, Window(*place, band.grid.width, band.grid.height)
        vrt = WarpedVRT(
            dataset,
            src_crs=band.grid.crs,
            crs=self.grid.crs,
            transform=self.grid.transform,
            height=self.grid.height,
            width=self.grid.width,
            resampling=Resampling.cubic,
            nodata=np.nan,
            **_source_nodata(dataset, band),
            dtype="float32",
            # GDAL's default lets positions be off by an eighth of a pixel to save time.
            tolerance=0.01,
        )
        return self._stack.enter_context(vrt), self.grid.window

    def _reflectance(self, dn: Array) -> Array:
        """Reflectance of numbers as stored, with nodata and saturation marked."""
        for layer, band in zip(dn, self.scene.bands.values(), strict=True):
            if not np.isnan(band.nodata):
                layer[layer == band.nodata] = np.nan
            saturated = layer >= _SATURATED_DN if band.dtype == "uint16" else None
            to_reflectance(layer, band.rule, out=layer)
            if saturated is not None:
                layer[saturated] = np.inf
        if all(np.isnan(band.nodata) for band in self.scene.bands.values()):
            # A floating-point export without a nodata value fills with zeros: no ground is zero in every band.
            dn[:, (dn == 0).all(0)] = np.nan
        return dn


def _source_nodata(dataset: DatasetReader, band: BandSource) -> dict[str, Any]:
    """What a resampling leaves out: the band's nodata; zero in all bands for floating point that does not say."""
    if dataset.nodatavals[band.index - 1] is None and band.dtype.startswith("float"):
        return {"src_nodata": 0.0, "warp_extras": {"UNIFIED_SRC_NODATA": "YES"}}
    return {"src_nodata": band.nodata}


def _stack_layers(source: str, bands: tuple[str | None, ...] | None, side: str) -> dict[str, tuple[str, int]]:
    """Band name to (path, layer) of a stack."""
    with open_raster(source) as dataset:
        descriptions, count = dataset.descriptions, dataset.count
    if bands is None:
        if count == 1:
            raise BandsUnknown(
                f"{source} holds one band only. Give a stack with all bands, or the folder that holds the band files."
            )
        bands = tuple(band_of_description(text) for text in descriptions)
        _require_named(source, descriptions, bands, side)
    elif len(bands) != count:
        raise BandsUnknown(
            f"--{side}-bands names {len(bands)} layers and {source} has {count}. Name each layer in its order, and write - for one to leave out."
        )
    return {name: (source, index) for index, name in enumerate(bands, start=1) if name}


def _require_named(source: str, descriptions: tuple[str | None, ...], bands: tuple[str | None, ...], side: str) -> None:
    """Refuse a stack whose descriptions do not tell its bands, with the option ready to paste."""
    known = [name for name in bands if name]
    twice = sorted({name for name in known if known.count(name) > 1})
    numbered = len(bands) > 3 and [_plain_number(text) for text in descriptions] == list(range(1, len(bands) + 1))
    if len(known) >= 2 and not twice and not numbered:
        return
    usual = USUAL_ORDERS.get(len(bands))
    option = f"--{side}-bands {','.join(usual or (['B02', 'B03', '…'] + ['-'] * max(0, len(bands) - 3))[: max(len(bands), 2)])}"
    if twice:
        reason = f"describes more than one layer as {', '.join(twice)}"
    elif numbered:
        reason = f"only numbers its {len(bands)} layers (B1 … B{len(bands)}), which leaves open where B8A is"
    else:
        reason = f"has {len(bands)} layers without descriptions that name Sentinel-2 bands"
    usually = "If they come in the usual order, add" if usual else "Say what they are, in their order, for example"
    raise BandsUnknown(f"{source} {reason}. {usually}: {option}")


def _plain_number(text: str | None) -> int | None:
    found = re.fullmatch(r"\s*b(?:and)?[ _]?0?(\d{1,2})\s*", text or "", re.IGNORECASE)
    return int(found.group(1)) if found else None


def _folder_layers(folder: Path) -> dict[str, tuple[str, int]]:
    """Band name to (path, 1) of a folder of single-band files; of two resolutions of a band the finer."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        # macOS leaves "._…" beside files on foreign disks.
        is_raster = path.suffix.lower() in _RASTER_FILES and not path.name.startswith(".")
        name = band_of_file(path.name) if is_raster else None
        if name in BANDS:
            files.setdefault(name, []).append(path)
    if not files:
        hint = " For a SAFE product, give its IMG_DATA folder." if folder.suffix.upper() == ".SAFE" else ""
        raise BandsUnknown(f"{folder} holds no files named like Sentinel-2 bands (…_B02.tif, …_B8A.jp2).{hint}")
    return {name: (str(_finest(name, paths)), 1) for name, paths in files.items()}


def _finest(name: str, paths: list[Path]) -> Path:
    if len(paths) == 1:
        return paths[0]
    by_gsd = {int(found.group(1)): path for path in paths if (found := re.search(r"_(10|20|60)m$", path.stem))}
    if len(by_gsd) != len(paths):
        raise BandsUnknown(
            f"{paths[0].parent} holds {name} more than once ({paths[0].name}, {paths[1].name}). Give a folder with one date."
        )
    return by_gsd[min(by_gsd)]


def _band_source(path: str, index: int, units: str, side: str, largest: Callable[[], float]) -> BandSource:
    with open_raster(path) as dataset:
        if dataset.crs is None:
            raise GridMismatch(f"{path} has no CRS, so its place is unknown. Assign one (gdal_edit.py -a_srs EPSG:… FILE).")
        if not (dataset.crs.is_geographic or dataset.crs.is_projected):
            raise GridMismatch(f"{path} has a CRS that is no place on Earth ({name_of(dataset.crs)}). Assign the right one.")
        grid = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)
        dtype = dataset.dtypes[index - 1]
        nodata = dataset.nodatavals[index - 1]
        if nodata is None:
            # ESA: DN 0 is nodata.
            nodata = np.nan if dtype.startswith("float") else 0.0
        tags = (dataset.scales[index - 1], dataset.offsets[index - 1])
        rule = rule_for(path, dtype, tags, units, largest, side)
    return BandSource(path, index, grid, dtype, float(nodata), rule)


def _largest(path: str, index: int) -> float:
    """About the largest number of a layer, from windows spread over it; 0 where all of these are empty."""
    peaks = [0.0]
    with open_raster(path) as dataset:
        for window in sample_windows(dataset.height, dataset.width, 256, 9):
            try:
                values = dataset.read(index, window=window, masked=True).compressed()
            except RasterioError as error:
                raise UnreadableInput(f"{path} cannot be read to its end, it is damaged: {error}.") from error
            values = values[np.isfinite(values)]
            if values.size:
                peaks.append(float(np.percentile(values, 99)))
    return max(peaks)


def open_raster(path: str) -> DatasetReader:
    """An open raster; UnreadableInput where there is none."""
    try:
        with warnings.catch_warnings():
            # Whoever needs a place on the ground says so in a sentence of ours.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioError as error:
        reason = "does not exist" if _is_missing(path) else f"is not a raster that can be read ({_first_line(error)})"
        raise UnreadableInput(f"{path} {reason}.") from error


def _is_missing(path: str) -> bool:
    return not path.startswith("/vsi") and ":" not in path[2:] and not Path(path).exists()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def _pixel_place(grid: Grid, frame: Grid) -> tuple[int, int] | None:
    """(col, row) of a grid's corner on another where their pixels coincide, else None."""
    if grid.crs != frame.crs:
        return None
    col, row = ~frame.transform @ (grid.transform.c, grid.transform.f)
    far_col, far_row = ~frame.transform @ (grid.transform @ (grid.width, grid.height))
    same = [col - round(col), row - round(row), far_col - round(col) - grid.width, far_row - round(row) - grid.height]
    straight = grid.north_up and frame.north_up
    return (round(col), round(row)) if straight and max(map(abs, same)) < _SAME_PIXEL else None
