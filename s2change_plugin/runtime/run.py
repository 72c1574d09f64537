"""Run a command of the engine, turn its events into feedback, and clean up after it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qgis.core import QgsApplication, QgsProcessingFeedback
from qgis.PyQt.QtCore import QCoreApplication, QEventLoop, QProcess, QThread

from .environment import SET_UP, clean_environment, engine_arguments, engine_python, missing_engine

_POLL_MS = 100
_GRACE_MS = 3000
# How often a folder is removed, a second apart: on Windows a program that was killed may hold its files a moment longer.
_REMOVALS = 3
# How long `stop_runs` waits for runs, and for what is left to be told once they have ended.
_PATIENCE_S, _MOMENT_S = 10.0, 2.0
# In a run's folder, what the engine took out of the way until the new is in place: its `outputs.SET_ASIDE`.
SET_ASIDE = "older"
# Where each stage of a command lies in the progress of the whole, percent.
_STAGES = {
    "detect": {"register": (0, 5), "detect": (5, 90), "polygons": (90, 93), "report": (93, 95), "write": (95, 100)},
    "check": {"register": (0, 100)},
    "stack": {"stack": (0, 90), "write": (90, 100)},
    "compare": {"compare": (0, 90), "write": (90, 100)},
    "review": {"review": (0, 80), "write": (80, 100)},
    "sample": {"count": (0, 80), "draw": (80, 100)},
    "chips": {"register": (0, 10), "chips": (10, 100)},
}
_TITLES = {
    "register": "Comparing the dates",
    "detect": "Detecting change",
    "polygons": "Drawing polygons",
    "report": "Writing the report",
    "stack": "Reading and masking",
    "compare": "Comparing with the reference",
    "review": "Applying the review",
    "count": "Counting pixels",
    "draw": "Drawing a sample",
    "chips": "Exporting labels",
    "write": "Writing",
}
# Of each run there is now its feedback, and whether it is in the main thread.
_RUNNING: list[tuple[QgsProcessingFeedback, bool]] = []


class EngineError(Exception):
    """The engine gave no result; the text is one sentence for the user."""


class EngineCancelled(EngineError):
    """The user stopped it."""


def run_engine(
    arguments: list[str], feedback: QgsProcessingFeedback, messages: bool = True, words: Callable[[str], str] = str
) -> dict:
    """Run a command of the engine with events, and give its result event.

    Args:
        arguments: as a person would type them after `python -m s2change_plugin.engine`, without --events.
        feedback: gets progress and messages, and says when to stop.
        messages: hand messages on; without, the result alone tells what the command has to say.
        words: turns a sentence of the engine into one for the user.

    Raises:
        EngineError: no engine, an error that it told, or its death; nothing unfinished is left then.
    """
    problem = missing_engine()
    if problem:
        raise EngineError(problem)
    heard = _Heard(feedback, _STAGES.get(arguments[0], {}), messages, words)
    with _counted(feedback):
        stderr = run_process(str(engine_python()), engine_arguments([*arguments, "--events"]), feedback, heard.line)
        if heard.result is None and heard.workdir:
            _remove(heard.workdir)
    if heard.result is not None:
        return heard.result
    if feedback.isCanceled():
        raise EngineCancelled("Cancelled; nothing was written.")
    if heard.error:
        raise EngineError(heard.error)
    raise EngineError(_death(stderr or "it said nothing", feedback, heard.begun))


def run_process(
    program: str,
    arguments: list[str],
    feedback: QgsProcessingFeedback,
    line: Callable[[str], None],
    merge: bool = False,
    clicks: bool = True,
) -> str:
    """Run a program to its end, with each line of its output handed on, and give the end of its standard error.

    A cancel closes its standard input, and kills it three seconds later. Works in any thread, without an event loop; in the main thread,
    where QGIS iterates over features, windows stay alive meanwhile.

    Args:
        program: path.
        arguments: of it.
        feedback: says when to stop.
        line: gets each line of standard output.
        merge: hand on lines of standard error too.
        clicks: in the main thread, let the user click, such as on Cancel.

    Raises:
        EngineError: it cannot be started.
    """
    with _counted(feedback):
        return _run_process(program, arguments, feedback, line, merge, clicks)


@contextmanager
def _counted(feedback: QgsProcessingFeedback) -> Iterator[None]:
    """Count a run among those that can be stopped."""
    _RUNNING.append((feedback, is_main_thread()))
    try:
        yield
    finally:
        _RUNNING.remove((feedback, is_main_thread()))


def is_main_thread() -> bool:
    """Whether this is the thread of the windows."""
    application = QCoreApplication.instance()
    return application is not None and QThread.currentThread() == application.thread()


def is_running() -> bool:
    """Whether a command or a program of ours runs."""
    return bool(_RUNNING)


def stop_runs() -> None:
    """Cancel all that is running, and wait for the end of what runs in other threads, and for a moment more; in the main thread."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        for feedback, _ in list(_RUNNING):
            feedback.cancel()
        # One of the main thread ends when that goes on.
        if all(is_main for _, is_main in _RUNNING):
            until = min(until, time.monotonic() + _MOMENT_S)
        if time.monotonic() >= until or not _active_tasks():
            return
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents, _POLL_MS)
        time.sleep(_POLL_MS / 1000)


def _active_tasks() -> bool:
    """Whether something runs that may be ours: a run, or the task around one, which tells QGIS of its end."""
    return is_running() or QgsApplication.taskManager().countActiveTasks() > 0


def _run_process(
    program: str, arguments: list[str], feedback: QgsProcessingFeedback, line: Callable[[str], None], merge: bool, clicks: bool
) -> str:
    is_main = is_main_thread()
    handled = QEventLoop.ProcessEventsFlag.AllEvents if clicks else QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents
    process = QProcess()
    process.setProcessEnvironment(clean_environment())
    process.setProcessChannelMode(
        QProcess.ProcessChannelMode.MergedChannels if merge else QProcess.ProcessChannelMode.SeparateChannels
    )
    process.start(program, arguments)
    if not process.waitForStarted(10000):
        raise EngineError(f"{program} cannot be started ({process.errorString()}). {SET_UP}")
    rest, stderr = b"", b""
    while True:
        running = process.state() != QProcess.ProcessState.NotRunning
        if running:
            process.waitForReadyRead(_POLL_MS)
        *lines, rest = (rest + bytes(process.readAllStandardOutput())).split(b"\n")
        stderr = (stderr + bytes(process.readAllStandardError()))[-20000:]
        for text in lines:
            line(text.decode("utf-8", "replace").rstrip("\r"))
        if not running:
            break
        if is_main:
            QCoreApplication.processEvents(handled)
        if feedback.isCanceled():
            _stop(process)
    if rest:
        line(rest.decode("utf-8", "replace"))
    if process.exitStatus() == QProcess.ExitStatus.NormalExit and process.exitCode() == 0:
        return ""
    return stderr.decode("utf-8", "replace").strip() or f"exit code {process.exitCode()}"


def _remove(workdir: Path) -> None:
    """Remove a run's folder; not where it holds what was replaced, which the next run in that place puts back."""
    for removal in range(_REMOVALS):
        if not workdir.is_dir() or any(workdir.glob(f"{SET_ASIDE}/*")):
            return
        if removal:
            time.sleep(1)
        shutil.rmtree(workdir, ignore_errors=True)


def _stop(process: QProcess) -> None:
    """Ask the process to end, and end it where it does not."""
    process.closeWriteChannel()
    if not process.waitForFinished(_GRACE_MS):
        process.kill()
        process.waitForFinished(_GRACE_MS)


def _death(stderr: str, feedback: QgsProcessingFeedback, begun: bool) -> str:
    """One sentence for an engine that ended without a result; what it last wrote goes to the log.

    Args:
        stderr: the end of what it wrote, not empty.
        feedback: has the log.
        begun: it had said something.
    """
    for text in stderr.splitlines()[-15:]:
        feedback.pushDebugInfo(text)
    told = [text for text in stderr.splitlines() if text.startswith("Error: ")]
    if told:
        return told[-1].removeprefix("Error: ")
    if "ModuleNotFoundError" in stderr:
        return f"The engine's Python lacks a package ({stderr.splitlines()[-1].split(': ')[-1]}). {SET_UP}"
    if "Traceback" in stderr:
        return f"The engine stopped on an error of its own: {stderr.splitlines()[-1]}. Please report it with the log."
    if not begun:
        # Such as the environment of a Python that an update of QGIS took away.
        return f"The engine's Python does not work ({stderr.splitlines()[-1]}). {SET_UP}"
    return (
        "The engine was ended from outside before it was done, often because memory ran out. "
        "Close other programs, or choose a smaller extent, and run again."
    )


class _Heard:
    """What the engine has said so far."""

    def __init__(
        self,
        feedback: QgsProcessingFeedback,
        stages: dict[str, tuple[int, int]],
        messages: bool,
        words: Callable[[str], str],
    ) -> None:
        self._feedback = feedback
        self._stages = stages
        self._messages = messages
        self._words = words
        self._stage = ""
        self.begun = False
        self.workdir: Path | None = None
        self.result: dict | None = None
        self.error = ""

    def line(self, text: str) -> None:
        """Take one line of the engine's standard output; what is no event goes to the log."""
        try:
            event = json.loads(text)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            self._feedback.pushDebugInfo(text)
            return
        self.begun = True
        if kind == "started":
            self.workdir = Path(event["workdir"])
        elif kind == "progress":
            self._progress(event["stage"], event["done"], event["total"])
        elif kind == "message" and self._messages:
            push = self._feedback.pushWarning if event["level"] == "warning" else self._feedback.pushInfo
            push(self._words(event["text"]))
        elif kind == "error":
            self.error = self._words(event["text"])
        elif kind == "result":
            self.result = event

    def _progress(self, stage: str, done: int, total: int) -> None:
        first, last = self._stages.get(stage, (0, 100))
        if stage != self._stage:
            self._stage = stage
            self._feedback.setProgressText(f"{_TITLES.get(stage, stage)}…")
        self._feedback.setProgress(first + (last - first) * done / max(1, total))
