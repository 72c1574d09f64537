import numpy as np
import pytest
from scipy.special import chdtri
from scipy.stats import kstest

from s2change_plugin.engine.classical import ClassicalPredictor, fit_cva, fit_irmad, fit_pca, fit_predictor, usable_pixels
from s2change_plugin.engine.errors import NothingObserved

BANDS, PIXELS = 4, 20_000
NAMES = ("B02", "B03", "B04", "B08")
METHODS = ("cva", "irmad", "pca")


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
    # From all pixels alone, as the method has it.
    monkeypatch.setattr("s2change_plugin.engine.classical._CLEARLY", np.inf)
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


def as_image(date: np.ndarray) -> np.ndarray:
    return date.reshape(BANDS, 100, 200).astype(np.float32)


def fitted(method: str, before: np.ndarray, after: np.ndarray) -> ClassicalPredictor:
    return fit_predictor(method, [as_image(before)], [as_image(after)], NAMES)


def test_the_change_vector_is_as_long_as_the_bands_moved_by_their_own_deviations() -> None:
    before = np.array([[0.0, 0.2] * 10, [0.4, 0.8] * 10])
    fit = fit_cva(before, before)
    moved = before[:, :2] + np.array([[0.3], [-0.8]])
    # Deviations are 0.1 and 0.2: three and four of them, so five.
    np.testing.assert_allclose(fit.apply(before[:, :2], moved), 25, rtol=1e-5)


@pytest.mark.parametrize("fit", [fit_cva, fit_pca])
def test_haze_and_sun_that_act_on_all_of_a_band_are_no_change(fit) -> None:
    before, after = two_dates(changed=2000)
    hazy = after * np.array([[0.7], [1.0], [1.3], [0.5]]) + np.array([[0.05], [0.0], [-0.1], [0.2]])
    np.testing.assert_allclose(
        fit(before, hazy).apply(before, hazy), fit(before, after).apply(before, after), rtol=1e-4, atol=1e-6
    )


def test_pca_keeps_what_moves_all_bands_and_leaves_out_what_moves_one_a_little() -> None:
    random = np.random.default_rng(1)
    before = random.normal(0.3, 0.05, (BANDS, PIXELS))
    common = random.normal(0, 0.01, PIXELS)
    fit = fit_pca(before, before + common + random.normal(0, 0.002, before.shape))
    assert len(fit.offset) == 1
    assert len(fit_pca(before, random.normal(0.3, 0.05, before.shape)).offset) == BANDS
    nothing = np.full((BANDS, 1), 0.3)
    odd = nothing + np.array([[0.02], [-0.02], [0.02], [-0.02]])
    assert fit.apply(nothing, odd)[0] < 0.05 * fit.apply(nothing, nothing + 0.02)[0]


@pytest.mark.parametrize("method", METHODS)
def test_changed_ground_is_found_and_noise_alone_is_none(method: str) -> None:
    before, after = two_dates(changed=2000)
    found = fitted(method, before, after).probability(as_image(before), as_image(after)).ravel() >= 0.5
    assert found[:2000].mean() > 0.75
    assert found[2000:].mean() < 1e-3
    before, after = two_dates()
    assert (fitted(method, before, after).probability(as_image(before), as_image(after)) >= 0.5).mean() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_equal_dates_show_no_change_by_any_method(method: str) -> None:
    before, _ = two_dates()
    probability = fitted(method, before, before).probability(as_image(before), as_image(before))
    assert probability.max() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_the_limit_is_four_times_what_half_of_the_pixels_reach(method: str) -> None:
    before, after = two_dates(changed=2000)
    predictor = fitted(method, before, after)
    lengths = np.sqrt(predictor.variates.apply(as_image(before), as_image(after)))
    assert predictor.limit == pytest.approx(4 * np.median(lengths), abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_change_of_much_of_the_ground_is_found(method: str) -> None:
    """A third of it shows other ground of the same kind, so that the dates' means and deviations stay."""
    before, after = two_dates(changed=PIXELS // 3)
    found = fitted(method, before, after).probability(as_image(before), as_image(after)).ravel() >= 0.5
    assert found[: PIXELS // 3].mean() > 0.8
    assert found[PIXELS // 3 :].mean() < 0.01


@pytest.mark.parametrize("share", [0.1, 0.25, 0.45])
@pytest.mark.parametrize("method", METHODS)
def test_change_that_moves_the_means_of_a_date_is_found(method: str, share: float) -> None:
    """As where much burned: all that changed did so alike, and strongly."""
    before, after = two_dates()
    changed = int(share * PIXELS)
    after[:, :changed] -= 0.2
    found = fitted(method, before, after).probability(as_image(before), as_image(after)).ravel() >= 0.5
    assert found[:changed].mean() > 0.99
    assert found[changed:].mean() < 0.002


def test_dates_are_matched_by_ground_that_stays_and_bands_weighed_by_all_of_it() -> None:
    random = np.random.default_rng(5)
    before = np.concatenate([random.normal(0.05, 0.001, (2, 6000)), random.normal(0.3, 0.05, (2, 4000))], axis=1)
    after = 0.5 * before + 0.1
    after[:, 9000:] += 0.2
    fit = fit_cva(before, after)
    assert fit.apply(before[:, :9000], after[:, :9000]).max() < 1e-6
    # Water, 0.001 of deviation, would make it thousands; over all the ground the deviations are 0.13 and, halved and moved, 0.09.
    assert fit.apply(before[:, 9000:], after[:, 9000:]).max() < 20


def test_irmad_calls_nothing_change_that_chance_gives_one_pixel_in_a_hundred() -> None:
    before, after = two_dates()
    random = np.random.default_rng(0)
    # Alike as only copies are, so that four times that alone would lie low.
    after = before + 1e-9 * random.normal(size=before.shape)
    predictor = fitted("irmad", before, after)
    assert predictor.limit == pytest.approx(np.sqrt(chdtri(BANDS, 0.01)), abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_probability_grows_with_the_change_and_is_half_at_the_limit(method: str) -> None:
    before, after = two_dates(changed=2000)
    predictor = fitted(method, before, after)
    first, second = as_image(before), as_image(after)
    second[2, 5, 7] = np.nan
    length = np.sqrt(predictor.variates.apply(first, second))
    probability = predictor.probability(first, second)
    assert (probability.dtype, probability.shape) == (np.float32, (100, 200))
    assert probability[5, 7] == 0
    assert 0 <= probability.min() < 0.1 < 0.9 < probability.max() <= 1
    seen = np.isfinite(length)
    assert (np.diff(probability[seen][np.argsort(length[seen])]) > -1e-6).all()
    np.testing.assert_array_equal(probability[seen] >= 0.5, length[seen] >= np.float32(predictor.limit))
    np.testing.assert_allclose(probability[seen], 1 / (1 + (predictor.limit / length[seen]) ** 2), atol=1e-6)


def test_the_fit_is_on_what_both_dates_show_and_does_not_change_from_run_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = two_dates(changed=2000)
    monkeypatch.setattr("s2change_plugin.engine.classical._MOST_PIXELS", 5000)
    first, again = (fitted("cva", before, after) for _ in range(2))
    assert first.pixels == 5000
    np.testing.assert_array_equal(first.variates.offset, again.variates.offset)
    unseen = as_image(after)
    unseen[0, 10:] = np.nan
    assert fit_predictor("cva", [as_image(before)], [unseen], NAMES).pixels == 2000
    with pytest.raises(NothingObserved, match="Only 0 pixels"):
        fit_predictor("pca", [as_image(before)], [np.full_like(unseen, np.nan)], NAMES)


def test_usable_pixels_stay_pairs() -> None:
    first = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    second = first + 100
    second[1, 0, 0], first[0, 2, 3] = np.inf, np.nan
    pixels = usable_pixels([first, first], [second, second], 15, np.random.default_rng(0))
    assert pixels.shape == (2, 2, 15)
    np.testing.assert_array_equal(pixels[1], pixels[0] + 100)
    np.testing.assert_array_equal(pixels[:, 1], pixels[:, 0] + 12)
