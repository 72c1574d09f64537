"""Thresholds and calibration fitted on other folds, and what the scores are then.

Everything here is counted on stored probability: for each city, how many changed and how many calm pixels have each level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from s2change_plugin.engine.scores import Confusion
from s2change_plugin.engine.validity import Codes

from .prepare import Labels

# (2, 251): calm and changed pixels of each level of stored probability.
Counts = NDArray[np.int64]
# Calibrated probability of each level, (251, ).
Curve = NDArray[np.float64]
Calibration = Callable[[Counts], Curve]

LEVELS = 251
BINS, ABOVE = 15, 0.05


def counted(levels: Codes, change: Labels) -> Counts:
    """Pixels by truth and level; unlabelled and unseen ones do not count."""
    counts = (levels != 255) & (change != 255)
    return np.stack([np.bincount(levels[counts & (change == truth)], minlength=LEVELS) for truth in (0, 1)])


def confusion_at(counts: Counts, level: int) -> Confusion:
    """Confusion where a level and those above are called change."""
    calm, change = counts[:, level:].sum(1)
    total = counts.sum(1)
    return Confusion(int(change), int(calm), int(total[1] - change), int(total[0] - calm))


def best_level(counts: Counts) -> int:
    """The level, from 1 up, with the highest F1."""
    calm, change = counts[:, ::-1].cumsum(1)[:, ::-1]
    f1 = 2 * change / np.maximum(1, change + calm + counts[1].sum())
    return 1 + int(np.argmax(f1[1:]))


def average_precision(counts: Counts) -> float:
    """Area under the precision–recall curve, each level one step of it."""
    calm, change = counts[:, ::-1].cumsum(1)
    precision = change / np.maximum(1, calm + change)
    return float((precision * counts[1, ::-1]).sum() / max(1, counts[1].sum()))


def temperature(counts: Counts) -> Curve:
    """A line through the logits that minimises the cross-entropy (Platt 1999; with slope alone: Guo et al. 2017)."""
    x, weights = _logits(_midpoints()), counts / counts.sum()

    def cost(line: NDArray[np.float64]) -> float:
        z = line[0] + line[1] * x
        return float((weights[0] * np.logaddexp(0, z) + weights[1] * np.logaddexp(0, -z)).sum())

    line = minimize(cost, np.array([0.0, 1.0]), method="Nelder-Mead").x
    return np.asarray(expit(line[0] + line[1] * x), np.float64)


def isotonic(counts: Counts) -> Curve:
    """The rising step function of the level that fits best (Zadrozny and Elkan 2002)."""
    total = counts.sum(0)
    there = total > 0
    fitted = isotonic_regression(counts[1, there] / total[there], weights=total[there]).x
    return np.asarray(np.interp(np.arange(LEVELS), np.flatnonzero(there), fitted), np.float64)


def as_it_is(counts: Counts) -> Curve:
    """No calibration."""
    return _midpoints()


CALIBRATIONS: dict[str, Calibration] = {"none": as_it_is, "temperature": temperature, "isotonic": isotonic}


def reliability(groups: Sequence[tuple[Counts, Curve]]) -> dict[str, Any]:
    """How far calibrated probability is from what happened, over pixels with probability above 0.05.

    Args:
        groups: pixels, each with the calibration that was fitted without them.

    Returns:
        error: mean distance of predicted and true share over 15 bins of equal mass, weighted by mass; slope: of the logistic
        regression of truth on the logit; skill: Brier skill against the prevalence among these pixels; bins: (predicted, true).
        All None where these pixels are all of one kind.
    """
    probability = np.concatenate([curve for _, curve in groups])
    pixels = np.concatenate([counts for counts, _ in groups], axis=1)
    order = np.argsort(probability, kind="stable")
    order = order[probability[order] > ABOVE]
    p = probability[order]
    calm, change = pixels[:, order].astype(float)
    mass = calm + change
    prevalence = change.sum() / max(1, mass.sum())
    if prevalence in (0, 1):
        return {"error": None, "slope": None, "skill": None, "bins": []}
    share = mass.sum() / BINS
    bins = np.minimum(((mass.cumsum() - mass / 2) / share).astype(int), BINS - 1)
    held, said, true = (np.bincount(bins, values, BINS).astype(float) for values in (mass, mass * p, change))
    full = held > 0
    said, true, held = said[full] / held[full], true[full] / held[full], held[full] / mass.sum()
    brier = (change * (1 - p) ** 2 + calm * p**2).sum() / mass.sum()
    return {
        "error": round(float((held * np.abs(said - true)).sum()), 4),
        "slope": round(_slope(p, calm, change), 3),
        "skill": round(float(1 - brier / (prevalence * (1 - prevalence))), 4),
        "bins": np.round([said, true], 4).T.tolist(),
    }


def summary(seeds: Sequence[dict[str, Codes]], truth: dict[str, Labels], folds: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Scores of out-of-fold predictions, with every fold's threshold and calibration fitted on the other folds.

    Args:
        seeds: for each seed, city to stored probability.
        truth: city to label.
        folds: of cities.

    Returns:
        one entry per seed, their mean and deviation, and what the seeds' mean probability (an ensemble) would score.
    """
    each = [_scored({name: counted(levels[name], truth[name]) for name in truth}, folds) for levels in seeds]
    mean = {
        name: np.where(truth[name] == 255, 255, np.rint(np.mean([levels[name] for levels in seeds], axis=0))).astype(np.uint8)
        for name in truth
    }
    names = ("f1", "precision", "recall", "iou", "pr_auc", "prevalence")
    pooled = [one["pooled"] for one in each]
    return {
        "mean": {name: round(float(np.mean([one[name] for one in pooled])), 4) for name in names},
        "deviation": {name: round(float(np.std([one[name] for one in pooled], ddof=min(1, len(each) - 1))), 4) for name in names},
        "ensemble": _scored({name: counted(mean[name], truth[name]) for name in truth}, folds),
        "seeds": each,
    }


def _scored(counts: dict[str, Counts], folds: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Scores of one set of out-of-fold predictions."""
    total = sum(counts.values(), np.zeros((2, LEVELS), np.int64))
    cities: dict[str, Confusion] = {}
    thresholds: list[float] = []
    calibrated: dict[str, list[tuple[Counts, Curve]]] = {name: [] for name in CALIBRATIONS}
    for fold in folds:
        here = sum((counts[name] for name in fold), np.zeros((2, LEVELS), np.int64))
        level = best_level(total - here)
        thresholds.append(round(level * 0.004, 3))
        cities |= {name: confusion_at(counts[name], level) for name in fold}
        for name, calibration in CALIBRATIONS.items():
            calibrated[name].append((here, calibration(total - here)))
    per_city = {name: {**cities[name].as_dict(), "pr_auc": round(average_precision(counts[name]), 4)} for name in sorted(cities)}
    names = ("f1", "precision", "recall", "iou", "pr_auc")
    return {
        "pooled": {**sum(cities.values(), Confusion()).as_dict(), "pr_auc": round(average_precision(total), 4)},
        "mean_of_cities": {name: round(float(np.mean([one[name] for one in per_city.values()])), 4) for name in names},
        "best_f1_in_hindsight": round(confusion_at(total, best_level(total)).f1, 4),
        "thresholds": thresholds,
        "cities": per_city,
        "calibration": {name: reliability(groups) for name, groups in calibrated.items()},
    }


def _midpoints() -> Curve:
    """The probability that each level stands for; the outermost stand for a quarter step inside."""
    return np.clip(np.arange(LEVELS) / (LEVELS - 1), 0.001, 0.999)


def _logits(probability: Curve) -> Curve:
    inside = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)


def _slope(p: Curve, calm: NDArray[np.float64], change: NDArray[np.float64]) -> float:
    """Slope of the logistic regression of truth on the logit: 1 where calibrated, below where predictions are too extreme."""
    x = _logits(p)
    total = calm.sum() + change.sum()

    def cost(line: NDArray[np.float64]) -> float:
        z = line[0] + line[1] * x
        return float((calm * np.logaddexp(0, z) + change * np.logaddexp(0, -z)).sum() / total)

    return float(minimize(cost, np.array([0.0, 1.0]), method="Nelder-Mead").x[1])
