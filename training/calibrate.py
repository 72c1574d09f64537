"""Thresholds and calibration fitted on other folds, and what the scores are then.

Everything here is counted on stored probability: for each city, how many changed and how many calm pixels have each level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize

from s2change_plugin.engine.scores import GOALS, Beta, Confusion, calibrated
from s2change_plugin.engine.validity import Codes

from .prepare import Labels

# (2, 251): calm and changed pixels of each level of stored probability.
Counts = NDArray[np.int64]
# Calibrated probability of each level, (251, ).
Curve = NDArray[np.float64]
Calibration = Callable[[Counts], Curve]

LEVELS = 251
STEP = 0.004
BINS, ABOVE = 15, 0.05
# The precision or recall that the goals of this name ask for; see `scores.GOALS`.
WANTED = 0.8
# Of `reliability`.
MEASURES = ("error", "slope", "skill", "skill_over_all")
SCORES = ("f1", "precision", "recall", "iou", "pr_auc", "prevalence")


def counted(levels: Codes, change: Labels) -> Counts:
    """Pixels by truth and level; unlabelled and unseen ones do not count."""
    counts = (levels != 255) & (change != 255)
    return np.stack([np.bincount(levels[counts & (change == truth)], minlength=LEVELS) for truth in (0, 1)])


def confusion_at(counts: Counts, level: int) -> Confusion:
    """Confusion where a level and those above are called change; at `LEVELS` nothing is."""
    calm, change = counts[:, level:].sum(1)
    total = counts.sum(1)
    return Confusion(int(change), int(calm), int(total[1] - change), int(total[0] - calm))


def best_level(counts: Counts) -> int:
    """The level, from 1 up, with the highest F1."""
    calm, change = counts[:, ::-1].cumsum(1)[:, ::-1]
    f1 = 2 * change / np.maximum(1, change + calm + counts[1].sum())
    return 1 + int(np.argmax(f1[1:]))


def goal_levels(counts: Counts) -> dict[str, int | None]:
    """The level, from 1 up, for each of `GOALS`.

    That with the highest F1; the lowest with a precision of `WANTED` or more; the highest with such a recall. None where there
    is none.
    """
    precise = [level for level in range(1, LEVELS) if confusion_at(counts, level).precision >= WANTED]
    complete = [level for level in range(1, LEVELS) if confusion_at(counts, level).recall >= WANTED]
    return {
        "f1": best_level(counts),
        "precision": min(precise, default=None),
        "recall": max(complete, default=None),
    }


def curve(counts: Counts) -> NDArray[np.float64]:
    """Recall and precision, (point, 2), where each level and those above are called change, the highest first."""
    calm, change = counts[:, ::-1].cumsum(1)
    found = calm + change > 0
    recall, precision = change / max(1, counts[1].sum()), change / np.maximum(1, calm + change)
    return np.asarray(np.stack([recall, precision], axis=1)[found], np.float64)


def average_precision(counts: Counts) -> float:
    """Area under the precision–recall curve, each level one step of it."""
    calm, change = counts[:, ::-1].cumsum(1)
    precision = change / np.maximum(1, calm + change)
    return float((precision * counts[1, ::-1]).sum() / max(1, counts[1].sum()))


def best_beta(counts: Counts, line: bool = False) -> Beta:
    """The beta calibration that minimises the cross-entropy; see `scores.calibrated`.

    Args:
        counts: of the pixels that it is fitted to.
        line: both weights alike, which makes it a line through the logit.
    """
    weights = counts / counts.sum()

    def beta(free: NDArray[np.float64]) -> Beta:
        # The exponential keeps the weights positive.
        return float(free[0]), float(np.exp(free[1])), float(np.exp(free[1 if line else 2]))

    def cost(free: NDArray[np.float64]) -> float:
        p = np.clip(beta_curve(beta(free)), 1e-12, 1 - 1e-12)
        return float(-(weights[0] * np.log1p(-p) + weights[1] * np.log(p)).sum())

    return beta(minimize(cost, np.zeros(2 if line else 3), method="Nelder-Mead", options={"maxfev": 4000}).x)


def beta_curve(calibration: Beta) -> Curve:
    """The probability that each level has after a calibration."""
    return np.asarray(calibrated(_logits(_midpoints()), calibration), np.float64)


def beta(counts: Counts) -> Curve:
    """Beta calibration (Kull, Silva Filho, Flach 2017)."""
    return beta_curve(best_beta(counts))


def temperature(counts: Counts) -> Curve:
    """Calibration by the best line through the logits (Platt 1999)."""
    return beta_curve(best_beta(counts, line=True))


def isotonic(counts: Counts) -> Curve:
    """The rising step function of the level that fits best (Zadrozny and Elkan 2002)."""
    total = counts.sum(0)
    there = total > 0
    fitted = isotonic_regression(counts[1, there] / total[there], weights=total[there]).x
    return np.asarray(np.interp(np.arange(LEVELS), np.flatnonzero(there), fitted), np.float64)


def as_it_is(counts: Counts) -> Curve:
    """No calibration."""
    return _midpoints()


CALIBRATIONS: dict[str, Calibration] = {"none": as_it_is, "temperature": temperature, "beta": beta, "isotonic": isotonic}
# The kind that a card carries.
CARRIED = "beta"


def reliability(groups: Sequence[tuple[Counts, Curve]]) -> dict[str, Any]:
    """How far calibrated probability is from what happened, over pixels with probability above 0.05.

    Args:
        groups: pixels, each with the calibration that was fitted without them.

    Returns:
        error: mean distance of predicted and true share over 15 bins of equal mass, weighted by mass; slope: of the logistic
        regression of truth on the logit; skill: Brier skill against the prevalence among these pixels, skill_over_all: against the
        share of change among all pixels, a smaller one; bins: (predicted, true).
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
        return {**dict.fromkeys(MEASURES), "bins": []}
    share = mass.sum() / BINS
    bins = np.minimum(((mass.cumsum() - mass / 2) / share).astype(int), BINS - 1)
    held, said, true = (np.bincount(bins, values, BINS).astype(float) for values in (mass, mass * p, change))
    full = held > 0
    said, true, held = said[full] / held[full], true[full] / held[full], held[full] / mass.sum()
    brier = (change * (1 - p) ** 2 + calm * p**2).sum() / mass.sum()
    everywhere = pixels[1].sum() / pixels.sum()
    # Of who says that everywhere, these pixels among others.
    simple = prevalence * (1 - everywhere) ** 2 + (1 - prevalence) * everywhere**2
    return {
        "error": round(float((held * np.abs(said - true)).sum()), 4),
        "slope": round(_slope(p, calm, change), 3),
        "skill": round(float(1 - brier / (prevalence * (1 - prevalence))), 4),
        "skill_over_all": round(float(1 - brier / simple), 4),
        "bins": np.round([said, true], 4).T.tolist(),
    }


def summary(
    seeds: Sequence[dict[str, Codes]],
    truth: dict[str, Labels],
    folds: Sequence[tuple[str, ...]],
    chosen_on: Sequence[dict[str, Codes]] | None = None,
) -> dict[str, Any]:
    """Scores of out-of-fold predictions, with every fold's threshold and calibration fitted on the other folds.

    Args:
        seeds: for each seed, city to stored probability.
        truth: city to label.
        folds: of cities.
        chosen_on: the same of the predictions of the other folds to which threshold and calibration are fitted; None has those that are scored.

    Returns:
        seeds: scores of each; mean and deviation over them of the pooled scores, and of mean_of_cities, cities, goals and
        calibration; ensemble: what the seeds' mean probability would score.
    """
    each, every = ([_counts(levels, truth) for levels in one] for one in (seeds, chosen_on or seeds))
    found = [_scored(one, folds, others) for one, others in zip(each, every, strict=True)]
    mean, others = (_counts(_mean(one, truth), truth) for one in (seeds, chosen_on or seeds))
    return {
        **over_seeds([one["pooled"] for one in found]),
        "mean_of_cities": over_seeds([one["mean_of_cities"] for one in found]),
        "cities": {name: over_seeds([one["cities"][name] for one in found]) for name in found[0]["cities"]},
        "goals": {goal: over_seeds([one["goals"][goal]["pooled"] for one in found]) for goal in GOALS},
        "calibration": {name: over_seeds([one["calibration"][name] for one in found], MEASURES) for name in CALIBRATIONS},
        "ensemble": _scored(mean, folds, others),
        "seeds": found,
    }


def _counts(levels: dict[str, Codes], truth: dict[str, Labels]) -> dict[str, Counts]:
    return {name: counted(levels[name], truth[name]) for name in truth}


def _mean(seeds: Sequence[dict[str, Codes]], truth: dict[str, Labels]) -> dict[str, Codes]:
    """Of each city's stored probability over seeds, where it is labelled."""
    return {
        name: np.where(truth[name] == 255, 255, np.rint(np.mean([levels[name] for levels in seeds], axis=0))).astype(np.uint8)
        for name in truth
    }


def over_seeds(each: Sequence[dict[str, Any]], names: Sequence[str] = SCORES) -> dict[str, dict[str, float | None]]:
    """Mean and deviation of each score that the seeds have; None where a seed has None, or for the deviation of one seed."""
    there = [name for name in names if name in each[0]]
    values = {name: [one[name] for one in each] for name in there}
    whole = {name: None not in found for name, found in values.items()}
    return {
        "mean": {name: round(float(np.mean(found)), 4) if whole[name] else None for name, found in values.items()},
        "deviation": {
            name: round(float(np.std(found, ddof=1)), 4) if whole[name] and len(each) > 1 else None
            for name, found in values.items()
        },
    }


def scores_at(counts: dict[str, Counts], levels: dict[str, int]) -> dict[str, Any]:
    """Scores of cities, each with its own level for change: by city, of all pixels pooled, and the mean of the cities with change.

    Where nothing changed there is nothing to find, and F1 is 0 of a perfect map too.
    """
    found = {name: confusion_at(counts[name], levels[name]) for name in sorted(counts)}
    cities = {name: {**one.as_dict(), "pr_auc": round(average_precision(counts[name]), 4)} for name, one in found.items()}
    total = pooled(counts.values())
    with_change = [cities[name] for name, one in found.items() if one.tp + one.fn] or list(cities.values())
    return {
        "pooled": {**sum(found.values(), Confusion()).as_dict(), "pr_auc": round(average_precision(total), 4)},
        "mean_of_cities": {name: round(float(np.mean([one[name] for one in with_change])), 4) for name in SCORES},
        "cities": cities,
    }


def pooled(counts: Iterable[Counts]) -> Counts:
    """All pixels together."""
    return sum(counts, np.zeros((2, LEVELS), np.int64))


def card_values(seeds: Sequence[dict[str, Codes]], truth: dict[str, Labels], scores: dict[str, Any]) -> dict[str, Any]:
    """What the card of a model that is fitted to all the cities says of calibration, thresholds and accuracy.

    Calibration and thresholds are fitted to the out-of-fold predictions of all cities and seeds together; the scores come from
    those that were fitted without the city's fold.

    Args:
        seeds: for each seed, city to stored probability.
        truth: city to label.
        scores: their `summary`.

    Returns:
        calibration: see `scores.calibrated`; thresholds: for each of `GOALS`, of the calibrated
        probability as it is stored, a multiple of 0.004, or None where the goal is out of reach; goals: pooled scores at
        them; pooled, mean_of_cities, cities: at the threshold for F1; reliability: error, slope and skill after calibration.
    """
    counts = pooled(counted(levels[name], truth[name]) for levels in seeds for name in truth)
    offset, *weights = (round(value, 4) for value in best_beta(counts))
    # What rounds to nothing is still positive, as the card has it.
    rising, falling = (max(weight, 0.0001) for weight in weights)
    levels = goal_levels(recounted(counts, beta_curve((offset, rising, falling))))
    return {
        "calibration": [offset, rising, falling],
        "thresholds": {goal: level and threshold_of(level) for goal, level in levels.items()},
        "goals": {goal: one["mean"] for goal, one in scores["goals"].items()},
        "pooled": scores["mean"],
        "mean_of_cities": scores["mean_of_cities"]["mean"],
        "cities": {name: one["mean"] for name, one in scores["cities"].items()},
        "reliability": scores["calibration"][CARRIED]["mean"],
    }


def recounted(counts: Counts, calibrated: Curve) -> Counts:
    """The same pixels by the level that they are stored with after calibration."""
    levels = np.rint(calibrated / STEP).astype(int)
    return np.stack([np.bincount(levels, one, LEVELS) for one in counts]).astype(np.int64)


def threshold_of(level: int) -> float:
    """The probability that a level stands for."""
    return round(level * STEP, 3)


def _scored(counts: dict[str, Counts], folds: Sequence[tuple[str, ...]], others: dict[str, Counts]) -> dict[str, Any]:
    """Scores of one set of out-of-fold predictions, with thresholds and calibration of the others'; see `summary`.

    A fold for which a goal is out of reach on the others has no threshold for it, and nothing in it is called change then.
    """
    total, known = pooled(counts.values()), pooled(others.values())
    here = [pooled(counts[name] for name in fold) for fold in folds]
    elsewhere = [known - pooled(others[name] for name in fold) for fold in folds]
    levels = [goal_levels(one) for one in elsewhere]
    goals: dict[str, dict[str, Any]] = {}
    for goal in GOALS:
        chosen = {name: at[goal] or LEVELS for fold, at in zip(folds, levels, strict=True) for name in fold}
        goals[goal] = {"thresholds": [(level := at[goal]) and threshold_of(level) for at in levels], **scores_at(counts, chosen)}
    best = goals["f1"]
    return {
        "pooled": best["pooled"],
        "mean_of_cities": best["mean_of_cities"],
        "best_f1_in_hindsight": round(confusion_at(total, best_level(total)).f1, 4),
        "cities": best["cities"],
        "goals": {goal: {name: one[name] for name in ("thresholds", "pooled")} for goal, one in goals.items()},
        "betas": [[round(value, 4) for value in best_beta(one)] for one in elsewhere],
        "calibration": {
            name: reliability([(one, calibration(other)) for one, other in zip(here, elsewhere, strict=True)])
            for name, calibration in CALIBRATIONS.items()
        },
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
