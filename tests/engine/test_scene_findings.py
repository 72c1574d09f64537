import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from s2change_plugin.engine.acquisition import Acquisition
from s2change_plugin.engine.bands import ALL_BANDS, L2A_BANDS, TEN_BANDS
from s2change_plugin.engine.card import AUTO, SHIPPED, ModelCard, find_card, list_models, named_weights
from s2change_plugin.engine.choice import chosen_model
from s2change_plugin.engine.errors import DatesReversed, ModelError
from s2change_plugin.engine.findings import OK, STOP, WARNING, require_fit
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.scene import Scene, open_scene
from s2change_plugin.engine.scene_findings import (
    dates_finding,
    day_of_year_gap,
    level_finding,
    model_finding,
    resolution_findings,
    season_findings,
    sun_difference,
)
from tests.conftest import textured, write_stack

BEFORE = Acquisition(
    "L1C", datetime(2021, 6, 20, tzinfo=timezone.utc), "S2A", "31TDH", "02.14", 51, 30.0, 150.0, origin="metadata"
)
AFTER = replace(BEFORE, sensed=datetime(2023, 6, 25, tzinfo=timezone.utc), baseline="05.09", platform="S2B")
CARD = ModelCard("m", ("B03", "B04"), ("dates",), 4, 1, (0.1, 0.1), (0.1, 0.1), {"f1": 0.5}, "none", "nothing", halo=halo(1))


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
