import numpy as np
import pytest

from s2change_plugin.engine.calm import calm_shift


def test_what_ends_the_calm_three_quarters_of_a_pair_is_brought_to_the_usual_logit() -> None:
    logits = np.linspace(-8, 0, 401, dtype=np.float32).reshape(1, -1)
    assert calm_shift(logits, -3) == pytest.approx(-1)
    assert calm_shift(logits - 1, -3) == pytest.approx(0)


@pytest.mark.parametrize(("level", "shift"), [(-9, 2), (3, -2)])
def test_a_level_far_from_the_usual_one_is_moved_by_two_at_most(level: float, shift: float) -> None:
    assert calm_shift(np.full(100, level, np.float32), -4) == shift


def test_change_of_a_quarter_of_a_pair_and_water_on_three_quarters_do_not_hide_the_level_of_the_rest() -> None:
    land, change, water = (np.full(count, level, np.float32) for count, level in ((100, -4.0), (32, 3.0), (290, -12.0)))
    assert calm_shift(np.concatenate([land, change]), -4) == 0
    assert calm_shift(np.concatenate([land, water]), -4) == 0
