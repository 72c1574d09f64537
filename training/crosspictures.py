"""Pictures of a cross-validation: cities side by side with what was found, precision–recall curves, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from s2change_plugin.engine.outputs import NOT_OBSERVED, to_mask
from s2change_plugin.engine.pictures import stretched_alike
from s2change_plugin.engine.scores import AGREEMENT_COLOURS, NOT_COUNTED, Agreement, agreement
from s2change_plugin.engine.validity import Codes

from .calibrate import ABOVE, CARRIED, Curve
from .prepare import City

matplotlib.use("agg")

from matplotlib import pyplot as plt
from matplotlib.layout_engine import ConstrainedLayoutEngine

Picture = NDArray[np.float32]

PROBABILITY_COLOURS = "magma_r"
_GREY = np.array(AGREEMENT_COLOURS[NOT_COUNTED], np.float32) / 255
_PALETTE = np.zeros((256, 3), np.float32)
_PALETTE[list(AGREEMENT_COLOURS)] = np.array(list(AGREEMENT_COLOURS.values())) / 255
# Change of the truth in black on the paper of the errors.
_TRUTH = np.tile(_GREY, (256, 1))
_TRUTH[:2] = _PALETTE[Agreement.TRUE_NEGATIVE], (0.1, 0.1, 0.1)
_PANEL_INCHES, _DPI, _FINE_DPI = 4.0, 100, 180
# This run, then rivals in Okabe and Ito's colours.
_OWN, _RIVALS = "#d50057", ("#0072b2", "#009e73", "#e69f00", "#56b4e9", "#cc79a7")
# What needs no labels, in greys: the first broad and pale, so that a later one is seen where it runs along it.
_PLAIN = (("#b5b5b5", "-", 3.6), ("#777777", "--", 1.6), ("#111111", ":", 1.6))
# Of each kind of calibration; the one that cards carry in this run's colour.
_CALIBRATIONS = {"none": "#999999", "temperature": _RIVALS[0], CARRIED: _OWN, "isotonic": _RIVALS[1]}


@dataclass(frozen=True)
class Line:
    """A line of the precision–recall plot.

    Attributes:
        name: in the legend.
        points: (point, 2) recall and precision.
        kind: "own", "rival" or "plain".
        marked: recall and precision at the method's own threshold.
    """

    name: str
    points: NDArray[np.float64]
    kind: str
    marked: tuple[float, float]


def city_picture(city: City, levels: Codes, calibrated: Curve, threshold: float) -> bytes:
    """JPEG of five panels: before | after | truth | probability | errors.

    The dates are in true colour with one stretch; what was not observed is grey in all panels.

    Args:
        city: with the three bands that are shown as red, green and blue.
        levels: stored out-of-fold probability.
        calibrated: the probability that each level is shown as.
        threshold: of the stored probability, as `to_mask` takes it.
    """
    unseen = levels == NOT_OBSERVED
    before, after = stretched_alike(city.before, city.after)
    before[unseen], after[unseen] = _GREY, _GREY
    shade = np.append(calibrated, np.zeros(256 - len(calibrated)))[levels]
    probability: Picture = matplotlib.colormaps[PROBABILITY_COLOURS](shade)[..., :3].astype(np.float32)
    probability[unseen] = _GREY
    panels = {
        "Before": before,
        "After": after,
        "Truth": _TRUTH[np.where(unseen, NOT_OBSERVED, city.change)],
        "Probability": probability,
        "Errors": _PALETTE[agreement(to_mask(levels, threshold), city.change)],
    }
    height, width = levels.shape
    size = (_PANEL_INCHES * len(panels), _PANEL_INCHES * height / width + 0.3)
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01))
    for axis, (title, image) in zip(axes, panels.items(), strict=True):
        axis.imshow(image)
        axis.set_title(title, fontsize=13)
        axis.set(xticks=[], yticks=[])
    return _drawn(figure, "jpg", _DPI)


def curves_picture(lines: Sequence[Line], goals: dict[str, tuple[float, float]], prevalence: float) -> bytes:
    """PNG of precision over recall; all that is drawn is named beside it, where no line runs.

    Args:
        lines: in the order of the legend.
        goals: recall and precision that this run's other thresholds reach out of fold, by what they are called.
        prevalence: the precision of calling everything change.
    """
    figure, axis = plt.subplots(figsize=(9.4, 6.2), layout="constrained")
    _draw_f1(axis)
    styles = {
        "own": ((_OWN, "-", 2.6),),
        "rival": tuple((colour, "-", 1.6) for colour in _RIVALS),
        "plain": _PLAIN,
    }
    drawn = dict.fromkeys(styles, 0)
    for line in lines:
        nth, drawn[line.kind] = drawn[line.kind], drawn[line.kind] + 1
        colour, dash, width = styles[line.kind][nth % len(styles[line.kind])]
        recall, precision = line.points.T
        axis.plot(recall, precision, dash, color=colour, linewidth=width, label=line.name, zorder=3 if line.kind == "own" else 2)
        axis.plot(*line.marked, "o", color=colour, markersize=7, markeredgecolor="white", zorder=4)
    axis.axhline(prevalence, color="#bbbbbb", linewidth=1, label="everything called change")
    # For the legend alone: the dots have the colours of their lines.
    axis.plot([], [], "o", color="#777777", markersize=7, label="own threshold (F1 where fitted)")
    for (name, place), marker in zip(goals.items(), "DsP", strict=False):
        axis.plot(*place, marker, color=_OWN, markersize=9, markeredgecolor="white", zorder=5, linestyle="none", label=name)
    axis.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="Recall", ylabel="Precision")
    axis.grid(alpha=0.2)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.09, 1), frameon=False, fontsize=10)
    return _drawn(figure, "png", _FINE_DPI)


def reliability_picture(bins: dict[str, Sequence[Sequence[Sequence[float]]]]) -> bytes:
    """PNG of true over predicted shares of change.

    Args:
        bins: kind of calibration, of `calibrate.CALIBRATIONS`, to, for each seed, (predicted, true) of each bin; a seed without
            bins has no line, and the legend says so.
    """
    figure, axis = plt.subplots(figsize=(6.2, 5.6), layout="constrained")
    axis.plot([0, 1], [0, 1], color="#888888", linewidth=1)
    axis.text(0.97, 0.94, "as predicted", rotation=45, ha="right", va="top", color="#888888", fontsize=9, rotation_mode="anchor")
    for name, seeds in bins.items():
        style: Any = {"color": _CALIBRATIONS[name], "zorder": 3 if name == CARRIED else 2}
        there = [one for one in seeds if one]
        label = name if len(there) == len(seeds) else f"{name} ({len(there)} of {len(seeds)} seeds)"
        for number, points in enumerate(there):
            said, true = np.transpose(points)
            axis.plot(said, true, "o-", markersize=4, linewidth=1.5, alpha=0.8, label=None if number else label, **style)
        if not there:
            axis.plot([], [], linestyle="none", label=f"{name} (no line: too few pixels above {ABOVE:g})")
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="Predicted probability of change", ylabel="Share that truly changed")
    axis.set_aspect("equal")
    axis.grid(alpha=0.2)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", frameon=False, title="Calibration", alignment="left")
    return _drawn(figure, "png", _FINE_DPI)


def ramp(colours: int = 12) -> list[str]:
    """The colours of probability from 0 to 1, as a page writes them."""
    return [matplotlib.colors.to_hex(matplotlib.colormaps[PROBABILITY_COLOURS](at)) for at in np.linspace(0, 1, colours)]


def _draw_f1(axis: Any) -> None:
    """Lines of equal F1."""
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recall = np.linspace(f1 / (2 - f1), 1, 200)
        axis.plot(recall, f1 * recall / (2 * recall - f1), color="#dddddd", linewidth=1, zorder=1)
        # Where it leaves the plot below the corner.
        axis.text(1.0, f1 / (2 - f1), f" F1 {f1}", color="#999999", fontsize=8, va="center", clip_on=False)


def _drawn(figure: Any, kind: str, dpi: int) -> bytes:
    drawn = BytesIO()
    # Change is small and coloured: its colours keep their full resolution.
    options = {"pil_kwargs": {"quality": 82, "subsampling": 0}} if kind == "jpg" else {}
    figure.savefig(drawn, dpi=dpi, format=kind, bbox_inches="tight", pad_inches=0.05, **options)
    plt.close(figure)
    return drawn.getvalue()
