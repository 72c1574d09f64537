"""What the methods without labels score on labelled cities, each with the limit that it sets itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from s2change_plugin.engine.classical import fit_predictor
from s2change_plugin.engine.outputs import NOT_OBSERVED, to_levels
from s2change_plugin.engine.validity import Codes

from .calibrate import STEP, Counts, counted
from .fit import Ground, laid_out, without_haze
from .prepare import city_names, read_city

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
    ground = laid_out(read_city(data / name, bands))
    variants = {"l1c": ground, "l2a": without_haze(ground)}
    return name, {
        (method, variant): counted(_levels(method, shown, bands), ground.change)
        for method in METHODS
        for variant, shown in variants.items()
    }


def _levels(method: str, city: Ground, bands: tuple[str, ...]) -> Codes:
    """How strong a method says that change is, as it is stored: uint8 (row, col), 0–250, 255 where not seen."""
    if method == EMPTY:
        return np.where(city.seen, 0, NOT_OBSERVED).astype(np.uint8)
    images = np.where(city.seen[None, :, :, None], city.images, np.float32("nan")).transpose(0, 3, 1, 2)
    predictor = fit_predictor(method, [images[0]], [images[1]], bands)
    return to_levels(predictor.probability(images[0], images[1]), np.asarray(~city.seen, np.uint8))
