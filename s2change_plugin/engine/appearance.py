"""How two dates look as a whole: the haze over each, and how ground that did not change differs; measured once for each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import NothingObserved
from .radiometry import Array

_Floats = NDArray[np.float64]

# Dark objects: this share of the pixels, and what they reflect (Chavez 1988: 1 %).
_DARK_SHARE, _DARK_REFLECTANCE = 0.001, 0.01
# The share of the pixels, those that differ most, that is left out of what unchanged ground is; and how often this is refined.
_CHANGED_SHARE, _ITERATIONS = 0.1, 6
# In deviations of a band: about ten digital numbers, so that the rounding of equal dates is no difference.
_LEAST_DIFFERENCE = 0.01
# Fewer pixels do not say how ten bands vary together.
_LEAST_PIXELS = 200
# The measurement is as good with these as with a million.
_MOST_PIXELS, _SEED = 200_000, 0


@dataclass(frozen=True)
class Appearance:
    """What is measured of a pair as a whole, and how its windows are shown to a network with it.

    Attributes:
        haze: what the atmosphere adds to each date's bands, (date, band), reflectance.
        usual: mean difference of the dates on ground that did not change, (band,), in deviations of each band.
        whitening: (band, band), takes differences of such ground to ones that vary by 1 and independently.
    """

    haze: _Floats
    usual: _Floats
    whitening: _Floats

    @property
    def record(self) -> dict[str, Any]:
        """What the record of a run says of it."""
        return {
            "path_reflectance": np.round(self.haze, 5).tolist(),
            "usual_difference": np.round(self.usual, 4).tolist(),
            "whitening": np.round(self.whitening, 4).tolist(),
        }

    def shown(self, before: Array, after: Array, mean: Sequence[float], deviation: Sequence[float]) -> Array:
        """What a network is shown of a patch: both dates without haze, and their difference; float32 (3, band, row, col), about ±1.

        Args:
            before, after: (band, row, col) reflectance; NaN stays.
            mean, deviation: of each band, of reflectance without haze.
        """
        centre, spread = (np.asarray(values, np.float32)[:, None, None] for values in (mean, deviation))
        dates = [(without_haze(date, path) - centre) / spread for date, path in zip((before, after), self.haze, strict=True)]
        return np.stack([*dates, self._difference(dates[0], dates[1])])

    def _difference(self, before: Array, after: Array) -> Array:
        """How differently two dates look, compared with how unchanged ground does, and squashed.

        Source: whitening by the inverse root of the covariance (ZCA) is the one that stays closest to the bands, so that a band
        means the same in every pair: Kessy, Lewin, Strimmer 2018, "Optimal whitening and decorrelation".
        """
        shape = before.shape
        unusual = (after - before).reshape(len(before), -1) - self.usual[:, None].astype(np.float32)
        return np.asarray(np.arcsinh(self.whitening.astype(np.float32) @ unusual / 2).reshape(shape), np.float32)


def measure_haze(reflectance: NDArray[Any]) -> _Floats:
    """Path radiance of one date's bands as reflectance, (band,): its darkest pixels, less the little that even these reflect.

    Args:
        reflectance: (band, n), finite.

    Source: Chavez 1988, "An improved dark-object subtraction technique for atmospheric scattering correction".
    """
    return np.asarray(np.maximum(np.quantile(reflectance, _DARK_SHARE, axis=1) - _DARK_REFLECTANCE, 0), np.float64)


def without_haze(reflectance: Array, haze: _Floats) -> Array:
    """Reflectance as without air: path radiance off, never below 0, and the light given back that was lost on its way.

    The loss is estimated as (1 − path radiance)², for two ways through the same air; aerosol and terrain are not modelled.

    Args:
        reflectance: (band, …); NaN stays.
        haze: (band,).
    """
    path = haze.astype(np.float32).reshape(-1, *[1] * (reflectance.ndim - 1))
    return np.asarray(np.maximum(reflectance - path, 0) / (1 - path) ** 2, np.float32)


def measure_appearance(before: Sequence[Array], after: Sequence[Array], deviation: Sequence[float]) -> Appearance:
    """Measure a pair from parts of it.

    The covariance of the difference leaves out the tenth that differs most, which is sought again with what was found.

    Args:
        before, after: parts, (band, row, col) reflectance, NaN where not observed.
        deviation: of each band, reflectance; what differences are measured in.

    Raises:
        NothingObserved: too few pixels are observed on both dates.

    Source: Rousseeuw and Van Driessen 1999, "A fast algorithm for the minimum covariance determinant estimator" (its
    concentration steps, from all pixels).
    """
    bands = len(deviation)
    first, second = (np.concatenate([part.reshape(bands, -1) for part in parts], 1) for parts in (before, after))
    seen = np.flatnonzero(np.isfinite(first).all(0) & np.isfinite(second).all(0))
    if len(seen) < _LEAST_PIXELS:
        raise NothingObserved(
            f"Only {len(seen)} of the {first.shape[1]:,} pixels that were looked at are observed on both dates, and {_LEAST_PIXELS} are needed. "
            "Pick dates with fewer clouds, or a larger area."
        )
    if len(seen) > _MOST_PIXELS:
        seen = np.sort(np.random.default_rng(_SEED).choice(seen, _MOST_PIXELS, replace=False))
    dates = [first[:, seen], second[:, seen]]
    haze = np.stack([measure_haze(date) for date in dates])
    one, other = (without_haze(date, path) for date, path in zip(dates, haze, strict=True))
    usual, whitening = _unchanged((other - one) / np.asarray(deviation)[:, None])
    return Appearance(haze, usual, whitening)


def _unchanged(difference: _Floats) -> tuple[_Floats, _Floats]:
    """Mean of the difference (band, n) of ground that did not change, and the inverse root of its covariance."""
    kept = difference
    for _ in range(_ITERATIONS):
        mean = kept.mean(1)
        values, vectors = np.linalg.eigh(np.cov(kept) + _LEAST_DIFFERENCE**2 * np.eye(len(kept)))
        whitening = vectors / np.sqrt(values) @ vectors.T
        distance = np.square(whitening @ (difference - mean[:, None])).sum(0)
        kept = difference[:, distance <= np.quantile(distance, 1 - _CHANGED_SHARE)]
    return mean, whitening
