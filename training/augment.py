"""What makes one patch many: turns, flips, a swap of the dates, other light."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from s2change_plugin.engine.radiometry import Array

from .prepare import Labels

T = TypeVar("T", bound=np.generic)

# Spread of the light: of a whole date, of single bands, and of a haze that adds.
_GAIN, _BAND_GAIN, _HAZE = 0.08, 0.04, 0.008


def augmented(before: Array, after: Array, change: Labels, random: np.random.Generator) -> tuple[Array, Array, Labels]:
    """A patch as it might as well have been: one of eight orientations, either date first, each in its own light.

    Args:
        before, after: float32 (band, row, col) reflectance, NaN where not seen.
        change: uint8 (row, col).
        random: decides.
    """
    turns, flip = int(random.integers(4)), bool(random.integers(2))
    if random.integers(2):
        before, after = after, before
    before, after = (_relit(image, random) for image in (before, after))
    return _turned(before, turns, flip), _turned(after, turns, flip), _turned(change, turns, flip)


def _relit(image: Array, random: np.random.Generator) -> Array:
    gain = 1 + random.normal(0, _GAIN) + random.normal(0, _BAND_GAIN, (len(image), 1, 1))
    return np.asarray(image * gain + random.normal(0, _HAZE), np.float32)


def _turned(image: NDArray[T], turns: int, flip: bool) -> NDArray[T]:
    turned = np.rot90(image, turns, (-2, -1))
    return turned[..., ::-1] if flip else turned
