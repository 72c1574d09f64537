"""What is said while the engine runs: JSON lines for programs, a progress bar and sentences for people."""

from __future__ import annotations

import _thread
import io
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

import click

from .errors import S2ChangeError

T = TypeVar("T")

# Set once all that a run writes is where it was asked for: whoever stops it from then on comes too late.
PLACED = threading.Event()

_STAGES = {
    "register": "Comparing dates",
    "detect": "Detecting change",
    "polygons": "Drawing polygons",
    "report": "Writing the report",
    "stack": "Reading",
    "compare": "Comparing",
    "review": "Applying the review",
    "count": "Counting pixels",
    "draw": "Drawing a sample",
    "chips": "Exporting labels",
    "write": "Writing",
}


class Events(Protocol):
    """Where a run tells what it does."""

    def started(self, workdir: str) -> None:
        """The folder with all unfinished files, said before anything is in it."""

    def progress(self, stage: str, items: Sequence[T]) -> Iterator[T]:
        """The items, one by one; taking the next says that the last is done."""

    def message(self, text: str, level: str = "info") -> None:
        """A sentence worth knowing; level is "info" or "warning"."""

    def result(self, values: dict[str, Any], summary: str) -> None:
        """The run's outputs and numbers, and the same as a sentence."""

    def error(self, error: S2ChangeError) -> None:
        """Why there is no result."""


class JsonEvents:
    """One JSON object per line on standard output."""

    def started(self, workdir: str) -> None:
        """See `Events`."""
        _say(event="started", workdir=workdir)

    def progress(self, stage: str, items: Sequence[T]) -> Iterator[T]:
        """See `Events`."""
        _say(event="progress", stage=stage, done=0, total=len(items))
        for done, item in enumerate(items, start=1):
            yield item
            _say(event="progress", stage=stage, done=done, total=len(items))

    def message(self, text: str, level: str = "info") -> None:
        """See `Events`."""
        _say(event="message", level=level, text=text)

    def result(self, values: dict[str, Any], summary: str) -> None:
        """See `Events`."""
        self.message(summary)
        _say(event="result", **values)

    def error(self, error: S2ChangeError) -> None:
        """See `Events`."""
        _say(event="error", kind=error.kind, text=str(error))


class TerminalEvents:
    """A progress bar and sentences on standard error, the result on standard output."""

    def __init__(self, as_json: bool = False) -> None:
        """Say the result as a sentence, or as one JSON object."""
        self._as_json = as_json

    def started(self, workdir: str) -> None:
        """Nothing that a person needs."""

    def progress(self, stage: str, items: Sequence[T]) -> Iterator[T]:
        """See `Events`."""
        with click.progressbar(items, label=f"{_STAGES.get(stage, stage):17}", file=sys.stderr) as bar:
            yield from bar

    def message(self, text: str, level: str = "info") -> None:
        """See `Events`."""
        click.echo(f"Warning: {text}" if level == "warning" else text, err=True)

    def result(self, values: dict[str, Any], summary: str) -> None:
        """See `Events`."""
        # In ASCII alone, which is UTF-8 whatever the terminal's encoding is.
        click.echo(json.dumps(values, indent=2) if self._as_json else summary)

    def error(self, error: S2ChangeError) -> None:
        """See `Events`."""
        click.echo(f"Error: {error}", err=True)


def hand_over() -> None:
    """Hand over what was said and waits in a buffer; where a stream is closed, or nobody reads it, there is nobody to tell."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def say_in_any_encoding() -> None:
    """Let what a terminal's encoding has no letter for be written as its number, instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def stage(events: Events, name: str) -> Iterator[None]:
    """A stage of a single step."""
    for _ in events.progress(name, [None]):
        yield


def stop_when_input_closes() -> None:
    """Interrupt the main thread when standard input ends: the program that started us cancelled, or is gone.

    The handler for SIGINT must be Python's own, else the interrupt is lost. From here on standard input is empty for everybody else: on
    Windows a library that looks at it while it is loaded, as OpenBLAS does, would wait for what another thread waits to read
    (https://github.com/numpy/numpy/issues/24290).
    """
    watched: int | None = None
    # Closed from the start is closed, too.
    with suppress(OSError), open(os.devnull, "rb") as nothing:
        watched = os.dup(0)
        os.dup2(nothing.fileno(), 0)

    def watch() -> None:
        with suppress(OSError):
            while watched is not None and os.read(watched, 4096):
                pass
        _thread.interrupt_main()

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _say(**values: Any) -> None:
    """Write one event; a reader that is gone is no reason for a traceback, its closed standard input ends the run."""
    try:
        sys.stdout.write(json.dumps(values, ensure_ascii=True, allow_nan=False) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, AttributeError):
        # Where standard output was closed from the start, Python has none.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives until the process ends
