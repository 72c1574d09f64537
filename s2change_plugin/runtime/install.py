"""Make the engine's environment in the user's profile, or say in one sentence why it cannot be made."""

from __future__ import annotations

import shutil
from pathlib import Path

from qgis.core import QgsProcessingFeedback

from ..paths import PACKAGE
from .environment import READY, base_python, managed_environment, python_in
from .run import EngineCancelled, EngineError, run_process

_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# What pip prints, and what it means for a user; the first that fits is told.
_MEANINGS = (
    (
        ("no space left", "no disk space", "errno 28"),
        "The disk is full: the engine needs about 2 GB. Free some space and set up again.",
    ),
    (
        ("permission denied", "access is denied"),
        "The QGIS profile cannot be written, or a virus scanner holds a file. Set up again.",
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
        ("no matching distribution", "could not find a version", "resolutionimpossible"),
        "There is no package for this Python and system, or no network. Check the network, or choose another Python (3.10 or newer) under Settings.",
    ),
    (
        ("connection", "timed out", "name resolution", "network is unreachable", "ssl"),
        "The packages cannot be fetched. Check the network and proxy, or give a folder of wheels.",
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


def requirements() -> Path:
    """The folder of the engine's requirements: in the installed plugin, or in a checkout."""
    inside = PACKAGE / "requirements"
    return inside if inside.is_dir() else PACKAGE.parent / "requirements"


def set_up_engine(feedback: QgsProcessingFeedback, wheels: str = "") -> Path:
    """Make the environment anew, and give its Python.

    A cancel or a failure leaves none, and an unfinished one is never taken for finished.

    Args:
        feedback: gets progress and what pip says, and says when to stop.
        wheels: folder to install from without a network.

    Raises:
        EngineError: one sentence that says what to do.
    """
    python = base_python()
    if python is None:
        raise EngineError(
            "No Python was found to make the engine's environment with. Install Python 3.10 or newer, and set up again."
        )
    target = managed_environment()
    shutil.rmtree(target, ignore_errors=True)
    if target.exists():
        raise EngineError(f"{target} is in use. Close other QGIS windows and set up again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        for done, (title, program, arguments) in enumerate(_steps(python, target, wheels)):
            feedback.setProgressText(title)
            feedback.setProgress(100 * done / 4)
            _step(program, arguments, feedback)
        (target / READY).touch()
    finally:
        if not (target / READY).exists():
            shutil.rmtree(target, ignore_errors=True)
    feedback.setProgress(100)
    return python_in(target)


def _steps(python: Path, target: Path, wheels: str) -> list[tuple[str, str, list[str]]]:
    """Title, program and arguments of each step."""
    pip = ["-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    pip += ["--retries", "1", "--timeout", "30", "-c", str(requirements() / "cpu-only.txt")]
    pip += ["--no-index", "--find-links", wheels] if wheels else []
    lines = (requirements() / "engine.txt").read_text(encoding="utf-8").splitlines()
    torch = next(line for line in lines if line.startswith("torch=="))
    index = [] if wheels else ["--extra-index-url", _TORCH_INDEX]
    inside = str(python_in(target))
    return [
        (f"Making an environment in {target}", str(python), ["-I", "-m", "venv", str(target)]),
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
    if feedback.isCanceled():
        raise EngineCancelled("Cancelled; the engine is not set up.")
    if failed:
        raise EngineError(meaning("\n".join([*said[-60:], failed])))


def meaning(said: str) -> str:
    """What a failed step's output means for the user, in one sentence or two."""
    lower = said.lower()
    for signs, sentence in _MEANINGS:
        if any(sign in lower for sign in signs):
            return sentence
    last = next((line for line in reversed(said.splitlines()) if "error" in line.lower()), said.strip().splitlines()[-1])
    return f"The engine could not be set up: {last.strip()}"
