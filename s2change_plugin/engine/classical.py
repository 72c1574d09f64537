"""Change without a network: change vector analysis, PCA difference, iteratively reweighted multivariate alteration detection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular, svd
from scipy.special import chdtrc, chdtri

from .errors import NothingObserved
from .radiometry import Array

_Floats = NDArray[np.float64]

# Nielsen 2007: iterate until the canonical correlations stand still.
_STILL, _MOST_ITERATIONS = 1e-3, 50
# By how much the logarithms of 1 − correlation must be less in all. On 14 OSCD pairs and 7 burned areas they are less by up to 0.3 where both starts
# end alike, and by 4 where a quarter or more of made-up ground burned.
_CLEARLY = 1.0
# Added to every band's variance, as a share of it: far below sensor noise, yet copies of a band and equal dates stay solvable.
_RIDGE = 1e-6
# A band whose values vary less than this against their mean is constant; float32 resolves 1e-7.
_CONSTANT = 1e-9
# Half of the pixels closer to no change than this: the dates are equal, and their rounding must not be blown up into change.
_EQUAL = 1e-6
# Steps in which the half of the pixels that differ least is sought.
_MOST_STEPS = 10
# Of the variance of the difference; what the components kept leave out is mostly noise of single bands.
_PCA_SHARE = 0.95
# What differs more than so many times as much as half of the pixels do is far out; see `fit_predictor`.
_FAR_OUT = 4.0
# Of the bands' own deviation: about two digital numbers, so that the rounding of equal dates is no change.
_LEAST_DIFFERENCE = 0.01
# Below what one unchanged pixel in a hundred exceeds by chance, IR-MAD has found nothing.
_LEAST_SIGNIFICANCE = 0.01
# The fits are as good with these as with a million, and take seconds.
_MOST_PIXELS, _SEED = 100_000, 0


@dataclass(frozen=True)
class Variates:
    """Measures of change, each linear in the two dates' bands; fitted on samples, applied to any pixels of the same dates.

    Attributes:
        before, after: (variate, band), reflectance to variates.
        offset: (variate,), takes the mean out.
    """

    before: _Floats
    after: _Floats
    offset: _Floats

    @property
    def least(self) -> float:
        """Root of the sum of squares up to which nothing is change, however alike the rest is."""
        return _LEAST_DIFFERENCE

    def apply(self, before: NDArray[Any], after: NDArray[Any]) -> Array:
        """How much each pixel changed: the sum of its squared variates.

        Args:
            before, after: (band, …) reflectance, bands as in the fit; the other axes are free.

        Returns:
            float32 (…); NaN where a band is not finite.
        """
        first, second = (image.reshape(len(image), -1).astype(np.float64) for image in (before, after))
        with np.errstate(invalid="ignore"):
            variates = self.before @ first + self.after @ second + self.offset[:, None]
        squares = np.einsum("vn,vn->n", variates, variates)
        squares[~np.isfinite(squares)] = np.nan
        return np.asarray(squares.reshape(before.shape[1:]), np.float32)


@dataclass(frozen=True)
class Irmad(Variates):
    """The fitted MAD transformation; its variates have variance 1 where nothing changed.

    So `apply` gives a chi-squared statistic with `degrees` degrees of freedom where nothing changed.

    Attributes:
        correlations: canonical correlations of the two dates, weighted by the no-change probability, (band,), the largest first.
        degrees: of freedom of the sum of squares: the bands that vary on both dates. The others are left out.
        iterations: that were needed; 50 is where it was stopped.
    """

    correlations: _Floats
    degrees: int
    iterations: int

    @property
    def least(self) -> float:
        """See `Variates.least`."""
        return float(np.sqrt(chdtri(self.degrees, _LEAST_SIGNIFICANCE)))

    def no_change_probability(self, chi2: NDArray[Any]) -> NDArray[Any]:
        """Probability of a larger `chi2` than this where nothing changed, of the same shape; NaN stays NaN."""
        return np.asarray(chdtrc(self.degrees, chi2))


def fit_irmad(before: NDArray[Any], after: NDArray[Any]) -> Irmad:
    """The MAD transformation between two dates, with changed pixels weighted down until it stands still.

    It is sought twice, from all pixels and from the half that differs least, which counts where by it the dates are clearly more closely
    related: where a quarter of the ground burned, a search from all pixels takes that for what is usual.

    It does not depend on an affine change of either date's bands, so that haze, sun and season as far as they act on all of the
    ground alike are no change. Fewer than half of the pixels may have changed.

    Args:
        before, after: (band, n) reflectance of the same n pixels, finite.

    Raises:
        NothingObserved: fewer pixels than the covariance needs, or no band varies on both dates.

    Source: Nielsen 2007, "The regularized iteratively reweighted MAD method", IEEE Transactions on Image Processing 16(2);
    Canty and Nielsen 2008, Remote Sensing of Environment 112(3). Three things differ. The canonical correlations are singular
    values of the whitened cross-covariance (Björck and Golub 1973, Mathematics of Computation 27), which unlike the papers'
    eigenproblem also gives both dates' vectors where a correlation is 0. It has two starts. And chi-squared is scaled to its expected median in
    every iteration, the consistency factor of Rousseeuw and Van Driessen 1999, Technometrics 41(3): weighting makes also the
    unchanged pixels' variance too small, so without it the no-change set shrinks from iteration to iteration, on several
    of the OSCD pairs to ten pixels.
    """
    stack, centre, scale = _standardised(before, after)
    bands, pixels = before.shape
    degrees = int(np.isfinite(scale[:bands]).sum())
    matched, _, _ = _matched(stack, centre, scale)
    found = _reweighted(stack, np.ones(pixels), degrees)
    other = _reweighted(stack, _closest_half(matched).astype(np.float64), degrees)
    if np.log((1 - found[0]) / (1 - other[0])).sum() > _CLEARLY:
        found = other
    correlations, transformation, mean, iterations = found
    in_reflectance = transformation / scale
    offset = -(transformation @ mean + in_reflectance @ centre)
    return Irmad(in_reflectance[:, :bands], in_reflectance[:, bands:], offset, correlations, degrees, iterations)


def _reweighted(stack: _Floats, weights: _Floats, degrees: int) -> tuple[_Floats, _Floats, _Floats, int]:
    """Canonical correlations, MAD transformation and mean as `_canonical_variates` gives them, once they stand still, and after how many iterations.

    The transformation is scaled so that the median of the sum of squared variates is that of chi-squared.
    """
    correlations = np.zeros(len(stack) // 2)
    for iteration in range(1, _MOST_ITERATIONS + 1):  # noqa: B007, it is reported
        former = correlations
        correlations, transformation, mean = _canonical_variates(stack, weights)
        variates = transformation @ (stack - mean[:, None])
        chi2 = np.einsum("vn,vn->n", variates, variates)
        consistency = chdtri(degrees, 0.5) / max(float(np.median(chi2)), _EQUAL)
        if np.abs(correlations - former).max() < _STILL:
            break
        weights = chdtrc(degrees, consistency * chi2)
    return correlations, transformation * np.sqrt(consistency), mean, iteration


def fit_cva(before: NDArray[Any], after: NDArray[Any]) -> Variates:
    """Change vector analysis: the difference of the dates in each band; `apply` gives the squared length of the change vector.

    Each band is measured in its deviation first, so that all count alike, and brought to one mean and deviation on both dates, on the half of
    the ground that then differs least. So haze, sun and season as far as they act on all of the ground alike are no change, whatever the rest does.

    Args:
        before, after: (band, n) reflectance of the same n pixels, finite.

    Raises:
        NothingObserved: fewer pixels than `fit_irmad` needs, or no band varies on both dates.

    Source: Malila 1980, "Change vector analysis: an approach for detecting forest changes with Landsat", LARS Symposia;
    for the standardisation, Yuan and Elvidge 1996, ISPRS Journal of Photogrammetry and Remote Sensing 51(3) (mean and deviation); for the
    half of the ground, the concentration steps of Rousseeuw and Van Driessen 1999, Technometrics 41(3).
    """
    _, centre, scale = _matched(*_standardised(before, after))
    return _differences(np.eye(len(before)), centre, scale)


def fit_pca(before: NDArray[Any], after: NDArray[Any]) -> Variates:
    """PCA difference: the first principal components of the difference of the dates, as many as hold 95 % of its variance.

    The bands are brought to each other as in `fit_cva`. What moves bands together stays, what moves a single one little is left out.

    Args:
        before, after: (band, n) reflectance of the same n pixels, finite.

    Raises:
        NothingObserved: as `fit_cva`.

    Source: Gong 1993, "Change detection using principal component analysis and fuzzy set theory", Canadian Journal of Remote
    Sensing 19(1), for components of the difference; Fung and LeDrew 1987, Photogrammetric Engineering and Remote Sensing
    53(12), for standardised bands.
    """
    stack, centre, scale = _matched(*_standardised(before, after))
    difference = stack[len(before) :] - stack[: len(before)]
    variances, components = eigh(difference @ difference.T / difference.shape[1])
    held = np.cumsum(variances[::-1])
    kept = int(np.searchsorted(held, _PCA_SHARE * held[-1])) + 1
    return _differences(components[:, ::-1][:, :kept].T, centre, scale)


def _differences(rotation: _Floats, centre: _Floats, scale: _Floats) -> Variates:
    """The variates rotation (variate, band) @ (after − before), the dates standardised by centre and scale, each (2·band,)."""
    bands = rotation.shape[1]
    both = np.concatenate([-rotation, rotation], axis=1) / scale
    return Variates(both[:, :bands], both[:, bands:], -both @ centre)


def _standardised(before: NDArray[Any], after: NDArray[Any]) -> tuple[_Floats, _Floats, _Floats]:
    """Both dates' bands with mean 0 and deviation 1, (2·band, n), and the mean and deviation that they had, each (2·band,).

    A band that is constant on one date is 0 on both, its deviation infinite.

    Raises:
        NothingObserved: fewer pixels than the covariance needs, or no band varies on both dates.
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
    return (stack - centre[:, None]) / scale[:, None], centre, scale


def _matched(stack: _Floats, centre: _Floats, scale: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """What `_standardised` gives, with each band's mean and deviation alike on both dates where these differ least: on half of the pixels."""
    bands = len(stack) // 2
    kept = np.ones(stack.shape[1], bool)
    for _ in range(_MOST_STEPS):
        former, kept = kept, _closest_half(stack)
        if (kept == former).all():
            break
        middle, spread = stack[:, kept].mean(1), stack[:, kept].std(1).reshape(2, bands)
        # How much a band counts is for all of the ground to say: half of it may be water.
        ratio = np.sqrt(np.divide(spread[0], spread[1], out=np.ones(bands), where=spread.min(0) > _CONSTANT))
        relative = np.concatenate([ratio, 1 / ratio])
        stack = (stack - middle[:, None]) / relative[:, None]
        centre, scale = centre + middle * np.where(np.isfinite(scale), scale, 0), scale * relative
    return stack, centre, scale


def _closest_half(stack: _Floats) -> NDArray[np.bool_]:
    """(n,), True for the half of the pixels whose dates, (2·band, n), differ least."""
    before, after = np.split(stack, 2)
    lengths = np.einsum("bn,bn->n", after - before, after - before)
    return np.asarray(lengths <= np.median(lengths))


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


_FITS: dict[str, tuple[str, Callable[[NDArray[Any], NDArray[Any]], Variates]]] = {
    "cva": ("Change vector analysis", fit_cva),
    "irmad": ("IR-MAD", fit_irmad),
    "pca": ("PCA difference", fit_pca),
}


@dataclass(frozen=True)
class ClassicalPredictor:
    """A fitted method in the place of a model; see `detect.Predictor`. Made by `fit_predictor`.

    Attributes:
        method: "cva", "irmad" or "pca".
        bands: of what is compared, in order.
        variates: as fitted.
        limit: of the root of their sum of squares; what lies above it is change.
        pixels: that it was fitted on.
    """

    halo: ClassVar[int] = 0
    alignment: ClassVar[int] = 1
    window_size: ClassVar[int] = 864
    threshold: ClassVar[float] = 0.5
    goal: ClassVar[None] = None

    method: str
    bands: tuple[str, ...]
    variates: Variates
    limit: float
    pixels: int

    @property
    def bytes_per_pixel(self) -> int:
        """Of memory at most, for each pixel of a patch while it is predicted, beside its reflectance: both dates and the variates."""
        return 3 * len(self.bands) * np.dtype(np.float64).itemsize

    def probability(self, before: Array, after: Array) -> Array:
        """How clearly each pixel changed: float32 (row, col), 0–1; s² / (s² + limit²), with s² the sum of squared variates.

        It grows with the change, is 0.5 at the limit and 0.8 at twice the limit. It ranks pixels, and is no calibrated probability.

        Args:
            before, after: reflectance (band, row, col), NaN where unusable; there it is 0.
        """
        squares = np.nan_to_num(self.variates.apply(before, after))
        return np.asarray(squares / (squares + np.float32(self.limit**2)), np.float32)

    @property
    def text(self) -> str:
        """In words, what decides."""
        name, _ = _FITS[self.method]
        return f"{name} of {len(self.bands)} bands, fitted on {self.pixels:,} pixels: any change, seasons and crops too."

    @property
    def made_by(self) -> dict[str, Any]:
        """What the record says of it."""
        fit = {"bands": list(self.bands), "pixels": self.pixels, "limit": self.limit, "variates": len(self.variates.offset)}
        return {"method": self.method, "model": None, "device": "cpu", "precision": "float64", **fit}


def fit_predictor(method: str, before: Sequence[Array], after: Sequence[Array], bands: Sequence[str]) -> ClassicalPredictor:
    """A method fitted on samples of two dates, ready for any window of them.

    What is far out among the samples is change: the root of the sum of squares above four times its median. So unchanged ground may differ
    by whatever it does; more than half of it must be unchanged.

    Args:
        method: "cva", "irmad" or "pca".
        before, after: samples of one place on one grid, each (band, row, col) reflectance with NaN where not usable.
        bands: their names.

    Raises:
        NothingObserved: too few pixels are usable on both dates, or no band varies on both.

    Source: measured on 14 labelled OSCD cities and 7 burned areas (`training/EXPERIMENTS.md`, 28). The outer fence of Tukey 1977,
    Exploratory Data Analysis, is as good where little changed, and misses what burned where that is a quarter of the ground: then the upper quartile
    is change itself. Otsu 1979 expects two classes of like size, and chi-squared nothing but noise beside the change: on the cities they
    call five to nine times the changed ground change. The triangle method (Zack, Rogers and Latt 1977) hangs on the single farthest pixel.
    """
    _, fit = _FITS[method]
    pixels = usable_pixels(before, after, _MOST_PIXELS, np.random.default_rng(_SEED))
    variates = fit(*pixels)
    limit = max(_FAR_OUT * float(np.median(np.sqrt(variates.apply(*pixels)))), variates.least)
    return ClassicalPredictor(method, tuple(bands), variates, round(limit, 6), pixels.shape[2])


def usable_pixels(before: Sequence[Array], after: Sequence[Array], most: int, generator: np.random.Generator) -> Array:
    """The pixels of all samples that are finite in every band of both dates, (date, band, n); n is at most `most`, drawn at random.

    Args:
        before, after: samples, each (band, row, col).
        most: pixels.
        generator: draws.
    """
    dates = [np.concatenate([sample.reshape(len(sample), -1) for sample in samples], axis=1) for samples in (before, after)]
    pixels = np.stack(dates)
    pixels = pixels[:, :, np.isfinite(pixels).all((0, 1))]
    if pixels.shape[2] > most:
        pixels = pixels[:, :, generator.choice(pixels.shape[2], most, replace=False)]
    return pixels
