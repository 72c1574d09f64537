"""What an open pair shows: units, overlap, what is usable and what hides it, shift, brightness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rasterio.windows import Window

from .card import ModelCard
from .clouds import TEST_NAME
from .findings import OK, STOP, WARNING, Finding
from .grid import apart, geodesic_area_m2
from .masks import doubtful_nodata
from .pair import Pair, PairWindow
from .radiometry import Array, compare_units, contradiction, other_scale, seen_pixels
from .scene_findings import scene_findings, season_findings
from .validity import LEAST_OBSERVED, QUALITY_NAMES, ClassRaster, Quality, tells_clouds

_LEAST_OVERLAP = 0.1
_LEAST_USABLE = 0.5
# Of what any band shows; at the edge of a swath bands end at different lines, which is less of a scene.
_FEW_GAPS = 0.002
# Below it the network sees little but the rim.
_SMALL_PX = 64
# ESA's own accuracy before the global reference image is 1.5 px; more has another cause.
_LARGE_SHIFT_PX = 1.5
_LARGE_RESIDUAL_PX = 0.3
# Reflectance, half a digital number: in the noise of some pixel and band two images are farther apart, and a copy in another unit is not.
_NO_DIFFERENCE = 0.00005
# Reflectance; haze or another sun, and more than calibration leaves between two dates (3 % of a bright surface).
_BRIGHTNESS = 0.03


def check_pair(pair: Pair, card: ModelCard | None, accept_level: bool = False, trust_units: bool = False) -> tuple[Finding, ...]:
    """All findings about an open pair, in the order in which people read them.

    Args:
        pair: open and measured.
        card: of the model that is to be used; None leaves it out.
        accept_level: the user takes another level than the model's.
        trust_units: the user has checked the units.
    """
    before, after = pair.before.acquisition, pair.after.acquisition
    return (
        *scene_findings(pair.before, pair.after, card, accept_level),
        *copy_findings(pair.ground),
        units_finding(pair, trust_units),
        overlap_finding(pair),
        *gap_findings(pair),
        *filled_findings(pair.ground, pair.bands),
        usable_finding(*_looked_at(pair)),
        clouds_finding(pair),
        *mask_findings(pair),
        shift_finding(pair),
        brightness_finding(pair.ground, pair.bands, pair.normalisation.done),
        *normalisation_findings(pair),
        *season_findings(before, after),
    )


def units_finding(pair: Pair, trust_units: bool) -> Finding:
    """Whether both dates are in one unit, by what their files say and by their numbers."""
    scenes = {"before": pair.before.select(pair.bands), "after": pair.after.select(pair.bands)}
    rules = {side: [band.rule for band in scene.bands.values()] for side, scene in scenes.items()}
    samples = {side: [getattr(sample, side) for sample in pair.ground] for side in scenes}
    for side in scenes:
        wrong = contradiction(samples[side], pair.bands, rules[side], side)
        if wrong:
            return _doubt(wrong, {"state": "contradiction"}, trust_units)
    products = all(rule.product for side in scenes for rule in rules[side])
    wrong = None if products else other_scale(samples["before"], samples["after"])
    if wrong:
        return _doubt(wrong, {"state": "contradiction"}, trust_units)
    assured = [all(rule.assured for rule in rules[side]) for side in scenes]
    verdict = compare_units(samples["before"], samples["after"], pair.bands, *assured)
    values = {name: value for name, value in asdict(verdict).items() if name != "text"}
    if verdict.state == "mixed" and products:
        text = (
            f"{str(verdict.side).capitalize()} is brighter by about what the offset of baseline 04.00 adds, though the products' metadata tell both units: "
            "thin cloud or haze over all of it looks so, and can be taken for change."
        )
        return Finding("units", WARNING, text, f"Look at {verdict.side}, or pick a clearer date.", values)
    if verdict.state == "mixed":
        return _doubt(verdict.text, values, trust_units)
    return Finding("units", OK if verdict.state == "same" or trust_units else WARNING, verdict.text, values=values)


def _doubt(text: str, values: dict[str, Any], trust_units: bool) -> Finding:
    if trust_units:
        return Finding("units", WARNING, text, "You said that the units are right.", values)
    return Finding("units", STOP, text, values=values)


def copy_findings(samples: Sequence[PairWindow]) -> tuple[Finding, ...]:
    """That both dates hold the same numbers, whatever their names and dates are; nothing where they do not."""
    before, after = seen_pixels([sample.before for sample in samples], [sample.after for sample in samples])
    if before.shape[1] < LEAST_OBSERVED or np.abs(after - before).max() > _NO_DIFFERENCE:
        return ()
    text = "Both dates hold the same numbers in all that was looked at, as no two images do: one is a copy of the other, and no change can be found."
    return (Finding("copy", WARNING, text, "Pick two dates."),)


def overlap_finding(pair: Pair) -> Finding:
    """How much of each scene the other covers."""
    shared = geodesic_area_m2(pair.grid)
    shares = {
        "before": min(1.0, shared / geodesic_area_m2(pair.base)),
        "after": min(1.0, shared / geodesic_area_m2(pair.after.select(pair.bands).grid)),
    }
    values = {f"overlap_{side}": round(share, 4) for side, share in shares.items()} | {"area_km2": round(shared / 1e6, 3)}
    text = f"The overlap measures {shared / 1e6:,.1f} km², {100 * shares['before']:.0f} % of before and {100 * shares['after']:.0f} % of after."
    if min(pair.grid.shape) < _SMALL_PX:
        side = f"{pair.grid.height} × {pair.grid.width} pixels"
        return Finding("overlap", WARNING, f"{text} It has only {side}.", "Pick scenes that share more ground.", values)
    if max(shares.values()) < _LEAST_OVERLAP:
        return Finding("overlap", WARNING, text, "Most of both is left out; pick scenes that share more ground.", values)
    return Finding("overlap", OK, text, values=values)


def _looked_at(pair: Pair) -> tuple[Sequence[PairWindow], Window, str]:
    """What speaks for the part of a pair that is asked for: samples, that part, and what it is called."""
    if pair.area is None:
        return pair.spread, pair.grid.window, "the overlap"
    windows = apart(pair.windows_over(pair.area.window))
    return [pair.read(window) for window in windows], pair.area.window, "the area of interest"


def usable_finding(samples: Sequence[PairWindow], part: Window, what: str = "the overlap") -> Finding:
    """Which share of the part that is asked for can be compared, and why the rest cannot.

    Args:
        samples: windows of it as they are read, no pixel in two of them.
        part: of the grid.
        what: that part is called.
    """
    counts = np.sum([np.bincount(sample.quality.ravel(), minlength=len(Quality)) for sample in samples], axis=0)
    whole = bool(counts.sum() == part.height * part.width)
    asked = int(counts.sum() - counts[Quality.OUTSIDE])
    share = float(counts[Quality.OBSERVED] / max(1, asked))
    reasons = {
        QUALITY_NAMES[code]: round(float(counts[code] / max(1, asked)), 4) for code in range(1, Quality.OUTSIDE) if counts[code]
    }
    values = {"usable_share": round(share, 4) if asked else None, "reasons": reasons, "exact": whole}
    if not asked:
        return Finding(
            "usable", WARNING, "None of the places that were looked at lies in the area of interest.", "Look at the map.", values
        )
    why = ", ".join(f"{name} {100 * part:.1f} %" for name, part in sorted(reasons.items(), key=lambda item: -item[1]))
    text = f"{'' if whole else 'About '}{100 * share:.1f} % of {what} can be compared" + (f" ({why})." if why else ".")
    if not counts[Quality.OBSERVED]:
        text = "No pixel is observed on both dates" + (f" ({why})." if why else ".")
        advice = "Pick other scenes, look at the masks, or check which value means nodata."
        # Samples that leave ground out prove nothing; the run itself then looks at all of it.
        return Finding("usable", STOP if whole else WARNING, text, advice, values)
    if share < _LEAST_USABLE:
        return Finding("usable", WARNING, text, "Pick scenes with more clear ground in common.", values)
    return Finding("usable", OK, text, values=values)


def gap_findings(pair: Pair) -> tuple[Finding, ...]:
    """That a date lacks some bands where it has others, so that nothing is observed there; nothing where it does not."""
    found = []
    for side, scene, gaps in zip(("before", "after"), (pair.before, pair.after), pair.gaps, strict=True):
        empty = [name for name, share in gaps.items() if share == 1]
        if empty:
            text = f"In all that was looked at {side} has no data in {', '.join(empty)}, so nothing is observed there."
            advice = "Get it again with all bands."
            if len({band.path for band in scene.bands.values()}) == 1:
                advice += f" A --method without a model takes the others if {', '.join(empty)} is - in --{side}-bands."
            # Samples that leave ground out prove nothing.
            whole = sum(sample.quality.size for sample in pair.ground) == pair.grid.width * pair.grid.height
            found.append(
                Finding("gaps", STOP if whole else WARNING, text, advice, {"side": side, "lacking": dict.fromkeys(empty, 1.0)})
            )
            continue
        lacking = {name: share for name, share in gaps.items() if share > _FEW_GAPS}
        # Products tell no data by 0 and cut nothing off there.
        if not lacking or scene.product:
            continue
        text = f"In {100 * max(lacking.values()):.1f} % of what {side} shows it has no data in {', '.join(lacking)}, so nothing is observed there."
        advice = (
            "Where that is water or deep shadow, which exports cut off at 0, another nodata than 0 has it observed, such as "
            "with gdal_edit.py -a_nodata 65535 FILE."
        )
        found.append(Finding("gaps", WARNING, text, advice, {"side": side, "lacking": lacking}))
    return tuple(found)


def filled_findings(samples: Sequence[PairWindow], bands: Sequence[str]) -> tuple[Finding, ...]:
    """That a date holds one number in some bands, and not in others, which fills their place; nothing where it does not."""
    found = []
    dates = seen_pixels([sample.before for sample in samples], [sample.after for sample in samples])
    for side, pixels in zip(("before", "after"), dates, strict=True):
        if pixels.shape[1] < LEAST_OBSERVED:
            continue
        filled = [name for name, flat in zip(bands, np.ptp(pixels, axis=1) == 0, strict=True) if flat]
        if filled and len(filled) < len(bands):
            text = f"{side.capitalize()} holds one number in {', '.join(filled)} throughout, as what only fills a band's place does: that is taken for ground."
            found.append(Finding("gaps", WARNING, text, "Get it again with all bands.", {"side": side, "filled": filled}))
    return tuple(found)


def clouds_finding(pair: Pair) -> Finding:
    """Which masks say where a date is not usable."""
    origins = {
        side: [mask.origin for mask in masks if tells_clouds(mask)]
        for side, masks in zip(("before", "after"), pair.masks, strict=True)
    }
    said = "; ".join(f"{side}: {', '.join(names) or 'none'}" for side, names in origins.items())
    lost = [scene.lost_mask for scene in (pair.before, pair.after) if scene.lost_mask]
    if lost and pair.options.clouds in ("auto", "product"):
        text = f"The quality raster {lost[0]}, which a prepared scene names, is not there; clouds are masked otherwise ({said})."
        return Finding("clouds", WARNING, text, "Put it back, or give another mask.", origins)
    unused = _of_unused_masks(pair)
    if all(origins.values()):
        alike = origins["before"] == origins["after"]
        each = "; ".join(f"on {side} by {', '.join(names)}" for side, names in origins.items())
        text = f"Clouds are masked on both dates by {', '.join(origins['before'])}." if alike else f"Clouds are masked {each}."
        return Finding("clouds", WARNING if unused else OK, f"{unused}{text}{_of_the_test(pair, said)}", values=origins)
    return Finding(
        "clouds",
        WARNING,
        f"{unused}Clouds are not masked on every date ({said}), and a cloud on one date is easily taken for change.",
        "Look at both dates; give a mask with --before-mask or --after-mask, or try --clouds spectral.",
        origins,
    )


def _of_unused_masks(pair: Pair) -> str:
    """What the dates bring to tell clouds and is not used, as sentences to go before another; "" where nothing is missed."""
    if pair.options.clouds not in ("auto", "product"):
        return ""
    sides = (("before", pair.before, pair.options.before_mask), ("after", pair.after, pair.options.after_mask))
    missed: dict[str, list[str]] = {}
    for side, scene, own in sides:
        if scene.unused_mask and not own:
            missed.setdefault(scene.unused_mask, []).append(side)
    return "".join(f"{' and '.join(names).capitalize()}: {reason}. " for reason, names in missed.items())


def mask_findings(pair: Pair) -> tuple[Finding, ...]:
    """That a mask of the user's own may call its clouds nodata; nothing where none does."""
    found = []
    for side, masks in zip(("before", "after"), pair.masks, strict=True):
        for mask in [mask for mask in masks if isinstance(mask, ClassRaster) and mask.other is not None]:
            nodata = doubtful_nodata(mask, pair.grid, pair.sampled)
            if nodata is not None:
                text = f"{mask.origin[0].upper()}{mask.origin[1:]} masks nothing on {side} of what was looked at, and holds its nodata, {nodata:g}, there."
                advice = f"If {nodata:g} is cloud, unset the nodata: gdal_edit.py -unsetnodata FILE."
                found.append(Finding("mask", WARNING, text, advice, {"side": side, "nodata": nodata}))
    return tuple(found)


def _of_the_test(pair: Pair, said: str) -> str:
    """What must be known of the spectral test where that is the mask, as a sentence to follow another; else nothing."""
    if TEST_NAME not in said:
        return ""
    codes = np.concatenate([sample.quality.ravel() for sample in pair.spread])
    share = 100 * float(np.isin(codes, (Quality.CLOUD, Quality.CLOUD_SHADOW)).mean())
    return (
        f" It finds {share:.1f} % under clouds, and misses thin and small ones, and thick ones under a low sun, which are easily taken for "
        "change: look at both dates."
    )


def shift_finding(pair: Pair) -> Finding:
    """The shift between the dates, and what is left of it."""
    shift = pair.shift
    values: dict[str, Any] = {"measured": shift.measured, "rows": shift.rows, "cols": shift.cols, "varies": shift.varies}
    values |= {"largest": shift.largest_px, "spread": shift.spread_px, "residual": shift.residual_px}
    if not pair.options.register:
        return Finding(
            "shift", WARNING, shift.text, "Have it measured and taken out, unless the dates are registered already.", values
        )
    if not shift.measured:
        return Finding(
            "shift", WARNING, shift.text, "Look at edges in both dates; where they are apart, they come out as change.", values
        )
    if shift.largest_px > _LARGE_SHIFT_PX:
        return Finding("shift", WARNING, shift.text, "That is more than Sentinel-2's own; look at edges in both dates.", values)
    if max(shift.residual_px or 0, shift.spread_px) > _LARGE_RESIDUAL_PX:
        return Finding("shift", WARNING, shift.text, "Places disagree by more than that; look at edges in both dates.", values)
    return Finding("shift", OK, shift.text, values=values)


def brightness_finding(samples: Sequence[PairWindow], bands: Sequence[str], evened_out: bool = False) -> Finding:
    """How much brighter `after` is in each band, on pixels whose colour stayed, before it is evened out."""
    differences = stable_differences(samples)
    values = {name: round(float(value), 4) for name, value in zip(bands, differences, strict=True) if np.isfinite(value)}
    if not values:
        return Finding("brightness", WARNING, "The brightness of the two dates cannot be compared: too little is seen on both.")
    name = max(values, key=lambda band: abs(values[band]))
    text = f"On ground whose colour stayed, after differs from before by {values[name]:+.3f} reflectance in {name}, less in other bands."
    if abs(values[name]) > _BRIGHTNESS and not evened_out:
        return Finding("brightness", WARNING, text, "Haze, another sun or another season; --normalise evens it out.", values)
    return Finding("brightness", OK, text, values=values)


def stable_differences(samples: Sequence[PairWindow]) -> Array:
    """Median after − before of each band over the half of the pixels whose spectrum turned least: float32 (band,), NaN where unseen.

    The angle between two spectra does not depend on their brightness (Kruse et al. 1993, Remote Sensing of Environment 44,
    the spectral angle mapper), so ground that changed is left out and haze or another sun is not.
    """
    before, after = seen_pixels([sample.before for sample in samples], [sample.after for sample in samples])
    if before.shape[1] < 100:
        return np.full(len(before), np.nan, np.float32)
    cosine = (before * after).sum(0) / np.maximum(np.linalg.norm(before, axis=0) * np.linalg.norm(after, axis=0), 1e-9)
    stable = cosine >= np.median(cosine)
    return np.asarray(np.median((after - before)[:, stable], axis=1), np.float32)


def normalisation_findings(pair: Pair) -> tuple[Finding, ...]:
    """What the radiometric normalisation did, where it was asked for."""
    if not pair.options.normalise:
        return ()
    done = pair.normalisation.done
    values = asdict(pair.normalisation)
    return (Finding("normalisation", OK if done else WARNING, pair.normalisation.text, values=values),)
