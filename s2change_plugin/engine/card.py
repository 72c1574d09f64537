"""The card of a model: what it is for and how good it was; read and checked without PyTorch, which is slow to load."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..paths import shipped_models, user_models
from .bands import BANDS, TEN_METRE_BANDS
from .errors import ModelError
from .reach import depth_on_cells, halo
from .scores import GOALS, Beta

# In place of a model's name: see `choice.chosen_model`.
AUTO = "auto"
# The most accurate first.
SHIPPED = ("oscd-urban-8", "oscd-urban-9")
# What a network can be shown of a pair; see `unet.VIEWS`.
VIEWS = ("dates", "ten-metre", "difference")
# A bare hash on a card is taken for a secret by the plugin site's scanner.
HASH = "sha256:"
# Sides of the cells that a network may work on, pixels.
CELLS = (1, 2, 4)
_ARCHITECTURE = "two-date-unets"
# Processing levels, each with those that can be imitated from its images: taking the atmosphere out, not putting it in.
_SIMULATED = {"L1C": ("L2A",), "L2A": ()}
# Entries that JSON has as lists.
_LISTS = {"bands", "views", "view_cells", "mean", "std", "simulated_levels", "calibration", "known_failures"}


@dataclass(frozen=True)
class ModelCard:
    """What a model is, what it accepts, and how good it was.

    Attributes:
        name: by which it is asked for; the file's name.
        bands: in the order of the network's input.
        views: of the networks that are heard together, of `unet.VIEWS`.
        width, depth: of a network on pixels; see `unet.ChangeNet`.
        view_cells: side of the cells that the network of each view works on, pixels; none is 1 for all.
        mean, std: of each band's reflectance without haze; the networks see (reflectance − mean) / std, see `appearance`.
        thresholds: calibrated probability from which a pixel is change, a multiple of 0.004, for "f1" and any other of `scores.GOALS`.
        licence: of the weights.
        trained_on: data, in words.
        detects: in words, what it was trained to find and what not.
        protocol: in words, how the scores were obtained and who chose the thresholds.
        scores: per city, and pooled, f1, precision, recall, iou, prevalence and more.
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
    view_cells: tuple[int, ...] = ()

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
        if "ten-metre" in self.views and not set(self.bands) & set(TEN_METRE_BANDS):
            raise ValueError("it has a view of the bands of 10 m, and none of its bands is one")
        if not (1 <= self.depth <= 6 and 1 <= self.width <= 256):
            raise ValueError(f"its depth {self.depth} and width {self.width} are not a network that can be built")
        require_cells(self.view_cells, self.views, self.depth)
        needed = halo(self.depth, self.view_cells)
        if self.halo != needed:
            raise ValueError(f"its halo {self.halo} is not what its network needs, {needed}")

    @property
    def threshold(self) -> float:
        """The one for the best F1."""
        return self.thresholds["f1"]

    def require_goal(self, goal: str) -> None:
        """Refuse a goal for which there is no threshold.

        Raises:
            ModelError: the text says which there are.
        """
        if goal not in self.thresholds:
            there = ", ".join(self.thresholds)
            raise ModelError(
                f"The model {self.name} has no threshold for the goal {goal}; it has {there}. "
                f"Choose {'that' if len(self.thresholds) == 1 else 'one of these'} with --goal, or give a --threshold in its place."
            )


def require_cells(cells: Sequence[int], views: Sequence[str], depth: int) -> None:
    """Refuse cells that the networks of these views cannot work on; none is 1 for all.

    Raises:
        ValueError: not one of `CELLS` for each view, or no level is left to halve.
    """
    can_be = [cell for cell in CELLS if depth_on_cells(depth, cell) >= 1]
    if cells and (len(cells) != len(views) or not set(cells) <= set(can_be)):
        raise ValueError(
            f"view_cells {', '.join(map(str, cells))} are not one for each view, of {', '.join(map(str, can_be))} at depth {depth}"
        )


def list_models() -> list[tuple[Path, ModelCard]]:
    """Weights and card of every model known by name: the user's own, then those that ship. A broken card is left out."""
    names = dict.fromkeys(
        path.stem for folder in (user_models(), shipped_models()) for path in sorted(folder.glob("*.safetensors"))
    )
    found = []
    for path in filter(None, map(named_weights, names)):
        try:
            found.append((path, read_card(path)))
        except ModelError:
            continue
    return found


def find_card(name_or_path: str) -> ModelCard:
    """The card of a model, named as for `model.load_model`; the weights stay unread.

    Raises:
        ModelError: no such model, or no card.
    """
    return read_card(weights_of(name_or_path))


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
        if values.get("cell", 1) != 1:
            raise ValueError("it is of an earlier version, all of whose networks worked on cells; train it again and export it")
        for name in _LISTS & set(values):
            # A lone text would become a list of its letters.
            if not isinstance(values[name], list):
                raise ValueError(f"its {name} is {values[name]!r} and must be a list")
            values[name] = tuple(values[name])
        values["sha256"] = values.get("sha256", "").removeprefix(HASH)
        return ModelCard(**{name: value for name, value in values.items() if name in known})
    except FileNotFoundError as error:
        raise ModelError(f"{path} has no card: {card.name} must lie beside it and say what the model accepts.") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error) if type(error) is ValueError else f"it cannot be read, {type(error).__name__}: {error}"
        raise ModelError(f"The card {card} cannot be used: {reason}.") from error


def named_weights(name: str) -> Path | None:
    """The weights' file of a model known by name; None where there is none.

    The user's own comes first, but not under the name of one that ships, of which more is said than of any other.
    """
    folders = (shipped_models(), user_models()) if name in SHIPPED else (user_models(), shipped_models())
    paths = (folder / f"{name}.safetensors" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def weights_of(name_or_path: str) -> Path:
    """The file of a model's weights, named as for `model.load_model`; a folder that holds one, as a run's, stands for it.

    Raises:
        ModelError: no such model.
    """
    path = Path(name_or_path)
    if name_or_path and path.is_dir() and not named_weights(name_or_path):
        inside = list(path.glob("*.safetensors"))
        if len(inside) != 1:
            raise ModelError(
                f"{path} holds {len(inside) or 'no'} .safetensors files. Give one file, or the folder of a run that has finished."
            )
        return inside[0]
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ModelError(f"The model {path} does not exist. Choose another file, or give the name of a model.")
        return path
    if known := named_weights(name_or_path):
        return known
    names = ", ".join(path.stem for path, _ in list_models())
    there = f"The known ones are {names}" if names else f"None is known here: put one into {user_models()}"
    raise ModelError(f"There is no model {name_or_path!r}. {there}, or give the path of a .safetensors file.")
