"""Which layer of which file is which band: in a stack by what describes its layers, in a folder or zip by the files' names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path, PurePath, PurePosixPath

from .acquisition import level_of_layers
from .bands import (
    BANDS,
    SCL,
    TEN_BANDS,
    USUAL_ORDERS,
    band_of_file,
    bands_of_descriptions,
    bands_within_file,
    common_band_of_file,
    marks_of_file,
)
from .errors import BandsUnknown, UnreadableInput, option_of
from .files import Files, open_files
from .rasters import open_raster

# Endings of the files that may be bands.
RASTER_FILES = {".tif", ".tiff", ".jp2", ".vrt", ".img"}
# How folders of one scene's bands by resolution are called, as in a product and on AWS; and what the root of a Zarr store holds.
_GSD_FOLDER = re.compile(r"R(10|20|60)m", re.IGNORECASE)
_OF_ZARR = {".zmetadata", ".zgroup", "zarr.json"}
# Numbers that Landsat and Sentinel-2 give to other bands, and those that Landsat has not (NASA, HLS Product User Guide, tables of bands).
_OF_RED_EDGE, _BEYOND_LANDSAT = {"B05", "B06", "B07"}, {"B08", "B8A", "B12"}


def listed(source: str) -> Files | None:
    """The files of a folder or zip; of a folder on disk those in its folders as well, where no band's file lies in itself."""
    files = open_files(source)
    if files is None or files.archive is not None or any(_may_be_band(name) for name in files.names):
        return files
    # One file with a code somewhere in its name may be anything; of a scene there are several.
    within = {_band_within(name) for name in files.names if PurePosixPath(name).suffix.lower() in RASTER_FILES} - {None}
    return files if len(within) > 1 else open_files(source, depth=2)


def _may_be_band(name: str) -> bool:
    """Whether a file is named after a band, by either spelling."""
    known = band_of_file(name) in BANDS or common_band_of_file(name) is not None
    return known and PurePosixPath(name).suffix.lower() in RASTER_FILES


def whole_of(source: str) -> str | None:
    """The folder of a file that holds one band and is named after it, if files of other bands lie there: QGIS picks files, and shows them.

    Of a folder for a resolution it is the one above, unless bands lie there too.
    """
    path = Path(source)
    if not (_may_be_band(path.name) or _band_within(path.name)) or not path.is_file():
        return None
    with open_raster(source) as dataset:
        single = dataset.count == 1
    beside = _rasters_in(path.parent)
    band_of = _spelling(beside)
    if band_of(path.name) not in BANDS:
        return None
    there = {band_of(name) for name in beside}
    above = path.parent.parent
    by_gsd = single and _GSD_FOLDER.fullmatch(path.parent.name)
    if by_gsd and not any(_may_be_band(name) or band_of(name) in BANDS for name in _rasters_in(above)):
        return str(above)
    return str(path.parent) if single and len(there & BANDS.keys()) > 1 else None


def _spelling(names: Iterable[str]) -> Callable[[str], str | None]:
    """What tells the band of a file's name among those of a folder: the code that it ends with, or the common name where no file has a code.

    Where so fewer than two bands are told, the code may stand anywhere.
    """
    names = tuple(names)
    usual = band_of_file if any(band_of_file(name) in BANDS for name in names) else common_band_of_file
    told = {name: usual(name) for name in names}
    within = any(bands_within_file(name) for name, band in told.items() if band not in BANDS)
    return _band_within if within and len(BANDS.keys() & told.values()) < 2 else usual


def _band_within(name: str) -> str | None:
    """The band of a file whose name holds one band's code, and no other's."""
    bands = bands_within_file(name)
    return bands[0] if len(bands) == 1 else None


def _rasters_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix.lower() in RASTER_FILES]


def only_raster(files: Files) -> str | None:
    """GDAL's path of the raster in a zip, where there is one alone and it has several layers."""
    rasters = [name for name in files.names if PurePosixPath(name).suffix.lower() in RASTER_FILES]
    if files.archive is None or len(rasters) != 1:
        return None
    with open_raster(files.path(rasters[0])) as dataset:
        return files.path(rasters[0]) if dataset.count > 1 else None


def stack_layers(source: str, bands: tuple[str | None, ...] | None, side: str) -> dict[str, tuple[str, int]]:
    """Band name to (path, layer) of a stack."""
    with open_raster(source) as dataset:
        descriptions, count, inside = dataset.descriptions, dataset.count, dataset.subdatasets
    if not count:
        raise UnreadableInput(
            f"{source} holds {len(inside)} rasters ({', '.join(inside[:3])}{' …' if len(inside) > 3 else ''}) and is none itself. Make one GeoTIFF of the bands first."
        )
    if bands is None:
        if count == 1:
            raise BandsUnknown(
                f"{source} holds one band only. Give a stack with all bands, or the folder that holds the band files."
            )
        bands = bands_of_descriptions(descriptions)
        _require_named(source, descriptions, bands, side)
    elif len(bands) != count:
        raise BandsUnknown(
            f"{option_of(side, 'bands')} names {len(bands)} layers and {source} has {count}. Name each layer in its order, and write - for one to leave out."
        )
    return {name: (source, index) for index, name in enumerate(bands, start=1) if name in BANDS}


def _require_named(source: str, descriptions: tuple[str | None, ...], bands: tuple[str | None, ...], side: str) -> None:
    """Refuse a stack whose descriptions do not tell its bands, with the option ready to paste."""
    known = [name for name in bands if name]
    if level_of_layers(descriptions) and not _OF_RED_EDGE.isdisjoint(known) and _BEYOND_LANDSAT.isdisjoint(known):
        raise BandsUnknown(
            f"{source} has the layers of Harmonized Landsat (HLS L30), whose B5 is near infrared: it has none of {', '.join(sorted(_BEYOND_LANDSAT))}. Give "
            f"HLS S30, which is Sentinel-2. If these are some of its layers: {_to_paste(len(bands), option_of(side, 'bands'))}"
        )
    twice = sorted({name for name in known if known.count(name) > 1})
    numbers = [number for number in map(_plain_number, descriptions) if number is not None]
    # B01, B02 are names; of many even these may be numbers.
    few = 3 if any(re.search(r"0\d", text or "") for text in descriptions) else 1
    numbered = len(numbers) > few and "B8A" not in known and numbers == list(range(1, len(numbers) + 1))
    # Numbers that any of the words beside them contradict are no names of the others either.
    counted = [(number, text, band) for text, band in zip(descriptions, bands, strict=True) if (number := _first_number(text))]
    against = [text for _, text, band in counted if band is None and text]
    contradicted = bool(against) and len(counted) > 1 and [number for number, _, _ in counted] == list(range(1, len(counted) + 1))
    if len(known) >= 2 and not twice and not numbered and not contradicted:
        return
    if twice:
        reason = f"describes more than one layer as {', '.join(twice)}"
    elif numbered:
        reason = f"only numbers its layers (B1 … B{len(numbers)}), which leaves open which bands they are, and where B8A is"
    elif contradicted:
        reason = f"numbers its layers (B1 … B{len(counted)}), and what stands beside a number names another band ({against[0]})"
    else:
        reason = f"has {len(bands)} layers without descriptions that name Sentinel-2 bands"
    raise BandsUnknown(f"{source} {reason}. {_to_paste(len(bands), option_of(side, 'bands'))}")


def _to_paste(count: int, option: str) -> str:
    """How to name so many layers: in the usual order, and in that of their names, which catalogues keep to and in which B8A is last."""
    usual = USUAL_ORDERS.get(count)
    if usual is None:
        fits = max((order for order in USUAL_ORDERS.values() if len(order) < count), key=len, default=TEN_BANDS[:count])
        example = ",".join([*fits, *["-"] * (count - len(fits))])
        return f"Say what they are, in their order, with - for one to leave out and {SCL} for a scene classification, such as: {option} {example}"
    by_name = tuple(sorted(usual))
    also = (
        f"Planetary Computer, stackstac and odc order them by name: {option} {','.join(by_name)} – else, if"
        if by_name != usual
        else "If"
    )
    return f"{also} they come in the usual order, add: {option} {','.join(usual)}"


def _plain_number(text: str | None) -> int | None:
    found = re.fullmatch(r"\s*b(?:and)?[ _]?0?(\d{1,2})\s*", text or "", re.IGNORECASE)
    return int(found.group(1)) if found else None


def _first_number(text: str | None) -> int | None:
    """That of a description which begins as "B4", with or without words behind it."""
    found = re.match(r"\s*b[ _]?0?(\d{1,2})(?![a-z0-9])", text or "", re.IGNORECASE)
    return int(found.group(1)) if found else None


def folder_layers(source: str, files: Files, picked: str | None) -> tuple[dict[str, tuple[str, int]], bool]:
    """Band name to (path, 1) of a folder of single-band files, of two resolutions of a band the finer; and whether it holds one scene alone.

    Of several scenes in it that of a file's name counts, where one is picked.
    """
    rasters = [name for name in files.names if PurePosixPath(name).suffix.lower() in RASTER_FILES]
    band_of = _spelling(rasters)
    folders: dict[str, dict[str, list[str]]] = {}
    for name in rasters:
        band = band_of(name)
        # A word ends the names of other files too, such as an image's of red, green, blue and nir.
        if band in BANDS and (band_of is band_of_file or _has_one_layer(files.path(name))):
            folders.setdefault(str(PurePosixPath(name).parent), {}).setdefault(band, []).append(name)
    if "." in folders:
        folders = {".": folders["."]}
    if band_of is _band_within:
        _require_one_band_each(
            source, files, [name for name in rasters if not folders or str(PurePosixPath(name).parent) in folders]
        )
    if not folders and not _OF_ZARR.isdisjoint(files.names):
        raise UnreadableInput(
            f"{source} is a Zarr store, such as ESA's EOPF products are, which is not supported. Give the product in the SAFE format, or a GeoTIFF of its bands."
        )
    if not folders:
        raise BandsUnknown(f"{source} holds neither a Sentinel-2 product nor files named like its bands (…_B02.tif, …_B8A.jp2).")
    if len(folders) > 1 and not are_by_gsd(map(PurePosixPath, folders)):
        raise BandsUnknown(f"{source} holds band files in several folders ({', '.join(sorted(folders)[:4])}). Give one of them.")
    found: dict[str, list[str]] = {}
    for band, names in chain.from_iterable(bands.items() for bands in folders.values()):
        found.setdefault(band, []).extend(names)
    of_scene: dict[tuple[str, ...], str] = {}
    for name in chain.from_iterable(found.values()):
        of_scene.setdefault(marks_of_file(name), name)
    if len(of_scene) > 1:
        if picked is None:
            raise BandsUnknown(
                f"{source} holds bands of several scenes ({', '.join(list(of_scene.values())[:3])}). Give one of the files of the scene that you mean, or a "
                "folder that holds it alone."
            )
        own = {band: [name for name in names if marks_of_file(name) == marks_of_file(picked)] for band, names in found.items()}
        found = {band: names for band, names in own.items() if names}
    return {band: (files.path(_finest(source, band, names, picked)), 1) for band, names in found.items()}, len(of_scene) == 1


def _require_one_band_each(source: str, files: Files, names: Iterable[str]) -> None:
    """Refuse files of one layer whose names hold the codes of several bands."""
    for name in names:
        several = bands_within_file(name)
        if len(several) > 1 and _has_one_layer(files.path(name)):
            raise BandsUnknown(
                f"The name of {name} in {source} holds {' and '.join(several)}, so it is not clear which band it is. Leave one in its name, or move the file "
                "elsewhere if it is no band."
            )


def _has_one_layer(path: str) -> bool:
    with open_raster(path) as dataset:
        return bool(dataset.count == 1)


def are_by_gsd(folders: Iterable[PurePath]) -> bool:
    """Whether folders part the bands of one scene by resolution."""
    paths = list(folders)
    return len({path.parent for path in paths}) == 1 and all(_GSD_FOLDER.fullmatch(path.name) for path in paths)


def _finest(source: str, band: str, names: list[str], picked: str | None) -> str:
    # Theia brings each band twice: FRE, with the slopes taken out, and SRE.
    kind = "_SRE_" if picked and "_SRE_" in picked else "_FRE_"
    names = [name for name in names if kind in PurePosixPath(name).name] or names
    if len(names) == 1:
        return names[0]
    by_gsd = {int(gsd.group(1)): name for name in names if (gsd := _gsd_of(PurePosixPath(name)))}
    if len(by_gsd) != len(names):
        raise BandsUnknown(
            f"{source} holds {band} more than once ({names[0]}, {names[1]}). Give a folder with one file of each band."
        )
    return by_gsd[min(by_gsd)]


def _gsd_of(path: PurePosixPath) -> re.Match[str] | None:
    """The resolution that a file's name ends with, else that of its folder, else the one that stands elsewhere in the name."""
    at_end, within = (re.search(rf"_(10|20|60)m{end}", path.stem) for end in ("$", r"(?=[_\-. ])"))
    return at_end or _GSD_FOLDER.fullmatch(path.parent.name) or within
