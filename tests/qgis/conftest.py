"""The staged plugin in QGIS, the engine's environment, a pair of rasters, engines that misbehave."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STAGE = REPOSITORY / "build" / "plugin"
PYTHON = Path(os.environ.get("S2CHANGE_PYTHON") or REPOSITORY / ".venv" / "bin" / "python")
sys.path.insert(0, str(STAGE))

# Made by the engine's Python, which has rasterio and torch; this one has neither.
_PAIR = """
import sys
from pathlib import Path
from tests.conftest import textured, write_stack
from tests.standin import write_standin
folder = Path(sys.argv[1])
ground = textured(10, 300, 340, 1)
later = ground.copy()
later[:, 100:140, 200:260] += 3000
later[:, :5] = 0
write_stack(folder / "before.tif", ground)
write_stack(folder / "after.tif", later)
for side, values in (("bands1", ground), ("bands2", later)):
    (folder / side).mkdir()
    for name, band in zip(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), values):
        write_stack(folder / side / f"T31_{name}.tif", band[None], None)
write_standin(folder / "models", "standin")
"""


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with before.tif, after.tif, the same as folders of bands, and models/standin."""
    folder = tmp_path_factory.mktemp("pair")
    subprocess.run([PYTHON, "-c", _PAIR, folder], cwd=REPOSITORY, check=True)
    return folder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, pair: Path) -> None:
    """The real engine, with the stand-in model known by name."""
    monkeypatch.setenv("S2CHANGE_PYTHON", str(PYTHON))
    monkeypatch.setenv("S2CHANGE_MODELS", str(pair / "models"))


@pytest.fixture
def provider(qgis_processing: None):
    """The provider, registered for the time of a test."""
    from qgis.core import QgsApplication

    from s2change_plugin.plugin import S2ChangePlugin

    plugin = S2ChangePlugin(None)
    plugin.initProcessing()
    yield QgsApplication.processingRegistry().providerById("s2change")
    plugin.unload()


@pytest.fixture
def fake_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a script in the engine's place; it gets the engine's arguments and standard input."""

    def put(body: str) -> Path:
        script = tmp_path / "fake-python"
        script.write_text(
            f"#!/usr/bin/python3 -I\nimport json, os, signal, sys, time\nWORK = {str(tmp_path / 'work')!r}\n{_SAY}\n{body}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("S2CHANGE_PYTHON", str(script))
        return tmp_path / "work"

    return put


_SAY = """
def say(**event):
    print(json.dumps(event), flush=True)
def start():
    os.mkdir(WORK)
    open(WORK + "/half.tif", "w").close()
    say(event="started", workdir=WORK)
"""
