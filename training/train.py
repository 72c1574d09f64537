"""Train one model: from a data folder to a run folder with its weights and card, its log and its curves."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from s2change_plugin.engine.card import ModelCard, find_card
from s2change_plugin.engine.errors import ModelError, S2ChangeError, UnreadableInput
from s2change_plugin.engine.labelled import (
    NEIGHBOURS_KM,
    Extents,
    Origin,
    Places,
    centres,
    extents,
    grids,
    grouped,
    neighbours,
    origins,
    require_one_level,
    sharing_ground,
)
from s2change_plugin.engine.model import Model, load_model, precision_on, save_model
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.unet import ChangeNet

from .calibrate import ABOVE, MEASURES, confusion_at, counted, goal_levels, pooled, threshold_of
from .crossvalidate import (
    begun_with,
    folds_of,
    imitates_level_2a,
    lesson,
    require_alike,
    require_its_network,
    require_noted,
    saved_options,
    saved_scores,
    taught_by,
)
from .evaluate import predict_city, trained_near
from .failures import sentences
from .files import read_json, write_json
from .fit import Progress, alike, averaged_weights, few_steps, fitting, new_network, save_state, steps_per_epoch
from .options import FitOptions, completed
from .prepare import City, Labels, fingerprints, read_city, require_as_before
from .sampling import band_statistics, laid_out

WEIGHTS, STATE, BEST, LOG, CURVES, OPTIONS = "model", "network-{}.pt", "best-{}.pt", "log.csv", "curves.png", "options.json"
_CURVES = (("f1", "#d50057"), ("precision", "#4477aa"), ("recall", "#ccaa22"))
_LINES = ("-", "--", ":", "-.")
# Of a fit that begins with a model. In 60 steps hardly anything was learned of a few groups (EXPERIMENTS 31).
_FEWEST_EPOCHS, _FEWEST_STEPS = 10, 300


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained.

    Attributes:
        fit: how its network is fitted.
        validation_share: of the cities, held out whole where `validation` names none.
        validation: cities held out.
        init: model to begin with, by name or path; else random weights.
        crossvalidated: folder of a cross-validation with the same options, teachers and model to begin with, whose scores, calibration and
            thresholds the card gets; then no city is held out.
        teachers: models, by name or path. A network of a view that they have learns from theirs, the others from the labels.
    """

    fit: FitOptions = field(default_factory=FitOptions)
    validation_share: float = 0.2
    validation: tuple[str, ...] = ()
    init: str | None = None
    crossvalidated: str | None = None
    teachers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            ValueError: the text says which option.
        """
        if not 0 < self.validation_share < 1:
            raise ValueError("validation_share lies between 0 and 1")
        if (self.fit.architecture, self.fit.turns) != ("two-date-unets", 1):
            raise ValueError("architecture and turns of a model that the engine runs are two-date-unets and 1")
        if self.crossvalidated and self.validation:
            raise ValueError("validation is no option of a model whose cross-validation is there")


def fine_tuning(
    init: str,
    data: Path,
    given: Mapping[str, Any],
    validation_share: float = 0.2,
    validation: tuple[str, ...] = (),
    folds: int = 0,
) -> dict[str, Any]:
    """Options of a fit that begins with a model: its own network, small steps, and few epochs, but enough of them for small data.

    Args:
        init: the model.
        data: as in `train`.
        given: options of the fit that are chosen already.
        validation_share, validation: what will be held out, as in `TrainOptions`.
        folds: of a cross-validation, if it is one: the most that one of these holds is held out.

    Raises:
        ModelError, UnreadableInput: no such model, or no data.
    """
    card, places = find_card(init), grids(data)
    own: dict[str, Any] = {
        "bands": card.bands,
        "views": card.views,
        "width": card.width,
        "depth": card.depth,
        "view_cells": card.view_cells,
    }
    fit = FitOptions(**own, **{name: value for name, value in given.items() if name in ("patch", "batch", "seed")})
    sizes = {name: place.height * place.width for name, place in places.items()}
    if folds:
        trained = sum(sizes.values()) - max(sum(sizes[name] for name in fold) for fold in folds_of(data, folds))
    else:
        chosen = TrainOptions(fit, validation_share, validation)
        around = centres(data)
        training, _ = split(list(places), chosen, sharing_ground(places), trained_near(card, around), neighbours(around))
        trained = sum(sizes[name] for name in training)
    steps = steps_per_epoch(trained, fit)
    return {**own, "epochs": max(_FEWEST_EPOCHS, math.ceil(_FEWEST_STEPS / steps)), "learning_rate": 0.0003}


def train(data: Path, run: Path, options: TrainOptions, resume: bool, progress: Progress, say: Callable[[str], None]) -> None:
    """Train a model and leave in the run's folder its weights and card, log, curves, and what resuming needs.

    Whole cities are held out, and with them what shows the same ground. Of each network the epoch that is best on them is kept; with
    a cross-validation nothing is held out, and the last is kept, as there.

    Args:
        data: as `prepare` or the engine's command `chips` makes it.
        run: folder; made if missing.
        options: with `resume`, the interrupted run's own are taken instead.
        resume: go on where an interrupted run stopped; the result is the same as without the interruption.
        progress: walks the steps of an epoch, given a label.
        say: tells a sentence.

    Raises:
        S2ChangeError: the data folder or the run's folder is not fit, the model to begin with is none, or a teacher cannot teach.
    """
    if not resume:
        _require_teachers(options)
    there, places = fingerprints(data), centres(data)
    if resume:
        options = saved_run(run, there)
    elif (run / OPTIONS).exists():
        raise S2ChangeError(f"{run} holds a run already. Add --resume to go on with it, or choose another folder.")
    start = find_card(options.init) if options.init else None
    known = trained_near(start, places) if start else []
    training, held_out = split(list(there), options, sharing_ground(grids(data)), known, neighbours(places))
    labels = origins(data, [*training, *held_out])
    require_one_level(labels)
    measured = evidence(Path(options.crossvalidated), labels, there) if options.crossvalidated else None
    say(f"Training on {', '.join(training)}; held out: {', '.join(held_out) or 'none'}.")
    on_both_sides = [name for name in there if name not in (*training, *held_out)]
    if on_both_sides:
        say(f"Left out, as sharing ground with what is trained on and with what is held out: {', '.join(on_both_sides)}.")
    cities = [read_city(data / name, options.fit.bands) for name in training]
    validation = [read_city(data / name, options.fit.bands) for name in held_out]
    _require_both(training, [city.change for city in cities], "trained on")
    if held_out:
        _require_both(held_out, [city.change for city in validation], "held out")
    card, whole = _beginning(options, cities, {name: labels[name] for name in training}, held_out, places, extents(data))
    card, teachers = _taught(card, options.teachers)
    if not resume:
        # What is refused leaves no run behind.
        _begin(run, options, there)
    doubts = _doubts(held_out, training, places, card.level, start, known)
    for honest in doubts:
        say(honest)
    card = replace(card, protocol=" ".join([card.protocol, *doubts]))
    if measured:
        measured["protocol"] = " ".join([measured["protocol"], *doubts])
    ground = [laid_out(city, (card.mean, card.std)) for city in cities]
    too_few = None if start else few_steps(sum(city.change.size for city in ground), options.fit)
    if too_few:
        say(too_few)
    before = validated(whole.eval(), card, validation) if start and held_out else None
    began_with = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    if start and before:
        say(f"{start.name}, with which it begins, has F1 {_f1(before):.3f} there, with the threshold that is best there.")
    for index, (view, network) in enumerate(zip(options.fit.views, whole.networks, strict=True)):
        say(f"Network {index + 1} of {len(options.fit.views)}, of the view {view}:")
        began = time.monotonic()
        alone = ChangeNet(card.bands, [view], card.width, card.depth, whole.cells[index : index + 1])
        if start and held_out and not (run / BEST.format(index + 1)).exists():
            # What it begins with is not given away for less.
            alone.networks[0] = network
            _keep_best(run / BEST.format(index + 1), _f1(validated(alone.eval(), card, validation)), network)
        for epoch in fitting(
            ground, options.fit, network, index, alike(network, teachers), run / STATE.format(index + 1), progress
        ):
            row = {"network": index + 1, "view": view, "epoch": epoch.number, "loss": round(epoch.loss, 5)}
            told = f"  loss {epoch.loss:.4f}"
            if held_out:
                alone.networks[0] = epoch.network
                now = validated(alone.eval(), card, validation)
                found = now.scores["pooled"]
                row |= {**found, "threshold": now.threshold}
                _keep_best(run / BEST.format(index + 1), found["f1"], epoch.network)
                told += f", held out: F1 {found['f1']:.3f} (precision {found['precision']:.3f}, recall {found['recall']:.3f})"
            _log(run, {**row, "seconds": round(time.monotonic() - began, 1)})
            began = time.monotonic()
            say(told)
        kept = _best(run / BEST.format(index + 1))["weights"] if held_out else averaged_weights(run / STATE.format(index + 1))
        network.load_state_dict(kept)
    whole.eval()
    now = replace(card, **measured) if measured else validated(whole, card, validation)
    if before and _f1(now) <= _f1(before):
        # Each network may be better by itself, and their mean not.
        whole.load_state_dict(began_with)
        now = before
        say(
            "On what is held out nothing is better than what it began with, which is kept: label more ground, or train it longer (--epochs)."
        )
    save_model(run, now, whole)
    told = "Out of fold" if measured else "Together, held out"
    say(f"{told}: F1 {_f1(now):.3f}. Weights and card: {run / WEIGHTS}.safetensors, curves: {run / CURVES}")


def _doubts(
    held_out: Sequence[str], training: Sequence[str], places: Places, level: str, start: ModelCard | None, known: Sequence[str]
) -> list[str]:
    """Sentences on why scores on the cities that are held out say little, or the model may; `level` is that of the labels, `start` the model to
    begin with, `known` as in `split`.
    """
    doubts = []
    close, seen = beside(held_out, training, neighbours(places)), sorted(set(held_out) & set(known))
    if close:
        doubts.append(
            f"Within {NEIGHBOURS_KM:g} km of what it was trained on lie {', '.join(close)}: scores there say little of other places."
        )
    if start and level not in (start.level, *start.simulated_levels):
        doubts.append(
            f"{start.name}, with which it began, is for Level-{start.level[1:]}, and these labels are of Level-{level[1:]}."
        )
    if start and seen:
        doubts.append(
            f"{start.name}, with which it began, was trained within {NEIGHBOURS_KM:g} km of {', '.join(seen)}: scores there say nothing of other "
            "places."
        )
    return doubts


def split(
    names: Sequence[str],
    options: TrainOptions,
    sharing: Mapping[str, Container[str]] = MappingProxyType({}),
    known: Sequence[str] = (),
    groups: Sequence[Sequence[str]] = (),
) -> tuple[list[str], list[str]]:
    """Cities to train on and cities to hold out, never parts of one, nor two that share ground; what shares it with both is neither.

    Where none is named, neighbours are held out together, as long as half of the cities are left.

    Args:
        names: of all cities.
        options: say which, or how many, are held out.
        sharing: with which others each shares ground, as `sharing_ground` gives them.
        known: cities where the model to begin with was trained; they are held out where they are named, or there are no others.
        groups: of neighbours, as `neighbours` gives them.

    Raises:
        UnreadableInput: a city that is named is not there, or none is left on one side.
    """
    unknown = [name for name in options.validation if name not in names]
    if unknown:
        raise UnreadableInput(f"The data folder has no {', '.join(unknown)}; it has {', '.join(names)}.")
    if options.crossvalidated:
        return list(names), []
    held_out = list(options.validation)
    if not held_out:
        new = [name for name in names if name not in known] or list(names)
        held_out = sorted(_drawn(new, options, groups))
    shared = [name for name in names if name not in held_out and _shares(name, held_out, sharing)]
    training = [name for name in names if name not in (*held_out, *shared)]
    held_out += [name for name in shared if not _shares(name, training, sharing)]
    if not training:
        raise UnreadableInput(
            f"With {', '.join(held_out)} held out, no city is left to train on. Add one on other ground, or hold out fewer."
        )
    return training, held_out


def _drawn(names: Sequence[str], options: TrainOptions, groups: Sequence[Sequence[str]]) -> list[str]:
    """As many of the names as are to be held out, or a few more where neighbours come along."""
    count = max(1, round(options.validation_share * len(names)))
    order: list[str] = np.random.default_rng(options.fit.seed).permutation(names).tolist()
    found: list[str] = []
    for name in order:
        together = [one for one in names if any({one, name} <= set(group) for group in groups)] or [name]
        half_is_left = 2 * len([*found, *together]) <= len(names)
        if len(found) < count and name not in found and (together == [name] or half_is_left):
            found += together
    # All lie at one place, or at two of which one holds nearly all: what `_doubts` says.
    return found or order[:count]


def _shares(name: str, others: Sequence[str], sharing: Mapping[str, Container[str]]) -> bool:
    return any(other in sharing.get(name, ()) for other in others)


def evidence(folder: Path, cities: Mapping[str, Origin], there: Mapping[str, str]) -> dict[str, Any]:
    """What a cross-validation found, as entries of the card of a model that is trained on all of its cities.

    Args:
        folder: of the cross-validation.
        cities: that the model is trained on, and where their labels come from.
        there: their `fingerprints`.

    Raises:
        UnreadableInput: none is there, it is not finished, or it was of other cities, or of these as they were.
    """
    options, found = saved_options(folder), saved_scores(folder)
    folds, card = found["folds"], found["card"]
    reliability = card["reliability"]
    if "failures" not in found or not reliability.keys() >= set(MEASURES):
        raise UnreadableInput(
            f"{folder} was scored by an earlier version. Give its crossvalidate command once more: what was fitted stays, and is scored anew."
        )
    # None where all of these pixels are of one kind.
    reliable = (
        f"Where the probability is above {ABOVE:g} its calibration error is {reliability['error']:.3f}, slope {reliability['slope']:.2f}, "
        f"Brier skill {reliability['skill']:.2f} against the share of change among these pixels, {reliability['skill_over_all']:.2f} against that "
        "among all. "
        if reliability["error"] is not None
        else ""
    )
    require_as_before(options["cities"], there, folder)
    taught = taught_by(options)
    learned = f"{taught}, fitted to the same cities; " if taught else ""
    if begun_with(options):
        learned += f"{begun_with(options)}; "
    seeds, deviation = len(found["l1c"]["seeds"]), found["l1c"]["deviation"]["f1"]
    shared = " with the same teachers" if taught else ""
    fitted = f"mean of {seeds} seeds from {options['seed']}{shared}" if seeds > 1 else f"one seed, {options['seed']}"
    # One seed has no spread.
    spread = f" ± {deviation:.3f}" if deviation is not None else ""
    aside = {f"goal {goal}": one for goal, one in card["goals"].items() if goal != "f1" and card["thresholds"][goal] is not None}
    level = require_one_level(cities)
    imitated = imitates_level_2a(level, options["bands"])
    hazeless = (
        f", and {found['l2a']['mean']['f1']:.3f} on the same cities with their atmosphere taken out by dark-object subtraction"
        if imitated
        else ""
    )
    return {
        "thresholds": {goal: threshold for goal, threshold in card["thresholds"].items() if threshold is not None},
        "calibration": tuple(card["calibration"]),
        "scores": {**card["cities"], **aside, "pooled": card["pooled"]},
        "simulated_levels": ("L2A",) if imitated else (),
        "known_failures": (*sentences(found["failures"], card["cities"]), _elsewhere(found, imitated, level)),
        "protocol": (
            f"Out of fold: each city predicted by networks that never saw it, nor a place within {NEIGHBOURS_KM:g} km; {learned}{len(folds)} folds, "
            f"{fitted}, threshold and calibration of each fold fitted on the others. F1 "
            f"{card['pooled']['f1']:.3f}{spread}{hazeless}. {reliable}The settings were chosen on these cities too. This model was then trained on all of them."
        ),
    }


def _elsewhere(found: Mapping[str, Any], imitated: bool, level: str) -> str:
    """A sentence on what a cross-validation says of images of another processing level than its own."""
    if not imitated:
        return f"Only Level-{level[1:]} was looked at: of another level nothing is measured."
    own, other = found["l1c"]["cities"], found["l2a"]["cities"]
    lost = {name: own[name]["mean"]["f1"] - one["mean"]["f1"] for name, one in other.items()}
    name = max(lost, key=lambda name: lost[name])
    most = (
        f"the most is lost in {name} ({other[name]['mean']['f1']:.2f} instead of {own[name]['mean']['f1']:.2f})"
        if lost[name] > 0
        else "no city loses"
    )
    return (
        f"On imitations of Level-2A F1 is {found['l2a']['mean']['f1']:.3f} instead of {found['l1c']['mean']['f1']:.3f}; {most}. "
        "No real Level-2A has labels here."
    )


def beside(names: Sequence[str], others: Sequence[str], groups: Sequence[Sequence[str]]) -> list[str]:
    """Those of the names that are in one group with one of the others."""
    near = {name for group in groups if set(group) & set(others) for name in group}
    return sorted(near & set(names))


def _require_both(names: Sequence[str], labels: Sequence[Labels], what: str) -> None:
    for value, kind in ((1, "change"), (0, "no change")):
        if not any((change == value).any() for change in labels):
            raise UnreadableInput(
                f"Of what is {what}, {', '.join(names)}, no pixel is labelled as {kind}, so nothing can be learnt from it. "
                f"Name other cities with --validation, or label {kind} there."
            )


def validated(network: Any, card: ModelCard, cities: Sequence[City]) -> ModelCard:
    """The card with the thresholds that suit the cities best, for each goal that is in reach there, and the scores, by city and pooled."""
    model = Model(card, network, "cpu", precision_on("cpu"))
    counts = {city.name: counted(predict_city(model, city), city.change) for city in cities}
    counts["pooled"] = pooled(counts.values())
    levels = {goal: level for goal, level in goal_levels(counts["pooled"]).items() if level is not None}
    thresholds = {goal: threshold_of(level) for goal, level in levels.items()}
    scores = {name: confusion_at(one, levels["f1"]).as_dict() for name, one in counts.items()}
    return replace(card, thresholds=thresholds, scores=scores)


def _f1(card: ModelCard) -> float:
    return float(card.scores["pooled"]["f1"])


def _beginning(
    options: TrainOptions,
    cities: Sequence[City],
    labels: Mapping[str, Origin],
    held_out: list[str],
    places: Places,
    reach: Extents,
) -> tuple[ModelCard, ChangeNet]:
    """The card, still without scores, and the network to begin with."""
    network: Any = new_network(options.fit)
    mean, std = band_statistics(cities)
    trained_on = "; ".join(f"{source}: {', '.join(names)}" for source, names in grouped(labels, "source").items())
    licences, known, centred, covered = list(grouped(labels, "licence")), list[str](), Places(), Extents()
    if options.init:
        start = load_model(options.init, device="cpu")
        require_its_network(start.card, options.fit)
        network.load_state_dict(start.network.state_dict())
        mean, std = start.card.mean, start.card.std
        trained_on = f"{trained_on}. Begun with {start.card.name}, trained on {start.card.trained_on}"
        # What is made of weights keeps their licence, and knows what they know.
        licences = [start.card.licence, *licences]
        known = start.card.training.get("cities", [])
        # A group of the same name may lie elsewhere.
        centred, covered = (
            {f"{name} of {start.card.name}": at for name, at in start.card.training.get(entry, {}).items()}
            for entry in ("centres", "extents")
        )
    card = ModelCard(
        name=WEIGHTS,
        bands=options.fit.bands,
        views=options.fit.views,
        width=options.fit.width,
        depth=options.fit.depth,
        view_cells=options.fit.view_cells,
        mean=mean,
        std=std,
        thresholds={"f1": 0.5},
        licence="; ".join(dict.fromkeys(licences)),
        trained_on=trained_on,
        detects=" ".join(grouped(labels, "detects")),
        level=next(iter(labels.values())).level,
        protocol=f"Scores on {', '.join(held_out)}, held out whole; epoch and thresholds were chosen on them, so they are optimistic. Seed {options.fit.seed}.",
        training={
            **asdict(options.fit),
            "precision": precision_on("cpu"),
            "cities": sorted({*labels, *known}),
            "centres": {**centred, **{name: places[name] for name in labels}},
            "extents": {**covered, **{name: reach[name] for name in labels}},
        },
        halo=halo(options.fit.depth, options.fit.view_cells),
    )
    return card, network


def _require_teachers(options: TrainOptions) -> None:
    """Refuse teachers that cannot teach, or that a model's cross-validation did not have, as a model to begin with that it did not have.

    Raises:
        ModelError: no such model.
        UnreadableInput: it looks at nothing that is to be learned, or the cross-validation had others, or began with another.
    """
    cards = [find_card(name) for name in options.teachers]
    if len({card.sha256 for card in cards}) < len(cards):
        raise UnreadableInput("Two teachers are the same network, which would count twice. Name each once with --teacher.")
    for name, card in zip(options.teachers, cards, strict=True):
        require_alike(name, ("two-date-unets", card.views, card.bands, 2**card.depth), options.fit)
    if options.crossvalidated:
        folder = Path(options.crossvalidated)
        saved = saved_options(folder)
        began = saved["init"]
        if (began and began["sha256"]) != (options.init and find_card(options.init).sha256):
            raise UnreadableInput(
                f"The networks in {folder} began with {began['name'] if began else 'random weights'}. "
                + (f"Give it with --init {began['name']}." if began else "Leave --init out.")
            )
        wanted = saved["teachers"]
        require_noted(wanted, folder)
        expected = [wanted["views"]] * len(wanted["seeds"]) if wanted else []
        if [list(card.views) for card in cards] != expected:
            asked = f"{len(wanted['seeds'])} of {', '.join(wanted['views'])}" if wanted else "none"
            raise UnreadableInput(
                f"The networks in {folder} had other teachers than this model would: {asked}. Name with --teacher as many, each trained as "
                "those were."
            )
        for name, card in zip(options.teachers, cards, strict=True):
            there = completed(card.training)
            other = [
                f"{option} {there[option]!r} instead of {value!r}"
                for option, value in completed(wanted["options"]).items()
                if option != "seed" and there[option] != value
            ]
            if other:
                raise UnreadableInput(
                    f"{name} is another teacher than the networks in {folder} had: {'; '.join(other)}. Name with --teacher as many, each "
                    "trained as those were."
                )


def _taught(card: ModelCard, names: Sequence[str]) -> tuple[ModelCard, list[ChangeNet]]:
    """The card that tells of teachers, with their licences, and the networks of these.

    Raises:
        ModelError: one of them was trained on other cities, or sees them otherwise.
    """
    if not names:
        return card, []
    models = [load_model(name, device="cpu") for name in names]
    for name, model in zip(names, models, strict=True):
        there, here = ((one.mean, one.std, one.training.get("cities")) for one in (model.card, card))
        if there != here:
            raise ModelError(
                f"{name} was trained on other cities, or sees them by other statistics, and so cannot teach this model. Train it on the same, "
                "with the same held out."
            )
    licences = dict.fromkeys("; ".join([*(model.card.licence for model in models), card.licence]).split("; "))
    told = lesson(len(models), [view for model in models for view in model.card.views], card.views)
    return replace(
        card,
        licence="; ".join(licences),
        trained_on=f"{card.trained_on}; {told}, trained on the same",
        training={**card.training, "teachers": len(models)},
    ), [model.network for model in models]


def _best(path: Path) -> dict[str, Any]:
    """F1 on the held-out cities and weights of a network's best epoch so far."""
    if not path.exists():
        return {"f1": -1.0, "weights": {}}
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def _keep_best(path: Path, f1: float, network: Any) -> None:
    """Keep a network's weights where they are better than the best so far."""
    if f1 > _best(path)["f1"]:
        save_state(path, {"f1": f1, "weights": network.state_dict()})


def saved_run(run: Path, cities: Mapping[str, str]) -> TrainOptions:
    """The options of the run that is to go on, on the same data.

    Raises:
        UnreadableInput: there is none, or its data have changed.
    """
    missing = f"{run} holds no run to resume. Leave --resume out."
    saved = read_json(run / OPTIONS, missing, "Put it back as it was, or begin another run.")
    values = {name: _frozen(value) for name, value in saved.items()}
    require_as_before(values.pop("cities", None), cities, run)
    for name, known in values.pop("models", {}).items():
        if find_card(name).sha256 != known:
            raise UnreadableInput(f"{name} is another model than the one with which {run} was begun. Begin another run.")
    fit = {name: _frozen(value) for name, value in completed(values.pop("fit")).items()}
    return TrainOptions(fit=FitOptions(**fit), **values)


def _begin(run: Path, options: TrainOptions, cities: Mapping[str, str]) -> None:
    """Make the run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    models = {name: find_card(name).sha256 for name in (options.init, *options.teachers) if name}
    write_json(run / OPTIONS, {**asdict(options), "cities": cities, "models": models})


def _frozen(value: Any) -> Any:
    """JSON has lists where the options have tuples."""
    return tuple(value) if isinstance(value, list) else value


def _log(run: Path, row: dict[str, Any]) -> None:
    """Add an epoch to the run's log and curves; one that was begun before an interruption is written anew."""
    path = run / LOG
    rows: list[dict[str, Any]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                one for one in csv.DictReader(file) if (int(one["network"]), int(one["epoch"])) < (row["network"], row["epoch"])
            ]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerows([*rows, row])
    draw_curves(path, run / CURVES)


def draw_curves(log: Path, target: Path) -> None:
    """Draw a run's log: loss, and F1, precision and recall on the held-out cities, by epoch."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    with log.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    networks = sorted({int(row["network"]) for row in rows})
    for number in networks:
        own = [row for row in rows if int(row["network"]) == number]
        epochs = [int(row["epoch"]) for row in own]
        style = _LINES[(number - 1) % len(_LINES)]
        named = f"{number}: {own[0]['view']}"
        left.plot(epochs, [float(row["loss"]) for row in own], style, marker=".", color="black", label=named)
        for name, colour in _CURVES if "f1" in own[0] else ():
            label = name.replace("f1", "F1") if number == 1 else None
            right.plot(epochs, [float(row[name]) for row in own], style, marker=".", label=label, color=colour)
        if len(networks) > 1 and "f1" in own[0]:
            # For the legend alone: what the kinds of line mean here too.
            right.plot([], [], style, color="black", label=f"network {named}")
    left.set(xlabel="epoch", ylabel="loss", title="Training cities")
    left.legend(title="network", loc="upper right")
    right.set(xlabel="epoch", ylim=(0, 1), title="Held-out cities, change class, pooled, each network by itself")
    if "f1" in rows[0]:
        right.legend(loc="lower right")
    else:
        right.text(0.5, 0.5, "no city is held out", ha="center", transform=right.transAxes)
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.savefig(target, dpi=110)
    plt.close(figure)
