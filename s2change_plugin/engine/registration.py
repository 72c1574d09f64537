"""The sub-pixel shift between two dates: one for the whole pair, by phase correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_gradient_magnitude
from skimage.registration import phase_cross_correlation

from .radiometry import Array

# Sentinel-2 dates are off by up to 1.5 px; a larger estimate has matched something else than the ground.
_LARGEST_SHIFT = 4.0
# A shift below this is within what can be measured; resampling for it would only blur.
SMALLEST_SHIFT = 0.1
_UPSAMPLING = 50
_LEAST_SEEN = 0.7
_LEAST_ESTIMATES = 3
_LARGEST_SPREAD = 0.35


@dataclass(frozen=True)
class Shift:
    """How far `after`'s ground lies from `before`'s.

    Attributes:
        measured: False where it could not be estimated; then rows and cols are 0.
        rows, cols: pixels of the common grid by which `after` is displaced, down and to the right.
        text: in words, what was found.
    """

    measured: bool
    rows: float
    cols: float
    text: str

    @property
    def matters(self) -> bool:
        """True where taking it out is worth resampling."""
        return self.measured and max(abs(self.rows), abs(self.cols)) >= SMALLEST_SHIFT


NOT_ASKED = Shift(False, 0.0, 0.0, "The shift between the dates was not measured, as asked.")


def measure_shift(before: Sequence[Array], after: Sequence[Array]) -> Shift:
    """The global shift between samples of two dates.

    Every band of every sample gives an estimate, from the magnitude of its gradient (seasons invert contrasts, edges stay);
    their median is taken where enough of them agree.

    Args:
        before, after: samples of one place on one grid, each (band, row, col) reflectance with NaN where not seen.

    Source: Guizar-Sicairos et al. 2008, Optics Letters 33(2), the upsampled phase correlation of scikit-image.
    """
    estimates = [
        _sample_shift(one, other)
        for sample, later in zip(before, after, strict=True)
        for one, other in zip(sample, later, strict=True)
        if _is_usable(one, other)
    ]
    found = np.array([estimate for estimate in estimates if np.abs(estimate).max() <= _LARGEST_SHIFT], np.float32)
    if len(found) < max(_LEAST_ESTIMATES, len(estimates) / 2):
        return _unmeasured("too little of both dates shows ground that can be matched")
    middle = np.median(found, axis=0)
    spread = float(np.median(np.abs(found - middle).max(axis=1)))
    if spread > _LARGEST_SPREAD:
        return _unmeasured(f"the places that were compared disagree by {spread:.1f} px")
    rows, cols = (round(float(value), 3) for value in middle)
    return Shift(True, rows, cols, f"After lies {rows:+.2f} px (down) and {cols:+.2f} px (right) of before.")


def _unmeasured(reason: str) -> Shift:
    return Shift(False, 0.0, 0.0, f"The shift between the dates cannot be measured ({reason}); it is left as it is.")


def _is_usable(before: Array, after: Array) -> bool:
    seen = np.isfinite(before) & np.isfinite(after)
    return min(before.shape) >= 32 and bool(seen.mean() >= _LEAST_SEEN)


def _sample_shift(before: Array, after: Array) -> Array:
    """(rows, cols) by which one image is displaced against another."""
    seen = np.isfinite(before) & np.isfinite(after)
    one, other = _edges(before, seen), _edges(after, seen)
    correlate: Any = phase_cross_correlation
    towards, _, _ = correlate(one, other, upsample_factor=_UPSAMPLING, normalization=None)
    return -np.asarray(towards, np.float32)


def _edges(image: Array, seen: NDArray[np.bool_]) -> Array:
    """Gradient magnitude, tapered to the sample's borders, with unseen ground left flat."""
    filled = np.where(seen, image, np.median(image[seen]))
    # Bright roofs and clouds must not outweigh all other edges.
    low, high = np.percentile(filled, (1, 99))
    edges = gaussian_gradient_magnitude(np.clip(filled, low, high), 1.0)
    edges[~seen] = 0
    window = np.outer(np.hanning(edges.shape[0]), np.hanning(edges.shape[1]))
    return np.asarray((edges - edges.mean()) * window, np.float32)
