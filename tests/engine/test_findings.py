import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from s2change_plugin.engine.acquisition import Acquisition
from s2change_plugin.engine.bands import ALL_BANDS, L2A_BANDS, TEN_BANDS
from s2change_plugin.engine.card import AUTO, SHIPPED, ModelCard, find_card, list_models, named_weights
from s2change_plugin.engine.choice import chosen_model
from s2change_plugin.engine.errors import DatesReversed, ModelError, NothingObserved, S2ChangeError, UnreadableInput
from s2change_plugin.engine.findings import (
    OK,
    STOP,
    WARNING,
    Finding,
    brightness_finding,
    clouds_finding,
    copy_findings,
    dates_finding,
    day_of_year_gap,
    filled_findings,
    gap_findings,
    level_finding,
    mask_findings,
    model_finding,
    require_fit,
    resolution_findings,
    season_findings,
    stable_differences,
    sun_difference,
    units_finding,
    usable_finding,
    worst,
)
from s2change_plugin.engine.masks import masks_of
from s2change_plugin.engine.pair import PairOptions, PairWindow, open_pair
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.scene import Scene, open_scene
from s2change_plugin.engine.validity import Quality
from tests.conftest import textured, write_stack
from training.products import SENSED, write_product

BEFORE = Acquisition(
    "L1C", datetime(2021, 6, 20, tzinfo=timezone.utc), "S2A", "31TDH", "02.14", 51, 30.0, 150.0, origin="metadata"
)
AFTER = replace(BEFORE, sensed=datetime(2023, 6, 25, tzinfo=timezone.utc), baseline="05.09", platform="S2B")
CARD = ModelCard("m", ("B03", "B04"), ("dates",), 4, 1, (0.1, 0.1), (0.1, 0.1), {"f1": 0.5}, "none", "nothing", halo=halo(1))


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


def scene(acquisition: Acquisition, bands: tuple[str, ...] = ("B03", "B04"), **more: object) -> Scene:
    return Scene("scene", dict.fromkeys(bands), acquisition, **more)


def test_one_level_is_well_and_two_are_a_warning_that_names_the_consequence() -> None:
    assert level_finding(BEFORE, AFTER).severity == OK
    mixed = level_finding(BEFORE, replace(AFTER, level="L2A"))
    assert mixed.severity == WARNING
    assert "taken for change" in mixed.text
    assert level_finding(BEFORE, replace(AFTER, level=None)).severity == WARNING


def test_a_date_whose_sharpest_bands_come_in_larger_pixels_is_said_to(tmp_path: Path) -> None:
    fine = open_scene(str(write_stack(tmp_path / "a.tif", textured(10, 60, 60, 1))))
    coarse = open_scene(str(write_stack(tmp_path / "b.tif", textured(10, 30, 30, 1), pixel=(20, 20))))
    (found,) = resolution_findings(fine, coarse)
    assert found.severity == WARNING
    assert found.text.startswith("After has B02, B03, B04, B08 in pixels of 20 m instead of 10")
    assert resolution_findings(fine, fine) == ()


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


def test_another_level_than_the_models_stops_until_it_is_accepted() -> None:
    pair = scene(BEFORE), scene(replace(AFTER, level="L2A"))
    refused = model_finding(*pair, CARD, accept_level=False)
    assert (refused.severity, model_finding(*pair, CARD, accept_level=True).severity) == (STOP, WARNING)
    assert "--accept-level" in refused.advice
    with pytest.raises(ModelError, match="Level-1C"):
        require_fit([refused])
    assert model_finding(scene(BEFORE), scene(AFTER), CARD, accept_level=False).severity == OK
    assert model_finding(scene(BEFORE), scene(replace(AFTER, level=None)), CARD, accept_level=False).severity == OK


SIMULATED = replace(CARD, simulated_levels=("L2A",))


@pytest.mark.parametrize("accept_level", [False, True])
def test_a_level_that_was_only_simulated_passes_with_a_warning_that_says_so(accept_level: bool) -> None:
    level_2a = scene(replace(BEFORE, level="L2A")), scene(replace(AFTER, level="L2A"))
    found = model_finding(*level_2a, SIMULATED, accept_level)
    assert found.severity == WARNING
    for words in ("simulated only", "Before and after are Level-2A", "dark-object subtraction", "never on real Level-2A"):
        assert words in found.text
    require_fit([found])
    untold = model_finding(level_2a[0], scene(replace(AFTER, level=None)), SIMULATED, accept_level)
    assert "Before is Level-2A" in untold.text
    assert "simulated only" in untold.text
    assert model_finding(scene(BEFORE), scene(AFTER), SIMULATED, accept_level).severity == OK


def test_a_simulated_level_beside_the_models_own_stops_as_any_other_does() -> None:
    mixed = scene(BEFORE), scene(replace(AFTER, level="L2A"))
    for accept_level in (False, True):
        assert model_finding(*mixed, SIMULATED, accept_level) == model_finding(*mixed, CARD, accept_level)
    assert model_finding(*mixed, SIMULATED, accept_level=False).severity == STOP


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what ships: one model of 13 bands, and one of ten that was tried on imitated Level-2A."""
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "own"))
    monkeypatch.setattr("s2change_plugin.engine.card.shipped_models", lambda: tmp_path)
    for name, bands, simulated in zip(SHIPPED, (ALL_BANDS, TEN_BANDS), ((), ("L2A",)), strict=True):
        numbers = (0.1,) * len(bands)
        card = replace(CARD, name=name, bands=bands, mean=numbers, std=numbers, simulated_levels=simulated)
        (tmp_path / f"{name}.json").write_text(json.dumps(asdict(card)))
        (tmp_path / f"{name}.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("levels", "bands", "place"),
    [
        (("L1C", "L1C"), (ALL_BANDS, ALL_BANDS), 0),
        (("L1C", None), (ALL_BANDS, ALL_BANDS), 0),
        (("L1C", "L1C"), (ALL_BANDS, TEN_BANDS), 1),
        (("L1C", "L1C"), (L2A_BANDS, ALL_BANDS), 1),
        (("L2A", "L2A"), (L2A_BANDS, L2A_BANDS), 1),
        # Not for what its card does not cover, whatever bands there are.
        (("L2A", "L2A"), (ALL_BANDS, ALL_BANDS), 1),
        # No model takes these: what is said is the least that is missing.
        (("L1C", "L1C"), (("B03", "B04"), ("B03", "B04")), 1),
        (("L1C", "L2A"), (ALL_BANDS, ALL_BANDS), 1),
    ],
)
def test_the_first_model_that_takes_both_dates_is_chosen(
    shipped: Path, levels: tuple[str | None, str | None], bands: tuple[tuple[str, ...], tuple[str, ...]], place: int
) -> None:
    before, after = (scene(replace(BEFORE, level=level), names) for level, names in zip(levels, bands, strict=True))
    assert chosen_model(AUTO, before, after) == SHIPPED[place]
    assert chosen_model("mine", before, after) == "mine"


def test_what_the_more_accurate_model_lacks_is_said(shipped: Path) -> None:
    card = find_card(SHIPPED[1])
    lacking = scene(BEFORE, TEN_BANDS, missing={"B10": "a_B10.jp2"})
    found = model_finding(lacking, scene(AFTER, ALL_BANDS), card, accept_level=False)
    assert found.severity == OK
    assert (
        f"{SHIPPED[0]} is more accurate, and needs more: before has no B01, B09, B10 (a_B10.jp2 was looked for)." in found.advice
    )
    whole = scene(BEFORE, ALL_BANDS), scene(AFTER, ALL_BANDS)
    assert model_finding(*whole, card, accept_level=False).advice == ""
    unknown = scene(replace(BEFORE, level=None), TEN_BANDS), scene(AFTER, TEN_BANDS)
    assert model_finding(*unknown, card, accept_level=False).advice == "", "it may be Level-2A, which has no B10"
    (shipped / f"{SHIPPED[0]}.json").unlink()
    assert model_finding(lacking, whole[1], card, accept_level=False).advice == ""


def test_of_the_models_that_are_not_there_none_is_chosen(shipped: Path) -> None:
    whole = scene(BEFORE, ALL_BANDS), scene(AFTER, ALL_BANDS)
    (shipped / f"{SHIPPED[0]}.json").write_text("{}")
    with pytest.raises(ModelError, match=f"card .*{SHIPPED[0]}"):
        chosen_model(AUTO, *whole)
    (shipped / f"{SHIPPED[0]}.safetensors").unlink()
    assert chosen_model(AUTO, *whole) == SHIPPED[1]
    (shipped / f"{SHIPPED[1]}.safetensors").unlink()
    with pytest.raises(ModelError, match="No model that ships is here"):
        chosen_model(AUTO, *whole)


def test_a_band_that_the_model_lacks_stops_and_names_the_file() -> None:
    lacking = scene(AFTER, ("B03",), missing={"B04": "IMG_DATA/x_B04.jp2"})
    found = model_finding(scene(BEFORE), lacking, CARD, accept_level=False)
    assert found.severity == STOP
    assert "after has no B04 (IMG_DATA/x_B04.jp2 was looked for)" in found.text


def test_a_band_whose_layer_is_only_filled_is_said_to_be_so() -> None:
    filled = replace(scene(AFTER, ("B03",)), unusable={"B04": "holds one number or nothing"})
    found = model_finding(scene(BEFORE), filled, CARD, accept_level=False)
    assert (found.severity, found.text.count("(")) == (STOP, 1)
    assert "after has no B04 (its layer B04 holds one number or nothing)" in found.text


def test_in_place_of_a_model_whose_bands_are_not_there_the_one_that_fits_is_named(shipped: Path) -> None:
    card = find_card(SHIPPED[0])
    alone = "Give scenes with all of them, or let a --method find change without a model, such as irmad, which takes two bands or more."
    level_2a = scene(replace(BEFORE, level="L2A"), L2A_BANDS), scene(replace(AFTER, level="L2A"), L2A_BANDS)
    found = model_finding(*level_2a, card, accept_level=False)
    assert (found.severity, f"Let --model auto choose, which takes {SHIPPED[1]} here" in found.advice) == (STOP, True)
    mixed = scene(BEFORE, TEN_BANDS), level_2a[1]
    assert model_finding(*mixed, card, accept_level=False).advice == alone, "it would be refused too"
    assert SHIPPED[1] in model_finding(*mixed, card, accept_level=True).advice
    few = scene(BEFORE, ("B03",)), scene(AFTER, ("B03",))
    assert model_finding(*few, card, accept_level=False).advice == alone
    (shipped / f"{SHIPPED[1]}.json").unlink()
    assert model_finding(*level_2a, card, accept_level=False).advice == alone


def test_where_a_product_lacks_a_file_it_is_to_be_downloaded_again() -> None:
    lacking = scene(AFTER, ("B03",), missing={"B04": "IMG_DATA/x_B04.jp2"})
    assert model_finding(scene(BEFORE), lacking, CARD, accept_level=False).advice == "Download the product again, whole."


def test_a_model_of_ones_own_under_the_name_of_one_that_ships_is_not_taken_for_it(shipped: Path) -> None:
    own = shipped / "own"
    own.mkdir()
    for name in (SHIPPED[0], "mine"):
        (own / f"{name}.json").write_text((shipped / f"{SHIPPED[0]}.json").read_text().replace(SHIPPED[0], "another"))
        (own / f"{name}.safetensors").touch()
    assert [path.parent for path, _ in list_models()] == [own, shipped, shipped]
    assert named_weights(SHIPPED[0]) == shipped / f"{SHIPPED[0]}.safetensors"
    with pytest.raises(ModelError, match=f"The known ones are mine, {SHIPPED[0]}, {SHIPPED[1]}"):
        find_card("nowhere")
    (shipped / f"{SHIPPED[0]}.safetensors").unlink()
    assert named_weights(SHIPPED[0]) == own / f"{SHIPPED[0]}.safetensors", "where the plugin came without weights"


@pytest.mark.parametrize(
    ("days", "origin", "severity"),
    [(735, "metadata", OK), (0, "metadata", WARNING), (-3, "metadata", STOP), (-3, "name", WARNING)],
)
def test_dates_are_in_order_or_it_is_said(days: int, origin: str, severity: str) -> None:
    after = replace(AFTER, sensed=BEFORE.sensed + timedelta(days=days), origin=origin)
    found = dates_finding(BEFORE, after)
    assert found.severity == severity
    if severity == STOP:
        with pytest.raises(DatesReversed, match="Swap"):
            require_fit([found])


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


def test_an_unknown_date_is_a_warning() -> None:
    assert dates_finding(replace(BEFORE, sensed=None), AFTER).severity == WARNING


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [((2021, 1, 10), (2023, 12, 20), 21), ((2021, 6, 20), (2023, 6, 25), 5), ((2021, 1, 1), (2021, 7, 2), 182)],
)
def test_the_gap_in_the_year_goes_round_new_year(one: tuple, other: tuple, gap: int) -> None:
    dates = [replace(BEFORE, sensed=datetime(*date, tzinfo=timezone.utc)) for date in (one, other)]
    assert day_of_year_gap(*dates) == gap
    (found,) = [finding for finding in season_findings(*dates) if finding.topic == "season"]
    assert found.severity == (WARNING if gap > 45 else OK)


def test_the_suns_difference_is_an_angle_between_directions() -> None:
    assert sun_difference(BEFORE, replace(AFTER, sun_zenith=55.0)) == pytest.approx(25)
    assert sun_difference(BEFORE, replace(AFTER, sun_zenith=0.0, sun_azimuth=20.0)) == pytest.approx(30)
    assert sun_difference(BEFORE, replace(AFTER, sun_zenith=None)) is None
    severities = {finding.topic: finding.severity for finding in season_findings(BEFORE, replace(AFTER, sun_zenith=55.0))}
    assert severities["sun"] == WARNING


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


def test_the_gravest_finding_decides() -> None:
    light, grave = Finding("a", WARNING, "light"), Finding("b", STOP, "grave", "Do this.")
    assert worst([]) == OK
    assert worst([light, grave, Finding("c", OK, "well")]) == STOP
    require_fit([light])
    with pytest.raises(S2ChangeError, match=r"grave Do this\."):
        require_fit([light, grave])
