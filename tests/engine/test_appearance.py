import numpy as np
import pytest
import torch

from s2change_plugin.engine import appearance
from s2change_plugin.engine.appearance import _asinh, _numpy_is_quick, measure_appearance, measure_haze, without_haze
from s2change_plugin.engine.errors import NothingObserved

DEVIATION, BANDS = (0.05, 0.08, 0.1), ("B02", "B03", "B04")


def ground(seed: int = 0, size: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 0.05, (3, size, size)).astype(np.float32) + np.float32(0.02)


def changed_by(noise: float, seed: int = 1, share: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Before, after with noise that bands share, and where it truly changed."""
    random = np.random.default_rng(seed)
    before = ground()
    shared = random.normal(0, noise, (1, 80, 80)) * np.array([1, 2, -1])[:, None, None]
    after = before + shared + random.normal(0, noise / 2, before.shape)
    change = random.random((80, 80)) < share
    after[1, change] += 0.2
    return before, after.astype(np.float32), change


def shown(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The difference as a network is shown it."""
    return measure_appearance([before], [after], DEVIATION, BANDS).shown(before, after, (0.1,) * 3, DEVIATION)[2]


def test_unchanged_ground_differs_by_about_one_in_every_band_whatever_the_noise() -> None:
    for noise in (0.004, 0.02):
        before, after, change = changed_by(noise)
        calm = 2 * np.sinh(shown(before, after)[:, ~change])
        assert np.cov(calm).diagonal() == pytest.approx(1, abs=0.35)
        assert np.abs(np.corrcoef(calm) - np.eye(3)).max() < 0.2


def test_change_stands_out_where_unchanged_ground_varies_little_and_less_where_it_varies_much() -> None:
    heights = []
    for noise in (0.004, 0.02):
        before, after, change = changed_by(noise)
        heights.append(float(np.abs(shown(before, after)[1][change]).mean()))
    assert heights[0] > heights[1] + 1


def test_haze_over_one_date_hardly_changes_the_difference() -> None:
    before, after, _ = changed_by(0.004)
    plain, hazy = shown(before, after), shown(before, after * np.float32(0.95**2) + np.float32(0.05))
    assert np.corrcoef(plain.ravel(), hazy.ravel())[0, 1] > 0.97
    assert np.median(np.abs(plain - hazy)) < 0.15


def test_dates_are_shown_without_haze_in_deviations_from_the_mean() -> None:
    before, after, _ = changed_by(0.01)
    found = measure_appearance([before], [after], DEVIATION, BANDS)
    dates = found.shown(before, after, (0.1, 0.2, 0.3), DEVIATION)[:2]
    for date, image, path in zip(dates, (before, after), found.haze, strict=True):
        assert date[1] * 0.08 + 0.2 == pytest.approx(without_haze(image, path)[1], abs=1e-5)


def test_a_patch_comes_in_blocks_of_whole_cells_that_are_what_is_shown() -> None:
    before, after = (np.tile(one, (1, 1, 90)) for one in changed_by(0.01)[:2])
    found = measure_appearance([before], [after], DEVIATION, BANDS)
    blocks = list(found.blocks(before, after, (0.1,) * 3, DEVIATION, 4))
    rows = [row for row, _ in blocks]
    assert len(rows) > 5
    assert all(row % 4 == 0 for row in rows)
    joined = [torch.cat(images, 1) for images in zip(*(images for _, images in blocks), strict=True)]
    assert torch.equal(torch.stack(joined), found.shown(before, after, (0.1,) * 3, DEVIATION))


def test_swapped_dates_turn_the_sign() -> None:
    before, after, _ = changed_by(0.01)
    assert shown(after, before) == pytest.approx(-shown(before, after), abs=1e-3)


def test_equal_dates_show_no_difference() -> None:
    before = ground()
    assert shown(before, before) == pytest.approx(0)
    rounded = np.round(before * 10000).astype(np.float32) / 10000
    assert np.abs(shown(before, rounded)).max() < 0.1


def test_haze_is_what_the_darkest_pixels_have_too_much_and_comes_off() -> None:
    clear = ground()
    hazy = clear + np.float32([0.1, 0.05, 0.0])[:, None, None]
    haze = measure_haze(hazy.reshape(3, -1), BANDS)
    assert haze - measure_haze(clear.reshape(3, -1), BANDS) == pytest.approx([0.1, 0.05, 0], abs=0.001)
    assert without_haze(hazy, haze).min() >= 0
    hidden = hazy.copy()
    hidden[:, 3, 3] = np.nan
    assert np.isnan(without_haze(hidden, haze)[:, 3, 3]).all()


def test_how_much_the_air_scatters_where_no_ground_is_seen_says_nothing_of_change() -> None:
    """B10 shows the air above the ground, more of it on some dates and in some places than in others."""
    before, after = ground(), ground(1)
    bands = ("B02", "B10", "B04")
    before[1], after[1] = 0.001 + 0.0005 * before[1], 0.001 + 0.0005 * after[1]
    dry, other = before.copy(), after.copy()
    dry[1] += 0.005
    other[1] += 0.008
    seen = [
        measure_appearance([one], [two], DEVIATION, bands).shown(one, two, (0.1, 0.001, 0.1), DEVIATION)
        for one, two in ((before, after), (dry, other))
    ]
    torch.testing.assert_close(*seen, atol=0.01, rtol=0)
    assert measure_haze(dry.reshape(3, -1), bands)[1] == pytest.approx(0.006, abs=0.0002)


def test_too_little_to_measure_is_refused() -> None:
    before = ground()
    before[:, 10:] = np.nan
    before[:, :10, 10:] = np.nan
    with pytest.raises(NothingObserved, match="Only 100 of .* Pick dates with more clear ground in common"):
        measure_appearance([before], [ground(1)], DEVIATION, BANDS)


@pytest.mark.parametrize("is_quick", [False, True])
def test_differences_are_squashed_alike_however_that_is_computed(is_quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appearance, "_numpy_is_quick", lambda: is_quick)
    x = torch.cat([torch.linspace(-50, 50, 4001), torch.tensor([0.0, 1e-6, -1e-3, 1e4, float("nan")])])[None]
    expected = torch.asinh(x)
    torch.testing.assert_close(_asinh(x), expected, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("config", "is_quick"),
    [
        ({}, False),
        ({"SIMD Extensions": {"baseline": ["X86_V2"]}}, False),
        ({"SIMD Extensions": {"found": ["X86_V3"]}}, False),
        ({"SIMD Extensions": {"found": ["X86_V3", "X86_V4"]}}, True),
        ({"SIMD Extensions": {"found": ["AVX2", "AVX512_SKX"]}}, True),
    ],
)
def test_numpy_is_asked_for_it_where_it_says_that_it_is_quick(
    config: dict, is_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "show_config", lambda mode: config)
    monkeypatch.setattr(appearance.sys, "platform", "linux")
    assert _numpy_is_quick.__wrapped__() is is_quick
    monkeypatch.setattr(appearance.sys, "platform", "win32")
    assert not _numpy_is_quick.__wrapped__()
