"""A model: weights with their card, which is enforced when they are loaded, and made ready for a pair."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from .appearance import Appearance, measure_appearance
from .card import HASH, ModelCard, read_card, weights_of
from .errors import ModelError
from .folded import FoldedNet
from .radiometry import Array
from .reach import halo
from .scores import calibrated
from .threads import window_threads
from .turns import Turns, is_out_of_memory
from .unet import ChangeNet

# Sides of windows, the largest first: of a tile they leave no narrow ones, 13, 15 or 20 along a side. With a margin of 48 pixels the network sees
# 1.23, 1.28 or 1.38 times the pixels that it must.
_WINDOWS = (864, 736, 552)
# What a patch and all that is made of it may take of a processor's memory, bytes: with more a tile would come near 2.5 GB, and less of it stays in the
# cache. On two cores without bfloat16 a tile pair took, when this was chosen, 112, 125 and 119 s with 736, 552 and 864 pixels, and 2.1, 1.9 and 2.3 GB.
_PATCH_BYTES = 290_000_000
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Model:
    """Weights on a device, with their card.

    Attributes:
        card: what it accepts.
        network: in evaluation mode.
        device: "cpu", "cuda" or "mps".
        precision: "float32" or "bfloat16".
        goal: which of the card's thresholds counts.
    """

    card: ModelCard
    network: ChangeNet
    device: str
    precision: str
    goal: str = "f1"

    def for_pair(
        self, before: Sequence[Array], after: Sequence[Array], say: Callable[[str], None] = lambda text: None
    ) -> PairModel:
        """The model with what a pair looks like as a whole.

        Args:
            before, after: parts of the pair, (band, row, col) reflectance in the card's order, NaN where not observed.
            say: gets a sentence where the memory is too short for as many windows at a time as there are threads.

        Raises:
            NothingObserved: too few pixels are observed on both dates.
        """
        return self.for_appearance(measure_appearance(before, after, self.card.std, self.card.bands), say)

    def for_appearance(self, appearance: Appearance, say: Callable[[str], None] = lambda text: None) -> PairModel:
        """The model for a pair that looks like that as a whole; `say` as in `for_pair`."""
        return PairModel(self, appearance, self.folded, Turns(window_threads(), say))

    @cached_property
    def folded(self) -> FoldedNet:
        """The network, as it is used."""
        folded = FoldedNet(self.network).eval().to(self.device, _DTYPES[self.precision])
        return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class PairModel:
    """A model ready for the windows of one pair; a `detect.Predictor`.

    Attributes:
        model: the weights.
        appearance: of the pair.
        folded: the network, as it is used.
        turns: of windows on the device.
    """

    model: Model
    appearance: Appearance
    folded: FoldedNet
    turns: Turns

    @property
    def halo(self) -> int:
        """Context around a window of which the network is shown, pixels."""
        return self.folded.margin

    @property
    def alignment(self) -> int:
        """Windows start at, and patches measure, multiples of this many pixels."""
        return int(2**self.model.card.depth)

    @property
    def window_size(self) -> int:
        """Side of the windows in which it is quick, pixels; it does not change the result."""
        if self.model.device != "cpu":
            return _WINDOWS[0]
        fitting = (side for side in _WINDOWS if (side + 2 * self.halo) ** 2 * self.bytes_per_pixel <= _PATCH_BYTES)
        return next(fitting, _WINDOWS[-1])

    @property
    def bytes_per_pixel(self) -> int:
        """Of memory at most, for each pixel of a patch while it is predicted, beside its reflectance."""
        return self.folded.channels_held * _DTYPES[self.model.precision].itemsize

    @property
    def threshold(self) -> float:
        """The card's, for the goal."""
        return self.model.card.thresholds[self.model.goal]

    @property
    def goal(self) -> str:
        """The model's."""
        return self.model.goal

    @property
    def text(self) -> str:
        """In words, what decides."""
        return f"Model {self.model.card.name} on {self.model.device}, {self.model.precision}."

    @property
    def made_by(self) -> dict[str, Any]:
        """What the record says of it."""
        card = self.model.card
        return {
            "method": "unet",
            "model": card.name,
            "sha256": card.sha256,
            "licence": card.licence,
            "device": self.model.device,
            "precision": self.model.precision,
            "calibration": list(card.calibration),
            "known_failures": list(card.known_failures),
            "appearance": self.appearance.record,
        }

    def probability(self, before: Array, after: Array) -> Array:
        """Calibrated probability of change of a patch but its halo: float32 (row, col), 0–1.

        Args:
            before, after: reflectance (band, row, col) in the card's order, NaN where unusable; rows and cols are multiples
                of `alignment`. Where one date is unusable in any band, both are taken to be alike.

        Raises:
            MemoryError: it is short for a small part of the window by itself.
        """
        try:
            return self._at_once(before, after)
        except (MemoryError, RuntimeError) as error:
            # Too much for one window by itself: its halves, each with its halo.
            cut = self._halved(before.shape[1:]) if is_out_of_memory(error) else None
            if cut is None:
                raise
        axis, at = cut
        reach = at + 2 * self.halo
        first = [np.split(date, [reach], axis)[0] for date in (before, after)]
        second = [np.split(date, [at], axis)[1] for date in (before, after)]
        return np.concatenate([self.probability(*first), self.probability(*second)], axis - 1)

    def _halved(self, patch: Sequence[int]) -> tuple[int, int] | None:
        """Along which axis of an image to cut a patch's window, and after how many pixels; None where it is too small to be cut."""
        sides = [side - 2 * self.halo for side in patch]
        longer = int(np.argmax(sides))
        half = sides[longer] // 2 // self.alignment * self.alignment
        return (1 + longer, half) if half >= self.halo else None

    def _at_once(self, before: Array, after: Array) -> Array:
        model, card = self.model, self.model.card
        blocks = self.appearance.blocks(before, after, card.mean, card.std, self.folded.cell)
        laid_out = self.folded.laid_out(blocks, before.shape[1], _DTYPES[model.precision])

        def logits() -> Array:
            with torch.inference_mode():
                found = self.folded([one.to(model.device) for one in laid_out])
                return np.asarray(found.float().cpu().numpy(), np.float32)

        return calibrated(self.turns.take(logits), model.card.calibration)


def load_model(name_or_path: str, device: str = "auto", precision: str = "auto", goal: str = "f1") -> Model:
    """A model ready for use.

    Args:
        name_or_path: as `list_models` names it, or the path of a .safetensors file with its card (.json) beside it.
        device: "auto", "cpu", "cuda", "mps".
        precision: "auto", "float32", "bfloat16"; auto takes bfloat16 on processors that compute in it.
        goal: one of `scores.GOALS`, for which the card has a threshold.

    Raises:
        ModelError: no such model, damaged, not the file its card describes, without a threshold for the goal, or the device is not there.
    """
    path = weights_of(name_or_path)
    card = read_card(path)
    card.require_goal(goal)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"{path} is damaged, or not the file that its card describes (sha256 {found[:12]}… instead of {card.sha256[:12]}…). Copy both again."
        )
    network = ChangeNet(card.bands, card.views, card.width, card.depth, card.view_cells)
    try:
        network.load_state_dict(load_tensors(data))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold the weights of the network that its card describes. Export it again.") from error
    chosen = _device(device)
    network.to(chosen, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Model(card, network, chosen, precision_on(chosen, precision), goal)


def save_model(folder: Path, card: ModelCard, network: ChangeNet) -> Path:
    """Write weights and card to a folder, under the card's name, and give the weights' path; an interruption leaves what was there.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    data = save_tensors(tensors)
    path = folder / f"{card.name}.safetensors"
    complete = {**asdict(card), "sha256": f"{HASH}{hashlib.sha256(data).hexdigest()}", "halo": halo(card.depth, card.view_cells)}
    text = json.dumps(complete, indent=2, ensure_ascii=False) + "\n"
    parts = {path: data, path.with_suffix(".json"): text.encode()}
    try:
        for target, content in parts.items():
            _part_of(target).write_bytes(content)
        for target in parts:
            _part_of(target).replace(target)
    finally:
        for target in parts:
            _part_of(target).unlink(missing_ok=True)
    return path


def _part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _device(asked: str) -> str:
    """The device to use.

    Raises:
        ModelError: the one asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[asked]:
        raise ModelError(
            f"The device {asked} is not available to PyTorch {torch.__version__} here. Leave --device out, or say cpu."
        )
    return asked


def precision_on(device: str, asked: str = "auto") -> str:
    """The precision to compute in: what is asked for, or bfloat16 where a processor has instructions for it."""
    if asked != "auto":
        return asked
    able = torch.cpu.get_capabilities() if device == "cpu" else {}
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
