"""Digital numbers to reflectance, and the guard that both dates are in the same unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import UnitsUnclear, option_of

Array = np.ndarray[Any, np.dtype[np.float32]]

UNITS = ("auto", "dn", "dn+1000", "reflectance")
QUANTIFICATION = 10000.0
# RADIO_ADD_OFFSET / BOA_ADD_OFFSET since processing baseline 04.00 (ESA, 25 January 2022), in digital numbers.
ADDED_OFFSET = 1000.0
# Reflectance passes 1 over snow and glint but not 2; digital numbers of any scene reach far beyond.
LARGEST_REFLECTANCE = 2.0
# Two rules within this relative scale and this offset, in reflectance, are one for any use.
_SAME_SCALE, _SAME_OFFSET = 0.01, 0.005

# How far the bands' shifts may lie from 1000 DN, from each other (median), and the farthest, for one added constant to
# explain them all. OSCD's 14 pairs and the wildfires' 7 have medians of -520 to +510 and reach -810 to +760 in a band: none passes.
_OFFSET_NEARNESS, _OFFSET_SPREAD, _OFFSET_FARTHEST = 300.0, 150.0, 500.0

# Water, shadow and wet vegetation reflect next to nothing here, and the air adds nothing (no Rayleigh scattering as in the
# visible bands): what is darker than the offset itself cannot carry it.
_SWIR = ("B11", "B12")
# Per cent of the pixels that make the dark floor: enough to be no faulty pixels, few enough to find a river.
_FLOOR_PERCENT = 0.5
# How near to a whole number an offset is one: 0.1 and 0.0001 are none exactly.
_WHOLE = 1e-6
# Fewer pixels have no such per cent.
_FEWEST_PIXELS = 1000
# More pixels say the same, and take longer.
_MOST_PIXELS = 100_000
# A floor below this disproves an added 0.1; the 0.02 between are for what atmospheric correction takes too much of shadows.
_DISPROVED = 0.08
# A floor below this disproves that an offset may be taken off: no ground reflects less than nothing.
_IMPOSSIBLE = -0.03
# What no correction makes of shadows, and 0.1 less of dark ground is.
_TAKEN_TWICE = -0.06
# Floors of one unit: apart by 0.035 at most on all 22 pairs that were looked at.
_ONE_FLOOR = 0.06
# How far the change of ground that is dark in one date may lie from the offset, in 1/10000 reflectance: without one, glint,
# haze and season change it by less on 15 of 18 pairs.
_DARK_NEARNESS = 300.0
# How far the scene's change as a whole may lie from the offset for the dark ground's to count; seasons reach 520.
_SCENE_NEARNESS = 600.0


# B10 lies where water vapour lets next to nothing through from the ground. A tenth of its values is darker than 56 DN on each
# of the 28 OSCD dates; over dry mountains or under thin cirrus it may reach some hundred.
CIRRUS_PERCENT = 10.0
_CIRRUS_NEARNESS = 0.05


# Darker than any ground by three times the offset of baseline 04.00; what is below fills a place without being declared as nodata, such as −9999.
LOWEST_REFLECTANCE = -0.3
# Reflectance that a hundredth of the pixels exceed in the brightest band, at least. On the 22 pairs of `compare_units` it is 0.22 and more; per cent
# that are read as digital numbers reach 0.01.
_DIMMEST = 0.02
# By how much the medians of all bands may differ, one way. Where they do on those pairs, it is by 1.18 in the band that differs least.
_TIMES = 4.0


# ESA: 65535 is saturated. Numbers somewhat below are too, where another program has resampled them, or has taken 1000 off.
SATURATED_DN = 64500
# Rules with a smaller scale are of digital numbers.
_SCALE_OF_DN = 0.01


@dataclass(frozen=True)
class Saturation:
    """Numbers in a file that stand for saturated pixels.

    Attributes:
        least, most: from the one to the other.
        mark: one of them.
        beside: what is interpolated to more than this may lie beside one. Clouds and snow reflect up to about 1.3; 1.5 with the offset is 1.6.
    """

    least: float
    most: float
    mark: float
    beside: float

    def marked(self, values: Array, added: float = 0.0) -> NDArray[np.bool_]:
        """Where a layer is saturated, to whose numbers something was added."""
        return np.asarray((values >= self.least + added) & (values <= self.most + added), np.bool_)


_OF_DN = Saturation(SATURATED_DN, np.inf, 65535.0, 16000.0)
# The same divided by 10000, and no more: what is larger is in another unit, which `contradiction` has to see.
_OF_REFLECTANCE = Saturation(*(number / QUANTIFICATION for number in (SATURATED_DN, 65600.0, 65535.0, 16000.0)))


@dataclass(frozen=True)
class DnRule:
    """reflectance = digital number × scale + offset.

    Attributes:
        scale, offset: unitless.
        origin: in words, where the two come from.
        assured: product metadata, the file's tags or the user say so; False where the values were all there was to go by.
        product: the metadata of a product say so, which values alone do not refute.
    """

    scale: float
    offset: float
    origin: str
    assured: bool = True
    product: bool = False

    @property
    def whole_offset(self) -> float:
        """The offset in digital numbers where it is a whole number of them, which floating point adds without rounding; else 0."""
        numbers = self.offset / self.scale
        return float(round(numbers)) if abs(numbers - round(numbers)) < _WHOLE else 0.0

    @property
    def saturation(self) -> Saturation | None:
        """Which numbers mean it; None where none is known to."""
        if self.scale < _SCALE_OF_DN:
            return _OF_DN
        return _OF_REFLECTANCE if (self.scale, self.offset) == (1.0, 0.0) else None


_WORDS = {
    "reflectance": DnRule(1.0, 0.0, "reflectance as stored (chosen)"),
    "dn": DnRule(1 / QUANTIFICATION, 0.0, "DN / 10000 (chosen)"),
    "dn+1000": DnRule(1 / QUANTIFICATION, -ADDED_OFFSET / QUANTIFICATION, "(DN − 1000) / 10000 (chosen)"),
}


def rule_for(
    path: str,
    dtype: str,
    tags: tuple[float, float],
    units: str,
    largest: Callable[[], float],
    side: str = "before",
    told: DnRule | None = None,
    trusted: bool = False,
) -> DnRule:
    """The rule of one band of a raster.

    Args:
        path: for the error message.
        dtype: the stored type, numpy's name.
        tags: the file's (scale, offset); (1, 0) means that it has none.
        units: the user's word, one of `UNITS`; "auto" takes the metadata, else the tags, else the values (floating point up
            to 2 is reflectance), else digital numbers without offset.
        largest: gives the scene's largest value; asked only where it decides.
        side: "before", "after", or "" for a scene by itself: whose option an error message offers.
        told: the rule in a product's metadata, which goes before the tags, or the one that its cirrus band proves, which they
            must not contradict.
        trusted: the user's word goes, whatever metadata and tags say.

    Raises:
        UnitsUnclear: the user's word contradicts metadata or tags (scale by more than 1 %, offset by more than 0.005), or
            8-bit values without tags, which are a picture.
    """
    own = told
    if tags != (1.0, 0.0) and (told is None or not told.product):
        own = DnRule(*tags, f"the file's own scale {tags[0]:g} and offset {tags[1]:g}")
        if told is not None and not trusted and not _alike(own, told):
            raise UnitsUnclear(
                f"{path}: {own.origin} means reflectance = {_formula(own)}, and {told.origin} is another. Which is right? "
                f"Say it with {option_of(side, 'units')} and --trust-units."
            )
    word = _WORDS.get(units)
    if word is not None and own is not None and not trusted and not _alike(own, word):
        raise UnitsUnclear(
            f"{path}: {own.origin} means reflectance = {_formula(own)}, and {option_of(side, 'units')} {units} means {_formula(word)}. "
            f"Which is right? Leave out {option_of(side, 'units')} to take the file's, or add --trust-units to take yours."
        )
    if word is not None and (trusted or own is None):
        return word
    if own is not None:
        return own
    if dtype in ("uint8", "int8"):
        raise UnitsUnclear(
            f"{path} has 8-bit values, as a picture has: reflectance cannot be taken from it. "
            f"Give the original digital numbers, or say {option_of(side, 'units')}."
        )
    if dtype.startswith("float") and largest() <= LARGEST_REFLECTANCE:
        return DnRule(1.0, 0.0, "reflectance as stored (no value above 2)", assured=False)
    return DnRule(1 / QUANTIFICATION, 0.0, "DN / 10000, offset 0 (the file does not say)", assured=False)


def require_one_unit(source: str, rules: Mapping[str, DnRule], side: str = "before") -> None:
    """Refuse a scene whose files tell the unit of some bands, by which what is assumed of the others is another one.

    As where a program wrote one of its files anew and left scale and offset out.

    Args:
        source: for the error message.
        rules: of each band.
        side: as in `rule_for`.

    Raises:
        UnitsUnclear: the text says which bands.
    """
    told = next((rule for rule in rules.values() if rule.assured), None)
    others = [name for name, rule in rules.items() if told and not rule.assured and not _alike(rule, told)]
    if told and others:
        raise UnitsUnclear(
            f"{source}: {told.origin} means reflectance = {_formula(told)}, and of {', '.join(others)} nothing tells the unit. Write scale and offset into "
            f"all bands, such as with gdal_edit.py -scale {told.scale:g} -offset {told.offset:g}, or say {option_of(side, 'units')}; if they really are "
            "in different units, add --trust-units."
        )


def cirrus_rule(stored: float) -> DnRule | None:
    """The rule that Level-1C's cirrus band proves, None where it proves none.

    Args:
        stored: the digital number that `CIRRUS_PERCENT` of B10's values are below; ground is not seen in it, so it stands for
            a reflectance of nearly 0, with the offset of baseline 04.00 or without.
    """
    for rule in (_WORDS["dn"], _WORDS["dn+1000"]):
        if cirrus_fits(stored, rule):
            formula = "(DN − 1000) / 10000" if rule.offset else "DN / 10000"
            return DnRule(rule.scale, rule.offset, f"{formula} (proven by B10, which sees no ground)")
    return None


def cirrus_fits(stored: float, rule: DnRule) -> bool:
    """Whether a rule leaves B10 near a reflectance of 0, as it must; see `cirrus_rule`."""
    return abs(stored * rule.scale + rule.offset) < _CIRRUS_NEARNESS


def _named(side: str) -> str:
    return (side or "the scene").capitalize()


def _alike(one: DnRule, other: DnRule) -> bool:
    return abs(one.scale - other.scale) <= _SAME_SCALE * other.scale and abs(one.offset - other.offset) <= _SAME_OFFSET


def _formula(rule: DnRule) -> str:
    offset = f" {'+' if rule.offset > 0 else '−'} {abs(rule.offset):g}" if rule.offset else ""
    return f"value × {rule.scale:g}{offset}"


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
    whole = rule.whole_offset
    if whole:
        # First, so that nothing is rounded: ground looks the same whatever offset its product has.
        out = np.add(dn, np.float32(whole), out=out, dtype=np.float32)
        out *= np.float32(rule.scale)
        return out
    out = np.multiply(dn, np.float32(rule.scale), out=out, dtype=np.float32)
    if rule.offset:
        out += np.float32(rule.offset)
    return out


def contradiction(samples: Sequence[Array], bands: Sequence[str], rules: Sequence[DnRule], side: str = "before") -> str | None:
    """What the values of one date say against the rules by which they were read: a sentence, None where nothing.

    Args:
        samples: each (band, row, col) reflectance by the rules, NaN where not usable.
        bands: names, as the samples' first axis.
        rules: one for each band.
        side: "before", "after", or "" for a scene by itself: whose option the sentence offers.
    """
    pixels = seen_pixels(samples)[0]
    if not pixels.size:
        return None
    # The file's own word stands against the user's unless he says twice what he means.
    told = rules[0].assured and rules[0] not in _WORDS.values()
    settle = " --trust-units" if told else ""
    wrong = next((rule for rule in rules if rule.scale < 1 and abs(rule.offset) > LARGEST_REFLECTANCE), None)
    if wrong:
        meant = DnRule(wrong.scale, wrong.offset * wrong.scale, "")
        known = next((name for name in ("dn+1000", "dn") if _alike(meant, _WORDS[name])), None)
        return (
            f"{_named(side)} is read as {wrong.origin}: that offset is in digital numbers and is added after the scale, so {meant.offset:g} is meant. "
            f"Correct it in the file, such as with gdal_edit.py -scale {wrong.scale:g} -offset {meant.offset:g}"
            + (f", or say {option_of(side, 'units')} {known} --trust-units." if known else ".")
        )
    middle = float(np.median(pixels))
    if middle > LARGEST_REFLECTANCE:
        return (
            f"{_named(side)} is read as {rules[0].origin}, and half of its values are above {middle:.3g}: no ground reflects more than 2. "
            f"If they are digital numbers, say {option_of(side, 'units')} dn or dn+1000{settle}."
        )
    stored = [(layer - rule.offset) / rule.scale for layer, rule in zip(pixels, rules, strict=True)]
    highest = max(float(np.percentile(layer, 99)) for layer in stored)
    if rules[0].scale < 1 and highest <= LARGEST_REFLECTANCE:
        return (
            f"{_named(side)} is read as {rules[0].origin}, and its stored values reach {highest:.3g} only: they are reflectance already. "
            f"Say {option_of(side, 'units')} reflectance{settle}."
        )
    brightest = max(float(np.percentile(layer, 99)) for layer in pixels)
    # Where the unit is told, snow on a slope that faces a low sun may look brighter than anything is.
    if brightest > LARGEST_REFLECTANCE and not (told or rules[0].product):
        return (
            f"{_named(side)} is read as {rules[0].origin}, and a hundredth of its pixels then reflect more than {brightest:.3g}, as nothing does: the values "
            "are on another scale, such as reflectance that was stretched over 16 bits. Write the scale into the file, for that one with "
            "gdal_edit.py -scale 0.0000152590 -offset 0; if they are right, add --trust-units."
        )
    if brightest < _DIMMEST and not rules[0].product:
        return (
            f"{_named(side)} is read as {rules[0].origin}, and 99 of 100 of its pixels then reflect less than {max(brightest, 0):.3f} in every band: the "
            f"values are in another unit, such as per cent. Give digital numbers or reflectance; if they are right, add --trust-units."
        )
    floor = _floor(pixels, bands)
    swir = [rule for name, rule in zip(bands, rules, strict=True) if name in _SWIR]
    # In a product the offset is there just so that shadows may come out below zero.
    if floor is None or floor >= _IMPOSSIBLE or all(rule.product for rule in swir):
        return None
    less = f"{_named(side)} is read as {rules[0].origin}, and its darkest ground in the short-wave infrared then reflects {floor:.3f}, less than nothing"
    if any(rule.offset < _IMPOSSIBLE for rule in swir):
        return f"{less}: the values do not carry that offset. Say {option_of(side, 'units')} dn{settle}."
    if floor >= _TAKEN_TWICE:
        return None
    return (
        f"{less}: an offset was taken off twice, as where a program does what the provider of the data had done already. Export it without the second "
        "one, or add 0.1 (1000 digital numbers); if the values are right, add --trust-units."
    )


def other_scale(before: Sequence[Array], after: Sequence[Array]) -> str | None:
    """A sentence where one date is so many times as bright as the other in every band that its numbers are on another scale; else None.

    Args:
        before, after: samples of one place, each (band, row, col) reflectance, NaN where not usable.
    """
    old, new = seen_pixels(before, after)
    if not old.size:
        return None
    middles = np.maximum(np.median(old, axis=1), 1e-6), np.maximum(np.median(new, axis=1), 1e-6)
    times = middles[1] / middles[0]
    if times.max() > 1 / _TIMES and times.min() < _TIMES:
        return None
    brighter, other, least = ("After", "before", times.min()) if times.min() >= _TIMES else ("Before", "after", 1 / times.max())
    return (
        f"{brighter} is at least {least:.1f} times as bright as {other} in every band, as no dry ground changes: the two are in different units, such as "
        "per cent and digital numbers, or cloud or ice covers one. Give both in one unit; if they are right, add --trust-units."
    )


@dataclass(frozen=True)
class UnitVerdict:
    """Whether two dates are in one unit, and what says so.

    Attributes:
        state: "same", "mixed" (one carries the offset of baseline 04.00 and the other does not), or "unknown".
        side: "before" or "after": which one is higher by the offset where mixed, else None.
        text: in one or two sentences, why; where mixed or unknown, with the option that settles it.
        shifts: median of after − before per band, in 1/10000 reflectance.
        before_floor, after_floor: reflectance of the darkest ground in the short-wave infrared (0.5 % of the pixels are darker
            in B11 or B12); None without these bands or with fewer than 1000 pixels.
        dark_shifts: as shifts, where the date that is darker altogether is at its floor; empty where there is no floor.
    """

    state: Literal["same", "mixed", "unknown"]
    side: str | None
    text: str
    shifts: tuple[float, ...]
    before_floor: float | None = None
    after_floor: float | None = None
    dark_shifts: tuple[float, ...] = ()


def compare_units(
    before: Sequence[Array],
    after: Sequence[Array],
    bands: Sequence[str],
    before_assured: bool = False,
    after_assured: bool = False,
) -> UnitVerdict:
    """Whether two dates are in one unit, by what they show of the same ground.

    Mixed, if the values allow that one carries the offset at all (its floor is not clearly below 0.1, or the other's is
    below 0), and either all bands differ by the same ±1000 DN, or the ground that is dark in one date's short-wave infrared
    is brighter by 0.1 in the other, in each of these bands, while the whole scene moved in that direction by about as much.
    Same, if both dates have ground too dark to carry an offset. Otherwise unknown: a desert seen twice with the offset looks
    like a desert seen twice without. Where both rules are assured, they hold unless the evidence is overwhelming: the dark
    ground's, or without any the bands' within half the tolerance.

    A thin cloud over the whole scene that no mask takes out can look like the offset: its light is nearly white.

    Args:
        before, after: samples of one place, each (band, row, col) reflectance, NaN where not usable.
        bands: names, as the samples' first axis.
        before_assured, after_assured: see `DnRule.assured`; a rule that is not takes no offset off.

    The constants come from physics (see their comments) and from 22 pairs without offset: OSCD's 14 (L1C), 7 wildfires and a
    river in December and January (L2A). As they are, 18 are the same and 4 unknown; with 0.1 added to one date, 42 of 44 are
    mixed and 2 unknown; with 0.1 added to both, all are unknown.
    """
    old, new = seen_pixels(before, after)
    shifts = _median_shifts(old, new)
    floors = (_floor(old, bands), _floor(new, bands))
    if not old.size:
        return UnitVerdict("unknown", None, f"No ground was seen on both dates. {_ASK}", ())
    brighter = "after" if np.median(shifts) > 0 else "before"
    dark_shifts = _dark_shifts(old, new, bands, darker_first=brighter == "after")
    both_assured = before_assured and after_assured
    numbers = (tuple(map(float, shifts)), *floors, tuple(map(float, dark_shifts)))
    if _is_mixed(shifts, dark_shifts, floors if brighter == "after" else floors[::-1], bands, both_assured):
        assured = {"before": before_assured, "after": after_assured}
        return UnitVerdict("mixed", brighter, _mixed_text(brighter, assured, shifts, floors, dark_shifts, bands), *numbers)
    if _is_same(floors):
        text = (
            f"Both dates have ground too dark in the short-wave infrared to carry an offset of 0.1: {_in_words(floors)}, "
            "so they are in one unit."
        )
        return UnitVerdict("same", None, text, *numbers)
    if both_assured:
        return UnitVerdict("same", None, "Both dates' units are known, and their values do not speak against it.", *numbers)
    return UnitVerdict("unknown", None, f"{_why_unknown(floors)} {_ASK}", *numbers)


def is_added_offset(shifts: Array, tolerance: float = 1.0) -> bool:
    """True where one added constant near ±1000 DN explains the difference in all bands alike.

    Ground and season change bands by different amounts and sign; only the offset of baseline 04.00 moves all of them,
    the short-wave infrared too, by the same thousand.

    Args:
        shifts: median of after − before per band, in 1/10000 reflectance.
        tolerance: below 1 asks for more likeness.
    """
    if not (shifts.size and np.isfinite(shifts).all()):
        return False
    middle = np.median(shifts)
    apart = np.abs(shifts - middle)
    return bool(
        abs(abs(middle) - ADDED_OFFSET) < _OFFSET_NEARNESS * tolerance
        and np.median(apart) < _OFFSET_SPREAD * tolerance
        and apart.max() < _OFFSET_FARTHEST * tolerance
    )


def _is_mixed(
    shifts: Array, dark_shifts: Array, floors: tuple[float | None, float | None], bands: Sequence[str], both_assured: bool
) -> bool:
    """True where one date carries the offset; floors of (darker, brighter) date, else as in `UnitVerdict`."""
    darker, brighter = floors
    if darker is None or brighter is None:
        return is_added_offset(shifts, 0.5 if both_assured else 1.0)
    if brighter < _DISPROVED and darker > _IMPOSSIBLE:
        return False
    if darker > _DISPROVED:
        return is_added_offset(shifts, 0.5 if both_assured else 1.0)
    return _dark_ground_moved(shifts, dark_shifts, bands) or (is_added_offset(shifts) and not both_assured)


def _dark_ground_moved(shifts: Array, dark_shifts: Array, bands: Sequence[str]) -> bool:
    """True where dark ground changed by the offset in each short-wave band, and the scene went along."""
    direction = np.sign(np.median(shifts))
    apart = np.abs(dark_shifts[_swir(bands)] - direction * ADDED_OFFSET)
    return bool(apart.max() < _DARK_NEARNESS and abs(abs(np.median(shifts)) - ADDED_OFFSET) < _SCENE_NEARNESS)


def _is_same(floors: tuple[float | None, float | None]) -> bool:
    before, after = floors
    return (
        before is not None
        and after is not None
        and all(_IMPOSSIBLE < floor < _DISPROVED for floor in (before, after))
        and abs(after - before) < _ONE_FLOOR
    )


def seen_pixels(*dates: Sequence[Array]) -> tuple[Array, ...]:
    """Each date's samples as (band, pixel), of pixels that are finite in every band of every date; of very many, every so many."""
    step = max(1, sum(sample[0].size for sample in dates[0]) // _MOST_PIXELS)
    # Of the samples end to end, every so many-th: the rest is not copied.
    starts = [-start % step for start in accumulate((sample[0].size for sample in dates[0][:-1]), initial=0)]
    flat = [
        np.concatenate(
            [sample.reshape(len(sample), -1)[:, start::step] for sample, start in zip(date, starts, strict=True)], axis=1
        )
        for date in dates
    ]
    usable = np.all([np.isfinite(pixels).all(0) for pixels in flat], axis=0)
    return tuple(pixels[:, usable] for pixels in flat)


def _median_shifts(before: Array, after: Array) -> Array:
    if not before.size:
        return np.full(len(before), np.nan, np.float32)
    return np.asarray(np.median(after - before, axis=1) * QUANTIFICATION, np.float32)


def _swir(bands: Sequence[str]) -> list[int]:
    return [place for place, name in enumerate(bands) if name in _SWIR]


def _floor(pixels: Array, bands: Sequence[str]) -> float | None:
    """Reflectance of the darkest ground in the darker of the short-wave bands."""
    swir = _swir(bands)
    if not swir or pixels.shape[1] < _FEWEST_PIXELS:
        return None
    return float(np.percentile(pixels[swir], _FLOOR_PERCENT, axis=1).min())


def _dark_shifts(before: Array, after: Array, bands: Sequence[str], darker_first: bool) -> Array:
    """Median after − before per band, 1/10000 reflectance, where the darker date is at its floor."""
    swir = _swir(bands)
    if not swir or before.shape[1] < _FEWEST_PIXELS:
        return np.empty(0, np.float32)
    short = (before if darker_first else after)[swir].mean(0)
    dark = short <= np.percentile(short, _FLOOR_PERCENT)
    return _median_shifts(before[:, dark], after[:, dark])


_ASK = "Say what they are with --before-units and --after-units (dn, dn+1000 or reflectance)."


def _mixed_text(
    brighter: str,
    assured: dict[str, bool],
    shifts: Array,
    floors: tuple[float | None, float | None],
    dark_shifts: Array,
    bands: Sequence[str],
) -> str:
    """The question where one date carries the offset: what was found, and which option settles it."""
    darker = "before" if brighter == "after" else "after"
    if is_added_offset(shifts):
        found = (
            f"{brighter.capitalize()} is brighter than {darker} by about {abs(np.median(shifts)):.0f} DN in every band "
            f"({shifts.min():+.0f} to {shifts.max():+.0f})"
        )
    else:
        moved = ", ".join(f"{bands[place]} {dark_shifts[place]:+.0f} DN" for place in _swir(bands))
        found = f"The darkest ground of {darker} is brighter in {brighter} by the offset ({moved}; {_in_words(floors)})"
    # A rule that is only assumed has taken nothing off that could be too much.
    other = (
        f", if {darker} never carried the one that was taken off, --{darker}-units dn --trust-units" if assured[darker] else ""
    )
    return (
        f"{found}, as products since baseline 04.00 are before their offset is removed. If {brighter} still carries it, add "
        f"--{brighter}-units dn+1000{' --trust-units' if assured[brighter] else ''}{other}; "
        "if both dates really are in one unit, add --trust-units."
    )


def _why_unknown(floors: tuple[float | None, float | None]) -> str:
    if floors[0] is None or floors[1] is None:
        return "Without B11, B12 and enough ground, values cannot tell whether both dates are in one unit."
    return (
        f"Whether both dates are in one unit cannot be told from their darkest ground in the short-wave infrared ({_in_words(floors)}): "
        f"only below {_DISPROVED:g} on both dates, and alike, does it disprove an offset."
    )


def _in_words(floors: tuple[float | None, float | None]) -> str:
    """The floors, for a sentence."""
    return ", ".join(f"{floor:.3f} {side}" for side, floor in zip(("before", "after"), floors, strict=True) if floor is not None)
