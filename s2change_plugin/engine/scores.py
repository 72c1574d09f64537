"""How well a mask agrees with the truth: confusion, F1, precision, recall, IoU, kappa."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOT_COUNTED = 255
# Offset, and the weights of ln p and of −ln(1 − p), of a calibration.
Beta = tuple[float, float, float]

# What a model's threshold can be chosen for: the best F1, or the best recall (precision) that a precision (recall) of 0.8 leaves.
GOALS = {"f1": "the best balance (F1)", "precision": "few false alarms (precision 0.8)", "recall": "little missed (recall 0.8)"}


def calibrated(logits: NDArray[Any], calibration: Beta) -> NDArray[Any]:
    """Calibrated probability, 0–1, of a network's logits, of the same shape and type.

    With p the probability as the network gives it, the calibrated logit is c + a ln p − b ln(1 − p); with a = b it is a line through the
    logit (Platt 1999), with c = 0 as well its temperature (Guo et al. 2017).

    Args:
        logits: of any shape.
        calibration: c, a and b; a and b are positive, so that the order of pixels stays.

    Source: Kull, Silva Filho, Flach 2017, "Beta calibration: a well-founded and easily implemented improvement on logistic
    calibration for binary classifiers".
    """
    offset, rising, falling = (logits.dtype.type(value) for value in calibration)
    # ln(1 + exp(logit)), from which the other logarithm is the logit away; an exponential that cannot overflow.
    softplus = np.maximum(logits, 0) + np.log(1 + np.exp(-np.abs(logits)))
    z = offset + rising * logits + (falling - rising) * softplus
    # As tanh, nothing overflows.
    return np.asarray((1 + np.tanh(z / 2)) / 2, logits.dtype)


class Agreement(IntEnum):
    """Codes of the confusion raster; `NOT_COUNTED` where the mask was not observed or the truth is not known."""

    TRUE_NEGATIVE = 0
    TRUE_POSITIVE = 1
    FALSE_POSITIVE = 2
    FALSE_NEGATIVE = 3


AGREEMENT_NAMES: dict[int, str] = {
    Agreement.TRUE_NEGATIVE: "true negative (no change)",
    Agreement.TRUE_POSITIVE: "true positive (found)",
    Agreement.FALSE_POSITIVE: "false positive (false alarm)",
    Agreement.FALSE_NEGATIVE: "false negative (missed)",
    NOT_COUNTED: "not counted",
}
# Told apart by the colour-blind too: Okabe and Ito's green, orange and blue.
AGREEMENT_COLOURS: dict[int, tuple[int, int, int]] = {
    Agreement.TRUE_NEGATIVE: (242, 242, 242),
    Agreement.TRUE_POSITIVE: (0, 158, 115),
    Agreement.FALSE_POSITIVE: (230, 159, 0),
    Agreement.FALSE_NEGATIVE: (0, 114, 178),
    NOT_COUNTED: (150, 150, 150),
}
# By what a mask says (row) and what is true (column): no change, change, not known.
_CODES = np.array(
    [
        [Agreement.TRUE_NEGATIVE, Agreement.FALSE_NEGATIVE, NOT_COUNTED],
        [Agreement.FALSE_POSITIVE, Agreement.TRUE_POSITIVE, NOT_COUNTED],
        [NOT_COUNTED, NOT_COUNTED, NOT_COUNTED],
    ],
    np.uint8,
)


@dataclass(frozen=True)
class Confusion:
    """Pixels by what was said and what was true; change is positive.

    Attributes:
        tp, fp, fn, tn: pixels.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        """Both pooled."""
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def precision(self) -> float:
        """Share of the found change that is true; 0 where nothing was found."""
        return self.tp / max(1, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true change that was found; 0 where there is none."""
        return self.tp / max(1, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, of the change class."""
        return 2 * self.tp / max(1, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Intersection over union of the change class."""
        return self.tp / max(1, self.tp + self.fp + self.fn)

    @property
    def prevalence(self) -> float:
        """Share of all pixels that truly changed."""
        return (self.tp + self.fn) / max(1, self.tp + self.fp + self.fn + self.tn)

    @property
    def accuracy(self) -> float:
        """Share of all pixels on which both agree; an empty map has nearly 1 where change is rare, so never a score by itself."""
        return (self.tp + self.tn) / max(1, self.tp + self.fp + self.fn + self.tn)

    @property
    def kappa(self) -> float:
        """Agreement beyond what chance gives: 1 is full, 0 no better than chance; 0 where chance alone explains all.

        Source: Cohen 1960, Educational and Psychological Measurement 20(1), 37–46: (p_o − p_e) / (1 − p_e), here times n² above
        and below, so that it is exact in integers.
        """
        beyond = 2 * (self.tp * self.tn - self.fp * self.fn)
        room = (self.tp + self.fp) * (self.fp + self.tn) + (self.tp + self.fn) * (self.fn + self.tn)
        return beyond / max(1, room)

    def as_dict(self) -> dict[str, float]:
        """The scores, rounded for reading, and the number of pixels."""
        names = ("f1", "precision", "recall", "iou", "kappa", "accuracy", "prevalence")
        return {**{name: round(getattr(self, name), 4) for name in names}, "pixels": self.tp + self.fp + self.fn + self.tn}


def confusion(found: NDArray[Any], truth: NDArray[Any]) -> Confusion:
    """Confusion of a mask with the truth, both 0/1 with 255 for what does not count, of one shape."""
    return confusion_of(crosstab(found, truth))


def crosstab(found: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.int64]:
    """Pixels by what a mask says (row) and what is true (column), each no change, change, not known: (3, 3).

    Args:
        found, truth: 0/1 with 255 for what is not known, of one shape.
    """
    cells = 3 * np.minimum(found, 2) + np.minimum(truth, 2)
    return np.bincount(cells.ravel(), minlength=9).reshape(3, 3)


def confusion_of(table: NDArray[np.int64]) -> Confusion:
    """The confusion in a table of `crosstab`."""
    (tn, fn), (fp, tp) = table[:2, :2].tolist()
    return Confusion(tp=tp, fp=fp, fn=fn, tn=tn)


def agreement(found: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.uint8]:
    """Code of each pixel, an `Agreement` or `NOT_COUNTED`, from what `crosstab` takes: uint8 of the same shape."""
    return np.asarray(_CODES[np.minimum(found, 2), np.minimum(truth, 2)])
