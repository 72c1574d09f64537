import numpy as np
import pytest

from s2change_plugin.engine.scores import (
    Agreement,
    Confusion,
    agreement,
    calibrated,
    confusion,
    confusion_of,
    crosstab,
)

TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 255], np.uint8)


def test_scores_are_those_counted_by_hand() -> None:
    found = np.array([1, 1, 0, 1, 0, 0, 255, 1], np.uint8)
    one = confusion(found, TRUTH)
    assert one == Confusion(tp=2, fp=1, fn=1, tn=2)
    assert (one.precision, one.recall, one.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert one.iou == 0.5
    assert one.prevalence == 0.5


def test_an_empty_map_scores_nothing_whatever_its_accuracy() -> None:
    one = confusion(np.zeros(8, np.uint8), TRUTH)
    assert (one.f1, one.precision, one.recall, one.iou) == (0, 0, 0, 0)


def test_kappa_is_agreement_beyond_chance() -> None:
    # Cohen's definition, with the shares written out.
    one = Confusion(tp=20, fp=5, fn=10, tn=65)
    by_chance = 0.25 * 0.30 + 0.75 * 0.70
    assert one.kappa == pytest.approx((0.85 - by_chance) / (1 - by_chance))
    assert one.accuracy == 0.85
    assert Confusion(tp=3, tn=7).kappa == 1
    assert Confusion(tp=4, fp=16, fn=16, tn=64).kappa == 0, "said with the right frequency, and independently of the truth"
    assert Confusion(tp=2, fn=8, fp=8, tn=2).kappa < 0


def test_an_empty_map_has_no_kappa_whatever_its_accuracy() -> None:
    one = Confusion(fn=1, tn=999)
    assert one.accuracy == 0.999
    assert one.kappa == 0
    assert Confusion(tn=5).kappa == 0


def test_a_whole_tile_is_counted_exactly() -> None:
    assert Confusion(tp=5 * 10**9, fp=0, fn=0, tn=10**10).kappa == 1


def test_every_pixel_is_in_one_cell_and_gets_its_code() -> None:
    said, true = (values.ravel().astype(np.uint8) for values in np.meshgrid([0, 1, 255], [0, 1, 255], indexing="ij"))
    table = crosstab(said.reshape(3, 3), true.reshape(3, 3))
    np.testing.assert_array_equal(table, np.ones((3, 3)))
    assert agreement(said, true).tolist() == [0, 3, 255, 2, 1, 255, 255, 255, 255]
    codes = [Agreement.TRUE_NEGATIVE, Agreement.FALSE_NEGATIVE, Agreement.FALSE_POSITIVE, Agreement.TRUE_POSITIVE]
    one = confusion_of(np.array([[1, 2, 9], [3, 4, 9], [9, 9, 9]]))
    assert (one.tn, one.fn, one.fp, one.tp) == (1, 2, 3, 4)
    assert codes == [0, 3, 2, 1]


def test_a_calibration_keeps_the_order_and_does_nothing_where_it_is_none() -> None:
    logits = np.linspace(-30, 30, 601, dtype=np.float32)
    plain = calibrated(logits, (0, 1, 1))
    assert plain.dtype == np.float32
    assert plain == pytest.approx(1 / (1 + np.exp(-logits.astype(float))), abs=1e-6)
    assert calibrated(logits, (-0.7, 0.4, 0.4)) == pytest.approx(1 / (1 + np.exp(0.7 - 0.4 * logits.astype(float))), abs=1e-6)
    bent = calibrated(logits, (-1, 2, 0.5))
    assert (np.diff(bent) >= 0).all()
    p = 1 / (1 + np.exp(-1.3))
    assert float(calibrated(np.array([1.3]), (-1, 2, 0.5))[0]) == pytest.approx(1 / (1 + np.exp(1) / (p**2 / (1 - p) ** 0.5)))
