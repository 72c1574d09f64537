"""Two dates and polygons of change to labelled groups in a data folder, on which a model can be trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from . import outputs
from .acquisition import LEVELS
from .bands import ALL_BANDS, TEN_BANDS
from .errors import NothingObserved, OutputError, S2ChangeError
from .events import PLACED, Events, stage
from .files import without_queries
from .findings import require_fit, say_findings
from .grid import Grid, intersect, pixel_size_m, place_of, slices_in
from .labelled import (
    NEIGHBOURS_KM,
    RECORD,
    UNLABELLED,
    Origin,
    centres,
    grids,
    neighbours,
    origins,
    read_record,
    record_text,
    require_one_level,
    sharing_ground,
    write_city,
)
from .masks import Area
from .options import CompareOptions
from .pair import Pair, common_bands, open_pair
from .pair_findings import check_pair
from .rasters import files_behind
from .report import scene_values, version
from .scene import Scene
from .scene_findings import scene_findings
from .validity import LEAST_OBSERVED, Codes, Quality
from .vectors import read_polygons

BLOCK_M, _SMALLEST_BLOCK_M, _LARGEST_BLOCK_M = 5000.0, 1000.0, 20000.0
# Pixels around what is labelled that a group shows: as far as a network of depth 4, the default of training, sees (107), in whole steps.
CONTEXT_PX = 112
# Pixels on each side of a cut that are not labelled: 320 m in all, more than one building site, which would else be in two groups.
STRIP_PX = 16
# A share of change among what is labelled that no ground has.
_MUCH = 0.3
_NOT_USED = ("method", "model", "accept_level")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class ChipsOptions(CompareOptions):
    """Two dates and their labels, as asked for; method, model and level of `CompareOptions` are not used.

    Attributes:
        change: polygons of change; see `vectors.read_polygons`.
        data: data folder to add to, made where there is none.
        no_change: polygons in which what is not change is no change: single ones, or all that was looked at. Nothing else is
            then labelled. None: the bounding box of the change.
        name: of the group; None is made of place and dates.
        block: metres; what is labelled is cut into groups of about this side.
        force: replace what was exported under the name.
        licence: of the labels, in words.
        detects: what the labels call change, in a sentence.
        level: "L1C" or "L2A", of both dates, where nothing tells it.
    """

    change: str
    data: Path
    no_change: str | None = None
    name: str | None = None
    block: float = BLOCK_M
    force: bool = False
    licence: str | None = None
    detects: str | None = None
    level: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: a name that no folder should have, a block out of reason, an unknown level, or what `CompareOptions` refuses.
        """
        super().__post_init__()
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}; use letters, digits, dots, dashes and underscores")
        if not _SMALLEST_BLOCK_M <= self.block <= _LARGEST_BLOCK_M:
            raise ValueError(f"block is {self.block:g} m and must lie between {_SMALLEST_BLOCK_M:g} and {_LARGEST_BLOCK_M:g}")
        if self.level not in (None, *LEVELS):
            raise ValueError(f"level is {self.level!r} and must be {' or '.join(LEVELS)}")


_PARTS = ("before", "after", "change")


@dataclass(frozen=True)
class Block:
    """One group's place on the pair's grid.

    Attributes:
        name: what is added to the group's name, "" where nothing was cut.
        window: what its images show.
        inside: the part of it that may be labelled.
    """

    name: str
    window: Window
    inside: Window


@dataclass
class Tally:
    """Pixels that were labelled, labels that were lost to what the dates do not show and to the strips along cuts, groups left out as dark."""

    change: int = 0
    no_change: int = 0
    unobserved: int = 0
    strips: int = 0
    dark: list[str] = field(default_factory=list)


def chips(options: ChipsOptions, events: Events) -> None:
    """Add the pair and its labels to a data folder as groups, and say through events how it goes and what came out.

    What is labelled is cut into blocks, each a group by itself that can be held out. Their images share no pixel, so nothing
    that a network sees of one is in another, however far it sees; and along each cut a strip is not labelled.

    Raises:
        S2ChangeError: one of its kinds; then the folder is as it was.
    """
    with _data_folder(options.data) as record, outputs.workdir_beside(options.data / RECORD) as workdir, ExitStack() as opened:
        events.started(str(workdir.resolve()))
        before, after = options.open_scene("before"), options.open_scene("after")
        name = options.name or default_name(before, after)
        origin = origin_of(options, before, after)
        older = _older(options, name, record, (before, after))
        kept = [group for group in record["cities"] if group not in older]
        require_one_level((origins(options.data, kept) if kept else {}) | {name: origin})
        polygons = {"change": read_polygons(options.change, "polygons of change")}
        if options.no_change:
            polygons["no change"] = read_polygons(options.no_change, "polygons of no change")
        pair = opened.enter_context(_opened(options, before, after, events))
        change = Area(options.change, pair.grid, "polygons of change", "the overlap of the two dates")
        no_change = None
        if options.no_change:
            no_change = Area(options.no_change, pair.grid, "polygons of no change", "the overlap of the two dates")
        _say_labels(polygons, pair.grid, events)
        areas = [change] + ([no_change] if no_change else [])
        for area in areas:
            for text in area.left_out():
                events.message(text, "warning")
        groups, tally = {}, Tally()
        with outputs.writing(options.data / RECORD):
            blocks = cut(_hull([area.window for area in areas]), pair.grid, options.block)
            for block in events.progress("chips", blocks):
                about = _write_block(block, pair, change, no_change, workdir / f"{name}{block.name}", tally)
                if about:
                    groups[f"{name}{block.name}"] = about
            _require_labels(tally, options.area)
            # Others may have added to the folder meanwhile.
            record = _begun_record(options.data)
            older = _older(options, name, record, (before, after))
            others = {group: about for group, about in record["cities"].items() if group not in older}
            record["cities"] = others | {group: {**asdict(origin), "name": name, **about} for group, about in groups.items()}
            record.setdefault("exports", {})[name] = _about(options, pair)
            (workdir / RECORD).write_text(record_text(record), encoding="utf-8")
            _publish(workdir, options.data, list(groups), older)
    for text in _cautions(options, tally, list(groups)):
        events.message(text, "warning")
    values: dict[str, Any] = {
        "data": str(options.data.resolve()),
        "name": name,
        "groups": list(groups),
        "change_pixels": tally.change,
        "no_change_pixels": tally.no_change,
        "unobserved_pixels": tally.unobserved,
        "strip_pixels": tally.strips,
    }
    events.result(values, _summary(values))


def cut(extent: Window, grid: Grid, block_m: float) -> list[Block]:
    """What is labelled as blocks of like size: their windows share no pixel; away from the cuts they show some context.

    Args:
        extent: window of the grid that holds all labels.
        grid: of the pair.
        block_m: side that a block should have, metres; it has two thirds to one and a half of it.
    """
    edges = [
        np.linspace(0, length, max(1, round(length * size / block_m)) + 1).round().astype(int)
        for length, size in zip((extent.height, extent.width), pixel_size_m(grid), strict=True)
    ]
    rows, cols = ([_Side(int(a), int(b), int(side[-1])) for a, b in zip(side, side[1:], strict=False)] for side in edges)
    whole = len(rows) == len(cols) == 1
    found = []
    for down, row in enumerate(rows, start=1):
        for across, col in enumerate(cols, start=1):
            windows = [
                Window(extent.col_off + c[0], extent.row_off + r[0], c[1] - c[0], r[1] - r[0])
                for r, c in ((row.shown, col.shown), (row.labelled, col.labelled))
            ]
            shown, labelled = (intersect(window, grid.window) or window for window in windows)
            found.append(Block("" if whole else f"-r{down}c{across}", shown, labelled))
    return found


@dataclass(frozen=True)
class _Side:
    """A block along one axis: from first to last pixel of an extent of some length."""

    first: int
    last: int
    length: int

    @property
    def shown(self) -> tuple[int, int]:
        return self._moved(CONTEXT_PX, 0)

    @property
    def labelled(self) -> tuple[int, int]:
        return self._moved(0, -STRIP_PX)

    def _moved(self, at_end: int, at_cut: int) -> tuple[int, int]:
        """With its edges moved out, by what an edge is."""
        return self.first - (at_cut if self.first else at_end), self.last + (at_cut if self.last < self.length else at_end)


def labels(change: NDArray[np.bool_], no_change: NDArray[np.bool_]) -> Codes:
    """1 in polygons of change, 0 in those of no change, else 255: uint8 (row, col), where both are, 1."""
    return np.where(change, 1, np.where(no_change, 0, UNLABELLED)).astype(np.uint8)


def origin_of(options: ChipsOptions, before: Scene, after: Scene) -> Origin:
    """What the record says of the labels, and the card of a model will repeat; files by their names, not their folders.

    Raises:
        S2ChangeError: the processing level is unclear, or not one.
    """
    file = Path(without_queries(options.change).partition("|")[0]).name
    shown = ", which was brought to the radiometry of the first: --normalise does so" if options.normalise else ""
    return Origin(
        source=f"own labels ({file}, on {before.label} and {after.label}{shown})",
        licence=options.licence or "not stated by whoever drew the labels",
        level=_level(options, before, after),
        detects=options.detects or f"What was drawn as change in {file}.",
    )


def _level(options: ChipsOptions, before: Scene, after: Scene) -> str:
    told = {side: scene.acquisition.level for side, scene in (("before", before), ("after", after))}
    levels = {level for level in (*told.values(), options.level) if level}
    unknown = [side for side, level in told.items() if level is None]
    if len(levels) > 1:
        said = " and ".join(f"{side} is Level-{level[1:]}" for side, level in told.items() if level)
        asked = f", and --level says {options.level}" if options.level else ""
        raise S2ChangeError(f"A model is trained on one processing level, but {said}{asked}. Give two dates of the same.")
    if not levels or (unknown and not options.level):
        raise S2ChangeError(
            f"Nothing tells the processing level of {' and '.join(unknown)}, which a model that is trained on it must know. "
            "Say --level L1C (with the atmosphere in), or --level L2A (taken off)."
        )
    return levels.pop()


def default_name(before: Scene, after: Scene) -> str:
    """A group's name of place and dates, such as "31TDH-20210820-20230823"; without them of the files' names."""
    tile = before.acquisition.tile
    parts = [tile] if tile else []
    for scene in (before, after):
        sensed = scene.acquisition.sensed
        parts.append(f"{sensed:%Y%m%d}" if sensed else Path(scene.label).stem)
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts)).lstrip("._-") or "labels"


@contextmanager
def _data_folder(data: Path) -> Iterator[dict[str, Any]]:
    """The record of a data folder, which is made where there is none, and taken away again if nothing came of it.

    Raises:
        OutputError: it is something else, or cannot be made.
    """
    made = not data.exists()
    if made:
        outputs.require_folders([data])
        with outputs.writing(data):
            data.mkdir()
    try:
        yield _begun_record(data)
    finally:
        if made and not any(data.iterdir()):
            data.rmdir()


def _begun_record(data: Path) -> dict[str, Any]:
    if not data.is_dir():
        raise OutputError(f"{data} is a file. Give a folder for the data.")
    if (data / RECORD).is_file():
        return read_record(data)
    # What a run that was killed has left is taken away when the next one begins.
    others = sorted(one.name for one in data.iterdir() if not one.name.startswith(".s2change-"))
    if others:
        raise OutputError(
            f"{data} is no data folder: it holds {others[0]} and no {RECORD}. Choose an empty folder, or one that "
            "an export of training data or python -m training prepare has made."
        )
    return {"cities": {}}


def _older(options: ChipsOptions, name: str, record: dict[str, Any], scenes: Sequence[Scene]) -> list[str]:
    """The groups that were exported under a name.

    Raises:
        OutputError: there are some, and they are not to be replaced, or hold what is read.
    """
    found = sorted(group for group, about in record["cities"].items() if name in (group, about.get("name")))
    folders = {path.name for path in options.data.iterdir() if re.fullmatch(rf"{re.escape(name)}(-r\d+c\d+)?", path.name)}
    # What is in no record is ours where it looks like a group.
    found += sorted(
        one for one in folders - set(record["cities"]) if all((options.data / one / f"{part}.tif").exists() for part in _PARTS)
    )
    # All files have to be opened to tell which lie behind them.
    drawn = [source for source in (*options.beside, options.change, options.no_change) if source]
    behind = (
        [*chain.from_iterable(scene.files for scene in scenes), *chain.from_iterable(map(files_behind, drawn))] if found else []
    )
    for source in (options.before, options.after, *drawn, *behind):
        path = outputs.resolved_path(source.partition("|")[0])
        if any(path.is_relative_to(outputs.resolved_path(options.data / group)) for group in found):
            raise OutputError(f"{source} is read and lies in what would be replaced. Choose another name with --name.")
    if found and not options.force:
        raise OutputError(
            f"{options.data} holds {_listed(found)} already. Choose another name with --name, or replace that with --force."
        )
    return found


@contextmanager
def _opened(options: ChipsOptions, before: Scene, after: Scene, events: Events) -> Iterator[Pair]:
    """The pair, open, and what was found of it, said; a finding that says stop ends the run."""
    # Refuses what has fewer than two of 10 or 20 m.
    common_bands(before, after)
    bands = tuple(name for name in ALL_BANDS if name in before.bands and name in after.bands)
    require_fit(scene_findings(before, after, None))
    with ExitStack() as opened:
        with stage(events, "register"):
            pair = opened.enter_context(open_pair(before, after, bands, options.pair_options()))
            findings = check_pair(pair, None, trust_units=options.trust_units)
        require_fit(findings)
        # Where the level is told it is known, and one.
        told = [finding for finding in findings if not (options.level and finding.topic == "level")]
        say_findings(told, pair, events)
        whole = {before.acquisition.level, after.acquisition.level} == {"L1C"}
        lacking = [name for name in (ALL_BANDS if whole else TEN_BANDS) if name not in bands]
        if lacking:
            text = f"The dates lack {', '.join(lacking)}: only a model without these bands can be trained on them."
            events.message(text, "warning")
        yield pair


def _say_labels(polygons: dict[str, Any], grid: Grid, events: Events) -> None:
    """Say what counts as no change, and which polygons do not count."""
    if "no change" in polygons:
        events.message("Outside of the polygons of change and of no change nothing is labelled.")
    else:
        events.message(
            "No polygons of no change were given: all else in the bounding box of the change counts as no change, in groups that "
            "hold change. If not all change in it was drawn, say with --no-change where you looked."
        )
    for what, drawn in polygons.items():
        frame = shapely.box(*transform_bounds(grid.crs, drawn.crs.to_wkt(), *grid.bounds))
        outside = int((~drawn.intersects(frame)).sum())
        if outside:
            events.message(
                f"{outside} of {len(drawn)} polygons of {what} {'lies' if outside == 1 else 'lie'} outside of the overlap of the two "
                f"dates, {place_of(grid)}, and {'is' if outside == 1 else 'are'} left out.",
                "warning",
            )


def _write_block(
    block: Block, pair: Pair, change: Area, no_change: Area | None, folder: Path, tally: Tally
) -> dict[str, Any] | None:
    """Write one group and count it; what is known of it, or None where it has no label, or none that says what changed.

    Without polygons of no change a block without change would say "no change" of ground at which nobody may have looked.
    """
    window = block.window
    drawn = ~change.outside(window)
    calm = ~no_change.outside(window) if no_change else _inside(change.window, window)
    asked = labels(drawn, calm)
    if not (drawn.any() or (no_change and calm.any())):
        return None
    seen = pair.read(window)
    asked[seen.quality == Quality.OUTSIDE] = UNLABELLED
    cut_off = (asked != UNLABELLED) & ~_inside(block.inside, window)
    asked[cut_off] = UNLABELLED
    unseen = (asked != UNLABELLED) & (seen.quality != Quality.OBSERVED)
    asked[unseen] = UNLABELLED
    tally.strips += int(cut_off.sum())
    tally.unobserved += int(unseen.sum())
    changed, calm_pixels = int((asked == 1).sum()), int((asked == 0).sum())
    if (seen.quality == Quality.OBSERVED).sum() < LEAST_OBSERVED:
        tally.unobserved += changed + calm_pixels
        tally.dark.append(folder.name)
        return None
    if not (changed or (no_change and calm_pixels)):
        return None
    tally.change += changed
    tally.no_change += calm_pixels
    write_city(folder, (seen.before, seen.after), asked, pair.bands, pair.grid.crop(window))
    return {
        "shape": [int(window.height), int(window.width)],
        "changed_share": round(changed / (changed + calm_pixels), 5),
        "labelled_pixels": changed + calm_pixels,
    }


def _inside(inner: Window, frame: Window) -> NDArray[np.bool_]:
    found = np.zeros((int(frame.height), int(frame.width)), bool)
    shared = intersect(inner, frame)
    if shared:
        found[slices_in(shared, frame)] = True
    return found


def _hull(windows: Sequence[Window]) -> Window:
    col, row = (min(getattr(window, name) for window in windows) for name in ("col_off", "row_off"))
    right = max(window.col_off + window.width for window in windows)
    bottom = max(window.row_off + window.height for window in windows)
    return Window(col, row, right - col, bottom - row)


def _require_labels(tally: Tally, area: str | None) -> None:
    if not tally.change:
        raise NothingObserved(
            f"No pixel of change is left to learn from: of what is labelled {tally.unobserved:,} pixels are not observed on both dates and "
            f"{tally.strips:,} lie along cuts{f', and nothing outside of {area} counts' if area else ''}. Look at the masks, draw larger polygons, or choose a larger block."
        )


def _about(options: ChipsOptions, pair: Pair) -> dict[str, Any]:
    """What the record says of how all groups of a run were made."""
    asked = {name: value for name, value in asdict(options).items() if name not in _NOT_USED}
    about = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": version(),
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in asked.items()},
        "inputs": {side: scene_values(getattr(pair, side)) for side in ("before", "after")},
        "masks": dict(zip(("before", "after"), ([mask.origin for mask in masks] for masks in pair.masks), strict=True)),
        "shift": asdict(pair.shift),
        "normalisation": asdict(pair.normalisation),
    }
    return without_queries(about)


def _publish(workdir: Path, data: Path, groups: Sequence[str], older: Sequence[str]) -> None:
    """Put new groups and the new record in place of older ones: all, or none."""
    aside = workdir / outputs.SET_ASIDE
    aside.mkdir()
    with ExitStack() as undo:
        moves = [(data / name, aside / name) for name in older if (data / name).exists()]
        moves += [(workdir / name, data / name) for name in groups]
        for source, target in moves:
            outputs.rename(source, target)
            undo.callback(outputs.rename, target, source)
        outputs.rename(workdir / RECORD, data / RECORD)
        undo.pop_all()
        PLACED.set()
    # From here on nobody is to put them back; where a file of them is held, the run is done all the same.
    with suppress(OSError):
        outputs.rename(aside, workdir / "replaced")


def _cautions(options: ChipsOptions, tally: Tally, groups: Sequence[str]) -> list[str]:
    """What a score on held-out groups of the folder will not say."""
    found = []
    if tally.dark:
        found.append(
            f"{_listed(tally.dark)} {'is' if len(tally.dark) == 1 else 'are'} left out: fewer than {LEAST_OBSERVED} pixels there are observed on both "
            "dates."
        )
    if not tally.no_change:
        found.append(
            "Nothing is labelled as no change, so a model cannot learn what that is. Say with --no-change where you looked."
        )
    share = tally.change / (tally.change + tally.no_change)
    if tally.no_change and share > _MUCH:
        found.append(
            f"{100 * share:.0f} % of what is labelled is change: a model learns from that how much there is, and would find too much elsewhere. Say "
            "with --no-change where else you looked."
        )
    sharing = sharing_ground(grids(options.data))
    shared = sorted({other for name in groups for other in sharing[name]} - set(groups))
    if shared:
        found.append(
            f"{_listed(shared)} {'shows' if len(shared) == 1 else 'show'} the same ground; training never has what shares ground on both sides."
        )
    places = centres(options.data)
    if len(places) == 1:
        found.append(
            "Training holds out whole groups, so it needs more than this one: label more ground, or choose a smaller --block."
        )
    elif len(neighbours(places)) == 1:
        found.append(
            f"All groups of {options.data} lie at one place (none is {NEIGHBOURS_KM:g} km from the others): scores on held-out groups say how "
            "a model does there, not elsewhere. For that, and for cross-validation, add a second place."
        )
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _summary(values: dict[str, Any]) -> str:
    count = len(values["groups"])
    return (
        f"{count} {'group' if count == 1 else 'groups'} ({_listed(values['groups'])}) with {values['change_pixels']:,} pixels of change and "
        f"{values['no_change_pixels']:,} of no change. Left out: {values['unobserved_pixels']:,} that are not observed on both dates, "
        f"{values['strip_pixels']:,} along cuts. {values['data']}"
    )
