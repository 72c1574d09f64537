"""Scores of a model on cities, each predicted by the engine as a user would have it predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from s2change_plugin.engine.card import ModelCard
from s2change_plugin.engine.errors import UnreadableInput
from s2change_plugin.engine.labelled import NEIGHBOURS_KM, Places, centres, city_names, extents, near, on_ground_of, origins
from s2change_plugin.engine.model import Model
from s2change_plugin.engine.outputs import to_levels, to_mask
from s2change_plugin.engine.scores import Confusion, confusion
from s2change_plugin.engine.validity import Codes

from .prepare import City, Labels, read_city

# Groups whose middles are nearer than this are one; blocks of one export lie further apart.
_SAME_GROUND_KM = 0.1


def predict_city(model: Model, city: City) -> Codes:
    """Probability of change of a whole city as it is stored: uint8 (row, col), 0–250, 255 where not seen."""
    predictor = model.for_pair([city.before], [city.after])
    step, halo = predictor.alignment, predictor.halo
    margins = [(halo, halo + -length % step) for length in city.change.shape]
    before, after = (np.pad(image, [(0, 0), *margins], constant_values=np.nan) for image in (city.before, city.after))
    height, width = city.change.shape
    probability = predictor.probability(before, after)[:height, :width]
    seen = np.isfinite(np.stack([city.before, city.after])).all((0, 1))
    return to_levels(probability, np.asarray(~seen, np.uint8))


def score(levels: Codes, change: Labels, threshold: float) -> Confusion:
    """Confusion of stored probability with the labels at a threshold; unlabelled and unseen pixels do not count."""
    return confusion(to_mask(levels, threshold), change)


def evaluated_cities(data: Path, card: ModelCard, asked: list[str]) -> list[str]:
    """The cities of a data folder to score a model on: those asked for, else those that it was not trained on.

    Raises:
        UnreadableInput: one is not there, or none is left.
    """
    there = city_names(data)
    known = trained_on(data, card)
    names = asked or [name for name in there if name not in known]
    missing = [name for name in names if name not in there]
    if missing or not names:
        said = f"has no {', '.join(missing)}" if missing else "has no city that the model was not trained on"
        raise UnreadableInput(f"{data} {said}; it has {', '.join(there)}. Name some with --cities.")
    return names


def evaluate(model: Model, data: Path, cities: Iterable[str], threshold: float | None = None) -> dict[str, dict[str, float]]:
    """Scores by city, and "pooled" over all their pixels, at the card's threshold or another."""
    at = model.card.threshold if threshold is None else threshold
    found = {name: _city_confusion(model, read_city(data / name, model.card.bands), at) for name in cities}
    found["pooled"] = sum(found.values(), Confusion())
    return {name: one.as_dict() for name, one in found.items()}


def trained_near(card: ModelCard, places: Places, within_km: float = NEIGHBOURS_KM) -> list[str]:
    """Names of the places that lie within a distance of where a model was trained; those of its cities, where its card tells no places."""
    if "centres" not in card.training:
        return [name for name in places if name in card.training.get("cities", [])]
    return near(places, card.training["centres"], within_km)


def trained_on(data: Path, card: ModelCard) -> list[str]:
    """The cities of a data folder that show ground which a model was trained on, as far as its card tells."""
    known = {*trained_near(card, centres(data), _SAME_GROUND_KM), *on_ground_of(extents(data), card.training.get("extents", {}))}
    return sorted(known)


def doubts(data: Path, card: ModelCard, names: Sequence[str]) -> list[str]:
    """Sentences on why scores on these cities may say little of how good the model is."""
    places = {name: at for name, at in centres(data).items() if name in names}
    seen = [name for name in trained_on(data, card) if name in names]
    close, found = [name for name in trained_near(card, places) if name not in seen], []
    if seen:
        found.append(
            f"It was trained on ground that {', '.join(seen)} {'shows' if len(seen) == 1 else 'show'}: scores there say nothing."
        )
    if close:
        found.append(
            f"It was trained within {NEIGHBOURS_KM:g} km of {', '.join(close)}: scores there say nothing of other places."
        )
    other = [name for name, origin in origins(data, names).items() if origin.level not in (card.level, *card.simulated_levels)]
    if other:
        found.append(f"It was made for Level-{card.level[1:]}, and {', '.join(other)} is of another level.")
    return found


def as_table(scores: dict[str, dict[str, float]]) -> str:
    """Scores as lines of a table, in percent."""
    rows = [f"{'city':14}{'F1':>7}{'prec':>7}{'recall':>8}{'IoU':>7}{'changed':>9}"]
    for name, one in scores.items():
        values = [100 * one[key] for key in ("f1", "precision", "recall", "iou", "prevalence")]
        rows.append(f"{name:14}{values[0]:7.1f}{values[1]:7.1f}{values[2]:8.1f}{values[3]:7.1f}{values[4]:8.2f} %")
    return "\n".join(rows)


def _city_confusion(model: Model, city: City, threshold: float) -> Confusion:
    return score(predict_city(model, city), city.change, threshold)
