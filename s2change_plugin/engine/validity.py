"""Observed on both dates, or why not: nodata, saturation, clouds, shadow, snow, outside the area of interest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from .grid import box_around
from .radiometry import Array

Codes = np.ndarray[Any, np.dtype[np.uint8]]


class Quality(IntEnum):
    """Codes of the quality raster; of one date by itself, NODATA_BEFORE is its "no data"."""

    OBSERVED = 0
    NODATA_BEFORE = 1
    NODATA_AFTER = 2
    CLOUD = 3
    CLOUD_SHADOW = 4
    SNOW = 5
    SATURATED = 6
    OUTSIDE = 7


# Fewer pixels of a pair do not say how ten bands vary together.
LEAST_OBSERVED = 200
QUALITY_NAMES: dict[int, str] = {
    Quality.OBSERVED: "observed",
    Quality.NODATA_BEFORE: "no data before",
    Quality.NODATA_AFTER: "no data after",
    Quality.CLOUD: "cloud",
    Quality.CLOUD_SHADOW: "cloud shadow",
    Quality.SNOW: "snow on one date",
    Quality.SATURATED: "saturated",
    Quality.OUTSIDE: "outside the area of interest",
}
QUALITY_COLOURS: dict[int, tuple[int, int, int]] = {
    Quality.OBSERVED: (242, 242, 242),
    Quality.NODATA_BEFORE: (90, 90, 90),
    Quality.NODATA_AFTER: (150, 150, 150),
    Quality.CLOUD: (86, 180, 233),
    Quality.CLOUD_SHADOW: (0, 82, 136),
    Quality.SNOW: (0, 158, 115),
    Quality.SATURATED: (255, 176, 0),
    Quality.OUTSIDE: (205, 195, 180),
}
# Sen2Cor's classes that hide the ground (Sen2Cor ATBD, scene classification).
SCL_CODES: Mapping[int, int] = {
    0: Quality.NODATA_BEFORE,
    1: Quality.SATURATED,
    3: Quality.CLOUD_SHADOW,
    8: Quality.CLOUD,
    9: Quality.CLOUD,
    10: Quality.CLOUD,
    11: Quality.SNOW,
}
# Clouds have soft edges, and masks are tight.
DILATED = (Quality.CLOUD, Quality.CLOUD_SHADOW)


@dataclass(frozen=True)
class ClassRaster:
    """A raster of classes that says where one date is not usable.

    Attributes:
        path: anything that GDAL opens.
        codes: for each layer, stored value to quality code; a value that is not in it is usable.
        origin: in words, what it is.
        other: quality code of every other value but 0 and the file's nodata; None: those are usable.
        first_layer: of the file to which the first of `codes` belongs; the others follow it.
        widened: metres by which clouds and shadows reach further already.
        crs: that counts instead of the file's.
        of_file: it is the mask of a file of bands, 0 where that has no data, and no layer of it.
        of_clouds: clouds are among what it knows.
        scale: by which what is stored becomes whole numbers, which are then the values that `codes` means.
    """

    path: str
    codes: tuple[Mapping[int, int], ...]
    origin: str
    other: int | None = None
    first_layer: int = 1
    widened: float = 0.0
    crs: CRS | None = None
    of_file: bool = False
    of_clouds: bool = True
    scale: float = 1.0


@dataclass(frozen=True)
class MaskPolygons:
    """Polygons in which one date is not usable.

    Attributes:
        crs: of the polygons.
        shapes: (shapely geometry, quality code).
        origin: in words, what they are.
    """

    crs: CRS
    shapes: tuple[tuple[Any, int], ...]
    origin: str


@dataclass(frozen=True)
class SpectralTest:
    """The date's own reflectance, tested for clouds; see `clouds.spectral_clouds`.

    Attributes:
        origin: in words, what it is.
    """

    origin: str


Mask = ClassRaster | MaskPolygons | SpectralTest


def tells_clouds(mask: Mask | None) -> bool:
    """Whether clouds are among what a mask knows."""
    return mask is not None and not (isinstance(mask, ClassRaster) and not mask.of_clouds)


def date_quality(reflectance: Array) -> Codes:
    """Quality code of each pixel of one date by its numbers alone: uint8 (row, col).

    Args:
        reflectance: (band, row, col); NaN is nodata, +inf saturated, in any of the bands.
    """
    codes = np.full(reflectance.shape[1:], Quality.OBSERVED, np.uint8)
    codes[np.isinf(reflectance).any(0)] = Quality.SATURATED
    codes[np.isnan(reflectance).any(0)] = Quality.NODATA_BEFORE
    return codes


def pair_quality(before: Codes, after: Codes) -> Codes:
    """Quality code of each pixel of a pair from the codes of its dates: uint8 (row, col).

    Of several reasons the one that leaves least to be seen counts: no data, saturation, cloud, cloud shadow, snow. Snow on
    both dates is ground that can be compared; on one date alone it hides the other's.
    """
    codes = np.full(before.shape, Quality.OBSERVED, np.uint8)
    if not (before.any() or after.any()):
        return codes
    codes[(before == Quality.SNOW) != (after == Quality.SNOW)] = Quality.SNOW
    for code in (Quality.CLOUD_SHADOW, Quality.CLOUD, Quality.SATURATED):
        codes[(before == code) | (after == code)] = code
    codes[after == Quality.NODATA_BEFORE] = Quality.NODATA_AFTER
    codes[before == Quality.NODATA_BEFORE] = Quality.NODATA_BEFORE
    return codes


def worse(one: Codes, other: Codes) -> Codes:
    """Of two codes for one date the one that leaves less to be seen, pixel by pixel."""
    # Most pixels are observed, so few places are looked at.
    where = np.flatnonzero(other)
    if not len(where):
        return one
    found, there = one.copy(), other.ravel()[where]
    ahead = _RANK[there] > _RANK[found.ravel()[where]]
    found.reshape(-1)[where[ahead]] = there[ahead]
    return found


# By how little they leave to be seen; codes of a single date.
_ORDER = (Quality.OBSERVED, Quality.SNOW, Quality.CLOUD_SHADOW, Quality.CLOUD, Quality.SATURATED, Quality.NODATA_BEFORE)
_RANK: NDArray[np.uint8] = np.zeros(256, np.uint8)
_RANK[list(_ORDER)] = np.arange(len(_ORDER))


def classes_to_codes(layers: NDArray[Any], mask: ClassRaster, nodata: float | None) -> Codes:
    """Quality codes of a class raster's values: uint8 (row, col).

    Args:
        layers: (layer, row, col) as stored.
        mask: what the values mean.
        nodata: of the file, which is usable ground where `mask.codes` does not say otherwise.
    """
    codes = np.zeros(layers.shape[1:], np.uint8)
    if mask.scale != 1:
        # What fills may be too large for that; no class is.
        with np.errstate(over="ignore"):
            layers = np.rint(layers * mask.scale)
    for values, meaning in zip(layers, mask.codes, strict=True):
        for value, code in meaning.items():
            codes = worse(codes, np.where(values == value, code, 0).astype(np.uint8))
        if mask.other is not None:
            others = (values != 0) & (values == values) & ~np.isin(values, list(meaning))
            if nodata is not None:
                others &= values != nodata
            codes = worse(codes, np.where(others, mask.other, 0).astype(np.uint8))
    return codes


# UTM's pixels of 10 m measure up to 10.01 m on the ground; a buffer of six of them reaches six.
_NEARLY = 0.002


def dilate(codes: Codes, rows: float, cols: float) -> Codes:
    """Codes in which clouds and their shadows reach further, over ground that is usable without.

    Args:
        codes: uint8 (row, col), of one date.
        rows, cols: how far, pixels in each direction.
    """
    if min(rows, cols) <= 0:
        return codes
    from scipy.ndimage import distance_transform_edt

    grown = codes.copy()
    # Clouds last: where both reach, the pixel is cloud.
    for code in reversed(DILATED):
        where = codes == code
        box = box_around(where, math.ceil(max(rows, cols) * (1 + _NEARLY)))
        if box:
            near = distance_transform_edt(~where[box], sampling=(1 / rows, 1 / cols)) <= 1 + _NEARLY
            grown[box] = worse(grown[box], np.where(near, code, 0).astype(np.uint8))
    return grown
