import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special

from s2change_plugin.engine.bands import L2A_BANDS
from s2change_plugin.engine.card import SHIPPED, ModelCard, find_card, weights_of
from s2change_plugin.engine.errors import S2ChangeError
from s2change_plugin.engine.model import Model
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.unet import ChangeNet
from training.fit import fit, fitting, flops_per_pixel, new_network, predict
from training.losses import bce
from training.options import FitOptions, completed, options_from
from training.prepare import City
from training.sampling import Ground, as_level_2a, band_statistics, batch, laid_out

TINY = FitOptions(epochs=3, batch=64, patch=32, width=4, depth=2, bands=("B02", "B03"))
CHANGE_OF_A_BLOCK = np.zeros((80, 80), np.uint8)
CHANGE_OF_A_BLOCK[30:40, 30:40] = 1
STATISTICS = ((0.12, 0.12), (0.1, 0.1))


def city(seed: int = 0, size: int = 80) -> City:
    random = np.random.default_rng(seed)
    before = random.gamma(4, 0.03, (2, size, size)).astype(np.float32)
    after = before + random.normal(0, 0.01, before.shape).astype(np.float32)
    change = np.zeros((size, size), np.uint8)
    change[20:30, 40:60] = 1
    after[:, change == 1] += 1
    before[:, :6], after[:, :, :4], change[50:, 70:] = np.nan, np.nan, 255
    return City(f"city{seed}", ("B02", "B03"), before, after, change)


def ground(one: City | None = None) -> Ground:
    return laid_out(one or city(), STATISTICS)


def drawn(options: FitOptions, *grounds: Ground) -> tuple[torch.Tensor, ...]:
    """Before, after, difference, change, labelled."""
    changed = [np.flatnonzero(one.change == 1) for one in grounds]
    images, change, labelled = batch(grounds, changed, options, np.random.default_rng(0))
    return *images, change, labelled


def outspoken_network() -> ChangeNet:
    """Random weights whose probabilities span the scale, where fresh ones say 0.5 everywhere."""
    network = new_network(TINY).eval()
    with torch.no_grad():
        for one in network.networks:
            one.head.weight *= 300
    return network


def test_a_city_is_laid_out_as_the_engine_shows_it_to_a_network() -> None:
    one = city()
    card = ModelCard("x", one.bands, ("dates",), 4, 2, *STATISTICS, {"f1": 0.5}, "none", "nothing", halo=halo(2))
    shown = (
        Model(card, new_network(TINY), "cpu", "float32")
        .for_pair([one.before], [one.after])
        .appearance.shown(one.before, one.after, *STATISTICS)
    )
    laid = ground(one)
    assert np.array_equal(laid.images.transpose(0, 3, 1, 2)[:, :, laid.seen], shown[:, :, laid.seen])
    assert (laid.images[:, ~laid.seen] == 0).all()
    assert (laid.change[~laid.seen] == 255).all()
    assert laid.seen.mean() == pytest.approx(74 * 76 / 80**2)


def test_where_little_is_labelled_every_patch_shows_some_of_it() -> None:
    whole = city(size=640)
    little = np.full_like(whole.change, 255)
    little[300:310, 300:310], little[600:610, 20:40] = 1, 0
    options = replace(TINY, bands=whole.bands, batch=60, patch=32, change_share=0.0)
    *_, change, labelled = drawn(options, ground(replace(whole, change=little)))
    assert (labelled.sum((1, 2, 3)) > 0).all()
    assert 0.1 < (change.sum((1, 2, 3)) > 0).float().mean() < 0.9
    # Nobody draws patches for what is labelled throughout otherwise than before.
    assert ground().labelled is None
    assert ground().worth == 80 * 80


def test_statistics_are_of_reflectance_without_haze_over_both_dates_of_all_cities() -> None:
    mean, deviation = band_statistics([city(0), city(1)])
    hazy = [replace(one, before=one.before * np.float32(0.9**2) + np.float32(0.1)) for one in (city(0), city(1))]
    assert band_statistics(hazy)[0] == pytest.approx(mean, abs=0.002)
    assert band_statistics(hazy)[1] == pytest.approx(deviation, abs=0.002)
    bright = replace(city(1), after=city(1).after + np.float32(2))
    assert band_statistics([city(0), bright])[1][0] < 2 * deviation[0]


def test_patches_are_half_on_change_and_zero_and_unlabelled_where_unseen() -> None:
    before, after, difference, change, labelled = drawn(replace(TINY, light=0), ground())
    assert before.shape == after.shape == difference.shape == (64, 2, 32, 32)
    assert change.shape == labelled.shape == (64, 1, 32, 32)
    assert (change.amax((1, 2, 3)) > 0).float().mean() >= 0.5
    unseen = (before == 0).all(1) & (after == 0).all(1)
    assert unseen.any()
    assert (difference.abs().sum(1)[unseen] == 0).all()
    assert not labelled[:, 0][unseen].any()
    assert change[labelled == 0].sum() == 0
    for one in (before - after, difference):
        size = one.abs().mean(1)
        assert size[change[:, 0] == 1].mean() > 2 * size[(labelled[:, 0] == 1) & (change[:, 0] == 0)].mean()


@pytest.mark.parametrize("options", [replace(TINY, light=0), replace(TINY, light=0, paste=1.0), replace(TINY, light=0, zoom=0.3)])
def test_images_and_labels_move_together(options: FitOptions) -> None:
    """A pixel is changed in the label where, and only where, the images differ much."""
    before, after, difference, change, labelled = drawn(options, ground())
    for one in (before - after, difference):
        size = one.abs().amin(1, keepdim=True)
        agrees = (size > size.amax() / 2) == (change == 1)
        assert agrees[labelled == 1].float().mean() > 0.99
    assert change.sum() > 1000


def test_zoom_shows_the_same_ground_at_other_sizes() -> None:
    def sizes_of_whole_blocks(zoom: float) -> torch.Tensor:
        change = drawn(replace(TINY, light=0, batch=256, zoom=zoom), ground(replace(city(), change=CHANGE_OF_A_BLOCK)))[3][:, 0]
        inner = torch.zeros(32, 32)
        inner[1:-1, 1:-1] = 1
        whole = (change * (1 - inner)).sum((1, 2)) == 0
        sizes = change.sum((1, 2))[whole]
        return sizes[sizes > 0]

    assert (sizes_of_whole_blocks(0) == 100).all()
    zoomed = sizes_of_whole_blocks(0.5)
    # 10 × 10 pixels at scales from 1/1.65 to 1.65, and a row and a column more or less by nearest neighbour.
    assert zoomed.min() < 64 < 144 < zoomed.max()
    assert (zoomed >= (10 / 1.65 - 1) ** 2).all()
    assert (zoomed <= (10 * 1.65 + 1) ** 2).all()


def test_a_swap_of_the_dates_turns_the_sign_of_the_difference() -> None:
    before, after, difference, change, _ = drawn(replace(TINY, light=0), ground())
    strong = change[:, 0] == 1
    signs = ((after - before).mean(1)[strong] > 0) == (difference.mean(1)[strong] > 0)
    assert signs.float().mean() > 0.99
    rising = (after - before).mean((1, 2, 3))[change.sum((1, 2, 3)) > 20] > 0
    assert rising.any()
    assert not rising.all()


def test_light_differs_from_date_to_date() -> None:
    one = city()
    same = ground(replace(one, after=one.before))
    calm, lit = (drawn(replace(TINY, light=light), same) for light in (0, 2))
    assert torch.equal(calm[0], calm[1])
    assert (lit[0] - lit[1]).abs().mean() > 0.05


def test_what_is_not_seen_stays_zero_in_any_light() -> None:
    """As the engine shows it to a network; all else of this city is labelled."""
    one = city()
    all_labelled = ground(replace(one, change=np.where(one.change == 1, 1, 0).astype(np.uint8)))
    *images, _, labelled = drawn(replace(TINY, light=1), all_labelled)
    unseen = labelled[:, 0] == 0
    assert 0.01 < unseen.float().mean() < 0.5
    for image in images:
        sizes = image.abs().amax(1)
        assert (sizes[unseen] == 0).all()
        assert (sizes[~unseen] > 0).all()


def test_a_fit_is_repeatable_and_another_seed_or_network_is_another_fit() -> None:
    options = replace(TINY, batch=4, views=("dates", "dates"))
    first, again, other = (fit([ground()], one) for one in (options, options, replace(options, seed=1)))
    weights = [network.state_dict() for network in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    one, two = (network.state_dict() for network in first.networks)
    assert not any(torch.equal(one[name], two[name]) for name in one if "head" in name)


def test_the_schedule_moves_the_momentum_of_adam_alone(tmp_path: Path) -> None:
    ends = {}
    for optimizer in ("adam", "muon"):
        options = replace(TINY, optimizer=optimizer, batch=4)
        *_, last = fitting([ground()], options, new_network(options).networks[0], checkpoint=tmp_path / f"{optimizer}.pt")
        assert np.isfinite(last.loss)
        state = torch.load(tmp_path / f"{optimizer}.pt", weights_only=True)
        ends[optimizer] = state["optimizer"]["param_groups"][0].get("betas")
    # PyTorch has it at 0.85 where the rate is highest and leaves it near 0.95; Muon has its own.
    assert ends == {"adam": (pytest.approx(0.95, abs=0.02), 0.999), "muon": None}


def test_a_network_learns_what_the_mean_of_its_views_teachers_says_and_without_any_the_labels() -> None:
    options = replace(TINY, batch=4, epochs=60, learning_rate=0.05, ema=0.8, views=("dates", "difference", "ten-metre"))
    teachers = []
    for dates, difference in ((5.0, -3.0), (-1.0, 1.0)):
        teacher = new_network(replace(options, views=("dates", "difference"))).eval()
        with torch.no_grad():
            for one, said in zip(teacher.networks, (dates, difference), strict=True):
                one.head.weight.zero_()
                one.head.bias.fill_(said)
        teachers.append(teacher)
    student = fit([ground()], options, teachers)
    images = drawn(replace(options, light=0), ground())[:3]
    with torch.inference_mode():
        said = [torch.sigmoid(one(*images)).median().item() for one in student.networks]
    # The mean of logits is 2 for the dates and −1 for the difference; the labels, from which the third learns, say mostly no change.
    assert said == pytest.approx([0.881, 0.269, 0.01], abs=0.05)


def test_what_is_not_labelled_does_not_count_for_those_that_learn_from_others_either(monkeypatch: pytest.MonkeyPatch) -> None:
    options = replace(TINY, epochs=1, batch=8, light=0)
    counted = []

    def seen(logits, said, labelled):
        counted.append((said, labelled))
        return bce(logits, said, labelled)

    monkeypatch.setattr("training.fit.bce", seen)
    fit([ground()], options, [outspoken_network()])
    assert counted
    # A fifth of the city is unseen or not labelled.
    assert 0.02 < 1 - np.mean([labelled.mean() for _, labelled in counted]) < 0.5


def test_a_prediction_averages_as_many_turns_as_asked() -> None:
    network, laid = outspoken_network(), ground()
    logits = [special.logit(np.clip(predict(network, laid, replace(TINY, turns=turns)) / 250, 0.02, 0.98)) for turns in (1, 2)]
    upside_down = Ground(laid.images[:, ::-1, ::-1], laid.seen[::-1, ::-1], laid.change[::-1, ::-1])
    turned = special.logit(np.clip(predict(network, upside_down, TINY)[::-1, ::-1] / 250, 0.02, 0.98))
    inner = laid.seen & (np.abs(logits[0]) < 3) & (np.abs(turned) < 3)
    assert np.abs(logits[1] - (logits[0] + turned) / 2)[inner].max() < 0.3
    assert np.abs(logits[0] - turned)[inner].max() > 0.3


def test_the_work_per_pixel_is_counted() -> None:
    """One convolution block by hand: dates × (2 × 4 + 4 × 4) × 9, a level deeper a quarter of that with twice the channels …"""
    shallow = replace(TINY, depth=1)
    deep = (4 * 8 + 8 * 8) / 4
    decoder = 2 * 9 * (8 * 4 + 4 * 4) + 2 * 8 * 4 + 2 * 4
    dates = 2 * 2 * 9 * ((2 * 4 + 4 * 4) + deep) + decoder
    difference = 2 * 9 * ((4 * 4 + 4 * 4) + deep) + decoder
    assert flops_per_pixel(replace(shallow, views=("dates",))) == pytest.approx(dates)
    assert flops_per_pixel(shallow) == pytest.approx(dates + difference)
    assert flops_per_pixel(replace(shallow, turns=4)) == 4 * flops_per_pixel(shallow)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_readmes_commands_are_the_recipes_of_the_shipped_models(name: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shared = re.search(r"SETTINGS=\((.*)\)", readme)
    command = re.search(r"crossvalidate .* --teachers (?:.*\\\n)+.*view_epochs=\S+", readme)
    assert shared
    assert command
    settings = re.findall(r"--set ([^\s\"]+)", f"{command[0]} {shared[1]}")
    assert len(settings) > 5
    if name != SHIPPED[0]:
        other = re.search(rf"`{name}` was made alike, with (.*)\.", readme)
        assert other
        # The last that is said of an option counts.
        settings += re.findall(r"`(\w+=\S+)`", other[1])
    shipped = completed(find_card(name).training)
    asked = json.loads(json.dumps(asdict(options_from(settings))))
    assert {option: shipped[option] for option in asked} == asked


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_small_and_cheap_and_the_readme_says_what_its_card_says(name: str) -> None:
    card = find_card(name)
    options = {option: card.training[option] for option in asdict(FitOptions()) if option in card.training}
    assert (
        flops_per_pixel(FitOptions(**{key: tuple(one) if isinstance(one, list) else one for key, one in options.items()}))
        <= 250_000
    )
    assert weights_of(name).stat().st_size <= 10_000_000
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"\| `{name}` \|(.*)\|", readme)
    assert row
    pooled = card.scores["pooled"]
    cities = [one["f1"] for city, one in card.scores.items() if city in card.training["cities"]]
    told = [pooled["precision"], pooled["recall"], min(cities), max(cities), card.scores["goal precision"]["precision"]]
    spread = re.search(r"F1 (0\.\d{3} ± 0\.\d{3})", card.protocol)
    assert spread
    assert re.findall(r"0\.\d{3} ± 0\.\d{3}", row[1]) == [spread[1]]
    in_two_places = re.findall(r"(?<!\d)0\.\d\d(?!\d)", re.sub(r"0\.3 %", "", row[1]))
    assert in_two_places == [f"{one:.2f}" for one in told]


def test_the_network_of_each_view_may_walk_the_cities_as_often_as_it_needs() -> None:
    options = replace(TINY, views=("dates", "difference"), view_epochs=(2, 1))
    whole, walks = new_network(options), []
    for index, network in enumerate(whole.networks):
        walks.append([epoch.number for epoch in fitting([ground()], options, network, index)])
    assert walks == [[1, 2], [1]]


def test_settings_are_read_with_their_types() -> None:
    found = options_from(["epochs=7", "learning_rate=0.01", "loss=bce", "bands=12", "views=dates,dates"])
    assert (found.epochs, found.learning_rate, found.loss, found.bands) == (7, 0.01, "bce", L2A_BANDS)
    assert found.views == ("dates", "dates")
    assert options_from(["bands=B02,B08"]).bands == ("B02", "B08")
    for wrong in ("width=0", "patch=33", "views=none", "nothing=1", "bands=11"):
        with pytest.raises(ValueError, match=wrong.split("=")[0]):
            options_from([wrong])
    assert options_from(["views=dates,difference", "view_epochs=9,4"]).view_epochs == (9, 4)
    for wrong in ("view_epochs=9", "view_epochs=9,0", "view_epochs=9,4,4"):
        with pytest.raises(ValueError, match="not one number from 1 for each view"):
            options_from([wrong])
    assert options_from(["views=dates,difference", "view_cells=1,2"]).view_cells == (1, 2)
    for wrong in ("view_cells=2", "view_cells=1,3", "view_cells=1,16"):
        with pytest.raises(ValueError, match="not one for each view, of 1, 2, 4 at depth 4"):
            options_from([wrong])
    with pytest.raises(ValueError, match="fc-ef has none"):
        options_from(["architecture=fc-ef", "views=dates", "view_cells=2"])
    with pytest.raises(ValueError, match="needs one of the bands of 10 m"):
        options_from(["bands=B05,B11", "views=ten-metre"])
    with pytest.raises(ValueError, match="zoom 2.0 is not between"):
        options_from(["zoom=2"])


def test_options_of_an_earlier_version_are_completed_or_refused() -> None:
    saved = {"width": 7, "cell": 1}
    assert completed(saved) == {**json.loads(json.dumps(asdict(FitOptions()))), "width": 7}
    assert saved == {"width": 7, "cell": 1}
    with pytest.raises(S2ChangeError, match="earlier version"):
        completed({"cell": 2})


def test_a_city_as_level_2a_lost_its_haze_and_keeps_a_gain_of_its_own() -> None:
    hazy = replace(city(), before=city().before * np.float32(0.9**2) + np.float32(0.1))
    clear = as_level_2a(hazy)
    seen = np.isfinite(clear.before)
    assert clear.before[seen].min() < 0.02
    ratio = (clear.before / city().before)[0][seen[0] & (city().before[0] > 0.1)]
    assert np.std(ratio) < 0.02
    assert 0.005 < abs(np.median(ratio) - 1) < 0.2
    again = as_level_2a(hazy)
    assert np.array_equal(clear.after, again.after, equal_nan=True)
