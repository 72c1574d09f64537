"""Running a program in a fresh process: what it says and when, how long it takes, how much memory it holds at most."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from s2change_plugin.engine.errors import S2ChangeError

REPOSITORY = Path(__file__).resolve().parents[2]
# Short against a window's time; children are looked for more seldom, since that reads the whole process table.
_EVERY_S, _CHILDREN_EVERY = 0.05, 20


@dataclass(frozen=True)
class Measured:
    """One run of a program.

    Attributes:
        seconds: from before its start to after its end.
        peak_bytes: most memory that it and its children held resident at once, sampled.
        said: JSON objects that it printed, each with the seconds after which it came.
    """

    seconds: float
    peak_bytes: int
    said: tuple[tuple[float, dict[str, Any]], ...] = ()

    @property
    def result(self) -> dict[str, Any]:
        """The last JSON object that it printed."""
        return self.said[-1][1]


def run_measured(command: Sequence[str]) -> Measured:
    """Run a command from the repository's root to its end.

    Its standard input stays open as long: the engine stops when that closes.

    Raises:
        S2ChangeError: it failed; the text ends with the last that it said.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        begin = time.perf_counter()
        with subprocess.Popen(  # noqa: S603 - our own programs, and peers that the user installed
            list(command),
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        ) as process:
            memory = _MemoryWatch(process.pid)
            lines = [(time.perf_counter() - begin, line) for line in process.stdout or ()]
            code = process.wait()
            seconds = time.perf_counter() - begin
            peak = memory.stop()
        said = tuple((when, json.loads(line)) for when, line in lines if line.startswith("{"))
        if code:
            errors.seek(0)
            texts = [str(values["text"]) for _, values in said if values.get("event") == "error"]
            last = [*errors.read().strip().splitlines(), *(line.strip() for _, line in lines[-1:]), *texts][-1:]
            raise S2ChangeError(f"{' '.join(command[:5])} … ended with {code}: {''.join(last) or 'it said nothing'}")
    return Measured(seconds, peak, said)


def run_module(module: str, *arguments: object) -> Measured:
    """Run one of our own modules with this Python."""
    return run_measured([sys.executable, "-m", module, *map(str, arguments)])


class _MemoryWatch:
    """Samples the resident memory of a process and its children until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak, self._over = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The most that was seen, bytes."""
        self._over.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        family: list[psutil.Process] = []
        turn = 0
        while not self._over.wait(_EVERY_S):
            try:
                if turn % _CHILDREN_EVERY == 0:
                    parent = psutil.Process(self._pid)
                    family = [parent, *parent.children(recursive=True)]
                self._peak = max(self._peak, sum(map(_resident, family)))
            except psutil.NoSuchProcess:
                return
            turn += 1


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
