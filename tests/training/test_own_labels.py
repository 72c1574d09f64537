"""From polygons of one's own to a model, by the commands alone."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
from click.testing import CliRunner
from shapely.geometry import box

from s2change_plugin.engine.__main__ import main as engine
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.labelled import city_names
from s2change_plugin.engine.model import load_model
from tests.conftest import textured, write_stack
from tests.standin import write_standin
from training.__main__ import main as training
from training.prepare import read_city


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two dates of 260 × 520 pixels, and the polygons of twelve blocks that became bright."""
    before = textured(10, 260, 520, 4)
    after, shapes = before.copy(), []
    for number in range(12):
        row, col = 20 + 120 * (number % 2), 20 + 80 * (number // 2)
        after[:, row : row + 30, col : col + 40] += 3000
        shapes.append(box(500000 + 10 * col, 5000000 - 10 * (row + 30), 500000 + 10 * (col + 40), 5000000 - 10 * row))
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32631").to_file(tmp_path / "change.gpkg")
    dates = [write_stack(tmp_path / f"{name}.tif", values) for name, values in (("before", before), ("after", after))]
    return [*dates, tmp_path / "change.gpkg"]


def call(command: object, *arguments: object) -> str:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_polygons_of_ones_own_lead_to_a_model(pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "models"))
    data, run = tmp_path / "data", tmp_path / "run"
    groups = json.loads(
        call(engine, "chips", *pair, data, "--name", "mine", "--block", 2600, "--clouds", "none", "--level", "L1C", "--json")
    )["groups"]
    assert groups == city_names(data) == ["mine-r1c1", "mine-r1c2"]
    small = ("--epochs", 1, "--patch", 32, "--batch", 4, "--validation", "mine-r1c2")
    said = call(training, "train", data, "--output", run, "--init", write_standin(tmp_path, "start"), *small)
    assert "held out: mine-r1c2" in said
    call(training, "export", run, "mine")
    assert "mine" in [one["name"] for one in json.loads(call(engine, "models", "--json"))]
    card = load_model("mine").card
    assert "own labels (change.gpkg, on before.tif and after.tif): mine-r1c1" in card.trained_on
    assert "not stated by whoever drew the labels" in card.licence
    assert "Within 50 km" in card.protocol
    # Which of the goals are in reach is for the labels to say; the best F1 always is.
    assert "f1" in card.thresholds


def test_what_was_exported_in_a_trusted_unit_is_trained_on(tmp_path: Path) -> None:
    """Its cirrus band sees ground, which is refused where nobody has said that it is right."""
    dates = []
    for name, seed in (("before", 4), ("after", 5)):
        image = np.concatenate([textured(10, 200, 220, seed), textured(1, 200, 220, seed)])
        dates.append(write_stack(tmp_path / f"{name}.tif", image, [*TEN_BANDS, "B10"], scale=1e-4))
    geopandas.GeoDataFrame(geometry=[box(500500, 4999000, 500900, 4999400)], crs="EPSG:32631").to_file(tmp_path / "change.gpkg")
    asked = (*dates, tmp_path / "change.gpkg", tmp_path / "data", "--name", "mine", "--clouds", "none")
    call(engine, "chips", *asked, "--trust-units", "--level", "L1C")
    assert (read_city(tmp_path / "data" / "mine", TEN_BANDS).change == 1).sum() == 40 * 40


def test_what_is_exported_is_what_training_reads(pair: list[Path], tmp_path: Path) -> None:
    said = json.loads(
        call(engine, "chips", *pair, tmp_path / "data", "--name", "mine", "--clouds", "none", "--level", "L1C", "--json")
    )
    city = read_city(tmp_path / "data" / "mine", TEN_BANDS)
    assert ((city.change == 1).sum(), (city.change == 0).sum()) == (said["change_pixels"], said["no_change_pixels"])
    assert said["change_pixels"] == 12 * 30 * 40
    brighter = (city.after - city.before).mean(0)
    np.testing.assert_allclose(brighter[city.change == 1], 0.3, atol=0.01)
    np.testing.assert_allclose(brighter[city.change == 0], 0, atol=0.01)
