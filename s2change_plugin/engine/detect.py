"""Windows to probability to outputs: one run, from two scenes to a change map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from . import outputs
from .card import AUTO, ModelCard, find_card
from .choice import chosen_model
from .errors import GridMismatch, NothingObserved, OutputError
from .estimate import estimate_run, require_room, room
from .events import Events, stage
from .evidence import Evidence, pixels_of
from .files import without_queries
from .findings import Finding, require_fit, say_findings
from .grid import (
    SMALL,
    Bounds,
    aligned_windows,
    bounds_window,
    crs_of,
    fits_geopackage,
    grow,
    intersect,
    name_of,
    pixel_area_m2,
    place_of,
    slices_in,
)
from .options import CompareOptions
from .outputs import RasterWriter
from .pair import Pair, PairWindow, common_bands, open_pair
from .pair_findings import check_pair
from .radiometry import Array
from .report import result_values, summary_of, version, write_change_report, write_record
from .scene_findings import scene_findings
from .scores import GOALS
from .threads import in_order, window_threads
from .validity import Codes, Quality
from .vectors import require_unanswered

if TYPE_CHECKING:
    from .model import Model

T = TypeVar("T")

# More change than this share is seldom what happened.
_MUCH = 0.5
# Pixels around a patch that masks are looked for in, about; what is forgotten too early is read again.
_MASK_REACH = 40
# Of the changed areas, the largest, that a report shows.
_AREAS_SHOWN = 12
_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DetectOptions(CompareOptions):
    """One run, as asked for.

    Attributes:
        mask, probability, quality, polygons, record, report: where the results go; None leaves one out.
        goal: one of `scores.GOALS`; which of the model's thresholds counts.
        threshold: 0–1, rounded to a multiple of 0.004; None takes the model's for the goal, or the method's.
        bounds: (left, bottom, right, top); None is the whole overlap.
        bounds_crs: CRS of the bounds; None is before's.
        device: of the model: "auto", "cpu", "cuda", "mps".
        precision: of the model: "auto", "float32", "bfloat16".
    """

    mask: Path
    probability: Path | None = None
    quality: Path | None = None
    polygons: Path | None = None
    record: Path | None = None
    report: Path | None = None
    goal: str = "f1"
    threshold: float | None = None
    bounds: Bounds | None = None
    bounds_crs: str | None = None
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: unknown goal or CRS, a goal beside a threshold or for a method without a model, threshold outside 0–1, bounds without
                area, or what `CompareOptions` refuses.
            OutputError: two outputs in one file, an output in place of an input, or one with another format's ending.
        """
        super().__post_init__()
        if self.goal not in GOALS:
            raise ValueError(f"goal is {self.goal!r} and must be one of {', '.join(GOALS)}")
        if self.goal != "f1" and self.method != "unet":
            raise ValueError(
                f"the method {self.method} has one threshold and none for the goal {self.goal}: leave --goal out, or --method"
            )
        if self.goal != "f1" and self.threshold is not None:
            raise ValueError(
                f"goal {self.goal} and threshold {self.threshold:g} both say what is change: leave --goal out, or --threshold"
            )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold {self.threshold} is not between 0 and 1")
        if self.bounds and not (self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]):
            raise ValueError(f"bounds {self.bounds} hold no area; give left, bottom, right, top")
        crs_of(self.bounds_crs)
        outputs.require_apart(self.inputs, self.targets)
        outputs.require_ending("raster", self.mask, self.probability, self.quality)
        outputs.require_ending("GeoPackage", self.polygons)
        outputs.require_ending("record", self.record)
        outputs.require_ending("report", self.report)

    @property
    def targets(self) -> list[Path]:
        """The files that are asked for."""
        asked = (self.mask, self.probability, self.quality, self.polygons, self.record, self.report)
        return [path for path in asked if path is not None]

    @property
    def needs_evidence(self) -> bool:
        """Whether anything is asked for that shows areas of change."""
        return bool(self.polygons or self.report)

    @property
    def rasters(self) -> list[str]:
        """Those of mask, probability and quality that are asked for."""
        return [name for name in ("mask", "probability", "quality") if getattr(self, name)]


class Predictor(Protocol):
    """What finds change in a window: a `model.PairModel`, or a `classical.ClassicalPredictor`."""

    @property
    def halo(self) -> int:
        """Context around a window that it is shown, pixels: a multiple of `alignment`."""

    @property
    def alignment(self) -> int:
        """Windows start at, and patches measure, multiples of this many pixels."""

    @property
    def window_size(self) -> int:
        """Side of the windows in which it is quick, pixels; it does not change the result."""

    @property
    def bytes_per_pixel(self) -> int:
        """Of memory at most, for each pixel of a patch while it is predicted, beside its reflectance."""

    @property
    def threshold(self) -> float:
        """Probability from which a pixel is change, where the user does not say."""

    @property
    def goal(self) -> str | None:
        """What that threshold was chosen for, one of `scores.GOALS`; None for none of them."""

    @property
    def text(self) -> str:
        """A sentence on what decides."""

    @property
    def made_by(self) -> dict[str, Any]:
        """What the record says of it; always "method", "model" (its name, or None), "device", "precision"."""

    def probability(self, before: Array, after: Array) -> Array:
        """Of change in a patch but its halo: float32 (row, col), 0–1, finite; from reflectance (band, row, col), NaN where unusable."""


# What the rasters repeat of `Predictor.made_by`.
_TAGS = {"method": "S2CHANGE_METHOD", "model": "S2CHANGE_MODEL", "sha256": "S2CHANGE_MODEL_SHA256"}


@dataclass(frozen=True)
class Tally:
    """What was counted over the windows: of each quality code its pixels and square metres, and the same of change."""

    codes: _Floats = field(default_factory=lambda: np.zeros(len(Quality)))
    codes_m2: _Floats = field(default_factory=lambda: np.zeros(len(Quality)))
    changed: int = 0
    changed_m2: float = 0.0

    @property
    def pixels(self) -> int:
        """All, without those outside the area of interest."""
        return int(self.codes.sum() - self.codes[Quality.OUTSIDE])

    @property
    def observed(self) -> int:
        """Those that were observed on both dates."""
        return int(self.codes[Quality.OBSERVED])

    def plus(self, mask: Codes, quality: Codes, area_m2: float) -> Tally:
        """With one more window, whose pixels measure area_m2 each."""
        codes, changed = np.bincount(quality.ravel(), minlength=len(Quality)), int((mask == outputs.CHANGE).sum())
        return Tally(
            self.codes + codes, self.codes_m2 + codes * area_m2, self.changed + changed, self.changed_m2 + changed * area_m2
        )


@dataclass(frozen=True)
class Run:
    """What one run works on: an open pair and what was found of it, what predicts, the asked part of the grid, the threshold as applied.

    The card is the model's, None without one. The goal is what the threshold was chosen for; None where it is the user's own or a method's.
    """

    pair: Pair
    findings: tuple[Finding, ...]
    card: ModelCard | None
    predictor: Predictor
    area: Window
    threshold: float
    goal: str | None

    def tags(self, options: DetectOptions) -> dict[str, str]:
        """What the rasters themselves say about how they were made."""
        made_by = self.predictor.made_by
        return {
            "S2CHANGE_VERSION": version(),
            **{tag: made_by[name] for name, tag in _TAGS.items() if made_by.get(name)},
            "S2CHANGE_THRESHOLD": f"{self.threshold:.3f}",
            **({"S2CHANGE_GOAL": self.goal} if self.goal else {}),
            "S2CHANGE_BEFORE": without_queries(options.before),
            "S2CHANGE_AFTER": without_queries(options.after),
        }


def detect(options: DetectOptions, events: Events) -> None:
    """Make a change map, and say through events how it goes and what came out.

    Raises:
        S2ChangeError: one of its kinds; then nothing is left behind.
    """
    outputs.require_folders(options.targets)
    with outputs.workdir_beside(options.mask) as workdir, ExitStack() as stack:
        events.started(str(workdir.resolve()))
        beside = ThreadPoolExecutor(1, "beside")
        # Whoever stops a run does not wait for what is being loaded.
        stack.callback(beside.shutdown, wait=False, cancel_futures=True)
        pair, findings, card, predictor = stack.enter_context(_opened(options, beside, events))
        asked, goal = (predictor.threshold, predictor.goal) if options.threshold is None else (options.threshold, None)
        run = Run(pair, findings, card, predictor, _asked_window(pair, options), outputs.applied_threshold(asked), goal)
        events.message(_threshold_text(run.threshold, asked, goal))
        if options.polygons and not fits_geopackage(pair.grid.crs):
            raise OutputError(
                f"A GeoPackage cannot hold the CRS of the map, {name_of(pair.grid.crs)}. Leave --polygons out, or warp the images to another CRS first."
            )
        pair.set_aside(workdir)
        expected = estimate_run(pair, predictor, run.area, options.rasters, options.needs_evidence)
        require_room(expected, room(workdir))
        events.message(expected.text)
        with outputs.writing(options.mask):
            writers, evidence, tally = _write_windows(options, run, workdir, events, stack, beside)
            if tally.changed > _MUCH * tally.observed:
                events.message(
                    f"{100 * tally.changed / tally.observed:.0f} % of what is observed is called change. Look at both dates, at what a check of "
                    "the pair says, and at the threshold.",
                    "warning",
                )
            values = result_values(options, run, tally)
            finished = _finish(options, run, values, tally, writers, evidence, workdir, events)
            if options.record:
                record = outputs.in_workdir(workdir, "record", options.record)
                write_record(record, options, run, values)
                finished[record] = options.record
        if options.polygons:
            # Answers may have been saved meanwhile.
            require_unanswered(options.polygons, "a map", "area")
        outputs.publish(finished)
    events.result(values, summary_of(values))


def _threshold_text(applied: float, asked: float, goal: str | None) -> str:
    """Which threshold counts, and why."""
    if goal:
        return f"Threshold {applied:g}, for {GOALS[goal]}."
    if math.isclose(applied, asked):
        return f"Threshold {applied:g}."
    return f"Threshold {applied:g} in place of {asked:g}: probability is stored in steps of {outputs.PROBABILITY_STEP:g}."


def predicted(
    pair: Pair,
    predictor: Predictor,
    area: Window,
    size: int,
    progress: Callable[[Sequence[Window]], Iterator[Window]],
    kept: Callable[[PairWindow, Array], T],
) -> Iterator[tuple[Window, T]]:
    """Windows of an area with what is kept of each; several are read and predicted at a time.

    They walk row by row, the first in quarters where these are not small; an area that is too wide for its rows of blocks to be held is walked in stripes of columns.
    Windows begin at multiples of the predictor's alignment and are predicted with an exact halo, so that neither their size
    nor the area changes a result. A window in which nothing is observed is not predicted.

    Args:
        pair: open for reading.
        predictor: sets halo and alignment.
        area: part of the pair's grid.
        size: of the windows, pixels; see `grid.aligned_windows`.
        progress: walks the windows, and stops the walk by raising.
        kept: takes what both dates show of a window, and its probability (row, col), and gives what is kept of it, by any thread.
    """
    step = predictor.alignment
    halo = predictor.halo
    whole = aligned_windows(area, size, step)
    first, wide = whole[0].col_off, whole[0].width
    end = area.col_off + area.width
    stripes = math.ceil((end - first) / max(pair.widest, wide))
    stripe = math.ceil((end - first) / stripes / wide) * wide
    whole.sort(key=lambda window: ((window.col_off - first) // stripe, window.row_off, window.col_off))
    if len(whole) > window_threads() and min(whole[0].height, whole[0].width) >= 2 * SMALL:
        # Who waits for a run sees sooner that it goes on.
        whole[:1] = aligned_windows(whole[0], size // 2, step)

    def predict(window: Window) -> tuple[Window, T]:
        tall, wide = (math.ceil(length / step) * step for length in (window.height, window.width))
        patch = grow(Window(window.col_off, window.row_off, wide, tall), halo)
        seen = pair.read(patch)
        quality = seen.quality[slices_in(window, patch)]
        if (quality == Quality.OBSERVED).any():
            probability = predictor.probability(seen.before, seen.after)[: int(window.height), : int(window.width)]
        else:
            probability = np.zeros(quality.shape, np.float32)
        shared = intersect(window, area) or window
        return shared, kept(seen.cut(*slices_in(shared, patch)), probability[slices_in(shared, window)])

    margin = halo + _MASK_REACH
    with closing(in_order(predict, whole)) as results:
        for window in progress(whole):
            yield next(results)
            right = window.col_off + window.width
            ends = (right - first) % stripe == 0 or right >= end
            pair.forget(window.row_off + window.height - margin, math.inf if ends else right - margin)
    # What comes after the windows has their memory.
    pair.forget(math.inf, math.inf)


@contextmanager
def _opened(
    options: DetectOptions, beside: Executor, events: Events
) -> Iterator[tuple[Pair, tuple[Finding, ...], ModelCard | None, Predictor]]:
    """The pair, open, what was found of it, said, the model's card, and what predicts, loaded beside; a finding that says stop ends the run."""
    if options.method == "unet" and options.model != AUTO:
        # Before anything is opened.
        find_card(options.model).require_goal(options.goal)
    before, after = options.open_scene("before"), options.open_scene("after")
    name = chosen_model(options.model, before, after) if options.method == "unet" else None
    card = find_card(name) if name else None
    if card:
        card.require_goal(options.goal)
    outputs.require_not_read((before, after, *options.beside), options.targets)
    if options.polygons:
        require_unanswered(options.polygons, "a map", "area")
    # What the scenes say themselves, before anything is read of them.
    require_fit(scene_findings(before, after, card, options.accept_level))
    bands = card.bands if card else common_bands(before, after)
    with ExitStack() as stack:
        loading: list[Future[Model | None]] = []

        def load() -> None:
            loading.append(beside.submit(_loaded, name, options))
            if options.register:
                # Slow to load as well, and what a field of displacements is fitted with.
                beside.submit(import_module, "scipy.optimize")

        with stage(events, "register"):
            pair = stack.enter_context(open_pair(before, after, bands, options.pair_options(), load))
            model = loading[0].result()
            fitting = beside.submit(lambda: fitted(options.method, model, pair, events.message))
            findings = check_pair(pair, card, options.accept_level, options.trust_units)
        require_fit(findings)
        predictor = fitting.result()
        events.message(predictor.text)
        say_findings(findings, pair, events)
        yield pair, findings, card, predictor


def _loaded(name: str | None, options: DetectOptions) -> Model | None:
    """The model, folded, for which PyTorch has to be loaded, which is slow; None where the method does without."""
    if not name:
        return None
    from .model import load_model

    model = load_model(name, options.device, options.precision, options.goal)
    _ = model.folded
    return model


def fitted(method: str, model: Model | None, pair: Pair, say: Callable[[str], None] = lambda text: None) -> Predictor:
    """What predicts, fitted on the samples as windows are read: normalised, where that is asked.

    Raises:
        NothingObserved: too few pixels are observed on both dates, or, for a method without a model, no band varies.
    """
    before, after = [sample.before for sample in pair.ground], [sample.after.copy() for sample in pair.ground]
    for image in after:
        pair.normalisation.apply(image)
    if model:
        return model.for_pair(before, after, say)
    # Slow to load, and needed without a model alone.
    from .classical import fit_predictor

    return fit_predictor(method, before, after, pair.bands)


def _asked_window(pair: Pair, options: DetectOptions) -> Window:
    """The part of the overlap that is asked for, whole pixels.

    Raises:
        GridMismatch: the bounds lie outside.
    """
    grid = pair.grid
    area = pair.area.window if pair.area else grid.window
    if options.bounds is None:
        return area
    crs = crs_of(options.bounds_crs) or pair.before.grid.crs
    window = bounds_window(grid, options.bounds, crs)
    window = window and intersect(window, area)
    if window is None:
        raise GridMismatch(
            f"The bounds {options.bounds} in {name_of(crs)} do not meet {'the area of interest in ' if pair.area else ''}"
            f"the overlap of the two dates, {place_of(grid.crop(area), crs)}. Choose an area inside it."
        )
    return window


def _write_windows(
    options: DetectOptions, run: Run, workdir: Path, events: Events, stack: ExitStack, beside: Executor
) -> tuple[dict[str, RasterWriter], Evidence | None, Tally]:
    """Predict and write all windows, and load beside what polygons need; the open rasters, what speaks for polygons, and what was counted."""
    grid, area = run.pair.grid, run.area
    layers = {"mask": outputs.MASK, "probability": outputs.PROBABILITY, "quality": outputs.QUALITY}
    tags = run.tags(options)
    writers = {name: RasterWriter(workdir / name, grid.crop(area), layer, tags) for name, layer in layers.items()}
    for writer in writers.values():
        # Windows removes no folder in which a file is open.
        stack.callback(writer.close)
    evidence = stack.enter_context(closing(Evidence(workdir))) if options.needs_evidence else None
    tally = Tally()
    progress = partial(events.progress, "detect")

    def kept(seen: PairWindow, probability: Array) -> tuple[Codes, Codes, Codes, Codes | None]:
        levels = outputs.to_levels(probability, seen.quality)
        mask = outputs.to_mask(levels, run.threshold)
        changed = pixels_of(mask == outputs.CHANGE, levels, seen, run.pair.bands) if evidence else None
        return levels, mask, seen.quality, changed

    for window, (levels, mask, quality, changed) in predicted(
        run.pair, run.predictor, area, run.predictor.window_size, progress, kept
    ):
        if evidence and not tally.pixels:
            # These libraries are slow to load, and needed at the end; before now they would slow the trial and the first windows.
            beside.submit(import_module, ".polygons", __package__)
        place = Window(window.col_off - area.col_off, window.row_off - area.row_off, window.width, window.height)
        writers["mask"].write(mask, place)
        writers["probability"].write(levels, place)
        writers["quality"].write(quality, place)
        if evidence and changed is not None:
            evidence.add(place, changed)
        tally = tally.plus(mask, quality, pixel_area_m2(grid, window))
    if not tally.observed:
        raise NothingObserved(
            "No pixel is observed on both dates. Pick other scenes, look at the masks, or check which value means nodata."
        )
    return writers, evidence, tally


def _finish(
    options: DetectOptions,
    run: Run,
    values: dict[str, Any],
    tally: Tally,
    writers: dict[str, RasterWriter],
    evidence: Evidence | None,
    workdir: Path,
    events: Events,
) -> dict[Path, Path]:
    """Everything that was asked for but the record, finished in the working folder; file there to its target."""
    finished: dict[Path, Path] = {}
    for writer in writers.values():
        writer.close()
    asked = [(name, getattr(options, name)) for name in options.rasters]
    with ThreadPoolExecutor(len(asked), "write") as pool:
        coming = [pool.submit(writers[name].finish, target) for name, target in asked]
        if evidence:
            from .polygons import draw_polygons

            mask, quality = writers["mask"].path, writers["quality"].path
            drawn = outputs.in_workdir(workdir, "polygons", options.polygons) if options.polygons else None
            with stage(events, "polygons"):
                largest = draw_polygons(mask, quality, evidence, drawn, _AREAS_SHOWN)
            if drawn and options.polygons:
                finished[drawn] = options.polygons
            if options.report:
                report = outputs.in_workdir(workdir, "report", options.report)
                with stage(events, "report"):
                    write_change_report(report, options, run, values, tally, mask, quality, largest)
                finished[report] = options.report
        for made, (_, target) in zip(coming, events.progress("write", asked), strict=True):
            finished[made.result()] = target
    return finished
