"""The staged plugin in QGIS, the engine's environment, a pair of rasters, engines that misbehave."""

from __future__ import annotations

import json
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
# Loaded now: later pytest puts the checkout before it.
import s2change_plugin  # noqa: E402, F401

# Made by the engine's Python, which has rasterio and torch; this one has neither.
_PAIR = """
import sys
from pathlib import Path
from tests.conftest import textured, write_stack
from tests.standin import write_standin
folder = Path(sys.argv[1])
ground = textured(10, 300, 340, 1)
later = ground.copy()
# Not in the visible bands: bright in all of them would be a cloud.
later[4:, 100:140, 200:260] += 5000
later[:, :5] = 0
write_stack(folder / "before.tif", ground)
write_stack(folder / "after.tif", later)
for side, values in (("bands1", ground), ("bands2", later)):
    (folder / side).mkdir()
    for name, band in zip(("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), values):
        write_stack(folder / side / f"T31_{name}.tif", band[None], None)
write_standin(folder / "models", "standin", thresholds={"f1": 0.5, "recall": 0.2}, simulated_levels=("L2A",))
"""

# Two products of one tile, of two processing baselines; the first also as its zip.
_PRODUCTS = """
import shutil, sys
from datetime import datetime, timezone
from pathlib import Path
import numpy as np
from s2change_plugin.engine.bands import ALL_BANDS
from tests.conftest import textured
from training.products import write_product, zip_folder
folder = Path(sys.argv[1])
ground = textured(13, 300, 342, 1) / 10000
ground[ALL_BANDS.index("B10")] = 0.001
clouds = np.zeros(ground.shape[1:], bool)
clouds[60:120, 60:120] = True
first = write_product(folder, ground, sensed=datetime(2021, 8, 20, 10, 55, tzinfo=timezone.utc), baseline="03.01", offset=None)
second = write_product(folder, ground, clouds=clouds)
# What GDAL itself, and so a layer of QGIS, must be told beside.
query = "<Query_Options><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT></Query_Options></Product_Info>"
size = "".join(
    f'<Size resolution="{gsd}"><NROWS>{3000 // gsd}</NROWS><NCOLS>{3420 // gsd}</NCOLS></Size>'
    f'<Geoposition resolution="{gsd}"><ULX>399960</ULX><ULY>4700040</ULY></Geoposition>'
    for gsd in (10, 20, 60)
)
for path, element, more in (
    (second / "MTD_MSIL1C.xml", "</Product_Info>", query),
    (next(second.glob("GRANULE/*/MTD_TL.xml")), "</Tile_Geocoding>", size + "</Tile_Geocoding>"),
):
    path.write_text(path.read_text("utf-8").replace(element, more), "utf-8")
(folder / "zipped").mkdir()
zip_folder(Path(shutil.copytree(first, folder / "zipped" / first.name)))
"""


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with before.tif, after.tif, the same as folders of bands, and models/standin."""
    folder = tmp_path_factory.mktemp("pair")
    subprocess.run([PYTHON, "-c", _PAIR, folder], cwd=REPOSITORY, check=True)
    return folder


@pytest.fixture(scope="session")
def products(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The SAFE folders of two dates, the earlier first; the later has 36 ha of clouds."""
    folder = tmp_path_factory.mktemp("products")
    subprocess.run([PYTHON, "-c", _PRODUCTS, folder], cwd=REPOSITORY, check=True)
    return sorted(folder.glob("*.SAFE"))


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


@pytest.fixture
def typed(fake_engine, provider, tmp_path: Path):
    """Run an algorithm, and give what it would have typed after `python -m s2change_plugin.engine`."""
    fake_engine(_REPEAT)

    def run(algorithm: str, parameters: dict) -> list[str]:
        import processing

        processing.run(f"s2change:{algorithm}", parameters)
        *_, arguments = json.loads((tmp_path / "work-said").read_text())
        # Before them lies where the package is, after them that it is to speak in events.
        _, *said, events = json.loads(arguments)
        assert events == "--events"
        return said

    return run


# An engine that keeps its arguments, and results as any command gives them.
_REPEAT = """
open(WORK + "-said", "w").write(json.dumps(sys.argv[1:]))
numbers = "severity shift_rows shift_cols shift_residual usable_share overlap_before overlap_after days day_of_year_gap sun_difference brightness run_seconds run_memory_gb run_disk_gb"
measured = {
    "scores": "f1 precision recall iou kappa accuracy prevalence pixels",
    "pixels": "true_positive false_positive false_negative true_negative unobserved unlabelled",
    "hectares": "mapped_change reference_change",
}
labelled = "change_pixels no_change_pixels unobserved_pixels strip_pixels"
say(event="result", changed_area_ha=0, changed_pixels=0, observed_share=1, threshold=0.5, method="unet", model="standin", usable_share=1, severity="ok", findings=[],
    numbers=dict.fromkeys(numbers.split(), 0), bands=[], groups=[], quality=WORK + "-quality.tif",
    **dict.fromkeys(labelled.split(), 0), **{group: dict.fromkeys(keys.split(), 0) for group, keys in measured.items()})
"""
_SAY = """
def say(**event):
    print(json.dumps(event), flush=True)
def start():
    os.mkdir(WORK)
    open(WORK + "/half.tif", "w").close()
    say(event="started", workdir=WORK)
"""
