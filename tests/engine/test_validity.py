import numpy as np
import pytest

from s2change_plugin.engine.validity import (
    ClassRaster,
    Quality,
    classes_to_codes,
    date_quality,
    dilate,
    pair_quality,
    worse,
)

Q = Quality


def codes(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def test_a_date_is_judged_by_its_numbers() -> None:
    reflectance = np.full((2, 1, 4), 0.2, np.float32)
    reflectance[0, 0, 1], reflectance[1, 0, 2], reflectance[:, 0, 3] = np.nan, np.inf, (np.nan, np.inf)
    assert date_quality(reflectance).tolist() == [[Q.OBSERVED, Q.NODATA_BEFORE, Q.SATURATED, Q.NODATA_BEFORE]]


def test_of_several_reasons_the_one_that_leaves_least_counts() -> None:
    before = codes(Q.OBSERVED, Q.NODATA_BEFORE, Q.OBSERVED, Q.CLOUD, Q.CLOUD_SHADOW, Q.SATURATED, Q.NODATA_BEFORE)
    after = codes(Q.OBSERVED, Q.CLOUD, Q.NODATA_BEFORE, Q.CLOUD_SHADOW, Q.SNOW, Q.CLOUD, Q.NODATA_BEFORE)
    expected = codes(Q.OBSERVED, Q.NODATA_BEFORE, Q.NODATA_AFTER, Q.CLOUD, Q.CLOUD_SHADOW, Q.SATURATED, Q.NODATA_BEFORE)
    np.testing.assert_array_equal(pair_quality(before, after), expected)


def test_snow_on_both_dates_can_be_compared() -> None:
    np.testing.assert_array_equal(
        pair_quality(codes(Q.SNOW, Q.SNOW, Q.OBSERVED), codes(Q.SNOW, Q.OBSERVED, Q.SNOW)), codes(Q.OBSERVED, Q.SNOW, Q.SNOW)
    )


def test_two_masks_of_one_date_add_up() -> None:
    np.testing.assert_array_equal(worse(codes(0, Q.SNOW, Q.CLOUD), codes(Q.SNOW, Q.CLOUD, 0)), codes(Q.SNOW, Q.CLOUD, Q.CLOUD))


def test_classes_become_codes_by_layer() -> None:
    layers = np.array([[[0, 1, 0, 1]], [[0, 0, 1, 1]]], np.uint8)
    mask = ClassRaster("", ({1: Q.CLOUD}, {1: Q.SNOW}), "")
    assert classes_to_codes(layers, mask, None).tolist() == [[0, Q.CLOUD, Q.SNOW, Q.CLOUD]]


@pytest.mark.parametrize("nodata", [None, 255.0, np.nan])
def test_anything_but_zero_and_nodata_of_ones_own_mask_is_not_usable(nodata: float | None) -> None:
    values = np.array([[[0, 7, 255, np.nan]]], np.float32)
    found = classes_to_codes(values, ClassRaster("", ({},), "", other=Q.CLOUD), nodata)[0].tolist()
    assert found[:2] == [0, Q.CLOUD]
    if nodata is not None:
        assert found[3 if np.isnan(nodata) else 2] == 0


def test_clouds_and_shadows_reach_further_and_nothing_else_does() -> None:
    field = np.zeros((41, 41), np.uint8)
    field[20, 20], field[2, 2], field[38, 38], field[20, 24] = Q.CLOUD, Q.SNOW, Q.SATURATED, Q.NODATA_BEFORE
    grown = dilate(field, 6, 3)
    rows, cols = np.nonzero(grown == Q.CLOUD)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (14, 26, 17, 23)
    assert grown[15, 18] == Q.OBSERVED, "an ellipse, not a box"
    assert (grown == Q.SNOW).sum() == (grown == Q.SATURATED).sum() == (grown == Q.NODATA_BEFORE).sum() == 1
    np.testing.assert_array_equal(dilate(field, 0, 0), field)


def test_a_cloud_goes_before_the_shadow_that_reaches_it() -> None:
    field = np.zeros((1, 21), np.uint8)
    field[0, 5], field[0, 9] = Q.CLOUD, Q.CLOUD_SHADOW
    assert dilate(field, 3, 3)[0, 2:13].tolist() == [Q.CLOUD] * 7 + [Q.CLOUD_SHADOW] * 4
