"""How a network is fitted: every option, checked when made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from s2change_plugin.engine.bands import TEN_BANDS, USUAL_ORDERS
from s2change_plugin.engine.unet import SKIPS

from .losses import LOSSES
from .muon import Muon

ARCHITECTURES = ("siamese-unet", "fc-ef", "fc-siam-diff")
NORMALISATIONS = ("data", "image", "pair", "centre", "relative")
OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.AdamW, "muon": Muon}


@dataclass(frozen=True)
class FitOptions:
    """How a network is fitted.

    Attributes:
        epochs: walks over the cities; one draws as many patches as cover them once.
        batch: patches per step.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: highest of the one-cycle schedule.
        weight_decay: of the optimizer.
        patch: side of a patch, pixels.
        loss: one of `losses.LOSSES`.
        bands: in the order of the network's input.
        architecture: the engine's "siamese-unet", or a baseline: "fc-ef", "fc-siam-diff".
        width, depth, stem, skips: of the engine's network; the baselines have their own.
        normalisation: each band by its mean and deviation over all the "data", its own "image" or both of its "pair", by its own mean
            and the data's deviation ("centre"), or by the data's after the second date was brought to the first's ("relative").
        soft_borders: whether a pixel's target is the share of change in its 3 × 3 surroundings, so that a border may lie a pixel off.
        paste: share of the patches that get the changed ground of another patch of the batch, both dates of it.
        shift: largest misregistration that a patch gets, pixels.
        turns: quarter turns over which a prediction is averaged: 1, 2 or 4.
        dehazed: 1 where every image has its haze taken off before all else, in fitting and in use.
        clear: share of the patches of which each date is shown with a part of its own, up to all, of its haze taken off.
        light: strength of the random gain and offset of dates and bands.
        change_share: of the patches that are centred on a changed pixel.
        balance: a city is drawn in proportion to its area, or its change, to this power: 0 draws all cities alike.
        dropout: share of the channels of a block that are left out while fitting.
        ema: decay of the moving average of the weights, which is what is kept.
        seed: of weights and patches.
    """

    epochs: int = 50
    batch: int = 16
    optimizer: str = "adam"
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    patch: int = 128
    loss: str = "bce+dice"
    bands: tuple[str, ...] = TEN_BANDS
    architecture: str = "siamese-unet"
    width: int = 16
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
    balance: float = 1.0
    dropout: float = 0.0
    ema: float = 0.99
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
        if min(self.epochs, self.batch, self.width, self.depth, self.stem) < 1 or self.learning_rate <= 0:
            raise ValueError("epochs, batch, width, depth and stem start at 1; learning_rate is positive")
        if self.patch % self.alignment:
            raise ValueError(f"patch {self.patch} is not a multiple of {self.alignment}, which depth and stem need")

    @property
    def alignment(self) -> int:
        """Patches measure multiples of this many pixels."""
        return int(self.stem * 2**self.depth) if self.architecture == "siamese-unet" else 16


def options_from(settings: Sequence[str], given: dict[str, Any] | None = None) -> FitOptions:
    """Options from "name=value" texts; bands are a number of bands or names with commas.

    Args:
        settings: the texts.
        given: options by name, where no text names them.

    Raises:
        ValueError: unknown name, or a value that cannot be.
    """
    values = dict(given or {})
    kinds: dict[str, Any] = {name: type(value) for name, value in asdict(FitOptions()).items()}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise ValueError(f"There is no training option {name!r}; there are {', '.join(kinds)}")
        values[name] = _bands(value) if name == "bands" else kinds[name](value)
    return FitOptions(**values)


def _bands(text: str) -> tuple[str, ...]:
    return USUAL_ORDERS[int(text)] if text.isdigit() else tuple(text.split(","))
