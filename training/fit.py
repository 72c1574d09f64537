"""Fit one network to labelled cities by a fixed schedule: nothing is chosen while it runs, so nothing has to be held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from s2change_plugin.engine.bands import TEN_BANDS, USUAL_ORDERS
from s2change_plugin.engine.outputs import to_levels
from s2change_plugin.engine.radiometry import Array
from s2change_plugin.engine.unet import SKIPS, SiameseUNet
from s2change_plugin.engine.validity import Codes

from .baselines import FullyConvolutional
from .losses import LOSSES
from .muon import Muon
from .prepare import UNLABELLED, City, Labels

ARCHITECTURES = ("siamese-unet", "fc-ef", "fc-siam-diff")
NORMALISATIONS = ("data", "image", "pair", "centre")
OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.AdamW, "muon": Muon}
# Dark objects: this share of the pixels, and what they reflect (Chavez 1988: 1 %).
_DARK_SHARE, _DARK_REFLECTANCE = 0.001, 0.01
# Spread of the light at strength 1, in deviations of a band: gain of a date and of a band, offset of a date and of a band.
_LIGHT = (0.08, 0.04, 0.05, 0.05)


@dataclass(frozen=True)
class FitOptions:
    """How a network is fitted.

    Attributes:
        steps: of the optimizer.
        batch: patches per step.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: highest of the one-cycle schedule.
        weight_decay: of the optimizer.
        patch: side of a patch, pixels.
        loss: one of `losses.LOSSES`.
        bands: in the order of the network's input.
        architecture: the engine's "siamese-unet", or a baseline: "fc-ef", "fc-siam-diff".
        width, depth, stem, skips: of the engine's network; the baselines have their own.
        normalisation: each band by its mean and deviation over all the "data", or over its own "image".
        soft_borders: whether a pixel's target is the share of change in its 3 × 3 surroundings, so that a border may lie a pixel off.
        paste: share of the patches that get the changed ground of another patch of the batch, both dates of it.
        shift: largest misregistration that a patch gets, pixels.
        turns: quarter turns over which a prediction is averaged: 1, 2 or 4.
        dehazed: 1 where every image has its haze taken off before all else, in fitting and in use.
        clear: share of the patches of which each date is shown with a part of its own, up to all, of its haze taken off.
        light: strength of the random gain and offset of dates and bands.
        change_share: of the patches that are centred on a changed pixel.
        ema: decay of the moving average of the weights, which is what is kept.
        seed: of weights and patches.
    """

    steps: int = 600
    batch: int = 8
    optimizer: str = "adam"
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    patch: int = 64
    loss: str = "bce+dice"
    bands: tuple[str, ...] = TEN_BANDS
    architecture: str = "siamese-unet"
    width: int = 8
    depth: int = 4
    stem: int = 1
    skips: str = "difference"
    normalisation: str = "data"
    light: float = 1.0
    soft_borders: float = 0.0
    paste: float = 0.0
    shift: float = 0.0
    turns: int = 1
    dehazed: int = 0
    clear: float = 0.0
    change_share: float = 0.5
    ema: float = 0.98
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted.

        Raises:
            ValueError: the text says which option.
        """
        for name, value, known in (
            ("loss", self.loss, LOSSES),
            ("architecture", self.architecture, ARCHITECTURES),
            ("skips", self.skips, SKIPS),
            ("normalisation", self.normalisation, NORMALISATIONS),
            ("turns", self.turns, (1, 2, 4)),
            ("optimizer", self.optimizer, OPTIMIZERS),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(map(str, known))}")
        if min(self.steps, self.batch, self.width, self.depth, self.stem) < 1 or self.learning_rate <= 0:
            raise ValueError("steps, batch, width, depth and stem start at 1; learning_rate is positive")
        if self.patch % self.alignment:
            raise ValueError(f"patch {self.patch} is not a multiple of {self.alignment}, which depth and stem need")

    @property
    def alignment(self) -> int:
        """Patches measure multiples of this many pixels."""
        return int(self.stem * 2**self.depth) if self.architecture == "siamese-unet" else 16


def options_from(settings: Sequence[str]) -> FitOptions:
    """Options from "name=value" texts; bands are a number of bands or names with commas.

    Raises:
        ValueError: unknown name, or a value that cannot be.
    """
    given: dict[str, Any] = {}
    kinds: dict[str, Any] = {name: type(value) for name, value in asdict(FitOptions()).items()}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise ValueError(f"There is no training option {name!r}; there are {', '.join(kinds)}")
        given[name] = _bands(value) if name == "bands" else kinds[name](value)
    return FitOptions(**given)


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
        normalisation: "data" or "image".
    """
    if normalisation == "image":
        return list(ground)
    if normalisation == "pair":
        return [_common([one], [one])[0] for one in ground]
    common = _common(ground, reference)
    if normalisation == "centre":
        return [replace(one, mean=own.mean) for one, own in zip(common, ground, strict=True)]
    return common


def _common(ground: Sequence[Ground], reference: Sequence[Ground]) -> list[Ground]:
    """Cities with the mean and deviation of each band over both dates of the reference cities."""
    weights = np.array([one.seen.sum() for one in reference for _ in range(2)], float)
    means = np.concatenate([one.mean for one in reference])
    squares = np.concatenate([one.deviation**2 + one.mean**2 for one in reference])
    mean = np.average(means, axis=0, weights=weights)
    deviation = np.sqrt(np.average(squares, axis=0, weights=weights) - mean**2)
    return [replace(one, mean=np.stack([mean] * 2), deviation=np.stack([deviation] * 2)) for one in ground]


def fit(cities: Sequence[Ground], options: FitOptions) -> nn.Module:
    """Fit a network; the moving average of its weights at the end of the schedule is the result.

    Args:
        cities: as `as_normalised` gives them.
        options: how.
    """
    ground = [padded(city, options.patch) for city in cities]
    changed = [np.flatnonzero(one.change == 1) for one in ground]
    random = np.random.default_rng(options.seed)
    torch.manual_seed(options.seed)
    network = new_network(options).train()
    decay: Any = get_ema_multi_avg_fn
    average = AveragedModel(network, multi_avg_fn=decay(options.ema), use_buffers=True)
    optimizer = OPTIMIZERS[options.optimizer](network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = OneCycleLR(optimizer, options.learning_rate, options.steps, pct_start=0.15)
    for _ in range(options.steps):
        before, after, change, labelled = batch(ground, changed, options, random)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(before, after)
        if options.soft_borders:
            change = torch.lerp(change, avg_pool2d(change, 3, 1, 1), options.soft_borders)
        loss = LOSSES[options.loss](logits.float(), change, labelled)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
    averaged: Any = average.module
    averaged.eval()
    return averaged  # type: ignore[no-any-return]


def new_network(options: FitOptions) -> nn.Module:
    """The network with random weights."""
    network: nn.Module
    if options.architecture == "siamese-unet":
        network = SiameseUNet(len(options.bands), options.width, options.depth, options.stem, options.skips)
    else:
        network = FullyConvolutional(len(options.bands), siamese=options.architecture == "fc-siam-diff")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def flops_per_pixel(options: FitOptions) -> float:
    """Of a prediction: two per multiply-add, both dates, no halo."""
    side = 4 * options.alignment
    image = torch.zeros(1, len(options.bands), side, side)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        new_network(options).eval()(image, image)
    return float(counter.get_total_flops() / side**2 * options.turns)


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


def predict(network: nn.Module, city: Ground, options: FitOptions) -> Codes:
    """Probability of change of a whole city as it is stored: uint8 (row, col), 0–250, 255 where not seen.

    Args:
        network: as `fit` gives it.
        city: as `as_normalised` gives it.
        options: it was fitted with.
    """
    step = options.alignment
    height, width = city.change.shape
    mean, deviation = (values[:, None, None].astype(np.float32) for values in (city.mean, city.deviation))
    images = (city.images - mean) / deviation * city.seen[None, :, :, None]
    images = np.pad(images, [(0, 0), *((step, step + -length % step) for length in (height, width)), (0, 0)])
    before, after = (torch.from_numpy(date)[None].permute(0, 3, 1, 2) for date in images)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        probability = turned_average(network, before, after, options.turns)[0, 0, step : step + height, step : step + width]
    return to_levels(probability.numpy(), np.asarray(~city.seen, np.uint8))


def turned_average(network: nn.Module, before: Tensor, after: Tensor, turns: int) -> Tensor:
    """Probability averaged over what the network says of 1, 2 (as it is and upside down) or all 4 quarter turns."""
    each = []
    for turn in range(0, 4, 4 // turns):
        turned = (image.rot90(turn, (2, 3)).contiguous(memory_format=torch.channels_last) for image in (before, after))
        each.append(torch.sigmoid(network(*turned).float()).rot90(-turn, (2, 3)))
    return torch.stack(each).mean(0)


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


def _bands(text: str) -> tuple[str, ...]:
    return USUAL_ORDERS[int(text)] if text.isdigit() else tuple(text.split(","))


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
    on_change = random.random() < options.change_share
    weights = np.array([len(places) for places in changed] if on_change else [one.change.size for one in ground], float)
    chosen = random.choice(len(ground), p=weights / weights.sum())
    shape = ground[chosen].change.shape
    if on_change:
        at = divmod(int(random.choice(changed[chosen])), shape[1])
        corner = [place - size // 2 + int(random.integers(-size // 4, size // 4)) for place in at]
    else:
        corner = [int(random.integers(0, length - size + 1)) for length in shape]
    row, col = (int(np.clip(at, 0, length - size)) for at, length in zip(corner, shape, strict=True))
    return ground[chosen], slice(row, row + size), slice(col, col + size)
