"""What a run will take, told before it starts: time from a short trial on the pair itself, memory, disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from shutil import disk_usage
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import psutil
from rasterio.env import get_gdal_config
from rasterio.windows import Window

from .errors import NotEnoughMemory, OutputError
from .grid import Grid, aligned_windows, bounds_window, grow
from .pair import Pair
from .radiometry import Array
from .rasters import open_raster
from .scene import Scene
from .threads import share_cores, window_threads
from .validity import Quality

if TYPE_CHECKING:
    from .detect import Predictor

_FLOAT32 = 4
# While a window is read there is, beside its reflectance, about a copy of it: stored numbers, masks.
_COPIES = 2
# Three rasters made Cloud Optimized GeoTIFFs: seconds per pixel of the map, as measured on two cores.
_WRITING = 3.2e-8
# Bytes per pixel at most, compressed: of a probability about one, of mask and quality next to none; overviews add a third.
_PROBABILITY_BYTES, _CODES_BYTES, _OVERVIEWS = 1.0, 0.1, 4 / 3
# Of what polygons and report are made of, bytes per pixel: seven for each that changed, one of ten at most on most maps.
_EVIDENCE_BYTES = 0.7
# Side of the patch that is tried, pixels; a try that takes longer than this many seconds is not repeated.
_TRIAL, _LONGEST = 384, 0.5
# So few pixels hardly take longer than a trial with all that: theirs is one patch, once.
_FEW = 1_500_000
# Version 2 of the kernel's control groups, then version 1: limit, what is used, and what of that is files that can be forgotten.
_CGROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


@dataclass(frozen=True)
class Work:
    """How much a run has to do.

    Attributes:
        stored: pixels of single bands that are decoded once, of both dates, for samples and windows.
        sampled: those of them that were decoded for the samples; windows find these decoded.
        seen: pixels to lay on the grid and to predict, halos counted each time.
        written: pixels of the map.
        patch: (rows, cols) that go through the predictor at once.
        pixel_bytes: of memory for each pixel of a patch, read and predicted.
        block_bytes: of decoded blocks that are held.
    """

    stored: int
    sampled: int
    seen: int
    written: int
    patch: tuple[int, int]
    pixel_bytes: int
    block_bytes: int


@dataclass(frozen=True)
class Pace:
    """What it costs here: on this machine, with this pair and this predictor; times are of one core.

    Attributes:
        decode: seconds per stored pixel of a band.
        lay: seconds per pixel of both dates laid on the grid, all bands.
        predict: seconds per pixel through the predictor.
        held_bytes: of memory before the first window.
    """

    decode: float
    lay: float
    predict: float
    held_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a run will take: time, memory of the whole process at most, disk at most while it runs."""

    seconds: float
    memory_bytes: int
    disk_bytes: int

    @property
    def text(self) -> str:
        """Time and memory as a sentence."""
        return f"{time_text(self.seconds)}, {size_text(self.memory_bytes)} of memory."


@dataclass(frozen=True)
class Room:
    """What there is for a run: memory for the whole process, and disk in a folder; None where there is no folder to write to."""

    memory_bytes: int
    disk_bytes: int | None = None


def estimate(work: Work, pace: Pace, rasters: Sequence[str], threads: int, cache_bytes: int, evidence: bool = False) -> Estimate:
    """What the work takes at this pace.

    Args:
        work: how much.
        pace: how fast.
        rasters: "mask", "probability", "quality": those that are asked for.
        threads: that read and predict, each a window at a time.
        cache_bytes: the most that GDAL keeps of what it has read.
        evidence: polygons or a report are asked for.
    """
    reading = (work.stored - work.sampled) * pace.decode + work.seen * pace.lay
    seconds = (reading + work.seen * pace.predict) / threads + work.written * _WRITING
    windows_bytes = threads * math.prod(work.patch) * work.pixel_bytes
    # No more is kept of the rasters than they hold, two bytes per number; what was sampled is held already.
    sampled, stored = (min(cache_bytes, 2 * pixels) for pixels in (work.sampled, work.stored))
    memory = pace.held_bytes + windows_bytes + work.block_bytes + max(0, stored - sampled)
    each = {"mask": _CODES_BYTES, "probability": _PROBABILITY_BYTES, "quality": _CODES_BYTES}
    # All three are written window by window; those that are asked for are then finished beside them.
    bytes_per_pixel = sum(each.values()) + _OVERVIEWS * sum(each[name] for name in rasters) + _EVIDENCE_BYTES * evidence
    return Estimate(seconds, round(memory), math.ceil(work.written * bytes_per_pixel))


def estimate_run(pair: Pair, predictor: Predictor, area: Window, rasters: Sequence[str], evidence: bool = False) -> Estimate:
    """What it will take to map an area of an open pair, from a trial of about a second at most; a small area's is shorter.

    Args:
        pair: open and measured.
        predictor: fitted to it.
        area: part of the pair's grid.
        rasters, evidence: see `estimate`.
    """
    work = work_of(pair, predictor, area, predictor.window_size)
    pace, cache_bytes = measure_pace(pair, predictor, work), get_gdal_config("GDAL_CACHEMAX")
    return estimate(work, pace, rasters, window_threads(), cache_bytes, evidence)


def work_of(pair: Pair, predictor: Predictor, area: Window, size: int) -> Work:
    """How much `detect.predicted` has to do for an area, with windows of this size, but for what it cuts of the first."""
    step = predictor.alignment
    halo = predictor.halo
    whole = aligned_windows(area, size, step)
    patches = [(_up(one.height, step) + 2 * halo, _up(one.width, step) + 2 * halo) for one in whole]
    largest = max(patches, key=math.prod)
    return Work(
        stored_pixels(pair, [grow(area, halo), *pair.sampled]),
        stored_pixels(pair, pair.sampled),
        sum(map(math.prod, patches)),
        int(area.width * area.height),
        largest,
        2 * len(pair.bands) * _FLOAT32 * _COPIES + predictor.bytes_per_pixel,
        int(pair.block_bytes(area.width + 2 * halo)),
    )


def stored_pixels(pair: Pair, parts: Sequence[Window]) -> int:
    """How many pixels are decoded for parts of the pair's grid: whole blocks, each once, summed over bands and dates."""
    return sum(_stored_pixels(scene, pair, parts) for scene in (pair.before, pair.after))


def _stored_pixels(scene: Scene, pair: Pair, parts: Sequence[Window]) -> int:
    chosen = [scene.bands[name] for name in pair.bands]
    found: dict[tuple[Grid, tuple[int, int]], int] = {}
    total = 0
    for path in {band.path for band in chosen}:
        with open_raster(path) as dataset:
            blocks = dataset.block_shapes
        for band in chosen:
            if band.path == path:
                key = (band.grid, blocks[band.index - 1])
                if key not in found:
                    found[key] = _covered(*key, [pair.grid.crop(part) for part in parts])
                total += found[key]
    return total


def measure_pace(pair: Pair, predictor: Predictor, work: Work) -> Pace:
    """Read and predict a little of the pair, by one thread, and see what it costs.

    What reading the samples took at first, beyond what it takes again, is the decoding. For few pixels nothing is read again, and all of it
    counts as that.
    """
    few = work.seen <= _FEW
    sampled = pair.sampled[-1]
    least = 2 * predictor.halo + predictor.alignment
    shape = min(max(_TRIAL, least), work.patch[0]), min(max(_TRIAL, least), work.patch[1])
    patches = [_tiled(image, shape) for image in (pair.samples[-1].before, pair.samples[-1].after)]
    with ThreadPoolExecutor(1, "trial", share_cores, (1,)) as alone:
        lay_s = 0.0 if few else min(alone.submit(_seconds_of, lambda: pair.read(sampled)).result() for _ in range(2))
        predict_s = alone.submit(_seconds_of, lambda: predictor.probability(*patches)).result()
        # The first time, PyTorch prepares itself.
        if predict_s < _LONGEST and not few:
            predict_s = min(predict_s, alone.submit(_seconds_of, lambda: predictor.probability(*patches)).result())
    decode_s = max(0.0, pair.sampling_s * window_threads() - lay_s * len(pair.timed))
    # What shows nothing of both dates is not predicted.
    observed = float(np.mean([(sample.quality == Quality.OBSERVED).any() for sample in pair.spread]))
    return Pace(
        decode_s / max(1, stored_pixels(pair, pair.timed)),
        lay_s / (sampled.width * sampled.height),
        predict_s / math.prod(shape) * observed,
        psutil.Process().memory_info().rss,
    )


def room(folder: Path | None = None) -> Room:
    """What this machine, or the container that we run in, has for this process, and a folder's disk for its files."""
    free = min([psutil.virtual_memory().available, *_free_in_container(Path("/sys/fs/cgroup"))])
    return Room(psutil.Process().memory_info().rss + free, disk_usage(folder).free if folder else None)


def require_room(expected: Estimate, there: Room) -> None:
    """Refuse a run that would not fit.

    Raises:
        NotEnoughMemory: it needs more memory than there is.
        OutputError: it needs more disk than there is.
    """
    if expected.memory_bytes > there.memory_bytes:
        raise NotEnoughMemory(
            f"The run needs {size_text(expected.memory_bytes)} of memory, and {size_text(there.memory_bytes)} is free for it. "
            "Close other programs, or choose a smaller part with --bounds."
        )
    if there.disk_bytes is not None and expected.disk_bytes > there.disk_bytes:
        raise OutputError(
            f"The results need up to {size_text(expected.disk_bytes)} of disk while they are made, and {size_text(there.disk_bytes)} "
            "is free there. Choose a folder on another disk, free some space, or choose a smaller part with --bounds."
        )


def time_text(seconds: float) -> str:
    """A time as a person says it: "About 3 minutes"."""
    if seconds < 5:
        return "A few seconds"
    if seconds < 55:
        step = 5 if seconds < 15 else 10
        return f"About {step * round(seconds / step)} seconds"
    if seconds < 5400:
        minutes = max(1, round(seconds / 60))
        return f"About {minutes} minute{'s' if minutes > 1 else ''}"
    return f"About {round(seconds / 3600)} hours"


def size_text(size: float) -> str:
    """Bytes as a person says them: "1.8 GB", "40 MB", "1.3 MB"."""
    if size >= 1e8:
        return f"{size / 1e9:.1f} GB"
    return f"{math.ceil(size / 1e6)} MB" if size >= 1e7 else f"{math.ceil(size / 1e5) / 10:g} MB"


def _up(length: float, step: int) -> int:
    return math.ceil(length / step) * step


def _covered(grid: Grid, block: tuple[int, int], parts: Sequence[Grid]) -> int:
    """Pixels of a grid in the blocks that hold any ground of the parts."""
    tall, wide = block
    blocks: set[tuple[int, int]] = set()
    for part in parts:
        window = bounds_window(grid, part.bounds, part.crs)
        if window:
            rows = range(int(window.row_off) // tall, _up(window.row_off + window.height, tall) // tall)
            cols = range(int(window.col_off) // wide, _up(window.col_off + window.width, wide) // wide)
            blocks.update(product(rows, cols))
    return sum(min(tall, grid.height - row * tall) * min(wide, grid.width - col * wide) for row, col in blocks)


def _tiled(image: Array, shape: tuple[int, int]) -> Array:
    """An image (band, row, col) beside and below itself until it has this many rows and cols."""
    repeats = [math.ceil(asked / length) for asked, length in zip(shape, image.shape[1:], strict=True)]
    return np.ascontiguousarray(np.tile(image, (1, *repeats))[:, : shape[0], : shape[1]])


def _seconds_of(call: Callable[[], object]) -> float:
    begun = perf_counter()
    call()
    return perf_counter() - begun


def _free_in_container(root: Path) -> list[int]:
    """Bytes of memory that are left below the limit of our control group, where the kernel shows one."""
    free = []
    for limit, used, forgettable in _CGROUPS:
        try:
            most = int((root / limit).read_text("ascii"))
            stat = dict(line.split() for line in (root / limit).with_name("memory.stat").read_text("ascii").splitlines())
            free.append(most - int((root / used).read_text("ascii")) + int(stat.get(forgettable, 0)))
        except (OSError, ValueError):
            # Not there, or "max": no limit.
            continue
    return free
