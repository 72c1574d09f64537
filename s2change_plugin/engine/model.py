"""A model: weights and the card that says what they are for, which is enforced when they are loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..paths import shipped_models, user_models
from .appearance import Appearance, measure_appearance
from .bands import BANDS
from .errors import ModelError
from .folded import FoldedNet
from .radiometry import Array
from .scores import GOALS, Beta, calibrated
from .threads import window_threads
from .turns import Turns
from .unet import VIEWS, ChangeNet, halo

DEFAULT_MODEL = "oscd-urban-2"
_ARCHITECTURE = "two-date-unets"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# A bare hash on a card is taken for a secret by the plugin site's scanner.
_HASH = "sha256:"
# Processing levels, each with those that can be imitated from its images: taking the atmosphere out, not putting it in.
_SIMULATED = {"L1C": ("L2A",), "L2A": ()}
# Entries that JSON has as lists.
_LISTS = {"bands", "views", "mean", "std", "simulated_levels", "calibration", "known_failures"}


@dataclass(frozen=True)
class ModelCard:
    """What a model is, what it accepts, and how good it was.

    Attributes:
        name: by which it is asked for; the file's name.
        bands: in the order of the network's input.
        views: of the networks that are heard together, of `unet.VIEWS`.
        width, depth: of each network.
        mean, std: of each band's reflectance without haze; the networks see (reflectance − mean) / std, see `appearance`.
        thresholds: calibrated probability from which a pixel is change, a multiple of 0.004, for "f1" and any other of `scores.GOALS`.
        licence: of the weights.
        trained_on: data, in words.
        detects: in words, what it was trained to find and what not.
        protocol: in words, how the scores were obtained and who chose the thresholds.
        scores: per city, and pooled, f1, precision, recall, iou, prevalence, pixels.
        training: the options of the run that made it.
        sha256: of the weights' file.
        level: product level of the training images.
        simulated_levels: other levels that it was tested on only as imitated by dark-object subtraction; taken with a warning.
        calibration: of the probability; see `scores.calibrated`.
        known_failures: sentences on where it was measured to fail.
        unit: of the input.
        gsd_m: ground sampling distance of the input, metres.
        halo: context that each window is read with, pixels.
        architecture: of the network.
    """

    name: str
    bands: tuple[str, ...]
    views: tuple[str, ...]
    width: int
    depth: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    thresholds: dict[str, float]
    licence: str
    trained_on: str
    detects: str = ""
    protocol: str = ""
    scores: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    level: str = "L1C"
    simulated_levels: tuple[str, ...] = ()
    calibration: Beta = (0.0, 1.0, 1.0)
    known_failures: tuple[str, ...] = ()
    unit: str = "reflectance"
    gsd_m: float = 10.0
    halo: int = 0
    architecture: str = _ARCHITECTURE

    def __post_init__(self) -> None:
        """Check what can be checked without the weights.

        Raises:
            ValueError: the text says which entry is wrong.
        """
        unknown = [name for name in self.bands if name not in BANDS]
        if unknown or not self.bands or len(set(self.bands)) < len(self.bands):
            raise ValueError(f"its bands {', '.join(self.bands)} are not a list of different Sentinel-2 bands")
        if self.architecture != _ARCHITECTURE:
            raise ValueError(f"its architecture {self.architecture!r} is not known to this version")
        if not (len(self.mean) == len(self.std) == len(self.bands)) or min(self.std) <= 0:
            raise ValueError(f"it needs a mean and a positive deviation for each of its {len(self.bands)} bands")
        if "f1" not in self.thresholds or not set(self.thresholds) <= set(GOALS):
            raise ValueError(
                f"its thresholds are for {', '.join(self.thresholds) or 'nothing'}, and must be for f1 and may be for {', '.join(GOALS)}"
            )
        for goal, threshold in self.thresholds.items():
            if not 0 <= threshold <= 1 or abs(threshold * 250 - round(threshold * 250)) > 1e-6:
                raise ValueError(f"its threshold {threshold} for {goal} is not a multiple of 0.004 between 0 and 1")
        if len(self.calibration) != 3 or not all(map(math.isfinite, self.calibration)) or min(self.calibration[1:]) <= 0:
            raise ValueError(f"its calibration {self.calibration} is not an offset and two positive weights")
        if self.level not in _SIMULATED:
            raise ValueError(f"its level {self.level!r} is not one of {', '.join(_SIMULATED)}")
        if not set(self.simulated_levels) <= set(_SIMULATED[self.level]):
            can_be = ", ".join(_SIMULATED[self.level]) or "none"
            raise ValueError(
                f"its simulated levels are {', '.join(self.simulated_levels)}; of {self.level} images can be simulated: {can_be}"
            )
        if self.unit != "reflectance":
            raise ValueError(f"its unit {self.unit!r} is not known to this version")
        if not self.views or not set(self.views) <= set(VIEWS):
            raise ValueError(f"its views {', '.join(self.views)} are not some of {', '.join(VIEWS)}")
        if not (1 <= self.depth <= 6 and 1 <= self.width <= 256):
            raise ValueError(f"its depth {self.depth} and width {self.width} are not a network that can be built")
        if self.halo != halo(self.depth):
            raise ValueError(f"its halo {self.halo} is not what its network needs, {halo(self.depth)}")

    @property
    def threshold(self) -> float:
        """The one for the best F1."""
        return self.thresholds["f1"]


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
        return self.for_appearance(measure_appearance(before, after, self.card.std), say)

    def for_appearance(self, appearance: Appearance, say: Callable[[str], None] = lambda text: None) -> PairModel:
        """The model for a pair that looks like that as a whole; `say` as in `for_pair`."""
        folded = FoldedNet(self.network).eval().to(self.device, _DTYPES[self.precision])
        folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return PairModel(self, appearance, folded, Turns(window_threads(), say))


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
    def bytes_per_pixel(self) -> int:
        """Of memory at most, for each pixel of a patch while it is predicted, beside its reflectance."""
        return (3 * len(self.model.card.bands) + self.folded.channels_held) * _DTYPES[self.model.precision].itemsize

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
        """
        model = self.model
        shown = self.appearance.shown(before, after, model.card.mean, model.card.std, _DTYPES[model.precision])

        def logits() -> Array:
            with torch.inference_mode():
                return np.asarray(self.folded(shown.to(model.device)).float().cpu().numpy(), np.float32)

        return calibrated(self.turns.take(logits), model.card.calibration)


def list_models() -> list[tuple[Path, ModelCard]]:
    """Weights and card of every model known by name: the user's own, then those that ship. A broken card is left out."""
    found: dict[str, tuple[Path, ModelCard]] = {}
    for folder in (user_models(), shipped_models()):
        for path in sorted(folder.glob("*.safetensors")):
            try:
                found.setdefault(path.stem, (path, read_card(path)))
            except ModelError:
                continue
    return list(found.values())


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
    path = _find(name_or_path)
    card = read_card(path)
    if goal not in card.thresholds:
        there = ", ".join(card.thresholds)
        raise ModelError(
            f"The model {path.stem} has no threshold for the goal {goal}; it has {there}. "
            f"Choose {'that' if len(card.thresholds) == 1 else 'one of these'} with --goal, or give a --threshold in its place."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"{path} is damaged, or not the file that its card describes (sha256 {found[:12]}… instead of {card.sha256[:12]}…). Copy both again."
        )
    network = ChangeNet(len(card.bands), card.views, card.width, card.depth)
    try:
        network.load_state_dict(load_tensors(data))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold the weights of the network that its card describes. Export it again.") from error
    chosen = _device(device)
    network.to(chosen, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Model(card, network, chosen, precision_on(chosen, precision), goal)


def save_model(folder: Path, card: ModelCard, network: ChangeNet) -> Path:
    """Write weights and card to a folder, under the card's name, and give the weights' path."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    data = save_tensors(tensors)
    path = folder / f"{card.name}.safetensors"
    path.write_bytes(data)
    complete = {**asdict(card), "sha256": f"{_HASH}{hashlib.sha256(data).hexdigest()}", "halo": halo(card.depth)}
    path.with_suffix(".json").write_text(json.dumps(complete, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def find_card(name_or_path: str) -> ModelCard:
    """The card of a model, named as for `load_model`; the weights stay unread.

    Raises:
        ModelError: no such model, or no card.
    """
    return read_card(_find(name_or_path))


def read_card(path: Path) -> ModelCard:
    """The card beside a weights' file.

    Raises:
        ModelError: not there, or not a card.
    """
    card = path.with_suffix(".json")
    try:
        values = json.loads(card.read_text(encoding="utf-8"))
        known = {entry.name for entry in fields(ModelCard)}
        missing = [
            one.name for one in fields(ModelCard) if one.default is one.default_factory is MISSING and one.name not in values
        ]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        for name in _LISTS & set(values):
            # A lone text would become a list of its letters.
            if not isinstance(values[name], list):
                raise ValueError(f"its {name} is {values[name]!r} and must be a list")
            values[name] = tuple(values[name])
        values["sha256"] = values.get("sha256", "").removeprefix(_HASH)
        return ModelCard(**{name: value for name, value in values.items() if name in known})
    except FileNotFoundError as error:
        raise ModelError(f"{path} has no card: {card.name} must lie beside it and say what the model accepts.") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error) if type(error) is ValueError else f"it cannot be read, {type(error).__name__}: {error}"
        raise ModelError(f"The card {card} cannot be used: {reason}.") from error


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ModelError(f"The model {path} does not exist. Choose another file, or a name that the command models lists.")
        return path
    for folder in (user_models(), shipped_models()):
        named = folder / f"{name_or_path}.safetensors"
        if named.is_file():
            return named
    names = ", ".join(card.name for _, card in list_models())
    known = f"The known ones are {names}" if names else f"None is known here: put one into {user_models()}"
    raise ModelError(f"There is no model {name_or_path!r}. {known}, or give the path of a .safetensors file.")


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
