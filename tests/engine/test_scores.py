import numpy as np
import pytest

from s2change_plugin.engine.outputs import applied_threshold, to_mask
from s2change_plugin.engine.scores import Confusion, by_threshold, confusion

TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 255], np.uint8)


def test_scores_are_those_counted_by_hand() -> None:
    found = np.array([1, 1, 0, 1, 0, 0, 255, 1], np.uint8)
    one = confusion(found, TRUTH)
    assert one == Confusion(tp=2, fp=1, fn=1, tn=2)
    assert (one.precision, one.recall, one.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert one.iou == 0.5
    assert one.prevalence == 0.5


def test_an_empty_map_scores_nothing_whatever_its_accuracy() -> None:
    one = confusion(np.zeros(8, np.uint8), TRUTH)
    assert (one.f1, one.precision, one.recall, one.iou) == (0, 0, 0, 0)


def test_every_threshold_is_counted_as_the_mask_would_be() -> None:
    random = np.random.default_rng(0)
    levels = random.integers(0, 251, 500).astype(np.uint8)
    levels[:20] = 255
    truth = random.choice(np.array([0, 1, 255], np.uint8), 500)
    for level, one in enumerate(by_threshold(levels, truth)):
        assert one == confusion(to_mask(levels, applied_threshold(level * 0.004)), truth)
