"""What a network is shown: labelled ground cut into patches, each as it might as well have been.

Turns, flips, scales, a swap of the dates, other light, and change moved from place to place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor
from torch.nn.functional import interpolate

from s2change_plugin.engine.appearance import measure_appearance, measure_haze, without_haze
from s2change_plugin.engine.labelled import UNLABELLED
from s2change_plugin.engine.radiometry import Array

from .options import FitOptions
from .prepare import City, Labels

# Spread of the light at strength 1, in deviations of a band: gain of a date and of a band, offset of a date and of a band.
_LIGHT = (0.08, 0.04, 0.05, 0.05)
# Spread of what is left in a band when its atmosphere is taken out, as a share of it.
_CORRECTION = 0.05

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Ground:
    """One city laid out for cutting patches.

    Attributes:
        images: float32 (3, row, col, band): before, after, difference, as the engine shows them to a network; 0 where not seen.
        seen: (row, col).
        change: uint8 (row, col), 255 where unlabelled or not seen.
    """

    images: Array
    seen: NDArray[np.bool_]
    change: Labels

    @cached_property
    def labelled(self) -> NDArray[np.int64] | None:
        """Places of what is labelled, where that is less than half of the ground; None where patches show enough of it anywhere."""
        found = np.flatnonzero(self.change != UNLABELLED)
        return found if len(found) < self.change.size / 2 else None

    @property
    def worth(self) -> int:
        """How often patches are cut here beside others, where not around change."""
        return self.change.size if self.labelled is None else len(self.labelled)


def band_statistics(cities: Sequence[City]) -> Statistics:
    """Mean and deviation of each band's reflectance without haze, over both dates of all cities."""
    count = 0
    sums, squares = np.zeros((2, len(cities[0].bands)))
    for city in cities:
        for date in _seen_dates(city):
            clear = without_haze(date, measure_haze(date, city.bands))
            count += clear.shape[1]
            sums += clear.sum(1, dtype=np.float64)
            squares += np.einsum("bn,bn->b", clear, clear, dtype=np.float64)
    mean = sums / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    return tuple(np.round(mean, 6).tolist()), tuple(np.round(deviation, 6).tolist())


def laid_out(city: City, statistics: Statistics) -> Ground:
    """A city as the engine would show it to a network, laid out for cutting patches."""
    mean, deviation = statistics
    shown = measure_appearance([city.before], [city.after], deviation, city.bands).shown(city.before, city.after, mean, deviation)
    seen = np.asarray(np.isfinite(city.before).all(0) & np.isfinite(city.after).all(0), np.bool_)
    return Ground(shown.permute(0, 2, 3, 1).numpy(), seen, np.where(seen, city.change, UNLABELLED).astype(np.uint8))


def as_level_2a(city: City) -> City:
    """A Level-1C city as Level-2A might show it: its haze off, and a gain left in each band of each date.

    The gains stand for what a real correction of the atmosphere gets wrong or differently; the same for the same city.
    """
    random = np.random.default_rng(list(city.name.encode()))
    dates = []
    for image, seen in zip((city.before, city.after), _seen_dates(city), strict=True):
        gain = 1 + random.normal(0, _CORRECTION, (len(city.bands), 1, 1))
        dates.append((without_haze(image, measure_haze(seen, city.bands)) * gain).astype(np.float32))
    return replace(city, before=dates[0], after=dates[1])


def _seen_dates(city: City) -> list[Array]:
    """Before and after, (band, n), where both are seen."""
    seen = np.isfinite(city.before).all(0) & np.isfinite(city.after).all(0)
    return [city.before[:, seen], city.after[:, seen]]


def padded(ground: Ground, size: int) -> Ground:
    """With unseen margins where it is smaller than a patch."""
    margins = [(0, max(0, size - length)) for length in ground.change.shape]
    if not any(after for _, after in margins):
        return ground
    return Ground(
        np.pad(ground.images, [(0, 0), *margins, (0, 0)]),
        np.pad(ground.seen, margins),
        np.pad(ground.change, margins, constant_values=UNLABELLED),
    )


def batch(
    ground: Sequence[Ground], changed: Sequence[NDArray[np.int64]], options: FitOptions, random: np.random.Generator
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """A batch of augmented patches, float32: before, after, difference, each (n, c, h, w); change; labelled, (n, 1, h, w).

    Each patch in one of eight orientations and at its own scale, either date first, each date and the difference in its own light.
    """
    size = options.patch
    images = np.empty((3, options.batch, size, size, len(options.bands)), np.float32)
    labels = np.empty((options.batch, size, size), np.uint8)
    for index in range(options.batch):
        scale = math.exp(random.uniform(-options.zoom, options.zoom)) if options.zoom else 1.0
        city, rows, cols = _place(ground, changed, options, random, round(size * scale))
        turns, flip, swapped = int(random.integers(4)), int(random.choice([-1, 1])), bool(random.integers(2))
        gain, offset = _light(options, random)
        if swapped:
            gain[2], offset[2] = -gain[2], -offset[2]
        cut, cut_seen, cut_change = _sized(city.images[:, rows, cols], city.seen[rows, cols], city.change[rows, cols], size)
        patch = np.rot90(cut[[1, 0, 2] if swapped else [0, 1, 2]], turns, (1, 2))[:, ::flip]
        np.multiply(patch, gain, out=images[:, index])
        images[:, index] += offset
        seen = np.rot90(cut_seen, turns)[::flip]
        if not seen.all():
            images[:, index] *= seen[None, :, :, None]
        labels[index] = np.rot90(cut_change, turns)[::flip]
    for index in np.flatnonzero(random.random(options.batch) < options.paste).tolist():
        other = int(random.integers(options.batch))
        mask = _grown(labels[other] == 1, random)
        images[:, index, mask], labels[index][mask] = images[:, other, mask], labels[other][mask]
    before, after, difference = (torch.from_numpy(image).permute(0, 3, 1, 2) for image in images)
    change, labelled = (torch.from_numpy(one[:, None].astype(np.float32)) for one in (labels == 1, labels != UNLABELLED))
    return (before, after, difference), change, labelled


def _sized(images: Array, seen: NDArray[np.bool_], change: Labels, size: int) -> tuple[Array, NDArray[np.bool_], Labels]:
    """A square cut brought to another side: images (image, row, col, band) interpolated, what is seen and labelled by nearest neighbour."""
    side = len(change)
    if side == size:
        return images, seen, change
    there = torch.from_numpy(images).permute(0, 3, 1, 2)
    found = interpolate(there, (size, size), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    nearest = ((np.arange(size) + 0.5) * side / size).astype(int)
    return found.numpy(), seen[np.ix_(nearest, nearest)], change[np.ix_(nearest, nearest)]


def _grown(mask: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
    """A mask with a rim of up to six pixels."""
    rim = int(random.integers(0, 7))
    return np.asarray(binary_dilation(mask, iterations=rim) if rim else mask, np.bool_)


def _light(options: FitOptions, random: np.random.Generator) -> tuple[Array, Array]:
    """Gain and offset, each float32 (3, 1, 1, band)."""
    one_gain, band_gain, one_offset, band_offset = (options.light * spread for spread in _LIGHT)
    shapes = (3, 1, 1, 1), (3, 1, 1, len(options.bands))
    gain = 1 + random.normal(0, one_gain, shapes[0]) + random.normal(0, band_gain, shapes[1])
    offset = random.normal(0, one_offset, shapes[0]) + random.normal(0, band_offset, shapes[1])
    return gain.astype(np.float32), offset.astype(np.float32)


def _place(
    ground: Sequence[Ground], changed: Sequence[NDArray[np.int64]], options: FitOptions, random: np.random.Generator, size: int
) -> tuple[Ground, slice, slice]:
    """Where a patch of this size is cut: around a changed pixel, or anywhere that may be labelled; smaller where a city is."""
    on_change = random.random() < options.change_share and any(len(places) for places in changed)
    weights = np.array([len(places) for places in changed] if on_change else [one.worth for one in ground], float)
    chosen = random.choice(len(ground), p=weights / weights.sum())
    shape = ground[chosen].change.shape
    size = min(size, *shape)
    around = changed[chosen] if on_change else ground[chosen].labelled
    if around is not None:
        at = divmod(int(random.choice(around)), shape[1])
        corner = [place - size // 2 + int(random.integers(-size // 4, size // 4)) for place in at]
    else:
        corner = [int(random.integers(0, length - size + 1)) for length in shape]
    row, col = (int(np.clip(at, 0, length - size)) for at, length in zip(corner, shape, strict=True))
    return ground[chosen], slice(row, row + size), slice(col, col + size)
