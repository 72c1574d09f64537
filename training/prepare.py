"""From the OSCD layout to pairs on one grid: read, registered and cut by the engine, so that training sees what use sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import Resampling, reproject

from s2change_plugin.engine.bands import ALL_BANDS
from s2change_plugin.engine.errors import UnreadableInput
from s2change_plugin.engine.findings import require_fit
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.labelled import RECORD, UNLABELLED, Origin, city_names, read_record, record_text, write_city
from s2change_plugin.engine.outputs import writing
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.pair_findings import units_finding
from s2change_plugin.engine.radiometry import Array
from s2change_plugin.engine.rasters import open_raster
from s2change_plugin.engine.scene import Scene, open_scene

from .files import write_whole

Labels = NDArray[np.uint8]
_OSCD = Origin(
    source="OSCD, Onera Satellite Change Detection (Caye Daudt et al., IGARSS 2018; images: modified Copernicus Sentinel data)",
    licence="CC BY-NC-SA 4.0 (from the labels of OSCD)",
    level="L1C",
    detects="New or changed built-up structure (buildings, roads, building sites). "
    "Seasons, crops, water, clouds and fire are not what it was trained to find.",
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
        target: the data folder, made if missing; what else is in it stays.

    Raises:
        UnreadableInput: not that layout, or the target has a record that is none.
        OutputError: a city cannot be written.
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
    record = read_record(target) if (target / RECORD).is_file() else {"cities": {}}
    record["cities"].update({city: {**asdict(_OSCD), **about} for city, about in found.items()})
    write_whole(target / RECORD, record_text(record).encode())


def read_city(folder: Path, bands: tuple[str, ...]) -> City:
    """One city of a data folder, with the bands that are asked for.

    Raises:
        S2ChangeError: a file is missing or damaged, or lacks a band.
    """
    # The unit was settled when they were written.
    scenes = [open_scene(str(folder / f"{side}.tif"), trust_units=True).select(bands) for side in ("before", "after")]
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


def fingerprints(data: Path) -> dict[str, str]:
    """SHA-256 of the numbers of each city's images and label: another one means that something about them is new."""
    found = {}
    for name in city_names(data):
        digest = sha256()
        for part in ("before", "after", "change"):
            with open_raster(str(data / name / f"{part}.tif")) as raster:
                digest.update(f"{raster.descriptions} {raster.shape} {raster.dtypes}".encode())
                digest.update(raster.read().tobytes())
        found[name] = digest.hexdigest()
    return found


def require_as_before(before: Mapping[str, str] | None, now: Mapping[str, str], folder: Path) -> None:
    """Refuse a folder whose results are of other data.

    Args:
        before: `fingerprints` of the data that the folder's results are of; None where it does not say.
        now: of the data as they are.
        folder: for the error message.

    Raises:
        UnreadableInput: the two differ.
    """
    if before is None:
        raise UnreadableInput(f"{folder} is of an earlier version, which did not note its data. Choose another folder.")
    other = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
    if other:
        raise UnreadableInput(
            f"{folder} is of other data: {', '.join(other)} {'is' if len(other) == 1 else 'are'} new, gone or changed since. "
            "Choose another folder, or put the data back."
        )


def _prepare_city(images: Path, label: Path, target: Path) -> dict[str, Any]:
    before, after = (open_scene(str(images / name)) for name in ("imgs_1", "imgs_2"))
    bands = tuple(name for name in ALL_BANDS if name in before.bands and name in after.bands)
    # Labels say nothing of clouds: what they call no change under a cloud stays for the network to learn.
    with open_pair(before, after, bands, PairOptions(clouds="none")) as pair:
        require_fit([units_finding(pair, trust_units=False)])
        seen = pair.read(pair.grid.window)
        change = _label_on(label, before, pair.grid)
        target.parent.mkdir(parents=True, exist_ok=True)
        with writing(target):
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
