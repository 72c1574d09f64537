"""Opening rasters, and looking at some of their numbers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from .errors import UnreadableInput
from .grid import sample_windows

# Of windows spread over a layer: values (window, pixel), whether they are numbers and not nodata, and the layer's size.
Looked = tuple[NDArray[Any], NDArray[np.bool_], tuple[int, int]]


def open_raster(path: str) -> DatasetReader:
    """An open raster; UnreadableInput where there is none."""
    try:
        with warnings.catch_warnings():
            # Whoever needs a place on the ground says so in a sentence of ours.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioError as error:
        reason = "does not exist" if is_missing(path) else f"is not a raster that can be read ({_first_line(error)})"
        raise UnreadableInput(f"{path} {reason}.") from error


def damaged(path: str, error: Exception) -> UnreadableInput:
    """What is said of a raster that opened and cannot be read."""
    return UnreadableInput(
        f"{path} cannot be read to its end, it is damaged ({_first_line(error.__cause__ or error)}). Get it again."
    )


def is_missing(path: str) -> bool:
    """True for a file that is not there; what GDAL opens by another name than a file's is not looked for."""
    return not path.startswith("/vsi") and ":" not in path[2:] and not Path(path).exists()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


def values_over(path: str, index: int) -> NDArray[Any]:
    """The finite values of windows spread over a layer, without nodata."""
    ((values, there, _),) = spread_over(path, [index])
    return values[there]


def spread_over(path: str, indexes: Sequence[int]) -> list[Looked]:
    """Windows spread over a file, of each layer; 0 is nodata where integers do not say."""
    with open_raster(path) as dataset:
        windows = sample_windows(dataset.height, dataset.width, 256, 9)
        try:
            # Window by window, whose blocks hold all layers; layer by layer, which may be of several types.
            parts = [[dataset.read(index, window=window, masked=True).ravel() for index in indexes] for window in windows]
        except RasterioError as error:
            raise damaged(path, error) from error
        found = []
        for index, layers in zip(indexes, zip(*parts, strict=True), strict=True):
            layer = np.ma.stack(layers)
            fill = 0 if dataset.nodatavals[index - 1] is None and not dataset.dtypes[index - 1].startswith("float") else None
            there = ~np.ma.getmaskarray(layer) & np.isfinite(layer.data) & (layer.data != fill)
            found.append((layer.data, there, dataset.shape))
    return found
