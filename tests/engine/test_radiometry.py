import numpy as np
import pytest

from s2change_plugin.engine.errors import UnitsUnclear
from s2change_plugin.engine.radiometry import band_shifts, is_added_offset, rule_for, to_reflectance


def rule(dtype="uint16", tags=(1.0, 0.0), units="auto", largest=5000.0):
    return rule_for("a.tif", dtype, tags, units, lambda: largest)


def test_digital_numbers_without_a_word_are_ten_thousandths() -> None:
    assert to_reflectance(np.array([0, 2500, 10000]), rule()).tolist() == [0, 0.25, 1]
    assert "does not say" in rule().origin


def test_the_files_own_scale_and_offset_are_used_and_named() -> None:
    own = rule(tags=(0.0001, -0.1))
    assert to_reflectance(np.array([3500]), own)[0] == pytest.approx(0.25)
    assert "scale 0.0001 and offset -0.1" in own.origin


def test_floating_point_up_to_two_is_reflectance_already() -> None:
    assert to_reflectance(np.array([0.25]), rule("float32", largest=1.3))[0] == 0.25
    assert to_reflectance(np.array([2500.0]), rule("float32", largest=6000.0))[0] == 0.25


def test_the_users_word_goes_before_the_file() -> None:
    assert to_reflectance(np.array([3500]), rule(tags=(1e-4, 0.0), units="dn+1000"))[0] == pytest.approx(0.25)
    assert to_reflectance(np.array([0.5]), rule("float32", units="reflectance"))[0] == 0.5


def test_a_picture_of_eight_bits_is_refused_with_the_option() -> None:
    with pytest.raises(UnitsUnclear, match="--before-units"):
        rule("uint8", largest=255)


def samples(ground: np.ndarray, added: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    before = ground.astype(np.float32) / 10000
    return [before], [before + np.float32(added)]


def test_one_thousand_more_in_all_bands_is_an_added_offset(ground: np.ndarray) -> None:
    for added in (0.1, -0.1):
        before, after = samples(ground, added)
        assert is_added_offset(band_shifts(before, after))


def test_a_season_is_no_added_offset(ground: np.ndarray) -> None:
    before, after = samples(ground, 0.0)
    after[0] += np.linspace(-0.05, 0.2, 10, dtype=np.float32)[:, None, None]
    assert not is_added_offset(band_shifts(before, after))


def test_haze_that_spares_the_short_wave_infrared_is_no_added_offset(ground: np.ndarray) -> None:
    before, after = samples(ground, 0.1)
    after[0][8:] -= np.float32(0.08)
    assert not is_added_offset(band_shifts(before, after))


def test_nothing_seen_twice_decides_nothing(ground: np.ndarray) -> None:
    before, after = samples(ground, 0.1)
    assert not is_added_offset(band_shifts(before, [np.full_like(after[0], np.nan)]))
