"""Where out-of-fold predictions fail, by kind of ground: measured on the labelled cities, so that a card can say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2change_plugin.engine.scores import Confusion, confusion
from s2change_plugin.engine.validity import Codes

from .prepare import City, read_city

_BANDS = ("B02", "B03", "B04", "B08")
# Vegetation that grew, was cut or fell between the dates changes its NDVI by more than this.
_SEASON = 0.2
# McFeeters 1996, "The use of the Normalized Difference Water Index (NDWI)": water is above 0.
_WATER = 0.0
# Near infrared reflectance below which ground without water lies in the shade.
_SHADE = 0.1
# Kinds that are rarer than this say nothing.
_LEAST_SHARE = 0.001
KINDS = {
    "season": f"ground whose vegetation differs between the dates (NDVI by more than {_SEASON:g})",
    "water": "water on either date (NDWI above 0)",
    "shade": f"ground in the shade on one date alone (B08 below {_SHADE:g})",
    "rest": "all other ground",
}


def kinds_of(city: City) -> dict[str, NDArray[np.bool_]]:
    """Where each kind of ground is, (row, col); every pixel is of one kind, the first that fits in the order of `KINDS`.

    Args:
        city: with the bands B02, B03, B04 and B08 in this order.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        dates = [_indices(image) for image in (city.before, city.after)]
        (before, after), (wet, wet_after), (light, light_after) = zip(*dates, strict=True)
        water = (wet > _WATER) | (wet_after > _WATER)
        season = ~water & (np.abs(after - before) > _SEASON)
        shade = ~water & ~season & ((light < _SHADE) != (light_after < _SHADE))
    return {"season": season, "water": water, "shade": shade, "rest": ~(season | water | shade)}


def failures(data: Path, masks: Sequence[Mapping[str, Codes]]) -> dict[str, dict[str, Any]]:
    """Scores and share of each kind of ground, over all cities and all masks together.

    Args:
        data: as `prepare` makes it.
        masks: for each seed, city to change mask (1 change, 0 none, 255 not observed), predicted out of fold.
    """
    total = {kind: Confusion() for kind in KINDS}
    for name in masks[0]:
        city = read_city(data / name, _BANDS)
        for kind, place in kinds_of(city).items():
            for mask in masks:
                total[kind] += confusion(mask[name][place], city.change[place])
    pixels = {kind: one.tp + one.fp + one.fn + one.tn for kind, one in total.items()}
    false = max(1, sum(one.fp for one in total.values()))
    return {
        kind: {
            **one.as_dict(),
            "share": round(pixels[kind] / max(1, sum(pixels.values())), 4),
            "share_of_false_change": round(one.fp / false, 4),
        }
        for kind, one in total.items()
    }


def sentences(found: Mapping[str, Mapping[str, Any]], cities: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What a card says of it: each kind of ground with its figures, and the cities with the lowest F1."""
    said = [
        f"On {KINDS[kind]}, {100 * one['share']:.0f} % of the pixels, precision is {one['precision']:.2f} and recall {one['recall']:.2f}; "
        f"{100 * one['share_of_false_change']:.0f} % of all false change lies there."
        for kind, one in found.items()
        if one["share"] >= _LEAST_SHARE and kind != "rest"
    ]
    worst = sorted(cities, key=lambda name: float(cities[name]["f1"]))[:4]
    listed = ", ".join(f"{name} ({cities[name]['f1']:.2f})" for name in worst)
    return (*said, f"Of the cities, F1 is lowest in {listed}.")


def _indices(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """NDVI, NDWI and near infrared of one date, (row, col)."""
    _, green, red, infrared = image
    return (infrared - red) / (infrared + red), (green - infrared) / (green + infrared), infrared
