import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from s2change_plugin.engine.appearance import Appearance, measure_appearance
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.card import SHIPPED, list_models, read_card
from s2change_plugin.engine.errors import ModelError
from s2change_plugin.engine.model import Model, PairModel, load_model, save_model
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.unet import ChangeNet
from s2change_plugin.paths import shipped_models
from tests.standin import write_standin


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path))
    return write_standin(tmp_path, "standin")


def edit_card(model: Path, **values: object) -> None:
    card = model.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **values}))


def test_a_model_is_found_by_name_and_by_path(model: Path) -> None:
    assert load_model("standin").card == load_model(str(model)).card == read_card(model)
    assert "standin" in [card.name for _, card in list_models()]


def test_an_unknown_name_is_refused_with_the_known_ones(model: Path) -> None:
    with pytest.raises(ModelError, match="no model 'other'.*standin"):
        load_model("other")


def test_other_weights_than_the_card_describes_are_refused(model: Path) -> None:
    data = model.read_bytes()
    model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match="sha256"):
        load_model("standin")


def test_a_model_without_a_card_is_refused(model: Path) -> None:
    model.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match="has no card"):
        load_model(str(model))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"thresholds": {"f1": 0.5001}}, "0.5001 for f1 is not a multiple of 0.004"),
        ({"bands": ["B02", "B99"]}, "B99"),
        ({"architecture": "transformer"}, "transformer"),
        ({"std": [0.0] * 10}, "deviation"),
        ({"unit": "kelvin"}, "kelvin"),
        ({"halo": 3}, "halo 3"),
        ({"depth": 7}, "depth 7 and width 10 are not a network that can be built"),
        ({"width": 0}, "width 0 are not a network that can be built"),
        ({"cell": 2}, "of an earlier version"),
        ({"depth": "deep"}, "cannot be used"),
        ({"bands": None}, "cannot be used"),
        ({"thresholds": {"precision": 0.6}}, "thresholds are for precision, and must be for f1"),
        ({"thresholds": {"f1": 0.5, "kappa": 0.6}}, "thresholds are for f1, kappa"),
        ({"thresholds": {"f1": 0.5, "recall": 1.2}}, "1.2 for recall"),
        ({"calibration": [0, 0, 1]}, "two positive weights"),
        ({"calibration": [0, 1, -1]}, "two positive weights"),
        ({"calibration": [float("nan"), 1, 1]}, "two positive weights"),
        ({"calibration": [0, 1, float("inf")]}, "two positive weights"),
        ({"calibration": [1]}, "two positive weights"),
        ({"level": "L3A"}, "L3A.*not one of L1C, L2A"),
        ({"simulated_levels": ["L1C"]}, "simulated levels are L1C"),
        ({"level": "L2A", "simulated_levels": ["L1C"]}, "can be simulated: none"),
        ({"simulated_levels": "L2A"}, "must be a list"),
        ({"known_failures": "Seasons."}, "must be a list"),
        ({"bands": ["B05", "B11"], "mean": [0, 0], "std": [1, 1], "views": ["ten-metre"]}, "none of its bands is one"),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(model: Path, values: dict, said: str) -> None:
    edit_card(model, **values)
    with pytest.raises(ModelError, match=said):
        load_model("standin")


def test_a_card_that_lacks_an_entry_is_refused_with_its_name(model: Path) -> None:
    card = json.loads(model.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps({"threshold": card.pop("thresholds")["f1"], **card}))
    with pytest.raises(ModelError, match=r"cannot be used: it lacks thresholds\."):
        load_model("standin")


def test_a_broken_card_is_refused(model: Path) -> None:
    model.with_suffix(".json").write_text("{")
    with pytest.raises(ModelError, match="cannot be used"):
        load_model("standin")


def test_weights_of_another_network_are_refused(model: Path) -> None:
    edit_card(model, width=12)
    with pytest.raises(ModelError, match="does not hold the weights"):
        load_model("standin")


def test_a_device_that_is_not_there_is_refused(model: Path) -> None:
    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    with pytest.raises(ModelError, match="mps is not available"):
        load_model("standin", device="mps")


def plain(loaded: Model) -> PairModel:
    """For a pair without haze, whose unchanged ground does not differ."""
    bands = len(loaded.card.bands)
    return loaded.for_appearance(Appearance(np.zeros((2, bands)), np.zeros(bands), np.eye(bands)))


def probability_of(model: PairModel, *dates: np.ndarray) -> np.ndarray:
    """Of a patch whose edge goes on around it."""
    return model.probability(*(np.pad(date, [(0, 0), *[(model.halo, model.halo)] * 2], mode="edge") for date in dates))


def test_what_a_pair_looks_like_is_measured_in_the_cards_deviations(model: Path) -> None:
    edit_card(model, mean=[0.1] * 10, std=[0.05] * 10)
    random = np.random.default_rng(0)
    before = random.gamma(4, 0.05, (10, 40, 40)).astype(np.float32)
    after = before + random.normal(0, 0.02, before.shape).astype(np.float32)
    found = load_model("standin").for_pair([before], [after])
    expected = measure_appearance([before], [after], (0.05,) * 10, TEN_BANDS)
    assert np.array_equal(found.appearance.whitening, expected.whitening)
    assert found.made_by["appearance"]["path_reflectance"] == np.round(expected.haze, 5).tolist()


def test_what_one_date_lacks_counts_as_alike(model: Path) -> None:
    before = np.full((10, 8, 8), 0.1, np.float32)
    after = before + 0.3
    after[:, :4] = np.nan
    after[3, 5, 5] = np.nan
    probability = probability_of(plain(load_model("standin")), before, after)
    assert probability[:4].max() < 0.01
    assert probability[5, 5] < 0.01
    assert probability[5, 6] > 0.99


def test_probability_is_the_logit_on_the_line_of_the_calibration(model: Path) -> None:
    random = np.random.default_rng(0)
    before, after = random.uniform(0, 0.35, (2, 10, 16, 16)).astype(np.float32)
    before[0, 0, 0] = np.nan
    raw = probability_of(plain(load_model("standin")), before, after).astype(np.float64)
    edit_card(model, calibration=[-0.7, 0.4, 0.4])
    calibrated = probability_of(plain(load_model("standin")), before, after)
    assert calibrated.dtype == np.float32
    inner = (raw > 1e-4) & (raw < 1 - 1e-4)
    assert 20 < inner.sum() < inner.size
    logit = np.log(raw / (1 - raw))
    np.testing.assert_allclose(calibrated[inner], (1 / (1 + np.exp(0.7 - 0.4 * logit)))[inner], atol=1e-4)
    assert np.isfinite(calibrated).all()


def test_each_goal_has_its_threshold_and_one_that_the_card_lacks_is_refused_with_those_that_it_has(model: Path) -> None:
    edit_card(model, thresholds={"f1": 0.5, "recall": 0.2})
    assert plain(load_model("standin")).threshold == read_card(model).threshold == 0.5
    assert plain(load_model("standin", goal="recall")).threshold == 0.2
    with pytest.raises(ModelError, match="standin has no threshold for the goal precision; it has f1, recall"):
        load_model("standin", goal="precision")


def test_bfloat16_differs_by_little(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = ChangeNet(TEN_BANDS[:3], ("dates", "difference"), 8, 2).eval()
    card = replace(
        read_card(write_standin(tmp_path, "s")),
        bands=("B02", "B03", "B04"),
        views=("dates", "difference"),
        width=8,
        depth=2,
        mean=(0,) * 3,
        std=(1,) * 3,
        halo=halo(2),
    )
    pair = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    exact, short = (probability_of(plain(Model(card, network, "cpu", precision)), *pair) for precision in ("float32", "bfloat16"))
    assert np.abs(exact - short).max() < 0.02


def test_a_card_without_cells_is_of_a_network_on_pixels_and_one_with_cells_needs_their_halo(tmp_path: Path) -> None:
    path = write_standin(tmp_path, "s")
    entries = json.loads(path.with_suffix(".json").read_text())
    del entries["view_cells"]
    path.with_suffix(".json").write_text(json.dumps(entries))
    assert read_card(path).view_cells == ()
    edit_card(path, depth=2, halo=halo(2), view_cells=[2])
    with pytest.raises(ModelError, match=f"its halo {halo(2)} is not what its network needs, {halo(2, [2])}"):
        read_card(path)
    for cells in ([3], [4], [1, 1]):
        edit_card(path, view_cells=cells)
        with pytest.raises(ModelError, match="are not one for each view, of 1, 2 at depth 2"):
            read_card(path)


@pytest.mark.parametrize("cells", [(), (2,)])
def test_a_model_is_written_and_read_back_alike(tmp_path: Path, cells: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    network = ChangeNet(TEN_BANDS, ("dates",), 4, 3, cells).eval()
    entries = {"simulated_levels": ("L2A",), "calibration": (0.5, 2.0, 1.5), "known_failures": ("Snow.", "Water.")}
    card = replace(
        read_card(write_standin(tmp_path, "s", **entries)), name="mine", width=4, depth=3, view_cells=cells, halo=halo(3, cells)
    )
    back = load_model(str(save_model(tmp_path, card, network)))
    assert replace(back.card, sha256=card.sha256) == card
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(back.network.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "simulated"), [(SHIPPED[0], ()), (SHIPPED[1], ("L2A",))])
def test_the_shipped_models_say_what_they_are(name: str, simulated: tuple[str, ...]) -> None:
    card = load_model(str(shipped_models() / f"{name}.safetensors")).card
    assert card.name == name
    assert "CC BY-NC-SA" in card.licence
    assert card.scores["pooled"]["f1"] > 0.5
    assert {"beihai", "hongkong", "nantes", "pooled", "goal precision", "goal recall"} <= set(card.scores)
    assert set(card.training["cities"]) < set(card.scores)
    assert set(card.thresholds) == {"f1", "precision", "recall"}
    assert card.simulated_levels == simulated
    assert "Out of fold" in card.protocol
    assert card.known_failures


@pytest.mark.parametrize(("name", "expected"), [(SHIPPED[0], [864, 552]), (SHIPPED[1], [864, 736])])
def test_windows_are_smaller_where_what_a_processor_makes_of_them_takes_more_memory(name: str, expected: list[int]) -> None:
    sides = []
    for precision in ("bfloat16", "float32"):
        model = load_model(str(shipped_models() / f"{name}.safetensors"), device="cpu", precision=precision)
        bands = len(model.card.bands)
        ready = model.for_appearance(Appearance(np.zeros((2, bands)), np.zeros(bands), np.eye(bands)))
        sides.append(ready.window_size)
        assert (ready.window_size + 2 * ready.halo) ** 2 * ready.bytes_per_pixel < 290e6
    assert sides == expected
