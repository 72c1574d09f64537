import json

import numpy as np
import pytest

from s2change_plugin.engine.outputs import applied_threshold, to_mask
from s2change_plugin.engine.scores import calibrated, confusion
from training.calibrate import (
    LEVELS,
    average_precision,
    best_beta,
    best_level,
    beta,
    beta_curve,
    card_values,
    confusion_at,
    counted,
    curve,
    goal_levels,
    isotonic,
    recounted,
    reliability,
    scores_at,
    summary,
    temperature,
)


def drawn(true: np.ndarray, pixels: int = 100_000) -> np.ndarray:
    """Counts of pixels whose level is uniform and whose chance of change is as given, exact to the pixel."""
    change = np.rint(true * pixels).astype(np.int64)
    return np.stack([pixels - change, change])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


SAID = np.clip(np.arange(LEVELS) / 250, 0.001, 0.999)
LOGITS = np.log(SAID / (1 - SAID))


def test_counts_give_the_confusion_that_the_engine_gives() -> None:
    random = np.random.default_rng(0)
    levels = random.integers(0, 251, (40, 50)).astype(np.uint8)
    levels[:3] = 255
    change = (random.random((40, 50)) < levels / 300).astype(np.uint8)
    change[:, :4] = 255
    engine = [confusion(to_mask(levels, applied_threshold(level * 0.004)), change) for level in range(LEVELS)]
    counts = counted(levels, change)
    assert all(confusion_at(counts, level) == engine[level] for level in range(LEVELS))
    assert best_level(counts) == max(range(1, LEVELS), key=lambda level: engine[level].f1)


def test_each_goal_gets_the_level_that_gives_most_of_the_other_side() -> None:
    counts = drawn(SAID)
    found = goal_levels(counts)
    at = {goal: confusion_at(counts, level) for goal, level in found.items() if level}
    assert at["precision"].precision >= 0.8 > confusion_at(counts, found["precision"] - 1).precision
    assert at["recall"].recall >= 0.8 > confusion_at(counts, found["recall"] + 1).recall
    assert at["f1"].f1 == max(confusion_at(counts, level).f1 for level in range(1, LEVELS))


def test_a_goal_that_no_threshold_reaches_has_none() -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[0, 200], counts[1, 200], counts[1, 0] = 100, 50, 50
    assert goal_levels(counts) == {"f1": best_level(counts), "precision": None, "recall": None}


def test_a_curve_runs_from_the_surest_pixels_to_all_of_them() -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[1, 200], counts[0, 100], counts[1, 100], counts[0, 0] = 30, 10, 10, 50
    points = curve(counts)
    assert points[0].tolist() == [0.75, 1]
    assert [1, 0.8] in points.tolist()
    assert points[-1].tolist() == [1, 0.4]


def test_average_precision_is_one_for_a_perfect_order_and_the_prevalence_for_none() -> None:
    perfect = np.zeros((2, LEVELS), np.int64)
    perfect[0, :100], perfect[1, 100:] = 5, 1
    assert average_precision(perfect) == 1
    assert average_precision(drawn(np.full(LEVELS, 0.2))) == pytest.approx(0.2, abs=0.001)


def test_a_line_through_the_logits_is_found_again() -> None:
    true = sigmoid(-0.7 + 0.5 * LOGITS)
    assert np.abs(temperature(drawn(true)) - true).max() < 0.002


def test_a_beta_curve_is_found_again_where_a_line_is_not_enough() -> None:
    true = calibrated(LOGITS, (-0.5, 1.4, 0.4))
    assert np.abs(beta(drawn(true)) - true).max() < 0.005
    assert np.abs(temperature(drawn(true)) - true).max() > 0.02


def test_an_isotonic_curve_rises_and_follows_any_rising_truth() -> None:
    true = SAID**3
    found = isotonic(drawn(true))
    assert (np.diff(found) >= 0).all()
    assert np.abs(found - true).max() < 0.002


def test_reliability_of_honest_probability_is_perfect_and_of_boasting_is_not() -> None:
    honest = reliability([(drawn(SAID), SAID)])
    assert honest["error"] < 0.005
    assert honest["slope"] == pytest.approx(1, abs=0.01)
    assert len(honest["bins"]) == 15
    # Chances uniform between 0.05 and 1: mean 0.525, mean square 0.351, so 1 − (0.525 − 0.351) / (0.525 × 0.475).
    assert honest["skill"] == pytest.approx(0.302, abs=0.005)
    assert honest["skill_over_all"] > honest["skill"]
    boasting = reliability([(drawn(sigmoid(0.5 * LOGITS)), SAID)])
    assert boasting["slope"] == pytest.approx(0.5, abs=0.02)
    assert boasting["error"] > 0.05


def test_pixels_of_small_probability_do_not_count() -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[1, 5] = 1000  # wrong, but said to be 0.02
    counts[:, 125] = 100
    assert reliability([(counts, SAID)])["error"] == pytest.approx(0, abs=0.001)


def test_brier_skill_is_told_against_the_prevalence_among_what_counts_and_among_all() -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[0, 0] = 800
    counts[:, 125] = 100
    found = reliability([(counts, SAID)])
    # Half of them changed, and it says half of each: nothing is known of these. Who says a tenth of all is 0.41 off in the mean square.
    assert found["skill"] == pytest.approx(0, abs=0.001)
    assert found["skill_over_all"] == pytest.approx(1 - 0.25 / 0.41, abs=0.001)


def test_the_threshold_of_a_fold_does_not_see_it() -> None:
    """Where one fold's levels mean something else, its own best threshold is not used."""
    change = np.repeat(np.array([[0, 1]], np.uint8), 50, 1)
    levels = {"a": np.where(change, 200, 100), "b": np.where(change, 200, 100), "c": np.where(change, 50, 20)}
    found = summary(
        [{name: one.astype(np.uint8) for name, one in levels.items()}], dict.fromkeys(levels, change), [("a",), ("b",), ("c",)]
    )
    cities = found["seeds"][0]["cities"]
    assert (cities["c"]["recall"], cities["c"]["precision"]) == (0, 0)
    assert found["seeds"][0]["goals"]["f1"]["thresholds"][2] > 0.4
    assert found["mean"] == {name: found["seeds"][0]["pooled"][name] for name in found["mean"]}


def test_threshold_and_calibration_can_be_those_of_other_images_of_the_other_folds() -> None:
    change = np.repeat(np.array([[0, 1]], np.uint8), 50, 1)
    plain, hazy = (dict.fromkeys("ab", np.where(change, high, 10).astype(np.uint8)) for high in (200, 100))
    truth, folds = dict.fromkeys("ab", change), [("a",), ("b",)]
    assert summary([hazy], truth, folds)["mean"]["f1"] == 1
    # A threshold between 10 and 200 that what is hazy hardly reaches.
    found = summary([hazy], truth, folds, [dict.fromkeys("ab", np.where(change, 200, 150).astype(np.uint8))])
    assert found["mean"]["f1"] == found["ensemble"]["pooled"]["f1"] == 0
    own = summary([plain], truth, folds)
    assert summary([hazy], truth, folds, [plain])["seeds"][0]["betas"] == own["seeds"][0]["betas"]


def test_the_calibration_of_a_fold_does_not_see_it() -> None:
    """Of two folds, one honest and one that boasts, each is calibrated by the other."""
    levels = np.tile(np.arange(LEVELS, dtype=np.uint8), (400, 1))
    rows = np.linspace(0, 1, len(levels))[:, None]
    truth = {"honest": (rows < SAID).astype(np.uint8), "boasting": (rows < sigmoid(-2 + 0.5 * LOGITS)).astype(np.uint8)}
    found = summary([dict.fromkeys(truth, levels)], truth, [("honest",), ("boasting",)])["seeds"][0]
    assert found["betas"][0] == pytest.approx([-2, 0.5, 0.5], abs=0.08)
    assert found["betas"][1] == pytest.approx([0, 1, 1], abs=0.08)
    honest, boasting = (counted(levels, change) for change in truth.values())
    for name, fitted in (("temperature", temperature), ("beta", beta), ("isotonic", isotonic)):
        assert found["calibration"][name] == reliability([(honest, fitted(boasting)), (boasting, fitted(honest))])


def test_the_spread_is_over_seeds_and_the_ensemble_is_their_mean() -> None:
    change = np.repeat(np.array([[0, 1]], np.uint8), 50, 1)
    good, bad = np.where(change, 240, 10).astype(np.uint8), np.where(change, 60, 70).astype(np.uint8)
    truth, folds = {"a": change, "b": change}, [("a",), ("b",)]
    found = summary([{"a": good, "b": good}, {"a": bad, "b": bad}], truth, folds)
    assert found["deviation"]["f1"] > 0
    assert found["ensemble"]["pooled"]["f1"] == 1


def test_goals_are_scored_with_the_other_folds_thresholds_and_out_of_reach_means_nothing_found() -> None:
    change = np.repeat(np.array([[0, 1]], np.uint8), 50, 1)
    sure = np.where(change, 200, 10).astype(np.uint8)
    blind = np.full(change.shape, 100, np.uint8)
    found = summary([{"a": sure, "b": blind, "c": blind}], dict.fromkeys("abc", change), [("a",), ("b",), ("c",)])
    # Without a, half of what any level finds is false; with it, level 101 and up finds a's change alone.
    one = found["seeds"][0]["goals"]["precision"]
    assert one["thresholds"] == [None, 0.404, 0.404]
    assert one["pooled"]["recall"] == 0
    assert found["goals"]["precision"]["mean"]["recall"] == 0


def test_the_card_takes_line_and_thresholds_from_all_folds_together() -> None:
    """What is stored with the card's line and cut at its thresholds reaches the goals that they are for."""
    random = np.random.default_rng(0)
    truth, seeds = {}, [{}, {}]
    for name in "abc":
        levels = random.integers(0, 251, (100, 100)).astype(np.uint8)
        truth[name] = (random.random(levels.shape) < sigmoid(-0.7 + 1.5 * LOGITS)[levels]).astype(np.uint8)
        for one in seeds:
            one[name] = levels
    card = card_values(seeds, truth, summary(seeds, truth, [("a",), ("b",), ("c",)]))
    assert card["calibration"] == pytest.approx([-0.7, 1.5, 1.5], abs=0.2)
    counts = sum(counted(seeds[0][name], truth[name]) for name in truth)
    stored = recounted(counts, beta_curve(card["calibration"]))
    assert (stored.sum(1) == counts.sum(1)).all()
    for goal in ("precision", "recall"):
        level = card["thresholds"][goal] * 250
        assert level == pytest.approx(round(level))
        assert getattr(confusion_at(stored, round(level)), goal) >= 0.8
    assert best_beta(stored) == pytest.approx((0, 1, 1), abs=0.1)
    assert set(card["cities"]) == set("abc")
    assert card["reliability"]["error"] < 0.05
    json.dumps(card)


def test_the_cards_weights_are_positive_even_where_the_surest_are_wrong() -> None:
    random = np.random.default_rng(0)
    chance = sigmoid(2 + 2 * np.log(SAID) + np.log(1 - SAID))
    levels = {name: random.integers(0, 251, (100, 100)).astype(np.uint8) for name in "abc"}
    truth = {name: (random.random(one.shape) < chance[one]).astype(np.uint8) for name, one in levels.items()}
    assert best_beta(sum(counted(levels[name], truth[name]) for name in "abc"))[2] < 0.00005
    card = card_values([levels], truth, summary([levels], truth, [("a",), ("b",), ("c",)]))
    assert card["calibration"][2] == 0.0001


def test_scores_of_cities_are_pooled_by_pixel_and_averaged_by_city() -> None:
    counts = {name: np.zeros((2, LEVELS), np.int64) for name in "ab"}
    counts["a"][1, 200], counts["a"][0, 0] = 10, 90
    counts["b"][0, 200], counts["b"][1, 0] = 30, 10
    found = scores_at(counts, {"a": 100, "b": 100})
    assert found["mean_of_cities"]["f1"] == 0.5
    assert found["pooled"]["f1"] == pytest.approx(20 / 60, abs=1e-4)
    assert scores_at(counts, {"a": LEVELS, "b": LEVELS})["pooled"]["recall"] == 0
    calm = {**counts, "c": np.zeros((2, LEVELS), np.int64)}
    calm["c"][0, 0] = 50
    assert scores_at(calm, dict.fromkeys("abc", 100))["mean_of_cities"] == found["mean_of_cities"], "nothing to find there"
