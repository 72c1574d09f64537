"""The bare parts of a run, each alone with all cores, as fast as we can do it: what a whole run is held against.

Each gives its own seconds, without the start of its process. What is taken from the engine is the network; the rest is done here
the plain way, so that a slow engine has no slow measure.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from rasterio.windows import Window
from torch import Tensor, nn

from s2change_plugin.engine.__main__ import keep_freed_memory
from s2change_plugin.engine.appearance import Appearance
from s2change_plugin.engine.folded import FoldedNet
from s2change_plugin.engine.grid import windows
from s2change_plugin.engine.model import Model, load_model
from s2change_plugin.engine.threads import cores, share_cores

from .inside import inside
from .scenes import BLOCK, MODEL, SHIFT

T = TypeVar("T")
Floats = npt.NDArray[np.float32]
Part = dict[str, Any]

PATCHES = (256, 512, 1024)
# There are tens of layers, and three sizes of patch and four ways for each.
_LAYER_SHARE = 0.05
_WAYS = {
    f"{number}, {layout}": (kind, order)
    for number, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    for layout, order in (("channels last", torch.channels_last), ("channels first", torch.contiguous_format))
}
_CORES = cores()


def read_blocks(*paths: Path) -> Part:
    """Read every block of some files once, each core with its own open files."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(_CORES) as pool:
        # Every so many-th row of blocks, so that all cores end together.
        shares = [(path, core) for core in range(_CORES) for path in paths]
        pixels = sum(pool.map(_read_share, shares))
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "note": f"{pixels / 1e6 / seconds:,.0f} million numbers a second"}


def _read_share(share: tuple[Path, int]) -> int:
    path, core = share
    with rasterio.Env(GDAL_NUM_THREADS="1"), rasterio.open(path) as raster:
        tall, wide = raster.block_shapes[0]
        out, pixels = np.empty((raster.count, tall, wide), raster.dtypes[0]), 0
        for row in range(core * tall, raster.height, _CORES * tall):
            for col in range(0, raster.width, wide):
                window = Window(col, row, min(wide, raster.width - col), min(tall, raster.height - row))
                pixels += raster.read(out=out[:, : window.height, : window.width], window=window).size
    return pixels


def resample(path: Path, bands: int, steady: float) -> Part:
    """Shift so many bands of a tile by part of a pixel with a cubic kernel, from memory to memory.

    Args:
        path: stack of the tile; its first block stands for all.
        bands: that are to be resampled, of both dates together.
        steady: seconds that are measured before they are scaled up.
    """
    with rasterio.open(path) as raster:
        size = raster.width
        values = raster.read(window=Window(0, 0, min(size, BLOCK), min(size, BLOCK)))
    begin, pixels = time.perf_counter(), 0
    with ThreadPoolExecutor(_CORES) as pool:
        while time.perf_counter() - begin < steady:
            pixels += sum(done.size for done in pool.map(_shifted, [values] * _CORES))
    rate = pixels / (time.perf_counter() - begin)
    seconds = size * size * bands / rate
    return {"seconds": seconds, "note": f"{rate / 1e6:,.0f} million numbers a second, scaled up from {steady:g} s"}


def _shifted(values: npt.NDArray[np.uint16]) -> Floats:
    """Bands (band, row, col) moved by `SHIFT`, and shorter by the kernel's reach: first along rows, then along columns."""
    down, right = (cubic_weights(part % 1) for part in SHIFT)
    found = []
    for band in values.astype(np.float32):
        tall = sum(weight * band[at : at + len(band) - 3] for at, weight in enumerate(down))
        found.append(sum(weight * tall[:, at : at + band.shape[1] - 3] for at, weight in enumerate(right)))
    return np.stack(found)


def cubic_weights(fraction: float) -> Floats:
    """Weights of the four samples around a place that lies so far, 0–1, beyond the second of them.

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing", with a = −0.5.
    """
    t = np.abs(np.arange(-1, 3) - fraction)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.asarray(np.where(t <= 1, near, far), np.float32)


def write_rasters(mask: Path, probability: Path, quality: Path) -> Part:
    """Write the three results of a run once, as plain tiled GeoTIFF with the engine's compression, each in a thread of its own."""
    with tempfile.TemporaryDirectory(dir=mask.parent) as folder:
        results = [(_read_all(path), Path(folder) / path.name) for path in (mask, probability, quality)]
        begin = time.perf_counter()
        with ThreadPoolExecutor(len(results)) as pool:
            list(pool.map(_write_one, results))
        return {"seconds": time.perf_counter() - begin, "note": "without overviews"}


def _read_all(path: Path) -> npt.NDArray[np.uint8]:
    with rasterio.open(path) as raster:
        return np.asarray(raster.read(1))


def _write_one(result: tuple[npt.NDArray[np.uint8], Path]) -> None:
    values, path = result
    height, width = values.shape
    tiles = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "zlevel": 1, "num_threads": _CORES}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width, nodata=255, **tiles
    ) as raster:
        for window in windows(height, width, BLOCK):
            raster.write(values[window.toslices()], 1, window=window)


def network(size: int, steady: float) -> Part:
    """The shipped network over size² pixels, in patches of their best size that share no pixel, `steady` seconds each.

    The margin that the engine's network leaves out on its way up lies within the patch here, and counts as done.
    """
    model = load_model(MODEL, "cpu")
    best, per_pixel = _best_patch(model, size, steady)
    flops = sum(layer.flops * times for layer, times in layers_of(model, best).items()) / best**2
    note = f"{best}² patches, {model.precision}, {flops / per_pixel / 1e9:,.0f} GFLOP/s, scaled up from {steady:g} s"
    return {"seconds": per_pixel * size**2, "note": note}


def _best_patch(model: Model, size: int, steady: float) -> tuple[int, float]:
    """The side of the patches in which the network is fastest, and its seconds for a pixel of one."""
    folded = _folded(model)
    per_pixel = {patch: _seconds_of_each(folded, _patch_of(model, patch), steady) / patch**2 for patch in _patches_within(size)}
    best = min(per_pixel, key=lambda patch: per_pixel[patch])
    return best, per_pixel[best]


def _patches_within(size: int) -> list[int]:
    """Sides of patches to try, none larger than the tile."""
    return [patch for patch in PATCHES if patch <= size]


def _folded(model: Model) -> FoldedNet:
    """The network as the engine runs it."""
    bands = len(model.card.bands)
    return model.for_appearance(Appearance(np.zeros((2, bands)), np.zeros(bands), np.eye(bands))).folded


def _patch_of(model: Model, patch: int) -> list[Tensor]:
    """The network's input, random, as the engine lays it out."""
    kind = torch.bfloat16 if model.precision == "bfloat16" else torch.float32
    before, after, difference = torch.randn(3, len(model.card.bands), patch, patch)
    return _folded(model).laid_out([(0, (before, after, difference))], patch, kind)


@dataclass(frozen=True)
class Layer:
    """A layer as the network runs it; equal ones are one.

    Attributes:
        kind: "conv" or "up" (transposed convolution).
        side: of its kernel, pixels.
        inputs, outputs: channels.
        shape: of its input, (n, c, h, w).
        flops: a multiplication and an addition are two.
    """

    kind: str
    side: int
    inputs: int
    outputs: int
    shape: tuple[int, ...]
    flops: int

    @property
    def name(self) -> str:
        """What it does, whatever the size of the patch."""
        return f"{self.kind} {self.side}×{self.side}, {self.inputs} → {self.outputs}"

    def build(self) -> nn.Module:
        """A layer like it, with random weights and a bias."""
        if self.kind == "up":
            return nn.ConvTranspose2d(self.inputs, self.outputs, self.side, 2, self.side // 2 - 1)
        return nn.Conv2d(self.inputs, self.outputs, self.side, padding=self.side // 2)


def layers_of(model: Model, patch: int) -> Counter[Layer]:
    """Layers that the network runs for a patch, and how often each.

    Convolutions and transposed convolutions; what else it does, such as pooling, counts as nothing.
    """
    found: Counter[Layer] = Counter()

    def note(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        found[_described(module, tuple(given[0].shape), tuple(result.shape))] += 1

    folded = _folded(model)
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [module.register_forward_hook(note) for module in folded.modules() if isinstance(module, kinds)]
    with torch.inference_mode():
        folded(_patch_of(model, patch))
    for hook in hooks:
        hook.remove()
    return found


def _described(module: nn.Module, given: tuple[int, ...], result: tuple[int, ...]) -> Layer:
    kind, place = ("conv", result) if isinstance(module, nn.Conv2d) else ("up", given)
    side = int(module.kernel_size[0])  # type: ignore[index]
    flops = 2 * side**2 * given[1] * result[1] * place[0] * place[2] * place[3]
    return Layer(kind, side, given[1], result[1], given, flops)


def layers(size: int, steady: float) -> Part:
    """The sum of the network's layers over size² pixels, each timed alone, a twentieth of `steady` seconds.

    Each has the work that it has in the network's best patch, and the rate of the patch, precision and layout in which it is fastest.
    """
    model = load_model(MODEL, "cpu")
    best, _ = _best_patch(model, size, steady)
    # A cell of its output is the same work in any patch.
    fastest: dict[str, tuple[float, str]] = {}
    for patch in _patches_within(size):
        for layer in layers_of(model, patch):
            for way, how in _WAYS.items():
                each = _layer_seconds(layer, *how, steady * _LAYER_SHARE) / layer.flops
                fastest[layer.name] = min(fastest.get(layer.name, (math.inf, "")), (each, f"{way}, {patch}²"))
    rows = [_row(layer, times, *fastest[layer.name]) for layer, times in layers_of(model, best).items()]
    seconds, work = (sum(row["times"] * row[what] for row in rows) / best**2 for what in ("seconds", "gflop"))
    note = f"{best}² patches, {work / seconds:,.0f} GFLOP/s, scaled up from {steady * _LAYER_SHARE:g} s each"
    return {"seconds": seconds * size**2, "note": note, "layers": rows}


def _row(layer: Layer, times: int, each: float, way: str) -> Part:
    n, channels, height, width = layer.shape
    return {
        "name": layer.name,
        "input": f"{n} × {channels} × {height} × {width}",
        "times": times,
        "way": way,
        "seconds": each * layer.flops,
        "gflop": layer.flops / 1e9,
    }


def _layer_seconds(layer: Layer, kind: torch.dtype, layout: torch.memory_format, steady: float) -> float:
    module = layer.build().to(kind).eval().to(memory_format=layout)  # type: ignore[call-overload]
    given = torch.randn(layer.shape).to(kind).to(memory_format=layout)
    return _seconds_of_each(module, given, steady)


def _seconds_of_each(module: nn.Module, given: Tensor | list[Tensor], least: float) -> float:
    """Seconds that a module takes for an input, where each core works on one of its own, as the engine has it."""

    def run(_: int) -> None:
        with torch.inference_mode():
            module(given)

    with ThreadPoolExecutor(_CORES, initializer=share_cores, initargs=(1,)) as pool:
        return _seconds(lambda: list(pool.map(run, range(_CORES))), least) / _CORES


def _seconds(work: Callable[[], T], least: float) -> float:
    """Median seconds of a piece of work, done once to warm up and then for so many seconds, three times at least."""
    work()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < least:
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return median(taken)


PARTS: dict[str, Callable[..., Part]] = {
    "inside": inside,
    "read": read_blocks,
    "resample": resample,
    "network": network,
    "layers": layers,
    "write": write_rasters,
}


def run_part(name: str, arguments: Iterable[str]) -> Part:
    """One of `PARTS`, with its arguments as a command line gives them: numbers, and paths."""
    keep_freed_memory()
    return PARTS[name](*map(_argument, arguments))


def _argument(text: str) -> int | float | Path:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return Path(text)
