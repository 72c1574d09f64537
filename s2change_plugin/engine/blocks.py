"""Files decoded block by block: each block once while it is needed, by as many threads as ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from .grid import intersect, slices_in

# Blocks that are not in use are forgotten from here on, bytes. A tile pair of ten bands needs 500 MB to decode each block once.
BUDGET = 768 << 20
# Smaller blocks are decoded together, up to so many pixels along a side: more of them at once are read faster.
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

    @classmethod
    def of(cls, path: str, part: Window, indexes: tuple[int, ...]) -> _Part:
        """The part of a file that covers a window of it."""
        return cls(path, (int(part.col_off), int(part.row_off), int(part.width), int(part.height)), indexes)

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.place[1] + self.place[3]

    @property
    def right(self) -> int:
        """The first column right of it."""
        return self.place[0] + self.place[2]


@dataclass(frozen=True)
class _File:
    """What is known of a file, and its open handles.

    Attributes:
        shape: (height, width).
        sides: (rows, cols) of its parts: whole blocks.
        dtypes: of each of its layers, which are of several types in some virtual rasters.
        dtype: that holds all layers which are read.
        idle: open handles that no thread uses.
    """

    shape: tuple[int, int]
    sides: tuple[int, int]
    dtypes: tuple[str, ...]
    dtype: np.dtype[Any]
    idle: list[DatasetReader]

    def parts_under(self, window: Window) -> list[Window]:
        """The parts that a window touches."""
        (height, width), (tall, wide) = self.shape, self.sides
        return [
            Window(col, row, min(wide, width - col), min(tall, height - row))
            for row in range(int(window.row_off) // tall * tall, int(window.row_off + window.height), tall)
            for col in range(int(window.col_off) // wide * wide, int(window.col_off + window.width), wide)
        ]


class BlockCache:
    """Values as stored, of any window of any file.

    A part of a file is decoded by the first thread that asks for it; others that need it wait for that one. A file has as many
    handles as threads read it at a time, since GDAL's are not made for more than one.
    """

    def __init__(self, opened: Callable[[str], DatasetReader], budget: int = BUDGET) -> None:
        """Keep at most `budget` bytes of what is not in use; `opened` opens a path."""
        self._opened, self.budget = opened, budget
        self._lock = threading.Lock()
        self._parts: OrderedDict[_Part, Future[Values]] = OrderedDict()
        self._limits: dict[_Part, tuple[float, float]] = {}
        # A file, and where in it values are that were decoded and then had to make room.
        self._aside: tuple[Any, dict[_Part, int]] = (None, {})
        self._files: dict[str, _File] = {}
        self._layers: dict[str, tuple[int, ...]] = {}
        self._stack = ExitStack()

    def add(self, path: str, indexes: Sequence[int]) -> None:
        """Say that these layers of a file will be read; all that are read of one file are decoded together.

        Raises:
            what opening it raises.
        """
        if path not in self._files:
            dataset = self._stack.enter_context(closing(self._opened(path)))
            self._files[path] = _File(
                dataset.shape, _sides(*dataset.block_shapes[0]), dataset.dtypes, np.dtype(np.void), [dataset]
            )
        file, layers = self._files[path], tuple(sorted({*self._layers.get(path, ()), *indexes}))
        self._layers[path] = layers
        self._files[path] = replace(file, dtype=np.result_type(*(file.dtypes[layer - 1] for layer in layers)))

    def read(self, path: str, indexes: Sequence[int], window: Window, into: Values | None = None) -> Values:
        """The stored values of a window inside the file: (layer, row, col).

        Args:
            path: that was added, with at least these layers.
            indexes: layers, from 1.
            window: whole pixels.
            into: where to, of any type; None is an array of the file's.

        Raises:
            RasterioError: it cannot be read.
        """
        file, layers = self._files[path], self._layers[path]
        places = [layers.index(index) for index in indexes]
        found = np.empty((len(places), int(window.height), int(window.width)), file.dtype) if into is None else into
        for part in file.parts_under(window):
            values = self._decoded(_Part.of(path, part, layers))
            shared = intersect(part, window) or part
            rows, cols = slices_in(shared, window)
            from_rows, from_cols = slices_in(shared, part)
            for layer, place in enumerate(places):
                found[layer, rows, cols] = values[place, from_rows, from_cols]
        return found

    def limits(self, path: str, window: Window) -> tuple[float, float]:
        """Values between which all lie, of all layers, in a window of a file that was read before: NaN where that is among them."""
        layers = self._layers[path]
        found = np.array([self._limits[_Part.of(path, part, layers)] for part in self._files[path].parts_under(window)])
        return float(found[:, 0].min()), float(found[:, 1].max())

    def forget(self, path: str, above: float, left: float) -> None:
        """Drop what lies wholly above a row and left of a column of a file, since it will not be asked for again."""
        with self._lock:
            for part, values in list(self._parts.items()):
                if part.path == path and part.bottom <= above and part.right <= left and values.done():
                    del self._parts[part]

    def fetch(self, wanted: Iterable[tuple[str, Window]]) -> None:
        """Decode what windows of files need and no thread decodes already: nobody waits while there is something to decode.

        What cannot be read is left to `read`.
        """
        parts = [
            _Part.of(path, part, self._layers[path]) for path, window in wanted for part in self._files[path].parts_under(window)
        ]
        with suppress(RasterioError):
            for part in parts:
                if part not in self._parts:
                    self._decoded(part)

    def set_aside(self, most: int, folder: Path) -> None:
        """Keep everything in a folder if it is more than so many bytes, or drop it if the disk has no room; no thread may be reading."""
        if sum(map(self._bytes_in, self._parts)) <= most:
            return
        with suppress(OSError), ExitStack() as stack:
            file = stack.enter_context(TemporaryFile(dir=folder))
            starts = {}
            for part, values in self._parts.items():
                starts[part] = file.tell()
                values.result().tofile(file)
            self._aside = file, starts
            self._stack.push(stack.pop_all())
        self._parts.clear()

    def part_shape(self, path: str) -> tuple[int, int]:
        """(rows, cols) of the file that are decoded at once."""
        return self._files[path].sides

    def bytes_per_pixel(self, path: str) -> int:
        """Of all layers of the file that are read."""
        return len(self._layers[path]) * self._files[path].dtype.itemsize

    def grow(self, budget: float) -> None:
        """Keep at most so many bytes from now on, or what was said before if that is more."""
        self.budget = max(self.budget, int(budget))

    def close(self) -> None:
        """Close the files and forget what was read; no thread may be reading."""
        self._stack.close()
        self._parts.clear()

    @contextmanager
    def _handle(self, path: str) -> Iterator[DatasetReader]:
        """An open handle that no other thread uses meanwhile."""
        idle = self._files[path].idle
        with self._lock:
            dataset = idle.pop() if idle else None
        if dataset is None:
            dataset = self._opened(path)
            with self._lock:
                # Entered, it would have to be closed by this thread.
                self._stack.callback(dataset.close)
        try:
            yield dataset
        finally:
            with self._lock:
                idle.append(dataset)

    def _decoded(self, part: _Part) -> Values:
        with self._lock:
            coming = self._parts.get(part)
            mine = coming is None
            if coming is None:
                self._make_room(self._bytes_in(part))
                coming = self._parts[part] = Future()
            else:
                self._parts.move_to_end(part)
        if mine:
            try:
                values = self._read(part)
                self._limits[part] = float(values.min()), float(values.max())
                coming.set_result(values)
            except BaseException as error:
                with self._lock:
                    self._parts.pop(part, None)
                coming.set_exception(error)
                raise
        return coming.result()

    def _read(self, part: _Part) -> Values:
        file, starts = self._aside
        if part in starts:
            _, _, width, height = part.place
            shape = len(part.indexes), height, width
            return np.array(np.memmap(file, self._files[part.path].dtype, "r", starts[part], shape))
        with self._handle(part.path) as dataset:
            if len({dataset.dtypes[index - 1] for index in part.indexes}) == 1:
                values: Values = dataset.read(part.indexes, window=Window(*part.place))
            else:
                # Rasterio reads no layers of several types at once.
                values = np.stack([dataset.read(index, window=Window(*part.place)) for index in part.indexes])
        return values

    def _make_room(self, wanted: int) -> None:
        """Forget what was asked for longest ago until so many bytes fit."""
        held = sum(map(self._bytes_in, self._parts))
        for part in list(self._parts):
            if held + wanted <= self.budget:
                break
            if self._parts[part].done():
                held -= self._bytes_in(part)
                del self._parts[part]

    def _bytes_in(self, part: _Part) -> int:
        _, _, width, height = part.place
        return width * height * len(part.indexes) * self._files[part.path].dtype.itemsize


def _sides(tall: int, wide: int) -> tuple[int, int]:
    """Of what is decoded at once: some blocks of this size. Strips as wide as the file are few at a time, since more may lie idle."""
    wider = wide * max(1, _SMALLEST // wide)
    return tall * max(1, min(_SMALLEST // tall, _SMALLEST**2 // (tall * wider))), wider
