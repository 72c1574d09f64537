"""How and when a scene was taken: from the names of files, and to and from the tags of rasters that we write."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone

LEVELS = ("L1C", "L2A")
# Sentinel-2A, the first, was launched on 23 June 2015: an earlier "date" in a name is another number.
_FIRST = datetime(2015, 6, 23, tzinfo=timezone.utc)
# The satellites repeat their path after 143 orbits (ESA, Sentinel-2 Mission Guide).
_ORBITS = 143

# A token of a name stands between anything but letters and digits.
_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
# Latitude bands C–X and the letters of MGRS squares leave out I and O.
_TILE = r"(\d{2}[C-HJ-NP-X][A-HJ-NP-Z][A-HJ-NP-V])"
_TILE_TOKEN = re.compile(rf"{_START}T{_TILE}{_END}", re.IGNORECASE)
# Catalogues' S2A_31TDH_20180101_0_L2A; a tile without its T is one only there ("10MAR" is a day in March).
_BARE_TILE = re.compile(rf"{_START}S2[A-D]_{_TILE}_\d{{8}}{_END}", re.IGNORECASE)
_PLATFORM = re.compile(rf"{_START}(?:S2|SENTINEL-?2)([A-D]){_END}", re.IGNORECASE)
_LEVEL = re.compile(rf"{_START}(?:MSI)?(L1C|L2A){_END}", re.IGNORECASE)
_BASELINE = re.compile(rf"{_START}N(\d\d)\.?(\d\d){_END}", re.IGNORECASE)
_ORBIT = re.compile(rf"{_START}R(\d{{3}}){_END}", re.IGNORECASE)
_DATE = r"(20\d\d)([-_]?)(\d\d)\2(\d\d)(?:[T-](\d{6}))?(?!\d)"
_ANY_DATE = re.compile(rf"(?<!\d){_DATE}")
_SAFE_DATE = re.compile(rf"{_START}S2[A-D]_MSI\w{{3}}_{_DATE}", re.IGNORECASE)
# NASA's Harmonized Landsat Sentinel-2, of surface reflectance, though B10 comes with it: year and day of the year (HLS Product User Guide, file names).
_HLS = re.compile(rf"{_START}HLS\.S30\.T{_TILE}\.(20\d{{2}})(\d{{3}})T(\d{{6}}){_END}", re.IGNORECASE)
# What comes beside its bands, as Earth Engine exports it (the same, quality and angle layers).
_HLS_LAYERS = {"Fmask", "SZA", "SAA", "VZA", "VAA"}
# Names before December 2016: _V<sensing>_<sensing> in a product's, nothing but the time of making in a granule's or a file's.
_OLD_NAME = re.compile(r"_(?:OPER|USER)_", re.IGNORECASE)
_OLD_DATE = re.compile(rf"_V{_DATE}", re.IGNORECASE)


@dataclass(frozen=True)
class Acquisition:
    """How and when a scene was taken, as far as anything tells; None where nothing does.

    Attributes:
        level: "L1C" or "L2A".
        sensed: aware, UTC; midnight where only the day is known.
        platform: "S2A".
        tile: MGRS tile, "31TDH".
        baseline: processing baseline, "05.09".
        orbit: relative orbit number, 1–143.
        sun_zenith, sun_azimuth: degrees, mean of the tile.
        origin: "metadata" (a product's, or our own tags), "name" (a file's name, which is weaker), or "unknown".
    """

    level: str | None = None
    sensed: datetime | None = None
    platform: str | None = None
    tile: str | None = None
    baseline: str | None = None
    orbit: int | None = None
    sun_zenith: float | None = None
    sun_azimuth: float | None = None
    origin: str = "unknown"


def acquisition_of_name(name: str) -> Acquisition:
    """What the name of a file or folder tells of its acquisition; nothing is guessed.

    Args:
        name: with or without folders before it, of which only the last counts.

    Two dates in a product's name are sensing and making; in any other name two different days are a composite: no date.

    Source: ESA, Sentinel-2 Products Specification Document, naming conventions (the present and that before December 2016).
    """
    name = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    # Underscores are no letters here, as \b would have them.
    harmonized = _HLS.search(name)
    if harmonized:
        return _of_hls(harmonized)
    levels = {level.upper() for level in _LEVEL.findall(name)}
    platform = _PLATFORM.search(name)
    tile = _TILE_TOKEN.search(name) or _BARE_TILE.search(name)
    # N0206 and R051 alone could mean anything.
    baseline = _BASELINE.search(name) if platform else None
    orbit = _ORBIT.search(name) if platform else None
    found = Acquisition(
        level=levels.pop() if len(levels) == 1 else None,
        sensed=_date_of_name(name),
        platform=f"S2{platform.group(1).upper()}" if platform else None,
        tile=tile.group(1).upper() if tile and 1 <= int(tile.group(1)[:2]) <= 60 else None,
        baseline=f"{baseline.group(1)}.{baseline.group(2)}" if baseline else None,
        orbit=int(orbit.group(1)) if orbit and 1 <= int(orbit.group(1)) <= _ORBITS else None,
        origin="name",
    )
    return Acquisition() if found == Acquisition(origin="name") else found


def level_of_layers(names: Iterable[str | None]) -> str | None:
    """The level that is told by the descriptions of a stack's layers which are no bands; None where they tell nothing."""
    return "L2A" if _HLS_LAYERS.intersection(names) else None


def tags_of(acquisition: Acquisition) -> dict[str, str]:
    """Raster tags S2CHANGE_LEVEL, S2CHANGE_SENSED (ISO 8601) …, of what is known."""
    values = {field.name: getattr(acquisition, field.name) for field in fields(acquisition)}
    if acquisition.origin == "unknown":
        values["origin"] = None
    return {
        _tag(name): value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in values.items()
        if value is not None
    }


def acquisition_of_tags(tags: Mapping[str, str]) -> Acquisition:
    """What `tags_of` wrote; a value that cannot be read counts as not there."""
    text = {field.name: tags.get(_tag(field.name), "").strip() or None for field in fields(Acquisition)}
    found = Acquisition(
        level=text["level"] if text["level"] in LEVELS else None,
        sensed=parse_time(text["sensed"]),
        platform=text["platform"],
        tile=text["tile"],
        baseline=text["baseline"],
        orbit=int(text["orbit"]) if text["orbit"] and text["orbit"].isdecimal() else None,
        sun_zenith=parse_number(text["sun_zenith"]),
        sun_azimuth=parse_number(text["sun_azimuth"]),
        origin="name" if text["origin"] == "name" else "metadata",
    )
    return Acquisition() if found == Acquisition(origin=found.origin) else found


def parse_time(text: str | None) -> datetime | None:
    """An ISO 8601 time, aware, in UTC (which it is where it names no zone); None where it is none."""
    try:
        # Before Python 3.11 the parser does not know Z.
        time = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", (text or "").strip()))
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def parse_number(text: str | None) -> float | None:
    """A finite number; None where it is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _tag(name: str) -> str:
    return f"S2CHANGE_{name.upper()}"


def _of_hls(found: re.Match[str]) -> Acquisition:
    tile, year, day, clock = found.groups()
    try:
        sensed = datetime.strptime(f"{year}{day}{clock}", "%Y%j%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        sensed = None
    return Acquisition(level="L2A", sensed=sensed, tile=tile.upper(), origin="name")


def _date_of_name(name: str) -> datetime | None:
    if _OLD_NAME.search(name):
        return _date(_OLD_DATE.search(name))
    product = _SAFE_DATE.search(name)
    if product:
        return _date(product)
    dates = [date for date in map(_date, _ANY_DATE.finditer(name)) if date]
    return dates[0] if len({date.date() for date in dates}) == 1 else None


def _date(found: re.Match[str] | None) -> datetime | None:
    """The date that a pattern found; None for one that no calendar has, or from before the first satellite."""
    if found is None:
        return None
    year, _, month, day, clock = found.groups()
    try:
        date = datetime.strptime(f"{year}{month}{day}{clock or '000000'}", "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    return date if date >= _FIRST else None
