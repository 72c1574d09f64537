"""A small data folder, and a small copy of OSCD's layout."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from s2change_plugin.engine.bands import ALL_BANDS, BANDS, TEN_BANDS
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.labelled import Origin, record_text, write_city
from tests.conftest import textured, write_stack

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 96, 128)


ORIGIN = Origin("blocks that were painted", "CC0", "L1C", "Bright blocks.")


def write_record(folder: Path, origins: dict[str, Origin]) -> None:
    """Say where the labels of each city come from."""
    (folder / "data.json").write_text(record_text({"cities": {name: asdict(origin) for name, origin in origins.items()}}))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five cities beside each other in which bright blocks are what changed."""
    folder = tmp_path / "data"
    for seed, name in enumerate(("athens", "bern", "cairo", "delhi", "essen")):
        random = np.random.default_rng(seed)
        before = textured(10, *GRID.shape, seed).astype(np.float32) / 10000
        after, change = before.copy(), np.zeros(GRID.shape, np.uint8)
        for _ in range(6):
            row, col = random.integers(0, 80), random.integers(0, 110)
            after[:, row : row + 12, col : col + 14] += 0.3
            change[row : row + 12, col : col + 14] = 1
        write_city(
            folder / name,
            (before, after),
            change,
            TEN_BANDS,
            replace(GRID, transform=GRID.transform @ Affine.translation(200 * seed, 0)),
        )
    write_record(folder, dict.fromkeys(("athens", "bern", "cairo", "delhi", "essen"), ORIGIN))
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """OSCD's folders with one city: bands at their own resolution, in degrees, the second date cut otherwise."""
    root = tmp_path / "oscd"
    images, labels = root / "OSCD - Images" / "town", root / "OSCD - Train Labels" / "town" / "cm"
    labels.mkdir(parents=True)
    size = 9e-5
    ground = textured(13, 240, 300, 3)
    for side, cut in (("imgs_1", 0), ("imgs_2", 12)):
        (images / side).mkdir(parents=True)
        for band, values in zip(ALL_BANDS, ground, strict=True):
            factor = BANDS[band].gsd_m // 10
            seen = values[cut:, :][: (240 - cut) // factor * factor, : 300 // factor * factor]
            coarse = seen.reshape(seen.shape[0] // factor, factor, seen.shape[1] // factor, factor).mean((1, 3)).astype(np.uint16)
            write_stack(
                images / side / f"T31_{band}.tif",
                coarse[None],
                None,
                crs="EPSG:4326",
                origin=(10.0, 20.0 - cut * size),
                pixel=(size * factor, size * factor),
            )
    change = np.ones((240, 300), np.uint8)
    change[60:80, 100:140] = 2
    with rasterio.open(labels / "town-cm.tif", "w", driver="GTiff", height=240, width=300, count=1, dtype="uint8") as raster:
        raster.write(change, 1)
    return root
