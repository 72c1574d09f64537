"""Changed areas as polygons: exact pixel edges, area, mean probability."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import rasterio
from rasterio.features import shapes
from scipy.ndimage import label
from shapely.geometry import shape

from .grid import geodesic_areas_m2
from .outputs import PROBABILITY_STEP, to_mask

LAYER = "change"


def write_polygons(probability: Path, threshold: float, target: Path) -> int:
    """Write the connected areas of change as a GeoPackage and give their number.

    Pixels that share an edge are one area. Each has `area_ha` (geodesic, hectares) and `mean_probability` (0–1).

    Args:
        probability: the stored probability raster.
        threshold: as it was used for the mask.
        target: GeoPackage, made anew.
    """
    with rasterio.open(probability) as raster:
        levels, transform, crs = raster.read(1), raster.transform, raster.crs
    changed = to_mask(levels, threshold) == 1
    labels, count = label(changed, output=np.int32)
    inside = labels[changed]
    sums = np.bincount(inside, weights=levels[changed], minlength=count + 1)
    means = sums[1:] / np.bincount(inside, minlength=count + 1)[1:] * PROBABILITY_STEP
    found = [(shape(outline), int(number)) for outline, number in shapes(labels, mask=changed, transform=transform)]
    areas = geodesic_areas_m2([outline for outline, _ in found], crs) / 1e4
    table = geopandas.GeoDataFrame(
        {"area_ha": areas.round(4), "mean_probability": [round(float(means[number - 1]), 4) for _, number in found]},
        geometry=[outline for outline, _ in found],
        crs=crs.to_wkt(),
    )
    table = table.astype({"area_ha": float, "mean_probability": float}).sort_values("area_ha", ascending=False)
    # Version 1.2 is what every supported QGIS reads without a warning.
    options = {"VERSION": "1.2"}
    table.to_file(
        target, layer=LAYER, driver="GPKG", engine="pyogrio", geometry_type="Polygon", index=False, dataset_options=options
    )
    return int(count)
