"""What two scenes' own words tell of them as a pair: levels, bands, baselines, satellites, dates, seasons."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from .acquisition import Acquisition
from .bands import TEN_METRE_BANDS
from .card import SHIPPED, ModelCard, find_card
from .errors import ModelError
from .findings import OK, STOP, WARNING, Finding
from .grid import pixel_size_m
from .scene import Scene

# Plants, snow and the sun's height differ more than a map of other change can take, from about six weeks on.
_SEASON_DAYS = 45
# Shadows then fall visibly elsewhere: of a house of 20 m, a pixel further.
_SUN_DEGREES = 10.0
# Metres; a band of 10 m in degrees has pixels of up to 13 m one way.
_COARSE_M = 15.0


def scene_findings(before: Scene, after: Scene, card: ModelCard | None, accept_level: bool = False) -> tuple[Finding, ...]:
    """What the two scenes' own words tell, before they are laid over each other."""
    one, other = before.acquisition, after.acquisition
    return (
        level_finding(one, other),
        *([model_finding(before, after, card, accept_level)] if card else []),
        baseline_finding(before, after),
        platform_finding(one, other),
        dates_finding(one, other),
        *resolution_findings(before, after),
    )


def resolution_findings(before: Scene, after: Scene) -> tuple[Finding, ...]:
    """That a date's sharpest bands come in larger pixels than the satellite takes them with; nothing where they do not."""
    found = []
    for side, scene in (("before", before), ("after", after)):
        sizes = {name: max(pixel_size_m(scene.bands[name].grid)) for name in TEN_METRE_BANDS if name in scene.bands}
        coarse = {name: size for name, size in sizes.items() if size > _COARSE_M}
        if coarse:
            largest = max(coarse.values())
            text = f"{side.capitalize()} has {', '.join(coarse)} in pixels of {largest:.0f} m instead of 10: what is smaller is not seen, though the map has pixels of 10 m."
            found.append(
                Finding("resolution", WARNING, text, "Use the scene as it is delivered.", {"side": side, "pixel_m": largest})
            )
    return tuple(found)


def level_finding(before: Acquisition, after: Acquisition) -> Finding:
    """Whether both are of one processing level."""
    levels = {"before": before.level, "after": after.level}
    if before.level and after.level and before.level != after.level:
        return Finding(
            "level",
            WARNING,
            f"Before is Level-{before.level[1:]} and after Level-{after.level[1:]}: the atmosphere was taken off one of them only, "
            "so dark and blue surfaces differ on all of the map and can be taken for change.",
            "Use the same level for both.",
            levels,
        )
    if before.level and after.level:
        return Finding("level", OK, f"Both are Level-{before.level[1:]}.", values=levels)
    side = " and ".join(name for name, level in levels.items() if level is None)
    return Finding(
        "level",
        WARNING,
        f"Nothing tells the processing level of {side}.",
        "Make sure that both are of one level, with the atmosphere in (1C) or taken off (2A).",
        levels,
    )


def model_finding(before: Scene, after: Scene, card: ModelCard, accept_level: bool) -> Finding:
    """Whether the model's card covers the scenes."""
    values = {"model": card.name, "level": card.level}
    sides = {"before": before, "after": after}
    if said := _lacking(card, sides):
        return Finding(
            "model",
            STOP,
            f"The model {card.name} needs {', '.join(card.bands)}: {said}.",
            _instead(card, before, after, accept_level),
            values,
        )
    levels = {side: scene.acquisition.level for side, scene in sides.items()}
    others = {side: level for side, level in levels.items() if level and level != card.level}
    if others and card.level not in levels.values() and set(others.values()) <= set(card.simulated_levels):
        return _simulated_only(card, others, values)
    if others:
        said = " and ".join(f"{side} is Level-{level[1:]}" for side, level in others.items())
        text = f"The model {card.name} was trained on Level-{card.level[1:]} images and {said}: its scores do not hold for this pair."
        if accept_level:
            return Finding("model", WARNING, text, "You accepted this.", values)
        return Finding("model", STOP, text, f"Use Level-{card.level[1:]} products, or take the risk with --accept-level.", values)
    known = all(levels.values())
    level = "this level" if known else f"was trained on Level-{card.level[1:]}"
    better = _better(card, sides) if known else ""
    return Finding("model", OK, f"The model {card.name} takes these bands and {level}.", better, values)


def _instead(card: ModelCard, before: Scene, after: Scene, accept_level: bool) -> str:
    """What to do where a model's bands are not there."""
    sides = {"before": before, "after": after}
    for name in SHIPPED:
        with suppress(ModelError):
            other = find_card(name)
            if not _lacking(other, sides) and model_finding(before, after, other, accept_level).severity != STOP:
                return f"Let --model auto choose, which takes {name} here, or give scenes with all of them."
    if any(set(card.bands) & scene.missing.keys() for scene in sides.values()):
        return "Download the product again, whole."
    return "Give scenes with all of them, or let a --method find change without a model, such as irmad, which takes two bands or more."


def _better(card: ModelCard, sides: Mapping[str, Scene]) -> str:
    """What dates of the model's level lack for the best one that ships; "" where they lack nothing or that is not here, or broken."""
    best = SHIPPED[0]
    if card.name not in SHIPPED[1:]:
        return ""
    try:
        said = _lacking(find_card(best), sides)
    except ModelError:
        return ""
    return f"{best} is more accurate, and needs more: {said}." if said else ""


def _lacking(card: ModelCard, sides: Mapping[str, Scene]) -> str:
    """Which of the model's bands each side lacks, and what is known of why; "" where it has all."""
    said = []
    for side, scene in sides.items():
        names = [name for name in card.bands if name not in scene.bands]
        if names:
            said.append(f"{side} has no {', '.join(names)}{scene.why_not(names)}")
    return "; ".join(said)


def _simulated_only(card: ModelCard, others: dict[str, str], values: dict[str, Any]) -> Finding:
    """That the model was tested on imitations of these sides' level and on nothing else."""
    (level,) = {level[1:] for level in others.values()}
    sides = f"{' and '.join(others).capitalize()} {'is' if len(others) == 1 else 'are'}"
    return Finding(
        "model",
        WARNING,
        f"{sides} Level-{level}, and for the model {card.name} that level is simulated only: its score there was measured on "
        f"Level-{card.level[1:]} images with the atmosphere taken out by dark-object subtraction, never on real Level-{level} images.",
        f"Look at the result with care, or use Level-{card.level[1:]} products.",
        {**values, "simulated_only": True},
    )


def baseline_finding(before: Scene, after: Scene) -> Finding:
    """The processing baselines, and how the offset that came with 04.00 was dealt with."""
    one, other = before.acquisition.baseline, after.acquisition.baseline
    values = {"before": one, "after": other, "before_units": before.units, "after_units": after.units}
    said = f"before {one or 'unknown'}, after {other or 'unknown'}"
    if one is None and other is None:
        return Finding(
            "baseline", OK, "Neither scene tells its processing baseline; units are judged by their numbers.", values=values
        )
    return Finding("baseline", OK, f"Processing baseline: {said}. Before: {before.units}. After: {after.units}.", values=values)


def platform_finding(before: Acquisition, after: Acquisition) -> Finding:
    """Which satellites took them."""
    values = {"before": before.platform, "after": after.platform}
    if before.platform is None or after.platform is None:
        return Finding("platform", OK, "The satellites are not known for both dates; their bands differ little.", values=values)
    if before.platform == after.platform:
        return Finding("platform", OK, f"Both were taken by {before.platform}.", values=values)
    return Finding("platform", OK, f"Taken by {before.platform} and {after.platform}, whose bands differ little.", values=values)


def dates_finding(before: Acquisition, after: Acquisition) -> Finding:
    """Whether before lies before after."""
    if before.sensed is None or after.sensed is None:
        side = " and ".join(name for name, told in (("before", before.sensed), ("after", after.sensed)) if told is None)
        return Finding("dates", WARNING, f"Nothing tells the date of {side}.", "Make sure that before is the earlier one.")
    days = (after.sensed - before.sensed).total_seconds() / 86400
    one_day = before.sensed.date() == after.sensed.date()
    values = {"before": before.sensed.isoformat(), "after": after.sensed.isoformat(), "days": round(days, 2)}
    said = f"before is of {before.sensed:%Y-%m-%d} and after of {after.sensed:%Y-%m-%d}"
    # A date without a time is midnight, so the order within a day may not be known.
    if one_day and (days >= 0 or not before.origin == after.origin == "metadata"):
        return Finding("dates", WARNING, f"Both are of one day: {said}.", "Pick two dates.", values)
    if days < 0:
        # A date in a file's name may be that of its making.
        sure = before.origin == after.origin == "metadata"
        text = f"The dates are reversed: {said}."
        return Finding("dates", STOP if sure else WARNING, text, "Swap the two.", values)
    return Finding("dates", OK, f"There are {days:,.0f} days between them: {said}.", values=values)


def season_findings(before: Acquisition, after: Acquisition) -> tuple[Finding, ...]:
    """How far apart the dates lie in the year, and the sun in the sky, as far as it is known."""
    found = []
    if before.sensed and after.sensed:
        gap = day_of_year_gap(before, after)
        values = {"day_of_year_gap": gap}
        text = f"In the year the dates lie {gap} days apart."
        if gap > _SEASON_DAYS:
            advice = "Plants, water and snow differ by the season; pick dates of one season where you can."
            found.append(Finding("season", WARNING, text, advice, values))
        else:
            found.append(Finding("season", OK, text, values=values))
    difference = sun_difference(before, after)
    if difference is not None:
        text = f"The sun stood {difference:.1f}° apart."
        angle = {"sun_difference": round(difference, 2)}
        if difference > _SUN_DEGREES:
            advice = "Shadows fall elsewhere and are easily taken for change; look at them."
            found.append(Finding("sun", WARNING, text, advice, angle))
        else:
            found.append(Finding("sun", OK, text, values=angle))
    return tuple(found)


def day_of_year_gap(before: Acquisition, after: Acquisition) -> int:
    """Days between two dates as if they were of one year, 0–182; both must be known."""
    if before.sensed is None or after.sensed is None:
        raise ValueError("a date is not known")
    apart = abs(before.sensed.timetuple().tm_yday - after.sensed.timetuple().tm_yday)
    return min(apart, 365 - apart)


def sun_difference(before: Acquisition, after: Acquisition) -> float | None:
    """Angle between the directions to the sun, degrees; None where one is not known."""
    angles = (before.sun_zenith, before.sun_azimuth, after.sun_zenith, after.sun_azimuth)
    if any(angle is None for angle in angles):
        return None
    zenith, azimuth, other_zenith, other_azimuth = np.radians(np.array(angles, float))
    cosine = np.cos(zenith) * np.cos(other_zenith) + np.sin(zenith) * np.sin(other_zenith) * np.cos(azimuth - other_azimuth)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
