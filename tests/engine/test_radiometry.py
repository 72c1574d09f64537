from dataclasses import replace

import numpy as np
import pytest

from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.errors import UnitsUnclear
from s2change_plugin.engine.radiometry import (
    DnRule,
    compare_units,
    contradiction,
    is_added_offset,
    other_scale,
    rule_for,
    seen_pixels,
    to_reflectance,
)

OFFSET_TAGS = (0.0001, -0.1)
# Top-of-atmosphere reflectance in the order of TEN_BANDS, as usual for Level-1C.
WATER = (0.11, 0.08, 0.05, 0.04, 0.035, 0.035, 0.03, 0.03, 0.012, 0.008)
MEADOW = (0.10, 0.09, 0.07, 0.11, 0.25, 0.31, 0.30, 0.33, 0.20, 0.10)
SOIL = (0.12, 0.12, 0.14, 0.16, 0.18, 0.20, 0.22, 0.23, 0.30, 0.25)
DESERT = (0.20, 0.25, 0.32, 0.35, 0.37, 0.39, 0.40, 0.42, 0.52, 0.47)
SNOW = (0.85, 0.85, 0.83, 0.82, 0.80, 0.79, 0.77, 0.75, 0.11, 0.09)


def band_shifts(before: list[np.ndarray], after: list[np.ndarray]) -> np.ndarray:
    return np.array(compare_units(before, after, ["B02"] * len(before[0])).shifts)


def rule(dtype="uint16", tags=(1.0, 0.0), units="auto", largest=5000.0, told=None, trusted=False, side="before"):
    return rule_for("a.tif", dtype, tags, units, lambda: largest, side, told, trusted)


def test_digital_numbers_without_a_word_are_ten_thousandths() -> None:
    assert to_reflectance(np.array([0, 2500, 10000]), rule()).tolist() == [0, 0.25, 1]
    assert "does not say" in rule().origin


def test_the_files_own_scale_and_offset_are_used_and_named() -> None:
    own = rule(tags=OFFSET_TAGS)
    assert to_reflectance(np.array([3500]), own)[0] == pytest.approx(0.25)
    assert "scale 0.0001 and offset -0.1" in own.origin


def test_floating_point_up_to_two_is_reflectance_already() -> None:
    assert to_reflectance(np.array([0.25]), rule("float32", largest=1.3))[0] == 0.25
    assert to_reflectance(np.array([2500.0]), rule("float32", largest=6000.0))[0] == 0.25


def test_the_users_word_goes_where_the_file_says_nothing() -> None:
    assert to_reflectance(np.array([3500]), rule(units="dn+1000"))[0] == pytest.approx(0.25)
    assert to_reflectance(np.array([0.5]), rule("float32", units="reflectance"))[0] == 0.5
    assert to_reflectance(np.array([2500]), rule(units="dn"))[0] == 0.25


@pytest.mark.parametrize(
    ("tags", "units"), [(OFFSET_TAGS, "dn"), ((0.0001, 0.0), "dn+1000"), ((0.0001, 0.0), "reflectance"), ((0.01, 0.0), "dn")]
)
def test_the_users_word_against_the_files_tags_is_asked_with_both_values(tags, units) -> None:
    with pytest.raises(UnitsUnclear, match=r"a\.tif.*--after-units") as error:
        rule(tags=tags, units=units, side="after")
    text = str(error.value)
    assert f"{tags[0]:g}" in text
    assert units in text
    assert "--trust-units" in text
    assert text.count("value ×") == 2


def test_the_users_word_against_the_products_metadata_is_asked_too() -> None:
    told = DnRule(0.0001, -0.1, "product metadata")
    with pytest.raises(UnitsUnclear, match="product metadata means reflectance = value × 0.0001 − 0.1"):
        rule(units="dn", told=told)


def test_a_trusted_word_goes_against_tags_and_metadata() -> None:
    assert rule(tags=OFFSET_TAGS, units="dn", trusted=True).offset == 0
    chosen = rule(units="dn", told=DnRule(0.0001, -0.1, "product metadata", product=True), trusted=True)
    assert (chosen.offset, chosen.product) == (0, False)


def test_trust_without_a_word_leaves_the_files_own() -> None:
    assert rule(tags=OFFSET_TAGS, trusted=True).offset == -0.1


def test_metadata_go_before_tags() -> None:
    told = DnRule(0.0001, -0.1, "product metadata", product=True)
    assert rule(tags=(0.0001, 0.0), told=told) is told


def test_what_the_cirrus_band_proves_must_not_contradict_the_tags() -> None:
    told = DnRule(0.0001, 0.0, "proven")
    assert rule(told=told) is told
    with pytest.raises(UnitsUnclear, match="Which is right"):
        rule(tags=OFFSET_TAGS, told=told)
    assert rule(tags=OFFSET_TAGS, told=told, trusted=True).offset == OFFSET_TAGS[1]


def test_a_word_that_means_the_same_is_no_contradiction_and_the_files_is_finer() -> None:
    assert rule(tags=(0.0001004, -0.098), units="dn+1000").offset == -0.098
    with pytest.raises(UnitsUnclear):
        rule(tags=(0.0001004, -0.09), units="dn+1000")
    with pytest.raises(UnitsUnclear):
        rule(tags=(0.000102, -0.1), units="dn+1000")


def test_only_what_someone_has_said_is_assured() -> None:
    assert rule(tags=OFFSET_TAGS).assured
    assert rule(units="dn").assured
    assert DnRule(0.0001, 0.0, "product metadata").assured
    assert not rule().assured
    assert not rule("float32", largest=1.3).assured


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
    unseen = [np.full_like(after[0], np.nan)]
    assert not is_added_offset(band_shifts(before, unseen))
    assert compare_units(before, unseen, TEN_BANDS).state == "unknown"
    assert contradiction(unseen, TEN_BANDS, [rule()] * 10) is None


def scene(*parts: tuple[tuple[float, ...], float], seed: int = 0, added: float = 0.0) -> list[np.ndarray]:
    """Two samples of 100 × 100 pixels: stripes of covers, each (spectrum, share), every pixel 5 % lighter or darker."""
    random = np.random.default_rng(seed)
    rows = np.concatenate([np.full(round(100 * share), place) for place, (_, share) in enumerate(parts)])
    spectra = np.array([spectrum for spectrum, _ in parts], np.float32)
    base = np.repeat(spectra[rows].T[:, :, None], 100, axis=2)  # (band, row, col)
    light = random.normal(1, 0.05, (2, 1, *base.shape[1:])).astype(np.float32)
    return [base * light[0] + np.float32(added), base * light[1] + np.float32(added)]


def river(water: float = 0.05, land=MEADOW, **options) -> list[np.ndarray]:
    return scene((WATER, water), (land, 0.7 - water), (SOIL, 0.3), **options)


def test_two_dates_with_water_are_in_one_unit() -> None:
    verdict = compare_units(river(), river(seed=1), TEN_BANDS)
    assert (verdict.state, verdict.side) == ("same", None)
    assert verdict.before_floor == pytest.approx(0.008, abs=0.002)
    assert verdict.after_floor == pytest.approx(0.008, abs=0.002)


@pytest.mark.parametrize("side", ["before", "after"])
def test_an_offset_on_one_date_is_caught_with_its_side_and_option(side) -> None:
    dates = {"before": river(), "after": river(seed=1)}
    dates[side] = [sample + np.float32(0.1) for sample in dates[side]]
    verdict = compare_units(dates["before"], dates["after"], TEN_BANDS)
    assert (verdict.state, verdict.side) == ("mixed", side)
    assert f"--{side}-units dn+1000" in verdict.text
    assert "--trust-units" in verdict.text


def test_water_gives_the_offset_away_where_the_season_hides_it_in_the_bands() -> None:
    before, after = river(), river(land=SOIL, seed=1, added=0.1)
    assert not is_added_offset(band_shifts(before, after))
    verdict = compare_units(before, after, TEN_BANDS)
    assert (verdict.state, verdict.side) == ("mixed", "after")
    assert "darkest ground of before" in verdict.text


def test_the_dark_ground_that_counts_is_that_of_the_darker_date() -> None:
    glint = tuple(value + 0.02 for value in WATER)
    before = scene((glint, 0.05), (WATER, 0.05), (SOIL, 0.9), added=0.1)  # its darkest ground is a field under water
    after = scene((WATER, 0.05), (SOIL, 0.05), (MEADOW, 0.9), seed=1)
    assert not is_added_offset(band_shifts(before, after))
    assert compare_units(before, after, TEN_BANDS).side == "before"


def test_bright_ground_that_brightens_is_no_dark_ground_that_moved() -> None:
    season = np.array([-0.05, -0.04, 0.02, 0.05, 0.07, 0.1, 0.11, 0.12, 0.1, 0.1], np.float32)[:, None, None]
    before = scene((DESERT, 1))
    assert compare_units(before, [sample + season for sample in before], TEN_BANDS).state == "unknown"


@pytest.mark.parametrize(("before", "after"), [(-0.1, -0.1), (-0.03, 0.06)])
def test_floors_below_nothing_or_far_apart_prove_no_unit(before, after) -> None:
    dates = river(added=before), river(seed=1, added=after)
    assert compare_units(*dates, TEN_BANDS).state == "unknown"


def test_an_offset_on_both_dates_is_never_called_one_unit_for_sure_nor_mixed() -> None:
    assert compare_units(river(added=0.1), river(seed=1, added=0.1), TEN_BANDS).state == "unknown"


def test_a_desert_without_dark_ground_leaves_the_unit_unknown_and_asks() -> None:
    verdict = compare_units(scene((DESERT, 1)), scene((DESERT, 1), seed=1), TEN_BANDS)
    assert verdict.state == "unknown"
    assert "--before-units" in verdict.text
    assert "--after-units" in verdict.text


def test_a_desert_that_moves_by_a_thousand_in_every_band_is_mixed() -> None:
    verdict = compare_units(scene((DESERT, 1)), scene((DESERT, 1), seed=1, added=0.1), TEN_BANDS)
    assert (verdict.state, verdict.side) == ("mixed", "after")


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_flooded_field_is_not_taken_for_an_offset(share) -> None:
    dry = scene((SOIL, share), (DESERT, 1 - share))
    flooded = scene((WATER, share), (DESERT, 1 - share), seed=1)
    for before, after in ((dry, flooded), (flooded, dry)):
        assert compare_units(before, after, TEN_BANDS).state == "unknown"
        assert compare_units(before, after, TEN_BANDS, True, True).state == "same"


def test_a_lake_that_dries_to_flat_grey_ground_is_not_taken_for_an_offset() -> None:
    grey = tuple(value + 0.1 for value in WATER)
    full, dry = scene((WATER, 0.2), (DESERT, 0.8)), scene((grey, 0.2), (DESERT, 0.8), seed=1)
    assert compare_units(full, dry, TEN_BANDS).state == "unknown"


def test_snow_is_not_taken_for_an_offset() -> None:
    winter = scene((WATER, 0.05), (SNOW, 0.95), seed=1)
    assert compare_units(river(), winter, TEN_BANDS).state == "same"
    assert compare_units(river(), scene((SNOW, 1), seed=1), TEN_BANDS).state != "mixed"


def test_haze_over_water_that_stays_dark_in_the_short_wave_is_no_offset() -> None:
    haze = np.array([0.11, 0.1, 0.1, 0.1, 0.09, 0.09, 0.09, 0.09, 0.06, 0.055], np.float32)[:, None, None]
    hazy = [sample + haze for sample in river(seed=1)]
    assert is_added_offset(band_shifts(river(), hazy))
    assert compare_units(river(), hazy, TEN_BANDS).state != "mixed"


def test_known_units_hold_where_values_cannot_tell() -> None:
    assert compare_units(scene((DESERT, 1)), scene((DESERT, 1), seed=1), TEN_BANDS, True, True).state == "same"
    assert compare_units(scene((DESERT, 1)), scene((DESERT, 1), seed=1), TEN_BANDS, True, False).state == "unknown"


def test_known_units_hold_against_evidence_that_is_only_likely() -> None:
    warmer = np.linspace(0.06, 0.1, 10, dtype=np.float32)[:, None, None]
    before, after = scene((DESERT, 1)), [sample + warmer for sample in scene((DESERT, 1), seed=1)]
    assert compare_units(before, after, TEN_BANDS).state == "mixed"
    assert compare_units(before, after, TEN_BANDS, True, True).state == "same"


def test_known_units_hold_where_the_bands_move_but_dark_ground_does_not_move_with_them() -> None:
    before, after = river(), scene((SOIL, 0.05), (MEADOW, 0.65), (SOIL, 0.3), seed=1, added=0.1)
    assert compare_units(before, after, TEN_BANDS).state == "mixed"
    assert compare_units(before, after, TEN_BANDS, True, True).state == "same"


def test_a_wrong_flag_in_a_catalogue_is_found_out() -> None:
    kept = compare_units(river(), river(seed=1, added=0.1), TEN_BANDS, True, True)
    assert (kept.state, kept.side) == ("mixed", "after")
    assert "--after-units dn+1000 --trust-units" in kept.text
    twice = compare_units(river(added=-0.1), river(seed=1), TEN_BANDS, True, True)
    assert twice.state == "mixed"
    assert "--before-units dn --trust-units" in twice.text


def test_without_the_short_wave_infrared_only_all_bands_alike_tell() -> None:
    def visible(date):
        return [sample[[0, 1, 2, 6]] for sample in date]

    names = ("B02", "B03", "B04", "B08")
    assert compare_units(visible(river()), visible(river(seed=1)), names).state == "unknown"
    assert compare_units(visible(river()), visible(river(seed=1, added=0.1)), names).side == "after"


def test_one_band_of_the_short_wave_infrared_is_enough() -> None:
    places = [0, 1, 2, 6, 9]
    names = [TEN_BANDS[place] for place in places]
    before, after = ([sample[places] for sample in river(seed=seed)] for seed in (0, 1))
    assert compare_units(before, after, names).state == "same"


def test_a_handful_of_pixels_has_no_dark_floor() -> None:
    few = [sample[:, :20, :20] for sample in river()]
    assert compare_units(few, few, TEN_BANDS).before_floor is None
    assert compare_units(few, few, TEN_BANDS).state == "unknown"


def test_pixels_that_one_date_does_not_show_count_for_neither() -> None:
    before, after = river(), river(seed=1)
    for sample in after:
        sample[:, :5] = np.nan  # clouds over the water
    assert compare_units(before, after, TEN_BANDS).before_floor > 0.08


def test_an_offset_taken_off_what_never_carried_it_contradicts_dark_ground() -> None:
    text = contradiction(river(added=-0.1), TEN_BANDS, [rule(units="dn+1000")] * 10, "after")
    assert "less than nothing" in text
    assert text.endswith("--after-units dn.")
    own = contradiction(river(added=-0.1), TEN_BANDS, [rule(tags=OFFSET_TAGS)] * 10, "after")
    assert own.endswith("--after-units dn --trust-units.")
    assert contradiction(river(), TEN_BANDS, [rule(units="dn+1000")] * 10) is None


def test_shadows_that_a_correction_made_negative_do_not_contradict_digital_numbers() -> None:
    assert contradiction(river(added=-0.05), TEN_BANDS, [rule(units="dn")] * 10) is None


@pytest.mark.parametrize("units", ["dn", "reflectance", "auto"])
def test_ground_that_is_darker_than_any_correction_makes_it_lost_its_offset_twice(units: str) -> None:
    text = contradiction(river(added=-0.1), TEN_BANDS, [rule(units=units)] * 10, "after")
    assert text is not None
    assert "an offset was taken off twice" in text
    assert contradiction(river(added=-0.1), TEN_BANDS, [replace(rule(), product=True)] * 10) is None


def test_only_numbers_near_the_largest_mean_saturation_and_of_reflectance_none_beyond() -> None:
    """Per cent read as reflectance has to be seen, so that it can be refused."""
    values = np.array([0.3, 6.3, 6.5535, 6.7, 40], np.float32)
    assert rule(units="reflectance").saturation.marked(values).tolist() == [False, False, True, False, False]
    assert rule(units="dn").saturation.marked(10000 * values).tolist() == [False, False, True, True, True]
    assert rule(tags=(0.01, 0.0)).saturation is None


def test_a_date_that_is_many_times_as_bright_in_every_band_is_on_another_scale() -> None:
    ground = river()
    text = other_scale(ground, [sample / 10 for sample in ground])
    assert text is not None
    assert text.startswith("Before is at least 10.0 times as bright as after in every band, as no dry ground changes")
    assert str(other_scale([sample / 5 for sample in ground], ground)).startswith("After is at least 5.0 times")
    snow = [sample * np.where(np.arange(10) < 7, 8, 1)[:, None, None] for sample in ground]
    assert other_scale(ground, snow) is None
    assert other_scale(ground, [sample * 3 for sample in ground]) is None


def test_an_offset_in_digital_numbers_is_named_with_the_one_that_is_meant() -> None:
    read = [sample - 999.9 for sample in river()]
    text = contradiction(read, TEN_BANDS, [rule(tags=(1e-4, -1000.0))] * 10, "after")
    assert text is not None
    assert (
        "scale 0.0001 and offset -1000: that offset is in digital numbers and is added after the scale, so -0.1 is meant" in text
    )
    assert "gdal_edit.py -scale 0.0001 -offset -0.1, or say --after-units dn+1000 --trust-units." in text
    assert "per cent" not in text
    raised = contradiction([sample + 500 for sample in river()], TEN_BANDS, [rule(tags=(2e-5, 500.0))] * 10)
    assert raised is not None
    assert raised.endswith("gdal_edit.py -scale 2e-05 -offset 0.01.")


def test_per_cent_read_as_digital_numbers_contradicts() -> None:
    dim = [sample / 100 for sample in river()]
    text = contradiction(dim, TEN_BANDS, [rule()] * 10, "after")
    assert text is not None
    assert "in another unit, such as per cent" in text
    assert contradiction(dim, TEN_BANDS, [replace(rule(), product=True)] * 10) is None


def test_digital_numbers_read_as_reflectance_contradict() -> None:
    stored = [sample * 10000 for sample in river()]
    assert "--before-units dn or dn+1000" in contradiction(stored, TEN_BANDS, [rule(units="reflectance")] * 10)
    assert contradiction(river(), TEN_BANDS, [rule(units="reflectance")] * 10) is None


@pytest.mark.parametrize("units", ["dn", "dn+1000"])
def test_reflectance_read_as_digital_numbers_contradicts(units) -> None:
    read = [to_reflectance(sample, rule(units=units)) for sample in river()]
    assert "--before-units reflectance" in contradiction(read, TEN_BANDS, [rule(units=units)] * 10)


def test_bright_snow_is_no_contradiction() -> None:
    bright = [sample * np.float32(1.5) for sample in scene((SNOW, 1))]
    for units in ("dn", "reflectance"):
        assert contradiction(bright, TEN_BANDS, [rule(units=units)] * 10) is None


def test_reflectance_that_was_stretched_over_16_bits_contradicts() -> None:
    stretched = [sample * np.float32(65535 / 10000) for sample in river()]
    assert np.median(stretched[0]) < 2
    said = contradiction(stretched, TEN_BANDS, [rule()] * 10)
    assert "gdal_edit.py -scale 0.0000152590" in said
    assert "--trust-units" in said
    # A file that tells its unit is believed.
    assert contradiction(stretched, TEN_BANDS, [DnRule(0.0001, 0.0, "the file's own scale", assured=True)] * 10) is None


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_an_offset_of_whole_numbers_leaves_no_trace_of_rounding(dtype: type) -> None:
    dn = np.arange(1, 12000, dtype=dtype)
    old, new = rule(), rule(units="dn+1000")
    np.testing.assert_array_equal(to_reflectance(dn, old), to_reflectance(dn + 1000, new))


def test_an_offset_that_is_no_whole_number_is_added_as_it_is() -> None:
    odd = DnRule(0.0001, 0.05003, "odd")
    assert odd.whole_offset == 0
    assert to_reflectance(np.array([2500]), odd)[0] == pytest.approx(0.30003, abs=1e-6)


def test_of_very_many_pixels_every_so_many_th_is_taken_of_the_samples_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    dates = [[random.random((2, 7, width), np.float32) for width in (5, 9, 3)] for _ in range(2)]
    dates[1][1][0, 2:4] = np.nan
    monkeypatch.setattr("s2change_plugin.engine.radiometry._MOST_PIXELS", 29)
    end_to_end = [np.concatenate([sample.reshape(2, -1) for sample in date], 1)[:, ::4] for date in dates]
    seen = np.isfinite(end_to_end[1]).all(0)
    assert 0 < seen.sum() < len(seen)
    for found, expected in zip(seen_pixels(*dates), end_to_end, strict=True):
        np.testing.assert_array_equal(found, expected[:, seen])
