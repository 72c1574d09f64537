import numpy as np
import pytest

from s2change_plugin.engine.scores import by_threshold
from training.calibrate import (
    LEVELS,
    average_precision,
    best_level,
    confusion_at,
    counted,
    isotonic,
    reliability,
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
    engine = by_threshold(levels, change)
    counts = counted(levels, change)
    assert all(confusion_at(counts, level) == engine[level] for level in range(LEVELS))
    assert best_level(counts) == max(range(1, LEVELS), key=lambda level: engine[level].f1)


def test_average_precision_is_one_for_a_perfect_order_and_the_prevalence_for_none() -> None:
    perfect = np.zeros((2, LEVELS), np.int64)
    perfect[0, :100], perfect[1, 100:] = 5, 1
    assert average_precision(perfect) == 1
    assert average_precision(drawn(np.full(LEVELS, 0.2))) == pytest.approx(0.2, abs=0.001)


def test_a_line_through_the_logits_is_found_again() -> None:
    true = sigmoid(-0.7 + 0.5 * LOGITS)
    assert np.abs(temperature(drawn(true)) - true).max() < 0.002


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
    boasting = reliability([(drawn(sigmoid(0.5 * LOGITS)), SAID)])
    assert boasting["slope"] == pytest.approx(0.5, abs=0.02)
    assert boasting["error"] > 0.05


def test_pixels_of_small_probability_do_not_count() -> None:
    counts = np.zeros((2, LEVELS), np.int64)
    counts[1, 5] = 1000  # wrong, but said to be 0.02
    counts[:, 125] = 100
    assert reliability([(counts, SAID)])["error"] == pytest.approx(0, abs=0.001)


def test_threshold_and_calibration_of_a_fold_do_not_see_it() -> None:
    """Where one fold's levels mean something else, its own best threshold is not used."""
    change = np.repeat(np.array([[0, 1]], np.uint8), 50, 1)
    levels = {"a": np.where(change, 200, 100), "b": np.where(change, 200, 100), "c": np.where(change, 50, 20)}
    found = summary(
        [{name: one.astype(np.uint8) for name, one in levels.items()}], dict.fromkeys(levels, change), [("a",), ("b",), ("c",)]
    )
    cities = found["seeds"][0]["cities"]
    assert (cities["c"]["recall"], cities["c"]["precision"]) == (0, 0)
    assert found["seeds"][0]["thresholds"][2] > 0.4
    assert found["mean"] == {name: found["seeds"][0]["pooled"][name] for name in found["mean"]}


def test_the_spread_is_over_seeds_and_the_ensemble_is_their_mean() -> None:
    change = np.repeat(np.array([[0, 1]], np.uint8), 50, 1)
    good, bad = np.where(change, 240, 10).astype(np.uint8), np.where(change, 60, 70).astype(np.uint8)
    truth, folds = {"a": change, "b": change}, [("a",), ("b",)]
    found = summary([{"a": good, "b": good}, {"a": bad, "b": bad}], truth, folds)
    assert found["deviation"]["f1"] > 0
    assert found["ensemble"]["pooled"]["f1"] == 1
