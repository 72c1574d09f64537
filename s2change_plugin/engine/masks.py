"""Masks of one date, and the area of interest, laid on a grid and read window by window."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from .blocks import BlockCache
from .clouds import BANDS, REACH, TEST_NAME, can_test, spectral_clouds
from .errors import GridMismatch, UnreadableInput
from .files import without_queries
from .grid import (
    Grid,
    aligned_windows,
    around,
    base_grid,
    bounds_window,
    for_pyproj,
    grow,
    intersect,
    is_on_earth,
    pixel_size_m,
    place_of,
    slices_in,
)
from .placement import Placement, placement_of, spread
from .radiometry import Array
from .rasters import damaged, open_raster, values_over
from .reading import ANY_ALPHA, SceneReader
from .scene import SCL_FILE, Scene
from .validity import (
    SCL_CODES,
    ClassRaster,
    Codes,
    Mask,
    MaskPolygons,
    Quality,
    SpectralTest,
    classes_to_codes,
    dilate,
    tells_clouds,
    worse,
)
from .vectors import read_polygons

if TYPE_CHECKING:
    import geopandas

CLOUDS = ("auto", "product", "spectral", "none")
# Metres. Three pixels of the scene classification: about the width of the soft edge that its clouds leave out.
BUFFER_M, _LARGEST_BUFFER_M = 60.0, 5000.0
# Polygons are laid out on so many pixels along a side at a time.
_PIECE = 2048
# Outlines with more corners are cut to where they are laid out first.
_MANY_CORNERS = 1000
# Of the scene classification: its classes; those that most scenes have and no cloud is in (dark, vegetation, bare, water); clouds and snow, which are
# beyond what masks of few classes have, and beyond our own codes, which mean others.
_SCL_CLASSES, _GROUND, _CLOUDS_AND_SNOW = set(range(12)), {2, 4, 5, 6}, {8, 9, 10, 11}
# A mask of classes, or of a few bits, holds fewer; and where clouds are numbered, most pixels have their neighbour's number.
_MOST_VALUES, _MOST_STEPS = 32, 0.25
# As products call theirs: MSK_CLDPRB_20m (ESA, Sentinel-2 Products Specification Document).
_PROBABILITY_FILE = re.compile(r"(?:^|_)CLDPRB(?:_[26]0m)?$", re.IGNORECASE)
_NOTHING: Mapping[str, Array] = MappingProxyType({})
# A mask's codes of a window, which may be told what is known of a part of it; see `MaskReader.read`.
_Read = Callable[[Window, Window, Mapping[str, Array]], Codes]


def require_buffer(metres: float) -> None:
    """Refuse a buffer around clouds that cannot be meant, with ValueError."""
    if not 0 <= metres <= _LARGEST_BUFFER_M:
        raise ValueError(f"the masks' buffer is {metres:g} m and must lie between 0 and {_LARGEST_BUFFER_M:g}")


def masks_of(scene: Scene, clouds: str, own: str | None) -> tuple[Mask, ...]:
    """The masks that say where a date is not usable.

    Args:
        scene: the date.
        clouds: one of `CLOUDS`. "auto" takes the product's mask and, where that knows no clouds or there is none, the spectral test,
            which is made for Level-1C; it is left out where the date is known to be Level-2A.
        own: a mask of the user's own, see `open_mask`.

    Raises:
        UnreadableInput: the mask that is asked for is not there.
        GridMismatch: the user's own lies elsewhere.
    """
    found: list[Mask] = []
    test = SpectralTest(TEST_NAME) if can_test(scene.bands) else None
    brings = tells_clouds(scene.mask)
    if clouds == "product" and not brings:
        why = f" that is used: {scene.unused_mask}" if scene.unused_mask else ""
        raise UnreadableInput(f"{scene.source} brings no cloud mask{why}. Give one of your own, or choose the spectral test.")
    if clouds == "spectral" and test is None:
        raise UnreadableInput(
            f"{scene.source} lacks the bands of the spectral cloud test ({', '.join(BANDS)}). Give a mask of your own."
        )
    if clouds in ("auto", "product") and scene.mask is not None:
        found.append(scene.mask)
    if test is not None and (clouds == "spectral" or (clouds == "auto" and not brings and scene.acquisition.level != "L2A")):
        found.append(test)
    if own:
        mask = open_mask(own)
        _require_place(mask, _north_up(scene.grid))
        found.append(mask)
    return *found, *scene.own_masks


def open_mask(source: str) -> Mask:
    """A mask of the user's own: a raster in which anything but 0 and nodata is not usable, a scene classification, or a layer of polygons.

    Args:
        source: path of a raster, or of a vector file, as QGIS writes it too (`FILE|layername=NAME`).

    Raises:
        UnreadableInput: none of these, or empty.
        GridMismatch: no CRS.
    """
    origin = f"your mask {Path(without_queries(source)).name}"
    try:
        with rasterio.open(source) as dataset:
            if dataset.crs is None:
                raise GridMismatch(f"The mask {source} has no CRS, so its place is unknown. Assign one to the file.")
            if dataset.transform.is_identity or not is_on_earth(dataset.crs):
                raise GridMismatch(f"The mask {source} has no place on Earth. Georeference it first.")
            if dataset.count > 1:
                raise UnreadableInput(f"The mask {source} has {dataset.count} layers. Give a raster with one.")
        return _own_raster(source, origin)
    except RasterioError:
        polygons = read_polygons(source, "mask")
    shapes = tuple((shape, Quality.CLOUD) for shape in polygons)
    return MaskPolygons(CRS.from_user_input(polygons.crs), shapes, origin)


def _own_raster(source: str, origin: str) -> ClassRaster:
    """A raster of the user's own as a mask: by what it holds, or is called too, a scene classification.

    Raises:
        UnreadableInput: it holds a measure of clouds.
    """
    row_by_row = values_over(source, 1)
    row_by_row = row_by_row[row_by_row != 0]
    values, counts = np.unique(row_by_row, return_counts=True)
    held = set(values.tolist())
    classified = len(held & _GROUND) > 1 and held & _CLOUDS_AND_SNOW
    # One value beyond them stands for no data in a file that does not say so.
    fills = held - _SCL_CLASSES
    if (
        len(fills) <= 1
        and all(not 0 <= fill <= max(_SCL_CLASSES) for fill in fills)
        and (classified or (held & _GROUND and SCL_FILE.search(Path(source).stem)))
    ):
        codes = {**dict.fromkeys(_SCL_CLASSES, Quality.OBSERVED), **SCL_CODES}
        return ClassRaster(source, (codes,), f"{origin}, a scene classification (SCL)", other=Quality.NODATA_BEFORE)
    # What is a mask and has soft edges is mostly of one value still.
    graded = len(values) > _MOST_VALUES and counts.max() < counts.sum() / 2 and np.mean(np.diff(row_by_row) != 0) > _MOST_STEPS
    if graded or (len(values) > 2 and _PROBABILITY_FILE.search(Path(source).stem)):
        two_digits = float(f"{0.4 * values.max():.2g}")
        raise UnreadableInput(
            f"The mask {source} holds {len(values)} values beside 0, up to {values.max():g}, as a cloud's probability does, and a mask holds 0 where the "
            f"ground is seen and 1 where it is not. Make one, such as with gdal_calc.py -A FILE --calc 'A>{two_digits:g}' --outfile MASK.tif."
        )
    return ClassRaster(source, ({},), origin, other=Quality.CLOUD)


class MaskReader:
    """The masks of one date, open, read as its quality codes on one grid, by any number of threads."""

    def __init__(
        self, scene: Scene, masks: Sequence[Mask], grid: Grid, buffer_m: float, blocks: BlockCache | None = None
    ) -> None:
        """Open the masks; clouds and shadows then reach buffer_m further than they say, as far as they do not do so already.

        Blocks are what has been decoded of the scene, where others read it too.
        """
        self._blocks = blocks
        tall, wide = pixel_size_m(grid)
        self._reads: list[tuple[_Read, float, float]] = []
        with ExitStack() as stack:
            self._stack = stack
            for mask in masks:
                left = max(0.0, buffer_m - (mask.widened if isinstance(mask, ClassRaster) else 0))
                self._reads.append((self._opened(scene, mask, grid), left / tall, left / wide))
            self._stack = stack.pop_all()

    def read(self, window: Window, known: Mapping[str, Array] = _NOTHING) -> Codes:
        """Codes of a window, uint8 (row, col): OBSERVED where no mask says otherwise; it may reach beyond the grid.

        What is known of the date's bands in this window, (row, col) reflectance, is not read again.
        """
        codes = np.zeros((int(window.height), int(window.width)), np.uint8)
        for read, rows, cols in self._reads:
            wide = grow(window, int(np.ceil(max(rows, cols) * 1.01)))
            codes = worse(codes, dilate(read(wide, window, known), rows, cols)[slices_in(window, wide)])
        return codes

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def _opened(self, scene: Scene, mask: Mask, grid: Grid) -> _Read:
        if isinstance(mask, SpectralTest):
            return self._spectral(scene, grid)
        codes = self._classes(mask, grid) if isinstance(mask, ClassRaster) else _laid(mask, grid).burnt
        return lambda window, *_: codes(window)

    def _classes(self, mask: ClassRaster, grid: Grid) -> Callable[[Window], Codes]:
        dataset = self._stack.enter_context(open_raster(mask.path))
        indexes = [mask.first_layer + place for place in range(len(mask.codes))]
        crs = mask.crs or dataset.crs
        if dataset.count < indexes[-1] or crs is None:
            raise UnreadableInput(f"The mask {mask.path} is damaged: it has {dataset.count} layers, and CRS {crs}.")
        placement = placement_of(grid, Grid(crs, dataset.transform, dataset.height, dataset.width))
        if not placement:
            # Of what is warped the last layer says where the file has data.
            more, wide = _surroundings(grid)
            dataset, _ = nearest_on(dataset, wide, self._stack, crs, **({"add_alpha": True} if mask.of_file else {}))
            indexes = [dataset.count] if mask.of_file else indexes
            placement = Placement(1, more, more)
        nodata = dataset.nodata
        # What GDAL, too, takes a raster to hold beyond its edge: of a scene classification that is no data.
        nothing = np.full((len(indexes), 1, 1), 0 if nodata is None else nodata)
        beyond = classes_to_codes(nothing, mask, nodata).item()
        one_at_a_time = threading.Lock()

        def found(there: Window) -> Codes:
            """Codes of a part of the raster."""
            own = mask.of_file and not isinstance(dataset, WarpedVRT)
            try:
                with one_at_a_time:
                    values = dataset.read_masks(1, window=there)[None] if own else dataset.read(indexes, window=there)
            except RasterioError as error:
                raise damaged(mask.path, error) from error
            return classes_to_codes(values, mask, nodata)

        def read(window: Window) -> Codes:
            codes = np.full((int(window.height), int(window.width)), beyond, np.uint8)
            lines = placement.nearest(window)
            inside = [np.flatnonzero((line >= 0) & (line < length)) for line, length in zip(lines, dataset.shape, strict=True)]
            if all(map(len, inside)):
                rows, cols = (line[places] for line, places in zip(lines, inside, strict=True))
                there = Window.from_slices((rows[0], rows[-1] + 1), (cols[0], cols[-1] + 1))
                codes[np.ix_(*inside)] = found(there).take(rows - rows[0], 0).take(cols - cols[0], 1)
            return codes

        def read_wider(window: Window) -> Codes:
            """As `read`; what a file hides of itself reaches into the pixels that are interpolated from it."""
            wanted = placement.source(window)
            inside = intersect(wanted, Window(0, 0, dataset.width, dataset.height))
            codes = np.full((int(wanted.height), int(wanted.width)), beyond, np.uint8)
            hidden = np.zeros(codes.shape, np.bool_)
            if inside:
                codes[slices_in(inside, wanted)] = there = found(inside)
                hidden[slices_in(inside, wanted)] = there != Quality.OBSERVED
            rows, cols = placement.nearest(window)
            codes = codes.take(rows - int(wanted.row_off), 0).take(cols - int(wanted.col_off), 1)
            if hidden.any():
                codes[spread(hidden[None], window, placement)[0]] = Quality.NODATA_BEFORE
            return codes

        hides_alone = list(mask.codes) == [{0: Quality.NODATA_BEFORE}]
        return read_wider if hides_alone and not placement.exact else read

    def _spectral(self, scene: Scene, grid: Grid) -> _Read:
        reader = SceneReader(scene.select(BANDS), grid, blocks=self._blocks)
        self._stack.callback(reader.close)

        def read(window: Window, inside: Window, known: Mapping[str, Array]) -> Codes:
            wide = grow(window, REACH)
            if set(BANDS) <= set(known):
                reflectance = np.empty((len(BANDS), int(wide.height), int(wide.width)), np.float32)
                reflectance[(slice(None), *slices_in(inside, wide))] = [known[name] for name in BANDS]
                for part in around(inside, wide):
                    reflectance[(slice(None), *slices_in(part, wide))] = reader.read(part)
            else:
                reflectance = reader.read(wide)
            return spectral_clouds(reflectance, BANDS)[slices_in(window, wide)]

        return read


def nearest_on(
    dataset: DatasetReader, grid: Grid, opened: ExitStack, crs: CRS | None = None, **warp: Any
) -> tuple[DatasetReader, Window]:
    """A raster by nearest neighbour on the pixels of a grid, and the window of the grid that it lies on.

    Args:
        dataset: given back as it is, with its place on the grid, where its pixels coincide with the grid's.
        grid: to lay it on.
        opened: gets to close what is opened.
        crs: of the raster; None is its own.
        warp: further options of `rasterio.vrt.WarpedVRT`, which covers the whole grid.
    """
    crs = crs or dataset.crs
    placement = placement_of(grid, Grid(crs, dataset.transform, dataset.height, dataset.width))
    if placement and placement.exact:
        return dataset, Window(-round(placement.col), -round(placement.row), dataset.width, dataset.height)
    laid = WarpedVRT(
        dataset,
        src_crs=crs,
        crs=grid.crs,
        transform=grid.transform,
        height=grid.height,
        width=grid.width,
        resampling=Resampling.nearest,
        tolerance=0.01,
        **{"SRC_ALPHA_MAX": ANY_ALPHA, **warp},
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
            UnreadableInput, GridMismatch: as `read_polygons`; or they do not meet the grid, or hold none of its pixels' centres.
        """
        self._grid, self._said = grid, (source, what, of)
        self._shapes = Shapes(read_polygons(source, what), [1], grid)
        window = self._shapes.window
        if window is None:
            raise GridMismatch(
                f"{source}, the {what}, does not meet {of}, {place_of(grid)}. Choose polygons that do, or check their CRS."
            )
        # Piece by piece: the window around polygons that lie far apart may be as large as a country.
        if all(self.outside(piece).all() for piece in aligned_windows(window, _PIECE, 1)):
            raise GridMismatch(
                f"No polygon of {source}, the {what}, holds a pixel's centre on {of}: they are smaller than its pixels. Draw larger ones."
            )
        self.window = window

    def outside(self, window: Window) -> NDArray[np.bool_]:
        """True where a pixel's centre lies outside all polygons: (row, col)."""
        return np.asarray(self._shapes.burnt(window) == 0)

    def left_out(self) -> list[str]:
        """How many of the polygons are too small to count, as a sentence; nothing where all count."""
        small, count = self._shapes.without_pixels()
        source, what, of = self._said
        if not small:
            return []
        return [
            f"{small} of the {count} polygons of {source}, the {what}, inside {of} {'holds' if small == 1 else 'hold'} no pixel's centre and "
            f"{'is' if small == 1 else 'are'} left out (of one in parts each counts). Draw larger what is to count."
        ]


class Shapes:
    """Polygons with a code each, on a grid."""

    def __init__(self, shapes: geopandas.GeoSeries, codes: Sequence[int], grid: Grid) -> None:
        """Take what lies near the grid; one code alone is that of all, and where polygons overlap the later one's counts."""
        every = np.resize(np.asarray(codes), len(shapes))
        shapes, every = _near(shapes.reset_index(drop=True), every, grid)
        self._grid, self._shapes, self._codes = grid, shapes, every
        self._tree = shapely.STRtree(shapes)

    @property
    def window(self) -> Window | None:
        """The part of the grid that they reach into; None where they do not."""
        there = self._shapes[self._tree.query(shapely.box(*self._grid.bounds), "intersects")]
        if not len(there):
            return None
        left, bottom, right, top = shapely.total_bounds(there)
        return bounds_window(self._grid, (left, bottom, right, top), self._grid.crs)

    def burnt(self, window: Window) -> Codes:
        """Their codes on a window, uint8 (row, col), 0 elsewhere; a pixel belongs to the polygon that holds its centre."""
        return np.asarray(self._burnt(window, self._codes, "uint8"), np.uint8)

    def numbers(self, window: Window) -> NDArray[np.int32]:
        """The same where codes are larger: int32 (row, col)."""
        return np.asarray(self._burnt(window, self._codes, "int32"), np.int32)

    def without_pixels(self) -> tuple[int, int]:
        """How many of the polygons that lie inside the grid hold no pixel's centre, and how many lie there."""
        inside = self._tree.query(shapely.box(*self._grid.bounds), "contains")
        numbers = np.arange(1, len(self._shapes) + 1)
        seen = [np.empty(0, int)]
        for piece in self._pieces(self.window):
            seen.append(np.unique(self._burnt(piece, numbers, "int32")))
        # What no pixel shows may be hidden by another polygon.
        missing = np.setdiff1d(inside, np.concatenate(seen) - 1)
        # Most of these are told by their bounds.
        some = missing[self._bounds_hold_a_centre(self._shapes[missing])]
        return len(missing) - sum(self._holds_a_centre(self._shapes[place]) for place in some), len(inside)

    def _bounds_hold_a_centre(self, shapes: NDArray[Any]) -> NDArray[np.bool_]:
        place = self._grid.transform
        left, bottom, right, top = shapely.bounds(shapes).reshape(-1, 4).T
        spans = (
            ((left - place.c) / place.a, (right - place.c) / place.a),
            ((top - place.f) / place.e, (bottom - place.f) / place.e),
        )
        return np.asarray(
            np.logical_and.reduce([np.floor(last - 0.5) >= np.ceil(first - 0.5) for first, last in spans]), np.bool_
        )

    def _burnt(self, window: Window, values: NDArray[Any], dtype: str) -> NDArray[Any]:
        """A value for each polygon, the later ones over the others."""
        part = self._grid.crop(window)
        near = self._tree.query(shapely.box(*part.bounds))
        if not len(near):
            return np.zeros(part.shape, dtype)
        near.sort()
        shapes, many = self._shapes[near], shapely.get_num_coordinates(self._shapes[near]) > _MANY_CORNERS
        # An outline that reaches far beyond the part would be taken apart whole for each.
        around = self._grid.crop(grow(window, 1)).bounds
        shapes[many] = shapely.clip_by_rect(shapes[many], *around)
        burnt = [(shape, int(values[place])) for shape, place in zip(shapes, near, strict=True) if not shape.is_empty]
        if not burnt:
            return np.zeros(part.shape, dtype)
        return np.asarray(rasterize(burnt, part.shape, transform=part.transform, dtype=dtype))

    def _holds_a_centre(self, shape: Any) -> bool:
        pieces = map(self._grid.crop, self._pieces(bounds_window(self._grid, shape.bounds, self._grid.crs)))
        return any(rasterize([shape], part.shape, transform=part.transform).any() for part in pieces)

    @staticmethod
    def _pieces(window: Window | None) -> list[Window]:
        return aligned_windows(window, _PIECE, 1) if window else []


def _laid(mask: MaskPolygons, grid: Grid) -> Shapes:
    import geopandas

    polygons = geopandas.GeoSeries([shape for shape, _ in mask.shapes], crs=for_pyproj(mask.crs))
    return Shapes(polygons, [code for _, code in mask.shapes], grid)


def _require_place(mask: Mask, grid: Grid) -> None:
    """Refuse a mask of the user's own that does not meet the scene; of a part of the scene it may say nothing."""
    if isinstance(mask, ClassRaster):
        with open_raster(mask.path) as dataset:
            here = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)
        meets = bounds_window(grid, here.bounds, here.crs)
    else:
        meets = _laid(mask, grid).window if isinstance(mask, MaskPolygons) else grid.window
    if meets is None:
        raise GridMismatch(f"{_capital(mask.origin)} does not meet the scene, {place_of(grid)}. Give one of the same place.")


def doubtful_nodata(mask: ClassRaster, grid: Grid, windows: Iterable[Window]) -> float | None:
    """The nodata of a raster of the user's own that may be its clouds: it holds it on windows of a grid, and beside it nothing but 0; else None.

    Such as gdal_calc writes, to which 255 is nodata unless it is told otherwise.
    """
    with ExitStack() as opened:
        dataset = opened.enter_context(open_raster(mask.path))
        nodata = dataset.nodata
        if not nodata:
            return None
        # What nodata is must be told from what lies beyond the raster.
        laid, extent = nearest_on(dataset, grid, opened, src_nodata=None, add_alpha=True)
        found = False
        for piece in filter(None, (intersect(window, extent) for window in windows)):
            there = Window(piece.col_off - extent.col_off, piece.row_off - extent.row_off, piece.width, piece.height)
            try:
                values, *alpha = laid.read(window=there)
            except RasterioError as error:
                raise damaged(mask.path, error) from error
            if alpha:
                values = np.where(alpha[0] == 0, 0, values)
            if classes_to_codes(values[None], mask, nodata).any():
                return None
            found |= bool(values.any())
    return float(nodata) if found else None


def _capital(origin: str) -> str:
    return f"{origin[0].upper()}{origin[1:]}"


def _north_up(grid: Grid) -> Grid:
    """A grid as polygons and rasters can be laid on it."""
    return grid if grid.north_up else base_grid(grid)


def _surroundings(grid: Grid) -> tuple[int, Grid]:
    """How many pixels around a grid what is masked may reach into it, and the grid with these."""
    more = math.ceil(_LARGEST_BUFFER_M / min(pixel_size_m(grid)))
    return more, grid.crop(grow(grid.window, more))


def _near(shapes: geopandas.GeoSeries, codes: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    """The polygons that meet a grid, cut to its surroundings, in its CRS, and their codes.

    Cut before they are transformed: a CRS holds only so far around its place, and long edges keep their place by corners on them.
    """
    crs = CRS.from_user_input(shapes.crs)
    _, here = _surroundings(grid)
    if crs == grid.crs:
        meets = np.asarray(shapes.intersects(shapely.box(*here.bounds)))
        return np.asarray(shapes[meets].values, object), codes[meets]
    left, bottom, right, top = transform_bounds(grid.crs, crs, *here.bounds)
    if not all(map(math.isfinite, (left, bottom, right, top))):
        # The polygons' CRS has no place for the grid, so none of them is there.
        return np.empty(0, object), codes[:0]
    # Across 180° the grid lies on both sides of what has degrees, or beyond either of them.
    sides = [(left, right)] if left <= right else [(left, right + 360), (left - 360, right)]
    found, places = [], []
    for west, east in sides:
        size = max(east - west, top - bottom)
        meets = np.asarray(shapes.intersects(shapely.box(west, bottom, east, top).buffer(0.1 * size)))
        cut = shapes[meets].clip_by_rect(west - size / 2, bottom - size / 2, east + size / 2, top + size / 2)
        found.append(np.asarray(cut.segmentize(size / 50).to_crs(for_pyproj(grid.crs)).values, object))
        places.append(np.flatnonzero(meets))
    # In the order that they had, whichever side they are from.
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(found)[order], codes[np.concatenate(places)[order]]
