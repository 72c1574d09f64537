"""Radiometric normalisation: one gain and offset per band that make `after` resemble `before` where nothing changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import NothingObserved
from .radiometry import Array

# Canty and Nielsen 2008: what is unchanged with more than this probability is regressed on.
_NO_CHANGE = 0.95
# Of unchanged ground 5 % pass that bar by its very definition. A fifth of it, or fewer than 500, is chance.
_LEAST_SHARE, _LEAST_PIXELS = 0.01, 500
_LEAST_CORRELATION = 0.6
# Beyond these gains the dates differ by more than air and sun, and unchanged ground was not found.
_SMALLEST_GAIN, _LARGEST_GAIN = 0.5, 2.0
# The fit is as good with these as with a million, and takes seconds.
_MOST_PIXELS = 100_000
_SEED = 0


@dataclass(frozen=True)
class BandNormalisation:
    """One band's regression and what it does; all rounded, so that the record repeats what was applied.

    Attributes:
        band: its name.
        gain, offset: after · gain + offset resembles before; the offset is in reflectance.
        correlation: of the dates on the no-change pixels.
        difference_raw, difference_normalised: mean of after − before, in reflectance, on no-change pixels not used in the fit.
        rmse_raw, rmse_normalised: root mean square of the same difference.
    """

    band: str
    gain: float
    offset: float
    correlation: float
    difference_raw: float
    difference_normalised: float
    rmse_raw: float
    rmse_normalised: float


@dataclass(frozen=True)
class Normalisation:
    """What brings `after` to the radiometry of `before`; `asdict` is its record.

    Attributes:
        done: False where it was not asked for, or refused; then `apply` changes nothing.
        text: in words, what was found.
        pixels: no-change pixels, two thirds of them fitted on and one third held out.
        share: theirs of the pixels that were compared, 0–1.
        bands: one per band in order. Where refused, with gain 1 and offset 0; empty where it never came to a regression.
    """

    done: bool
    text: str
    pixels: int = 0
    share: float = 0.0
    bands: tuple[BandNormalisation, ...] = ()

    def apply(self, reflectance: Array) -> None:
        """Normalise `after`'s reflectance, float32 (band, row, col), in place; NaN and infinity stay."""
        if not self.done:
            return
        gain, offset = (
            np.array([getattr(band, name) for band in self.bands], np.float32)[:, None, None] for name in ("gain", "offset")
        )
        reflectance *= gain
        reflectance += offset


NOT_ASKED = Normalisation(False, "The dates were not radiometrically normalised, as asked.")


def fit_normalisation(before: Sequence[Array], after: Sequence[Array], bands: Sequence[str]) -> Normalisation:
    """The normalisation of two dates by orthogonal regression on the pixels that IR-MAD holds to be unchanged.

    The figures are of no-change pixels only, chosen for how well the dates agree up to an affine change: they say what the
    regression took out, not how alike all of the ground became.

    Args:
        before, after: samples of one place on one grid, each (band, row, col) reflectance with NaN where not usable.
        bands: their names.

    Returns:
        Not done, with the reason as its text, where there is too little unchanged ground, the dates do not correlate on it,
        or a gain is out of reason.

    Source: Canty, Nielsen and Schmidt 2004, Remote Sensing of Environment 91(3-4), for orthogonal regression and hold-out;
    Canty and Nielsen 2008, Remote Sensing of Environment 112(3), for the no-change probability of IR-MAD.
    """
    # Slow to load, and needed where it is asked for alone.
    from .classical import fit_irmad, usable_pixels

    generator = np.random.default_rng(_SEED)
    pixels = usable_pixels(before, after, _MOST_PIXELS, generator)
    try:
        irmad = fit_irmad(*pixels)
    except NothingObserved as error:
        return Normalisation(False, f"The dates were not radiometrically normalised. {error}")
    unchanged = pixels[:, :, irmad.no_change_probability(irmad.apply(*pixels)) > _NO_CHANGE]
    count, share = unchanged.shape[2], round(unchanged.shape[2] / pixels.shape[2], 6)
    if count < _LEAST_PIXELS or share < _LEAST_SHARE:
        needed = f"{_LEAST_PIXELS} and {100 * _LEAST_SHARE:.0f} % are needed"
        return _refused(f"only {count:,} pixels ({100 * share:.1f} %) look unchanged, and {needed}", count, share)
    held_out = generator.permutation(count) < count // 3
    found = tuple(
        _fit_band(band, *values[:, ~held_out], *values[:, held_out])
        for band, values in zip(bands, unchanged.transpose(1, 0, 2), strict=True)
    )
    worst = min(found, key=lambda band: band.correlation)
    if worst.correlation < _LEAST_CORRELATION:
        reason = f"{worst.band} correlates by {worst.correlation:.2f} where nothing changed, and {_LEAST_CORRELATION} is needed"
        return _refused(reason, count, share, found)
    implausible = [band for band in found if not _SMALLEST_GAIN <= band.gain <= _LARGEST_GAIN]
    if implausible:
        first, plausible = implausible[0], f"{_SMALLEST_GAIN:g} to {_LARGEST_GAIN:g} is plausible"
        return _refused(f"{first.band} would need a gain of {first.gain:.2f}, and {plausible}", count, share, found)
    return Normalisation(True, _sentence(found, count, share), count, share, found)


def _fit_band(
    band: str, before: NDArray[Any], after: NDArray[Any], before_held_out: NDArray[Any], after_held_out: NDArray[Any]
) -> BandNormalisation:
    gain, offset, correlation = orthogonal_regression(after, before)
    gain, offset = round(gain, 6), round(offset, 6)
    raw = (after_held_out - before_held_out).astype(np.float64)
    normalised = after_held_out * gain + offset - before_held_out
    figures = (correlation, raw.mean(), normalised.mean(), _root_mean_square(raw), _root_mean_square(normalised))
    return BandNormalisation(band, gain, offset, *(round(float(figure), 6) for figure in figures))


def orthogonal_regression(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float, float]:
    """Slope, intercept and correlation of the line that is nearest to the points, both coordinates being uncertain alike.

    Args:
        x, y: (n,). Where one is constant or they do not correlate, slope 1 through the means and correlation 0.

    Source: Canty, Nielsen and Schmidt 2004, Remote Sensing of Environment 91(3-4), section on orthogonal regression.
    """
    (xx, xy), (_, yy) = np.cov(x.astype(np.float64), y.astype(np.float64))
    slope, correlation = 1.0, 0.0
    if xy != 0:
        slope = (yy - xx + np.hypot(yy - xx, 2 * xy)) / (2 * xy)
        correlation = xy / np.sqrt(xx * yy)
    return float(slope), float(y.mean(dtype=np.float64) - slope * x.mean(dtype=np.float64)), float(correlation)


def _root_mean_square(values: NDArray[Any]) -> Any:
    return np.sqrt(np.mean(values**2))


def _refused(reason: str, pixels: int, share: float, found: Sequence[BandNormalisation] = ()) -> Normalisation:
    left = tuple(
        replace(band, gain=1.0, offset=0.0, difference_normalised=band.difference_raw, rmse_normalised=band.rmse_raw)
        for band in found
    )
    text = f"The dates were not radiometrically normalised: {reason}. Pick dates of one season, or leave it as it is."
    return Normalisation(False, text, pixels, share, left)


def _sentence(bands: Sequence[BandNormalisation], pixels: int, share: float) -> str:
    gains = [band.gain for band in bands]
    raw, normalised = (np.mean([getattr(band, name) for band in bands]) for name in ("rmse_raw", "rmse_normalised"))
    return (
        f"After was normalised to before on {pixels:,} pixels without change ({100 * share:.1f} %), gains {min(gains):.2f} to "
        f"{max(gains):.2f}: there the dates differ by {normalised:.4f} instead of {raw:.4f} reflectance (RMSE)."
    )
