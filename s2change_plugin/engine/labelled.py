"""A data folder: labelled pairs in groups, what its record says of them, and which of them lie on one ground, or near."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Geod
from rasterio.warp import transform, transform_bounds

from .acquisition import LEVELS
from .errors import GridMismatch, UnreadableInput
from .grid import Grid, bounds_window
from .radiometry import QUANTIFICATION, Array
from .reference import UNKNOWN
from .stack import to_dn
from .validity import Codes

UNLABELLED = UNKNOWN
# What is known of each group, by its name.
RECORD = "data.json"
# Places nearer than this share weather, builders and streets: a score on one says little of how it is elsewhere.
NEIGHBOURS_KM = 50.0
_SAME_GROUND = 0.2

Names = tuple[str, ...]
# Longitude and latitude by name, degrees.
Places = dict[str, tuple[float, float]]
# West, south, east and north by name, degrees.
Extents = dict[str, tuple[float, float, float, float]]


@dataclass(frozen=True)
class Origin:
    """Where a group's labels come from, as the card of a model that is trained on them repeats it.

    Attributes:
        source: who labelled what, in words.
        licence: of the labels, in words.
        level: "L1C" or "L2A", of both dates.
        detects: what the labels call change, in a sentence.
    """

    source: str
    licence: str
    level: str
    detects: str

    def __post_init__(self) -> None:
        """Refuse what no card could repeat.

        Raises:
            ValueError: an empty text, or a level that there is not.
        """
        for name, value in asdict(self).items():
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} is {value!r} and must be a text")
        if self.level not in LEVELS:
            raise ValueError(f"level is {self.level!r} and must be {' or '.join(LEVELS)}")


def city_names(data: Path) -> list[str]:
    """The groups of a data folder: cities, or blocks of ground.

    Raises:
        UnreadableInput: it is none.
    """
    names = sorted(path.parent.name for path in data.glob("*/change.tif"))
    if not names:
        raise UnreadableInput(
            f"{data} is not a data folder: it holds no CITY/change.tif. Make one with python -m training prepare, or of your own "
            "labels with python -m s2change_plugin.engine chips."
        )
    return names


def read_record(data: Path) -> dict[str, Any]:
    """The record of a data folder, `data.json`: under "cities" what is known of each group, by its name.

    Raises:
        UnreadableInput: there is none, or it is something else.
    """
    path = data / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        cities = record["cities"]
        if not (isinstance(cities, dict) and all(isinstance(one, dict) for one in cities.values())):
            raise TypeError("its cities are not objects by name")
    except FileNotFoundError as error:
        raise UnreadableInput(f"{data} has no {RECORD}, so nothing tells where its labels come from. Make it again.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableInput(f"{path} is not the record of a data folder ({error!r}). Choose another folder.") from error
    return record


def record_text(record: Mapping[str, Any]) -> str:
    """A record as its file has it."""
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def origins(data: Path, names: Iterable[str]) -> dict[str, Origin]:
    """Where the labels of some groups come from.

    Raises:
        UnreadableInput: the folder's record does not say.
    """
    cities = read_record(data)["cities"]
    found = {}
    for name in names:
        try:
            found[name] = Origin(*(cities[name][key] for key in ("source", "licence", "level", "detects")))
        except (KeyError, TypeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UnreadableInput(
                f"{data / RECORD} does not say where the labels of {name} come from: {what}. Make the folder again."
            ) from error
    return found


def require_one_level(labels: Mapping[str, Origin]) -> str:
    """The processing level of labelled cities; a model is for one.

    Raises:
        UnreadableInput: they are of several.
    """
    by_level = grouped(labels, "level")
    if len(by_level) > 1:
        said = " and ".join(f"{', '.join(names)} of Level-{level[1:]}" for level, names in by_level.items())
        raise UnreadableInput(
            f"A model is trained on one processing level, and the data folder has {said}. Keep them in two folders."
        )
    return next(iter(by_level))


def grouped(labels: Mapping[str, Origin], by: str) -> dict[str, list[str]]:
    """The cities by what one entry of their origin says."""
    found: dict[str, list[str]] = {}
    for name, origin in labels.items():
        found.setdefault(getattr(origin, by), []).append(name)
    return found


def write_city(folder: Path, scenes: tuple[Array, Array], change: Codes, bands: tuple[str, ...], grid: Grid) -> None:
    """Write one labelled pair.

    Args:
        folder: made if missing.
        scenes: before and after, float32 (band, row, col) reflectance, NaN nodata.
        change: uint8 (row, col): 1 change, 0 no change, 255 unlabelled.
        bands: of the images.
        grid: of all three.

    Raises:
        OSError: what was written does not read back; GDAL says nothing when a disk fills up while it closes a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for side, image in zip(("before", "after"), scenes, strict=True):
        _write(folder / f"{side}.tif", to_dn(image), grid, 0, bands, 1 / QUANTIFICATION)
    _write(folder / "change.tif", change[None], grid, UNLABELLED)


def grids(data: Path) -> dict[str, Grid]:
    """Where each group of a data folder lies."""
    found = {}
    for name in city_names(data):
        with rasterio.open(data / name / "change.tif") as raster:
            found[name] = Grid(raster.crs, raster.transform, raster.height, raster.width)
    return found


def centres(data: Path) -> Places:
    """Longitude and latitude of each group's middle, degrees."""
    found = {}
    for name, grid in grids(data).items():
        # The middle itself: across 180° the bounds' would be on the other side of the Earth.
        x, y = grid.transform @ (grid.width / 2, grid.height / 2)
        (lon,), (lat,) = transform(grid.crs, "EPSG:4326", [x], [y])
        found[name] = (round(lon, 5), round(lat, 5))
    return found


def extents(data: Path) -> Extents:
    """What each group reaches over, degrees."""
    found = {}
    for name, grid in grids(data).items():
        west, south, east, north = (round(at, 5) for at in transform_bounds(grid.crs, "EPSG:4326", *grid.bounds))
        found[name] = west, south, east, north
    return found


def on_ground_of(places: Extents, others: Extents) -> list[str]:
    """Names of the places of which more than a fifth lies in one of the others, in their order.

    Not less: boxes in degrees around neighbours on one grid that turns against these overlap by up to a tenth.
    """

    def share(one: Sequence[float], other: Sequence[float]) -> float:
        wide, tall = (max(0.0, min(one[end], other[end]) - max(one[start], other[start])) for start, end in ((0, 2), (1, 3)))
        # What crosses 180° has its east in the west, and no area here.
        area = (one[2] - one[0]) * (one[3] - one[1])
        return wide * tall / area if area > 0 else 0.0

    return [name for name, reach in places.items() if any(share(reach, other) > _SAME_GROUND for other in others.values())]


def neighbours(places: Places, within_km: float = NEIGHBOURS_KM) -> list[Names]:
    """Places in groups: two are in one where a chain of steps shorter than a distance leads from one to the other."""
    earth = Geod(ellps="WGS84")
    groups: list[set[str]] = []
    for name, at in places.items():
        linked = [group for group in groups if any(earth.inv(*at, *places[other])[2] < within_km * 1000 for other in group)]
        groups = [group for group in groups if group not in linked] + [{name}.union(*linked)]
    return sorted(tuple(sorted(group)) for group in groups)


def near(places: Places, others: Places, within_km: float = NEIGHBOURS_KM) -> list[str]:
    """Names of the places that lie within a distance of one of the others, in their order."""
    earth = Geod(ellps="WGS84")
    return [name for name, at in places.items() if any(earth.inv(*at, *other)[2] < within_km * 1000 for other in others.values())]


def sharing_ground(places: Mapping[str, Grid]) -> dict[str, set[str]]:
    """With which others each grid shares ground; to share an edge alone is not to."""

    def overlap(one: str, other: str) -> bool:
        try:
            return bounds_window(places[one], places[other].bounds, places[other].crs) is not None
        except GridMismatch:
            # So far apart that the one's CRS has no place for the other.
            return False

    found: dict[str, set[str]] = {name: set() for name in places}
    for one, other in combinations(places, 2):
        if overlap(one, other):
            found[one].add(other)
            found[other].add(one)
    return found


def _write(path: Path, values: NDArray[Any], grid: Grid, nodata: int, bands: tuple[str, ...] = (), scale: float = 1) -> None:
    place = {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, count=len(values), nodata=nodata, compress="deflate", **place
    ) as raster:
        raster.write(values)
        if scale != 1:
            raster.scales = (scale,) * len(values)
        for index, name in enumerate(bands, start=1):
            raster.set_band_description(index, name)
    with rasterio.open(path) as raster:
        if not np.array_equal(raster.read(), values):
            raise OSError("what was written does not read back")
