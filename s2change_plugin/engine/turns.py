"""Turns on a device: as many windows on it at a time as its memory holds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")

# How PyTorch's allocators say it: CUDA's and MPS's, a processor's on Linux and macOS, and on Windows.
_SHORT = ("out of memory", "can't allocate memory", "not enough memory")


class Turns:
    """Lets some threads at a time onto a device, and half as many where its memory is short."""

    def __init__(self, most: int, say: Callable[[str], None]) -> None:
        """At most so many at a time; `say` gets a sentence for each halving."""
        self._most, self._say = most, say
        self._inside = 0
        self._changed = threading.Condition()

    def take(self, call: Callable[[], R]) -> R:
        """What a call gives; where the memory is short, once fewer others are on the device.

        Raises:
            MemoryError: it is short for this call by itself.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._inside < self._most)
                self._inside += 1
                allowed = self._most
            try:
                return call()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if allowed == 1:
                    raise MemoryError(str(error)) from error
            finally:
                with self._changed:
                    self._inside -= 1
                    self._changed.notify_all()
            self._halve(allowed)

    def _halve(self, allowed: int) -> None:
        """Fewer at a time than were allowed when the memory was short, if nobody has seen to it yet."""
        with self._changed:
            if self._most != allowed:
                return
            self._most = allowed // 2
        windows = "1 window" if allowed // 2 == 1 else f"{allowed // 2} windows"
        self._say(f"The memory is short: going on with {windows} at a time.")


def is_out_of_memory(error: BaseException) -> bool:
    """True where the memory, of the processor or of an accelerator, was not enough."""
    said = isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _SHORT)
    return said or isinstance(error, MemoryError)
