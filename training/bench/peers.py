"""What others do on the same pair: a naive loop, a tile loop in ONNX Runtime, and Orfeo Toolbox."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from rasterio.io import DatasetReader
from rasterio.windows import Window

from s2change_plugin.engine.model import Model, load_model

from .scenes import MODEL

Floats = npt.NDArray[np.float32]
# (3, band, row, col) of a tile to logits (row, col).
Predict = Callable[[Floats], Floats]

# Our own loops: side of a tile in pixels, and the share of it that two neighbours have in common. Deepness
# (https://github.com/PUTvision/qgis-plugin-deepness) comes with those of the second.
_LOOPS = {"naive": (256, 0.25), "onnx": (512, 0.15)}
_OTB = "otbcli_MultivariateAlterationDetector"

# What each is, in the table.
PEERS = {
    "naive": "Naive loop: PyTorch eager, float32, NCHW, {}² patches with {:.0%} overlap".format(*_LOOPS["naive"]),
    "onnx": "ONNX Runtime, float32, {}² tiles with {:.0%} overlap, one at a time, as Deepness does".format(*_LOOPS["onnx"]),
    "otb": "Orfeo Toolbox, MultivariateAlterationDetector",
}


def missing(name: str) -> str | None:
    """What to install before a peer can be measured, or None where it is there."""
    if name == "onnx" and not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        return "pip install onnxruntime onnx onnxscript"
    if name == "otb" and shutil.which(_OTB) is None:
        return "apt-get install otb-bin"
    return None


def otb_command(before: Path, after: Path, output: Path) -> list[str]:
    """Orfeo Toolbox on the pair; a program of its own."""
    return [_OTB, "-in1", str(before), "-in2", str(after), "-out", str(output), "float"]


def run_peer(name: str, before: Path, after: Path) -> dict[str, Any]:
    """The naive loop or the one in ONNX Runtime, over the whole pair; seconds without imports and export."""
    model = load_model(MODEL, "cpu", "float32")
    with tempfile.TemporaryDirectory(dir=before.parent) as folder, rasterio.open(before) as raster:
        step = 2**model.card.depth
        side, overlap = _LOOPS[name]
        tile = min(side, min(raster.shape) // step * step)
        predict = _eager(model) if name == "naive" else _exported(model, Path(folder) / "network.onnx", tile)
        begin = time.perf_counter()
        _tile_loop(raster, after, Path(folder) / "result.tif", model, predict, tile, overlap)
        return {"seconds": time.perf_counter() - begin}


def _tile_loop(
    first: DatasetReader, after: Path, output: Path, model: Model, predict: Predict, tile: int, overlap: float
) -> None:
    """Read and predict tile after tile, then write all; of two that overlap, each gives its half."""
    height, width = first.shape
    margin = _margin(tile, overlap)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (model.card.mean, model.card.std))
    result = np.empty((height, width), np.float32)
    with rasterio.open(after) as second:
        for row in starts(height, tile, margin):
            for col in starts(width, tile, margin):
                window = Window(col, row, tile, tile)
                dates = [(raster.read(window=window).astype(np.float32) / 10000 - mean) / std for raster in (first, second)]
                logits = predict(np.stack([*dates, dates[1] - dates[0]]))
                top, left = (margin if place else 0 for place in (row, col))
                result[row + top : row + tile, col + left : col + tile] = 1 / (1 + np.exp(-logits[top:, left:]))
    profile = {"dtype": "float32", "count": 1, "height": height, "width": width, "compress": "deflate", "tiled": True}
    with rasterio.open(output, "w", driver="GTiff", **profile) as raster:
        raster.write(result, 1)


def tile_count(name: str, size: int) -> int:
    """Of how many tiles one of our own loops makes a square of so many pixels along a side."""
    side, overlap = _LOOPS[name]
    side = min(side, size)
    return len(starts(size, side, _margin(side, overlap))) ** 2


def _margin(tile: int, overlap: float) -> int:
    return round(tile * overlap / 2)


def starts(length: int, tile: int, margin: int) -> list[int]:
    """Where tiles begin along one side, two neighbours sharing twice the margin; the last ends with the raster."""
    places = list(range(0, max(length - tile, 0), tile - 2 * margin))
    return [*places, max(length - tile, 0)]


def _eager(model: Model) -> Predict:
    network = model.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def predict(shown: Floats) -> Floats:
        with torch.no_grad():
            logits = network(*(torch.from_numpy(one)[None] for one in shown))
        return np.asarray(logits[0, 0].numpy())

    return predict


def _exported(model: Model, path: Path, tile: int) -> Predict:
    # Optional, and without types.
    onnxruntime: Any = import_module("onnxruntime")
    example = tuple(torch.zeros(1, len(model.card.bands), tile, tile) for _ in range(3))
    names = ("before", "after", "difference")
    torch.onnx.export(model.network, example, path, input_names=names, output_names=("logits",), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def predict(shown: Floats) -> Floats:
        (logits,) = session.run(None, {name: one[None] for name, one in zip(names, shown, strict=True)})
        return np.asarray(logits[0, 0])

    return predict
