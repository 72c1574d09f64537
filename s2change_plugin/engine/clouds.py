"""A published spectral test for thick clouds, and for fresh snow, where a date brings no mask of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, minimum_filter

from .errors import BandsUnknown
from .grid import box_around
from .radiometry import Array
from .validity import Codes, Quality

BANDS = ("B03", "B04", "B11")
TEST_NAME = "a simple spectral test for thick clouds (Braaten, Cohen and Yang 2015)"

# Top-of-atmosphere reflectance. Braaten, Cohen and Yang 2015, Remote Sensing of Environment 169: 128–138.
_BRIGHT, _VERY_BRIGHT = 0.175, 0.39
# Reflectance in B11 above which what is bright is cloud rather than snow; Sentinel Hub's addition to the test for Sentinel-2.
_CLOUD_B11 = 0.2
# Of snow, the least (B03 − B11) / (B03 + B11). Hall, Riggs and Salomonson 1995, Remote Sensing of Environment 54: 127–140.
_SNOW_NDSI = 0.4
# Pixels. Bright roofs pass the test too: what is at most 2 × 8 pixels wide (160 m at 10 m) is left alone. On the 28 OSCD
# dates a radius of 5 already leaves no bright roof masked; 8 has room for the larger halls that are built elsewhere.
_RADIUS = 8
# Side of the largest square of an odd number of pixels whose corners lie in a disk of that radius around its middle.
_SQUARE = 2 * int(_RADIUS / 2**0.5) + 1
# Wherever such a square lies, it holds a whole cell of a grid of cells of this side.
_CELL = (_SQUARE + 1) // 2
# Pixels by which what is left reaches further: the rim of a cloud is thinner, and no longer bright enough for the test.
_RIM = 8
REACH = 2 * _RADIUS + _RIM


def can_test(bands: Collection[str]) -> bool:
    """Whether `spectral_clouds` can be run on these bands."""
    return set(BANDS) <= set(bands)


def spectral_clouds(reflectance: Array, bands: Sequence[str]) -> Codes:
    """Quality codes of one date by a spectral test: CLOUD, SNOW, else OBSERVED; uint8 (row, col).

    Cloud is B11 > 0.2 and (B03 > 0.39, or B03 > 0.175 and B03 > B04); snow is B03 > 0.39 and NDSI ≥ 0.4.
    Of each, only what disks of 8 pixels' radius cover is kept, for the test alone cannot tell a bright roof from a cloud;
    clouds then reach 8 pixels further, and what is both is cloud. Thin cloud, cirrus, cloud shadow, small or patchy clouds,
    and old or patchy snow are not found; bright ground without structure, such as a salt pan, may be called cloud.

    A code depends on pixels up to `REACH` away, and on no others. Beyond the array nothing is cloud, so near its edge codes
    are those of a larger array only where that much more was given.

    Args:
        reflectance: float32 (band, row, col), top of atmosphere, pixels of about 10 m. NaN is nodata and stays OBSERVED;
            +inf, saturated, is brighter than anything.
        bands: its bands, in order.

    Raises:
        BandsUnknown: one of `BANDS` is missing.

    Source: Braaten, Cohen and Yang 2015 for the test in B03 and B04; Sentinel Hub custom scripts, "Braaten-Cohen-Yang
        cloud detector", for the guard in B11; Hall, Riggs and Salomonson 1995 for NDSI.
    """
    if not can_test(bands):
        raise BandsUnknown(
            f"The spectral cloud test needs {', '.join(BANDS)}, and there are {', '.join(bands) or 'none'}. "
            "Add the missing bands, or give a cloud mask of your own."
        )
    green, red, swir = (reflectance[list(bands).index(name)] for name in BANDS)
    seen = ~(np.isnan(green) | np.isnan(red) | np.isnan(swir))
    very_bright = (green > _VERY_BRIGHT) & seen
    cloud = (swir > _CLOUD_B11) & (very_bright | ((green > _BRIGHT) & (green > red)))
    # NDSI, multiplied out: no division, so that saturated pixels are no special case.
    snow = very_bright & ((1 - _SNOW_NDSI) * green >= (1 + _SNOW_NDSI) * swir)
    codes = np.full(green.shape, Quality.OBSERVED, np.uint8)
    codes[_wide(snow, 0)] = Quality.SNOW
    codes[_wide(cloud, _RIM) & seen] = Quality.CLOUD
    return codes


def _wide(mask: NDArray[np.bool_], rim: int) -> NDArray[np.bool_]:
    """The part of a mask that disks cover which lie wholly inside it (morphological opening, radius `_RADIUS`), and a rim."""
    found = np.zeros_like(mask)
    if not _any_cell(mask):
        return found
    # A disk holds this square. Distances take ten times as long as it does, and most of the roofs, which are everywhere, end here.
    core = minimum_filter(mask.view(np.uint8), _SQUARE, mode="constant").view(np.bool_)
    near = box_around(core, _RADIUS)
    if near:
        inside = np.zeros_like(mask)
        # A rim of False, because outside the array nothing is known; where it is the cut's, it is too far from the core to count.
        inside[near] = distance_transform_edt(np.pad(mask[near], 1))[1:-1, 1:-1] > _RADIUS
        near = box_around(inside, _RADIUS + rim)
        if near:
            found[near] = distance_transform_edt(~inside[near]) <= _RADIUS + rim
    return found


def _any_cell(mask: NDArray[np.bool_]) -> bool:
    """Whether any cell of `_CELL` pixels each way is True throughout: without one no square is, and no disk."""
    tall, wide = (side // _CELL * _CELL for side in mask.shape)
    rows = np.logical_and.reduce([mask[start:tall:_CELL, :wide] for start in range(_CELL)])
    return bool(np.logical_and.reduce([rows[:, start::_CELL] for start in range(_CELL)]).any())
