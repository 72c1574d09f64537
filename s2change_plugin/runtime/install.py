"""Make the engine's environment in the user's profile, or say in one sentence why it cannot be made; and remove it."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qgis.core import QgsProcessingFeedback
from qgis.PyQt.QtCore import QLockFile

from .environment import READY, base_pythons, managed_environment, packages, python_in, requirements
from .run import EngineCancelled, EngineError, run_process

_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# What the engine needs, as requires-python says; and the newest for which all that engine.txt pins comes as wheels.
_OLDEST, _NEWEST = (3, 10), (3, 14)
_LONGEST_MS = 6 * 3600 * 1000
# What it takes on the disk, bytes: 1.6 GB on Linux (torch alone 0.75), and what pip keeps of what it fetches.
_NEEDED = 2_000_000_000
# PyTorch comes for no Intel Mac any more, and a Python that an Intel QGIS starts on Apple silicon may take itself for one.
_WITHOUT_TORCH = "(sys.platform, platform.machine()) == ('darwin', 'x86_64')"
# The engine may lie on another disk, beside what is no business of ours: how the folders are called that are, there and beside other engines.
_NEW, _OLD = ".s2change-new-", ".s2change-old-"
_LEFT = re.compile(re.escape(_NEW) + "[0-9a-f]{6}")
_ENGINE = re.compile(f"(?:{re.escape(_OLD)})?engine(?:-[0-9a-f]{{8}})?")
# To move a folder, a second apart.
_ATTEMPTS = 3
# What pip prints, and what it means for a user; the first that fits is told.
_MEANINGS = (
    (
        ("no space left", "no disk space", "errno 28"),
        "The disk is full: the engine needs about 2 GB. Free some space and set up again.",
    ),
    (
        ("winerror 206", "long path", "filename or extension is too long"),
        "The names of PyTorch's files are too long for Windows here. Have long paths allowed, or name a Python under Settings that has the packages.",
    ),
    (
        ("permission denied", "access is denied"),
        "The folder of the engine cannot be written, or a virus scanner holds a file. Set up again.",
    ),
    (
        ("triton",),
        f"PyTorch's CPU build cannot be fetched from {_TORCH_INDEX}, and the one from elsewhere would bring gigabytes of CUDA. "
        "Check the network and proxy, or give a folder of wheels.",
    ),
    (
        ("proxyerror", "407 proxy", "cannot connect to proxy"),
        "The proxy refuses. Set HTTPS_PROXY as your administrator says, and set up again.",
    ),
    (
        ("ssl module is not available", "ssl module in python is not available"),
        "This Python cannot fetch anything, for it has no ssl module. Name another Python to make it with, or give a folder of wheels.",
    ),
    (
        ("certificate_verify_failed", "sslcertverificationerror"),
        "This network puts a certificate of its own in between. Ask your administrator for its file and set PIP_CERT to it before QGIS starts, "
        "or give a folder of wheels.",
    ),
    (
        ("connection", "timed out", "name resolution", "network is unreachable", "sslerror"),
        "The packages cannot be fetched. Check the network and proxy, or give a folder of wheels.",
    ),
    # With these words pip ends after each of the above as well.
    (
        ("no matching distribution", "could not find a version", "resolutionimpossible"),
        "There is no package for this Python and system, or no network. Check the network, or name another Python to make it with.",
    ),
    (
        ("ensurepip is not", "no module named venv", "no module named ensurepip"),
        "Python cannot make environments here. Install python3-venv (Debian and Ubuntu), and set up again.",
    ),
    (
        ("dll load failed", "vcruntime", "winerror 126"),
        "The Microsoft Visual C++ runtime is missing. Install it (vc_redist.x64.exe) and set up again.",
    ),
)


def set_up_engine(feedback: QgsProcessingFeedback, wheels: str = "", base: str = "") -> Path:
    """Make the environment anew, and give its Python.

    It is made beside the one that is there, which stays in use until the new one works: a cancel or a failure leaves it as it was.

    Args:
        feedback: gets progress and what pip says, and says when to stop.
        wheels: folder to install from without a network.
        base: the Python to make it with; left empty, one is looked for.

    Raises:
        EngineError: one sentence that says what to do.
    """
    python = _base_python(base, wheels, feedback)
    target = _folder(managed_environment())
    _require_ours(target)
    with _alone(target):
        _make(python, target, wheels, feedback)
    # Another QGIS may work with them.
    others = [str(folder) for folder in engines() if folder != managed_environment()]
    if others:
        feedback.pushInfo(
            f"Engines of other versions of S2Change lie in {', '.join(others)}. Delete them if no QGIS uses these any more."
        )
    feedback.setProgress(100)
    return python_in(target)


def engines() -> list[Path]:
    """Where engines lie: that of this version, and beside it those of others that were finished."""
    own = managed_environment()
    beside = sorted(own.parent.glob("*"))
    others = [folder for folder in beside if folder != own and _ENGINE.fullmatch(folder.name) and (folder / READY).is_file()]
    return [own, *others] if own.is_dir() else others


def remove_engine(engine: Path) -> None:
    """Remove one of the `engines`.

    Raises:
        EngineError: it is in use, or some of it stays; one sentence that says what to do.
    """
    target = _folder(engine)
    _require_ours(target)
    gone = _beside(target)
    with _alone(target):
        _move(target, gone)
        _remove(gone)
    if gone.exists():
        raise EngineError(f"Some of the engine is held by another program and lies in {gone} now. Delete that folder.")


def _folder(engine: Path) -> Path:
    """Where an engine lies: it may have been put on another disk."""
    return engine.resolve() if engine.is_symlink() else engine


def _require_ours(target: Path) -> None:
    """Refuse to take the place of what is no engine, such as where a link leads to a folder of other things.

    Raises:
        EngineError: one sentence.
    """
    if target.is_dir() and any(target.iterdir()) and not any((target / name).is_file() for name in (READY, "pyvenv.cfg")):
        raise EngineError(
            f"{target} holds something else than an engine, and would be removed. Move that elsewhere, and try again."
        )


def _beside(target: Path) -> Path:
    """A folder for what is not the engine yet, or no more; a set-up removes what is left of such."""
    return target.with_name(f"{_NEW}{secrets.token_hex(3)}")


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep everyone else from making or removing an engine meanwhile, in a folder that is there then.

    Raises:
        EngineError: someone does so already, or the folder cannot be written.
    """
    unwritable = f"The folder of the engine, {target.parent}, cannot be written. Have it made writable, and set up again."
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(unwritable) from error
    held = target.with_name("set-up.lock")
    lock = QLockFile(str(held))
    # Held until the process that took it is gone, or where that cannot be told, for longer than any set-up takes.
    lock.setStaleLockTime(_LONGEST_MS)
    if not lock.tryLock(0):
        busy = f"The engine is being set up already, by another QGIS perhaps. Wait until that is done; if there is none, delete {held}."
        raise EngineError(busy if lock.error() == QLockFile.LockError.LockFailedError else unwritable)
    try:
        yield
    finally:
        lock.unlock()


def _make(python: Path, target: Path, wheels: str, feedback: QgsProcessingFeedback) -> None:
    """Make the environment beside the old one, and put it in its place."""
    fresh, old = _beside(target), target.with_name(f"{_OLD}{target.name}")
    _restore(old, target)
    # Windows moves no folder in which a program runs: better said now than after all is fetched.
    _move(target, old)
    _restore(old, target)
    # What a set-up that was killed has left.
    for left in target.parent.iterdir():
        if _LEFT.fullmatch(left.name):
            _remove(left)
    free = shutil.disk_usage(target.parent).free
    if free < _NEEDED:
        raise EngineError(
            f"The disk of {target.parent} has {free / 1e9:.1f} GB free, and the engine needs {_NEEDED / 1e9:.1f}. Free some space and set up again."
        )
    try:
        for done, (title, program, arguments) in enumerate(_steps(python, fresh, wheels)):
            feedback.setProgressText(title)
            feedback.setProgress(100 * done / 4)
            _step(program, arguments, feedback)
        (fresh / READY).write_text(packages(), "ascii")
        _move(target, old)
        try:
            _move(fresh, target)
        except EngineError:
            _restore(old, target)
            raise
    finally:
        if fresh.exists():
            # Tens of thousands of files, just written: that may take a minute or two.
            feedback.setProgressText("Removing what was begun")
        _remove(fresh)
    _remove(old)


def _base_python(named: str, wheels: str, feedback: QgsProcessingFeedback) -> Path:
    """A Python that can make environments: the one that is named, else the first that is found of the right age, else a newer one."""
    needed = ["platform", "sys", "venv", "ensurepip"]
    # Where one without it is named, pip says so.
    needed += [] if named or wheels else ["ssl"]
    asked = (
        f"import {', '.join(needed)}; print(sys.version_info[:2] > {_NEWEST}); "
        f"raise SystemExit(sys.version_info < {_OLDEST} or {_WITHOUT_TORCH})"
    )
    newer: list[Path] = []
    for path in [Path(named)] if named else base_pythons():
        said: list[str] = []
        try:
            fits = not run_process(str(path), ["-I", "-c", asked], feedback, said.append)
        except EngineError:
            continue
        _stop_if_cancelled(feedback)
        if fits and said != ["True"]:
            return path
        newer += [path] if fits else []
    # There may be packages for it by now, such as in a folder of wheels.
    if newer:
        return newer[0]
    oldest = ".".join(map(str, _OLDEST))
    if named:
        raise EngineError(f"{named} is no Python {oldest} or newer that can make environments. Name another one to make it with.")
    raise EngineError(
        f"No Python {oldest} or newer that can make environments was found. Install one (on Debian and Ubuntu python3-venv, on a Mac one for Apple "
        "silicon) and set up again, or name one to make it with."
    )


def _restore(old: Path, target: Path) -> None:
    """Put back what was moved aside, by this set-up or by one that was killed while it did so; else it is of no more use."""
    if target.exists():
        _remove(old)
    else:
        _move(old, target)


def _move(folder: Path, to: Path) -> None:
    """Rename a folder, if it is there; a virus scanner may hold it for a while.

    Raises:
        EngineError: it cannot be moved.
    """
    for attempt in range(_ATTEMPTS):
        try:
            if folder.exists():
                folder.rename(to)
            return
        except OSError as error:
            if attempt == _ATTEMPTS - 1:
                raise EngineError(f"{folder} is in use. Close other QGIS windows and try again.") from error
            time.sleep(1)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _steps(python: Path, target: Path, wheels: str) -> list[tuple[str, str, list[str]]]:
    """Title, program and arguments of each step."""
    pip = ["-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    # What has no wheel would be built here, which fails after minutes and in words of a compiler.
    pip += ["--only-binary", ":all:", "--retries", "1", "--timeout", "30", "-c", str(requirements() / "cpu-only.txt")]
    pip += ["--no-index", "--find-links", wheels] if wheels else []
    lines = (requirements() / "engine.txt").read_text(encoding="utf-8").splitlines()
    torch = next(line for line in lines if line.startswith("torch=="))
    index = [] if wheels else ["--extra-index-url", _TORCH_INDEX]
    inside = str(python_in(target))
    return [
        (f"Making an environment with {python}", str(python), ["-I", "-m", "venv", str(target)]),
        ("Fetching PyTorch, about 200 MB", inside, [*pip, *index, torch]),
        ("Fetching rasterio and others", inside, [*pip, "-r", str(requirements() / "engine.txt")]),
        (
            "Trying the engine",
            inside,
            ["-I", "-c", "import torch, rasterio, skimage, geopandas, pyogrio, matplotlib, safetensors"],
        ),
    ]


def _step(program: str, arguments: list[str], feedback: QgsProcessingFeedback) -> None:
    said: list[str] = []

    def heard(text: str) -> None:
        said.append(text)
        feedback.pushConsoleInfo(text)

    failed = run_process(program, arguments, feedback, heard, merge=True)
    _stop_if_cancelled(feedback)
    if failed:
        raise EngineError(meaning("\n".join([*said[-60:], failed])))


def _stop_if_cancelled(feedback: QgsProcessingFeedback) -> None:
    if feedback.isCanceled():
        raise EngineCancelled("Cancelled; nothing was set up anew.")


def meaning(said: str) -> str:
    """What a failed step's output means for the user, in one sentence or two."""
    lower = said.lower()
    for signs, sentence in _MEANINGS:
        if any(sign in lower for sign in signs):
            return sentence
    last = next((line for line in reversed(said.splitlines()) if "error" in line.lower()), said.strip().splitlines()[-1])
    return f"The engine could not be set up: {last.strip()}"
