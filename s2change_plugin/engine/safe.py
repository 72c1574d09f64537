"""Sentinel-2 products (SAFE): their bands, their rule from digital numbers to reflectance, their date and their mask.

Source of all names and elements: ESA, Sentinel-2 Products Specification Document, the present naming and that before December 2016.
What a product holds is told by the files that are there, whatever their case; the metadata says what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]
from rasterio.crs import CRS
from rasterio.errors import CRSError

from .acquisition import Acquisition, acquisition_of_name, parse_number, parse_time
from .bands import ALL_BANDS, BANDS, L2A_BANDS, band_of_file
from .errors import UnreadableInput
from .files import Files, absolute, open_files
from .radiometry import DnRule
from .validity import SCL_CODES, ClassRaster, Mask, MaskPolygons, Quality

_BANDS_OF = {"L1C": ALL_BANDS, "L2A": L2A_BANDS}
# Level: quantification value, list of offsets, offset of a band. The L2A_… of the first products is the same number.
_QUANTIFICATION = {"L1C": ("QUANTIFICATION_VALUE",), "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")}
_OFFSET_LIST = {"L1C": "Radiometric_Offset_List", "L2A": "BOA_ADD_OFFSET_VALUES_LIST"}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}

_PRODUCT_FILE = re.compile(r"(?:MTD_MSIL|S2\w_\w{4}_MTD_SAFL)(?:0|1A|1B|1C|2[A-Z])\w*\.xml", re.IGNORECASE)
_TILE_FILE = re.compile(r"(?:MTD_TL|S2\w_\w{4}_MTD_L(?:1B|1C|2A)_(?!DS_)[\w.]*)\.xml", re.IGNORECASE)
_SUBDATASET = re.compile(r'SENTINEL2_L\w+:"?(.+?)"?(?::(?:\d+m|TCI|PREVIEW|SCL))?(?::EPSG_\d+)?', re.IGNORECASE)
_GRANULE_IN_PATH = re.compile(r"^(.*?)[/\\]GRANULE(?:[/\\]([^/\\]+))?(?:[/\\][^/\\]+){0,2}$", re.IGNORECASE)

# X.SAFE/GRANULE/G/IMG_DATA/R10m holds files.
_DEPTH = 5
_IMAGES = {".jp2", ".tif", ".tiff"}
_NO_IMAGES = {"qi_data", "aux_data", "datastrip"}
_SCL = re.compile(r"(?:^|_)SCL(?:_\w+)?_0?(20|60)m$", re.IGNORECASE)
_CLASSI = re.compile(r"(?:^|_)MSK_CLASSI_(?:\w+_)?B00$", re.IGNORECASE)
_CLOUDS_GML = re.compile(r"(?:^|_)MSK_CLOUDS_(?:\w+_)?B00(?:_MSIL1C)?\.gml$", re.IGNORECASE)

_CLASSI_CODES = ({1: Quality.CLOUD}, {1: Quality.CLOUD}, {1: Quality.SNOW})  # opaque clouds, cirrus, snow
_CLOUD_TYPES = ("OPAQUE", "CIRRUS")


@dataclass(frozen=True)
class Product:
    """A Level-1C or Level-2A product of one tile, as its metadata and files say.

    Attributes:
        source: what the user named.
        name: of the product, without .SAFE.
        acquisition: from the metadata.
        bands: band name to GDAL's path of the band at its own resolution, in the order of `bands.ALL_BANDS`.
        missing: band that the level has but whose file is not there, to the file that was looked for, relative to the product.
        rules: band name to the way from its digital numbers to reflectance, of the missing bands too.
        mask: the product's own; None where it has none.
    """

    source: str
    name: str
    acquisition: Acquisition
    bands: dict[str, str]
    missing: dict[str, str]
    rules: dict[str, DnRule]
    mask: Mask | None


def find_product(source: str) -> Product | None:
    """The product that a source names; None where it names none (then it may be a stack or a folder of band files).

    Args:
        source: a .SAFE folder, or one that holds a single one; its zip; the product's or a granule's metadata file; a granule's
            folder, or one in it; a folder or metadata file in a zip (/vsizip/…); GDAL's SENTINEL2_L1C:… and SENTINEL2_L2A:….

    Raises:
        UnreadableInput: a product that cannot be used: damaged metadata, another level, several granules, several products.
    """
    subdataset = _SUBDATASET.fullmatch(source.strip())
    path = absolute(subdataset.group(1) if subdataset else source)
    folder, file = _split_metadata(path)
    named = bool(subdataset or file or path.lower().endswith(".safe"))
    files = open_files(folder, depth=2)
    if files is None:
        if named:
            raise UnreadableInput(
                f"{source} does not exist. Choose a product's folder, its zip, or its MTD_MSIL1C.xml or MTD_MSIL2A.xml."
            )
        return None
    above = _GRANULE_IN_PATH.match(folder)
    product = open_files(above.group(1)) if above else None
    here = [name for name in product.names if _PRODUCT_FILE.fullmatch(name)] if product else []
    if above and product and len(here) == 1:
        return _read_product(source, product, here[0], above.group(2))
    found = _metadata_files(files, file)
    if len(found) > 1:
        raise UnreadableInput(f"{source} holds more than one product ({', '.join(found)}). Give one of these.")
    if found:
        inside, _, metadata = found[0].rpartition("/")
        return _read_product(source, files.below(inside), metadata, None)
    if named or any(_TILE_FILE.fullmatch(name) for name in files.names):
        raise UnreadableInput(
            f"{source} lacks the product's metadata, MTD_MSIL1C.xml or MTD_MSIL2A.xml, without which its numbers have no unit. "
            "Give the whole product."
        )
    return None


def _split_metadata(path: str) -> tuple[str, str | None]:
    """Folder and name where the path is a metadata file; else the path itself and None."""
    folder, separator, name = path.rpartition("/") if "/" in path else path.rpartition("\\")
    if separator and (_PRODUCT_FILE.fullmatch(name) or _TILE_FILE.fullmatch(name)):
        return folder, name
    return path, None


def _metadata_files(files: Files, named: str | None) -> list[str]:
    """The products' metadata files in a folder (of these, the named one), else in the folders right below it."""
    every = [name for name in files.names if _PRODUCT_FILE.fullmatch(PurePosixPath(name).name)]
    if named and _PRODUCT_FILE.fullmatch(named):
        return [named] if named in every else [name for name in every if name.lower() == named.lower()]
    here = [name for name in every if "/" not in name]
    # A folder of bands stays one where a product lies beside them.
    if here or len({band_of_file(name) for name in files.names if "/" not in name} & BANDS.keys()) > 1:
        return here
    return [name for name in every if name.count("/") == 1]


def _read_product(source: str, found: Files, metadata: str, granule: str | None) -> Product:
    files = open_files(found.path(), _DEPTH) or found
    root = _parse(files, metadata)
    level = _level(root, files.path(metadata))
    folder = _granule_folder(source, files, root, granule)
    tile_file = next((name for name in files.below(folder).names if "/" not in name and _TILE_FILE.fullmatch(name)), None)
    tile_root = _parse(files, f"{folder}/{tile_file}" if folder else tile_file) if tile_file else None
    acquisition = _acquisition(level, root, tile_root, [folder, *files.below(folder).names])
    images = _images(files, folder)
    expected = _expected_files(root, level, folder, acquisition.tile, images)
    bands = {
        band: _one(source, band, paths)
        for band in expected
        if (paths := [path for path in images if _is_band(path, band, level)])
    }
    folder_name = PurePosixPath((files.folder or files.archive or "").replace("\\", "/")).name
    name = _text(root, "PRODUCT_URI", "PRODUCT_URI_2A") or folder_name
    return Product(
        source=source,
        name=re.sub(r"(\.SAFE|\.zip)+$", "", name, flags=re.IGNORECASE),
        acquisition=acquisition,
        bands={band: files.path(path) for band, path in bands.items()},
        missing={band: path for band, path in expected.items() if band not in bands},
        rules=_rules(root, level, acquisition.baseline, files.path(metadata)),
        mask=_mask(files, folder, level, tile_root, acquisition.tile),
    )


def _parse(files: Files, name: str) -> Any:
    """The root element of an XML file, which may neither define nor fetch anything."""
    data = files.read(name)
    try:
        return fromstring(data, forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as error:
        raise UnreadableInput(
            f"{files.path(name)} is no sound XML, it is damaged ({error}). Download the product again."
        ) from error


def _local(element: Any) -> str:
    """An element's name without its namespace, which differs between versions."""
    return str(element.tag).rpartition("}")[2]


def _elements(root: Any, *names: str) -> Iterator[Any]:
    return (element for element in root.iter() if _local(element) in names)


def _text(root: Any, *names: str) -> str | None:
    """The text of the first element of these names that has any; an earlier name goes before a later one."""
    texts = ((element.text or "").strip() for name in names for element in _elements(root, name))
    return next((text for text in texts if text), None)


def _level(root: Any, path: str) -> str:
    said = _text(root, "PROCESSING_LEVEL", "PRODUCT_TYPE") or _local(root)
    found = re.search(r"(?:Level-|S2MSI|L)(0|1A|1B|1C|2A)", said, re.IGNORECASE)
    level = f"L{found.group(1).upper()}" if found else None
    if level not in _BANDS_OF:
        raise UnreadableInput(f"{path} is of level {level or 'unknown'} ({said}). Give a Level-1C or Level-2A product.")
    return level


def _granule_folder(source: str, files: Files, root: Any, named: str | None) -> str:
    """The folder of the product's one granule, relative; "" for a product whose files lie in no such folder."""
    parts = [PurePosixPath(name).parts for name in files.names]
    there = sorted({"/".join(part[:2]) for part in parts if len(part) > 2 and part[0].lower() == "granule"})
    chosen = [folder for folder in there if named is None or folder.rpartition("/")[2].lower() == named.lower()]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        tiles = ", ".join(acquisition_of_name(folder).tile or folder for folder in chosen)
        raise UnreadableInput(f"{source} holds several tiles ({tiles}). Give the folder of one, such as {files.path(chosen[0])}.")
    if named is not None:
        raise UnreadableInput(f"{source} has no files. Download the product again, whole.")
    said = next((PurePosixPath(path).parts for path in _image_paths(root) if path.lower().startswith("granule/")), ())
    return "/".join(said[:2])


def _acquisition(level: str, root: Any, tile_root: Any, names: Sequence[str]) -> Acquisition:
    sun = next(_elements(tile_root, "Mean_Sun_Angle"), None) if tile_root is not None else None
    zenith, azimuth = (parse_number(_text(sun, name)) if sun is not None else None for name in ("ZENITH_ANGLE", "AZIMUTH_ANGLE"))
    times = [_text(root, "DATATAKE_SENSING_START"), _text(root, "PRODUCT_START_TIME")]
    times += [_text(tile_root, "SENSING_TIME")] if tile_root is not None else []
    platform = re.fullmatch(r"Sentinel-?2([A-D])", _text(root, "SPACECRAFT_NAME") or "", re.IGNORECASE)
    orbit = _text(root, "SENSING_ORBIT_NUMBER")
    said = [*names, *_image_paths(root), *_granule_ids(root), _text(root, "PRODUCT_URI", "PRODUCT_URI_2A") or ""]
    return Acquisition(
        level=level,
        sensed=next(filter(None, map(parse_time, times)), None),
        platform=f"S2{platform.group(1).upper()}" if platform else None,
        tile=next(filter(None, (acquisition_of_name(name).tile for name in said)), None),
        baseline=_text(root, "PROCESSING_BASELINE"),
        orbit=int(orbit) if orbit and re.fullmatch(r"\d{1,3}", orbit) else None,
        sun_zenith=zenith,
        sun_azimuth=azimuth,
        origin="metadata",
    )


def _granule_ids(root: Any) -> list[str]:
    return [element.get("granuleIdentifier", "") for element in _elements(root, "Granule", "Granules")]


def _image_paths(root: Any) -> list[str]:
    """What the metadata calls its image files, without their extension; before December 2016 without their folder too."""
    names = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID", "IMAGE_ID_2A")
    return [element.text.strip() for element in _elements(root, *names) if (element.text or "").strip()]


def _images(files: Files, folder: str) -> list[str]:
    """The product's rasters other than masks and auxiliary data."""
    prefix = f"{folder}/" if folder else ""
    return [
        f"{prefix}{name}"
        for name in files.below(folder).names
        if PurePosixPath(name).suffix.lower() in _IMAGES and not _NO_IMAGES.intersection(name.lower().split("/"))
    ]


def _is_band(path: str, band: str, level: str) -> bool:
    """True for a band's file at the band's own resolution: a coarser copy never stands in."""
    return PurePosixPath(path).stem.lower().endswith(f"_{_token(band, level)}".lower())


def _token(band: str, level: str) -> str:
    return f"{band}_{BANDS[band].gsd_m}m" if level == "L2A" else band


def _one(source: str, what: str, paths: Sequence[str]) -> str:
    if len(paths) > 1:
        raise UnreadableInput(
            f"{source} holds {what} more than once ({paths[0]}, {paths[1]}). Take away the file that does not belong."
        )
    return paths[0]


def _expected_files(root: Any, level: str, folder: str, tile: str | None, images: Sequence[str]) -> dict[str, str]:
    """Band name to the file that should hold it, relative, by the metadata's list, else after the pattern of the other files."""
    formats = {element.get("imageFormat", "").lower() for element in _elements(root, "Granule", "Granules")}
    suffix = ".tif" if formats == {"geotiff"} else ".jp2"
    # A product of several tiles lists the files of all.
    listed = [path for path in _image_paths(root) if tile is None or f"T{tile}_" in path.upper()]
    known = [*listed, *(str(PurePosixPath(path).with_suffix("")) for path in images)]
    stems = (re.match(r"(.*_)(?:B\d\d|B8A)(?:_\d\dm)?$", PurePosixPath(path).name, re.IGNORECASE) for path in known)
    start = next((stem.group(1) for stem in stems if stem), "…_")
    expected = {}
    for band in _BANDS_OF[level]:
        below = f"{folder}/IMG_DATA/" + (f"R{BANDS[band].gsd_m}m/" if level == "L2A" else "")
        path = next((path for path in listed if _is_band(f"{path}.x", band, level)), f"{start}{_token(band, level)}")
        expected[band] = (path if "/" in path else f"{below}{path}").lstrip("/") + suffix
    return expected


def _rules(root: Any, level: str, baseline: str | None, path: str) -> dict[str, DnRule]:
    """Reflectance = (DN + offset of the band) / quantification value, as ESA's notice on baseline 04.00 has it."""
    said = _text(root, *_QUANTIFICATION[level])
    quantification = parse_number(said)
    if quantification is None or quantification <= 0:
        raise UnreadableInput(
            f"{path} has no usable {_QUANTIFICATION[level][0]} ({said or 'nothing'}), so its numbers have no unit. Download the product again."
        )
    offsets = _offsets(root, level, path)
    origin = f", baseline {baseline}" if baseline else ""
    return {
        band: DnRule(
            1 / quantification,
            offsets[band] / quantification,
            f"product metadata: {_formula(offsets[band], quantification)}{origin}",
            product=True,
        )
        for band in _BANDS_OF[level]
    }


def _formula(offset: float, quantification: float) -> str:
    if offset == 0:
        return f"DN / {quantification:g}"
    return f"(DN {'−' if offset < 0 else '+'} {abs(offset):g}) / {quantification:g}"


def _offsets(root: Any, level: str, path: str) -> Mapping[str, float]:
    """Offset of each band in digital numbers; 0 where the product has no list of them (before baseline 04.00)."""
    entries = list(_elements(root, _OFFSET[level]))
    if not entries and next(_elements(root, _OFFSET_LIST[level]), None) is None:
        return dict.fromkeys(_BANDS_OF[level], 0.0)
    # Keyed by band_id: the order of the list means nothing.
    said = {(entry.get("band_id") or entry.get("bandId") or "").strip(): parse_number(entry.text) for entry in entries}
    offsets = {}
    for band in _BANDS_OF[level]:
        offset = said.get(str(BANDS[band].band_id))
        if offset is None:
            raise UnreadableInput(
                f"{path} lists a {_OFFSET[level]} for other bands but none for {band} (band_id {BANDS[band].band_id}). "
                "Download the product again."
            )
        offsets[band] = offset
    return offsets


def _mask(files: Files, folder: str, level: str, tile_root: Any, tile: str | None) -> Mask | None:
    prefix = f"{folder}/" if folder else ""
    names = [f"{prefix}{name}" for name in files.below(folder).names]
    rasters = [name for name in names if PurePosixPath(name).suffix.lower() in _IMAGES]
    if level == "L2A":
        classes = {found.group(1): name for name in rasters if (found := _SCL.search(PurePosixPath(name).stem))}
        if classes:
            return ClassRaster(files.path(classes[min(classes)]), (SCL_CODES,), "scene classification (SCL) of the product")
    for name in rasters:
        if _CLASSI.search(PurePosixPath(name).stem):
            return ClassRaster(files.path(name), _CLASSI_CODES, "cloud mask MSK_CLASSI_B00 of the product")
    for name in names:
        if _CLOUDS_GML.search(PurePosixPath(name).name):
            return _polygons(files, name, tile_root, tile)
    return None


def _polygons(files: Files, name: str, tile_root: Any, tile: str | None) -> MaskPolygons:
    """The clouds of a GML mask, opaque and cirrus alike; none at all in the file of a clear day."""
    root = _parse(files, name)
    crs = _mask_crs(root, tile_root, tile, files.path(name))
    shapes = tuple(
        (shape, int(Quality.CLOUD))
        for feature in _elements(root, "MaskFeature")
        if (_text(feature, "maskType") or "").upper() in _CLOUD_TYPES
        for polygon in _elements(feature, "Polygon")
        for shape in _shape(polygon, files.path(name))
    )
    return MaskPolygons(crs, shapes, "cloud mask MSK_CLOUDS_B00 of the product")


def _shape(polygon: Any, path: str) -> Iterator[Any]:
    from shapely.geometry import Polygon

    outer = [ring for part in _elements(polygon, "exterior") for ring in _rings(part, path)]
    inner = [ring for part in _elements(polygon, "interior") for ring in _rings(part, path)]
    for ring in outer[:1]:
        yield Polygon(ring, inner)


def _rings(part: Any, path: str) -> Iterator[list[tuple[float, float]]]:
    """The corners of each ring, easting and northing; a ring of less than three has no area and is left out."""
    for positions in _elements(part, "posList"):
        said = (positions.text or "").split()
        numbers = [number for number in map(parse_number, said) if number is not None]
        dimensions = {"2": 2, "3": 3}.get(positions.get("srsDimension", "2"), 0)
        if not dimensions or len(numbers) != len(said) or len(numbers) % dimensions:
            raise UnreadableInput(
                f"{path} has a polygon whose {len(said)} numbers are no corners in {dimensions or 'unknown'} dimensions. "
                "Download the product again."
            )
        corners = list(zip(numbers[::dimensions], numbers[1::dimensions], strict=True))
        if len(set(corners)) >= 3:
            yield corners


def _mask_crs(root: Any, tile_root: Any, tile: str | None, path: str) -> CRS:
    """The mask's CRS as its envelope says, else as the granule's metadata does, else by the tile's UTM zone."""
    envelope = next(_elements(root, "Envelope"), None)
    said = [envelope.get("srsName", "") if envelope is not None else ""]
    said += [_text(tile_root, "HORIZONTAL_CS_CODE") or ""] if tile_root is not None else []
    # MGRS: latitude bands from N on are north of the equator.
    said += [f"EPSG:32{'6' if tile[2] >= 'N' else '7'}{tile[:2]}"] if tile else []
    for name in said:
        code = re.search(r"(\d{4,6})$", name)
        if code:
            try:
                return CRS.from_epsg(int(code.group(1)))
            except CRSError:
                continue
    raise UnreadableInput(f"{path} does not say in which CRS it is. Download the product again.")
