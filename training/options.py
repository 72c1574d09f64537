"""How a network is fitted: every option, checked when made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import torch

from s2change_plugin.engine.bands import TEN_BANDS, TEN_METRE_BANDS, USUAL_ORDERS
from s2change_plugin.engine.card import VIEWS, require_cells
from s2change_plugin.engine.errors import S2ChangeError
from s2change_plugin.engine.reach import margin

from .losses import LOSSES
from .muon import Muon

ARCHITECTURES = ("two-date-unets", "fc-ef", "fc-siam-diff")
# How often the baselines halve resolution, and how far they look and a little more: 106 pixels, as their gradients say.
_BASELINE_DEPTH, _BASELINE_MARGIN = 4, 112
OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.AdamW, "muon": Muon}


@dataclass(frozen=True)
class FitOptions:
    """How a network is fitted.

    Attributes:
        epochs: walks over the cities; one draws as many patches as cover them once.
        view_epochs: the same for the network of each view, where they are not to be alike; none is `epochs` for all.
        view_cells: side of the cells of pixels that the network of each view works on; none is 1 for all.
        batch: patches per step.
        optimizer: one of `OPTIMIZERS`.
        learning_rate: highest of the one-cycle schedule.
        weight_decay: of the optimizer.
        patch: side of a patch, pixels.
        loss: one of `losses.LOSSES`, of networks that learn from labels; those with teachers learn by cross-entropy.
        bands: in the order of the network's input.
        architecture: the engine's "two-date-unets", or a baseline: "fc-ef", "fc-siam-diff".
        views: of the engine's networks, of `unet.VIEWS`, each fitted apart; a baseline has one.
        width, depth: of each of the engine's networks on pixels, see `unet.ChangeNet`; the baselines have their own.
        paste: share of the patches that get the changed ground of another patch of the batch, both dates of it.
        turns: quarter turns over which a prediction is averaged: 1, 2 or 4.
        light: strength of the random gain and offset of dates, bands and difference.
        zoom: patches are cut at scales from exp(−zoom) to exp(zoom) and brought to their size; 0 leaves them as they are.
        change_share: of the patches that are centred on a changed pixel.
        ema: decay of the moving average of the weights, which is what is kept.
        seed: of weights and patches.
    """

    epochs: int = 50
    view_epochs: tuple[int, ...] = ()
    view_cells: tuple[int, ...] = ()
    batch: int = 16
    optimizer: str = "adam"
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    patch: int = 128
    loss: str = "bce+dice"
    bands: tuple[str, ...] = TEN_BANDS
    architecture: str = "two-date-unets"
    views: tuple[str, ...] = ("dates", "difference")
    width: int = 16
    depth: int = 4
    light: float = 1.0
    paste: float = 0.0
    turns: int = 1
    zoom: float = 0.0
    change_share: float = 0.5
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
            ("turns", self.turns, (1, 2, 4)),
            ("optimizer", self.optimizer, OPTIMIZERS),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(map(str, known))}")
        if not self.views or not set(self.views) <= set(VIEWS):
            raise ValueError(f"views {', '.join(self.views)} are not some of {', '.join(VIEWS)}")
        if "ten-metre" in self.views and not set(self.bands) & set(TEN_METRE_BANDS):
            raise ValueError("the view ten-metre needs one of the bands of 10 m at least")
        if not 0 <= self.zoom <= 1:
            raise ValueError(f"zoom {self.zoom} is not between 0 and 1")
        if min(self.epochs, self.batch, self.width, self.depth) < 1 or self.learning_rate <= 0:
            raise ValueError("epochs, batch, width and depth start at 1; learning_rate is positive")
        if self.view_epochs and (len(self.view_epochs) != len(self.views) or min(self.view_epochs) < 1):
            raise ValueError(f"view_epochs {', '.join(map(str, self.view_epochs))} are not one number from 1 for each view")
        require_cells(self.view_cells, self.views, self.depth)
        if self.view_cells and self.architecture != "two-date-unets":
            raise ValueError(f"view_cells are of the engine's networks, and {self.architecture} has none")
        if self.patch % self.alignment:
            raise ValueError(f"patch {self.patch} is not a multiple of {self.alignment}, which the depth needs")

    def epochs_of(self, index: int) -> int:
        """Walks over the cities of the network of that view."""
        return self.view_epochs[index] if self.view_epochs else self.epochs

    @property
    def alignment(self) -> int:
        """Patches measure multiples of this many pixels."""
        return int(2**self.depth) if self.architecture == "two-date-unets" else 2**_BASELINE_DEPTH

    @property
    def margin(self) -> int:
        """How far a network looks beyond a window at least, pixels; a multiple of `alignment`."""
        return margin(self.depth, self.view_cells) if self.architecture == "two-date-unets" else _BASELINE_MARGIN


def options_from(settings: Sequence[str], start: Mapping[str, Any] = MappingProxyType({})) -> FitOptions:
    """Options from "name=value" texts; bands are a number of bands or names with commas. What they leave open is as in `start`.

    Raises:
        ValueError: unknown name, or a value that cannot be.
    """
    return FitOptions(**{**start, **parsed(settings)})


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """What "name=value" texts say, by name; see `options_from`.

    Raises:
        ValueError: unknown name, or a value of another kind.
    """
    kinds: dict[str, Any] = {name: type(value) for name, value in asdict(FitOptions()).items()}
    values = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise ValueError(f"There is no training option {name!r}; there are {', '.join(kinds)}")
        values[name] = _PARSED.get(name, kinds[name])(value)
    return values


def completed(saved: dict[str, Any]) -> dict[str, Any]:
    """Options as they were saved, and the defaults of those that there were not yet.

    Raises:
        S2ChangeError: one of them is no more.
    """
    saved = dict(saved)
    if saved.pop("cell", 1) != 1:
        raise S2ChangeError(
            "That run is of an earlier version, with cells for all networks alike. Make it anew, with view_cells."
        )
    return {**json.loads(json.dumps(asdict(FitOptions()))), **saved}


def _bands(text: str) -> tuple[str, ...]:
    if not text.isdigit():
        return tuple(text.split(","))
    if int(text) not in USUAL_ORDERS:
        raise ValueError(f"{text} bands have no usual order, as {', '.join(map(str, USUAL_ORDERS))} have; name them: B02,B03,…")
    return USUAL_ORDERS[int(text)]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


_PARSED: dict[str, Any] = {
    "bands": _bands,
    "views": lambda text: tuple(text.split(",")),
    "view_epochs": _numbers,
    "view_cells": _numbers,
}
