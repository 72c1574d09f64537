"""Files decoded block by block: each block once while it is needed, by as many threads as ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from .grid import intersect, slices_in

# Blocks that are not in use are forgotten from here on, bytes. A tile pair of ten bands needs 500 MB to decode each block once.
BUDGET = 768 << 20
# Smaller blocks are decoded together, pixels: more of them at once are read faster.
_SMALLEST = 512

Values = NDArray[Any]


@dataclass(frozen=True)
class _Part:
    """Some of a file that is decoded at once: whole blocks.

    Attributes:
        path: the file.
        place: (col, row, width, height) of what it covers.
        indexes: its layers.
    """

    path: str
    place: tuple[int, int, int, int]
    indexes: tuple[int, ...]

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.place[1] + self.place[3]

    @property
    def right(self) -> int:
        """The first column right of it."""
        return self.place[0] + self.place[2]

    def bytes_in(self, dataset: DatasetReader) -> int:
        """What it holds."""
        itemsize: int = np.dtype(dataset.dtypes[self.indexes[0] - 1]).itemsize
        return self.place[2] * self.place[3] * len(self.indexes) * itemsize


class BlockCache:
    """Values as stored, of any window of any file.

    A part of a file is decoded by the first thread that asks for it; others that need it wait for that one. Each thread has file
    handles of its own, since GDAL's are not made for more than one.
    """

    def __init__(self, opened: Callable[[str], DatasetReader], budget: int = BUDGET) -> None:
        """Keep at most `budget` bytes of what is not in use; `opened` opens a path."""
        self._opened, self._budget = opened, budget
        self._lock = threading.Lock()
        self._parts: OrderedDict[_Part, Future[Values]] = OrderedDict()
        self._layers: dict[str, tuple[int, ...]] = {}
        self._handles = threading.local()
        self._stack = ExitStack()

    def add(self, path: str, indexes: Sequence[int]) -> None:
        """Say that these layers of a file will be read; all that are read of one file are decoded together."""
        with self._lock:
            self._layers[path] = tuple(sorted({*self._layers.get(path, ()), *indexes}))

    def read(self, path: str, indexes: Sequence[int], window: Window) -> Values:
        """The stored values of a window inside the file: (layer, row, col) of the file's type.

        Args:
            path: that was added, with at least these layers.
            indexes: layers, from 1.
            window: whole pixels.

        Raises:
            RasterioError: it cannot be read.
        """
        dataset, layers = self._handle(path), self._layers[path]
        places = [layers.index(index) for index in indexes]
        found: Values = np.empty((len(places), int(window.height), int(window.width)), dataset.dtypes[indexes[0] - 1])
        for part in _parts_under(window, dataset):
            where = int(part.col_off), int(part.row_off), int(part.width), int(part.height)
            values = self._decoded(_Part(path, where, layers), dataset)
            shared = intersect(part, window) or part
            rows, cols = slices_in(shared, window)
            from_rows, from_cols = slices_in(shared, part)
            for layer, place in enumerate(places):
                found[layer, rows, cols] = values[place, from_rows, from_cols]
        return found

    def forget(self, path: str, above: float, left: float) -> None:
        """Drop what lies wholly above a row and left of a column of a file, since it will not be asked for again."""
        with self._lock:
            for part, values in list(self._parts.items()):
                if part.path == path and part.bottom <= above and part.right <= left and values.done():
                    del self._parts[part]

    def part_shape(self, path: str) -> tuple[int, int]:
        """(rows, cols) of the file that are decoded at once."""
        return _sides(self._handle(path))

    def bytes_per_column(self, path: str) -> float:
        """What one column of a row of its parts holds."""
        dataset = self._handle(path)
        tall, _ = _sides(dataset)
        return float(tall * len(self._layers[path]) * np.dtype(dataset.dtypes[0]).itemsize)

    def close(self) -> None:
        """Close the files and forget what was read; no thread may be reading."""
        self._stack.close()
        self._parts.clear()

    def _handle(self, path: str) -> DatasetReader:
        """This thread's own."""
        handles: dict[str, DatasetReader] = self._handles.__dict__.setdefault("of_path", {})
        if path not in handles:
            dataset = self._opened(path)
            with self._lock:
                # Entered, it would have to be closed by this thread.
                self._stack.callback(dataset.close)
            handles[path] = dataset
        return handles[path]

    def _decoded(self, part: _Part, dataset: DatasetReader) -> Values:
        with self._lock:
            coming = self._parts.get(part)
            mine = coming is None
            if coming is None:
                self._make_room(part.bytes_in(dataset))
                coming = self._parts[part] = Future()
            else:
                self._parts.move_to_end(part)
        if mine:
            try:
                coming.set_result(dataset.read(part.indexes, window=Window(*part.place)))
            except BaseException as error:
                with self._lock:
                    self._parts.pop(part, None)
                coming.set_exception(error)
                raise
        return coming.result()

    def _make_room(self, wanted: int) -> None:
        """Forget what was asked for longest ago until so many bytes fit."""
        held = sum(future.result().nbytes for future in self._parts.values() if future.done())
        for part in list(self._parts):
            if held + wanted <= self._budget:
                break
            if self._parts[part].done():
                held -= self._parts.pop(part).result().nbytes


def _sides(dataset: DatasetReader) -> tuple[int, int]:
    """(rows, cols) of the parts of a file: whole blocks, of at least `_SMALLEST` pixels each way."""
    tall, wide = (side * max(1, _SMALLEST // side) for side in dataset.block_shapes[0])
    return tall, wide


def _parts_under(window: Window, dataset: DatasetReader) -> list[Window]:
    """The parts of a file that a window touches."""
    tall, wide = _sides(dataset)
    return [
        Window(col, row, min(wide, dataset.width - col), min(tall, dataset.height - row))
        for row in range(int(window.row_off) // tall * tall, int(window.row_off + window.height), tall)
        for col in range(int(window.col_off) // wide * wide, int(window.col_off + window.width), wide)
    ]
