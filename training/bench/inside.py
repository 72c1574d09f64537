"""Where the seconds of a run go: the whole of it in this process, with a clock on what it calls."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from s2change_plugin.engine import detect as run
from s2change_plugin.engine import reading
from s2change_plugin.engine.blocks import BlockCache
from s2change_plugin.engine.events import JsonEvents
from s2change_plugin.engine.folded import FoldedNet
from s2change_plugin.engine.pair import Pair
from s2change_plugin.engine.threads import window_threads

T = TypeVar("T")

# What counts as what; of what is called inside of another, each has its own seconds.
_CALLS: dict[str, tuple[tuple[Any, str], ...]] = {
    # For what another thread decodes; not told, but it is not what is around it.
    "wait": ((BlockCache, "_decoded"), (BlockCache, "fetch")),
    "read": ((BlockCache, "_read"),),
    "resample": ((reading, "interpolated"),),
    "prepare": ((Pair, "read"), (FoldedNet, "laid_out")),
    "network": ((FoldedNet, "forward"),),
    # Once all windows are done, by the main thread, which waits for the others: finishing the rasters, polygons.
    "write": ((run, "_finish"),),
}
_BY_ONE = ("write",)


class Clocks:
    """Seconds by name, of all threads together; what runs inside of another stops that one's clock meanwhile."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running = threading.local()
        self._lock = threading.Lock()

    def on(self, name: str, function: Callable[..., T]) -> Callable[..., T]:
        """The function, with its seconds counted under a name."""

        @wraps(function)
        def timed(*given: Any, **named: Any) -> T:
            with self._counted(name):
                return function(*given, **named)

        return timed

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        running: list[str] = self._running.__dict__.setdefault("names", [])
        self._mark(running)
        running.append(name)
        try:
            yield
        finally:
            self._mark(running)
            running.pop()

    def _mark(self, running: Sequence[str]) -> None:
        """Give what went by since the last mark of this thread to what runs in it."""
        now = time.perf_counter()
        if running:
            with self._lock:
                self.seconds[running[-1]] += now - self._running.since
        self._running.since = now


class _Silent(JsonEvents):
    """Says nothing, for the result is another."""

    def started(self, workdir: str) -> None:
        """Nothing."""

    def progress(self, stage: str, items: Sequence[T]) -> Iterator[T]:
        """The items."""
        yield from items

    def message(self, text: str, level: str = "info") -> None:
        """Nothing."""

    def result(self, values: dict[str, Any], summary: str) -> None:
        """Nothing."""


def inside(before: Path, after: Path, model: Path, folder: Path) -> dict[str, Any]:
    """Detect change in a pair, without the start of Python, and tell what its windows' threads spent their time on.

    Args:
        before, after: rasters.
        model: name of the model.
        folder: for the results.

    Returns:
        seconds; a note; and stages: by the names of `_CALLS`, the threads' seconds by the number of threads, as if they shared them evenly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = {"mask": "mask.tif", "probability": "probability.tif", "quality": "quality.tif", "polygons": "polygons.gpkg"}
    outputs: dict[str, Any] = {name: folder / file for name, file in named.items()}
    clocks = Clocks()
    with ExitStack() as patched:
        for name, calls in _CALLS.items():
            for owner, call in calls:
                patched.enter_context(patch.object(owner, call, clocks.on(name, getattr(owner, call))))
        begin = time.perf_counter()
        options = run.DetectOptions(before=str(before), after=str(after), model=str(model), device="cpu", **outputs)
        run.detect(options, _Silent())
        seconds = time.perf_counter() - begin
    told = [name for name in _CALLS if name != "wait"]
    stages = {name: clocks.seconds[name] / (1 if name in _BY_ONE else window_threads()) for name in told}
    return {"seconds": seconds, "note": f"{window_threads()} threads", "stages": stages}
