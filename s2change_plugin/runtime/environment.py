"""Where the engine's Python is, and the clean environment that it is started in."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QProcessEnvironment

from ..paths import PACKAGE

PYTHON_SETTING = "s2change/python"
PYTHON_VARIABLE = "S2CHANGE_PYTHON"
# Written last: an environment without it is unfinished.
READY = "s2change-ready"
SET_UP = "Run Plugins → S2Change → Set up the engine (or the algorithm s2change:setupengine), or name a Python under Settings."
# QGIS's own Python, GDAL and PROJ, and what points the loader at its libraries, must not reach the engine.
_LEFT_OUT = ("PYTHON", "PROJ_", "GDAL_", "DYLD_", "LD_LIBRARY_PATH", "QT_PLUGIN_PATH", "VIRTUAL_ENV", "CONDA_")
# Only our package's parent goes on the path, and last: it may be the folder of all plugins.
_STARTER = (
    "import runpy, sys; sys.path.append(sys.argv.pop(1)); "
    "sys.argv[0] = 's2change'; runpy.run_module('s2change_plugin.engine', run_name='__main__')"
)


def engine_python() -> Path | None:
    """The engine's Python: the setting's, else S2CHANGE_PYTHON, else the environment in the profile, else a checkout's."""
    for chosen in (QgsSettings().value(PYTHON_SETTING, "", str), os.environ.get(PYTHON_VARIABLE, "")):
        if chosen:
            return Path(chosen)
    managed = managed_environment()
    if (managed / READY).is_file():
        return python_in(managed)
    checkout = python_in(PACKAGE.parent / ".venv")
    return checkout if checkout.is_file() else None


def missing_engine() -> str:
    """One sentence that says why the engine cannot start and what to do; empty where it can."""
    python = engine_python()
    if python is None:
        return f"The engine of S2Change is not set up yet. {SET_UP}"
    if not python.is_file():
        return f"The engine's Python {python} does not exist. {SET_UP}"
    return ""


def managed_environment() -> Path:
    """The environment that the plugin makes: in the user's profile, outside the plugin's folder, which updates replace."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "s2change" / "engine"


def python_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / "Scripts" / "python.exe" if sys.platform == "win32" else environment / "bin" / "python"


def base_python() -> Path | None:
    """A Python to make an environment with; never sys.executable, which inside QGIS may be QGIS itself."""
    name = "python.exe" if sys.platform == "win32" else "bin/python3"
    candidates = [Path(prefix) / name for prefix in dict.fromkeys((sys.base_prefix, sys.base_exec_prefix))]
    found = shutil.which("python3") or shutil.which("python")
    candidates += [Path(found)] if found else []
    return next((path for path in candidates if path.is_file()), None)


def clean_environment() -> QProcessEnvironment:
    """The user's environment without what belongs to QGIS; proxies stay."""
    environment = QProcessEnvironment.systemEnvironment()
    for name in environment.keys():  # noqa: SIM118 - not a dict
        if name.upper().startswith(_LEFT_OUT):
            environment.remove(name)
    return environment


def engine_arguments(arguments: list[str]) -> list[str]:
    """What the engine's Python is started with to run a command: isolated, unbuffered UTF-8."""
    return ["-I", "-X", "utf8", "-u", "-c", _STARTER, str(PACKAGE.parent), *arguments]
