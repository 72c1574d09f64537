"""Change without a network: iteratively reweighted multivariate alteration detection (IR-MAD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular, svd
from scipy.special import chdtrc, chdtri

from .errors import NothingObserved
from .radiometry import Array

_Floats = NDArray[np.float64]

# Nielsen 2007: iterate until the canonical correlations stand still.
_STILL, _MOST_ITERATIONS = 1e-3, 50
# Added to every band's variance, as a share of it: far below sensor noise, yet copies of a band and equal dates stay solvable.
_RIDGE = 1e-6
# A band whose values vary less than this against their mean is constant; float32 resolves 1e-7.
_CONSTANT = 1e-9
# Half of the pixels closer to no change than this: the dates are equal, and their rounding must not be blown up into change.
_EQUAL = 1e-6


@dataclass(frozen=True)
class Irmad:
    """The fitted MAD transformation; made by `fit_irmad`, applied to any pixels of the same two dates.

    Attributes:
        correlations: canonical correlations of the two dates, weighted by the no-change probability, (band,), the largest first.
        before, after: (variate, band), reflectance to MAD variates, which have variance 1 where nothing changed.
        offset: (variate,), takes the no-change mean out.
        degrees: of freedom of the sum of squares: the bands that vary on both dates. The others are left out.
        iterations: that were needed; 50 is where it was stopped.
    """

    correlations: _Floats
    before: _Floats
    after: _Floats
    offset: _Floats
    degrees: int
    iterations: int

    def apply(self, before: Array, after: Array) -> Array:
        """How much each pixel changed: the sum of its squared MAD variates.

        Args:
            before, after: (band, …) reflectance, bands as in the fit; the other axes are free.

        Returns:
            float32 (…), chi-squared with `degrees` degrees of freedom where nothing changed; NaN where a band is not finite.
        """
        first, second = (image.reshape(len(image), -1).astype(np.float64) for image in (before, after))
        with np.errstate(invalid="ignore"):
            variates = self.before @ first + self.after @ second + self.offset[:, None]
        chi2 = np.einsum("vn,vn->n", variates, variates)
        chi2[~np.isfinite(chi2)] = np.nan
        return np.asarray(chi2.reshape(before.shape[1:]), np.float32)

    def no_change_probability(self, chi2: NDArray[Any]) -> NDArray[Any]:
        """Probability of a larger `chi2` than this where nothing changed, of the same shape; NaN stays NaN."""
        return np.asarray(chdtrc(self.degrees, chi2))


def fit_irmad(before: NDArray[Any], after: NDArray[Any]) -> Irmad:
    """The MAD transformation between two dates, with changed pixels weighted down until it stands still.

    It does not depend on an affine change of either date's bands, so that haze, sun and season as far as they act on all of the
    ground alike are no change. Fewer than half of the pixels may have changed.

    Args:
        before, after: (band, n) reflectance of the same n pixels, finite.

    Raises:
        NothingObserved: fewer pixels than the covariance needs, or no band varies on both dates.

    Source: Nielsen 2007, "The regularized iteratively reweighted MAD method", IEEE Transactions on Image Processing 16(2);
    Canty and Nielsen 2008, Remote Sensing of Environment 112(3). Two things differ. The canonical correlations are singular
    values of the whitened cross-covariance (Björck and Golub 1973, Mathematics of Computation 27), which unlike the papers'
    eigenproblem also gives both dates' vectors where a correlation is 0. And chi-squared is scaled to its expected median in
    every iteration, the consistency factor of Rousseeuw and Van Driessen 1999, Technometrics 41(3): weighting makes also the
    unchanged pixels' variance too small, so without it the no-change set shrinks from iteration to iteration, on several
    of the OSCD pairs to ten pixels.
    """
    bands, pixels = before.shape
    if pixels <= 2 * bands:
        raise NothingObserved(
            f"Only {pixels} pixels were observed on both dates; comparing {bands} bands needs more than {2 * bands}. "
            "Pick dates with more clear ground in common."
        )
    stack = np.concatenate([before, after]).astype(np.float64)
    centre, spread = stack.mean(1), stack.std(1)
    varies = (spread > _CONSTANT * np.abs(centre)).reshape(2, bands).all(0)
    if not varies.any():
        raise NothingObserved(f"None of the {bands} bands varies on both dates, so there is nothing to compare. Check the files.")
    # Dividing by infinity leaves a constant band out, here and in pixels to come.
    scale = np.where(np.tile(varies, 2), spread, np.inf)
    stack = (stack - centre[:, None]) / scale[:, None]

    degrees = int(varies.sum())
    weights, correlations = np.ones(pixels), np.zeros(bands)
    for iteration in range(1, _MOST_ITERATIONS + 1):  # noqa: B007, it is reported
        former = correlations
        correlations, transformation, mean = _canonical_variates(stack, weights)
        variates = transformation @ (stack - mean[:, None])
        chi2 = np.einsum("vn,vn->n", variates, variates)
        consistency = chdtri(degrees, 0.5) / max(float(np.median(chi2)), _EQUAL)
        if np.abs(correlations - former).max() < _STILL:
            break
        weights = chdtrc(degrees, consistency * chi2)

    transformation *= np.sqrt(consistency)
    in_reflectance = transformation / scale
    offset = -(transformation @ mean + in_reflectance @ centre)
    return Irmad(correlations, in_reflectance[:, :bands], in_reflectance[:, bands:], offset, degrees, iteration)


def _canonical_variates(stack: _Floats, weights: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Weighted canonical correlations (band,), MAD transformation (variate, 2·band) to unit variance, and mean (2·band,).

    `stack` is (2·band, n), each band with variance 1 over all pixels, or 0 where left out.
    """
    bands = len(stack) // 2
    weights = weights / weights.sum()
    mean = stack @ weights
    centred = stack - mean[:, None]
    covariance = (centred * weights) @ centred.T + _RIDGE * np.eye(2 * bands)
    first, second = (cholesky(block, lower=True) for block in (covariance[:bands, :bands], covariance[bands:, bands:]))
    half = solve_triangular(first, covariance[:bands, bands:], lower=True)
    left, correlations, right = svd(solve_triangular(second, half.T, lower=True).T)
    # The canonical variates have variance 1 and correlation ρ, so their difference has 2(1 − ρ); the ridge keeps ρ below 1.
    per_deviation = 1 / np.sqrt(2 * (1 - correlations))[:, None]
    before = solve_triangular(first, left, lower=True, trans="T").T * per_deviation
    after = solve_triangular(second, right.T, lower=True, trans="T").T * per_deviation
    return correlations, np.concatenate([before, -after], axis=1), mean
