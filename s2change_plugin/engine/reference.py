"""A change mask, and what it is measured against: rasters or polygons, read window by window as labels on the mask's grid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from .errors import GridMismatch, UnreadableInput
from .grid import Grid, bounds_window, intersect, is_on_earth, name_of, place_of, slices_in
from .masks import Area, nearest_on
from .outputs import MASK
from .rasters import damaged, open_raster
from .validity import Codes

# Unlabelled in a reference, not observed in a mask.
UNKNOWN = 255
Labels = Callable[[Window], Codes]
_HINTS = {"mask": "Give a change mask.", "reference": "Say which value is change with --change-value."}


def open_change_mask(source: str, opened: ExitStack) -> tuple[DatasetReader, Grid, Labels]:
    """A change mask, its grid, and what reads a window of it: 1 change, 0 no change, 255 not observed (or the file's nodata).

    Args:
        source: raster of one layer.
        opened: gets to close it.

    Raises:
        UnreadableInput: no raster of one layer, or another result than a mask; on reading, a value that no mask has.
        GridMismatch: it has no CRS, or is turned.
    """
    dataset = opened.enter_context(open_raster(source))
    require_one_layer(dataset, source, "mask")
    if not _has_place(dataset):
        raise GridMismatch(
            f"The mask {source} has no CRS on Earth, so its place is unknown. Assign one (gdal_edit.py -a_srs EPSG:… FILE)."
        )
    grid = Grid(dataset.crs, dataset.transform, dataset.height, dataset.width)
    if not grid.north_up:
        raise GridMismatch(f"The mask {source} is not north up. Warp it first (gdalwarp).")
    return dataset, grid, _reads(dataset, source, grid.window, dataset.nodata, None, "mask")


def open_reference(
    source: str, grid: Grid, opened: ExitStack, change_value: float | None = None, labelled: str | None = None
) -> tuple[str, list[str], Labels]:
    """A reference on a grid: in words how it lies there, what is left out of it, and what reads a window of it.

    That is uint8 (row, col): 1 change, 0 no change, 255 unlabelled.

    Args:
        source: raster of one layer, each pixel of the grid taking the value that its centre lies on; without a CRS it must have
            the grid's shape, and lies where its georeference says in the grid's CRS, or is taken pixel by pixel where that says
            nothing there. Or polygons (`FILE|layername=NAME`): change where a pixel's centre lies
            inside, no change elsewhere.
        grid: of the mask.
        opened: gets to close what is opened.
        change_value: of a raster the value that is change; every other one but 255 and nodata is then no change. None: 1 is
            change, 0 is no change, and another value is an error.
        labelled: polygons outside of which nothing is labelled.

    Raises:
        UnreadableInput: neither raster nor polygons, or several layers; on reading, values that do not explain themselves.
        GridMismatch: it does not meet the grid, or has no CRS and another shape.
    """
    text, left_out, read = _opened(source, grid, opened, change_value)
    if labelled is None:
        return text, left_out, read
    area = Area(labelled, grid, "labelled area", "the mask")

    def read_inside(window: Window) -> Codes:
        return np.where(area.outside(window), np.uint8(UNKNOWN), read(window))

    return f"{text} Outside of the labelled area nothing is.", left_out + area.left_out(), read_inside


def _opened(source: str, grid: Grid, opened: ExitStack, change_value: float | None) -> tuple[str, list[str], Labels]:
    try:
        dataset = opened.enter_context(open_raster(source))
    except UnreadableInput:
        area = Area(source, grid, "reference", "the mask")
        if change_value is not None:
            raise UnreadableInput(
                f"The reference {source} holds polygons, all of which are change. Leave --change-value to rasters."
            ) from None
        text = "A pixel is change where its centre lies in a polygon of the reference."
        return text, area.left_out(), lambda window: (~area.outside(window)).astype(np.uint8)
    require_one_layer(dataset, source, "reference")
    nodata, crs, text = dataset.nodata, dataset.crs, ""
    if not _has_place(dataset):
        if dataset.shape != grid.shape:
            raise GridMismatch(
                f"The reference {source} has no CRS on Earth, and with {dataset.height} × {dataset.width} pixels another shape than the "
                f"mask's {grid.height} × {grid.width}, so its place is unknown. Give one with a CRS and a georeference, or of the mask's shape."
            )
        crs, stored = grid.crs, Grid(grid.crs, dataset.transform, dataset.height, dataset.width)
        # What has no georeference comes with either; rows of the second run up.
        without = dataset.transform in (Affine.identity(), Affine.scale(1, -1))
        if without or not _fits(stored, grid):
            text = "The reference has no CRS on Earth and the mask's shape, so it is taken pixel by pixel."
            doubt = f"{text} Its georeference, {place_of(stored)} if that is its CRS, does not fit the mask: assign the right one if it is another place."
            doubts = [] if without else [doubt]
            return text, doubts, _reads(dataset, source, grid.window, nodata, change_value, "reference")
        text = f"The reference has no CRS on Earth and a georeference that fits the mask's, {name_of(crs)}, which is taken for its own. "
    try:
        # Beyond the reference nothing is labelled: the alpha layer says where that is, whatever the values are.
        laid, extent = nearest_on(dataset, grid, opened, crs, src_nodata=None, add_alpha=True)
    except RasterioError as error:
        raise GridMismatch(f"The reference {source} cannot be laid on the mask's grid: {error}.") from error
    where = "on the mask's own pixels" if laid is dataset else "on other pixels; of these the one at each pixel's centre counts"
    return f"{text}The reference lies {where}.", [], _reads(laid, source, extent, nodata, change_value, "reference")


def _fits(reference: Grid, grid: Grid) -> bool:
    """Whether a reference of the mask's shape has its pixels' size too, and lies over half of it."""
    one, other = (np.abs([each.transform.a, each.transform.b, each.transform.d, each.transform.e]) for each in (reference, grid))
    shared = bounds_window(grid, reference.bounds, grid.crs)
    return bool(
        shared
        and np.allclose(one, other, 0.01, 0.01 * other.max())
        and 2 * shared.width * shared.height >= grid.width * grid.height
    )


def _has_place(dataset: DatasetReader) -> bool:
    """Whether a raster's CRS says where on Earth it lies."""
    return dataset.crs is not None and is_on_earth(dataset.crs)


def require_one_layer(dataset: DatasetReader, source: str, what: str) -> None:
    """Refuse what has several layers, or is another result of a run than its mask.

    Raises:
        UnreadableInput: `what` the source should be is in its text.
    """
    if dataset.count != 1:
        raise UnreadableInput(f"The {what} {source} has {dataset.count} layers and must have one. Choose another file.")
    # Where all was observed, the quality's codes are values of a mask without any change.
    (holds,) = dataset.descriptions
    if holds not in (None, *MASK.descriptions) and any(tag.startswith("S2CHANGE_") for tag in dataset.tags()):
        raise UnreadableInput(f"The {what} {source} holds {holds!r}, not what changed. Choose the change mask.")


def _reads(
    dataset: DatasetReader, source: str, extent: Window, nodata: float | None, change_value: float | None, what: str
) -> Labels:
    """What reads a window of the grid, on which the raster lies at an extent; a second layer, if any, is 0 where it is not."""

    # A warped one shows its own in its alpha layer.
    masked = MaskFlags.per_dataset in dataset.mask_flag_enums[0] and dataset.count == 1

    def read(window: Window) -> Codes:
        labels = np.full((int(window.height), int(window.width)), UNKNOWN, np.uint8)
        inside = intersect(window, extent)
        if inside is None:
            return labels
        there = Window(inside.col_off - extent.col_off, inside.row_off - extent.row_off, inside.width, inside.height)
        try:
            values, *alpha = dataset.read(window=there)
            own = dataset.read_masks(1, window=there) if masked else None
        except RasterioError as error:
            raise damaged(source, error) from error
        exists = alpha[0] != 0 if alpha else np.ones(values.shape, bool)
        if own is not None:
            exists &= own != 0
        labels[slices_in(inside, window)] = _to_labels(values, exists, nodata, change_value, f"The {what} {source}", _HINTS[what])
        return labels

    return read


def _to_labels(
    values: NDArray[Any], exists: NDArray[np.bool_], nodata: float | None, change_value: float | None, what: str, hint: str
) -> Codes:
    change = exists & (values == (1 if change_value is None else change_value))
    unknown = ~exists | (values == UNKNOWN) | np.isnan(values)
    if nodata is not None:
        unknown |= values == nodata
    # The value that is called change is change, though the file calls it nodata, or it is 255.
    labels = np.where(change, 1, np.where(unknown, UNKNOWN, 0)).astype(np.uint8)
    strange = (labels == 0) & (values != 0)
    if change_value is None and strange.any():
        raise UnreadableInput(
            f"{what} holds the value {values[strange][0]:g}, which is neither 1 (change), 0 (no change) nor 255 (not known). {hint}"
        )
    return labels
