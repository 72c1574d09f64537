from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from s2change_plugin.engine.evidence import INDICES, NAMES, Evidence, pixels_of, values_of
from s2change_plugin.engine.pair import PairWindow

BANDS = ("B03", "B04", "B08", "B11")
QUALITY = np.zeros((2, 3), np.uint8)
LEVELS = np.arange(6, dtype=np.uint8).reshape(2, 3)


def seen(before: np.ndarray, after: np.ndarray) -> PairWindow:
    return PairWindow(before.astype(np.float32), after.astype(np.float32), QUALITY)


def test_of_each_changed_pixel_both_dates_indices_are_kept_row_by_row() -> None:
    before, after = np.random.default_rng(0).uniform(0.02, 0.6, (2, 4, 2, 3))
    changed = np.array([[True, False, True], [False, True, False]])
    found = pixels_of(changed, LEVELS, seen(before, after), BANDS)
    assert found[0].tolist() == [0, 2, 4]
    for name, stored in zip(NAMES, found[1:], strict=True):
        index, date = name.split("_")
        one, other = ((before if date == "before" else after)[BANDS.index(band)][changed] for band in INDICES[index])
        assert values_of(stored) == pytest.approx((one - other) / (one + other), abs=0.0041), name


@pytest.mark.parametrize(
    ("red", "infrared", "value"),
    [(0.3, -0.1, -1.0), (-0.01, 0.4, 1.0), (0.0, 0.0, np.nan), (-0.2, 0.1, np.nan), (np.nan, 0.1, np.nan)],
)
def test_an_index_lies_between_its_ends_or_is_not_known(red: float, infrared: float, value: float) -> None:
    date = np.full((4, 2, 3), 0.1)
    date[1:3] = np.array([red, infrared])[:, None, None]
    found = pixels_of(QUALITY == 0, LEVELS, seen(date, date), BANDS)
    assert values_of(found[1]) == pytest.approx(np.full(6, value), nan_ok=True)


def test_what_lacks_one_of_its_bands_is_not_known() -> None:
    date = np.full((3, 2, 3), 0.1)
    found = pixels_of(QUALITY == 0, LEVELS, seen(date, date), BANDS[:3])
    assert [bool(np.isfinite(values_of(row)).all()) for row in found[1:]] == [True, True, False, False, False, False]


def test_a_disk_that_is_full_does_not_speak_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed first has been said; what still waits to be written then is not worth a word."""
    monkeypatch.setattr("s2change_plugin.engine.evidence.TemporaryFile", lambda dir: open("/dev/full", "wb"))  # noqa: SIM115
    evidence = Evidence(tmp_path)
    evidence.add(Window(0, 0, 3, 2), np.zeros((1 + len(NAMES), 6), np.uint8))
    evidence.close()


def test_windows_come_back_as_they_were_kept_and_twice(tmp_path: Path) -> None:
    evidence = Evidence(tmp_path)
    kept = [(Window(col, 0, 3, 2), np.full((1 + len(NAMES), count), col, np.uint8)) for col, count in ((0, 4), (3, 0), (6, 6))]
    for part in kept:
        evidence.add(*part)
    for _ in range(2):
        for (window, pixels), (known, values) in zip(evidence.windows(), kept, strict=True):
            assert window == known
            np.testing.assert_array_equal(pixels, values)
    evidence.close()
    assert not any(tmp_path.iterdir())
