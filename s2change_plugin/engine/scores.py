"""How well a mask agrees with the truth: confusion, F1, precision, recall, IoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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

    def as_dict(self) -> dict[str, float]:
        """The scores, rounded for reading, and the number of pixels."""
        names = ("f1", "precision", "recall", "iou", "prevalence")
        return {**{name: round(getattr(self, name), 4) for name in names}, "pixels": self.tp + self.fp + self.fn + self.tn}


def confusion(found: NDArray[Any], truth: NDArray[Any]) -> Confusion:
    """Confusion of a mask with the truth, both 0/1 with 255 for what does not count, of one shape."""
    counts = (found != 255) & (truth != 255)
    said, true = found[counts] == 1, truth[counts] == 1
    tp, positive, change = int((said & true).sum()), int(said.sum()), int(true.sum())
    return Confusion(tp, positive - tp, change - tp, said.size - positive - change + tp)


def by_threshold(levels: NDArray[np.uint8], truth: NDArray[np.uint8]) -> list[Confusion]:
    """Confusion at each of the thresholds 0, 0.004 … 1, from stored probability (0–250, 255 not observed)."""
    counts = (levels != 255) & (truth != 255)
    change = np.bincount(levels[counts & (truth == 1)], minlength=251)[::-1].cumsum()[::-1]
    calm = np.bincount(levels[counts & (truth == 0)], minlength=251)[::-1].cumsum()[::-1]
    return [Confusion(int(tp), int(fp), int(change[0] - tp), int(calm[0] - fp)) for tp, fp in zip(change, calm, strict=True)]
