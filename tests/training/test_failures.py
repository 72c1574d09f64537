from pathlib import Path

import numpy as np
import pytest

from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.labelled import write_city
from tests.training.conftest import GRID
from training.failures import KINDS, failures, kinds_of, sentences
from training.prepare import City

# Blue, green, red, near infrared.
FIELD, SOIL, LAKE, ROOF, DARK = (
    (0.05, 0.08, 0.05, 0.40),
    (0.12, 0.14, 0.16, 0.20),
    (0.08, 0.07, 0.05, 0.03),
    (0.3, 0.3, 0.3, 0.3),
    (0.02, 0.02, 0.02, 0.03),
)


def city(before: tuple[float, ...], after: tuple[float, ...]) -> City:
    images = [np.tile(np.float32(date)[:, None, None], (1, 4, 4)) for date in (before, after)]
    return City("x", ("B02", "B03", "B04", "B08"), images[0], images[1], np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (FIELD, SOIL, "season"),
        (SOIL, FIELD, "season"),
        (LAKE, LAKE, "water"),
        (SOIL, LAKE, "water"),
        (SOIL, DARK, "shade"),
        (DARK, DARK, "rest"),
        (SOIL, ROOF, "rest"),
    ],
)
def test_each_pixel_is_of_one_kind(before: tuple[float, ...], after: tuple[float, ...], kind: str) -> None:
    found = kinds_of(city(before, after))
    assert {name: bool(place.all()) for name, place in found.items()} == {name: name == kind for name in KINDS}
    assert sum(place.astype(int) for place in found.values()).max() == 1


def test_false_change_is_counted_where_it_lies(tmp_path: Path) -> None:
    """The upper half is fields that were ploughed, the lower half roofs; change is found in a block of each, wrongly above."""
    places = {"B02": 0, "B03": 1, "B04": 2, "B08": 3}
    dates = []
    for upper in (FIELD, SOIL):
        image = np.full((10, *GRID.shape), 0.3, np.float32)
        for band, place in places.items():
            image[TEN_BANDS.index(band), :48] = upper[place]
        dates.append(image)
    change = np.zeros(GRID.shape, np.uint8)
    change[60:70, :30] = 1
    write_city(tmp_path / "bern", (dates[0], dates[1]), change, TEN_BANDS, GRID)
    mask = change.copy()
    mask[10:20, :10] = 1
    mask[60:62] = 0
    found = failures(tmp_path, [{"bern": mask}, {"bern": mask}], TEN_BANDS)
    kinds = found["kinds"]
    assert kinds["season"]["share"] == pytest.approx(0.5)
    assert (kinds["season"]["precision"], kinds["season"]["share_of_false_change"]) == (0, 1)
    assert (kinds["rest"]["precision"], kinds["rest"]["recall"]) == (1, pytest.approx(0.8))
    cities = {
        "bern": {"f1": 0.5, "prevalence": 0.02},
        "rome": {"f1": 0.25, "prevalence": 0.1},
        "calm": {"f1": 0, "prevalence": 0},
    }
    said = sentences(found, cities)
    assert any("vegetation" in one and "100 % of all false change" in one for one in said)
    assert not any("water" in one for one in said)
    assert said[-1] == "Of the cities, F1 is lowest in rome (0.25), bern (0.50)."


def test_ground_that_changed_otherwise_than_the_labels_mean_is_counted_apart(tmp_path: Path) -> None:
    """A field was burnt, which no label calls change; the mask calls half of it change, and a tenth of what is as it was."""
    before = np.random.default_rng(0).uniform(0.1, 0.3, (10, *GRID.shape)).astype(np.float32)
    after = before + np.random.default_rng(1).normal(0, 0.005, before.shape).astype(np.float32)
    after[:, :10] += 0.2
    change, mask = np.zeros((2, *GRID.shape), np.uint8)
    mask[:5] = 1
    mask[10:, ::10] = 1
    write_city(tmp_path / "bern", (before, after), change, TEN_BANDS, GRID)
    found = failures(tmp_path, [{"bern": mask}], TEN_BANDS)
    assert found["other"]["share"] == pytest.approx(10 / GRID.height, abs=0.01)
    assert found["other"]["called_change"] == pytest.approx(0.5, abs=0.01)
    assert found["other"]["rest_called_change"] == pytest.approx(0.1, abs=0.01)
    assert any("50 % is called change, of the rest 10." in one for one in sentences(found, {"bern": {"f1": 0, "prevalence": 0}}))


def test_without_the_bands_that_tell_kinds_of_ground_the_rest_is_still_counted(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(0.1, 0.3, (2, *GRID.shape)).astype(np.float32)
    write_city(tmp_path / "bern", (image, image), np.zeros(GRID.shape, np.uint8), ("B11", "B12"), GRID)
    found = failures(tmp_path, [{"bern": np.zeros(GRID.shape, np.uint8)}], ("B11", "B12"))
    assert found == {"kinds": {}, "other": {"share": 0, "called_change": 0, "rest_called_change": 0}}
    assert sentences(found, {"bern": {"f1": 0, "prevalence": 0}}) == ("Of the cities, F1 is lowest in bern (0.00).",)
