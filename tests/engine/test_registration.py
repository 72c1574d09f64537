import numpy as np
import pytest
from scipy.ndimage import shift as moved

from s2change_plugin.engine.registration import measure_shift


def as_sample(ground: np.ndarray) -> np.ndarray:
    return ground[:3, :256, :256].astype(np.float32) / 10000


@pytest.mark.parametrize("true", [(0.4, -0.7), (-1.3, 0.2), (0.0, 0.0)])
def test_a_known_shift_is_found_within_a_tenth_of_a_pixel(ground: np.ndarray, true: tuple[float, float]) -> None:
    before = as_sample(ground)
    after = np.stack([moved(band, true, order=3, mode="nearest") for band in before])
    found = measure_shift([before], [after])
    assert found.measured
    assert (found.rows, found.cols) == pytest.approx(true, abs=0.1)


def test_another_season_and_a_cloud_do_not_hide_the_shift(ground: np.ndarray) -> None:
    before = as_sample(ground)
    after = 0.4 - 0.5 * np.stack([moved(band, (0.6, 0.9), order=3, mode="nearest") for band in before])
    after[:, 20:80, 30:100] = 0.9
    found = measure_shift([before], [after])
    assert (found.rows, found.cols) == pytest.approx((0.6, 0.9), abs=0.1)


def test_ground_that_does_not_match_is_left_alone_and_said(ground: np.ndarray) -> None:
    random = np.random.default_rng(0)
    noise = [random.normal(0.2, 0.01, (3, 256, 256)).astype(np.float32) for _ in range(4)]
    found = measure_shift(noise[:2], noise[2:])
    assert (found.measured, found.rows, found.cols) == (False, 0, 0)
    assert "left as it is" in found.text


def test_unseen_ground_gives_no_shift(ground: np.ndarray) -> None:
    before = as_sample(ground)
    after = before.copy()
    after[:, :200] = np.nan
    assert not measure_shift([before], [after]).measured


def test_a_shift_within_the_measurement_is_not_worth_resampling(ground: np.ndarray) -> None:
    before = as_sample(ground)
    assert not measure_shift([before], [before]).matters
