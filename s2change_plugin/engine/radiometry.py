"""Digital numbers to reflectance, and the guard that both dates are in the same unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UnitsUnclear

Array = np.ndarray[Any, np.dtype[np.float32]]

UNITS = ("auto", "dn", "dn+1000", "reflectance")
QUANTIFICATION = 10000.0
# RADIO_ADD_OFFSET / BOA_ADD_OFFSET since processing baseline 04.00 (ESA, 25 January 2022), in digital numbers.
ADDED_OFFSET = 1000.0
# Reflectance passes 1 over snow and glint but not 2; digital numbers of any scene reach far beyond.
_LARGEST_REFLECTANCE = 2.0
# How far the bands' shifts may lie from 1000 DN and from each other for one added constant to explain them all.
_OFFSET_NEARNESS = 300.0
_OFFSET_SPREAD = 150.0


@dataclass(frozen=True)
class DnRule:
    """reflectance = digital number × scale + offset.

    Attributes:
        scale, offset: unitless.
        origin: in words, where the two come from.
    """

    scale: float
    offset: float
    origin: str


def rule_for(
    path: str, dtype: str, tags: tuple[float, float], units: str, largest: Callable[[], float], side: str = "before"
) -> DnRule:
    """The rule of one band of a raster.

    Args:
        path: for the error message.
        dtype: the stored type, numpy's name.
        tags: the file's (scale, offset); (1, 0) means that it has none.
        units: the user's word, one of `UNITS`; "auto" takes the tags, else the values (floating point up to 2 is reflectance),
            else digital numbers without offset.
        largest: gives the scene's largest value; asked only where it decides.
        side: "before" or "after": whose option an error message offers.

    Raises:
        UnitsUnclear: 8-bit values without tags, which are a picture.
    """
    if units == "reflectance":
        return DnRule(1.0, 0.0, "reflectance as stored (chosen)")
    if units == "dn":
        return DnRule(1 / QUANTIFICATION, 0.0, "DN / 10000 (chosen)")
    if units == "dn+1000":
        return DnRule(1 / QUANTIFICATION, -ADDED_OFFSET / QUANTIFICATION, "(DN − 1000) / 10000 (chosen)")
    if tags != (1.0, 0.0):
        return DnRule(tags[0], tags[1], f"the file's own scale {tags[0]:g} and offset {tags[1]:g}")
    if dtype in ("uint8", "int8"):
        raise UnitsUnclear(
            f"{path} has 8-bit values, as a picture has: reflectance cannot be taken from it. "
            f"Give the original digital numbers, or say --{side}-units."
        )
    if dtype.startswith("float") and largest() <= _LARGEST_REFLECTANCE:
        return DnRule(1.0, 0.0, "reflectance as stored (no value above 2)")
    return DnRule(1 / QUANTIFICATION, 0.0, "DN / 10000, offset 0 (the file does not say)")


def to_reflectance(dn: Array, rule: DnRule, out: Array | None = None) -> Array:
    """Top- or bottom-of-atmosphere reflectance of Sentinel-2 digital numbers.

    Args:
        dn: any shape, float32 or integer; NaN stays NaN.
        rule: scale and offset.
        out: float32 of the same shape to write into.

    Returns:
        float32 of the same shape, unitless, mostly 0 to 1 (snow and glint exceed 1).

    Source: ESA, Sentinel-2 Products Specification Document, sections on RADIO_ADD_OFFSET and BOA_ADD_OFFSET.
    """
    out = np.multiply(dn, np.float32(rule.scale), out=out, dtype=np.float32)
    out += np.float32(rule.offset)
    return out


def band_shifts(before: Sequence[Array], after: Sequence[Array]) -> Array:
    """Median difference after − before per band, in units of 1/10000 reflectance; NaN where nothing was seen twice.

    Args:
        before, after: samples of one place, each (band, row, col) reflectance.
    """
    difference = np.concatenate([(b - a).reshape(len(a), -1) for a, b in zip(before, after, strict=True)], axis=1)
    seen = difference[:, np.isfinite(difference).all(0)]
    if not seen.size:
        return np.full(len(difference), np.nan, np.float32)
    return np.asarray(np.median(seen, axis=1) * QUANTIFICATION, np.float32)


def is_added_offset(shifts: Array) -> bool:
    """True where one added constant near ±1000 DN explains the difference in all bands alike.

    Ground and season change bands by different amounts and sign; only the offset of baseline 04.00 moves all of them,
    the short-wave infrared too, by the same thousand.
    """
    middle = float(np.median(shifts))
    return bool(
        np.isfinite(shifts).all()
        and abs(abs(middle) - ADDED_OFFSET) < _OFFSET_NEARNESS
        and np.median(np.abs(shifts - middle)) < _OFFSET_SPREAD
        and np.abs(shifts - middle).max() < ADDED_OFFSET / 2
    )
