from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from s2change_plugin.engine.bands import L2A_BANDS, TEN_BANDS
from s2change_plugin.engine.errors import NothingObserved, UnreadableInput
from s2change_plugin.engine.findings import OK, STOP, WARNING, Finding, require_fit
from s2change_plugin.engine.masks import masks_of
from s2change_plugin.engine.pair import PairOptions, PairWindow, open_pair
from s2change_plugin.engine.pair_findings import (
    brightness_finding,
    clouds_finding,
    copy_findings,
    filled_findings,
    gap_findings,
    mask_findings,
    stable_differences,
    units_finding,
    usable_finding,
)
from s2change_plugin.engine.scene import Scene, open_scene
from s2change_plugin.engine.validity import Quality
from tests.conftest import textured, write_stack
from training.products import SENSED, write_product


def gaps(tmp_path: Path, after: np.ndarray, bands: tuple[str, ...] = ("B03", "B04", "B12"), **profile: object) -> list[Finding]:
    """Of a pair whose second date is this."""
    before = write_stack(tmp_path / "before.tif", textured(len(bands), *after.shape[1:], 1), bands)
    later = write_stack(tmp_path / "after.tif", after, bands, **profile)
    with open_pair(open_scene(str(before)), open_scene(str(later)), bands, PairOptions(register=False)) as pair:
        return list(gap_findings(pair))


def test_where_one_band_alone_is_cut_off_at_nodata_it_is_said_and_how_to_see_it(tmp_path: Path) -> None:
    """As water in the short-wave infrared, in exports that take the offset off and leave nothing below 0."""
    after = textured(3, 200, 200, 2)
    assert gaps(tmp_path, after) == []
    # Without any number in any band it is not there at all.
    after[:, :, :20] = 0
    assert gaps(tmp_path, after) == []
    after[2, 50:100, 50:100] = 0
    (found,) = gaps(tmp_path, after)
    assert (found.topic, found.severity) == ("gaps", WARNING)
    assert "In 6.9 % of what after shows it has no data in B12, so" in found.sentence
    assert found.values == {"side": "after", "lacking": {"B12": pytest.approx(2500 / (180 * 200))}}
    # As it advises.
    assert gaps(tmp_path, after, nodata=65535) == []


def test_a_band_that_is_empty_throughout_stops_and_is_named(tmp_path: Path) -> None:
    """The advice for water that is cut off at 0 would have it read as black."""
    after = textured(3, 200, 200, 2)
    after[:, :, :20] = after[1] = 0
    (found,) = gaps(tmp_path, after)
    assert found.severity == STOP
    assert found.sentence.startswith(
        "In all that was looked at after has no data in B04, so nothing is observed there. Get it again"
    )
    assert "if B04 is - in --after-bands" in found.advice
    with pytest.raises(NothingObserved, match="no data in B04"):
        require_fit([found])
    # Of a product, which is damaged then, too.
    layers = textured(len(L2A_BANDS), 240, 240, 1).astype(np.float32) / 10000
    layers[L2A_BANDS.index("B8A")] = np.nan
    before = write_stack(tmp_path / "ten.tif", textured(10, 240, 240, 2), origin=(399960.0, 4700040.0))
    scenes = open_scene(str(before)), open_scene(str(write_product(tmp_path, layers, level="L2A")))
    with open_pair(*scenes, TEN_BANDS, PairOptions(register=False)) as pair:
        (found,) = gap_findings(pair)
    assert (found.severity, found.values["lacking"]) == (STOP, {"B8A": 1.0})


# Of 16 windows of 256 × 256: what they cover; what they do not; and what they would if no two of them showed the same.
@pytest.mark.parametrize(("shape", "severity"), [((1024, 1024), STOP), ((1100, 1100), WARNING), ((1100, 900), WARNING)])
def test_a_band_that_is_empty_in_samples_that_leave_ground_out_is_a_warning(
    tmp_path: Path, shape: tuple[int, int], severity: str
) -> None:
    """It may have data where nothing was looked at."""
    after = np.full((2, *shape), 900, np.uint16)
    after[1] = 0
    (found,) = gaps(tmp_path, after, ("B03", "B04"))
    assert (found.severity, found.values) == (severity, {"side": "after", "lacking": {"B04": 1.0}})


def test_of_a_folder_no_layer_can_be_left_out_so_an_empty_band_is_not_advised_to_be(tmp_path: Path) -> None:
    before = write_stack(tmp_path / "before.tif", textured(3, 200, 200, 1), ("B03", "B04", "B12"))
    folder = tmp_path / "after"
    folder.mkdir()
    for name, layer in zip(("B03", "B04", "B12"), textured(3, 200, 200, 2), strict=True):
        write_stack(folder / f"{name}.tif", layer[None] * (name != "B04"), None)
    bands = ("B03", "B04", "B12")
    with open_pair(open_scene(str(before)), open_scene(str(folder)), bands, PairOptions(register=False)) as pair:
        (found,) = gap_findings(pair)
    assert (found.severity, found.advice) == (STOP, "Get it again with all bands.")


def test_a_band_of_one_number_is_no_ground_and_an_even_scene_may_be() -> None:
    before, after = (textured(3, 60, 60, seed).astype(np.float32) / 10000 for seed in (1, 2))
    quality = np.zeros((60, 60), np.uint8)
    assert filled_findings([PairWindow(before, after, quality)], ("B03", "B04", "B11")) == ()
    after[2] = 1
    # Clouds are cut out of all bands.
    after[:, :9] = np.nan
    (found,) = filled_findings([PairWindow(before, after, quality)], ("B03", "B04", "B11"))
    assert (found.severity, found.values) == (WARNING, {"side": "after", "filled": ["B11"]})
    assert found.text.startswith("After holds one number in B11 throughout")
    even = np.full_like(before, 0.1)
    assert filled_findings([PairWindow(even, even, quality)], ("B03", "B04", "B11")) == ()


def test_a_gap_counts_once_where_samples_overlap_and_not_at_the_edge_of_a_swath(tmp_path: Path) -> None:
    before = write_stack(tmp_path / "before.tif", textured(2, 400, 400, 1), ("B03", "B12"))
    after = textured(2, 400, 400, 2)
    # Bands of 20 m end some pixels before those of 10 m.
    after[:, :, :40] = after[1, :, 40:48] = 0
    for hole in (0, 50):
        after[1, 175 : 175 + hole, 175:225] = 0
        later = write_stack(tmp_path / "after.tif", after, ("B03", "B12"))
        with open_pair(open_scene(str(before)), open_scene(str(later)), ("B03", "B12"), PairOptions(register=False)) as pair:
            assert pair.gaps[1] == {"B03": 0, "B12": pytest.approx(hole * 50 / (400 * 360))}


def test_a_mask_whose_clouds_may_be_its_nodata_is_asked_about(tmp_path: Path) -> None:
    dates = [str(write_stack(tmp_path / f"{name}.tif", textured(2, 200, 200, 1), ("B03", "B04"))) for name in "ab"]
    values = np.zeros((1, 200, 200), np.uint8)
    values[:, :50] = 255
    options = PairOptions(register=False, after_mask=str(write_stack(tmp_path / "own.tif", values, None, nodata=255)))
    with open_pair(*map(open_scene, dates), ("B03", "B04"), options) as pair:
        (found,) = mask_findings(pair)
    assert found.severity == WARNING
    assert "own.tif masks nothing on after of what was looked at, and holds its nodata, 255, there." in found.text
    assert "-unsetnodata" in found.advice
    with open_pair(*map(open_scene, dates), ("B03", "B04"), replace(options, after_mask=None)) as pair:
        assert mask_findings(pair) == ()


def test_a_mask_that_comes_with_a_date_and_is_not_read_is_said_until_there_is_one_of_ones_own(tmp_path: Path) -> None:
    bands = ("B03", "B04", "Fmask")
    dates = [
        str(write_stack(tmp_path / f"{name}_L2A.tif", textured(3, 200, 200, 1), bands[:count]))
        for name, count in (("a", 2), ("b", 3))
    ]
    own = str(write_stack(tmp_path / "own.tif", np.eye(200, dtype=np.uint8)[None], None))

    def found(**options: object) -> Finding:
        with open_pair(*map(open_scene, dates), bands[:2], PairOptions(register=False, **options)) as pair:
            return clouds_finding(pair)

    assert found().severity == WARNING
    assert found().text.startswith("After: the layer Fmask is not read; make a mask of 0 and 1 of its bits")
    assert "Clouds are not masked on every date (before: none; after: none)" in found().text
    assert "Fmask" not in found(clouds="none").text
    assert found(before_mask=own).severity == WARNING
    assert found(before_mask=own, after_mask=own).severity == OK
    with pytest.raises(UnreadableInput, match="brings no cloud mask that is used: the layer Fmask is not read"):
        masks_of(open_scene(dates[1]), "product", None)


def test_a_mask_that_is_used_and_has_a_fault_is_a_warning_though_clouds_are_masked_on_both_dates(tmp_path: Path) -> None:
    bands = ("B03", "B04", "SCL")
    values = textured(3, 200, 200, 1).astype(np.float32)
    values[2, :, :100], values[2, :, 100:] = 4, 9
    dates = [open_scene(str(write_stack(tmp_path / f"{name}.tif", values + index, bands))) for index, name in enumerate("ab")]
    values[2, :, 99] = 6.5
    faulty = open_scene(str(write_stack(tmp_path / "c.tif", values, bands)))

    def found(*pair: Scene, **options: object) -> Finding:
        with open_pair(*pair, bands[:2], PairOptions(register=False, **options)) as opened:
            return clouds_finding(opened)

    assert (found(*dates).severity, found(*dates).text[:35]) == (OK, "Clouds are masked on both dates by ")
    said = found(dates[0], faulty)
    assert said.severity == WARNING
    assert said.text.startswith("After: the SCL layer was interpolated, ")
    assert "Clouds are masked on both dates by scene classification (SCL) of the stack." in said.text
    assert found(faulty, dates[0]).text.startswith("Before: the SCL layer was interpolated, ")
    own = str(write_stack(tmp_path / "own.tif", np.eye(200, dtype=np.uint8)[None], None))
    assert found(dates[0], faulty, after_mask=own).severity == OK


@pytest.mark.parametrize(
    ("made", "trusted", "severity"), [("stack", False, STOP), ("stack", True, WARNING), ("product", False, OK)]
)
def test_a_date_that_is_many_times_as_bright_stops_but_for_products_that_say_their_units(
    tmp_path: Path, made: str, trusted: bool, severity: str
) -> None:
    paths = []
    for name, times in (("a", 1), ("b", 5)):
        image = textured(10, 240, 240, 1) // 10 * times
        if made == "stack":
            paths.append(write_stack(tmp_path / f"{name}.tif", image))
        else:
            paths.append(write_product(tmp_path / name, image.astype(np.float32) / 10000, sensed=SENSED + timedelta(len(paths))))
    scenes = [open_scene(str(path)) for path in paths]
    with open_pair(*scenes, TEN_BANDS, PairOptions(register=False, clouds="none")) as pair:
        found = units_finding(pair, trusted)
    assert found.severity == severity
    assert ("times as bright" in found.text) == (severity != OK)


def test_of_two_products_one_that_is_brighter_by_the_offset_is_hazy_and_of_rasters_it_is_asked_about(tmp_path: Path) -> None:
    ground = textured(10, 240, 240, 1).astype(np.float32) / 10000
    # A river, which is next to black in the short-wave infrared.
    ground[:, :, 100:120] = 0.02
    found = {}
    for made in ("stack", "product"):
        paths = []
        for name, more in (("a", 0), ("b", 0.1)):
            if made == "stack":
                paths.append(write_stack(tmp_path / f"{name}.tif", ground + np.float32(more)))
            else:
                paths.append(write_product(tmp_path / name, ground + more, sensed=SENSED + timedelta(len(paths))))
        scenes = [open_scene(str(path)) for path in paths]
        with open_pair(*scenes, TEN_BANDS, PairOptions(register=False, clouds="none")) as pair:
            found[made] = units_finding(pair, trust_units=False)
    assert found["stack"].severity == STOP
    assert "--after-units dn+1000" in found["stack"].text
    assert found["product"].severity == WARNING
    assert "After is brighter by about what the offset" in found["product"].text
    assert found["product"].advice == "Look at after, or pick a clearer date."


def test_one_image_under_two_names_is_told_whatever_its_unit(tmp_path: Path) -> None:
    bands, image = ("B03", "B04"), textured(2, 200, 200, 1)
    other = image.copy()
    other[1, 100, 100] += 1
    before = write_stack(tmp_path / "S2A_20200101.tif", image, bands)

    def found(after: np.ndarray) -> tuple[Finding, ...]:
        path = write_stack(tmp_path / "S2A_20210101.tif", after, bands)
        with open_pair(open_scene(str(before)), open_scene(str(path)), bands, PairOptions(register=False)) as pair:
            return copy_findings(pair.ground)

    for copy in (image, image.astype(np.float32) / 10000):
        (said,) = found(copy)
        assert said.severity == WARNING
        assert "one is a copy of the other" in said.text
    assert found(other) == ()
    unseen = np.full((2, 9, 9), np.nan, np.float32)
    assert copy_findings([PairWindow(unseen, unseen, np.zeros((9, 9), np.uint8))]) == ()


def sample(quality: np.ndarray) -> PairWindow:
    empty = np.zeros((2, *quality.shape), np.float32)
    return PairWindow(empty, empty, quality.astype(np.uint8))


def test_the_usable_share_leaves_out_what_nobody_asked_for_and_gives_the_reasons() -> None:
    quality = np.array([[Quality.OBSERVED] * 6 + [Quality.CLOUD] * 2 + [Quality.OUTSIDE] * 2])
    found = usable_finding([sample(quality)], Window(0, 0, 10, 1))
    assert found.values["usable_share"] == 0.75
    assert found.values["reasons"] == {"cloud": 0.25}
    assert "75.0 %" in found.text


def test_what_hides_most_need_be_no_cloud() -> None:
    found = usable_finding([sample(np.full((1, 10), Quality.SNOW)), sample(np.zeros((1, 2)))], Window(0, 0, 12, 1))
    assert (found.severity, found.values["reasons"]) == (WARNING, {"snow on one date": pytest.approx(10 / 12, abs=1e-4)})
    assert found.advice == "Pick scenes with more clear ground in common."


def test_nothing_to_see_stops_only_where_all_was_looked_at() -> None:
    dark = sample(np.full((4, 4), Quality.CLOUD))
    assert usable_finding([dark], Window(0, 0, 4, 4)).severity == STOP
    assert usable_finding([dark], Window(0, 0, 40, 4)).severity == WARNING


def test_a_share_of_what_was_looked_at_is_called_about() -> None:
    clear, cloudy = (sample(np.full((4, 3), code)) for code in (Quality.OBSERVED, Quality.CLOUD))
    whole = usable_finding([clear, cloudy], Window(0, 0, 6, 4), "the bay")
    assert whole.values == {"usable_share": 0.5, "reasons": {"cloud": 0.5}, "exact": True}
    assert whole.text.startswith("50.0 % of the bay can be compared")
    part = usable_finding([clear, cloudy], Window(0, 0, 7, 4))
    assert part.values == {**whole.values, "exact": False}
    assert part.text.startswith("About 50.0 % of the overlap can be compared")


def test_brightness_is_compared_where_colours_stayed() -> None:
    random = np.random.default_rng(0)
    before = random.uniform(0.05, 0.4, (4, 40, 40)).astype(np.float32)
    after = before * 1.2
    # A third of the ground changed its colour.
    after[:, :13] = random.uniform(0.05, 0.4, (4, 13, 40))
    seen = PairWindow(before, after.astype(np.float32), np.zeros((40, 40), np.uint8))
    expected = np.median((after - before)[:, 13:].reshape(4, -1), axis=1)
    np.testing.assert_allclose(stable_differences([seen]), expected, atol=0.006)
    assert brightness_finding([seen], ("B02", "B03", "B04", "B08")).severity == WARNING
    alike = PairWindow(before, before.copy(), seen.quality)
    assert brightness_finding([alike], ("B02", "B03", "B04", "B08")).severity == OK
