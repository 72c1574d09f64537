import numpy as np
import pytest

from s2change_plugin.engine.calm import level_shift


def of(*values: tuple[int, float]) -> np.ndarray:
    """Logits of a part, of which so many have each value, in one row."""
    return np.concatenate([np.full(count, value, np.float32) for count, value in values])[None]


def test_what_ends_the_calm_three_quarters_of_a_pair_is_brought_to_the_usual_logit() -> None:
    logits = np.linspace(-8, 0, 401, dtype=np.float32).reshape(1, -1)
    assert level_shift([logits], -3) == pytest.approx(-1)
    assert level_shift([logits - 1], -3) == pytest.approx(0)


@pytest.mark.parametrize(("level", "shift"), [(-9, 2), (3, -2)])
def test_a_level_far_from_the_usual_one_is_moved_by_two_at_most(level: float, shift: float) -> None:
    assert level_shift([of((100, level))], -4) == shift


def test_change_of_a_fifth_of_a_pair_and_water_on_most_of_it_do_not_hide_the_level_of_the_rest() -> None:
    assert level_shift([of((100, -4), (25, 3))], -4) == 0
    assert level_shift([of((100, -4), (290, -12))], -4) == 0


def test_all_parts_count_by_what_is_observed_of_them() -> None:
    parts = [of((30, -5.0)), of((70, -4.0), (900, np.nan)), of((40, np.nan))]
    assert level_shift(parts, -4) == 0
    assert level_shift(parts[:1], -4) == 1
    assert level_shift(parts[2:], -4) == 0


def test_the_rim_of_a_part_beyond_which_nothing_was_seen_does_not_count_where_more_is_left() -> None:
    part = np.full((100, 80), -4.0, np.float32)
    part[16:-16, 16:-16] = -5
    assert level_shift([part], -4) == 1
    assert level_shift([part[:64]], -4) == 0
