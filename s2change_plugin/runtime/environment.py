"""Where the engine's Python is, and the clean environment that it is started in."""

from __future__ import annotations

import json
import os
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from qgis.core import QgsApplication, QgsNetworkAccessManager, QgsSettings
from qgis.PyQt.QtCore import QProcessEnvironment, QUrl
from qgis.PyQt.QtNetwork import QNetworkProxy

from ..paths import PACKAGE

PYTHON_SETTING = "s2change/python"
PYTHON_VARIABLE = "S2CHANGE_PYTHON"
# Written last: an environment without it is unfinished.
READY = "s2change-ready"
SET_UP = "Run Plugins → S2Change → Set up the engine (or the algorithm s2change:setupengine), or name a Python under Settings."
# QGIS's own Python, what points at the data and drivers of its GDAL and PROJ, and the loader at its libraries, must not reach the engine. Other
# settings of GDAL and PROJ are the user's, such as how a server is asked.
_LEFT_OUT = (
    *("PYTHON", "DYLD_", "LD_LIBRARY_PATH", "QT_PLUGIN_PATH", "VIRTUAL_ENV", "CONDA_"),
    *("GDAL_DATA", "GDAL_DRIVER_PATH", "GDAL_PYTHON_DRIVER_PATH", "OGR_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB", "PROJ_AUX_DB"),
)
# Where Pythons are put on macOS, beside what a program of the desktop has on its PATH.
_MORE_FOLDERS = ("/opt/homebrew/bin", "/usr/local/bin", "/Library/Frameworks/Python.framework/Versions/Current/bin")
# Only our package's parent goes on the path, and last: it may be the folder of all plugins.
_STARTER = (
    "import json, runpy, sys; folder, *sys.argv[1:] = json.loads(sys.argv[1]); sys.path.append(folder); "
    "sys.argv[0] = 's2change'; runpy.run_module('s2change_plugin.engine', run_name='__main__')"
)


def engine_python() -> Path | None:
    """The engine's Python: the setting's, else S2CHANGE_PYTHON, else the environment in the profile, else a checkout's.

    The first two may also name the folder of an environment.
    """
    named, _ = named_python()
    if named:
        inside = python_in(Path(named))
        # Conda has it beside the folder of the others on Windows.
        places = (inside, Path(named) / inside.name)
        return next((place for place in places if place.is_file()), inside) if Path(named).is_dir() else Path(named)
    managed = managed_environment()
    if (managed / READY).is_file():
        return python_in(managed)
    checkout = python_in(PACKAGE.parent / ".venv")
    return checkout if checkout.is_file() else None


def named_python() -> tuple[str, str]:
    """What the user has named, and where; empty where nothing is."""
    setting, variable = QgsSettings().value(PYTHON_SETTING, "", str), os.environ.get(PYTHON_VARIABLE, "")
    return (setting, "under Plugins → S2Change → Settings") if setting else (variable, f"in {PYTHON_VARIABLE}")


def missing_engine() -> str:
    """One sentence that says why the engine cannot start and what to do; empty where it can."""
    python = engine_python()
    if python is None:
        return f"The engine of S2Change is not set up yet. {SET_UP}"
    named, place = named_python()
    if named and not python.is_file():
        return (
            f"The engine's Python that is named {place}, {python}, does not exist. Empty it there to use the one that Set up the engine makes, "
            "or name another."
        )
    if not python.is_file():
        return f"The engine's Python {python} does not exist. {SET_UP}"
    managed = managed_environment()
    if python == python_in(managed) and (managed / READY).is_file() and (managed / READY).read_text("ascii") != packages():
        return f"The engine has the packages of another version of S2Change. {SET_UP}"
    return ""


def managed_environment() -> Path:
    """The environment that the plugin makes: outside the plugin's folder, which updates replace.

    In the QGIS profile; on Windows in the user's local data, since a profile there may travel through the network, and lies so deep that PyTorch's
    file names would exceed 260 characters. That all profiles share, whose versions of the plugin may ask for other packages: there they are in its name.
    """
    local = os.environ.get("LOCALAPPDATA", "") if sys.platform == "win32" else ""
    if local:
        return Path(local) / "s2change" / f"engine-{packages()[:8]}"
    return Path(QgsApplication.qgisSettingsDirPath()) / "s2change" / "engine"


def requirements() -> Path:
    """The folder of the engine's requirements: in the installed plugin, or in a checkout."""
    inside = PACKAGE / "requirements"
    return inside if inside.is_dir() else PACKAGE.parent / "requirements"


def packages() -> str:
    """What stands for the packages that this version of the plugin asks for."""
    return sha256((requirements() / "engine.txt").read_bytes()).hexdigest()


def python_in(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / "Scripts" / "python.exe" if sys.platform == "win32" else environment / "bin" / "python"


def base_pythons() -> list[Path]:
    """Pythons that an environment could be made with, QGIS's own first; never sys.executable, which inside QGIS may be QGIS itself."""
    name = "python.exe" if sys.platform == "win32" else "bin/python3"
    candidates = [Path(prefix) / name for prefix in (sys.base_prefix, sys.base_exec_prefix)]
    # Programs of the desktop get a short PATH on macOS, whose own Python only offers to install one.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_FOLDERS])
    programs = ("python3", *(f"python3.{minor}" for minor in range(14, 9, -1)), "python")
    named = (shutil.which(program, path=path) for program in programs)
    candidates += [Path(found) for found in named if found and not (sys.platform == "darwin" and found == "/usr/bin/python3")]
    return [path for path in dict.fromkeys(candidates) if path.is_file()]


def clean_environment() -> QProcessEnvironment:
    """The user's environment without what belongs to QGIS; with the proxy of QGIS's settings where it names none."""
    environment = QProcessEnvironment.systemEnvironment()
    for name in environment.keys():  # noqa: SIM118 - not a dict
        if name.upper().startswith(_LEFT_OUT):
            environment.remove(name)
    proxy = _proxy_of_qgis()
    named = {name.upper(): environment.value(name) for name in environment.keys()}  # noqa: SIM118 - not a dict
    if proxy and not named.keys() & {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}:
        for name in ("http_proxy", "https_proxy"):
            environment.insert(name, proxy)
        environment.insert("no_proxy", ",".join([*filter(None, [named.get("NO_PROXY")]), *_without_proxy()]))
    return environment


def _without_proxy() -> list[str]:
    """Hosts that QGIS reaches without its proxy: it keeps beginnings of addresses."""
    manager = QgsNetworkAccessManager.instance()
    hosts = (QUrl(url).host() or url for url in [*manager.excludeList(), *manager.noProxyList()])
    return list(dict.fromkeys(["localhost", "127.0.0.1", *hosts]))


def _proxy_of_qgis() -> str:
    """The HTTP proxy that QGIS is told to use, as a URL; empty where there is none."""
    proxy = QgsNetworkAccessManager.instance().fallbackProxy()
    if proxy.type() not in (QNetworkProxy.ProxyType.HttpProxy, QNetworkProxy.ProxyType.HttpCachingProxy) or not proxy.hostName():
        return ""
    url = QUrl()
    url.setScheme("http")
    url.setHost(proxy.hostName())
    url.setPort(proxy.port())
    if proxy.user():
        url.setUserName(proxy.user(), QUrl.ParsingMode.DecodedMode)
        url.setPassword(proxy.password(), QUrl.ParsingMode.DecodedMode)
    return bytes(url.toEncoded()).decode()


def engine_arguments(arguments: list[str]) -> list[str]:
    """What the engine's Python is started with to run a command: isolated, unbuffered UTF-8."""
    # As ASCII: Qt 5 hands arguments on in the locale's encoding, which on a server may know no other letters.
    return ["-I", "-X", "utf8", "-u", "-c", _STARTER, json.dumps([str(PACKAGE.parent), *arguments])]
