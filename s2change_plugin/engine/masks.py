"""Masks of one date, and the area of interest, laid on a grid and read window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from .clouds import BANDS, REACH, TEST_NAME, can_test, spectral_clouds
from .errors import GridMismatch, UnreadableInput
from .grid import Grid, bounds_window, grow, intersect, pixel_place, pixel_size_m, place_of, slices_in
from .scene import Scene, SceneReader, damaged, open_raster
from .validity import ClassRaster, Codes, Mask, MaskPolygons, Quality, SpectralTest, classes_to_codes, dilate, worse

CLOUDS = ("auto", "product", "spectral", "none")
# Metres. Three pixels of the scene classification: about the width of the soft edge that its clouds leave out.
BUFFER_M = 60.0
_CRS_WORD = "EPSG:32631"


def masks_of(scene: Scene, clouds: str, own: str | None) -> tuple[Mask, ...]:
    """The masks that say where a date is not usable.

    Args:
        scene: the date.
        clouds: one of `CLOUDS`. "auto" takes the product's mask, else the spectral test, which is made for Level-1C; it is left
            out where the date is known to be Level-2A.
        own: a mask of the user's own, see `open_mask`.

    Raises:
        UnreadableInput: the mask that is asked for is not there.
    """
    found: list[Mask] = []
    test = SpectralTest(TEST_NAME) if can_test(scene.bands) else None
    if clouds == "product" and scene.mask is None:
        raise UnreadableInput(f"{scene.source} brings no cloud mask. Give one of your own, or choose the spectral test.")
    if clouds == "spectral" and test is None:
        raise UnreadableInput(
            f"{scene.source} lacks the bands of the spectral cloud test ({', '.join(BANDS)}). Give a mask of your own."
        )
    if clouds in ("auto", "product") and scene.mask is not None:
        found.append(scene.mask)
    elif test is not None and (clouds == "spectral" or (clouds == "auto" and scene.acquisition.level != "L2A")):
        found.append(test)
    if own:
        found.append(open_mask(own))
    return tuple(found)


def open_mask(source: str) -> Mask:
    """A mask of the user's own: a raster in which anything but 0 and nodata is not usable, or a layer of polygons.

    Args:
        source: path of a raster, or of a vector file, as QGIS writes it too (`FILE|layername=NAME`).

    Raises:
        UnreadableInput: neither, or empty.
        GridMismatch: no CRS.
    """
    origin = f"your mask {Path(source).name}"
    try:
        with rasterio.open(source) as dataset:
            if dataset.crs is None:
                raise GridMismatch(f"The mask {source} has no CRS, so its place is unknown. Assign one.")
            return ClassRaster(source, ({},), origin, other=Quality.CLOUD)
    except RasterioError:
        polygons = read_polygons(source, "mask")
    return MaskPolygons(CRS.from_user_input(polygons.crs), tuple((shape, Quality.CLOUD) for shape in polygons), origin)


def read_polygons(source: str, what: str) -> geopandas.GeoSeries:
    """The polygons of a vector layer, in its CRS.

    Args:
        source: path, or `FILE|layername=NAME`.
        what: what they are for, as an error names it.

    Raises:
        UnreadableInput: no vector file, or no polygons in it.
        GridMismatch: no CRS.
    """
    path, _, rest = source.partition("|")
    layer = rest.removeprefix("layername=").partition("|")[0] if rest.startswith("layername=") else None
    try:
        table = geopandas.read_file(path, layer=layer)
    except (DataSourceError, DataLayerError, OSError, ValueError) as error:
        raise UnreadableInput(f"The {what} {source} cannot be read as raster or polygons. Choose another file.") from error
    shapes = table.geometry if isinstance(table, geopandas.GeoDataFrame) else geopandas.GeoSeries([])
    shapes = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        raise UnreadableInput(f"The {what} {source} has no polygons. Choose a layer of polygons.")
    if shapes.crs is None:
        raise GridMismatch(f"The {what} {source} has no CRS, so its place is unknown. Assign one, such as {_CRS_WORD}.")
    return shapes.make_valid()


class MaskReader:
    """The masks of one date, open, read as its quality codes on one grid."""

    def __init__(self, scene: Scene, masks: Sequence[Mask], grid: Grid, buffer_m: float) -> None:
        """Open the masks; clouds and shadows then reach buffer_m further than they say."""
        self._stack = ExitStack()
        tall, wide = pixel_size_m(grid)
        self._rows, self._cols = buffer_m / tall, buffer_m / wide
        self._reads: dict[bool, list[Callable[[Window], Codes]]] = {True: [], False: []}
        for mask in masks:
            widened = isinstance(mask, ClassRaster) and mask.widened
            self._reads[widened].append(self._opened(scene, mask, grid))

    def read(self, window: Window) -> Codes:
        """Codes of a window, uint8 (row, col): OBSERVED where no mask says otherwise; it may reach beyond the grid."""
        margin = int(np.ceil(max(self._rows, self._cols))) if self._reads[False] else 0
        wide = grow(window, margin)
        codes = dilate(_worst(self._reads[False], wide), self._rows, self._cols)[slices_in(window, wide)]
        return worse(codes, _worst(self._reads[True], window))

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _opened(self, scene: Scene, mask: Mask, grid: Grid) -> Callable[[Window], Codes]:
        if isinstance(mask, ClassRaster):
            return self._classes(mask, grid)
        if isinstance(mask, MaskPolygons):
            return _polygons(mask, grid)
        return self._spectral(scene, grid)

    def _classes(self, mask: ClassRaster, grid: Grid) -> Callable[[Window], Codes]:
        dataset = self._stack.enter_context(open_raster(mask.path))
        indexes = [mask.first_layer + place for place in range(len(mask.codes))]
        if dataset.count < indexes[-1] or dataset.crs is None:
            raise UnreadableInput(f"The mask {mask.path} is damaged: it has {dataset.count} layers, and CRS {dataset.crs}.")
        dataset, extent = nearest_on(dataset, grid, self._stack)
        nodata = dataset.nodata

        def read(window: Window) -> Codes:
            codes = np.zeros((int(window.height), int(window.width)), np.uint8)
            inside = intersect(window, extent)
            if inside is not None:
                there = Window(inside.col_off - extent.col_off, inside.row_off - extent.row_off, inside.width, inside.height)
                try:
                    values = dataset.read(indexes, window=there)
                except RasterioError as error:
                    raise damaged(mask.path, error) from error
                codes[slices_in(inside, window)] = classes_to_codes(values, mask, nodata)
            return codes

        return read

    def _spectral(self, scene: Scene, grid: Grid) -> Callable[[Window], Codes]:
        reader = SceneReader(scene.select(BANDS), grid)
        self._stack.callback(reader.close)

        def read(window: Window) -> Codes:
            wide = grow(window, REACH)
            return spectral_clouds(reader.read(wide), BANDS)[slices_in(window, wide)]

        return read


def nearest_on(dataset: DatasetReader, grid: Grid, opened: ExitStack, **warp: Any) -> tuple[DatasetReader, Window]:
    """A raster by nearest neighbour on the pixels of a grid, and the window of the grid that it lies on.

    Args:
        dataset: with a CRS; given back as it is, with its place on the grid, where its pixels coincide with the grid's.
        grid: to lay it on.
        opened: gets to close what is opened.
        warp: further options of `rasterio.vrt.WarpedVRT`, which covers the whole grid.
    """
    place = pixel_place(Grid(dataset.crs, dataset.transform, dataset.height, dataset.width), grid)
    if place is not None:
        return dataset, Window(*place, dataset.width, dataset.height)
    laid = WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.transform,
        height=grid.height,
        width=grid.width,
        resampling=Resampling.nearest,
        tolerance=0.01,
        **warp,
    )
    return opened.enter_context(laid), grid.window


class Area:
    """Polygons on a grid, such as the area of interest: where they lie, and which pixels are outside."""

    def __init__(self, source: str, grid: Grid, what: str = "area of interest", of: str = "the overlap of the two dates") -> None:
        """Read the polygons of a vector layer.

        Args:
            source: see `read_polygons`.
            grid: to lay them on.
            what: they are, and `of`: what the grid is, as an error names them.

        Raises:
            UnreadableInput, GridMismatch: as `read_polygons`; or they do not meet the grid.
        """
        polygons = read_polygons(source, what)
        self._shapes = _in_crs(polygons, grid)
        self._grid = grid
        window = bounds_window(grid, tuple(self._shapes.total_bounds), grid.crs)
        if window is None:
            raise GridMismatch(
                f"The {what} {source} does not meet {of}, {place_of(grid)}. Choose polygons that do, or check their CRS."
            )
        self.window = window

    def outside(self, window: Window) -> NDArray[np.bool_]:
        """True where a pixel's centre lies outside all polygons: (row, col)."""
        return np.asarray(_burnt([(shape, 1) for shape in self._shapes], self._grid, window) == 0)


def _worst(reads: Sequence[Callable[[Window], Codes]], window: Window) -> Codes:
    """What several masks say together of a window."""
    codes = np.zeros((int(window.height), int(window.width)), np.uint8)
    for read in reads:
        codes = worse(codes, read(window))
    return codes


def _polygons(mask: MaskPolygons, grid: Grid) -> Callable[[Window], Codes]:
    shapes = _in_crs(geopandas.GeoSeries([shape for shape, _ in mask.shapes], crs=mask.crs.to_wkt()), grid)
    codes = [code for _, code in mask.shapes]
    return lambda window: _burnt(list(zip(shapes, codes, strict=True)), grid, window)


def _in_crs(shapes: geopandas.GeoSeries, grid: Grid) -> geopandas.GeoSeries:
    """Polygons in a grid's CRS, with corners close enough that long edges keep their place."""
    if CRS.from_user_input(shapes.crs) == grid.crs:
        return shapes
    size = np.ptp(shapes.total_bounds.reshape(2, 2), axis=0).max() if len(shapes) else 0
    return (shapes.segmentize(size / 100) if size > 0 else shapes).to_crs(grid.crs.to_wkt())


def _burnt(shapes: list[tuple[Any, int]], grid: Grid, window: Window) -> Codes:
    """Polygons as codes on a window, 0 elsewhere; a pixel belongs to the polygon that holds its centre."""
    part = grid.crop(window)
    left, bottom, right, top = part.bounds
    near = [
        (shape, code)
        for shape, code in shapes
        if not shape.is_empty
        and shape.bounds[0] < right
        and shape.bounds[2] > left
        and shape.bounds[1] < top
        and shape.bounds[3] > bottom
    ]
    if not near:
        return np.zeros(part.shape, np.uint8)
    return np.asarray(rasterize(near, part.shape, transform=part.transform, dtype="uint8"), np.uint8)
