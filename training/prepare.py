"""From the OSCD layout to pairs on one grid: read, registered and cut by the engine, so that training sees what use sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from s2change_plugin.engine.bands import ALL_BANDS
from s2change_plugin.engine.errors import UnreadableInput
from s2change_plugin.engine.findings import require_fit, units_finding
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.radiometry import QUANTIFICATION, Array
from s2change_plugin.engine.scene import Scene, open_raster, open_scene

Labels = NDArray[np.uint8]
UNLABELLED = 255
_SOURCE = (
    "OSCD, Onera Satellite Change Detection (Caye Daudt et al., IGARSS 2018). Images: modified Copernicus Sentinel data. "
    "Labels: CC BY-NC-SA."
)


@dataclass(frozen=True)
class City:
    """One labelled pair, in memory.

    Attributes:
        name: of the folder.
        bands: in the order of the images.
        before, after: float32 (band, row, col) reflectance, NaN where not seen.
        change: uint8 (row, col): 1 change, 0 no change, 255 unlabelled or not seen.
    """

    name: str
    bands: tuple[str, ...]
    before: Array
    after: Array
    change: Labels


def prepare_oscd(source: Path, target: Path) -> Iterator[dict[str, Any]]:
    """Write every labelled city of OSCD to target/CITY/{before,after,change}.tif; yields what was found for each.

    Args:
        source: the folder that holds OSCD's "… Images" and "… Labels" folders.
        target: the data folder, made anew where it exists.

    Raises:
        UnreadableInput: not that layout.
    """
    images, labels = _oscd_folders(source)
    cities = sorted(path.name for path in images.iterdir() if (path / "imgs_1").is_dir() and path.name in labels)
    if not cities:
        raise UnreadableInput(
            f"{source} holds no city with imgs_1, imgs_2 and a label. Give the folder of the unpacked OSCD archives."
        )
    found = {}
    for city in cities:
        found[city] = _prepare_city(images / city, labels[city], target / city)
        yield {"city": city, **found[city]}
    text = json.dumps({"source": _SOURCE, "cities": found}, indent=2)
    (target / "data.json").write_text(text + "\n", encoding="utf-8")


def city_names(data: Path) -> list[str]:
    """The cities of a data folder.

    Raises:
        UnreadableInput: it is none.
    """
    names = sorted(path.parent.name for path in data.glob("*/change.tif"))
    if not names:
        raise UnreadableInput(
            f"{data} is not a data folder: it holds no CITY/change.tif. Make one with: python -m training prepare"
        )
    return names


def read_city(folder: Path, bands: tuple[str, ...]) -> City:
    """One city of a data folder, with the bands that are asked for.

    Raises:
        S2ChangeError: a file is missing or damaged, or lacks a band.
    """
    scenes = [open_scene(str(folder / f"{side}.tif")).select(bands) for side in ("before", "after")]
    with rasterio.open(folder / "change.tif") as raster:
        change = raster.read(1)
    with open_pair(scenes[0], scenes[1], bands, PairOptions(register=False, clouds="none")) as pair:
        if pair.grid.shape != change.shape:
            raise UnreadableInput(
                f"{folder}: change.tif measures {change.shape} and the images {pair.grid.shape}. Prepare it again."
            )
        seen = pair.read(pair.grid.window)
    change[seen.quality != 0] = UNLABELLED
    return City(folder.name, bands, seen.before, seen.after, change)


def write_city(folder: Path, scenes: tuple[Array, Array], change: Labels, bands: tuple[str, ...], grid: Grid) -> None:
    """Write one labelled pair in the layout that `read_city` reads.

    Args:
        folder: made if missing.
        scenes: before and after, float32 (band, row, col) reflectance, NaN nodata.
        change: uint8 (row, col).
        bands: of the images.
        grid: of all three.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place: dict[str, Any] = {
        "driver": "GTiff",
        "crs": grid.crs,
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
    }
    for side, image in zip(("before", "after"), scenes, strict=True):
        # 0 is nodata, so the darkest ground is 1.
        dn = np.clip(np.rint(np.nan_to_num(image) * QUANTIFICATION), 1, 65534).astype(np.uint16)
        dn[~np.isfinite(image)] = 0
        with rasterio.open(
            folder / f"{side}.tif", "w", **place, dtype="uint16", count=len(dn), nodata=0, compress="deflate"
        ) as raster:
            raster.write(dn)
            raster.scales = (1 / QUANTIFICATION,) * len(dn)
            for index, name in enumerate(bands, start=1):
                raster.set_band_description(index, name)
    with rasterio.open(
        folder / "change.tif", "w", **place, dtype="uint8", count=1, nodata=UNLABELLED, compress="deflate"
    ) as raster:
        raster.write(change, 1)


def _prepare_city(images: Path, label: Path, target: Path) -> dict[str, Any]:
    before, after = (open_scene(str(images / name)) for name in ("imgs_1", "imgs_2"))
    bands = tuple(name for name in ALL_BANDS if name in before.bands and name in after.bands)
    # Labels say nothing of clouds: what they call no change under a cloud stays for the network to learn.
    with open_pair(before, after, bands, PairOptions(clouds="none")) as pair:
        require_fit([units_finding(pair, trust_units=False)])
        seen = pair.read(pair.grid.window)
        change = _label_on(label, before, pair.grid)
        write_city(target, (seen.before, seen.after), change, bands, pair.grid)
        return {
            "shift": asdict(pair.shift),
            "shape": pair.grid.shape,
            "changed_share": round(float((change == 1).sum() / (change != UNLABELLED).sum()), 5),
        }


def _label_on(label: Path, before: Scene, grid: Grid) -> Labels:
    """OSCD's label on a grid: 1 change, 0 no change, 255 outside.

    The file has no georeference and lies pixel by pixel on the first date's 10 m bands; its values are 1 no change, 2 change.
    """
    with open_raster(str(label)) as raster:
        values = raster.read(1)
    source = before.bands["B02"].grid
    if values.shape != source.shape:
        raise UnreadableInput(
            f"{label} measures {values.shape} and the first date's 10 m bands {source.shape}; they must be alike."
        )
    placed = np.zeros(grid.shape, np.uint8)
    reproject(
        values,
        placed,
        src_transform=source.transform,
        src_crs=source.crs,
        dst_transform=grid.transform,
        dst_crs=grid.crs,
        dst_nodata=0,
        resampling=Resampling.nearest,
    )
    return np.where(placed == 0, UNLABELLED, placed == 2).astype(np.uint8)


def _oscd_folders(source: Path) -> tuple[Path, dict[str, Path]]:
    """The folder of images, and city to label file."""
    if not source.is_dir():
        raise UnreadableInput(f"{source} does not exist.")
    images = [path for path in [source, *sorted(source.iterdir())] if any(path.glob("*/imgs_1"))]
    labels = {path.parent.parent.name: path for path in [*source.glob("*/cm/*-cm.tif"), *source.glob("*/*/cm/*-cm.tif")]}
    if not images or not labels:
        missing = "images (CITY/imgs_1)" if not images else "labels (CITY/cm/CITY-cm.tif)"
        raise UnreadableInput(f"{source} holds no {missing} of OSCD. Give the folder into which its archives were unpacked.")
    return images[0], labels
