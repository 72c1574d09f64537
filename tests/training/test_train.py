import csv
import errno
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from matplotlib.pyplot import close

from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.card import SHIPPED, ModelCard, find_card
from s2change_plugin.engine.detect import predicted
from s2change_plugin.engine.errors import ModelError, S2ChangeError, UnreadableInput
from s2change_plugin.engine.labelled import Origin, city_names, on_ground_of, origins
from s2change_plugin.engine.model import load_model, save_model
from s2change_plugin.engine.outputs import to_levels
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.scene import open_scene
from tests.conftest import write_stack
from tests.standin import write_standin
from tests.training.conftest import GRID, ORIGIN, write_record
from training.__main__ import main
from training.crossvalidate import crossvalidate
from training.evaluate import _SAME_GROUND_KM, evaluate, predict_city, trained_near
from training.fit import few_steps, predict
from training.losses import LOSSES, bce, bce_dice, dice
from training.options import FitOptions
from training.prepare import fingerprints, read_city
from training.sampling import laid_out
from training.train import (
    TrainOptions,
    _best,
    _elsewhere,
    _keep_best,
    _require_teachers,
    beside,
    draw_curves,
    evidence,
    fine_tuning,
    split,
    train,
)

TINY = TrainOptions(FitOptions(epochs=2, batch=4, patch=32, views=("dates",), width=4, depth=2, seed=3))


def tiny(
    validation: tuple[str, ...] = (), init: str | None = None, teachers: tuple[str, ...] = (), **fit: object
) -> TrainOptions:
    return replace(TINY, fit=replace(TINY.fit, **fit), validation=validation, init=init, teachers=teachers)


def run(data: Path, folder: Path, options: TrainOptions, resume: bool = False, stop_in: int | None = None) -> None:
    """Train without a bar; stop as a person would, in the middle of an epoch."""

    def walk(items, label):
        for item in items:
            if stop_in is not None and label.startswith(f"epoch {stop_in}/") and item == 1:
                raise KeyboardInterrupt
            yield item

    train(data, folder, options, resume, walk, lambda text: None)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(str(folder / "model.safetensors"), device="cpu").network.state_dict()


def test_the_default_options_are_the_documented_table() -> None:
    one, fit = TrainOptions(), FitOptions()
    assert (fit.epochs, fit.batch, fit.learning_rate, fit.patch) == (50, 16, 0.001, 128)
    assert (fit.loss, one.validation_share, fit.bands) == ("bce+dice", 0.2, TEN_BANDS)
    told = CliRunner().invoke(main, ["train", "--help"]).output
    for name in ("epochs", "batch", "learning_rate", "patch", "loss", "width", "depth", "seed"):
        assert re.search(
            rf"--{name.replace('_', '-')} .*?\[default:\s+{re.escape(str(getattr(fit, name)))}[;\]]", told, re.DOTALL
        )


def test_a_fifth_of_the_cities_is_held_out_whole() -> None:
    names = [f"city{number:02d}" for number in range(14)]
    training, held_out = split(names, TrainOptions())
    assert len(held_out) == 3
    assert sorted(training + held_out) == names
    assert split(names, TrainOptions()) == (training, held_out)
    assert split(names, TrainOptions(FitOptions(seed=1)))[1] != held_out
    assert split(names, TrainOptions(validation=("city03",)))[1] == ["city03"]


def test_a_share_above_half_is_held_out_as_it_was_asked_for() -> None:
    names = [f"city{number}" for number in range(10)]
    assert [len(split(names, TrainOptions(validation_share=share))[1]) for share in (0.2, 0.5, 0.6, 0.8)] == [2, 5, 6, 8]
    alone = [(name,) for name in names]
    assert len(split(names, TrainOptions(validation_share=0.8), groups=alone)[1]) == 8


def test_neighbours_are_held_out_together_where_half_of_the_cities_are_left() -> None:
    """Of six cities one is to be held out; three of them are neighbours."""
    names, groups = ["a", "b", "bercy", "paris", "saclay", "z"], [("a",), ("b",), ("bercy", "paris", "saclay"), ("z",)]
    held_out = {tuple(split(names, TrainOptions(FitOptions(seed=seed), 0.1), groups=groups)[1]) for seed in range(40)}
    assert held_out == {("a",), ("b",), ("z",), ("bercy", "paris", "saclay")}
    blocks, one_place = names[:5], [tuple(names[:5])]
    assert len(split(blocks, TrainOptions(), groups=one_place)[1]) == 1
    assert split(names, TrainOptions(), groups=[*one_place, ("z",)])[1] == ["z"]


def test_what_the_model_to_begin_with_knows_is_held_out_only_where_there_is_nothing_else() -> None:
    names = ["a", "b", "c", "d"]
    for seed in range(8):
        assert split(names, TrainOptions(FitOptions(seed=seed)), known=["a", "b", "d", "rome"])[1] == ["c"]
    assert split(names, TrainOptions(validation=("a",)), known=["a"])[1] == ["a"]
    assert len(split(names, TrainOptions(), known=names)[1]) == 1


def test_a_split_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UnreadableInput, match="no city is left"):
        split(["bern"], TrainOptions())
    with pytest.raises(UnreadableInput, match="has no rome"):
        split(["bern", "cairo"], TrainOptions(validation=("rome",)))


def test_cities_of_one_ground_are_held_out_together() -> None:
    names = ["a", "b", "c", "d"]
    assert split(names, TrainOptions(validation=("a",)), {"a": {"c"}, "c": {"a"}}) == (["b", "d"], ["a", "c"])
    with pytest.raises(UnreadableInput, match="on other ground"):
        split(names, TrainOptions(validation=("a",)), {"a": set(names), **{name: {"a"} for name in names[1:]}})
    assert beside(["b", "c"], ["a"], [("a", "c"), ("b",)]) == ["c"]


def test_what_shares_ground_with_both_sides_is_on_neither() -> None:
    """Exports of one place are cut where their own labels lie: each block overlaps two of another."""
    names = ["a1", "a2", "a3", "b1", "b2"]
    sharing = {"a1": {"b1"}, "a2": {"b1", "b2"}, "a3": {"b2"}, "b1": {"a1", "a2"}, "b2": {"a2", "a3"}}
    assert split(names, TrainOptions(validation=("a1",)), sharing) == (["a2", "a3", "b2"], ["a1"])


def test_a_pair_of_the_same_ground_is_not_trained_on_beside_what_is_held_out(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "essen", data / "essen-2021")
    write_record(data, dict.fromkeys(("athens", "bern", "cairo", "delhi", "essen", "essen-2021"), ORIGIN))
    run(data, tmp_path / "run", tiny(("essen",), epochs=1))
    assert find_card(str(tmp_path / "run" / "model.safetensors")).training["cities"] == ["athens", "bern", "cairo", "delhi"]


def test_the_card_repeats_what_the_record_says_of_the_labels(data: Path, tmp_path: Path) -> None:
    mine = Origin("own labels", "CC BY 4.0", "L2A", "New solar parks.")
    other = replace(mine, source="other labels", licence="ODbL")
    write_record(data, {"athens": other, **dict.fromkeys(("bern", "cairo", "delhi", "essen"), mine)})
    run(data, tmp_path / "one", tiny(("essen",), epochs=1))
    start = str(tmp_path / "one" / "model.safetensors")
    card = find_card(start)
    assert (card.level, card.detects, card.licence) == ("L2A", "New solar parks.", "ODbL; CC BY 4.0")
    assert card.trained_on == "other labels: athens; own labels: bern, cairo, delhi"
    assert "Within 50 km of what it was trained on lie essen" in card.protocol
    write_record(data, dict.fromkeys(("athens", "bern", "cairo", "delhi", "essen"), ORIGIN))
    run(data, tmp_path / "two", tiny(("essen",), init=start, epochs=1))
    begun = find_card(str(tmp_path / "two" / "model.safetensors"))
    # What is made of weights keeps their licence.
    assert (begun.level, begun.licence) == ("L1C", "ODbL; CC BY 4.0; CC0")
    assert begun.trained_on.endswith(f"Begun with model, trained on {card.trained_on}")
    # Here all lie on one ground, whatever they are called.
    assert "model, with which it began, was trained within 50 km of essen" in begun.protocol
    assert set(begun.training["centres"]) == {
        "athens",
        "bern",
        "cairo",
        "delhi",
        *(f"{name} of model" for name in card.training["centres"]),
    }
    path = tmp_path / "one" / "model.json"
    elsewhere = json.loads(path.read_text())
    elsewhere["training"]["centres"] = {"essen": [100.0, 0.0]}
    path.write_text(json.dumps(elsewhere))
    run(data, tmp_path / "far", tiny(("essen",), init=start, epochs=1))
    assert "with which it began, was trained" not in find_card(str(tmp_path / "far" / "model.safetensors")).protocol
    elsewhere["training"]["centres"] = card.training["centres"]
    path.write_text(json.dumps(elsewhere))
    run(data, tmp_path / "three", tiny(("bern",), init=start, epochs=1))
    known = find_card(str(tmp_path / "three" / "model.safetensors"))
    assert (
        "model, with which it began, was trained within 50 km of bern: scores there say nothing of other places."
        in known.protocol
    )


def test_scores_far_from_what_was_trained_on_carry_no_caution(data: Path, tmp_path: Path) -> None:
    with rasterio.open(data / "essen" / "change.tif", "r+") as raster:
        raster.transform = raster.transform @ rasterio.Affine.translation(9000, 0)
    for side in ("before", "after"):
        with rasterio.open(data / "essen" / f"{side}.tif", "r+") as raster:
            raster.transform = raster.transform @ rasterio.Affine.translation(9000, 0)
    run(data, tmp_path / "run", tiny(("essen",), epochs=1))
    assert "Within" not in find_card(str(tmp_path / "run" / "model.safetensors")).protocol


def test_labels_that_cannot_be_on_one_card_are_refused(data: Path, tmp_path: Path) -> None:
    names = ("bern", "cairo", "delhi", "essen")
    write_record(data, {"athens": replace(ORIGIN, level="L2A"), **dict.fromkeys(names, ORIGIN)})
    with pytest.raises(UnreadableInput, match="athens of Level-2A and bern, cairo, delhi, essen of Level-1C"):
        run(data, tmp_path / "one", tiny(("essen",)))
    write_record(data, dict.fromkeys(names, ORIGIN))
    with pytest.raises(UnreadableInput, match="does not say where the labels of athens come from"):
        run(data, tmp_path / "two", tiny(("essen",)))
    (data / "data.json").unlink()
    with pytest.raises(UnreadableInput, match=r"has no data\.json"):
        run(data, tmp_path / "three", tiny(("essen",)))


@pytest.mark.parametrize(("value", "said"), [(0, "change"), (1, "no change")])
def test_a_side_without_change_or_with_nothing_else_is_refused(data: Path, tmp_path: Path, value: int, said: str) -> None:
    with rasterio.open(data / "essen" / "change.tif", "r+") as raster:
        raster.write(np.full(GRID.shape, value, np.uint8), 1)
    with pytest.raises(UnreadableInput, match=f"held out, essen, no pixel is labelled as {said},"):
        run(data, tmp_path / "run", tiny(("essen",)))


def test_a_seed_makes_a_run_repeatable_and_an_interruption_changes_nothing(data: Path, tmp_path: Path) -> None:
    options = tiny(("essen",), epochs=3)
    run(data, tmp_path / "straight", options)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "stopped", options, stop_in=2)
    run(data, tmp_path / "stopped", options, resume=True)
    run(data, tmp_path / "other", tiny(("essen",), epochs=3, seed=4))
    straight, stopped, other = (tensors(tmp_path / name) for name in ("straight", "stopped", "other"))
    assert all(torch.equal(straight[name], stopped[name]) for name in straight)
    assert not all(torch.equal(straight[name], other[name]) for name in straight)
    with (tmp_path / "stopped" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert (tmp_path / "stopped" / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("views", [("dates",), ("ten-metre", "difference")])
def test_both_panels_of_the_curves_say_which_line_is_which_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: tuple[str, ...]
) -> None:
    scores = "0.5,0.6,0.4"
    rows = [f"{number},{view},{epoch},0.3,{scores}" for number, view in enumerate(views, 1) for epoch in (1, 2)]
    (tmp_path / "log.csv").write_text("\n".join(["network,view,epoch,loss,f1,precision,recall", *rows]))
    kept: list[Any] = []
    monkeypatch.setattr("matplotlib.pyplot.close", kept.append)
    draw_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    monkeypatch.undo()
    close(kept[0])
    left, right = (axis.get_legend() for axis in kept[0].axes)
    named = [f"{number}: {view}" for number, view in enumerate(views, 1)]
    assert [text.get_text() for text in left.get_texts()] == named
    told = {text.get_text(): line for text, line in zip(right.get_texts(), right.get_lines(), strict=True)}
    dashes = [line.get_linestyle() for line in left.get_lines()]
    networks = {f"network {one}": dash for one, dash in zip(named, dashes, strict=True)} if len(views) > 1 else {}
    assert {name: line.get_linestyle() for name, line in told.items() if name.startswith("network")} == networks
    assert list(told)[:3] == ["F1", "precision", "recall"]


def test_the_epoch_that_is_best_on_the_held_out_cities_is_kept(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", tiny(("essen",), epochs=6, learning_rate=0.05, ema=0.0))
    with (tmp_path / "run" / "log.csv").open() as file:
        reached = [float(row["f1"]) for row in csv.DictReader(file)]
    card = load_model(str(tmp_path / "run" / "model.safetensors")).card
    assert card.scores["pooled"]["f1"] == max(reached)
    assert min(reached) < max(reached)


def test_a_worse_epoch_does_not_replace_a_better_one(tmp_path: Path) -> None:
    for f1, weight in ((0.5, 1.0), (0.7, 2.0), (0.6, 3.0)):
        network = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(network.weight, weight)
        _keep_best(tmp_path / "best.pt", f1, network)
    best = _best(tmp_path / "best.pt")
    assert (best["f1"], best["weights"]["weight"].item()) == (0.7, 2.0)


def test_training_learns_what_is_plain_to_see(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", tiny(("essen",), epochs=20, batch=8, learning_rate=0.01))
    model = load_model(str(tmp_path / "run" / "model.safetensors"), device="cpu")
    assert evaluate(model, data, ["essen"])["pooled"]["f1"] > 0.9
    # So both are in reach.
    for goal in ("precision", "recall"):
        assert evaluate(model, data, ["essen"], model.card.thresholds[goal])["pooled"][goal] >= 0.8


def test_a_run_is_not_overwritten_and_only_a_run_is_resumed(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", tiny(epochs=1))
    with pytest.raises(S2ChangeError, match="--resume"):
        run(data, tmp_path / "run", TINY)
    with pytest.raises(UnreadableInput, match="no run to resume"):
        run(data, tmp_path / "none", TINY, resume=True)


def test_what_is_refused_leaves_no_run_behind(data: Path, tmp_path: Path) -> None:
    for wrong, said in (
        (tiny(("lyon",)), "has no lyon"),
        (tiny(("bern",), init=str(write_standin(tmp_path, "deep"))), "cannot begin with"),
        (tiny(tuple(city_names(data))), "no city is left to train on"),
    ):
        with pytest.raises(S2ChangeError, match=said):
            run(data, tmp_path / "run", wrong)
        assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_the_options_that_it_began_with_alone(data: Path, tmp_path: Path) -> None:
    command = [
        "train",
        str(data),
        "--output",
        str(tmp_path / "run"),
        "--patch",
        "32",
        "--width",
        "4",
        "--depth",
        "2",
        "--batch",
        "4",
    ]
    assert CliRunner().invoke(main, [*command, "--epochs", "1"]).exit_code == 0
    for more in (["--epochs", "2"], ["--epochs", "1", "--validation-share", "0.5"]):
        other = CliRunner().invoke(main, [*command, *more, "--resume"])
        assert (other.exit_code, "was begun with other options" in other.output) == (2, True), other.output
    # Fifty are the default.
    by_default = CliRunner().invoke(main, [*command[:4], "--epochs", "50", "--resume"])
    assert (by_default.exit_code, "was begun with other options" in by_default.output) == (2, True), by_default.output
    for same in ([*command, "--epochs", "1", "--resume"], [*command[:4], "--resume"]):
        assert CliRunner().invoke(main, same).exit_code == 0


def test_a_full_disk_is_a_sentence_and_leaves_the_model_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "own"))
    write_standin(tmp_path / "run", "model")
    export = ["export", str(tmp_path / "run"), "mine"]
    assert CliRunner().invoke(main, export).exit_code == 0
    there = {path: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        written(path, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = CliRunner().invoke(main, [*export, "--force"])
    assert (done.exit_code, done.output) == (1, "Error: The disk is full. Free some space and run again.\n")
    assert {path: path.read_bytes() for path in (tmp_path / "own").iterdir()} == there


def test_scores_where_the_model_was_trained_say_so_whatever_the_groups_are_called(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", tiny(("bern",), epochs=1))
    shutil.copytree(data / "cairo", data / "florence")
    write_record(data, dict.fromkeys(city_names(data), ORIGIN) | {"florence": replace(ORIGIN, level="L2A")})
    done = CliRunner().invoke(main, ["evaluate", str(tmp_path / "run"), str(data), "--cities", "florence"])
    assert done.exit_code == 0, done.output
    assert "It was trained on ground that florence shows: scores there say nothing." in done.output
    # Cut otherwise, most of it is the same ground.
    moved = {"florence": (50.1, 20.0, 50.2, 20.1)}
    assert on_ground_of(moved, {"cairo": (50.16, 20.0, 50.26, 20.1)}) == ["florence"]
    assert on_ground_of(moved, {"cairo": (50.19, 20.0, 50.29, 20.1)}) == []
    assert on_ground_of({"taveuni": (179.9, -17.0, -179.9, -16.9)}, moved) == []
    assert "It was made for Level-1C, and florence is of another level." in done.output


def test_a_model_is_scored_on_the_blocks_beside_those_that_it_was_trained_on(tmp_path: Path) -> None:
    """The smallest lie 670 m apart; a card that tells no places is gone by the names."""
    at = {"a": (5.0, 45.0), "b": (5.0, 45.0 + 0.67 / 111)}
    write_standin(tmp_path, "placed", training={"cities": ["b", "lyon"], "centres": {"lyon": at["a"]}})
    write_standin(tmp_path, "named", training={"cities": ["b"]})
    placed, named = (find_card(str(tmp_path / f"{name}.safetensors")) for name in ("placed", "named"))
    assert trained_near(placed, at, _SAME_GROUND_KM) == ["a"]
    assert trained_near(placed, at) == ["a", "b"]
    assert trained_near(named, at, _SAME_GROUND_KM) == trained_near(named, at) == ["b"]


def test_a_run_goes_on_with_the_data_that_it_began_with_alone(data: Path, tmp_path: Path) -> None:
    """Else cities that it was fitted to could be held out, and the other way round."""
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run", tiny(), stop_in=2)
    shutil.copytree(data / "essen", data / "florence")
    write_record(data, dict.fromkeys(city_names(data), ORIGIN))
    with pytest.raises(UnreadableInput, match="other data: florence is new"):
        run(data, tmp_path / "run", TINY, resume=True)
    shutil.rmtree(data / "florence")
    run(data, tmp_path / "run", TINY, resume=True)
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_prediction_out_of_fold_is_that_of_the_engine_to_the_edge(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.fit.precision_on", lambda device: "float32")
    model = load_model(SHIPPED[-1], device="cpu", precision="float32")
    card = replace(model.card, calibration=(0, 1, 1))
    city = read_city(data / "bern", card.bands)
    options = FitOptions(views=card.views, view_cells=card.view_cells, width=card.width, depth=card.depth)
    own = predict(model.network, laid_out(city, (card.mean, card.std)), options).astype(int)
    assert np.ptp(own[:8]) > 100
    assert np.abs(own - predict_city(replace(model, card=card), city)).max() <= 1


def test_prediction_in_training_is_that_of_the_engine(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "run", tiny(epochs=1))
    model = load_model(str(tmp_path / "run" / "model.safetensors"), device="cpu", precision="float32")
    city = read_city(data / "bern", TEN_BANDS)
    levels = predict_city(model, city)
    scenes = [open_scene(str(data / "bern" / f"{side}.tif")) for side in ("before", "after")]
    with open_pair(scenes[0], scenes[1], TEN_BANDS, PairOptions(register=False, clouds="none")) as pair:
        predictor = model.for_pair([city.before], [city.after])
        stored = lambda seen, probability: to_levels(probability, seen.quality)  # noqa: E731
        for window, here in predicted(pair, predictor, pair.grid.window, 48, iter, stored):
            rows, cols = window.toslices()
            assert np.abs(here.astype(int) - levels[rows, cols]).max() <= 1


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_loss_falls_where_the_answer_is_right_and_ignores_the_unlabelled(name: str) -> None:
    change = torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2)
    labelled = torch.tensor([1.0, 1, 1, 0]).view(1, 1, 2, 2)
    right = torch.tensor([8.0, -8, -8, 8]).view(1, 1, 2, 2)
    loss = LOSSES[name]
    assert loss(right, change, labelled) < 0.01
    assert loss(-right, change, labelled) > 0.5
    elsewhere = right.clone()
    elsewhere[..., 1, 1] = -8
    assert loss(elsewhere, change, labelled) == loss(right, change, labelled)


def test_the_default_loss_is_the_sum_of_both() -> None:
    logits, change = torch.randn(2, 1, 4, 4), (torch.rand(2, 1, 4, 4) > 0.5).float()
    every = torch.ones_like(change)
    assert bce_dice(logits, change, every) == bce(logits, change, every) + dice(logits, change, every)


@pytest.mark.parametrize("option", [{"loss": "mse"}, {"patch": 30}, {"epochs": 0}, {"architecture": "fc-ef"}, {"turns": 4}])
def test_options_that_cannot_be_trained_are_refused(option: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        tiny(**option)
    with pytest.raises(ValueError, match="validation_share"):
        TrainOptions(validation_share=1.0)


def test_a_model_to_begin_with_gives_weights_normalisation_and_network(data: Path, tmp_path: Path) -> None:
    start = str(tmp_path / "one" / "model.safetensors")
    run(data, tmp_path / "one", tiny(("essen",), epochs=3, views=("dates", "difference"), view_cells=(1, 2)))
    options = TrainOptions(
        replace(FitOptions(**fine_tuning(start, data, {})), epochs=1, batch=4, patch=32, learning_rate=1e-9, ema=0.0), init=start
    )
    run(data, tmp_path / "two", options)
    first, second = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    for name in first:
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(first[name], second[name], atol=1e-5), name
    cards = [load_model(str(tmp_path / name / "model.safetensors")).card for name in ("one", "two")]
    assert cards[0].mean == cards[1].mean
    assert (cards[1].width, cards[1].depth, cards[1].view_cells) == (4, 2, (1, 2))
    assert "Begun with model" in cards[1].trained_on
    with pytest.raises(ModelError, match="width 4, depth 2, views dates, difference on cells of 1, 2,"):
        run(data, tmp_path / "three", tiny(init=start, width=8))
    with pytest.raises(ModelError, match="no model 'nothing'"):
        fine_tuning("nothing", data, {})


def test_labels_of_another_level_than_that_of_the_model_to_begin_with_are_told(data: Path, tmp_path: Path) -> None:
    write_record(data, {name: replace(ORIGIN, level="L2A") for name in city_names(data)})
    told = "is for Level-1C, and these labels are of Level-2A."
    for levels in ((), ("L2A",)):
        name = f"start{len(levels)}"
        start = str(write_standin(tmp_path, name, level="L1C", simulated_levels=levels))
        options = TrainOptions(
            replace(FitOptions(**fine_tuning(start, data, {})), epochs=1, batch=4, patch=32), validation=("essen",), init=start
        )
        run(data, tmp_path / name, options)
        assert (told in find_card(str(tmp_path / name / "model.safetensors")).protocol) == (not levels)


def test_what_a_model_begins_with_is_kept_where_no_epoch_is_better(data: Path, tmp_path: Path) -> None:
    start, said = str(tmp_path / "one" / "model.safetensors"), list[str]()
    run(data, tmp_path / "one", tiny(("essen",), epochs=4, learning_rate=0.02, ema=0.8))
    worse = tiny(("essen",), init=start, epochs=1, learning_rate=5.0, ema=0.0)
    train(data, tmp_path / "two", worse, False, lambda items, _: items, said.append)
    for name, tensor in tensors(tmp_path / "one").items():
        assert torch.equal(tensor, tensors(tmp_path / "two")[name]), name
    before = load_model(start).card.scores["pooled"]["f1"]
    assert before > 0.1
    assert load_model(str(tmp_path / "two" / "model.safetensors")).card.scores["pooled"]["f1"] == before
    assert f"model, with which it begins, has F1 {before:.3f} there, with the threshold that is best there." in said
    assert said[-2].startswith("On what is held out nothing is better than what it began with, which is kept")


def test_what_a_model_begins_with_is_kept_where_its_networks_gain_and_their_mean_does_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, two = str(tmp_path / "one" / "model.safetensors"), {"views": ("dates", "difference")}
    run(data, tmp_path / "one", tiny(("essen",), epochs=2, **two))
    told = []

    def said_of(network: Any, card: ModelCard, cities: object) -> ModelCard:
        # The whole, and each of its networks before and after an epoch.
        told.append(len(network.networks))
        worth = {1: 0.1 * len(told), 2: 0.5 - 0.01 * len(told)}[len(network.networks)]
        return replace(card, scores={"pooled": {"f1": worth, "precision": 0.5, "recall": 0.5}})

    monkeypatch.setattr("training.train.validated", said_of)
    run(data, tmp_path / "two", tiny(("essen",), init=start, epochs=1, learning_rate=0.01, **two))
    assert told == [2, 1, 1, 1, 1, 2]
    for name, tensor in tensors(tmp_path / "one").items():
        assert torch.equal(tensor, tensors(tmp_path / "two")[name]), name
    assert load_model(str(tmp_path / "two" / "model.safetensors")).card.scores["pooled"]["f1"] == 0.49


def test_steps_are_counted_with_the_settings_however_they_are_given(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_standin(tmp_path, "start")
    asked: list[FitOptions] = []
    monkeypatch.setattr("training.train.train", lambda *given: asked.append(given[2].fit))
    command = ["train", str(data), "--output", str(tmp_path / "run"), "--init", str(tmp_path / "start.safetensors")]
    for more in (["--patch", "32", "--batch", "4"], ["--set", "patch=32", "--set", "batch=4"], []):
        done = CliRunner().invoke(main, [*command, *more])
        assert done.exit_code == 0, done.output
    assert asked[0] == asked[1]
    assert (asked[0].patch, asked[2].patch) == (32, 128)
    assert asked[0].epochs < asked[2].epochs


def test_a_run_goes_on_with_the_model_that_it_began_with_alone(data: Path, tmp_path: Path) -> None:
    start = write_standin(tmp_path, "start")
    options = TrainOptions(
        replace(FitOptions(**fine_tuning(str(start), data, {})), epochs=2, batch=4, patch=32),
        validation=("essen",),
        init=str(start),
    )
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run", options, stop_in=2)
    network = load_model(str(start), device="cpu").network
    for tensor in network.parameters():
        tensor.data += 0.01
    save_model(tmp_path, find_card(str(start)), network)
    with pytest.raises(UnreadableInput, match="is another model than the one with which"):
        run(data, tmp_path / "run", TINY, resume=True)


def test_small_data_is_walked_over_until_something_is_learned(tmp_path: Path) -> None:
    start = write_standin(tmp_path, "start")
    sides = {"few": 128, "many": 128 * 24}
    for name, side in sides.items():
        # What is held out is not walked over.
        for group, origin in (("a", (500000, 5000000)), ("b", (600000, 5000000))):
            (tmp_path / name / group).mkdir(parents=True)
            write_stack(tmp_path / name / group / "change.tif", np.zeros((1, side, side), np.uint8), None, origin=origin)
    # Of two folds one is held out at a time, as one of two groups is.
    assert fine_tuning(str(start), tmp_path / "few", {}, folds=2)["epochs"] == 300
    # A walk over the other is one step of 16 patches of 128, four of 4 patches of 32, or 36 of 16 of 128.
    assert fine_tuning(str(start), tmp_path / "few", {})["epochs"] == 300
    assert fine_tuning(str(start), tmp_path / "few", {"patch": 32, "batch": 4})["epochs"] == 75
    assert fine_tuning(str(start), tmp_path / "many", {})["epochs"] == 10


def test_what_makes_too_few_steps_from_random_weights_is_said_with_the_epochs_that_it_takes() -> None:
    said = few_steps(3 * 128**2, FitOptions(epochs=50, batch=1))
    assert said
    assert "50 epochs make 150 steps" in said
    assert "take 200 epochs" in said
    assert few_steps(3 * 128**2, FitOptions(epochs=200, batch=1)) is None


def test_a_model_learns_from_others_and_its_card_counts_them(data: Path, tmp_path: Path) -> None:
    write_record(data, dict.fromkeys(("athens", "bern", "cairo", "delhi", "essen"), replace(ORIGIN, licence="ODbL; CC0")))
    names = []
    for seed, views in ((1, ("dates",)), (2, ("difference", "dates"))):
        run(data, tmp_path / str(seed), tiny(("essen",), views=views, seed=seed))
        names.append(str(tmp_path / str(seed) / "model.safetensors"))
    write_record(data, dict.fromkeys(("athens", "bern", "cairo", "delhi", "essen"), ORIGIN))
    options = tiny(("essen",), teachers=tuple(names), views=("dates", "difference"))
    with pytest.raises(UnreadableInput, match="the same network"):
        run(data, tmp_path / "twice", replace(options, teachers=(names[1], names[1])))
    run(data, tmp_path / "taught", options)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "again", options, stop_in=2)
    run(data, tmp_path / "again", TrainOptions(), resume=True)
    taught, again = tensors(tmp_path / "taught"), tensors(tmp_path / "again")
    run(data, tmp_path / "untaught", replace(options, teachers=()))
    untaught = tensors(tmp_path / "untaught")
    assert all(torch.equal(taught[name], again[name]) for name in taught)
    assert not all(torch.equal(taught[name], untaught[name]) for name in taught)
    card = find_card(str(tmp_path / "taught" / "model.safetensors"))
    assert card.training["teachers"] == 2
    assert card.trained_on.endswith("; what looks at the dates, difference learned from 2 others, trained on the same")
    # What is made of weights keeps their licence.
    assert card.licence == "ODbL; CC0"
    with pytest.raises(UnreadableInput, match="have the views dates, and those that are to learn ten-metre"):
        run(data, tmp_path / "one", tiny(("essen",), teachers=(names[0],), views=("ten-metre",)))
    with pytest.raises(ModelError, match="no model 'nobody'"):
        run(data, tmp_path / "one", tiny(teachers=("nobody",)))
    assert not (tmp_path / "one").exists()
    with pytest.raises(ModelError, match="was trained on other cities"):
        run(data, tmp_path / "other", replace(options, validation=("bern",)))
    # Begun with one model they see by its statistics, whatever they were trained on.
    begun = tiny(("bern",), init=names[0], views=("dates",))
    with pytest.raises(ModelError, match="was trained on other cities"):
        run(data, tmp_path / "begun", replace(begun, teachers=(names[0],)))


def test_a_teacher_that_was_trained_otherwise_than_those_of_the_cross_validation_is_refused(tmp_path: Path) -> None:
    """Else the card would have the scores of what learned from others."""
    fit, taught_by = FitOptions(views=("dates",)), FitOptions(views=("dates",), width=10, depth=1, light=2.0)
    teachers = {"sha256": "1", "seeds": [4], "views": ["dates"], "options": asdict(taught_by)}
    saved = tmp_path / "options.json"
    saved.write_text(json.dumps({**asdict(fit), "folds": 2, "cities": {}, "teachers": teachers, "init": None}))

    def require(**other: object) -> None:
        trained = {**asdict(replace(taught_by, **other)), "cities": ["bern"], "precision": "float32"}
        name = str(write_standin(tmp_path, "teacher", training=trained))
        _require_teachers(TrainOptions(fit, crossvalidated=str(tmp_path), teachers=(name,)))

    require(seed=7)
    with pytest.raises(UnreadableInput, match=r"had: epochs 5 instead of 50; light 1\.0 instead of 2\.0\. Name with --teacher"):
        require(epochs=5, light=1.0)
    teachers = {"folder": "/there", "seeds": [4], "views": ["dates"]}
    saved.write_text(json.dumps({**asdict(fit), "folds": 2, "cities": {}, "teachers": teachers, "init": None}))
    with pytest.raises(UnreadableInput, match="noted of its teachers only where they were"):
        require()


def test_a_cross_validated_model_is_trained_on_all_cities_and_its_card_says_what_was_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.crossvalidate.centres", lambda data: {name: (i, 0) for i, name in enumerate(city_names(data))})
    fit = replace(TINY.fit, epochs=12, learning_rate=0.02, ema=0.8)
    found = crossvalidate(data, tmp_path / "cv", fit, 2, 2, 1, lambda text: None)
    arguments = ["train", data, "--output", tmp_path / "run", "--crossvalidated", tmp_path / "cv"]
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    assert "held out: none" in done.output
    card = load_model(str(tmp_path / "run" / "model.safetensors")).card
    assert card.training["cities"] == city_names(data)
    assert card.training["epochs"] == 12
    assert card.calibration == tuple(found["card"]["calibration"])
    assert card.thresholds["f1"] == found["card"]["thresholds"]["f1"]
    assert card.scores["bern"] == found["card"]["cities"]["bern"]
    assert card.simulated_levels == ("L2A",)
    assert "mean of 2 seeds from 3, threshold" in card.protocol
    assert f"F1 {card.scores['pooled']['f1']:.3f} ± {found['l1c']['deviation']['f1']:.3f}, and" in card.protocol
    assert "dark-object subtraction" in card.protocol
    assert "F1 is lowest" in card.known_failures[-2]
    assert f"On imitations of Level-2A F1 is {found['l2a']['mean']['f1']:.3f} instead of" in card.known_failures[-1]
    assert (tmp_path / "run" / "curves.png").stat().st_size > 10_000
    unreached = {**found, "card": {**found["card"], "thresholds": {**found["card"]["thresholds"], "precision": None}}}
    (tmp_path / "cv" / "scores.json").write_text(json.dumps(unreached))
    labels, there = origins(data, city_names(data)), fingerprints(data)
    assert "precision" not in evidence(tmp_path / "cv", labels, there)["thresholds"]
    alone = {**found["l1c"], "seeds": found["l1c"]["seeds"][:1], "deviation": dict.fromkeys(found["l1c"]["deviation"])}
    (tmp_path / "cv" / "scores.json").write_text(json.dumps({**found, "l1c": alone}))
    of_one = evidence(tmp_path / "cv", labels, there)["protocol"]
    assert "one seed, 3, threshold" in of_one
    assert "±" not in of_one
    assert "mean of" not in of_one
    level_2a = evidence(tmp_path / "cv", {name: replace(one, level="L2A") for name, one in labels.items()}, there)
    assert level_2a["simulated_levels"] == (), "what was trained on it is not imitated"
    assert "dark-object" not in level_2a["protocol"]
    assert level_2a["known_failures"][-1] == "Only Level-2A was looked at: of another level nothing is measured."
    saved = json.loads((tmp_path / "cv" / "options.json").read_text())
    (tmp_path / "cv" / "options.json").write_text(json.dumps({**saved, "bands": [*saved["bands"], "B10"]}))
    with_cirrus = evidence(tmp_path / "cv", labels, there)
    assert with_cirrus["simulated_levels"] == (), "no Level-2A has B10"
    assert "dark-object" not in with_cirrus["protocol"]
    with pytest.raises(UnreadableInput, match="cv is of other data: bern is new, gone or changed"):
        evidence(tmp_path / "cv", labels, {**there, "bern": "as it was"})
    for wrong in (["--width", 8], ["--validation", "bern"]):
        refused = CliRunner().invoke(main, [str(one) for one in [*arguments, *wrong]])
        assert refused.exit_code == 2, refused.output
    nothing = CliRunner().invoke(main, ["train", str(data), "--output", str(tmp_path / "two"), "--crossvalidated", str(tmp_path)])
    assert (nothing.exit_code, "holds no cross-validation" in nothing.output) == (1, True)


def test_a_card_names_the_city_that_loses_most_on_imitations_if_any_does() -> None:
    def level(bern: float, essen: float) -> dict[str, Any]:
        cities = {"bern": {"mean": {"f1": bern}}, "essen": {"mean": {"f1": essen}}}
        return {"mean": {"f1": (bern + essen) / 2}, "cities": cities}

    said = _elsewhere({"l1c": level(0.5, 0.7), "l2a": level(0.4, 0.4)}, True, "L1C")
    assert "F1 is 0.400 instead of 0.600; the most is lost in essen (0.40 instead of 0.70). No real" in said
    for better in (0.5, 0.6):
        said = _elsewhere({"l1c": level(0.5, 0.7), "l2a": level(better, 0.7)}, True, "L1C")
        assert f"F1 is {(better + 0.7) / 2:.3f} instead of 0.600; no city loses. No real" in said


def test_a_model_that_began_with_another_is_measured_out_of_fold_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.crossvalidate.centres", lambda data: {name: (i, 0) for i, name in enumerate(city_names(data))})
    start, few = write_standin(tmp_path, "start", level="L2A"), ["--set", "epochs=1", "--set", "batch=2", "--set", "patch=32"]

    def command(*arguments: object) -> Any:
        return CliRunner().invoke(main, [str(one) for one in arguments])

    begun = ("--init", start)
    done = command("crossvalidate", data, "--output", tmp_path / "cv", "--folds", 2, "--seeds", 1, *begun, *few)
    assert done.exit_code == 0, done.output
    assert "Every fit begins with start." in (tmp_path / "cv" / "report.html").read_text()
    saved = json.loads((tmp_path / "cv" / "options.json").read_text())
    # As `train --init` has it, for as many steps.
    assert (saved["width"], saved["learning_rate"], saved["init"]["name"]) == (10, 0.0003, "start")
    train_it = ("train", data, "--output", tmp_path / "run", "--crossvalidated", tmp_path / "cv")
    for other, told in (((), "began with start. Give it with --init start"), (("--init", SHIPPED[-1]), "began with start")):
        refused = command(*train_it, *other)
        assert (refused.exit_code, told in refused.output) == (1, True), refused.output
    assert not (tmp_path / "run").exists()
    done = command(*train_it, *begun)
    assert done.exit_code == 0, done.output
    assert "held out: none" in done.output
    card = load_model(str(tmp_path / "run" / "model.safetensors")).card
    assert card.mean == (0.0,) * 10, "it sees as the model does with which it began"
    assert "every fit begins with start; 2 folds, one seed, 0, threshold" in card.protocol
    assert card.protocol.endswith("start, with which it began, is for Level-2A, and these labels are of Level-1C.")
    assert "Begun with start" in card.trained_on
    assert card.calibration == tuple(json.loads((tmp_path / "cv" / "scores.json").read_text())["card"]["calibration"])


def test_the_commands_lead_from_oscd_to_a_model_that_the_engine_finds(
    layout: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "models"))

    def call(*args: object) -> str:
        done = CliRunner().invoke(main, [str(arg) for arg in args])
        assert done.exit_code == 0, done.output
        return done.output

    assert "town" in call("prepare", layout, data)
    small = ("--epochs", 1, "--patch", 32, "--width", 4, "--depth", 2, "--batch", 4)
    assert "held out" in call("train", data, "--output", tmp_path / "run", *small)
    call("train", data, "--output", tmp_path / "taught", "--teacher", tmp_path / "run", *small)
    assert find_card(str(tmp_path / "taught" / "model.safetensors")).training["teachers"] == 1
    assert "pooled" in call("evaluate", tmp_path / "run", data, "--json", tmp_path / "scores.json")
    # A run's folder stands for its model, to the engine too.
    assert load_model(str(tmp_path / "run")).card.name == "model"
    call("train", data, "--output", tmp_path / "begun", "--init", tmp_path / "run", "--epochs", 1, "--patch", 32, "--batch", 4)
    call("export", tmp_path / "run", "mine")
    assert load_model("mine").card.name == "mine"
    assert "mine" in call("evaluate", "mine", data, "--cities", "bern")
    taken = CliRunner().invoke(main, ["export", str(tmp_path / "run"), "mine"])
    assert (taken.exit_code, "there already" in taken.output) == (1, True)


@pytest.mark.parametrize("name", ["../name", "auto", "", "lyon.safetensors"])
def test_a_name_that_no_model_can_be_asked_for_by_is_refused(tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(main, ["export", str(tmp_path), name])
    assert (done.exit_code, done.output.startswith(f"Error: {name!r} cannot be a model's name.")) == (1, True), done.output


def test_a_run_is_exported_though_its_folder_is_called_like_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    write_standin(tmp_path / "own", "lyon", licence="the older one's")
    write_standin(tmp_path / "lyon", "model", licence="the run's")
    assert CliRunner().invoke(main, ["export", "lyon", "lyon", "--force"]).exit_code == 0
    assert load_model("lyon").card.licence == "the run's"
    missing = CliRunner().invoke(main, ["export", "paris", "paris"])
    assert (missing.exit_code, "paris is no folder of a run" in missing.output) == (1, True)


def test_the_name_of_a_model_that_ships_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_standin(tmp_path / "run", "model")
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "own"))
    monkeypatch.setattr("training.export.shipped_models", lambda: tmp_path / "shipped")
    refused = CliRunner().invoke(main, ["export", str(tmp_path / "run"), SHIPPED[0]])
    assert (refused.exit_code, "is the name of a model that ships" in refused.output) == (1, True)
    assert not (tmp_path / "own").exists()
    assert CliRunner().invoke(main, ["export", str(tmp_path / "run"), SHIPPED[0], "--ship"]).exit_code == 0
    assert (tmp_path / "shipped" / f"{SHIPPED[0]}.safetensors").exists()


def test_wrong_folders_get_one_sentence(tmp_path: Path) -> None:
    write_standin(tmp_path, "standin")
    for args in (
        ["prepare", tmp_path / "none", tmp_path / "data"],
        ["train", tmp_path / "none", "--output", tmp_path / "run"],
        ["evaluate", tmp_path / "standin.safetensors", tmp_path / "none"],
        ["evaluate", "no-such-model", tmp_path],
        ["export", tmp_path / "none", "name"],
    ):
        done = CliRunner().invoke(main, [str(arg) for arg in args])
        assert done.exit_code == 1
        assert done.output.startswith("Error: ")
        assert "Traceback" not in done.output
