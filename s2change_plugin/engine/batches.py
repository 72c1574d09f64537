"""Items through the network several at once, fewer where the memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# How PyTorch's allocators say it: CUDA's and MPS's, a processor's on Linux and macOS, and on Windows.
_SHORT = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True where the memory, of the processor or of an accelerator, was not enough."""
    said = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SHORT)
    return said or isinstance(error, MemoryError)


def in_batches(
    predict: Callable[[Sequence[T]], Sequence[R]],
    items: Iterable[T],
    size: int,
    said: Callable[[str], None],
    memory: str = "The GPU's memory",
) -> Iterator[R]:
    """What is predicted of each item, in their order; where the memory is short, half as many go at once from there on.

    Args:
        predict: one result for each item of a batch, in their order.
        items: taken as they are needed, at most `size` before their results.
        size: of a batch, 1 or more.
        said: gets a sentence for each halving.
        memory: which memory is short, as the sentence begins.

    Raises:
        MemoryError: it is not enough for a single item.
    """
    coming, waiting = iter(items), list[T]()
    while True:
        waiting += islice(coming, max(0, size - len(waiting)))
        batch = waiting[:size]
        if not batch:
            return
        results = _tried(predict, batch)
        if results is None:
            size = len(batch) // 2
            said(f"{memory} is short: going on with batches of {size}.")
            continue
        del waiting[: len(batch)]
        yield from results


def _tried(predict: Callable[[Sequence[T]], Sequence[R]], batch: Sequence[T]) -> Sequence[R] | None:
    """The results; None where there are too many items for the memory. What a failed try held is free once this returns."""
    try:
        return predict(batch)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise MemoryError(str(error)) from error
        return None
