import errno
import json
import shutil
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner

from s2change_plugin.engine.bands import ALL_BANDS, L2A_BANDS, TEN_BANDS
from s2change_plugin.engine.errors import ModelError, S2ChangeError, UnreadableInput
from s2change_plugin.engine.labelled import centres, city_names, neighbours
from tests.standin import write_standin
from tests.training.conftest import ORIGIN, write_record
from training.__main__ import main
from training.calibrate import summary
from training.crossvalidate import (
    _cities,
    _path,
    _write,
    as_text,
    balanced_folds,
    begun_with,
    crossvalidate,
    folds_of,
    imitates_level_2a,
    labels_of,
    read_predictions,
    saved_options,
    saved_scores,
    settings_of,
)
from training.fit import fit, new_network, predict
from training.options import FitOptions
from training.prepare import fingerprints, read_city
from training.sampling import as_level_2a, band_statistics, laid_out

TINY = FitOptions(epochs=5, batch=4, patch=32, width=4, depth=2, learning_rate=0.02, ema=0.8)
# Enough that what is plain to see is found whatever the seed and the processor's rounding: 0.99 and more with seeds 0 to 2.
LONGER = replace(TINY, epochs=24)
PLACES = {
    "paris": (2.35, 48.86),
    "bercy": (2.38, 48.84),
    "saclay": (2.17, 48.73),
    "pisa": (10.4, 43.72),
    "rennes": (-1.68, 48.11),
}


def test_neighbours_are_found_through_each_other() -> None:
    assert neighbours(PLACES, 50) == [("bercy", "paris", "saclay"), ("pisa",), ("rennes",)]
    assert neighbours(PLACES, 1) == [("bercy",), ("paris",), ("pisa",), ("rennes",), ("saclay",)]


def test_folds_hold_every_city_once_keep_groups_and_share_the_change() -> None:
    changed = {"a": 10, "b": 9, "c": 6, "d": 4, "e": 2, "f": 1}
    folds = balanced_folds(changed, [("a",), ("b",), ("c", "f"), ("d",), ("e",)], 3)
    assert sorted(name for fold in folds for name in fold) == list("abcdef")
    assert any({"c", "f"} <= set(fold) for fold in folds)
    assert [sum(changed[name] for name in fold) for fold in folds] == [10, 11, 11]


def test_more_folds_than_places_are_refused() -> None:
    with pytest.raises(S2ChangeError, match="Choose 2 to 2"):
        balanced_folds({"a": 1, "b": 1}, [("a",), ("b",)], 3)


def test_cities_of_one_place_are_refused_with_what_to_do() -> None:
    with pytest.raises(S2ChangeError, match="one place.*Add a second place"):
        balanced_folds({"a": 1, "b": 1}, [("a", "b")], 5)


def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cities of the fixture lie beside each other."""
    monkeypatch.setattr("training.crossvalidate.centres", lambda data: {name: (i, 0) for i, name in enumerate(city_names(data))})


def test_what_is_plain_to_see_is_found_out_of_fold_and_a_finished_fold_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(monkeypatch)
    said: list[str] = []
    found = crossvalidate(data, tmp_path / "cv", LONGER, 2, 1, 1, said.append)
    assert found["l1c"]["mean"]["f1"] > 0.9
    assert found["l2a"]["mean"]["f1"] > 0.8
    told = as_text(found)
    assert all(text in told for text in ("L1C seed 0", "L2A imitated seed 0", "Seed 0 by city"))
    other = as_text({**found, "imitated": False, "seeds": [7]})
    assert "L2A" not in other, "what cannot be imitated has no scores"
    assert all(text in other for text in ("L1C seed 7", "Seed 7 by city"))
    assert not [text for text in ("mean", "ensemble", "±") if text in told], "one seed is its own mean"
    two = {**found["l1c"], "seeds": 2 * found["l1c"]["seeds"], "deviation": {"f1": 0.012}}
    told = as_text({**found, "imitated": False, "seeds": [7, 8], "l1c": two})
    assert all(text in told for text in ("L1C mean", "(F1 ± 1.2)", "L1C seed 7", "L1C seed 8", "L1C ensemble"))
    assert sorted(name for fold in found["folds"] for name in fold) == city_names(data)
    assert json.loads((tmp_path / "cv" / "scores.json").read_text())["l1c"] == found["l1c"]
    kept = tmp_path / "cv" / "seed-0" / "l1c" / "bern.tif"
    with rasterio.open(kept) as raster, rasterio.open(data / "bern" / "change.tif") as label:
        assert (raster.crs, raster.transform, raster.shape, raster.nodata) == (label.crs, label.transform, label.shape, 255)
    before = kept.stat().st_mtime_ns
    again: list[str] = []
    assert crossvalidate(data, tmp_path / "cv", LONGER, 2, 1, 1, again.append)["l1c"] == found["l1c"]
    assert kept.stat().st_mtime_ns == before
    assert len([line for line in said if line.startswith("Seed")]) == 2
    assert not [line for line in again if line.startswith("Seed")]


def test_a_city_is_predicted_by_a_network_that_never_saw_its_labels(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is predicted for a fold stays the same whatever its own labels say."""
    apart(monkeypatch)
    crossvalidate(data, tmp_path / "one", TINY, 2, 1, 1, lambda text: None)
    folds = json.loads((tmp_path / "one" / "scores.json").read_text())["folds"]
    monkeypatch.setattr("training.crossvalidate.changed_pixels", lambda data: dict.fromkeys(city_names(data), 1))
    monkeypatch.setattr("training.crossvalidate.balanced_folds", lambda *_: [tuple(fold) for fold in folds])
    label = data / folds[0][0] / "change.tif"
    with rasterio.open(label, "r+") as raster:
        raster.write(1 - raster.read(1), 1)
    # Else the cities would still be those that were read before.
    _cities.cache_clear()
    crossvalidate(data, tmp_path / "two", TINY, 2, 1, 1, lambda text: None)
    same = [(tmp_path / run / "seed-0" / "l1c" / f"{folds[0][0]}.tif").read_bytes() for run in ("one", "two")]
    assert same[0] == same[1]


def test_neighbours_share_a_fold_of_the_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of five cities lie 20 km apart, the others a degree and more."""
    around = {name: (float(i), 0.0) for i, name in enumerate(city_names(data))}
    monkeypatch.setattr("training.crossvalidate.centres", lambda data: {**around, "bern": (0.18, 0.0)})
    for folds in (2, 3, 4):
        split = folds_of(data, folds)
        assert len(split) == folds
        assert any({"athens", "bern"} <= set(fold) for fold in split)


def test_level_2a_is_predicted_from_its_imitation_with_the_thresholds_of_images_as_they_are(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(monkeypatch)
    found = crossvalidate(data, tmp_path, TINY, 2, 1, 1, lambda text: None)
    training = [read_city(data / name, TEN_BANDS) for name in city_names(data) if name not in found["folds"][0]]
    statistics = band_statistics(training)
    network = new_network(TINY)
    name = found["folds"][0][0]
    network.load_state_dict(torch.load(tmp_path / "seed-0" / "networks" / f"{name}.pt", weights_only=True)["network"])
    city = read_city(data / name, TEN_BANDS)
    expected = {"l1c": city, "l2a": as_level_2a(city)}
    stored = {variant: read_predictions(tmp_path, 0, [name], variant)[name] for variant in expected}
    for variant, shown in expected.items():
        np.testing.assert_array_equal(stored[variant], predict(network.eval(), laid_out(shown, statistics), TINY))
    assert (stored["l1c"] != stored["l2a"]).any()
    goals = [found[variant]["seeds"][0]["goals"]["f1"]["thresholds"] for variant in expected]
    assert goals[0] == goals[1]
    by_itself = summary([read_predictions(tmp_path, 0, city_names(data), "l2a")], labels_of(data), found["folds"])
    assert by_itself["seeds"][0]["goals"]["f1"]["thresholds"] != goals[1], "its own would be others"


def test_every_fit_begins_with_the_model_that_is_given_and_sees_as_it_does(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(monkeypatch)
    start = str(write_standin(tmp_path, "start"))
    options = replace(TINY, views=("dates",), width=10, depth=1, epochs=1)

    shown = []

    def unfitted(cities: list, options: FitOptions, teachers: object, weights: dict[str, torch.Tensor]) -> torch.nn.Module:
        shown.append([city.images for city in cities])
        network = new_network(options)
        if weights:
            network.load_state_dict(weights)
        return network.eval()

    monkeypatch.setattr("training.crossvalidate.fit", unfitted)
    found = crossvalidate(data, tmp_path / "begun", options, 2, 1, 1, lambda text: None, init=start)
    # What the model itself finds, by its own statistics: all of it.
    of_its_own = [
        laid_out(read_city(data / name, options.bands), ((0.0,) * 10, (1.0,) * 10)).images for name in found["folds"][1]
    ]
    assert all(map(np.array_equal, shown[0], of_its_own))
    assert found["l1c"]["mean"]["f1"] > 0.99
    assert begun_with(saved_options(tmp_path / "begun")) == "every fit begins with start"
    at_random = crossvalidate(data, tmp_path / "not", options, 2, 1, 1, lambda text: None)
    assert at_random["l1c"]["mean"]["f1"] < 0.5
    assert begun_with(saved_options(tmp_path / "not")) == ""
    with pytest.raises(ModelError, match="bands B03, B02, .* cannot begin with start"):
        turned = replace(options, bands=("B03", "B02", *options.bands[2:]))
        crossvalidate(data, tmp_path / "turned", turned, 2, 1, 1, lambda text: None, init=start)
    assert not (tmp_path / "turned").exists()
    with pytest.raises(S2ChangeError, match="holds a run with other options .init"):
        crossvalidate(data, tmp_path / "begun", options, 2, 1, 1, lambda text: None)


def test_a_model_is_not_scored_where_it_was_trained_before(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart(monkeypatch)
    place = {"rome": centres(data)["bern"]}
    start = str(write_standin(tmp_path, "start", training={"cities": ["rome"], "centres": place}))
    monkeypatch.setattr(
        "training.crossvalidate.centres", lambda data: {**dict.fromkeys(city_names(data), (80, 0)), "bern": place["rome"]}
    )
    with pytest.raises(UnreadableInput, match="start was trained within 50 km of bern, so that"):
        options = replace(TINY, views=("dates",), width=10, depth=1)
        crossvalidate(data, tmp_path / "cv", options, 2, 1, 1, lambda text: None, init=start)
    assert not (tmp_path / "cv").exists()


@pytest.mark.parametrize(
    ("level", "bands", "imitated"),
    [("L1C", TEN_BANDS, True), ("L1C", L2A_BANDS, True), ("L1C", ALL_BANDS, False), ("L2A", TEN_BANDS, False)],
)
def test_level_2a_is_imitated_from_level_1c_without_b10_alone(level: str, bands: tuple[str, ...], imitated: bool) -> None:
    assert imitates_level_2a(level, bands) == imitated


def test_a_run_on_data_that_changed_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else predictions of what was there would be scored against what is there now."""
    apart(monkeypatch)

    def again(output: str = "cv", teachers: Path | None = None) -> None:
        crossvalidate(data, tmp_path / output, TINY, 2, 1, 1, lambda text: None, teachers)

    again()
    label, image = data / "bern" / "change.tif", data / "bern" / "after.tif"
    for path, band in ((label, 1), (image, 3)):
        was = path.read_bytes()
        with rasterio.open(path, "r+") as raster:
            changed = raster.read(band)
            changed[40:50, 40:50] ^= 1
            raster.write(changed, band)
        for run in ((), ("other", tmp_path / "cv")):
            with pytest.raises(UnreadableInput, match="cv is of other data: bern is new, gone or changed since"):
                again(*run)
        path.write_bytes(was)
    again()
    shutil.copytree(data / "essen", data / "florence")
    write_record(data, dict.fromkeys(city_names(data), ORIGIN))
    with pytest.raises(UnreadableInput, match="other data: florence is new"):
        again()


def test_a_run_that_goes_on_leaves_its_options_alone_and_damaged_files_are_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(monkeypatch)
    monkeypatch.setattr("training.crossvalidate.fit", lambda cities, options, *_: new_network(options).eval())
    options, scores = (tmp_path / "cv" / name for name in ("options.json", "scores.json"))

    def run() -> None:
        crossvalidate(data, tmp_path / "cv", TINY, 2, 1, 1, lambda text: None)

    run()
    written = options.stat().st_mtime_ns
    scores.write_text("")
    with pytest.raises(UnreadableInput, match=r"scores\.json is damaged .*Give that crossvalidate command once more"):
        saved_scores(tmp_path / "cv")
    run()
    assert saved_scores(tmp_path / "cv")["folds"]
    assert options.stat().st_mtime_ns == written
    options.write_text("")
    with pytest.raises(UnreadableInput, match=r"options\.json is damaged .*Put it back as it was, or choose another folder"):
        run()


@pytest.mark.parametrize(("value", "kind"), [(1, "change"), (0, "no change")])
def test_a_kind_of_label_that_lies_in_one_fold_alone_is_refused_before_anything_is_fitted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: int, kind: str
) -> None:
    """Bern's label alone says it, and athens' where nothing is observed."""
    apart(monkeypatch)
    for name in city_names(data):
        with rasterio.open(data / name / "change.tif", "r+") as raster:
            change = np.full(raster.shape, 1 - value, np.uint8)
            change[:9] = value if name in ("athens", "bern") else 255
            raster.write(change, 1)
    with rasterio.open(data / "athens" / "after.tif", "r+") as raster:
        hidden = raster.read()
        hidden[:, :9] = 0
        raster.write(hidden)
    with pytest.raises(UnreadableInput, match=f"Outside of the fold .*bern.* is labelled as {kind}, so"):
        crossvalidate(data, tmp_path / "cv", TINY, 3, 1, 1, lambda text: None)
    assert not (tmp_path / "cv").exists()


def test_a_folder_with_other_options_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart(monkeypatch)
    (tmp_path / "cv").mkdir()
    saved = {"folds": 2, "epochs": 7, "cities": fingerprints(data)}
    (tmp_path / "cv" / "options.json").write_text(json.dumps(saved))
    with pytest.raises(S2ChangeError, match="epochs 7 instead of 5"):
        crossvalidate(data, tmp_path / "cv", TINY, 2, 1, 1, lambda text: None)
    (tmp_path / "cv" / "options.json").write_text(json.dumps({**saved, "cities": None}))
    with pytest.raises(UnreadableInput, match="did not note its data"):
        crossvalidate(data, tmp_path / "cv", TINY, 2, 1, 1, lambda text: None)


def test_a_folder_from_before_an_option_goes_on_with_its_default_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(monkeypatch)
    crossvalidate(data, tmp_path / "cv", TINY, 2, 1, 1, lambda text: None)
    saved = tmp_path / "cv" / "options.json"
    options = json.loads(saved.read_text())
    assert options.pop("view_cells") == []
    saved.write_text(json.dumps(options))
    said: list[str] = []
    crossvalidate(data, tmp_path / "cv", TINY, 2, 1, 1, said.append)
    assert not [text for text in said if text.startswith("Seed")]
    saved.write_text(json.dumps(options))
    with pytest.raises(S2ChangeError, match=r"view_cells \[\] instead of \[1, 2\]"):
        crossvalidate(data, tmp_path / "cv", replace(TINY, view_cells=(1, 2)), 2, 1, 1, lambda text: None)


def test_a_disk_that_fills_up_leaves_no_prediction_that_counts_as_done(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL itself would close what is cut off without a word."""

    def full(path: Path, content: bytes) -> int:
        path.write_text("cut off")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    target = _path(tmp_path, 0, "bern", "l1c")
    with pytest.raises(OSError, match="No space left"):
        _write(target, np.zeros((96, 128), np.uint8), data / "bern" / "change.tif")
    assert not target.exists()


def test_a_raster_that_is_cut_off_is_named_with_what_to_do(data: Path, tmp_path: Path) -> None:
    label, target = data / "bern" / "change.tif", _path(tmp_path, 0, "bern", "l1c")
    _write(target, np.random.default_rng(0).integers(0, 250, (96, 128), np.uint8), label)
    assert read_predictions(tmp_path, 0, ["bern"])["bern"].shape == (96, 128)
    for path in (target, label):
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableInput, match=r"l1c/bern\.tif cannot be read .*Delete it and give that crossvalidate command"):
        read_predictions(tmp_path, 0, ["bern"])
    with pytest.raises(UnreadableInput, match=r"bern/change\.tif cannot be read .*Make it again"):
        labels_of(data)


def test_teachers_of_a_fold_are_the_networks_that_never_saw_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each seed: each predicts the fold just as its own cross-validation stored it."""
    apart(monkeypatch)
    found = crossvalidate(data, tmp_path / "one", TINY, 2, 2, 1, lambda text: None)
    seen: list[list[torch.nn.Module]] = []

    def fit_as_told(cities, options, teachers, *start):
        seen.append(list(teachers))
        return fit(cities, options, teachers, *start)

    monkeypatch.setattr("training.crossvalidate.fit", fit_as_told)
    student = replace(TINY, views=("difference", "ten-metre"), seed=7)
    crossvalidate(data, tmp_path / "two", student, 2, 1, 1, lambda text: None, tmp_path / "one")
    cities = {name: read_city(data / name, TINY.bands) for name in city_names(data)}
    assert [len(teachers) for teachers in seen] == [2, 2]
    for fold, teachers in zip(found["folds"], seen, strict=True):
        statistics = band_statistics([city for name, city in cities.items() if name not in fold])
        for seed, teacher in enumerate(teachers):
            for name, stored in read_predictions(tmp_path / "one", seed, fold).items():
                assert np.array_equal(predict(teacher, laid_out(cities[name], statistics), TINY), stored)
    saved = json.loads((tmp_path / "two" / "options.json").read_text())
    networks = [(tmp_path / "one" / f"seed-{seed}" / "networks" / f"{fold[0]}.pt") for seed in (0, 1) for fold in found["folds"]]
    known = sha256(b"".join(path.read_bytes() for path in networks)).hexdigest()
    fitted = json.loads(json.dumps(asdict(TINY)))
    assert saved["teachers"] == {"sha256": known, "seeds": [0, 1], "views": ["dates", "difference"], "options": fitted}
    assert FitOptions(**settings_of(tmp_path / "two")) == student
    with pytest.raises(S2ChangeError, match=r"options \(teachers [^()]*'views': \['dates', 'difference'\]\} instead of None\)"):
        crossvalidate(data, tmp_path / "two", student, 2, 1, 1, lambda text: None)


def test_teachers_that_see_otherwise_or_are_missing_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(monkeypatch)
    one = tmp_path / "one"
    found = crossvalidate(data, one, replace(TINY, views=("dates",), epochs=1), 2, 1, 1, lambda text: None)

    def learning(**other: object) -> None:
        crossvalidate(data, tmp_path / "two", replace(TINY, **{"views": ("dates",), **other}), 2, 1, 1, lambda text: None, one)

    for other, said in (
        ({"views": ("difference",)}, "have the views dates, and those that are to learn difference"),
        ({"bands": ("B02", "B03")}, "look at B02, .*, and those that are to learn at B02, B03"),
        ({"architecture": "fc-ef"}, "are two-date-unets, and those that are to learn are fc-ef"),
        ({"depth": 1, "patch": 30}, "need patches of a multiple of 4 pixels, and these have 30"),
    ):
        with pytest.raises(UnreadableInput, match=said):
            learning(**other)
    first = found["folds"][0]
    kept = one / "seed-0" / "networks" / f"{first[0]}.pt"
    torch.save({**torch.load(kept, weights_only=True), "held_out": ["rome"]}, kept)
    with pytest.raises(UnreadableInput, match=f"did not see {first[0]} are of other folds"):
        learning()
    kept.unlink()
    with pytest.raises(UnreadableInput, match=f"has no networks that did not see {', '.join(first)}"):
        learning()
    # Nothing was begun.
    assert not (tmp_path / "two").exists()
    with pytest.raises(UnreadableInput, match="holds no cross-validation"):
        crossvalidate(data, tmp_path / "two", TINY, 2, 1, 1, lambda text: None, tmp_path / "none")


def test_teachers_are_known_by_their_networks_wherever_they_are(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart(monkeypatch)
    monkeypatch.setattr("training.crossvalidate.fit", lambda cities, options, *_: new_network(options).eval())
    said: list[str] = []

    def run(name: str, teachers: Path | None = None, **other: object) -> None:
        crossvalidate(data, tmp_path / name, replace(TINY, **other), 2, 1, 1, said.append, teachers)

    run("one")
    run("two", tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "moved")
    said.clear()
    run("two", tmp_path / "moved")
    assert not [text for text in said if text.startswith("Seed")]
    run("one", width=5)
    with pytest.raises(S2ChangeError, match="holds a run with other options .teachers"):
        run("two", tmp_path / "one")
    saved = tmp_path / "two" / "options.json"
    options = json.loads(saved.read_text())
    by_place = {"folder": str(tmp_path / "moved"), "seeds": [0], "views": ["dates", "difference"]}
    saved.write_text(json.dumps({**options, "teachers": by_place}))
    with pytest.raises(UnreadableInput, match="noted of its teachers only where they were"):
        run("two", tmp_path / "moved")


def test_teachers_that_began_otherwise_are_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be shown images in other means and deviations than their own."""
    apart(monkeypatch)
    monkeypatch.setattr("training.crossvalidate.fit", lambda cities, options, *_: new_network(options).eval())
    start, options = str(write_standin(tmp_path, "start")), replace(TINY, views=("dates",), width=10, depth=1)

    def run(name: str, init: str | None, teachers: Path | None = None) -> None:
        crossvalidate(data, tmp_path / name, options, 2, 1, 1, lambda text: None, teachers, init)

    run("random", None)
    run("begun", start)
    with pytest.raises(UnreadableInput, match="random began with random weights, and those that are to learn with start"):
        run("student", start, tmp_path / "random")
    with pytest.raises(UnreadableInput, match="begun began with start, and those that are to learn with random weights"):
        run("student", None, tmp_path / "begun")
    assert not (tmp_path / "student").exists()
    run("student", start, tmp_path / "begun")


def test_places_come_from_the_labels_grids(data: Path) -> None:
    lon, lat = centres(data)["bern"]
    assert lon == pytest.approx(3.034, abs=0.01)
    assert lat == pytest.approx(45.15, abs=0.02)
    assert neighbours(centres(data)) == [tuple(city_names(data))]


def test_a_wrong_setting_gets_one_sentence(data: Path, tmp_path: Path) -> None:
    for setting, text in (("stpes=3", "no training option 'stpes'"), ("loss=mse", "loss 'mse'"), ("patch=40", "patch 40")):
        done = CliRunner().invoke(main, ["crossvalidate", str(data), "--output", str(tmp_path / "cv"), "--set", setting])
        assert done.exit_code == 2
        assert text in done.output
    assert np.size(list((tmp_path).glob("cv"))) == 0
