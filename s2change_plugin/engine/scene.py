"""One acquisition: where its bands are, in which unit, and what else is known of it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags

from .acquisition import Acquisition, acquisition_of_name, acquisition_of_tags, level_of_layers, parse_number
from .bands import ALL_BANDS, BANDS, SCL, band_of_file, bands_within_file, common_band_of_file, marks_of_file, scene_of_file
from .errors import BandsUnknown, GridMismatch, UnitsUnclear, UnreadableInput, option_of
from .files import Files, without_queries
from .grid import Grid, base_grid, bounds_window, is_on_earth, name_of, place_of
from .layers import RASTER_FILES, are_by_gsd, folder_layers, listed, only_raster, stack_layers, whole_of
from .radiometry import (
    CIRRUS_PERCENT,
    LARGEST_REFLECTANCE,
    QUANTIFICATION,
    DnRule,
    cirrus_fits,
    cirrus_rule,
    require_one_unit,
    rule_for,
)
from .rasters import Looked, files_behind, open_raster, spread_over, values_over
from .safe import Product, find_product
from .validity import SCL_CODES, ClassRaster, Mask, Quality

# Atmospheric correction leaves no less than some hundred below zero, and reflectance is smaller still.
_LOWEST_DN = -2000
# Bands of 60 m see the air; what is wrong with a layer of one; and the share of its pixels that may lack where others have some,
# since at the edge of a swath bands end at different lines.
_COARSE_BANDS = tuple(name for name, band in BANDS.items() if band.gsd_m == 60)
_FILLED, _GAPS = "holds one number or nothing", "has gaps where other bands have none"
_MOST_GAPS = 0.01
# What single precision leaves of a class that was divided by 10000 and is multiplied again.
_NEARLY_WHOLE = 1e-3
_IN_ARCHIVE = re.compile(r"/vsi(?:zip|tar)/\{?(.+?\.(?:zip|tar|tgz|tar\.gz))\}?(?:/|$)", re.IGNORECASE)
# Of a scene classification that was interpolated, those at the edges of its classes.
_FEW_BROKEN = 0.1
_UNREAD_FMASK = (
    "the layer Fmask is not read; make a mask of 0 and 1 of its bits for cloud and shadow, in gdal_calc.py (A.astype(int) & 10) > 0, "
    "and give it as one of your own"
)
# How a scene classification is called, before its ending.
SCL_FILE = re.compile(r"(?:^|_)SCL(?:_[26]0m)?$", re.IGNORECASE)
# What `stack` writes into a scene's tags: the quality raster beside it, by how many metres its clouds are widened already, and
# that the unit of what it was made of was assumed, or a product's metadata told it, which its numbers do not refute here either.
QUALITY_TAG, BUFFER_TAG, ASSUMED_TAG = "S2CHANGE_QUALITY", "S2CHANGE_MASK_BUFFER", "S2CHANGE_UNITS_ASSUMED"
PRODUCT_TAG = "S2CHANGE_UNITS_OF_PRODUCT"
# And into the quality raster's own: what its clouds are from.
MASKS_TAG = "S2CHANGE_MASKS"
# What it holds where clouds were not masked.
NO_MASKS = "none"


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
        acquisition: how and when it was taken, as far as anything tells.
        mask: what it brings itself to say where it is not usable.
        missing: band that it should have to the file that was looked for.
        unusable: band that is not among its bands although it has a layer, to what is wrong with that.
        lost_mask: the quality raster that it names and that is not there; None where there is none to miss.
        unused_mask: what else it brings to tell clouds, why that is not used and what to do; "" where there is none.
        product: name of the product that it is; None where it is none.
        own_masks: of its files, which say where they have no data.
    """

    source: str
    bands: dict[str, BandSource]
    acquisition: Acquisition = field(default_factory=Acquisition)
    mask: Mask | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    lost_mask: str | None = None
    unused_mask: str = ""
    product: str | None = None
    own_masks: tuple[ClassRaster, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid of its finest band."""
        return min((band.grid for band in self.bands.values()), key=lambda grid: abs(grid.transform.determinant))

    @property
    def files(self) -> list[str]:
        """All files that its bands and mask are read from, those behind a VRT and an archive too."""
        mask = [self.mask.path] if isinstance(self.mask, ClassRaster) else []
        paths = dict.fromkeys([*(band.path for band in self.bands.values()), *mask])
        found = [file for path in paths for file in files_behind(path)]
        return [archive[1] if (archive := _IN_ARCHIVE.match(path)) else path for path in dict.fromkeys(found)]

    @property
    def label(self) -> str:
        """What people call it."""
        return self.product or short_name(self.source)

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
        lacking = f"{', '.join(missing)}{self.why_not(missing)}"
        if self.missing.keys() & missing:
            raise BandsUnknown(f"{self.source} lacks {lacking}. Download the product again, whole.")
        if missing:
            raise BandsUnknown(
                f"{self.source} has no {lacking}; it has {', '.join(self.bands)}. "
                f"The model needs {', '.join(names)}: give a raster with all of them."
            )
        return replace(self, bands={name: self.bands[name] for name in names})

    def why_not(self, names: Iterable[str]) -> str:
        """In brackets, as a message has room for it, what is known of why bands are not there; "" where nothing is."""
        sought = [self.missing[name] for name in names if name in self.missing]
        said = [_said_of_layer(name, self.unusable[name]) for name in names if name in self.unusable]
        if sought:
            more = f" (and {len(sought) - 1} more)" if len(sought) > 1 else ""
            said.insert(0, f"{sought[0]}{more} was looked for")
        return f" ({', '.join(said)})" if said else ""


def open_scene(
    source: str,
    bands: tuple[str | None, ...] | None = None,
    units: str = "auto",
    side: str = "before",
    trust_units: bool = False,
    crs: CRS | None = None,
) -> Scene:
    """The scene in a Sentinel-2 product, a stacked raster, or a folder of single-band files.

    Args:
        source: a product as `safe.find_product` knows them; a folder or zip with files named `…_B02.tif` or `…_blue.tif`, each of any
            resolution, or one of these files, which stands for all of them; or a GeoTIFF, COG, VRT (anything that GDAL opens, /vsizip/ and /vsicurl/ too) with one layer per band, or
            a zip of one.
        bands: the stack's layers in their order, "SCL" for its scene classification, None for one to leave out; without it the descriptions tell.
        units: "auto", "dn", "dn+1000" or "reflectance"; see `radiometry.rule_for`.
        side: "before", "after", or "" for a scene by itself: whose option an error message offers.
        trust_units: the user has checked the unit: his word goes against what the file says.
        crs: of a stack or of files that have none or a wrong one; None takes theirs.

    Raises:
        UnreadableInput: not there, not a raster, damaged.
        BandsUnknown: the layers cannot be told to be Sentinel-2 bands, or fewer than two of them are usable.
        GridMismatch: no CRS, one for a product, or the bands of a product or a folder do not lie on one ground.
        UnitsUnclear: an 8-bit picture, the user's word contradicts the file's, or the files tell it of some bands only.
    """
    product = find_product(source)
    files = listed(source) if product is None else None
    stack = only_raster(files) if files else None
    if stack:
        return replace(open_scene(stack, bands, units, side, trust_units, crs), source=source)
    if bands is not None and (product or files):
        raise BandsUnknown(f"{source} tells its bands by its files' names; leave {option_of(side, 'bands')} out.")
    if product is not None:
        if crs is not None:
            raise GridMismatch(f"{source} is a product, which tells its place itself; leave {option_of(side, 'crs')} out.")
        return _product_scene(product, units, side, trust_units)
    whole = whole_of(source) if files is None and bands is None else None
    # A file whose name goes on behind its band's is none of a product's.
    if whole is not None and (band_of_file(source) or common_band_of_file(source)) and find_product(whole) is not None:
        return open_scene(whole, None, units, side, trust_units, crs)
    files = listed(whole) if whole is not None else files
    layers = _in_stack(source, bands, side) if files is None else _in_folder(source, files, whole)
    return _layers_scene(layers, units, side, trust_units, crs)


@dataclass(frozen=True)
class _Layers:
    """Where the bands of a stack or a folder lie, and what comes with them.

    Attributes:
        source: what is said to be the scene.
        where: band name to path and layer.
        in_files: each has a file of its own.
        acquisition, mask, lost_mask, unused_mask: see `Scene`.
    """

    source: str
    where: dict[str, tuple[str, int]]
    in_files: bool
    acquisition: Acquisition
    mask: ClassRaster | None
    lost_mask: str | None = None
    unused_mask: str = ""


def _in_stack(source: str, bands: tuple[str | None, ...] | None, side: str) -> _Layers:
    where = stack_layers(source, bands, side)
    acquisition, mask, lost = _told_by_stack(source, bands)
    return _Layers(source, where, False, acquisition, mask, lost, "" if mask else _unused_layer(source))


def _in_folder(source: str, files: Files, whole: str | None) -> _Layers:
    """Of a folder's files those of the scene; `whole` is the folder where the source is one of them."""
    where, alone = folder_layers(source, files, None if whole is None else PurePath(source).name)
    # Where the folder holds nothing else it is the scene, whichever of its files was picked.
    source = whole if whole is not None and alone else source
    acquisition = _acquisition_of_names(path for path, _ in where.values())
    return _Layers(source, where, True, acquisition, _classes_beside(files, where, alone))


def _layers_scene(found: _Layers, units: str, side: str, trust_units: bool, crs: CRS | None) -> Scene:
    """The scene of a stack's or a folder's layers, once their unit, their place and what is wrong with each are told."""
    source, layers, acquisition, mask, unused = found.source, found.where, found.acquisition, found.mask, found.unused_mask
    own = _own_masks(layers, crs)
    unusable, cirrus = _unusable(layers) if "B10" in layers else ({}, np.empty(0))
    usable = _usable(source, layers, unusable)
    layers = {name: where for name, where in layers.items() if unusable.get(name) != _FILLED}
    # Asked only where nothing else tells the unit, and once: all bands of a scene are in the same one.
    largest = cache(lambda: max(_largest(path, index) for path, index in layers.values()))
    told = _told_by_cirrus(*layers["B10"], cirrus, largest, side, trust_units) if "B10" in layers else None
    fill = cache(lambda: _undeclared_fill(*next(iter(layers.values()))))
    sources = {
        name: _band_source(path, index, units, side, largest, told, trust_units, fill, crs)
        for name, (path, index) in layers.items()
    }
    if mask is not None and crs is not None:
        # It lies where they lie.
        mask = replace(mask, crs=crs)
    if mask is not None and mask.codes == (SCL_CODES,):
        # Only Level-2A has been classified.
        acquisition = replace(acquisition, level=acquisition.level or "L2A")
        mask, unused = _with_classes(mask)
    if "B10" in sources and acquisition.level is None:
        # The cirrus band is left out of Level-2A: it sees no ground (ESA, Sentinel-2 Products Specification Document).
        acquisition = replace(acquisition, level="L1C")
    bands = {name: sources[name] for name in usable}
    if found.in_files:
        _require_one_place(source, bands)
    if not trust_units:
        require_one_unit(source, {name: band.rule for name, band in bands.items()}, side)
    lost = found.lost_mask
    return Scene(source, bands, acquisition, mask, unusable=unusable, lost_mask=lost, unused_mask=unused, own_masks=own)


def _usable(source: str, layers: Collection[str], unusable: Mapping[str, str]) -> list[str]:
    """The bands that are usable, in their usual order.

    Raises:
        BandsUnknown: fewer than two.
    """
    usable = [name for name in ALL_BANDS if name in layers and name not in unusable]
    if len(usable) < 2:
        held = f"one {'usable ' if unusable else ''}band only, {usable[0]}" if usable else "no usable band"
        why_not = f" ({', '.join(_said_of_layer(*one) for one in unusable.items())})" if unusable else ""
        raise BandsUnknown(
            f"{source} holds {held}{why_not}. Give a stack with at least two bands of 10 or 20 m, or the folder that holds the band files."
        )
    return usable


def _own_masks(layers: Mapping[str, tuple[str, int]], crs: CRS | None) -> tuple[ClassRaster, ...]:
    """Those of the files in which the layers lie."""
    of_file: dict[str, list[int]] = {}
    for path, index in layers.values():
        of_file.setdefault(path, []).append(index)
    return tuple(filter(None, (_own_mask(path, indexes, crs) for path, indexes in of_file.items())))


def _own_mask(path: str, layers: Collection[int], crs: CRS | None) -> ClassRaster | None:
    """What a file's alpha band or own mask says has no data; None where it has none. A band among the layers is no alpha band, whatever it is called."""
    with open_raster(path) as dataset:
        alpha = next((layer for layer, what in enumerate(dataset.colorinterp, start=1) if what == ColorInterp.alpha), None)
        masked = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    if alpha in layers or not (alpha or masked):
        return None
    told = ClassRaster(path, ({0: Quality.NODATA_BEFORE},), "the file's own mask", crs=crs, of_file=True, of_clouds=False)
    return replace(told, origin="the file's alpha band", first_layer=alpha, of_file=False) if alpha else told


def _product_scene(product: Product, units: str, side: str, trust_units: bool) -> Scene:
    """The scene of a product, whose bands must lie on one ground."""
    found = {
        name: _band_source(path, 1, units, side, lambda: 0.0, product.rules[name], trust_units)
        for name, path in product.bands.items()
    }
    scene = Scene(product.source, found, product.acquisition, product.mask, product.missing, product=product.name)
    if not found:
        sought = next(iter(product.missing.values()), "band files")
        raise BandsUnknown(f"{product.source} holds no band: {sought} was looked for. Download the product again, whole.")
    fine = scene.grid
    for name, band in found.items():
        apart = max(abs(one - other) for one, other in zip(band.grid.bounds, fine.bounds, strict=True))
        # A tile of 109.8 km is a whole number of 60 m pixels, so all bands of a product end at the same lines.
        if band.grid.crs != fine.crs or apart > abs(fine.transform.a):
            raise GridMismatch(
                f"The bands of {product.source} do not lie on one ground: {name} covers {place_of(band.grid)}, "
                f"others {place_of(fine)}. The product is put together from different ones; download it again."
            )
    return scene


def _require_one_place(source: str, bands: Mapping[str, BandSource]) -> None:
    """Refuse the files of a folder of which one does not meet the finest one's ground: nothing would be observed."""
    finest = min(bands, key=lambda name: abs(bands[name].grid.transform.determinant))
    fine = bands[finest].grid
    base = base_grid(fine)
    for name, band in bands.items():
        if bounds_window(base, band.grid.bounds, band.grid.crs) is None:
            raise GridMismatch(
                f"The bands of {source} do not lie on one ground: {name} covers {place_of(band.grid)}, and {finest} {place_of(fine)}. "
                "Give a folder with the files of one scene."
            )


def _told_by_cirrus(
    path: str, index: int, values: NDArray[Any], largest: Callable[[], float], side: str, trust_units: bool
) -> DnRule | None:
    """The rule that B10 proves for a scene of digital numbers whose files have no scale and offset of their own.

    Args:
        path, index: where B10 lies.
        values: of it, from all over the scene.
        largest, side, trust_units: see `_band_source`.

    Raises:
        UnitsUnclear: the files' own scale and offset make B10 see ground, and are not of a product's metadata.
    """
    with open_raster(path) as dataset:
        own = DnRule(dataset.scales[index - 1], dataset.offsets[index - 1], "")
        dtype, of_product = dataset.dtypes[index - 1], PRODUCT_TAG in dataset.tags()
    if of_product or dtype in ("uint8", "int8") or (dtype.startswith("float") and largest() <= LARGEST_REFLECTANCE):
        return None
    if not values.size:
        return None
    stored = float(np.percentile(values, CIRRUS_PERCENT))
    if (own.scale, own.offset) == (1.0, 0.0):
        return cirrus_rule(stored)
    if not trust_units and not cirrus_fits(stored, own):
        raise UnitsUnclear(
            f"{path} has a scale of {own.scale:g} and an offset of {own.offset:g}, and with them B10, which sees no ground, "
            f"reflects {stored * own.scale + own.offset:.3f} where it should be about 0. Which is right? "
            f"Say it with {option_of(side, 'units')} and --trust-units."
        )
    return None


def _told_by_stack(source: str, bands: tuple[str | None, ...] | None) -> tuple[Acquisition, ClassRaster | None, str | None]:
    """What a stack's tags, else its name, tell of its acquisition; its mask; and the mask that it names and has lost.

    The layer of its scene classification is the one that the user names so, else its description.
    """
    with open_raster(source) as dataset:
        tags, descriptions = dataset.tags(), dataset.descriptions
    acquisition = acquisition_of_tags(tags)
    if acquisition == Acquisition():
        acquisition = acquisition_of_name(source)
    if acquisition.level is None:
        acquisition = replace(acquisition, level=level_of_layers(descriptions))
    if QUALITY_TAG in tags:
        beside = _beside(source, tags[QUALITY_TAG])
        try:
            with open_raster(beside) as quality:
                made_of = quality.tags().get(MASKS_TAG)
        except UnreadableInput:
            return acquisition, None, beside
        codes = (Quality.NODATA_BEFORE, Quality.CLOUD, Quality.CLOUD_SHADOW, Quality.SNOW, Quality.SATURATED)
        meaning = {int(code): int(code) for code in codes}
        widened = parse_number(tags.get(BUFFER_TAG)) or 0.0
        origin = f"quality raster {PurePath(beside).name}" + (f" ({made_of})" if made_of else "")
        return (
            acquisition,
            ClassRaster(beside, (meaning,), origin, widened=widened, of_clouds=made_of not in ("", NO_MASKS)),
            None,
        )
    names = bands if bands and SCL in bands else descriptions
    layer = next((index for index, text in enumerate(names, start=1) if (text or "").strip().upper() == SCL), None)
    if layer is None:
        return acquisition, None, None
    return acquisition, ClassRaster(source, (SCL_CODES,), "scene classification (SCL) of the stack", first_layer=layer), None


def _unused_layer(source: str) -> str:
    """What is said of a layer of a stack that knows clouds and is not read; "" where there is none."""
    with open_raster(source) as dataset:
        return _UNREAD_FMASK if "Fmask" in dataset.descriptions else ""


def _beside(source: str, name: str) -> str:
    """A file named as seen from the folder of another, on disk or in one of GDAL's virtual folders."""
    if source.startswith("/vsi") or "://" in source:
        return f"{source.rpartition('/')[0]}/{name}"
    return str(Path(source).parent / name)


def _classes_beside(files: Files, layers: Mapping[str, tuple[str, int]], alone: bool) -> ClassRaster | None:
    """The scene classification among the files of a folder of bands, where one lies beside them: theirs by its name, or the only one of a folder of one scene."""
    folders = {PurePath(path).parent for path, _ in layers.values()}
    by_gsd = are_by_gsd(folders)
    # Of bands whose names go on behind their codes, its name goes on alike.
    going_on = {scene_of_file(path) for path, _ in layers.values() if band_of_file(path) is None and bands_within_file(path)}

    def is_theirs(name: str) -> bool:
        return bool(SCL_FILE.search(PurePosixPath(name).stem)) or (
            SCL in PurePosixPath(name).stem.upper() and scene_of_file(name) in going_on
        )

    rasters = [name for name in files.names if PurePosixPath(name).suffix.lower() in RASTER_FILES]
    found = [files.path(name) for name in rasters if is_theirs(name)]
    found = [path for path in found if (here := PurePath(path).parent) in folders or (by_gsd and are_by_gsd({*folders, here}))]
    marks = {(), *(marks_of_file(path) for path, _ in layers.values())}
    own = [path for path in found if marks_of_file(path) in marks]
    found = own or (found if alone and len(found) == 1 else [])
    return ClassRaster(min(found), (SCL_CODES,), "scene classification (SCL) beside the bands") if found else None


def _with_classes(mask: ClassRaster) -> tuple[ClassRaster | None, str]:
    """A scene classification as it is to be read, where it holds classes, else None; and what is then said of it.

    What scales or resamples all layers of a scene leaves fractions of its classes, which only floating point can hold.
    """
    with open_raster(mask.path) as dataset:
        if not dataset.dtypes[mask.first_layer - 1].startswith("float"):
            return mask, ""
    values = values_over(mask.path, mask.first_layer).astype(float)
    # Others fill.
    values = values[(values >= 0) & (values <= max(SCL_CODES))]
    broken = values[values != np.rint(values)]
    if not broken.size:
        return mask, ""
    classes = values * QUANTIFICATION
    if np.abs(classes - np.rint(classes)).max() < _NEARLY_WHOLE and classes.max() < max(SCL_CODES) + 1:
        return replace(mask, scale=QUANTIFICATION), ""
    if broken.size <= _FEW_BROKEN * values.size:
        return mask, "the SCL layer was interpolated, and between two classes it holds neither; export it by nearest neighbour"
    such = np.format_float_positional(np.float32(broken[0]), trim="-")
    return None, f"the SCL layer holds no classes (values such as {such}); export it unscaled, by nearest neighbour"


def _acquisition_of_names(paths: Iterable[str]) -> Acquisition:
    """What the names of a scene's files tell, if they all tell the same."""
    told = {acquisition_of_name(Path(path).name) for path in paths}
    return told.pop() if len(told) == 1 else Acquisition()


def _band_source(
    path: str,
    index: int,
    units: str,
    side: str,
    largest: Callable[[], float],
    told: DnRule | None = None,
    trust_units: bool = False,
    fill: Callable[[], float | None] = lambda: None,
    crs: CRS | None = None,
) -> BandSource:
    """Where a band lies; `told` is as in `rule_for`, `fill` gives what stands for nodata where the file does not say, `crs` is as in `open_scene`."""
    with open_raster(path) as dataset:
        crs = crs or dataset.crs
        if dataset.transform.is_identity or dataset.transform.determinant == 0:
            raise GridMismatch(f"{path} has no georeference, so its place is unknown. Georeference it first.")
        if crs is None:
            raise GridMismatch(
                f"{path} has no CRS, so its place is unknown. Say it with {option_of(side, 'crs')}, such as EPSG:32631."
            )
        if not is_on_earth(crs):
            raise GridMismatch(
                f"{path} has a CRS that is no place on Earth ({name_of(crs)}). Say the right one with {option_of(side, 'crs')}."
            )
        grid = Grid(crs, dataset.transform, dataset.height, dataset.width)
        dtype = dataset.dtypes[index - 1]
        nodata = dataset.nodatavals[index - 1]
        if nodata is None:
            # ESA: DN 0 is nodata.
            filled = None if dtype.startswith("uint") else fill()
            nodata = filled if filled is not None else (np.nan if dtype.startswith("float") else 0.0)
        if dtype.startswith("complex"):
            raise UnreadableInput(f"{path} holds complex numbers, which no reflectance is. Pick another raster.")
        tags = (dataset.scales[index - 1], dataset.offsets[index - 1])
        if not (math.isfinite(tags[0]) and tags[0] > 0 and math.isfinite(tags[1])):
            raise UnitsUnclear(
                f"{path} has a scale of {tags[0]:g} and an offset of {tags[1]:g}, by which no number becomes reflectance. Correct them, such as with "
                "gdal_edit.py -scale 0.0001 -offset 0."
            )
        rule = rule_for(path, dtype, tags, units, largest, side, told, trust_units)
        if ASSUMED_TAG in dataset.tags():
            rule = replace(rule, assured=False)
        elif (rule.scale, rule.offset) == tags != (1.0, 0.0) and PRODUCT_TAG in dataset.tags():
            # What a product's metadata told are these, not another word, nor what is assumed where they have been left out.
            rule = replace(rule, product=True)
    return BandSource(path, index, grid, dtype, float(nodata), rule)


def _largest(path: str, index: int) -> float:
    """About the largest number of a layer, from windows spread over it; 0 where all of these are empty."""
    ((values, there, _),) = spread_over(path, [index])
    parts = (part[seen] for part, seen in zip(values, there, strict=True))
    return max((float(np.percentile(part, 99)) for part in parts if part.size), default=0.0)


def _unusable(layers: Mapping[str, tuple[str, int]]) -> tuple[dict[str, str], NDArray[Any]]:
    """Which bands of 60 m no model should look at, each with the reason; and the numbers of B10, from all over the scene.

    Level-2A has no B10, and its exports fill the place. Where an export of Level-1C took the offset off and cut at 0, B10, which hardly
    sees the ground, is 0 in many places, and 0 is nodata.

    Args:
        layers: band to path and layer, with B10.
    """
    coarse = [name for name in _COARSE_BANDS if name in layers]
    # One other, where it costs no more to read.
    other = next((name for name, (path, _) in layers.items() if name not in coarse and path == layers["B10"][0]), None)
    asked = [*coarse, *([other] if other else [])]
    looked: dict[str, Looked] = {}
    for file in dict.fromkeys(layers[name][0] for name in asked):
        members = [name for name in asked if layers[name][0] == file]
        looked.update(zip(members, spread_over(file, [layers[name][1] for name in members]), strict=True))
    found: dict[str, str] = {}
    for name in coarse:
        values, there, shape = looked[name]
        pixel_by_pixel = [seen for one, (_, seen, size) in looked.items() if one != name and size == shape]
        if there.any():
            filled = values[there].min() == values[there].max()
        else:
            filled = any(len(values_over(*where)) for one, where in layers.items() if one != name)
        if filled:
            found[name] = _FILLED
        elif any((seen & ~there).sum() > _MOST_GAPS * seen.sum() for seen in pixel_by_pixel):
            found[name] = _GAPS
    values, there, _ = looked["B10"]
    return found, values[there]


def _said_of_layer(name: str, wrong: str) -> str:
    return f"its layer {name} {wrong}"


def _undeclared_fill(path: str, index: int) -> float | None:
    """A value such as −9999 that fills a layer of signed numbers without being declared; None where there is none."""
    lowest = float(values_over(path, index).min(initial=0))
    return lowest if lowest < _LOWEST_DN else None


def short_name(source: str) -> str:
    """A source's name; of a folder with its parent's, since "imgs_1" alone says little."""
    named = without_queries(source)
    if not os.path.isdir(named):
        return Path(named).name
    # Of "." these are the names of where it is.
    folder = Path(os.path.abspath(named))
    return f"{folder.parent.name}/{folder.name}"
