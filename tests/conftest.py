"""What all engine tests share: small rasters, scenes in folders, the real data where it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
OSCD = Path(os.environ.get("S2CHANGE_OSCD", REPOSITORY.parent / "shared" / "data" / "oscd"))


@pytest.fixture(scope="session")
def oscd() -> Path:
    """The folder of the OSCD training cities' images."""
    found = sorted(OSCD.glob("*Images"))
    if not found:
        pytest.skip("the OSCD images are not here (S2CHANGE_OSCD names their folder)")
    return found[0]


def real_images(name: str) -> Path:
    """A folder of other real images, which lie beside OSCD's; without them the test is skipped."""
    folder = OSCD.parent / name
    if not folder.is_dir():
        pytest.skip(f"the images of {name} are not here (S2CHANGE_OSCD names a folder beside theirs)")
    return folder


@pytest.fixture
def ground() -> np.ndarray:
    """Digital numbers of a piece of ground with edges at all scales: uint16 (10, 300, 340)."""
    return textured(10, 300, 340, seed=1)


def textured(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Digital numbers, 200–6000, of relief and fields, seen through a point spread like Sentinel-2's: uint16 (count, height, width)."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    fields = gaussian_filter(random.normal(size=(height, width)), 6) > 0.01
    relief = gaussian_filter(random.normal(size=(height, width)), 3) * 10
    bands = [
        1500 + 900 * fields * (1 + 0.1 * band) + 250 * relief + random.normal(0, 15, (height, width)) for band in range(count)
    ]
    return np.clip([gaussian_filter(band, 0.8) for band in bands], 200, 6000).astype(np.uint16)


def write_stack(
    path: Path,
    values: np.ndarray,
    bands: Sequence[str] | None = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    crs: str | None = "EPSG:32631",
    origin: tuple[float, float] = (500000.0, 5000000.0),
    pixel: tuple[float, float] = (10.0, 10.0),
    **profile: object,
) -> Path:
    """Write a stack (band, row, col), north up, upper left corner at origin."""
    import rasterio
    from affine import Affine

    scale, offset = profile.pop("scale", None), profile.pop("offset", 0.0)
    transform = Affine(pixel[0], 0, origin[0], 0, -pixel[1], origin[1])
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs=crs,
        transform=transform,
        **profile,
    ) as raster:
        raster.write(values)
        for index, name in enumerate(bands or (), start=1):
            raster.set_band_description(index, name)
        if scale is not None:
            raster.scales, raster.offsets = (scale,) * len(values), (offset,) * len(values)
    return path
