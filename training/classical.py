"""What the methods without labels score on labelled cities, each with the limit that it sets itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from s2change_plugin.engine.classical import fit_predictor
from s2change_plugin.engine.labelled import city_names
from s2change_plugin.engine.outputs import NOT_OBSERVED, to_levels
from s2change_plugin.engine.validity import Codes

from .calibrate import STEP, Counts, counted
from .prepare import City, read_city
from .sampling import as_level_2a

EMPTY = "empty"
METHODS = {"empty": "Empty map", "cva": "Change vector analysis", "irmad": "IR-MAD", "pca": "PCA difference"}
# Of the strength as it is stored, where a method's own limit lies; see `ClassicalPredictor`.
LIMIT = round(0.5 / STEP)

# Counts by method, variant and city.
Found = dict[str, dict[str, dict[str, Counts]]]


def classical_counts(data: Path, bands: tuple[str, ...], walk: Callable[..., Any]) -> Found:
    """How strong each method says that change is, counted against the labels: by method, variant ("l1c", "l2a") and city.

    Each method is fitted to the pair that it is used on and sees no label.

    Args:
        data: as `prepare` makes it.
        bands: that are compared; pixels that lack one on a date do not count.
        walk: maps a function over cities.
    """
    found: Found = {method: {"l1c": {}, "l2a": {}} for method in METHODS}
    for city, counts in walk(partial(_city_counts, data, bands), city_names(data)):
        for (method, variant), one in counts.items():
            found[method][variant][city] = one
    return found


def _city_counts(data: Path, bands: tuple[str, ...], name: str) -> tuple[str, dict[tuple[str, str], Counts]]:
    """A city's name, and its counts by method and variant."""
    city = read_city(data / name, bands)
    variants = {"l1c": city, "l2a": as_level_2a(city)}
    return name, {
        (method, variant): counted(_levels(method, shown), city.change)
        for method in METHODS
        for variant, shown in variants.items()
    }


def _levels(method: str, city: City) -> Codes:
    """How strong a method says that change is, as it is stored: uint8 (row, col), 0–250, 255 where not seen."""
    seen = np.isfinite(city.before).all(0) & np.isfinite(city.after).all(0)
    if method == EMPTY:
        return np.where(seen, 0, NOT_OBSERVED).astype(np.uint8)
    before, after = (np.where(seen, image, np.float32("nan")) for image in (city.before, city.after))
    predictor = fit_predictor(method, [before], [after], city.bands)
    return to_levels(predictor.probability(before, after), np.asarray(~seen, np.uint8))
