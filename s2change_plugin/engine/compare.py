"""How well a change mask agrees with a reference: scores, the confusion as raster and table, and a page about it."""

from __future__ import annotations

import csv
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import outputs
from .errors import NothingObserved, UnreadableInput
from .events import Events
from .files import without_queries
from .grid import Grid, name_of, pixel_area_m2, windows
from .outputs import REVIEWED, Layer, RasterWriter, require_apart, require_ending, resolved_path
from .pictures import agreement_picture
from .reference import Labels, open_change_mask, open_reference
from .report import version, write_compare_report
from .scores import AGREEMENT_COLOURS, AGREEMENT_NAMES, agreement, confusion_of, crosstab

_WINDOW = 512
CONFUSION = Layer(("agreement with the reference",), "nearest", AGREEMENT_NAMES, AGREEMENT_COLOURS)
# Rows and columns of the table.
_SAYS = ("no change", "change", "not observed")
_IS = ("no change", "change", "unlabelled")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """A mask and its reference, as asked for.

    Attributes:
        mask: raster of 1 change, 0 no change, 255 not observed.
        reference, labelled, change_value: see `reference.open_reference`.
        confusion: raster of `scores.Agreement` to write.
        table: CSV to write, pixels and hectares by what the mask and what the reference says.
        report: HTML page to write.
    """

    mask: str
    reference: str
    labelled: str | None = None
    change_value: float | None = None
    confusion: Path | None = None
    table: Path | None = None
    report: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UnreadableInput: the mask is its own reference.
            OutputError: two outputs in one file, an output in place of an input, or one with another format's ending.
        """
        if resolved_path(self.mask) == resolved_path(self.reference):
            raise UnreadableInput(f"{self.mask} is both mask and reference. Give what the mask is to be measured against.")
        require_apart((self.mask, self.reference, self.labelled), self.targets)
        require_ending("raster", self.confusion)
        require_ending("table", self.table)
        require_ending("report", self.report)

    @property
    def targets(self) -> list[Path]:
        """The files that are asked for."""
        return [path for path in (self.confusion, self.table, self.report) if path is not None]


@dataclass(frozen=True)
class Tally:
    """What was counted: by what the mask says (row: no change, change, not observed) and what the reference says (column: no
    change, change, unlabelled).

    Attributes:
        pixels: (3, 3).
        hectares: (3, 3), on the ellipsoid.
    """

    pixels: NDArray[np.int64]
    hectares: NDArray[np.float64]


def compare(options: EvaluationOptions, events: Events) -> None:
    """Measure a mask against its reference, and say through events how it goes and what came out.

    Pixels that the mask did not observe, or that are not labelled, are in no score; they are counted by themselves.

    Raises:
        S2ChangeError: one of its kinds; then nothing is left behind.
    """
    outputs.require_folders(options.targets)
    outputs.require_not_read((options.mask, options.reference, options.labelled), options.targets)
    with ExitStack() as opened:
        workdir = opened.enter_context(outputs.workdir_beside(options.targets[0])) if options.targets else None
        if workdir:
            events.started(str(workdir.resolve()))
        dataset, grid, read_mask = open_change_mask(options.mask, opened)
        laid, left_out, read_reference = open_reference(options.reference, grid, opened, options.change_value, options.labelled)
        events.message(laid)
        writer = None
        with outputs.writing(options.targets[0]) if options.targets else nullcontext():
            if workdir and (options.confusion or options.report):
                tags = {"S2CHANGE_VERSION": version(), "S2CHANGE_MASK": options.mask, "S2CHANGE_REFERENCE": options.reference}
                writer = RasterWriter(workdir / "confusion", grid, CONFUSION, without_queries(tags))
                opened.callback(writer.close)
            tally = _counted(grid, read_mask, read_reference, writer, events)
            values = _values(options, tally, grid, dataset.tags(), laid, left_out)
            for text in values["warnings"]:
                events.message(text, "warning")
            if workdir:
                outputs.publish(_finish(options, values, tally, writer, workdir, events))
    events.result(values, _summary(values))


def _counted(grid: Grid, read_mask: Labels, read_reference: Labels, writer: RasterWriter | None, events: Events) -> Tally:
    """Walk all windows; what was counted, with each window's pixels at their own size."""
    pixels, hectares = np.zeros((3, 3), np.int64), np.zeros((3, 3))
    for window in events.progress("compare", windows(*grid.shape, _WINDOW)):
        found, truth = read_mask(window), read_reference(window)
        counted = crosstab(found, truth)
        pixels += counted
        hectares += counted * pixel_area_m2(grid, window) / 1e4
        if writer:
            writer.write(agreement(found, truth), window)
    if not pixels[:2, :2].any():
        raise NothingObserved(
            f"No pixel is both observed in the mask and labelled in the reference: of {pixels.sum():,} pixels, "
            f"{pixels[2].sum():,} are not observed and {pixels[:, 2].sum():,} not labelled. Check that both show one place."
        )
    return Tally(pixels, hectares)


def _values(
    options: EvaluationOptions, tally: Tally, grid: Grid, tags: dict[str, str], laid: str, left_out: list[str]
) -> dict[str, Any]:
    """Everything that came out, as it goes into the result event and the report."""
    paths = {name: getattr(options, name) for name in ("confusion", "table", "report")}
    return {
        "mask": options.mask,
        "model": tags.get("S2CHANGE_MODEL"),
        "threshold": tags.get("S2CHANGE_THRESHOLD"),
        "goal": tags.get("S2CHANGE_GOAL"),
        "reviewed": tags.get(REVIEWED),
        "reference": options.reference,
        "labelled": options.labelled,
        "change_value": options.change_value,
        "laid": laid,
        **{name: str(path.resolve()) if path else None for name, path in paths.items()},
        "scores": confusion_of(tally.pixels).as_dict(),
        "pixels": _by_class(tally.pixels),
        "hectares": {name: round(value, 4) for name, value in _by_class(tally.hectares).items()},
        "warnings": left_out + _warnings(options, tally),
        "grid": {"crs": name_of(grid.crs), "transform": list(grid.transform)[:6], "height": grid.height, "width": grid.width},
    }


def _by_class(table: NDArray[Any]) -> dict[str, Any]:
    """A 3 × 3 table of pixels or hectares by names; all but the parts of "unobserved" and the two totals are disjoint."""
    return {
        "true_positive": table[1, 1].item(),
        "false_positive": table[1, 0].item(),
        "false_negative": table[0, 1].item(),
        "true_negative": table[0, 0].item(),
        "unobserved": table[2, :2].sum().item(),
        "unobserved_change": table[2, 1].item(),
        "unobserved_calm": table[2, 0].item(),
        "unlabelled": table[:, 2].sum().item(),
        "mapped_change": table[1, :2].sum().item(),
        "reference_change": table[:2, 1].sum().item(),
    }


def _warnings(options: EvaluationOptions, tally: Tally) -> list[str]:
    """What keeps the scores from meaning what they seem to mean."""
    no_change, change = tally.pixels[:2, :2].sum(0)
    hint = ""
    if tally.pixels[:, 2].any() and options.labelled is None:
        hint = " If 255 or the file's nodata are labels in the reference, correct its nodata or name the value of change with --change-value."
    found = []
    if not tally.pixels[1].any() and tally.pixels[2].any():
        found.append(
            f"The mask holds no change, and {tally.pixels[2].sum():,} pixels that were not observed (255 or its nodata). If 255 is change in it, write 1 there."
        )
    if tally.pixels[1].any() and not tally.pixels[0].any() and tally.pixels[2].any():
        found.append(
            f"The mask holds nothing but change, and {tally.pixels[2].sum():,} pixels that were not observed (255 or its nodata): so nothing counts as missed. "
            "If 0 is its nodata and means no change, correct that."
        )
    if not change:
        found.append(
            f"The reference holds no change where the mask is observed, so F1, precision, recall and kappa say nothing.{hint}"
        )
    if not no_change:
        found.append(
            f"The reference holds nothing but change where the mask is observed, so precision, F1 and kappa say nothing.{hint}"
        )
    return found


def _finish(
    options: EvaluationOptions, values: dict[str, Any], tally: Tally, writer: RasterWriter | None, workdir: Path, events: Events
) -> dict[Path, Path]:
    """Everything that was asked for, finished in the working folder; file there to its target."""
    finished: dict[Path, Path] = {}
    for target in events.progress("write", options.targets):
        if writer and target == options.confusion:
            finished[writer.finish(target)] = target
            continue
        here = outputs.in_workdir(workdir, "table" if target == options.table else "report", target)
        if target == options.table:
            _write_table(here, tally)
        elif writer:
            writer.close()
            write_compare_report(here, values, agreement_picture(writer.path))
        finished[here] = target
    return finished


def _write_table(target: Path, tally: Tally) -> None:
    """The confusion as CSV: one line for each pair of what the mask and what the reference says; together they are all pixels."""
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("mask", "reference", "pixels", "hectares"))
        for row, said in enumerate(_SAYS):
            for column, true in enumerate(_IS):
                writer.writerow((said, true, tally.pixels[row, column], f"{tally.hectares[row, column]:.4f}"))


def _summary(values: dict[str, Any]) -> str:
    """The result in three sentences."""
    scores, pixels = values["scores"], values["pixels"]
    return (
        f"F1 {scores['f1']:.3f}, precision {scores['precision']:.3f}, recall {scores['recall']:.3f}, IoU {scores['iou']:.3f}, "
        f"kappa {scores['kappa']:.3f}, overall accuracy {scores['accuracy']:.3f}. Truly changed is {100 * scores['prevalence']:.2f} % of "
        f"{scores['pixels']:,} pixels. Left out: {pixels['unobserved']:,} not observed ({pixels['unobserved_change']:,} of them change), "
        f"{pixels['unlabelled']:,} not labelled."
    )
