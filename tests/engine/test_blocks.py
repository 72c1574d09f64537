from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from s2change_plugin.engine.blocks import BlockCache

from ..conftest import textured, write_stack


class Counted:
    """An open raster that counts what is read of it."""

    def __init__(self, path: str, reads: list[Window], fails: list[bool]) -> None:
        self._dataset, self._reads, self._fails = rasterio.open(path), reads, fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def read(self, indexes: tuple[int, ...], window: Window) -> np.ndarray:
        self._reads.append(window)
        if self._fails:
            raise RasterioError("damaged")
        found: np.ndarray = self._dataset.read(indexes, window=window)
        return found


@pytest.fixture
def stack(tmp_path: Path) -> str:
    size = 1536
    values = textured(3, size, size, 1)
    return str(write_stack(tmp_path / "a.tif", values, None, tiled=True, blockxsize=256, blockysize=256))


def cache(budget: int = 1 << 30) -> tuple[BlockCache, list[Window], list[bool]]:
    reads: list[Window] = []
    fails: list[bool] = []
    opened: Callable[[str], Any] = lambda path: Counted(path, reads, fails)  # noqa: E731
    return BlockCache(opened, budget), reads, fails


def walk(size: int = 384, halo: int = 48) -> list[tuple[Window, Window]]:
    """Windows over the stack, row by row, each with its part of a halo."""
    inside = Window(0, 0, 1536, 1536)
    windows = [Window(col, row, size, size) for row in range(0, 1536, size) for col in range(0, 1536, size)]
    grown = [Window(one.col_off - halo, one.row_off - halo, size + 2 * halo, size + 2 * halo) for one in windows]
    return [(one, more.intersection(inside)) for one, more in zip(windows, grown, strict=True)]


def test_any_window_holds_what_the_file_holds(stack: str) -> None:
    blocks, _, _ = cache()
    blocks.add(stack, [1, 3])
    with rasterio.open(stack) as raster:
        for window in (Window(0, 0, 1, 1), Window(250, 500, 700, 40), Window(1000, 1100, 536, 436)):
            np.testing.assert_array_equal(blocks.read(stack, [3, 1], window), raster.read([3, 1], window=window))
    blocks.close()


def test_values_of_a_window_lie_within_its_limits_whatever_has_been_forgotten(tmp_path: Path) -> None:
    values = np.full((2, 1024, 512), 700, np.uint16)
    values[1, 30, 40], values[0, 900, 8] = 3, 9000
    blocks, reads, _ = cache()
    path = str(write_stack(tmp_path / "b.tif", values, None, tiled=True, blockxsize=256, blockysize=256))
    blocks.add(path, [1, 2])
    blocks.read(path, [1], Window(0, 0, 512, 1024))
    blocks._parts.clear()
    assert blocks.limits(path, Window(100, 100, 50, 50)) == (3, 700)
    assert blocks.limits(path, Window(0, 600, 10, 10)) == (700, 9000)
    assert blocks.limits(path, Window(0, 500, 10, 50)) == (3, 9000)
    assert len(reads) == 2
    blocks.close()


def test_each_block_is_decoded_once_however_many_windows_and_threads_need_it(stack: str) -> None:
    blocks, reads, _ = cache()
    blocks.add(stack, [1])
    blocks.add(stack, [2, 3])
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda pair: blocks.read(stack, [1, 2, 3], pair[1]), walk()))
        list(threads.map(lambda pair: blocks.read(stack, [2], pair[1]), walk()))
    assert Counter((one.col_off, one.row_off) for one in reads) == {
        (col, row): 1 for col in (0, 512, 1024) for row in (0, 512, 1024)
    }
    blocks.close()


def test_a_file_has_no_more_handles_than_threads_read_it_at_a_time_and_all_are_closed(stack: str) -> None:
    handles: list[Counted] = []

    def opened(path: str) -> Any:
        handles.append(Counted(path, [], []))
        return handles[-1]

    blocks = BlockCache(opened)
    blocks.add(stack, [1, 2, 3])
    for _ in range(3):
        # Other threads each time.
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda pair: blocks.read(stack, [1, 2, 3], pair[1]), walk()))
        blocks._parts.clear()
    assert len(handles) <= 2
    blocks.close()
    assert all(handle.closed for handle in handles)


def test_blocks_that_are_more_than_memory_may_keep_come_back_from_disk_without_being_decoded_again(
    stack: str, tmp_path: Path
) -> None:
    one = 512 * 512 * 2 * 2
    blocks, reads, _ = cache()
    blocks.add(stack, [1, 3])
    windows = [Window(0, 0, 512, 512), Window(1100, 700, 300, 200)]
    expected = [blocks.read(stack, [1, 3], window) for window in windows]
    blocks.set_aside(2 * one, tmp_path)
    assert len(blocks._parts) == 2
    blocks.set_aside(2 * one - 1, tmp_path)
    assert not blocks._parts
    for window, values in zip(windows, expected, strict=True):
        np.testing.assert_array_equal(blocks.read(stack, [1, 3], window), values)
    assert len(reads) == 2
    blocks.read(stack, [1], Window(600, 0, 10, 10))
    assert len(reads) == 3
    file, _ = blocks._aside
    blocks.close()
    assert file.closed


def test_where_the_disk_has_no_room_for_them_they_are_decoded_again(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    class Full:
        def __init__(self, dir: Path) -> None:
            assert dir == tmp_path

        def __enter__(self) -> "Full":
            opened.append(self)
            return self

        def __exit__(self, *_: object) -> None:
            opened.remove(self)

        def tell(self) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("s2change_plugin.engine.blocks.TemporaryFile", Full)
    blocks, reads, _ = cache()
    blocks.add(stack, [1])
    expected = blocks.read(stack, [1], Window(0, 0, 512, 512))
    blocks.set_aside(0, tmp_path)
    assert not opened
    np.testing.assert_array_equal(blocks.read(stack, [1], Window(0, 0, 512, 512)), expected)
    assert len(reads) == 2
    blocks.close()


def test_nobody_waits_for_a_block_that_another_thread_decodes_while_there_are_others_to_decode(stack: str) -> None:
    begun, go_on = Event(), Event()

    class Slow(Counted):
        def read(self, indexes: tuple[int, ...], window: Window) -> np.ndarray:
            if window.col_off == 0:
                begun.set()
                assert go_on.wait(20)
            return super().read(indexes, window)

    reads: list[Window] = []
    blocks = BlockCache(lambda path: Slow(path, reads, []))  # type: ignore[arg-type, return-value]
    blocks.add(stack, [1])
    wanted = [(stack, Window(0, 0, 1536, 100))]
    with ThreadPoolExecutor(1) as other:
        first = other.submit(blocks.fetch, wanted)
        assert begun.wait(20)
        blocks.fetch(wanted)
        assert [one.col_off for one in reads] == [512, 1024]
        go_on.set()
        first.result()
    assert [one.col_off for one in reads] == [512, 1024, 0]
    blocks.close()


def test_what_cannot_be_fetched_is_said_when_it_is_read(stack: str) -> None:
    blocks, _, fails = cache()
    blocks.add(stack, [1])
    fails.append(True)
    window = Window(0, 0, 600, 100)
    blocks.fetch([(stack, window)])
    with pytest.raises(RasterioError, match="damaged"):
        blocks.read(stack, [1], window)
    fails.clear()
    assert blocks.read(stack, [1], window).shape == (1, 100, 600)
    blocks.close()


def test_what_windows_have_left_behind_is_forgotten_and_no_block_is_decoded_twice_for_it(stack: str) -> None:
    blocks, reads, _ = cache()
    blocks.add(stack, [1, 2, 3])
    held = []
    for window, grown in walk():
        blocks.read(stack, [1, 2, 3], grown)
        last = window.col_off + window.width == 1536
        blocks.forget(stack, window.row_off + window.height - 48, np.inf if last else window.col_off + window.width - 48)
        held.append(len(blocks._parts))
    assert len(reads) == 9
    assert max(held) <= 7
    assert held[-1] <= 3
    blocks.close()


def test_more_than_the_budget_is_not_kept(stack: str) -> None:
    one = 3 * 512 * 512 * 2
    blocks, reads, _ = cache(budget=2 * one)
    blocks.add(stack, [1, 2, 3])
    for col in (0, 512, 1024, 0, 0):
        blocks.read(stack, [1], Window(col, 0, 512, 512))
        assert len(blocks._parts) <= 2
    assert [read.col_off for read in reads] == [0, 512, 1024, 0]
    blocks.close()


def test_what_cannot_be_read_is_said_to_every_thread_that_waits_and_tried_again_by_the_next(stack: str) -> None:
    blocks, reads, fails = cache()
    blocks.add(stack, [1])
    fails.append(True)
    together = Barrier(3)

    def read(_: int) -> Exception | None:
        together.wait()
        try:
            blocks.read(stack, [1], Window(0, 0, 10, 10))
        except RasterioError as error:
            return error
        return None

    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(read, range(3)))
    fails.clear()
    blocks.read(stack, [1], Window(0, 0, 10, 10))
    before = len(reads)
    blocks.read(stack, [1], Window(5, 5, 10, 10))
    assert len(reads) == before
    blocks.close()
