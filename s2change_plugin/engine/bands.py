"""The Sentinel-2 bands: names, order, wavelength, ground sampling distance, and how files spell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Band:
    """One band of the MultiSpectral Instrument.

    Attributes:
        name: "B02" … "B8A".
        band_id: number in the product metadata, 0–12.
        wavelength_nm: central wavelength, Sentinel-2A, rounded.
        gsd_m: ground sampling distance, metres.

    Source: ESA, Sentinel-2 Products Specification Document, table of spectral bands.
    """

    name: str
    band_id: int
    wavelength_nm: int
    gsd_m: int


BANDS = {
    band.name: band
    for band in (
        Band("B01", 0, 443, 60),
        Band("B02", 1, 490, 10),
        Band("B03", 2, 560, 10),
        Band("B04", 3, 665, 10),
        Band("B05", 4, 704, 20),
        Band("B06", 5, 740, 20),
        Band("B07", 6, 783, 20),
        Band("B08", 7, 833, 10),
        Band("B8A", 8, 865, 20),
        Band("B09", 9, 945, 60),
        Band("B10", 10, 1374, 60),
        Band("B11", 11, 1614, 20),
        Band("B12", 12, 2202, 20),
    )
}
ALL_BANDS = tuple(BANDS)
TEN_METRE_BANDS = tuple(name for name, band in BANDS.items() if band.gsd_m == 10)
TEN_BANDS = tuple(name for name, band in BANDS.items() if band.gsd_m <= 20)
L2A_BANDS = tuple(name for name in BANDS if name != "B10")

# What a layer is called that holds the scene classification and no band.
SCL = "SCL"

# Orders in which stacks without descriptions usually come, by number of layers.
USUAL_ORDERS = {
    3: ("B04", "B03", "B02"),
    4: ("B02", "B03", "B04", "B08"),
    10: TEN_BANDS,
    12: L2A_BANDS,
    13: ALL_BANDS,
}

# Common names of the STAC EO extension and of catalogues and exporters that spell them out.
_COMMON_NAMES = {
    "coastal": "B01",
    "coastalaerosol": "B01",
    "aerosol": "B01",
    "aerosols": "B01",
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "rededge": "B05",
    "rededge1": "B05",
    "vegetationrededge1": "B05",
    "re1": "B05",
    "rededge2": "B06",
    "vegetationrededge2": "B06",
    "re2": "B06",
    "rededge3": "B07",
    "vegetationrededge3": "B07",
    "re3": "B07",
    "nir": "B08",
    "nir1": "B08",
    "nearinfrared": "B08",
    "broadnir": "B08",
    "nir08": "B8A",
    "nir2": "B8A",
    "rededge4": "B8A",
    "nirnarrow": "B8A",
    "narrownir": "B8A",
    "watervapour": "B09",
    "watervapor": "B09",
    "nir09": "B09",
    "cirrus": "B10",
    "swir1": "B11",
    "swir16": "B11",
    "swir2": "B12",
    "swir22": "B12",
}
# Which bands else go by a name that is no single one's.
_ALSO = {
    "rededge": ("B06", "B07", "B8A"),
    "nir": ("B07", "B8A", "B09"),
    "nearinfrared": ("B07", "B8A", "B09"),
}
_BAND_CODE = re.compile(r"(?<![a-z0-9])b(0?[1-9]|1[0-2]|0?8a)(?![a-z0-9])", re.IGNORECASE)
# How other sensors' products spell theirs: Landsat's B05 is its near infrared (USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, and NASA,
# HLS Product User Guide, tables of bands), and would be taken for a red edge.
_OF_LANDSAT = re.compile(
    r"(?<![a-z0-9])(?:(?:sr_b[1-7]|st_b(?:6|10))(?![a-z0-9])|hls\.l30|l[cemot]0[4-9]_|l[cemot][4-9]\d{13}[a-z]{3}\d\d)",
    re.IGNORECASE,
)
_WAVELENGTH = re.compile(r"(\d{3,4}(?:\.\d+)?)\s*nm", re.IGNORECASE)
# What a common name has beside it: a wavelength or a resolution.
_MEASURE = re.compile(r"\d+(?:\.\d+)?\s*n?m(?![a-z])", re.IGNORECASE)
# Whose bands lie elsewhere, and what SNAP writes beside bands.
_NO_BAND = re.compile(r"(?<![a-z0-9])(?:venus|(?:view|sun)_(?:zenith|azimuth))", re.IGNORECASE)
# "(Raw)" is how the Copernicus Browser ends the names of single bands; Theia and SNAP write B2 for B02.
_FILE = re.compile(r"(?:^|[_\-. ])(?i:B(\d\d|8A)|(?-i:B)([1-9]))(?i:_(?:10|20|60)m|_\(Raw\))?$")
# The same anywhere, between what parts words: clips and exports go on behind it.
_WITHIN = re.compile(r"(?<![^_\-. ])(?:(?i:B(0[1-9]|1[0-2]|8A))|B([1-9]))(?![^_\-. ])")
# A band's or the classification's, with its resolution: the files of one scene differ in no other word.
_OWN_WORD = re.compile(r"(?<![^_\-. ])(?:SCL|B(?:0?[1-9]|1[0-2]|8A))(?:_[126]0m)?(?![^_\-. ])", re.IGNORECASE)
_FILE_GSD = re.compile(r"_(?:10|20|60)m$", re.IGNORECASE)
# Blue that other sensors have beside their blue.
_NO_BLUE = re.compile(r"(?:coastal|deep)[_\-. ]blue$", re.IGNORECASE)
# What tells one scene's files from another's: days, other long numbers, tiles.
_DAY_IN_PARTS = re.compile(r"(\d{4})[-_.](\d\d)[-_.](\d\d)(?!\d)")
_MARKS = re.compile(r"\d{4,}|(?<![A-Z0-9])T?\d\d[A-Z]{3}(?![A-Z0-9])", re.IGNORECASE)


def band_of_description(text: str | None) -> str | None:
    """The band that a layer's description names, or None.

    Knows "B2", "B02", "B4, central wavelength 665 nm", "red", "NIR", "SWIR 1", "665 nm". "Band 4" alone is only a layer's
    number and names nothing; nor does "SR_B5", which is Landsat's, nor what contradicts itself: "B1 Blue", the first layer, and
    "(B8-B4)/(B8+B4)", an index.
    """
    if not text or _OF_LANDSAT.search(text):
        return None
    # Every other part is a code.
    parts = _BAND_CODE.split(text.replace("_", " "))
    codes = [(_canonical(code),) for code in parts[1::2]]
    voices = [voice for voice in (*codes, _of_wavelength(text), *map(_of_common_name, parts[::2])) if voice]
    return next((band for band in voices[0] if all(band in voice for voice in voices)), None) if voices else None


def bands_of_descriptions(texts: Sequence[str | None]) -> tuple[str | None, ...]:
    """The bands that the descriptions of a stack's layers name, each as `band_of_description` has it.

    Beside a broad near infrared "NIR" is the narrow one, as FORCE names them (Frantz 2019, "FORCE").
    """
    found = tuple(map(band_of_description, texts))
    plain = [re.sub(r"[^a-z]", "", (text or "").lower()) for text in texts]
    narrow = plain.index("nir") if {"nir", "broadnir"} <= set(plain) else None
    return tuple("B8A" if place == narrow else band for place, band in enumerate(found))


def band_of_file(path: str) -> str | None:
    """The band that a single-band file's name ends with ("…_B02.tif", "…_B02_10m.jp2", "…_B2.img"), or None."""
    name = PurePosixPath(path.replace("\\", "/")).stem
    found = None if _OF_LANDSAT.search(name) or _NO_BAND.search(name) else _FILE.search(name)
    return _canonical(found[1] or found[2]) if found else None


def bands_within_file(path: str) -> tuple[str, ...]:
    """The bands, each once, whose codes stand by themselves in a file's name, wherever ("B02_clip.tif", "…_B8A_10m_clipped.tif")."""
    name = PurePosixPath(path.replace("\\", "/")).stem
    found = () if _OF_LANDSAT.search(name) or _NO_BAND.search(name) else _WITHIN.findall(name)
    return tuple(dict.fromkeys(_canonical(two or one) for two, one in found))


def scene_of_file(path: str) -> str:
    """A file's name without the word of its band or of the scene classification, which is that of the others of its scene."""
    return _OWN_WORD.sub("", PurePosixPath(path.replace("\\", "/")).stem)


def common_band_of_file(path: str) -> str | None:
    """The band that a single-band file's name ends with in words ("…_red.tif", "…_nir08.tif", "red_edge_1_20m.tif"), as catalogues and exporters write it, or None."""
    name = _FILE_GSD.sub("", PurePosixPath(path.replace("\\", "/")).stem)
    if _OF_LANDSAT.search(name) or _NO_BAND.search(name) or _NO_BLUE.search(name):
        return None
    words = re.split(r"[_\-. ]", name.lower())
    # The longest: narrow_nir is not nir.
    return next(filter(None, (_COMMON_NAMES.get("".join(words[-count:])) for count in (3, 2, 1))), None)


def marks_of_file(path: str) -> tuple[str, ...]:
    """What the name of a file of a folder says of the scene that it belongs to: its numbers of four digits and more, and its tile."""
    name = PurePosixPath(path.replace("\\", "/")).stem
    return tuple(_MARKS.findall(_DAY_IN_PARTS.sub(r"\1\2\3", name).upper()))


def parse_layers(text: str | None) -> tuple[str | None, ...] | None:
    """The layers' bands from an option such as "B02,B03,-,SCL"; "-" (None) stands for a layer to leave out, "SCL" for the scene classification.

    None, or an empty text, is no option at all: None.

    Raises:
        ValueError: a name is none of these, or comes twice; the text says which.
    """
    if not text:
        return None
    # As an error message offers it to be pasted, the option's name too.
    text = re.sub(r"^--\w+-bands[ =]", "", text.strip())
    names = tuple(None if name in ("-", "") else _named(name) for name in (part.strip() for part in text.split(",")))
    known = [name for name in names if name]
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is named twice in {text!r}; each layer is one band")
    return names


def _named(text: str) -> str:
    if text.upper() == SCL:
        return SCL
    band = band_of_description(text)
    if band is None:
        raise ValueError(
            f"{text!r} is not a Sentinel-2 band; the names are {', '.join(ALL_BANDS)}, {SCL} for a scene classification, and - for a layer to skip"
        )
    return band


def _canonical(code: str) -> str:
    return "B8A" if code.upper().endswith("A") else f"B{int(code):02d}"


def _of_common_name(text: str) -> tuple[str, ...]:
    """The bands that may be meant by what is nothing but a common name, the likeliest first."""
    name = re.sub(r"[^a-z0-9]", "", _MEASURE.sub("", text).lower())
    return (_COMMON_NAMES[name], *_ALSO.get(name, ())) if name in _COMMON_NAMES else ()


def _of_wavelength(text: str) -> tuple[str, ...]:
    found = _WAVELENGTH.search(text)
    if not found:
        return ()
    near = min(BANDS.values(), key=lambda band: abs(band.wavelength_nm - float(found.group(1))))
    # Nominal values in use (842 nm for B08, 2190 for B12) and Sentinel-2B's lie up to 10 nm, or 1 %, from these.
    return (near.name,) if abs(near.wavelength_nm - float(found.group(1))) <= max(10, near.wavelength_nm * 0.01) else ()
