"""Changed areas as polygons: exact pixel edges, area, mean probability, and what both dates show of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from heapq import nlargest
from itertools import chain, islice
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely import STRtree, box, clip_by_rect
from shapely.geometry import shape

from .evidence import NAMES, Evidence, values_of
from .grid import Grid, for_pyproj, geodesic_areas_m2, grow, intersect, pixel_size_m
from .masks import BUFFER_M
from .outputs import CHANGE, PROBABILITY_STEP
from .validity import Quality
from .vectors import plain_name, write_layer

LAYER = "change"
_Places = tuple[NDArray[np.intp], ...]
# Outlines in memory at a time, which take some 2.5 kB each: a method without a model may find millions in a tile.
_MOST_HELD = 100_000
# Metres around a pixel that are looked at for what was not observed: as far as masks reach further than what they mask.
_AROUND_M = BUFFER_M


def draw_polygons(mask: Path, quality: Path, evidence: Evidence, target: Path | None, largest: int = 0) -> list[Any]:
    """Draw the connected areas of change, write them as a GeoPackage, and give so many of the largest, as tuples with these names.

    Pixels that share an edge are one area. Each has `area_ha` (geodesic, hectares), and of its pixels the mean: `mean_probability` (0–1),
    `evidence.NAMES` (−1 to 1, null without both bands among those that are read), and `observed_around` (0–1), the share of the map up to 60 m
    away that was observed, of what was asked for; and, for a person to fill in, `review` (see `review.apply_review`) and `note`. The largest come
    first, of so many at a time as are held in memory. The rasters are walked row by row and window by window, however large they are.

    Args:
        mask, quality: the rasters of the run.
        evidence: of all of the mask's pixels of change; its windows lie on these rasters.
        target: GeoPackage, made anew; None writes none.
        largest: how many to give, with their `geometry`, in the rasters' CRS.

    Raises:
        OSError: it cannot be written.
    """
    with ExitStack() as stack:
        raster, codes = (stack.enter_context(rasterio.open(path)) for path in (mask, quality))
        here = stack.enter_context(plain_name(target)) if target else None
        band = rasterio.band(raster, 1)
        # Of the mask 0 is left out at once, and what was not observed afterwards.
        found = (shape(outline) for outline, value in shapes(band, mask=band, transform=raster.transform) if value == CHANGE)
        parts = iter(lambda: list(islice(found, _MOST_HELD)), [])
        first: list[Any] = []
        # Without any, an empty layer.
        for number, part in enumerate(chain([next(parts, [])], parts)):
            table = _described(part, raster, codes, evidence)
            if here:
                write_layer(table, here, LAYER, append=number > 0)
            first = nlargest(largest, [*first, *table.head(largest).itertuples(index=False)], lambda row: row.area_ha)
    return first


def _described(
    outlines: Sequence[Any], mask: DatasetReader, quality: DatasetReader, evidence: Evidence
) -> geopandas.GeoDataFrame:
    """Outlines with their attributes, the largest first."""
    areas = geodesic_areas_m2(outlines, mask.crs) / 1e4
    columns = {"area_ha": areas, **_means(outlines, mask, quality, evidence)}
    table = geopandas.GeoDataFrame(
        {name: values.round(4) for name, values in columns.items()}, geometry=list(outlines), crs=for_pyproj(mask.crs)
    )
    table = table.astype(dict.fromkeys(columns, float)).sort_values("area_ha", ascending=False)
    nothing = np.full(len(table), None, object)
    return table.assign(review=nothing, note=nothing).astype({"review": "Int32", "note": "string"})


def _means(
    outlines: Sequence[Any], mask: DatasetReader, quality: DatasetReader, evidence: Evidence
) -> dict[str, NDArray[np.float64]]:
    """Of what the pixels of each outline, which follow pixel edges, have: by column, each (outline,), NaN without any."""
    columns = ("mean_probability", *NAMES, "observed_around")
    sums, counts = np.zeros((2, len(columns), len(outlines) + 1))
    reach = [round(_AROUND_M / size) for size in pixel_size_m(Grid(mask.crs, mask.transform, *mask.shape))]
    tree = STRtree(outlines)
    for window, pixels in evidence.windows():
        near = tree.query(box(*mask.window_bounds(window)))
        # An outline that reaches far beyond the window would be taken apart whole for each of them.
        inside = clip_by_rect([outlines[place] for place in near], *mask.window_bounds(window))
        # Some do no more than touch it.
        burnt = [(part, int(place) + 1) for part, place in zip(inside, near, strict=True) if part.area]
        if not (burnt and pixels.size):
            continue
        shown = (int(window.height), int(window.width))
        numbers = rasterize(burnt, shown, transform=mask.window_transform(window), dtype="int32")
        # In a third of the time of `np.nonzero`.
        changed = np.unravel_index(np.flatnonzero(mask.read(1, window=window) == CHANGE), shown)
        numbers, around = numbers[changed], _observed_around(quality, window, changed, reach)
        of_pixels = np.stack([pixels[0] * PROBABILITY_STEP, *map(values_of, pixels[1:]), around])
        for column, values in enumerate(of_pixels):
            # What lies in none is of outlines that are written before or after these.
            told = (numbers > 0) & np.isfinite(values)
            sums[column] += np.bincount(numbers[told], values[told], len(outlines) + 1)
            counts[column] += np.bincount(numbers[told], minlength=len(outlines) + 1)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)[:, 1:]
    return dict(zip(columns, means, strict=True))


def _observed_around(quality: DatasetReader, window: Window, places: _Places, reach: Sequence[int]) -> NDArray[np.float64]:
    """Of pixels of a window the share of the ground around them that was observed, 0–1, of what was asked for: (n,).

    Args:
        quality: of the map.
        window: of it.
        places: rows and columns of the pixels in the window.
        reach: how far around each is looked, pixels each way.
    """
    wide = intersect(grow(window, max(reach)), Window(0, 0, quality.width, quality.height)) or window
    codes = quality.read(1, window=wide)
    if not codes.any():
        return np.ones(len(places[0]))
    corner = window.row_off - wide.row_off, window.col_off - wide.col_off
    spans = [
        (np.clip(place + first - far, 0, side), np.clip(place + first + far + 1, 0, side))
        for place, first, far, side in zip(places, map(int, corner), reach, codes.shape, strict=True)
    ]
    (top, bottom), (left, right) = spans

    def count(where: NDArray[np.bool_]) -> NDArray[np.int32]:
        sums = np.zeros((codes.shape[0] + 1, codes.shape[1] + 1), np.int32)
        where.cumsum(0, np.int32).cumsum(1, out=sums[1:, 1:])
        return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left], np.int32)

    return np.asarray(count(codes == Quality.OBSERVED) / count(codes != Quality.OUTSIDE), np.float64)
