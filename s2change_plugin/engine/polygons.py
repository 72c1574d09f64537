"""Changed areas as polygons: exact pixel edges, area, mean probability."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
from rasterio.features import rasterize, shapes
from shapely import STRtree, box
from shapely.geometry import shape

from .files import absolute, keeps_name
from .grid import for_pyproj, geodesic_areas_m2, windows
from .outputs import CHANGE, PROBABILITY_STEP

LAYER = "change"
_WINDOW = 2048
# Outlines in memory at a time, which take some 2.5 kB each: a method without a model may find millions in a tile.
_MOST_HELD = 100_000


def write_polygons(mask: Path, probability: Path, target: Path) -> int:
    """Write the connected areas of change as a GeoPackage and give their number.

    Pixels that share an edge are one area. Each has `area_ha` (geodesic, hectares) and `mean_probability` (0–1); the largest come first, of so
    many at a time as are held in memory. The rasters are walked row by row and window by window, however large they are.

    Args:
        mask: the change mask.
        probability: the stored probability.
        target: GeoPackage, made anew.

    Raises:
        OSError: it cannot be written.
    """
    with rasterio.open(mask) as raster, _plain_name(target) as here:
        band = rasterio.band(raster, 1)
        # Of the mask 0 is left out at once, and what was not observed afterwards.
        found = (shape(outline) for outline, value in shapes(band, mask=band, transform=raster.transform) if value == CHANGE)
        part = list(islice(found, _MOST_HELD))
        # Without any, an empty layer.
        _write(part, raster.crs, probability, here)
        count = len(part)
        while part := list(islice(found, _MOST_HELD)):
            _write(part, raster.crs, probability, here, append=True)
            count += len(part)
    return count


@contextmanager
def _plain_name(target: Path) -> Iterator[Path]:
    """Where pyogrio is to write a file: at its target, or, where it would write another one (`files.keeps_name`), elsewhere, from where it is then moved."""
    whole = absolute(str(target))
    if keeps_name(whole):
        yield Path(whole)
        return
    with TemporaryDirectory() as folder:
        if not keeps_name(folder):
            raise OSError(
                f"the folder for temporary files, {folder}, has a sign such as ! in its path, by which polygons cannot be written"
            )
        here = Path(folder, f"{LAYER}.gpkg")
        yield here
        shutil.move(here, whole)


def _write(outlines: Sequence[Any], crs: Any, probability: Path, target: Path, append: bool = False) -> None:
    """Write outlines with their attributes to the layer, or add them to it."""
    means = _mean_levels(probability, outlines) * PROBABILITY_STEP
    areas = geodesic_areas_m2(outlines, crs) / 1e4
    table = geopandas.GeoDataFrame(
        {"area_ha": areas.round(4), "mean_probability": means.round(4)}, geometry=list(outlines), crs=for_pyproj(crs)
    )
    table = table.astype({"area_ha": float, "mean_probability": float}).sort_values("area_ha", ascending=False)
    # Version 1.2 is what every supported QGIS reads without a warning.
    options = {} if append else {"dataset_options": {"VERSION": "1.2"}}
    how = {"layer": LAYER, "driver": "GPKG", "engine": "pyogrio", "geometry_type": "Polygon", "index": False, **options}
    try:
        table.to_file(target, mode="a" if append else "w", **how)
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise OSError(str(error)) from error


def _mean_levels(probability: Path, outlines: Sequence[Any]) -> NDArray[np.float64]:
    """Mean stored probability of the pixels of each outline, which follow pixel edges."""
    sums, counts = np.zeros((2, len(outlines) + 1))
    tree = STRtree(outlines)
    with rasterio.open(probability) as raster:
        for window in windows(raster.height, raster.width, _WINDOW):
            near = tree.query(box(*raster.window_bounds(window)))
            if not len(near):
                continue
            burnt = [(outlines[place], int(place) + 1) for place in near]
            shown = (int(window.height), int(window.width))
            numbers = rasterize(burnt, shown, transform=raster.window_transform(window), dtype="int32")
            # Most of a map is no change.
            inside = numbers > 0
            numbers, levels = numbers[inside], raster.read(1, window=window)[inside]
            sums += np.bincount(numbers, levels, len(sums))
            counts += np.bincount(numbers, minlength=len(sums))
    return np.asarray(sums[1:] / np.maximum(counts[1:], 1), np.float64)
