"""One round of measuring: every row of the table in turn, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rasterio

from s2change_plugin.engine.bands import BANDS, TEN_BANDS
from s2change_plugin.engine.card import AUTO

from ..simulate import PIXEL
from . import peers
from .measure import Measured, run_measured, run_module
from .scenes import MODEL, Tile

_WINDOW = 512
_RESULTS = {"mask": "mask.tif", "probability": "probability.tif", "quality": "quality.tif"}
_OTHERS = {"polygons": "polygons.gpkg", "record": "record.json"}


@dataclass(frozen=True)
class Sample:
    """One row in one round.

    Attributes:
        seconds: of the whole process; of a part, and of a peer that is our own loop, without the start of Python.
        peak_bytes: of the process, with all that it started.
        first_window: seconds from the start of the process to its first finished window; None where it has none.
        stages: seconds of each stage of `detect`; of a run with clocks in it, of each kind of work.
        note: how it was measured.
        layers: of the network, with what was measured of each.
    """

    seconds: float
    peak_bytes: int = 0
    first_window: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    note: str = ""
    layers: tuple[dict[str, Any], ...] = ()


# One round: the rows that were measured, by name.
Round = dict[str, Sample]


def measure_round(tiles: dict[str, Tile], folder: Path, number: int, steady: float) -> Iterator[tuple[str, Callable[[], Sample]]]:
    """The rows of a round with what measures each, in the order in which they have to be done.

    Args:
        tiles: as `scenes.make_tiles` gives them, and products of it as "jp2", where that is to be measured.
        folder: for results.
        number: of the round, from 0; four tiles, whose time says nothing new, and a run with clocks in it are run in the first alone.
        steady: seconds for which a share of the work is measured, where that is scaled up.
    """
    tile, small = tiles["1"], tiles["1/16"]
    whole = folder / "detect"
    yield "detect", lambda: _detect(tile, whole)
    yield "detect-no-register", lambda: _detect(tile, folder / "detect-no-register", "--no-register")
    yield "detect-1/16", lambda: _detect(small, folder / "detect-small")
    yield "detect-1/4", lambda: _detect(tiles["1/4"], folder / "detect-quarter")
    yield "detect-window", lambda: _detect(tile, folder / "detect-window", "--bounds", *_central(tile))
    if number == 0:
        yield "inside", lambda: _part("inside", tile.before, tile.after, MODEL, folder / "detect-inside")
        yield "detect-4", lambda: _detect(tiles["4"], folder / "detect-four")
    yield "read", lambda: _part("read", *tile.files)
    yield "resample", lambda: _part("resample", tile.after, len(TEN_BANDS), steady)
    yield "network", lambda: _part("network", tile.size, steady)
    yield "layers", lambda: _part("layers", tile.size, steady)
    yield "write", lambda: _part("write", *(whole / name for name in _RESULTS.values()))
    if "jp2" in tiles:
        # What is coarser is brought to 10 m on both dates, and all of the second is shifted, each pixel once.
        coarse = sum(BANDS[band].gsd_m > PIXEL for band in TEN_BANDS)
        yield "detect-jp2", lambda: _detect(tiles["jp2"], folder / "detect-jp2")
        yield "detect-jp2-13", lambda: _detect(tiles["jp2"], folder / "detect-jp2-13", "--model", AUTO)
        yield "read-jp2", lambda: _part("read", *tiles["jp2"].files)
        yield "resample-jp2", lambda: _part("resample", tile.after, len(TEN_BANDS) + coarse, steady)
    for name in peers.PEERS:
        if peers.missing(name) is None:
            yield name, partial(_orfeo, tile) if name == "otb" else partial(_loop, name, small, tile)


def _detect(tile: Tile, folder: Path, *options: object) -> Sample:
    folder.mkdir(parents=True, exist_ok=True)
    outputs = [part for name, file in (_RESULTS | _OTHERS).items() for part in (f"--{name}", folder / file)]
    # On the processor, as all other rows. Of an option that is said twice the last counts.
    how = ("--model", MODEL, "--device", "cpu", *options, "--events")
    run = run_module("s2change_plugin.engine", "detect", tile.before, tile.after, *outputs, *how)
    return Sample(run.seconds, run.peak_bytes, first_window_of(run), stages_of(run))


def first_window_of(run: Measured) -> float | None:
    """Seconds until the first window was done; None where none was."""
    done = (when for when, event in run.said if event.get("stage") == "detect" and event.get("done", 0) >= 1)
    return next(done, None)


def stages_of(run: Measured) -> dict[str, float]:
    """Seconds of each stage that a run told of, with "start" before them and "end" after."""
    spans: dict[str, tuple[float, float]] = {}
    for when, event in run.said:
        if event.get("event") == "progress":
            stage = str(event["stage"])
            spans[stage] = spans.get(stage, (when, when))[0], when
    if not spans:
        return {}
    begin, end = min(first for first, _ in spans.values()), max(last for _, last in spans.values())
    return {"start": begin, **{stage: last - first for stage, (first, last) in spans.items()}, "end": run.seconds - end}


def _central(tile: Tile) -> Sequence[float]:
    """Left, bottom, right, top of a window in the middle of a tile."""
    side = min(_WINDOW, tile.size)
    first = (tile.size - side) // 2
    with rasterio.open(tile.before) as raster:
        left, top = raster.transform @ (first, first)
        right, bottom = raster.transform @ (first + side, first + side)
    return left, bottom, right, top


def _part(name: str, *arguments: object) -> Sample:
    run = run_module("training.bench", "part", name, *arguments)
    found = run.result
    return Sample(
        found["seconds"],
        run.peak_bytes,
        stages=found.get("stages", {}),
        note=found["note"],
        layers=tuple(found.get("layers", ())),
    )


def _orfeo(tile: Tile) -> Sample:
    with TemporaryDirectory(dir=tile.before.parent) as folder:
        run = run_measured(peers.otb_command(tile.before, tile.after, Path(folder) / "variates.tif"))
    return Sample(run.seconds, run.peak_bytes)


def _loop(name: str, small: Tile, tile: Tile) -> Sample:
    """One of our own loops on a small tile, its seconds scaled up by the patches that it takes of the whole one.

    Not by pixels: of a small tile a larger share lies in the last patches of rows and columns, which overlap more.
    """
    run = run_module("training.bench", "peer", name, small.before, small.after)
    scale = peers.tile_count(name, tile.size) / peers.tile_count(name, small.size)
    note = f"of {small.size}² pixels, scaled up by {scale:.3g}, as many patches"
    return Sample(run.result["seconds"] * scale, run.peak_bytes, note=note)
