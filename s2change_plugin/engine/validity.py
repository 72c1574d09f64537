"""Observed on both dates, or why not."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from .radiometry import Array

Codes = np.ndarray[Any, np.dtype[np.uint8]]


class Quality(IntEnum):
    """Codes of the quality raster. 3, 4, 5 and 7 are kept for cloud, cloud shadow, snow and outside."""

    OBSERVED = 0
    NODATA_BEFORE = 1
    NODATA_AFTER = 2
    SATURATED = 6


QUALITY_NAMES: dict[int, str] = {
    Quality.OBSERVED: "observed",
    Quality.NODATA_BEFORE: "no data before",
    Quality.NODATA_AFTER: "no data after",
    Quality.SATURATED: "saturated",
}
QUALITY_COLOURS: dict[int, tuple[int, int, int]] = {
    Quality.OBSERVED: (242, 242, 242),
    Quality.NODATA_BEFORE: (90, 90, 90),
    Quality.NODATA_AFTER: (160, 160, 160),
    Quality.SATURATED: (255, 176, 0),
}


def quality_of(before: Array, after: Array) -> Codes:
    """Quality code of each pixel of a pair: uint8 (row, col).

    Args:
        before, after: reflectance (band, row, col); NaN is nodata, +inf saturated, in any of the bands.
    """
    codes = np.full(before.shape[1:], Quality.OBSERVED, np.uint8)
    codes[np.isinf(before).any(0) | np.isinf(after).any(0)] = Quality.SATURATED
    codes[np.isnan(after).any(0)] = Quality.NODATA_AFTER
    codes[np.isnan(before).any(0)] = Quality.NODATA_BEFORE
    return codes
