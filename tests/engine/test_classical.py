import numpy as np
import pytest
from scipy.special import chdtri
from scipy.stats import kstest

from s2change_plugin.engine.classical import fit_irmad
from s2change_plugin.engine.errors import NothingObserved

BANDS, PIXELS = 4, 20_000


def two_dates(changed: int = 0, noise: float = 0.004) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance (band, n) of correlated bands on two dates; the first `changed` pixels show other ground on the second."""
    random = np.random.default_rng(3)
    mixing = random.normal(size=(BANDS, BANDS)) * 0.04
    before = 0.25 + mixing @ random.normal(size=(BANDS, PIXELS))
    after = before.copy()
    after[:, :changed] = 0.25 + mixing @ random.normal(size=(BANDS, changed))
    return before + random.normal(size=before.shape) * noise, after + random.normal(size=before.shape) * noise


def probabilities(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    fitted = fit_irmad(before, after)
    return fitted.no_change_probability(fitted.apply(before, after))


def test_without_change_the_statistic_is_chi_squared() -> None:
    before, after = two_dates()
    assert kstest(probabilities(before, after), "uniform").statistic < 0.02


def test_change_is_told_from_haze_and_noise() -> None:
    before, after = two_dates(changed=2000)
    found = probabilities(before, 1.3 * after + 0.05)
    assert (found[:2000] < 0.01).mean() > 0.9
    assert (found[2000:] < 0.01).mean() < 0.03


def test_reweighting_lets_change_count_less_than_one_step_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = two_dates(changed=8000)
    reweighted = probabilities(before, after)
    monkeypatch.setattr("s2change_plugin.engine.classical._MOST_ITERATIONS", 1)
    one_step = probabilities(before, after)
    assert (reweighted[:8000] < 0.01).mean() > (one_step[:8000] < 0.01).mean() + 0.03


def test_the_statistic_does_not_depend_on_an_affine_change_of_one_date() -> None:
    before, after = two_dates(changed=2000)
    haze = np.array([[1.4, 0.2, 0, 0], [0, 0.6, 0.1, 0], [0.1, 0, 1.0, 0], [0, 0, 0, -2.0]])
    changed = haze @ after + np.array([[0.1], [0.0], [-0.05], [3.0]])
    plain, hazy = fit_irmad(before, after), fit_irmad(before, changed)
    np.testing.assert_allclose(hazy.correlations, plain.correlations, atol=1e-3)
    np.testing.assert_allclose(hazy.apply(before, changed), plain.apply(before, after), rtol=1e-3, atol=1e-3)


def test_the_no_change_set_does_not_shrink_where_differences_have_long_tails() -> None:
    # Real dates differ by a mixture of many spreads; as published, the method runs away here to a handful of pixels.
    random = np.random.default_rng(0)
    before, _ = two_dates(noise=0)
    after = before + random.standard_t(2, size=before.shape) * random.lognormal(0, 1, PIXELS) * 0.003
    fitted = fit_irmad(before, after)
    statistic = fitted.apply(before, after)
    assert fitted.iterations < 50
    assert np.median(statistic) == pytest.approx(chdtri(BANDS, 0.5), rel=1e-3)
    assert (fitted.no_change_probability(statistic) > 0.95).mean() > 0.05


def test_windows_give_what_the_whole_gives_and_unseen_pixels_stay_unseen() -> None:
    before, after = two_dates(changed=500)
    fitted = fit_irmad(before[:, ::2], after[:, ::2])
    first, second = (date.astype(np.float32).reshape(BANDS, 100, 200) for date in (before, after))
    first[1, 3, 5], second[0, 4, 6] = np.nan, np.inf
    whole = fitted.apply(first, second)
    assert (whole.shape, whole.dtype) == ((100, 200), np.float32)
    np.testing.assert_array_equal(np.argwhere(np.isnan(whole)), [(3, 5), (4, 6)])
    np.testing.assert_allclose(fitted.apply(first[:, 2:37, 5:18], second[:, 2:37, 5:18]), whole[2:37, 5:18], rtol=1e-6)


def test_equal_dates_show_no_change() -> None:
    before, _ = two_dates()
    assert probabilities(before, before).min() > 0.999
    assert probabilities(before, 1.2 * before - 0.03).min() > 0.999


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_a_constant_band_is_left_out_also_where_it_varies_later(constant: float) -> None:
    before, after = two_dates(changed=2000)
    dull = after.copy()
    dull[1] = constant
    fitted = fit_irmad(before, dull)
    others = [0, 2, 3]
    without = fit_irmad(before[others], after[others])
    assert fitted.degrees == 3
    np.testing.assert_allclose(fitted.apply(before, after), without.apply(before[others], after[others]), rtol=1e-4, atol=1e-6)


def test_a_band_that_copies_another_changes_little() -> None:
    before, after = two_dates(changed=2000)
    twice = [0, 1, 2, 3, 3]
    alone, copied = probabilities(before, after), probabilities(before[twice], after[twice])
    assert np.corrcoef(alone, copied)[0, 1] > 0.99


def test_too_few_pixels_and_bands_without_contrast_are_refused_with_the_numbers() -> None:
    before, after = two_dates()
    with pytest.raises(NothingObserved, match="Only 8 pixels .* 4 bands needs more than 8"):
        fit_irmad(before[:, :8], after[:, :8])
    with pytest.raises(NothingObserved, match="None of the 4 bands varies"):
        fit_irmad(before, np.full_like(after, 0.2))
