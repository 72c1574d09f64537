from dataclasses import replace

import numpy as np
import pytest
import torch

from s2change_plugin.engine.bands import L2A_BANDS
from s2change_plugin.engine.unet import SiameseUNet
from training.fit import fit, flops_per_pixel, new_network, predict
from training.options import FitOptions, options_from
from training.prepare import City
from training.sampling import Ground, as_normalised, batch, laid_out, without_haze

TINY = FitOptions(epochs=3, batch=64, patch=32, width=4, depth=2, stem=1, bands=("B02", "B03"))


def city(seed: int = 0, size: int = 80) -> City:
    random = np.random.default_rng(seed)
    before, after = random.gamma(4, 0.03, (2, 2, size, size)).astype(np.float32)
    change = np.zeros((size, size), np.uint8)
    change[20:30, 40:60] = 1
    after[:, change == 1] += 1
    before[:, :6], after[:, :, :4], change[50:, 70:] = np.nan, np.nan, 255
    return City(f"city{seed}", ("B02", "B03"), before, after, change)


def drawn(options: FitOptions, *grounds: Ground) -> tuple[torch.Tensor, ...]:
    changed = [np.flatnonzero(one.change == 1) for one in grounds]
    return batch(grounds, changed, options, np.random.default_rng(0))


def outspoken_network() -> SiameseUNet:
    """Random weights whose probabilities span the scale, where fresh ones say 0.5 everywhere."""
    torch.manual_seed(0)
    network = new_network(TINY).eval()
    with torch.no_grad():
        network.head.weight *= 300
    return network


def test_a_city_keeps_its_own_mean_and_deviation_and_shares_the_common_one() -> None:
    ground = [laid_out(city(seed)) for seed in (0, 1)]
    seen = ground[0].images[1][ground[0].seen]
    assert ground[0].mean[1] == pytest.approx(seen.mean(0), rel=1e-4)
    assert ground[0].deviation[1] == pytest.approx(seen.std(0), rel=1e-3)
    everything = np.concatenate([image[one.seen] for one in ground for image in one.images])
    common = as_normalised(ground, ground, "data")[0]
    assert common.mean[0] == pytest.approx(everything.mean(0), rel=1e-4)
    assert common.deviation[1] == pytest.approx(everything.std(0), rel=1e-3)
    assert as_normalised(ground, ground, "image") == ground


def test_another_gain_and_offset_of_a_band_changes_nothing_where_each_image_is_normalised_by_itself() -> None:
    one = city()
    other = City(one.name, one.bands, one.before * 1.3 - 0.02, one.after * np.float32([[[0.8]], [[1.1]]]), one.change)
    network = outspoken_network()
    levels = [predict(network, laid_out(shown), TINY).astype(int) for shown in (one, other)]
    assert np.abs(levels[0] - levels[1]).max() <= 1
    assert len(np.unique(levels[0])) > 5


def test_patches_are_normalised_half_on_change_and_zero_and_unlabelled_where_unseen() -> None:
    before, after, change, labelled = drawn(replace(TINY, light=0), laid_out(city()))
    assert before.shape == after.shape == (64, 2, 32, 32)
    assert change.shape == labelled.shape == (64, 1, 32, 32)
    assert (change.amax((1, 2, 3)) > 0).float().mean() >= 0.5
    unseen = (before == 0).all(1) & (after == 0).all(1)
    assert unseen.any()
    assert not labelled[:, 0][unseen].any()
    assert change[labelled == 0].sum() == 0
    brighter = (before - after).abs().mean(1)
    assert brighter[change[:, 0] == 1].mean() > 2 * brighter[(labelled[:, 0] == 1) & (change[:, 0] == 0)].mean()


@pytest.mark.parametrize(
    "options", [replace(TINY, light=0), replace(TINY, light=0, paste=1.0), replace(TINY, light=0, shift=0.2)]
)
def test_images_and_labels_move_together(options: FitOptions) -> None:
    """A pixel is changed in the label where, and only where, the images differ much."""
    one = city()
    flat = City(one.name, one.bands, np.zeros_like(one.before), np.zeros_like(one.after), one.change)
    flat.after[:, one.change == 1] = 1
    before, after, change, labelled = drawn(options, laid_out(flat))
    spread = float((before - after).abs().amax())
    # A misregistration blends the border alone.
    differs = (before - after).abs().amin(1, keepdim=True) > spread / 2
    agrees = differs == (change == 1)
    assert agrees[labelled == 1].float().mean() > 0.999
    assert change.sum() > 1000


def test_light_differs_from_date_to_date() -> None:
    one = city()
    same = laid_out(City(one.name, one.bands, one.before, one.before, one.change))
    calm = drawn(replace(TINY, light=0), same)
    lit = drawn(replace(TINY, light=2), same)
    assert torch.equal(calm[0], calm[1])
    assert (lit[0] - lit[1]).abs().mean() > 0.05


def test_a_fit_is_repeatable_and_another_seed_is_another_fit() -> None:
    ground = [laid_out(city())]
    options = replace(TINY, batch=4)
    first, again, other = (fit(ground, one).state_dict() for one in (options, options, replace(options, seed=1)))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_prediction_averages_as_many_turns_as_asked() -> None:
    network, ground = outspoken_network(), laid_out(city())
    straight, both = (predict(network, ground, replace(TINY, turns=turns)).astype(float) for turns in (1, 2))
    upside_down = replace(ground, images=ground.images[:, ::-1, ::-1], seen=ground.seen[::-1, ::-1])
    turned = predict(network, upside_down, TINY).astype(float)[::-1, ::-1]
    assert np.abs(both - (straight + turned) / 2)[ground.seen].max() <= 2
    assert np.abs(straight - turned)[ground.seen].max() > 2
    assert (both[~ground.seen] == 255).all()


def test_the_work_per_pixel_is_counted() -> None:
    """One convolution block by hand: 2 × 2 dates × (2 × 4 + 4 × 4) × 9, a level deeper a quarter of that with twice the channels …"""
    shallow = replace(TINY, depth=1)
    encoder = 2 * 2 * 9 * ((2 * 4 + 4 * 4) + (4 * 8 + 8 * 8) / 4)
    decoder = 2 * 9 * (8 * 4 + 4 * 4) + 2 * 8 * 4 + 2 * 4
    assert flops_per_pixel(shallow) == pytest.approx(encoder + decoder)
    assert flops_per_pixel(replace(shallow, turns=4)) == 4 * flops_per_pixel(shallow)


def test_settings_are_read_with_their_types() -> None:
    found = options_from(["epochs=7", "learning_rate=0.01", "loss=bce", "bands=12"])
    assert (found.epochs, found.learning_rate, found.loss, found.bands) == (7, 0.01, "bce", L2A_BANDS)
    assert options_from(["bands=B02,B08"]).bands == ("B02", "B08")
    for wrong in ("width=0", "patch=33", "skips=none", "nothing=1"):
        with pytest.raises(ValueError, match=wrong.split("=")[0]):
            options_from([wrong])


def test_the_atmosphere_is_taken_off_and_nothing_falls_below_zero() -> None:
    one = city()
    hazy = laid_out(City(one.name, one.bands, one.before + 0.1, one.after + 0.05, one.change))
    clear = without_haze(hazy)
    darkest = [image[hazy.seen].min() for image in clear.images]
    assert all(0 <= value < 0.02 for value in darkest)
    assert clear.images[0].max() > hazy.images[0].max() - 0.1
    assert (clear.images[:, ~hazy.seen] == 0).all()
    assert clear.mean[0] == pytest.approx(clear.images[0][hazy.seen].mean(0), rel=1e-4)


def test_patches_lose_between_none_and_all_of_their_haze() -> None:
    one = city(size=32)
    image = np.nan_to_num(one.before) + np.float32(0.1)
    whole = City(one.name, one.bands, image, image, one.change)
    hazy = laid_out(whole)
    clear = replace(without_haze(hazy), mean=hazy.mean, deviation=hazy.deviation)
    options = replace(TINY, light=0, change_share=0.0)
    (most,), (least,) = (drawn(replace(options, batch=1), ground)[0].amin((0, 2, 3))[None] for ground in (hazy, clear))
    darkest = drawn(replace(options, clear=1.0), hazy)[0].amin((2, 3))  # (n, band)
    assert (darkest < most + 0.01).all()
    assert (darkest > least - 0.05).all()
    assert darkest[:, 0].min() < least[0] + 0.3 * (most - least)[0]
    assert darkest[:, 0].max() > most[0] - 0.3 * (most - least)[0]


def test_a_second_date_in_another_light_is_brought_to_the_first() -> None:
    one = city()
    lit = laid_out(City(one.name, one.bands, one.before, one.before * 1.4 + 0.05, one.change))
    reference = [laid_out(city(1))]
    relative = as_normalised([lit], reference, "relative")[0]
    before, after = drawn(replace(TINY, light=0), relative)[:2]
    assert (before - after).abs().max() < 0.05
    plain = as_normalised([lit], reference, "data")[0]
    first = drawn(replace(TINY, light=0), plain)
    assert (first[0] - first[1]).abs().max() > 1
    seen = lit.images[0][lit.seen]
    assert relative.mean[0] == pytest.approx(plain.mean[0])
    assert (lit.images[1][lit.seen] - relative.mean[1]) / relative.deviation[1] == pytest.approx(
        (seen - plain.mean[0]) / plain.deviation[0], abs=0.05
    )


@pytest.mark.parametrize(("balance", "share"), [(1.0, 0.8), (0.0, 0.5)])
def test_large_cities_are_drawn_as_often_as_balance_says(balance: float, share: float) -> None:
    small, large = laid_out(city(size=64)), laid_out(city(size=128))
    options = replace(TINY, light=0, batch=400, change_share=0.0, balance=balance)
    bright = replace(large, images=large.images + 9)
    before = drawn(options, small, bright)[0]
    assert (before.amax((1, 2, 3)) > 25).float().mean() == pytest.approx(share, abs=0.07)
