import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache

import numpy as np
import pytest
from affine import Affine
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.ndimage import shift as moved

from s2change_plugin.engine.registration import NOT_ASKED, Shift, measure_displacement, with_residual
from tests.conftest import textured

SIZE = 128
FRAME = (1200, 1200)
CENTRES = [(row, col) for row in np.linspace(64, 1136, 4) for col in np.linspace(64, 1136, 4)]
CORNERS = [(0, 0), (0, 1200), (1200, 0), (1200, 1200)]

Displacement = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@cache
def frame() -> np.ndarray:
    """Reflectance of a frame with edges everywhere: float32 (2, 1200, 1200)."""
    return textured(2, *FRAME, seed=3).astype(np.float32) / 10000


@cache
def samples(displaced: Displacement) -> tuple[np.ndarray, ...]:
    """What a date shows at the 16 places if its ground is displaced by (rows, cols) that depend on row and col."""
    taken = []
    for centre in CENTRES:
        top, left = (int(value) - SIZE // 2 for value in centre)
        # Pixel centres lie half a pixel from the corners that the transform counts from.
        row, col = (part + 0.5 for part in np.mgrid[top : top + SIZE, left : left + SIZE].astype(float))
        rows, cols = displaced(row, col)
        places = (row - rows - 0.5, col - cols - 0.5)
        taken.append(np.stack([map_coordinates(band, places, order=3, mode="reflect") for band in frame()]).astype(np.float32))
    return tuple(taken)


def still(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 0 * row, 0 * col


def shifted(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 0 * row + 0.4, 0 * col - 0.7


def turned(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0.05 degrees about the centre, and a shift."""
    angle = np.deg2rad(0.05)
    return 0.4 + angle * (col - 600), -0.7 - angle * (row - 600)


def barely_turned(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """0.01 degrees: 0.15 px at the corners."""
    angle = np.deg2rad(0.01)
    return angle * (col - 600), -angle * (row - 600)


def scattered(row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each place by something else, a quarter of a pixel and more."""
    own = np.random.default_rng(5).normal(0, 0.25, (2, 4, 4))
    cell = (row // 300).astype(int), (col // 300).astype(int)
    return 0.5 + own[0][cell], own[1][cell]


def one_sample(ground: np.ndarray, size: int = 256) -> np.ndarray:
    return ground[:3, :size, :size].astype(np.float32) / 10000


def measure_one(before: np.ndarray, after: np.ndarray) -> Shift:
    shape = before.shape[1:]
    return measure_displacement([before], [after], [(shape[0] / 2, shape[1] / 2)], shape)


@pytest.mark.parametrize("true", [(0.4, -0.7), (-1.3, 0.2), (0.0, 0.0)])
def test_a_known_shift_is_found_within_a_tenth_of_a_pixel(ground: np.ndarray, true: tuple[float, float]) -> None:
    before = one_sample(ground)
    after = np.stack([moved(band, true, order=3, mode="nearest") for band in before])
    found = measure_one(before, after)
    assert found.measured
    assert (found.rows, found.cols) == pytest.approx(true, abs=0.1)


@pytest.mark.parametrize("size", [48, 64])
def test_a_small_overlap_is_enough(ground: np.ndarray, size: int) -> None:
    before = one_sample(ground)
    after = np.stack([moved(band, (0.4, -0.7), order=3, mode="nearest") for band in before])
    found = measure_one(before[:, :size, :size], after[:, :size, :size])
    assert (found.rows, found.cols) == pytest.approx((0.4, -0.7), abs=0.1)


def test_another_season_and_a_cloud_do_not_hide_the_shift(ground: np.ndarray) -> None:
    before = one_sample(ground)
    after = np.stack([moved(band, (0.6, 0.9), order=3, mode="nearest") for band in before])
    # Half of the fields have turned from darker to brighter than their neighbours.
    after[:, :, 128:] = 0.4 - after[:, :, 128:]
    after[:, 20:80, 30:100] = 0.9
    found = measure_one(before, after)
    assert (found.rows, found.cols) == pytest.approx((0.6, 0.9), abs=0.1)


def test_holes_where_clouds_were_do_not_pull_the_shift_to_zero(ground: np.ndarray) -> None:
    before = one_sample(ground)
    after = np.stack([moved(band, (1.5, -2.0), order=3, mode="nearest") for band in before])
    clouds = gaussian_filter(np.random.default_rng(0).normal(size=before.shape[1:]), 6)
    after[:, clouds > np.quantile(clouds, 0.75)] = np.nan
    found = measure_one(before, after)
    assert (found.rows, found.cols) == pytest.approx((1.5, -2.0), abs=0.1)


def test_a_rotation_is_recovered_everywhere_within_a_tenth_of_a_pixel() -> None:
    found = measure_displacement(samples(still), samples(turned), CENTRES, FRAME)
    assert found.varies
    assert found.places == 16
    for row, col in [*CORNERS, *CENTRES]:
        assert found.at(row, col) == pytest.approx(turned(np.float64(row), np.float64(col)), abs=0.1)
    assert found.largest_px == pytest.approx(1.22, abs=0.1)
    assert found.spread_px < 0.1
    assert "a field is taken out" in found.text


def test_the_moved_transform_lies_where_after_shows_what_before_shows() -> None:
    found = measure_displacement(samples(still), samples(turned), CENTRES, FRAME)
    transform = Affine(10, 0, 500000, 0, -10, 5000000)
    for row, col in CORNERS:
        rows, cols = found.at(row, col)
        assert found.moved_transform(transform) @ (col, row) == pytest.approx(transform @ (col + cols, row + rows), abs=1e-3)


def test_a_pure_shift_gives_no_field() -> None:
    found = measure_displacement(samples(still), samples(shifted), CENTRES, FRAME)
    assert not found.varies
    assert found.at(0, 1200) == (found.rows, found.cols) == pytest.approx((0.4, -0.7), abs=0.1)
    assert found.typical_px == pytest.approx(0.81, abs=0.1)


@pytest.mark.parametrize("displaced", [shifted, turned])
@pytest.mark.parametrize("wrong", [0, 5])
def test_one_wrong_place_does_not_bend_what_is_found(displaced: Displacement, wrong: int) -> None:
    after = list(samples(displaced))
    after[wrong] = np.roll(after[wrong], (2, -2), axis=(1, 2))
    found = measure_displacement(samples(still), after, CENTRES, FRAME)
    assert found.varies == (displaced is turned)
    for row, col in CENTRES:
        assert found.at(row, col) == pytest.approx(displaced(np.float64(row), np.float64(col)), abs=0.1)


@pytest.mark.parametrize("kept", [range(8), [0, 3, 5, 6, 9, 12, 15]], ids=["a strip", "seven"])
def test_places_in_a_strip_or_too_few_give_no_field(kept: list[int]) -> None:
    before, after, centres = ([values[place] for place in kept] for values in (samples(still), samples(turned), CENTRES))
    assert not measure_displacement(before, after, centres, FRAME).varies


def test_a_field_that_changes_little_is_not_worth_it() -> None:
    assert not measure_displacement(samples(still), samples(barely_turned), CENTRES, FRAME).varies


def test_displacements_that_follow_no_field_are_told_as_spread() -> None:
    found = measure_displacement(samples(still), samples(scattered), CENTRES, FRAME)
    calm = measure_displacement(samples(still), samples(shifted), CENTRES, FRAME)
    assert found.measured
    assert not found.varies
    assert found.spread_px > 0.15 > calm.spread_px


def test_what_is_left_is_measured_and_told() -> None:
    before, after = samples(still), samples(turned)
    found = measure_displacement(before, after, CENTRES, FRAME)
    left = measure_displacement(before, samples(still), CENTRES, FRAME)
    record = with_residual(found, left)
    assert left.measured
    assert not left.matters
    assert record.matters
    assert record.residual_px < 0.1 < record.typical_px
    assert f"{record.typical_px:.2f} px off before this is taken out, {record.residual_px:.2f} px after" in record.text
    assert json.loads(json.dumps(asdict(record)))["residual_px"] == record.residual_px


def test_a_shift_that_makes_things_worse_is_not_taken() -> None:
    before, after = samples(still), samples(shifted)
    found = measure_displacement(before, after, CENTRES, FRAME)
    for left in (found, NOT_ASKED):
        refused = with_residual(found, left)
        assert not refused.matters
        assert "would leave" in refused.text


def refusal(before: list[np.ndarray], after: list[np.ndarray]) -> str:
    """Why nothing was measured."""
    centres = [(128.0, 128.0 + 256 * place) for place in range(len(before))]
    found = measure_displacement(before, after, centres, (256, 256 * len(before)))
    assert (found.measured, found.rows, found.cols, found.matters) == (False, 0, 0, False)
    assert "left as it is" in found.text
    return found.text


def test_noise_is_not_matched() -> None:
    random = np.random.default_rng(0)
    noise = [random.normal(0.2, 0.01, (3, 256, 256)).astype(np.float32) for _ in range(4)]
    assert "the two dates do not match" in refusal(noise[:2], noise[2:])


def test_a_faint_pattern_that_both_dates_share_is_not_ground() -> None:
    random = np.random.default_rng(0)
    pattern = random.normal(0, 0.01, (3, 256, 256))
    dates = [(0.2 + 0.55 * pattern + random.normal(0, 0.01, pattern.shape)).astype(np.float32) for _ in range(4)]
    assert "the two dates do not match" in refusal(dates[:2], dates[2:])


def test_clouds_that_moved_are_not_matched() -> None:
    random = np.random.default_rng(0)
    clouds = [gaussian_filter(random.normal(size=(256, 256)), 4) for _ in range(8)]
    skies = [
        np.stack([0.4 + cloud + random.normal(0, 0.002, cloud.shape) for _ in range(3)]).astype(np.float32) for cloud in clouds
    ]
    assert "the two dates do not match" in refusal(skies[:4], skies[4:])


@pytest.mark.parametrize("water", [np.full((3, 256, 256), 0.02), np.full((3, 256, 256), 0.02) + np.linspace(0, 0.1, 256)])
def test_even_water_gives_no_confident_zero(water: np.ndarray) -> None:
    water = water.astype(np.float32)
    assert "no edges to match" in refusal([water] * 4, [water] * 4)


def test_unseen_ground_gives_no_shift(ground: np.ndarray) -> None:
    before = one_sample(ground)
    after = before.copy()
    after[:, :200] = np.nan
    assert "too little ground is seen" in refusal([before], [after])


def test_a_sliver_gives_no_shift(ground: np.ndarray) -> None:
    before = one_sample(ground)[:, :31]
    assert "narrower than 32 pixels" in refusal([before], [before])


def test_a_shift_beyond_what_the_sensor_does_is_not_believed(ground: np.ndarray) -> None:
    before = one_sample(ground)
    assert "the two dates do not match" in refusal([before] * 2, [np.roll(before, 6, axis=2)] * 2)


def test_places_that_disagree_give_no_shift(ground: np.ndarray) -> None:
    before = one_sample(ground)
    after = [np.roll(before, cols, axis=2) for cols in (-3, -1, 1, 3)]
    assert "disagree by 2.0 px" in refusal([before] * 4, after)


def test_land_beside_much_water_is_enough() -> None:
    random = np.random.default_rng(0)
    before, after = list(samples(still)), list(samples(shifted))
    for place in range(10):
        before[place], after[place] = (random.normal(0.02, 0.003, before[0].shape).astype(np.float32) for _ in "ab")
    found = measure_displacement(before, after, CENTRES, FRAME)
    assert found.places == 6
    assert (found.rows, found.cols) == pytest.approx((0.4, -0.7), abs=0.1)


def test_a_shift_within_the_measurement_is_not_worth_resampling(ground: np.ndarray) -> None:
    before = one_sample(ground)
    found = measure_one(before, before)
    assert found.measured
    assert not found.matters
