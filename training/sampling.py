"""What a network is shown: labelled ground cut into patches, each as it might as well have been.

Turns, flips, a swap of the dates, other light, another haze, a misregistration, and change moved from place to place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor

from s2change_plugin.engine.labelled import UNLABELLED
from s2change_plugin.engine.radiometry import Array

from .options import FitOptions
from .prepare import City, Labels

# Dark objects: this share of the pixels, and what they reflect (Chavez 1988: 1 %).
_DARK_SHARE, _DARK_REFLECTANCE = 0.001, 0.01
# Spread of the light at strength 1, in deviations of a band: gain of a date and of a band, offset of a date and of a band.
_LIGHT = (0.08, 0.04, 0.05, 0.05)


@dataclass(frozen=True)
class Ground:
    """One city laid out for cutting patches.

    Attributes:
        images: float32 (date, row, col, band) reflectance, 0 where either date is not seen.
        seen: (row, col).
        change: uint8 (row, col), 255 where unlabelled or not seen.
        mean, deviation: of each date's bands, (date, band).
        haze: what the atmosphere is taken to add to each date's bands, (date, band).
    """

    images: Array
    seen: NDArray[np.bool_]
    change: Labels
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    haze: NDArray[np.float64]


def laid_out(city: City) -> Ground:
    """A city laid out for cutting patches."""
    images = np.stack([city.before, city.after]).transpose(0, 2, 3, 1)
    seen = np.asarray(np.isfinite(images).all((0, 3)), np.bool_)
    images = np.where(seen[None, :, :, None], images, np.float32(0))
    change = np.where(seen, city.change, UNLABELLED).astype(np.uint8)
    mean, deviation = _moments(images, seen)
    return Ground(images, seen, change, mean, deviation, haze(images, seen))


def haze(images: Array, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Path radiance of each date's bands as reflectance: its darkest pixels, less the little that even these reflect.

    Source: Chavez 1988, "An improved dark-object subtraction technique for atmospheric scattering correction".
    """
    return np.stack([np.maximum(np.quantile(image[seen][::7], _DARK_SHARE, axis=0) - _DARK_REFLECTANCE, 0) for image in images])


def without_haze(city: Ground) -> Ground:
    """A city as Level-2A might show it: path radiance off, never below 0, and the light given back that was lost on its way.

    The loss is estimated as (1 − path radiance)², for two ways through the same air; aerosol and terrain are not modelled.
    """
    path = city.haze[:, None, None].astype(np.float32)
    images = np.maximum(city.images - path, 0) / (1 - path) ** 2 * city.seen[None, :, :, None]
    mean, deviation = _moments(images, city.seen)
    return replace(city, images=images, mean=mean, deviation=deviation, haze=haze(images, city.seen))


def _moments(images: Array, seen: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each date's bands, (date, band), of images that are 0 where not seen."""
    mean = images.sum((1, 2), dtype=np.float64) / seen.sum()
    square = np.stack([np.einsum("ijk,ijk->k", image, image, dtype=np.float64) for image in images]) / seen.sum()
    return mean, np.sqrt(np.maximum(square - mean**2, 1e-12))


def as_normalised(ground: Sequence[Ground], reference: Sequence[Ground], normalisation: str) -> list[Ground]:
    """Cities whose mean and deviation are what their bands are to be normalised by.

    Args:
        ground: with each image's own.
        reference: the cities whose common mean and deviation count in the normalisation "data".
        normalisation: one of `options.NORMALISATIONS`.
    """
    if normalisation == "image":
        return list(ground)
    if normalisation == "pair":
        return [_common([one], [one])[0] for one in ground]
    common = _common(ground, reference)
    if normalisation == "relative":
        return [_relative(one, own) for one, own in zip(common, ground, strict=True)]
    if normalisation == "centre":
        return [replace(one, mean=own.mean) for one, own in zip(common, ground, strict=True)]
    return common


def _relative(common: Ground, own: Ground) -> Ground:
    """As `common`, with the second date first brought to the first's mean and deviation, band by band."""
    ratio = own.deviation[1] / own.deviation[0]
    mean = np.stack([common.mean[0], own.mean[1] - (own.mean[0] - common.mean[0]) * ratio])
    return replace(common, mean=mean, deviation=np.stack([common.deviation[0], common.deviation[1] * ratio]))


def _common(ground: Sequence[Ground], reference: Sequence[Ground]) -> list[Ground]:
    """Cities with the mean and deviation of each band over both dates of the reference cities."""
    weights = np.array([one.seen.sum() for one in reference for _ in range(2)], float)
    means = np.concatenate([one.mean for one in reference])
    squares = np.concatenate([one.deviation**2 + one.mean**2 for one in reference])
    mean = np.average(means, axis=0, weights=weights)
    deviation = np.sqrt(np.average(squares, axis=0, weights=weights) - mean**2)
    return [replace(one, mean=np.stack([mean] * 2), deviation=np.stack([deviation] * 2)) for one in ground]


def padded(ground: Ground, size: int) -> Ground:
    """With unseen margins where it is smaller than a patch."""
    margins = [(0, max(0, size - length)) for length in ground.change.shape]
    if not any(after for _, after in margins):
        return ground
    return replace(
        ground,
        images=np.pad(ground.images, [(0, 0), *margins, (0, 0)]),
        seen=np.pad(ground.seen, margins),
        change=np.pad(ground.change, margins, constant_values=UNLABELLED),
    )


def batch(
    ground: Sequence[Ground], changed: Sequence[NDArray[np.int64]], options: FitOptions, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch of augmented patches: before, after (n, c, h, w), and change, labelled (n, 1, h, w), float32.

    Each patch in one of eight orientations, either date first, each date in its own light.
    """
    size = options.patch
    images = np.empty((2, options.batch, size, size, len(options.bands)), np.float32)
    labels = np.empty((options.batch, size, size), np.uint8)
    for index in range(options.batch):
        city, rows, cols = _place(ground, changed, options, random)
        turns, flip, first = int(random.integers(4)), int(random.choice([-1, 1])), int(random.choice([-1, 1]))
        gain, offset = _light(options, random)
        path = city.haze[::first, None, None] * random.uniform(size=(2, 1, 1, 1)) * (random.random() < options.clear)
        # Haze off, normalised and lit, as one gain and one offset.
        gain = gain / city.deviation[::first, None, None]
        offset = offset - gain * city.mean[::first, None, None]
        gain = gain / (1 - path) ** 2
        offset = offset - gain * path
        patch = np.rot90(city.images[::first, rows, cols], turns, (1, 2))[:, ::flip]
        np.multiply(patch, gain.astype(np.float32), out=images[:, index])
        images[:, index] += offset.astype(np.float32)
        if options.shift:
            _shift(images[random.integers(2), index], options.shift, random)
        seen = np.rot90(city.seen[rows, cols], turns)[::flip]
        if not seen.all():
            images[:, index] *= seen[None, :, :, None]
        labels[index] = np.rot90(city.change[rows, cols], turns)[::flip]
    for index in np.flatnonzero(random.random(options.batch) < options.paste).tolist():
        other = int(random.integers(options.batch))
        mask = _grown(labels[other] == 1, random)
        images[:, index, mask], labels[index][mask] = images[:, other, mask], labels[other][mask]
    dates = [torch.from_numpy(date).permute(0, 3, 1, 2) for date in images]
    change, labelled = (torch.from_numpy(one[:, None].astype(np.float32)) for one in (labels == 1, labels != UNLABELLED))
    return dates[0], dates[1], change, labelled


def _grown(mask: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
    """A mask with a rim of up to six pixels."""
    rim = int(random.integers(0, 7))
    return np.asarray(binary_dilation(mask, iterations=rim) if rim else mask, np.bool_)


def _shift(image: Array, most: float, random: np.random.Generator) -> None:
    """Move an image (row, col, band) by part of a pixel, by blending each pixel with its neighbour; its last row and column stay."""
    for axis in (0, 1):
        part = np.float32(random.uniform(0, most))
        moved = np.moveaxis(image, axis, 0)
        moved[:-1] += part * (moved[1:] - moved[:-1])


def _light(options: FitOptions, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and offset, each (date, 1, 1, band)."""
    date_gain, band_gain, date_offset, band_offset = (options.light * spread for spread in _LIGHT)
    shapes = (2, 1, 1, 1), (2, 1, 1, len(options.bands))
    gain = 1 + random.normal(0, date_gain, shapes[0]) + random.normal(0, band_gain, shapes[1])
    offset = random.normal(0, date_offset, shapes[0]) + random.normal(0, band_offset, shapes[1])
    return gain, offset


def _place(
    ground: Sequence[Ground], changed: Sequence[NDArray[np.int64]], options: FitOptions, random: np.random.Generator
) -> tuple[Ground, slice, slice]:
    """Where a patch is cut: around a changed pixel, or anywhere."""
    size = options.patch
    on_change = random.random() < options.change_share and any(len(places) for places in changed)
    weights = np.array([len(places) for places in changed] if on_change else [one.change.size for one in ground], float)
    weights = np.where(weights > 0, weights**options.balance, 0)
    chosen = random.choice(len(ground), p=weights / weights.sum())
    shape = ground[chosen].change.shape
    if on_change:
        at = divmod(int(random.choice(changed[chosen])), shape[1])
        corner = [place - size // 2 + int(random.integers(-size // 4, size // 4)) for place in at]
    else:
        corner = [int(random.integers(0, length - size + 1)) for length in shape]
    row, col = (int(np.clip(at, 0, length - size)) for at, length in zip(corner, shape, strict=True))
    return ground[chosen], slice(row, row + size), slice(col, col + size)
