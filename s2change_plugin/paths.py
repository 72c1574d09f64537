"""Where resources and models lie: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def resources() -> Path:
    """The folder of what ships and is not code: icon, styles, models."""
    inside = PACKAGE / "resources"
    return inside if inside.is_dir() else PACKAGE.parent / "resources"


def shipped_models() -> Path:
    """The folder of the models that come with the plugin; an update replaces it."""
    return resources() / "models"


def user_models() -> Path:
    """The folder of the user's own models, which plugin updates do not touch.

    `S2CHANGE_MODELS` names it; else it is `s2change/models` in the platform's user-data folder. Written out here because
    QGIS and the engine must agree on it and share neither Qt nor a third-party package.
    """
    chosen = os.environ.get("S2CHANGE_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "s2change" / "models"
