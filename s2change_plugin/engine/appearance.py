"""How two dates look as a whole: the haze over each, and how ground that did not change differs; measured once for each pair."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import NothingObserved
from .radiometry import Array
from .validity import LEAST_OBSERVED

_Floats = NDArray[np.float64]
# Before, after, difference.
Images = tuple[Tensor, Tensor, Tensor]

# Dark objects: this share of the pixels, and what they reflect (Chavez 1988: 1 %). In B10 no ground is seen, so all of it is the air's.
_DARK_SHARE, _DARK_REFLECTANCE, _DARK_B10 = 0.001, 0.01, 0.0
# The share of the pixels, those that differ most, that is left out of what unchanged ground is; and how often this is refined.
_CHANGED_SHARE, _ITERATIONS = 0.1, 6
# In deviations of a band: about ten digital numbers, so that the rounding of equal dates is no difference.
_LEAST_DIFFERENCE = 0.01
# A third of it would stay in a core's own cache from one step to the next. That is worth less than that threads meet less often: each step takes
# Python's lock, and who has to wait for it sleeps. With blocks of 4096, 16,384, 49,152 and 262,144 two threads lay a patch of
# 960² out in 3.0, 1.3, 1 and 1.2 times the time (Intel with AMX, two cores).
_PIXELS_AT_ONCE = 49152
_ONE = torch.ones(())
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

    def shown(self, before: Array, after: Array, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
        """What a network is shown of a patch, whole: float32 (3, band, row, col), channels last; see `blocks`."""
        bands, height, width = before.shape
        found = torch.empty((3, height, width, bands))
        for row, images in self.blocks(before, after, mean, deviation):
            for whole, image in zip(found, images, strict=True):
                whole[row : row + image.shape[1]] = image.permute(1, 2, 0)
        return found.permute(0, 3, 1, 2)

    def blocks(
        self, before: Array, after: Array, mean: Sequence[float], deviation: Sequence[float], step: int = 1
    ) -> Iterator[tuple[int, Images]]:
        """What a network is shown of a patch, some rows at a time: both dates without haze, and their difference, about ±1.

        The difference is compared with how unchanged ground differs, and squashed. What is not finite on both dates is 0.

        Args:
            before, after: float32 (band, row, col) reflectance; NaN where it is not usable.
            mean, deviation: of each band, of reflectance without haze.
            step: every block has a multiple of so many rows, if the patch has.

        Yields:
            the first row, and before, after and difference, each float32 (band, rows, col).

        Source: whitening by the inverse root of the covariance (ZCA) is the one that stays closest to the bands, so that a band
        means the same in every pair: Kessy, Lewin, Strimmer 2018, "Optimal whitening and decorrelation".
        """
        bands, height, width = before.shape
        centre, spread = np.asarray(mean), np.asarray(deviation)
        gain = 1 / ((1 - self.haze) ** 2 * spread)
        # What `without_haze` gives, in deviations from the mean, as one multiplication, one addition and a lower limit.
        lines = [_columns(gain[date], -self.haze[date] * gain[date] - centre / spread) for date in (0, 1)]
        (lowest,), whitening = _columns(-centre / spread), self.whitening / 2
        turn, (start,) = torch.from_numpy(whitening.astype(np.float32)), _columns(-whitening @ self.usual)
        rows = max(1, _PIXELS_AT_ONCE // width // step) * step
        for row in range(0, height, rows):
            dates = []
            for image, (times, plus) in zip((before, after), lines, strict=True):
                # One after the other: `torch.addcmul` of two columns goes about it a number at a time.
                date = torch.from_numpy(image[:, row : row + rows]).reshape(bands, -1).mul(times).add_(plus)
                dates.append(torch.maximum(date, lowest, out=date))
            one, other = dates
            difference = _asinh(torch.addmm(start, turn, other - one))
            # The sum is finite if all of them are.
            if not math.isfinite(difference.sum()):
                unseen = ~difference.sum(0).isfinite()
                for values in (one, other, difference):
                    values[:, unseen] = 0
            yield row, (one.view(bands, -1, width), other.view(bands, -1, width), difference.view(bands, -1, width))


def _asinh(x: Tensor) -> Tensor:
    """As `torch.asinh`, which computes one number at a time; x may be overwritten."""
    if _numpy_is_quick():
        values = x.numpy()
        np.arcsinh(values, out=values)
        return x
    return torch.addcmul(_ONE, x, x).sqrt_().add_(x.abs()).log_().copysign_(x)


@cache
def _numpy_is_quick() -> bool:
    """Whether NumPy computes sixteen such numbers at a time here."""
    config: Any = np.show_config(mode="dicts")
    found = config.get("SIMD Extensions", {}).get("found", [])
    # By either of the names that it has had for these processors.
    return sys.platform == "linux" and not {"X86_V4", "AVX512_SKX"}.isdisjoint(found)


def _columns(*values: _Floats) -> tuple[Tensor, ...]:
    """Each (band,) as float32 (band, 1)."""
    return tuple(torch.from_numpy(one.astype(np.float32))[:, None] for one in values)


def measure_haze(reflectance: NDArray[Any], bands: Sequence[str]) -> _Floats:
    """Path radiance of one date's bands as reflectance, (band,): its darkest pixels, less the little that even these reflect.

    Args:
        reflectance: (band, n), finite.
        bands: their names.

    Source: Chavez 1988, "An improved dark-object subtraction technique for atmospheric scattering correction".
    """
    dark = [_DARK_B10 if name == "B10" else _DARK_REFLECTANCE for name in bands]
    return np.asarray(np.maximum(np.quantile(reflectance, _DARK_SHARE, axis=1) - dark, 0), np.float64)


def without_haze(reflectance: Array, haze: _Floats) -> Array:
    """Reflectance as without air: path radiance off, never below 0, and the light given back that was lost on its way.

    The loss is estimated as (1 − path radiance)², for two ways through the same air; aerosol and terrain are not modelled.

    Args:
        reflectance: (band, …); NaN stays.
        haze: (band,).
    """
    path = haze.astype(np.float32).reshape(-1, *[1] * (reflectance.ndim - 1))
    return np.asarray(np.maximum(reflectance - path, 0) / (1 - path) ** 2, np.float32)


def measure_appearance(
    before: Sequence[Array], after: Sequence[Array], deviation: Sequence[float], bands: Sequence[str]
) -> Appearance:
    """Measure a pair from parts of it.

    The covariance of the difference leaves out the tenth that differs most, which is sought again with what was found.

    Args:
        before, after: parts, (band, row, col) reflectance, NaN where not observed.
        deviation: of each band, reflectance; what differences are measured in.
        bands: their names.

    Raises:
        NothingObserved: too few pixels are observed on both dates.

    Source: Rousseeuw and Van Driessen 1999, "A fast algorithm for the minimum covariance determinant estimator" (its
    concentration steps, from all pixels).
    """
    usable = [(np.isfinite(one) & np.isfinite(other)).all(0).ravel() for one, other in zip(before, after, strict=True)]
    seen = np.flatnonzero(np.concatenate(usable))
    if len(seen) < LEAST_OBSERVED:
        raise NothingObserved(
            f"Only {len(seen)} of the {sum(map(len, usable)):,} pixels that were looked at are observed on both dates, and {LEAST_OBSERVED} are needed. "
            "Pick dates with more clear ground in common."
        )
    if len(seen) > _MOST_PIXELS:
        seen = np.sort(np.random.default_rng(_SEED).choice(seen, _MOST_PIXELS, replace=False))
    ends = np.cumsum([len(part) for part in usable])[:-1]
    places = [chosen - start for chosen, start in zip(np.split(seen, np.searchsorted(seen, ends)), [0, *ends], strict=True)]
    dates = [
        np.concatenate([part.reshape(len(deviation), -1)[:, chosen] for part, chosen in zip(parts, places, strict=True)], 1)
        for parts in (before, after)
    ]
    haze = np.stack([measure_haze(date, bands) for date in dates])
    one, other = (without_haze(date, path) for date, path in zip(dates, haze, strict=True))
    usual, whitening = _unchanged((other - one) / np.asarray(deviation)[:, None])
    return Appearance(haze, usual, whitening)


def _unchanged(difference: _Floats) -> tuple[_Floats, _Floats]:
    """Mean of the difference (band, n) of ground that did not change, and the inverse root of its covariance."""
    kept, turned = np.ones(difference.shape[1]), np.empty_like(difference)
    for _ in range(_ITERATIONS):
        count = kept.sum()
        mean = difference @ kept / count
        np.multiply(difference, kept, out=turned)
        covariance = (turned @ difference.T - count * np.outer(mean, mean)) / (count - 1)
        values, vectors = np.linalg.eigh(covariance + _LEAST_DIFFERENCE**2 * np.eye(len(mean)))
        whitening = vectors / np.sqrt(values) @ vectors.T
        np.matmul(whitening, difference, out=turned)
        turned -= (whitening @ mean)[:, None]
        distance = np.einsum("bn,bn->n", turned, turned)
        kept = (distance <= np.quantile(distance, 1 - _CHANGED_SHARE)).astype(np.float64)
    return mean, whitening
