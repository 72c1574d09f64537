"""Opening rasters, and looking at some of their numbers."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from .errors import UnreadableInput
from .grid import sample_windows

# What QGIS adds to the path of a vector file.
_OF_LAYER = re.compile(r"\|(?:layername|layerid|subset)=")
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


def files_behind(source: str) -> list[str]:
    """The files that a raster, or a layer of polygons as QGIS names it too, is read from: itself, and those that a VRT names, or one that it names."""
    waiting = [source if os.path.isfile(source) else _OF_LAYER.split(source)[0]]
    found: list[str] = []
    while waiting:
        path = waiting.pop()
        if path not in found:
            # GDAL lists those that a raster names itself, and no further.
            waiting += _named_in(path) if not found or path.lower().endswith(".vrt") else []
            found.append(path)
    return found


def _named_in(path: str) -> list[str]:
    """The files that a raster names, or a VRT of polygons does; none of what is neither."""
    try:
        with open_raster(path) as dataset:
            return list(dataset.files)
    except UnreadableInput:
        pass
    if not path.lower().endswith(".vrt"):
        return []
    # Source: https://gdal.org/drivers/vector/vrt.html
    try:
        layers = fromstring(Path(path).read_bytes(), forbid_dtd=True).iter("SrcDataSource")
    except (OSError, ParseError, ValueError, LookupError):
        return []
    folders = {True: os.path.dirname(path), False: ""}
    return [os.path.join(folders[layer.get("relativeToVRT") == "1"], layer.text.strip()) for layer in layers if layer.text]


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
