"""How far two dates lie apart: a sub-pixel shift for the whole pair and, where that is worth it, a displacement field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, gaussian_gradient_magnitude
from skimage.registration import phase_cross_correlation

from .radiometry import Array
from .threads import cores

Floats = NDArray[np.float64]
Place = tuple[float, float]
# Coefficients of a displacement: (3, 2), the terms 1, row and col of a place (see `_terms`) by (rows, cols) in pixels.
Fit = Callable[[Floats, Floats], Floats]

# Sentinel-2 dates are off by up to 1.5 px; a larger estimate has matched something else than the ground.
_LARGEST_SHIFT = 4.0
# A shift below this is within what can be measured; resampling for it would only blur.
SMALLEST_SHIFT = 0.1
_UPSAMPLING = 50

_SMALLEST_SIDE = 32
_LEAST_SEEN = 0.7
# A tenth of a digital number: what rounding alone gives over flat ground.
_LEAST_CONTRAST = 1e-5
# Correlation of unlike edges at its highest peak is about 15 / side of the sample (white noise, 32 to 256 px); of the same
# ground in two seasons it is 0.17 to 0.9 at 256 px (the OSCD pairs).
_LEAST_LIKENESS = 25.0
_LARGEST_SPREAD = 0.35

# How far places scatter about a field that holds; OSCD's do by 0.02 to 0.15 px.
_SCATTER = 0.1
_LEAST_PLACES = 8
# Standard deviation of the places along the direction in which they reach least; 1 is half the frame, an even cover has 0.4 to 0.7.
_LEAST_REACH = 0.3
_LEAST_CHANGE = 0.2
# What the field's error at places that it was not fitted to may be, as a share of the error of one shift for all.
_LARGEST_ERROR_SHARE = 0.7

_SMALL = f"the overlap is narrower than {_SMALLEST_SIDE} pixels"
_UNSEEN = "too little ground is seen on both dates, as under clouds"
_FLAT = "there are no edges to match, as on water"
_UNLIKE = "the two dates do not match, as water, clouds and rebuilt ground do not"


@dataclass(frozen=True)
class Shift:
    """How far `after`'s ground lies from `before`'s, in pixels of the common grid, and how well that is known.

    Attributes:
        measured: False where it could not be estimated; then all displacements are 0.
        rows, cols: displacement of `after` at the centre, down and to the right.
        text: in words, what was found.
        affine: how the displacement grows with the place, pixels per pixel: ((rows per row, rows per col), (cols per row,
            cols per col)); zeros where one shift holds everywhere.
        centre: (row, col) of the frame's centre, counted as the transform does, from the first pixel's upper left corner.
        places: how many places gave an estimate.
        largest_px: the largest displacement down or to the right anywhere in the frame.
        typical_px: how far a place is off: median length of the places' displacements, before anything is taken out.
        spread_px: how far places disagree with what was found: median of their larger deviation, down or to the right.
        residual_px: `typical_px` measured again after the displacement was taken out; None where that was not done.
    """

    measured: bool
    rows: float
    cols: float
    text: str
    affine: tuple[Place, Place] = ((0.0, 0.0), (0.0, 0.0))
    centre: Place = (0.0, 0.0)
    places: int = 0
    largest_px: float = 0.0
    typical_px: float = 0.0
    spread_px: float = 0.0
    residual_px: float | None = None

    @property
    def matters(self) -> bool:
        """True where taking it out is worth resampling."""
        return self.measured and self.largest_px >= SMALLEST_SHIFT

    @property
    def varies(self) -> bool:
        """True where it is a field, not one shift."""
        return any(value != 0 for line in self.affine for value in line)

    def at(self, row: float, col: float) -> Place:
        """(rows, cols) by which `after` is displaced where `before` shows (row, col)."""
        (rows_by_row, rows_by_col), (cols_by_row, cols_by_col) = self.affine
        down, right = row - self.centre[0], col - self.centre[1]
        return (
            self.rows + rows_by_row * down + rows_by_col * right,
            self.cols + cols_by_row * down + cols_by_col * right,
        )

    def moved_transform(self, transform: Affine) -> Affine:
        """The transform of the grid on which `after` shows, pixel for pixel, what `before` shows on the given one."""
        (rows_by_row, rows_by_col), (cols_by_row, cols_by_col) = self.affine
        rows, cols = self.at(0, 0)
        return transform @ Affine(1 + cols_by_col, cols_by_row, cols, rows_by_col, 1 + rows_by_row, rows)


NOT_ASKED = Shift(False, 0.0, 0.0, "The shift between the dates was not measured, as asked.")


def measure_displacement(
    before: Sequence[Array], after: Sequence[Array], centres: Sequence[Place], frame: tuple[int, int]
) -> Shift:
    """How far `after` lies from `before`, from samples of both.

    Every band of a place gives an estimate, from the magnitude of its gradient (seasons invert contrasts, edges stay); their
    median is the place's displacement, where the bands match and agree. The places' median is the shift of the pair. A field
    that is affine in row and col replaces it where enough well-spread places are there, it changes the displacement by at
    least 0.2 px, and it foretells places that it was not fitted to clearly better than the one shift does.

    Args:
        before, after: one sample per place on one grid, each (band, row, col) reflectance with NaN where not seen.
        centres: (row, col) of each sample's centre, pixels of the frame.
        frame: (height, width) of the whole overlap, pixels.

    Returns:
        What was found; not measured, with the reason in its text, where ground is not seen, does not match, or disagrees.

    Source: Guizar-Sicairos et al. 2008, Optics Letters 33(2), the upsampled phase correlation of scikit-image.
    """
    with ThreadPoolExecutor(cores()) as pool:
        matches = list(pool.map(_place_shift, before, after))
    reasons = Counter(match for match in matches if isinstance(match, str))
    found = [(centre, match) for centre, match in zip(centres, matches, strict=True) if not isinstance(match, str)]
    # Two places that agree, where there are two, are no accident; a quarter of the scene must speak for the rest.
    if len(found) < max(min(2, len(matches)), len(matches) / 4):
        reason, count = reasons.most_common(1)[0]
        return _unmeasured(f"{reason}: {count} of {len(matches)} places")
    shifts = np.array([match for _, match in found], np.float64)
    terms = _terms(np.array([centre for centre, _ in found], np.float64), frame)
    coefficients = _best_coefficients(terms, shifts)
    spread = float(np.median(np.abs(terms @ coefficients - shifts).max(axis=1)))
    if spread > _LARGEST_SPREAD:
        return _unmeasured(f"the places that were compared disagree by {spread:.1f} px")
    return _as_shift(coefficients, frame, len(shifts), float(np.median(_lengths(shifts))), spread)


def with_residual(found: Shift, left: Shift) -> Shift:
    """A shift together with what is left once it is taken out; not measured where taking it out does not help.

    Args:
        found: measured on the samples as they are.
        left: measured on the same places read with `found` taken out.
    """
    if not left.measured or left.typical_px >= found.typical_px:
        after = f"{left.typical_px:.2f} px" if left.measured else "places that do not match"
        return _unmeasured(f"taking the {found.typical_px:.2f} px out that were found would leave {after}")
    text = f"{found.text} A place is typically {found.typical_px:.2f} px off before this is taken out, {left.typical_px:.2f} px after."
    return replace(found, residual_px=left.typical_px, text=text)


def _as_shift(coefficients: Floats, frame: tuple[int, int], places: int, typical: float, spread: float) -> Shift:
    # Adding 0 turns −0 into 0.
    rows, cols = (round(float(value), 3) + 0.0 for value in coefficients[0])
    half = np.array(frame) / 2
    by_row, by_col = coefficients[1] / half[0], coefficients[2] / half[1]
    affine = tuple((round(float(by_row[axis]), 9) + 0.0, round(float(by_col[axis]), 9) + 0.0) for axis in (0, 1))
    text = f"After lies {rows:+.2f} px (down) and {cols:+.2f} px (right) of before."
    change = _lengths(_at_corners(coefficients) - coefficients[0]).max()
    if change > 0:
        text = (
            f"{text[:-1]} at the centre, and the displacement varies from there by up to {change:.2f} px; a field is taken out."
        )
    return Shift(
        measured=True,
        rows=rows,
        cols=cols,
        text=text,
        affine=(affine[0], affine[1]),
        centre=(float(half[0]), float(half[1])),
        places=places,
        largest_px=round(float(np.abs(_at_corners(coefficients)).max()), 3),
        typical_px=round(typical, 3),
        spread_px=round(spread, 3),
    )


def _unmeasured(reason: str) -> Shift:
    return Shift(False, 0.0, 0.0, f"The shift between the dates cannot be measured ({reason}); it is left as it is.")


def _terms(centres: Floats, frame: tuple[int, int]) -> Floats:
    """(place, 3): 1, row and col, the latter two from −1 to 1 over the frame."""
    half = np.array(frame) / 2
    return np.column_stack([np.ones(len(centres)), centres / half - 1])


def _at_corners(coefficients: Floats) -> Floats:
    """(4, 2): the displacement at the frame's corners, where an affine one is largest."""
    corners = np.array([(1, row, col) for row in (-1, 1) for col in (-1, 1)], np.float64)
    return corners @ coefficients


def _best_coefficients(terms: Floats, shifts: Floats) -> Floats:
    """The affine field where it is worth it, else one shift."""
    flat = _one_shift(terms, shifts)
    if len(shifts) < _LEAST_PLACES or _reach(terms) < _LEAST_REACH:
        return flat
    field = _affine_field(terms, shifts)
    everywhere = _at_corners(field)
    if np.abs(everywhere).max() > _LARGEST_SHIFT or _lengths(everywhere - field[0]).max() < _LEAST_CHANGE:
        return flat
    share = _left_out_error(_affine_field, terms, shifts) / max(_left_out_error(_one_shift, terms, shifts), 1e-9)
    return field if share <= _LARGEST_ERROR_SHARE else flat


def _one_shift(terms: Floats, shifts: Floats) -> Floats:
    return np.vstack([np.median(shifts, axis=0), np.zeros((2, 2))])


def _affine_field(terms: Floats, shifts: Floats) -> Floats:
    """Least squares in which places that are far off count little."""
    # Slow to load, and needed where there are enough places alone.
    from scipy.optimize import least_squares

    def deviations(coefficients: Floats) -> Floats:
        return np.asarray(terms @ coefficients.reshape(3, 2) - shifts, np.float64).ravel()

    start = _one_shift(terms, shifts).ravel()
    return np.asarray(least_squares(deviations, start, loss="soft_l1", f_scale=_SCATTER).x, np.float64).reshape(3, 2)


def _left_out_error(fit: Fit, terms: Floats, shifts: Floats) -> float:
    """Median error in pixels at each place of what is fitted to all others."""
    rest = ~np.eye(len(shifts), dtype=bool)
    errors = [terms[place] @ fit(terms[rest[place]], shifts[rest[place]]) - shifts[place] for place in range(len(shifts))]
    return float(np.median(_lengths(np.array(errors))))


def _reach(terms: Floats) -> float:
    """How far the places spread in the direction in which they spread least; about 0 on a line."""
    centred = terms[:, 1:] - terms[:, 1:].mean(axis=0)
    return float(np.linalg.svd(centred, compute_uv=False)[-1] / len(terms) ** 0.5)


def _lengths(vectors: Floats) -> Floats:
    return np.asarray(np.linalg.norm(vectors, axis=1), np.float64)


def _place_shift(before: Array, after: Array) -> Floats | str:
    """(rows, cols) by which one sample is displaced against another, or why there is none.

    Edges are compared above their surroundings', tapered to the sample's borders, and 0 at and near unseen ground.
    """
    if min(before.shape[1:]) < _SMALLEST_SIDE:
        return _SMALL
    seen = np.asarray((np.isfinite(before) & np.isfinite(after)).all(axis=0), np.bool_)
    if seen.mean() < _LEAST_SEEN:
        return _UNSEEN
    # The hole itself is the same on both dates: its outline and its mean would pull the estimate to no shift.
    inside = np.asarray(binary_erosion(seen, iterations=4, border_value=1), np.float32)
    share = np.maximum(gaussian_filter(inside, 4.0), 1e-3)
    taper = np.outer(np.hanning(seen.shape[0]), np.hanning(seen.shape[1]))

    def edges_of(image: Array) -> Array:
        found = _edges(image, seen)
        around = gaussian_filter(found * inside, 4.0) / share
        return np.asarray((found - around) * inside * taper, np.float32)

    edges = [(edges_of(one), edges_of(other)) for one, other in zip(before, after, strict=True)]
    clear = [pair for pair in edges if min(map(np.std, pair)) > _LEAST_CONTRAST]
    if not clear:
        return _FLAT
    least = _LEAST_LIKENESS / min(seen.shape)
    matches = [_image_shift(one, other) for one, other in clear]
    found = np.array([shift for shift, likeness in matches if likeness >= least and np.abs(shift).max() <= _LARGEST_SHIFT])
    if len(found) <= len(clear) / 2:
        return _UNLIKE
    middle = np.median(found, axis=0)
    agree = np.median(np.abs(found - middle).max(axis=1)) <= _LARGEST_SPREAD
    return np.asarray(middle, np.float64) if agree else _UNLIKE


def _image_shift(one: Array, other: Array) -> tuple[Floats, float]:
    """(rows, cols) by which `other` is displaced against `one`, and the correlation of the two there, 0 to 1."""
    correlate: Any = phase_cross_correlation
    towards, error, _ = correlate(one, other, upsample_factor=_UPSAMPLING, normalization=None)
    # scikit-image's error is √(1 − correlation²).
    return -np.asarray(towards, np.float64), float(max(0.0, 1 - error**2) ** 0.5)


def _edges(image: Array, seen: NDArray[np.bool_]) -> Array:
    """Gradient magnitude; unseen ground is flat."""
    filled = image if seen.all() else np.where(seen, image, np.median(image[seen]))
    # Bright roofs and clouds must not outweigh all other edges.
    low, high = np.percentile(filled[seen], (1, 99))
    return np.asarray(gaussian_gradient_magnitude(np.clip(filled, low, high), 1.0), np.float32)
