"""Train one model: from a data folder to a run folder with its best weights, its log and its curves."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.errors import S2ChangeError, UnreadableInput
from s2change_plugin.engine.model import Model, ModelCard, normalise, save_model
from s2change_plugin.engine.radiometry import Array
from s2change_plugin.engine.scores import Confusion
from s2change_plugin.engine.unet import SiameseUNet, halo

from .augment import augmented
from .evaluate import best_threshold, predict_city, score
from .losses import LOSSES
from .prepare import UNLABELLED, City, Labels, city_names, read_city

BEST, LAST, LOG, CURVES, OPTIONS = "best", "last.pt", "log.csv", "curves.png", "options.json"
_LICENCE = "CC BY-NC-SA 4.0 (from the labels of OSCD)"
_DETECTS = (
    "New or changed built-up structure (buildings, roads, building sites) between two Level-1C dates. "
    "Seasons, crops, water, clouds and fire are not what it was trained to find."
)


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained.

    Attributes:
        epochs: walks over the data; one draws as many patches as cover the training cities once.
        batch: patches per step.
        learning_rate: of Adam.
        patch: side of a patch, pixels.
        loss: one of `losses.LOSSES`.
        validation_share: of the cities, held out whole where `validation` names none.
        validation: cities held out.
        bands: in the order of the network's input.
        width, depth: of the network.
        change_share: of the patches that are centred on a changed pixel.
        ema: decay of the moving average of the weights, which is what is kept.
        seed: of weights, split and patches.
    """

    epochs: int = 50
    batch: int = 16
    learning_rate: float = 0.001
    patch: int = 128
    loss: str = "bce+dice"
    validation_share: float = 0.2
    validation: tuple[str, ...] = ()
    bands: tuple[str, ...] = TEN_BANDS
    width: int = 16
    depth: int = 4
    change_share: float = 0.5
    ema: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            ValueError: the text says which option.
        """
        if self.loss not in LOSSES:
            raise ValueError(f"loss {self.loss!r} is not one of {', '.join(LOSSES)}")
        if not (1 <= self.depth <= 6 and self.width <= 256 and self.learning_rate > 0):
            raise ValueError("depth lies between 1 and 6, width is at most 256, learning_rate is positive")
        if self.patch % 2**self.depth:
            raise ValueError(f"patch {self.patch} is not a multiple of {2**self.depth}, which depth {self.depth} needs")
        if min(self.epochs, self.batch, self.patch, self.width) < 1 or not 0 < self.validation_share < 1:
            raise ValueError("epochs, batch, patch and width start at 1; validation_share lies between 0 and 1")


@dataclass(frozen=True)
class Ground:
    """The cities to train on, and where each changed (flat pixel numbers)."""

    cities: tuple[City, ...]
    changed: tuple[NDArray[np.int64], ...]


Progress = Callable[[Sequence[int], str], Iterator[int]]


def train(data: Path, run: Path, options: TrainOptions, resume: bool, progress: Progress, say: Callable[[str], None]) -> None:
    """Train a model and leave in the run's folder its best weights and card, log, curves, and what resuming needs.

    Whole cities are held out; after each epoch the averaged weights are scored on them, with the threshold that suits them
    best, and the best epoch's are kept.

    Args:
        data: as `prepare` makes it.
        run: folder; made if missing.
        options: with `resume`, the interrupted run's own are taken instead.
        resume: go on where an interrupted run stopped; the result is the same as without the interruption.
        progress: walks the steps of an epoch, given a label.
        say: tells a sentence.

    Raises:
        S2ChangeError: the data folder or the run's folder is not fit.
    """
    options = _begin(run, options, resume)
    training, held_out = split(city_names(data), options)
    say(f"Training on {', '.join(training)}; held out: {', '.join(held_out)}.")
    cities = tuple(padded(read_city(data / name, options.bands), options.patch) for name in training)
    ground = Ground(cities, tuple(np.flatnonzero(city.change == 1) for city in cities))
    validation = [read_city(data / name, options.bands) for name in held_out]
    mean, std = band_statistics(cities)
    card = ModelCard(
        name=BEST,
        bands=options.bands,
        width=options.width,
        depth=options.depth,
        mean=mean,
        std=std,
        thresholds={"f1": 0.5},
        licence=_LICENCE,
        trained_on=f"OSCD (Caye Daudt et al. 2018), {len(training)} cities: {', '.join(training)}",
        detects=_DETECTS,
        protocol=f"Scores on {', '.join(held_out)}, held out whole; epoch and threshold were chosen on them, so they are optimistic. Seed {options.seed}.",
        training={**asdict(options), "cities": training},
        halo=halo(options.depth),
    )
    torch.manual_seed(options.seed)
    network = SiameseUNet(len(options.bands), options.width, options.depth).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decay: Any = get_ema_multi_avg_fn
    average = AveragedModel(network, multi_avg_fn=decay(options.ema), use_buffers=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    averaged: Any = average.module
    parts = {"network": network, "average": average, "optimizer": optimizer}
    first, best = _restore(run, parts) if resume else (0, -1.0)

    area = sum(city.change.size for city in cities)
    steps = max(1, round(area / options.patch**2 / options.batch))
    for epoch in range(first, options.epochs):
        began = time.monotonic()
        random = np.random.default_rng([options.seed, epoch])
        network.train()
        losses = []
        for _ in progress(range(steps), f"epoch {epoch + 1}/{options.epochs}"):
            before, after, change, labelled = batch(ground, card, options, random)
            loss = LOSSES[options.loss](network(before, after), change, labelled)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update_parameters(network)
            losses.append(loss.item())
        now = validated(averaged, card, validation)
        if now.scores["pooled"]["f1"] > best:
            best = now.scores["pooled"]["f1"]
            save_model(run, now, averaged)
        pooled = now.scores["pooled"]
        row = {
            "epoch": epoch + 1,
            "loss": round(float(np.mean(losses)), 5),
            **pooled,
            "threshold": now.threshold,
            "seconds": round(time.monotonic() - began, 1),
        }
        _log(run, row)
        _save(run, parts, epoch + 1, best)
        say(
            f"  loss {row['loss']:.4f}, held out: F1 {pooled['f1']:.3f} (precision {pooled['precision']:.3f}, recall {pooled['recall']:.3f})"
        )
    say(f"Best held-out F1 {best:.3f}. Weights and card: {run / BEST}.safetensors, curves: {run / CURVES}")


def split(names: Sequence[str], options: TrainOptions) -> tuple[list[str], list[str]]:
    """Cities to train on and cities to hold out, never parts of one.

    Raises:
        UnreadableInput: a city that is named is not there, or none is left on one side.
    """
    unknown = [name for name in options.validation if name not in names]
    if unknown:
        raise UnreadableInput(f"The data folder has no {', '.join(unknown)}; it has {', '.join(names)}.")
    held_out = list(options.validation)
    if not held_out:
        count = max(1, round(options.validation_share * len(names)))
        held_out = sorted(np.random.default_rng(options.seed).permutation(list(names))[:count].tolist())
    training = [name for name in names if name not in held_out]
    if not training:
        raise UnreadableInput(f"With {', '.join(held_out)} held out, no city is left to train on. Add one, or hold out fewer.")
    return training, held_out


def padded(city: City, size: int) -> City:
    """The city with unseen margins where it is smaller than a patch."""
    margins = [(0, max(0, size - length)) for length in city.change.shape]
    before, after = (np.pad(image, [(0, 0), *margins], constant_values=np.nan) for image in (city.before, city.after))
    return City(city.name, city.bands, before, after, np.pad(city.change, margins, constant_values=UNLABELLED))


def band_statistics(cities: Sequence[City]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each band's reflectance over both dates of all cities."""
    images = [image.reshape(len(image), -1) for city in cities for image in (city.before, city.after)]
    values = np.concatenate([image[:, np.isfinite(image).all(0)] for image in images], axis=1)
    mean, std = values.mean(1, dtype=np.float64), values.std(1, dtype=np.float64)
    return tuple(np.round(mean, 6).tolist()), tuple(np.round(std, 6).tolist())


def batch(
    ground: Ground, card: ModelCard, options: TrainOptions, random: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch of augmented patches: before, after (n, c, h, w), and change, labelled (n, 1, h, w), float32."""
    patches = [_patch(ground, card, options, random) for _ in range(options.batch)]
    before, after, change = (np.stack(part) for part in zip(*patches, strict=True))
    images = [torch.from_numpy(image).contiguous(memory_format=torch.channels_last) for image in (before, after)]
    labels = [torch.from_numpy(values[:, None].astype(np.float32)) for values in (change == 1, change != UNLABELLED)]
    return images[0], images[1], labels[0], labels[1]


def validated(network: Any, card: ModelCard, cities: Sequence[City]) -> ModelCard:
    """The card with the threshold that suits the cities best and the scores there, by city and pooled."""
    network.eval()
    model = Model(card, network, "cpu", "float32")
    levels = [predict_city(model, city) for city in cities]
    threshold = best_threshold(zip(levels, [city.change for city in cities], strict=True))
    found = {city.name: score(one, city.change, threshold) for city, one in zip(cities, levels, strict=True)}
    found["pooled"] = sum(found.values(), Confusion())
    scores = {name: one.as_dict() for name, one in found.items()}
    return ModelCard(**{**card.__dict__, "thresholds": {"f1": threshold}, "scores": scores})


def _patch(ground: Ground, card: ModelCard, options: TrainOptions, random: np.random.Generator) -> tuple[Array, Array, Labels]:
    """One augmented, normalised patch; where either date is unseen both are zero, and unlabelled."""
    rows, cols, city = _place(ground, options, random)
    before, after, change = augmented(city.before[:, rows, cols], city.after[:, rows, cols], city.change[rows, cols], random)
    unseen = ~(np.isfinite(before).all(0) & np.isfinite(after).all(0))
    before, after = normalise(before, card), normalise(after, card)
    before[:, unseen] = after[:, unseen] = 0
    return before, after, np.where(unseen, UNLABELLED, change).astype(np.uint8)


def _place(ground: Ground, options: TrainOptions, random: np.random.Generator) -> tuple[slice, slice, City]:
    """Where a patch is cut: around a changed pixel, or anywhere."""
    size = options.patch
    counts = np.array([len(places) for places in ground.changed])
    if counts.sum() and random.random() < options.change_share:
        chosen = random.choice(len(counts), p=counts / counts.sum())
        city = ground.cities[chosen]
        at = divmod(int(random.choice(ground.changed[chosen])), city.change.shape[1])
        corner = [place - size // 2 + int(random.integers(-size // 4, size // 4)) for place in at]
    else:
        areas = np.array([city.change.size for city in ground.cities])
        city = ground.cities[random.choice(len(areas), p=areas / areas.sum())]
        corner = [int(random.integers(0, length - size + 1)) for length in city.change.shape]
    row, col = (int(np.clip(at, 0, length - size)) for at, length in zip(corner, city.change.shape, strict=True))
    return slice(row, row + size), slice(col, col + size), city


def _frozen(value: Any) -> Any:
    """JSON has lists where the options have tuples."""
    return tuple(value) if isinstance(value, list) else value


def _begin(run: Path, options: TrainOptions, resume: bool) -> TrainOptions:
    """Make the run's folder, or find the options of the run that is to go on."""
    saved = run / OPTIONS
    if resume:
        if not (run / LAST).is_file():
            raise UnreadableInput(f"{run} holds no run to resume. Leave --resume out.")
        values: dict[str, Any] = json.loads(saved.read_text(encoding="utf-8"))
        return TrainOptions(**{name: _frozen(value) for name, value in values.items()})
    if (run / LAST).exists():
        raise S2ChangeError(f"{run} holds a run already. Add --resume to go on with it, or choose another folder.")
    run.mkdir(parents=True, exist_ok=True)
    saved.write_text(json.dumps(asdict(options), indent=2) + "\n", encoding="utf-8")
    return options


def _save(run: Path, parts: dict[str, Any], epoch: int, best: float) -> None:
    """Write the checkpoint in one step, so that an interruption leaves the last one whole."""
    state = {**{name: part.state_dict() for name, part in parts.items()}, "epoch": epoch, "best": best}
    beside = run / f"{LAST}.part"
    torch.save(state, beside)
    beside.replace(run / LAST)


def _restore(run: Path, parts: dict[str, Any]) -> tuple[int, float]:
    state = torch.load(run / LAST, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    # An epoch whose row was written but not its checkpoint is run again.
    lines = (run / LOG).read_text(encoding="utf-8").splitlines()[: state["epoch"] + 1]
    (run / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(state["epoch"]), float(state["best"])


def _log(run: Path, row: dict[str, Any]) -> None:
    path = run / LOG
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
    draw_curves(path, run / CURVES)


def draw_curves(log: Path, target: Path) -> None:
    """Draw a run's log: loss, and F1, precision and recall on the held-out cities, by epoch."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    with log.open(encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    epochs = [row["epoch"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.plot(epochs, [row["loss"] for row in rows], color="black")
    left.set(xlabel="epoch", ylabel="loss", title="Training cities")
    for name, colour in (("f1", "#d50057"), ("precision", "#4477aa"), ("recall", "#ccaa22")):
        right.plot(epochs, [row[name] for row in rows], label=name.replace("f1", "F1"), color=colour)
    right.set(xlabel="epoch", ylim=(0, 1), title="Held-out cities, change class, pooled")
    right.legend(loc="lower right")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(target, dpi=110)
    plt.close(figure)
