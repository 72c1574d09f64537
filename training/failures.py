"""Where out-of-fold predictions fail: measured on the labelled cities, so that a card can say it.

By kind of ground, and on ground that changed in another way than the labels are about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2change_plugin.engine.classical import fit_predictor
from s2change_plugin.engine.scores import Confusion, confusion
from s2change_plugin.engine.validity import Codes

from .prepare import City, read_city

# Without these the kinds of ground cannot be told.
_BANDS = ("B03", "B04", "B08")
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
        city: with the bands B03, B04 and B08 among others.
    """
    places = [city.bands.index(name) for name in _BANDS]
    with np.errstate(invalid="ignore", divide="ignore"):
        dates = [_indices(image[places]) for image in (city.before, city.after)]
        (before, after), (wet, wet_after), (light, light_after) = zip(*dates, strict=True)
        water = (wet > _WATER) | (wet_after > _WATER)
        season = ~water & (np.abs(after - before) > _SEASON)
        shade = ~water & ~season & ((light < _SHADE) != (light_after < _SHADE))
    return {"season": season, "water": water, "shade": shade, "rest": ~(season | water | shade)}


def failures(data: Path, masks: Sequence[Mapping[str, Codes]], bands: tuple[str, ...]) -> dict[str, Any]:
    """What is found where, over all cities and all masks together.

    Args:
        data: as `prepare` makes it.
        masks: for each seed, city to change mask (1 change, 0 none, 255 not observed), predicted out of fold.
        bands: that the networks look at.

    Returns:
        kinds: of each kind of ground its scores, share, and share of all false change; none without the bands that tell them;
        other: of the ground that is labelled no change, the share that changed much by its spectrum, by change vector analysis, and the
        shares of that and of the rest that the masks call change.
    """
    kinds = {kind: Confusion() for kind in KINDS} if set(_BANDS) <= set(bands) else {}
    far, rest = Confusion(), Confusion()
    for name in masks[0]:
        city = read_city(data / name, bands)
        place_of = kinds_of(city) if kinds else {}
        method = fit_predictor("cva", [city.before], [city.after], bands)
        moved = method.probability(city.before, city.after) > method.threshold
        for mask in masks:
            for kind, place in place_of.items():
                kinds[kind] += confusion(mask[name][place], city.change[place])
            far += confusion(mask[name][moved], city.change[moved])
            rest += confusion(mask[name][~moved], city.change[~moved])
    pixels = {kind: one.tp + one.fp + one.fn + one.tn for kind, one in kinds.items()}
    false = max(1, far.fp + rest.fp)
    return {
        "kinds": {
            kind: {
                **one.as_dict(),
                "share": round(pixels[kind] / max(1, sum(pixels.values())), 4),
                "share_of_false_change": round(one.fp / false, 4),
            }
            for kind, one in kinds.items()
        },
        "other": {
            "share": round((far.fp + far.tn) / max(1, far.fp + far.tn + rest.fp + rest.tn), 4),
            "called_change": round(far.fp / max(1, far.fp + far.tn), 4),
            "rest_called_change": round(rest.fp / max(1, rest.fp + rest.tn), 4),
        },
    }


def sentences(found: Mapping[str, Any], cities: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What a card says of it: each kind of ground with its figures, other change, and the cities with the lowest F1."""
    said = [
        f"On {KINDS[kind]}, {100 * one['share']:.0f} % of the pixels, precision is {one['precision']:.2f} and recall {one['recall']:.2f}; "
        f"{100 * one['share_of_false_change']:.0f} % of all false change lies there."
        for kind, one in found["kinds"].items()
        if one["share"] >= _LEAST_SHARE and kind != "rest"
    ]
    other = found["other"]
    if other["share"] >= _LEAST_SHARE:
        said.append(
            f"Of ground that is labelled no change and yet changed much by its spectrum (change vector analysis; {100 * other['share']:.1f} % "
            f"of what is so labelled), {100 * other['called_change']:.0f} % is called change, of the rest {100 * other['rest_called_change']:.1f} %."
        )
    # Where nothing changed there is nothing to find, and F1 says nothing.
    changed = [name for name, one in cities.items() if one["prevalence"]] or list(cities)
    worst = sorted(changed, key=lambda name: float(cities[name]["f1"]))[:4]
    listed = ", ".join(f"{name} ({cities[name]['f1']:.2f})" for name in worst)
    return (*said, f"Of the cities, F1 is lowest in {listed}.")


def _indices(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """NDVI, NDWI and near infrared of one date, (row, col)."""
    green, red, infrared = image
    return (infrared - red) / (infrared + red), (green - infrared) / (green + infrared), infrared
