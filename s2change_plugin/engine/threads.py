"""Threads: how many, what they share, and work done by several of them in order."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Each holds a window and what the network makes of it; and some are finished before they are taken.
_MOST_THREADS, _AHEAD = 4, 2


def cores() -> int:
    """Processor cores that this process may use."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def window_threads() -> int:
    """Threads that work on windows at a time."""
    return min(cores(), _MOST_THREADS)


def in_order(function: Callable[[T], R], items: Sequence[T]) -> Generator[R, None, None]:
    """What a function gives for each item, in their order; `window_threads` are at work, a few items ahead of what is taken.

    Fewer items have all cores between them.
    """
    threads = max(1, min(window_threads(), len(items)))
    with ThreadPoolExecutor(threads, "window", share_cores, (cores() // threads,)) as pool:
        coming: deque[Future[R]] = deque()
        try:
            for item in items:
                coming.append(pool.submit(function, item))
                if len(coming) > threads + _AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def share_cores(cores_of_one: int) -> None:
    """Make this thread's tensors be computed by so many cores alone, since other threads use the others."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(cores_of_one)
