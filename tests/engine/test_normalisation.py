import json
from dataclasses import asdict

import numpy as np
import pytest

from s2change_plugin.engine.normalisation import NOT_ASKED, Normalisation, fit_normalisation, orthogonal_regression

BANDS = ("B02", "B04", "B08", "B11")
GAINS, OFFSETS = np.array([0.8, 0.9, 1.1, 1.25]), np.array([0.03, -0.01, 0.0, 0.02])


def as_samples(values: np.ndarray) -> list[np.ndarray]:
    """(band, row, col) cut into four samples."""
    return [values[:, :, place : place + 64].astype(np.float32) for place in range(0, 256, 64)]


def ground(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(4, 4)) * 0.03 + np.eye(4) * 0.03
    return 0.25 + (mixing @ random.normal(size=(4, 64 * 256))).reshape(4, 64, 256)


def noise(scale: float = 0.003) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(4, 64, 256)) * scale


def hazy(before: np.ndarray) -> np.ndarray:
    """The date that the known gains and offsets bring back to `before`."""
    return (before - OFFSETS[:, None, None]) / GAINS[:, None, None]


def fit(before: np.ndarray, after: np.ndarray) -> Normalisation:
    return fit_normalisation(as_samples(before), as_samples(after), BANDS)


def test_a_known_gain_and_offset_are_found_through_a_tenth_of_real_change() -> None:
    before = ground()
    after = hazy(before + noise())
    after[:, :, :26] = 0.6 * ground(seed=1)[:, :, :26] + 0.1
    found = fit(before, after)
    assert found.done
    assert [band.band for band in found.bands] == list(BANDS)
    np.testing.assert_allclose([band.gain for band in found.bands], GAINS, rtol=0.01)
    np.testing.assert_allclose([band.offset for band in found.bands], OFFSETS, atol=0.01 * 0.25)


def test_equal_dates_stay_equal() -> None:
    before = ground()
    found = fit(before, before)
    after = before.astype(np.float32)
    found.apply(after)
    assert found.done
    assert [(band.gain, band.offset) for band in found.bands] == [(1, 0)] * 4
    np.testing.assert_array_equal(after, before.astype(np.float32))


def test_the_figures_are_of_pixels_that_were_held_out_and_improve() -> None:
    before = ground()
    found = fit(before, hazy(before + noise()))
    assert found.pixels > 500
    assert found.share == pytest.approx(found.pixels / (64 * 256), abs=1e-6)
    for band, gain, offset in zip(found.bands, GAINS, OFFSETS, strict=True):
        raw = (before[BANDS.index(band.band)] - offset) / gain - before[BANDS.index(band.band)]
        assert band.difference_raw == pytest.approx(raw.mean(), abs=0.005)
        assert abs(band.difference_normalised) < 0.0003
        assert band.rmse_normalised < 0.003 < band.rmse_raw
    assert f"{found.pixels:,} pixels" in found.text
    assert "0.80 to 1.2" in found.text


def test_the_third_that_is_measured_on_is_not_the_two_that_are_fitted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    def spy(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
        fitted.append(len(x))
        return 1.0, 0.0, 1.0

    monkeypatch.setattr("s2change_plugin.engine.normalisation.orthogonal_regression", spy)
    before = ground()
    found = fit(before, before + noise())
    assert fitted == [found.pixels - found.pixels // 3] * 4


def test_applying_keeps_unseen_and_saturated_pixels() -> None:
    before = ground()
    found = fit(before, hazy(before + noise()))
    after = hazy(before).astype(np.float32)
    after[0, 0, 0], after[1, 0, 1] = np.nan, np.inf
    found.apply(after)
    assert np.isnan(after[0, 0, 0])
    assert np.isposinf(after[1, 0, 1])
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=0.004)


def test_unseen_pixels_do_not_count() -> None:
    before = ground()
    after = hazy(before + noise())
    hidden = after.copy()
    hidden[2, :2], hidden[:, 40:42] = np.nan, np.inf
    found = fit(before, hidden)
    np.testing.assert_allclose([band.gain for band in found.bands], GAINS, rtol=0.01)
    assert found.share == pytest.approx(found.pixels / (60 * 256), abs=1e-6)


def test_a_large_pair_is_fitted_on_a_part_of_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2change_plugin.engine.normalisation._MOST_PIXELS", 14_000)
    before = ground()
    found = fit(before, hazy(before + noise()))
    np.testing.assert_allclose([band.gain for band in found.bands], GAINS, rtol=0.01)
    assert found.share == pytest.approx(found.pixels / 14_000, abs=1e-6)


def refused(found: Normalisation) -> str:
    """The reason, where nothing is done."""
    after = ground().astype(np.float32)
    found.apply(after)
    np.testing.assert_array_equal(after, ground().astype(np.float32))
    assert not found.done
    assert all((band.gain, band.offset, band.rmse_raw) == (1, 0, band.rmse_normalised) for band in found.bands)
    return found.text


def test_too_little_unchanged_ground_is_refused() -> None:
    before, after = ground()[:, :, :64], hazy(ground() + noise())[:, :, :64]
    text = refused(fit_normalisation([before], [after], BANDS))
    assert "look unchanged, and 500 and 1 % are needed" in text


def test_ground_that_was_never_seen_twice_is_refused() -> None:
    assert "Only 0 pixels were observed" in refused(fit(ground(), np.full((4, 64, 256), np.nan)))


def test_dates_that_do_not_correlate_are_refused_with_the_band() -> None:
    before = ground()
    after = before + noise()
    after[2] = 0.5 - after[2]
    assert "B08 correlates by -" in refused(fit(before, after))


def test_a_constant_band_is_refused_by_name() -> None:
    before = ground()
    after = before + noise()
    after[3] = 0.2
    assert "B11 correlates by 0.00 where nothing changed, and 0.6 is needed" in refused(fit(before, after))


@pytest.mark.parametrize("gain", [0.3, 3.0])
def test_a_gain_out_of_reason_is_refused_with_the_gain(gain: float) -> None:
    before = ground()
    after = before + noise()
    after[1] /= gain
    assert f"B04 would need a gain of {gain:.1f}" in refused(fit(before, after))


def test_what_was_not_asked_for_changes_nothing() -> None:
    assert "as asked" in refused(NOT_ASKED)


def test_the_record_is_plain_json_and_repeats_what_was_applied() -> None:
    before = ground()
    found = fit(before, hazy(before + noise()))
    record = json.loads(json.dumps(asdict(found)))
    assert (record["done"], record["text"], record["pixels"]) == (True, found.text, found.pixels)
    assert all(band["gain"] == round(band["gain"], 6) and band["offset"] == round(band["offset"], 6) for band in record["bands"])
    after = hazy(before).astype(np.float32)
    expected = [
        np.float32(band["gain"]) * image + np.float32(band["offset"]) for band, image in zip(record["bands"], after, strict=True)
    ]
    found.apply(after)
    np.testing.assert_array_equal(after, np.stack(expected))


def test_one_pair_gives_one_answer() -> None:
    before, after = ground(), hazy(ground() + noise())
    assert fit(before, after) == fit(before, after)


def test_the_nearest_line_does_not_flatten_with_noise_in_both_dates_nor_prefer_one() -> None:
    random = np.random.default_rng(2)
    true = random.normal(0.3, 0.05, 50_000)
    x, y = true + random.normal(0, 0.03, true.size), 1.0 * true + 0.1 + random.normal(0, 0.03, true.size)
    slope, intercept, correlation = orthogonal_regression(x, y)
    assert slope == pytest.approx(1, rel=0.01)
    assert intercept == pytest.approx(0.1, abs=0.003)
    assert correlation == pytest.approx(0.05**2 / (0.05**2 + 0.03**2), abs=0.01)
    assert orthogonal_regression(y, x)[0] == pytest.approx(1 / slope)
