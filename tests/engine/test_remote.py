"""Rasters that do not lie in a folder: inside a zip, and behind a web server."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from shapely.geometry import box

from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.reading import SceneReader
from s2change_plugin.engine.scene import open_scene
from tests.conftest import textured, write_stack

# Serves parts of files, as the servers of Cloud Optimized GeoTIFFs do; in a process of its own, since GDAL waits for the
# answer without letting other threads run.
SERVER = """
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

class Ranges(SimpleHTTPRequestHandler):
    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        first, last = 0, len(data) - 1
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if asked:
            begin, _, end = asked.partition("-")
            first, last = int(begin), min(last, int(end) if end else last)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[first : last + 1])

server = HTTPServer(("127.0.0.1", 0), Ranges)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    yield f"/vsicurl/http://127.0.0.1:{server.stdout.readline().strip()}"
    server.kill()
    server.wait()
    server.stdout.close()


def values_of(source: str) -> np.ndarray:
    scene = open_scene(source)
    reader = SceneReader(scene, scene.grid)
    try:
        return reader.read(scene.grid.window)
    finally:
        reader.close()


def test_a_stack_is_read_from_a_web_server(tmp_path: Path, served: str) -> None:
    ground = textured(3, 100, 120, 1)
    write_stack(tmp_path / "20230823.tif", ground, ("B02", "B03", "B04"), tiled=True, compress="deflate")
    np.testing.assert_allclose(values_of(f"{served}/20230823.tif"), ground / 10000, rtol=1e-5)
    assert open_scene(f"{served}/20230823.tif").acquisition.sensed.year == 2023


def test_what_opens_a_signed_address_is_in_nothing_that_is_handed_on(tmp_path: Path, served: str) -> None:
    """Of dates, of masks of one's own, and of what was drawn."""
    for seed, name in enumerate(("before", "after"), start=1):
        write_stack(tmp_path / f"{name}.tif", textured(3, 100, 120, seed), ("B02", "B03", "B04"))
    write_stack(tmp_path / "cloud.tif", np.eye(100, 120, dtype=np.uint8)[None], None)
    change = geopandas.GeoDataFrame(geometry=[box(500400, 4999300, 500700, 4999600)], crs="EPSG:32631")
    change.to_file(tmp_path / "change.geojson")
    files = ("before.tif", "after.tif", "cloud.tif", "change.geojson")
    before, after, cloud, drawn = (f"{served}/{name}?sig=geheim&se=2026" for name in files)
    out = tmp_path / "out"
    out.mkdir()
    results = [
        argument
        for name in ("mask", "record", "quality")
        for argument in (f"--{name}", str(out / f"{name}.{'json' if name == 'record' else 'tif'}"))
    ]
    masked = ["--before-mask", cloud, "--no-register"]
    for command in (
        ["detect", before, after, "--method", "cva", *masked, *results],
        ["stack", before, str(out / "stack.tif"), "--mask", cloud],
        ["check", before, after, *masked, "--report", str(out / "check.html")],
        ["chips", before, after, drawn, str(out / "data"), *masked, "--level", "L1C", "--name", "town"],
        ["compare", cloud, drawn, "--confusion", str(out / "errors.tif"), "--report", str(out / "errors.html")],
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    assert len(list(out.iterdir())) == 9
    written = [path for path in out.rglob("*") if path.is_file()]
    assert [path.name for path in written if b"geheim" in path.read_bytes()] == []
    assert f"{served}/before.tif" in (out / "record.json").read_text()
    assert f"{served}/before.tif</td>" in (out / "check.html").read_text()
    with rasterio.open(out / "mask.tif") as mask:
        assert mask.tags()["S2CHANGE_AFTER"] == f"{served}/after.tif"
    with rasterio.open(out / "stack_quality.tif") as quality:
        assert quality.tags()["S2CHANGE_MASKS"] == "your mask cloud.tif"
    assert '"detects": "What was drawn as change in change.geojson."' in (out / "data" / "data.json").read_text()


def test_a_stack_and_a_folder_of_bands_are_read_inside_a_zip(tmp_path: Path) -> None:
    ground = textured(2, 60, 60, 1)
    write_stack(tmp_path / "a.tif", ground, ("B02", "B03"))
    for band, layer in zip(("B02", "B03"), ground, strict=True):
        write_stack(tmp_path / f"T31TDH_{band}.tif", layer[None], None)
    with zipfile.ZipFile(tmp_path / "both.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.tif", "stacks/a.tif")
        for band in ("B02", "B03"):
            archive.write(tmp_path / f"T31TDH_{band}.tif", f"bands/T31TDH_{band}.tif")
    for source in ("stacks/a.tif", "bands"):
        np.testing.assert_allclose(values_of(f"/vsizip/{tmp_path / 'both.zip'}/{source}"), ground / 10000, rtol=1e-5)
    # The zip by itself: one folder in it holds bands.
    np.testing.assert_allclose(values_of(str(tmp_path / "both.zip")), ground / 10000, rtol=1e-5)
