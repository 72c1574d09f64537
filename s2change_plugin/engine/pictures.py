"""Pictures that a person looks at: both dates beside the change, or beside what can be compared; a map's errors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from .errors import GridMismatch, NothingObserved, UnreadableInput
from .grid import Grid, bounds_window, pixel_size_m, slices_in
from .masks import Area, MaskReader
from .outputs import NOT_OBSERVED, REVIEWED
from .pair import Pair
from .radiometry import Array
from .rasters import damaged, open_raster
from .reading import SceneReader
from .reference import require_one_layer
from .scene import Scene
from .scores import AGREEMENT_COLOURS, Agreement
from .validity import QUALITY_COLOURS, QUALITY_NAMES, Codes, Quality, SpectralTest, date_quality, pair_quality, worse

_PICTURE_PIXELS = 900
# Of a view: metres along a side at least, how many times as long as what it shows, and pixels at most.
_VIEW_M, _AROUND, _VIEW_PIXELS = 600.0, 1.6, 240
# Darker than paper and the white of what a date does not show, and a colour beside the grey of the ground.
_CHANGE_COLOUR, _UNSEEN_COLOUR = (0.84, 0.0, 0.34), (0.79, 0.72, 0.55)
# Around the legend's patches, so that none is lost on its paper.
_OUTLINE = "#777777"


@dataclass(frozen=True)
class View:
    """A square of both dates around something that changed.

    Attributes:
        before, after: PNGs of alike size, in true colour with one stretch.
        width, height: pixels of these; on the ground both are as long.
        outline: of what changed, as the d of an SVG path in these pixels.
    """

    before: bytes
    after: bytes
    width: int
    height: int
    outline: str


def change_picture(before: Scene, after: Scene, mask: Path, quality: Path | None = None) -> bytes:
    """PNG of three panels, before | after | change, that a person can look at.

    Both dates are shown in true colour with one stretch, so that what looks different is different. What lies outside the area of interest, as
    the run's quality tells if it is given, is left white.

    Raises:
        NothingObserved: neither date shows anything under the mask.
        UnreadableInput: that is none.
    """
    with open_raster(str(mask)) as raster:
        require_one_layer(raster, str(mask), "mask")
        if raster.crs is None:
            raise GridMismatch(f"The mask {mask} has no CRS, so its place is unknown. Assign one.")
        grid = _coarser(Grid(raster.crs, raster.transform, raster.height, raster.width))
        # By nearest neighbour, which leaves as much change as there is.
        try:
            changed = raster.read(1, out_shape=grid.shape)
        except RasterioError as error:
            raise damaged(str(mask), error) from error
        if not np.isin(changed, (0, 1, NOT_OBSERVED)).all():
            raise UnreadableInput(f"{mask} is no change mask (one layer of 0, 1 and 255). Pick another raster.")
        tags = raster.tags()
    first, second = _true_colours(before, after, grid)
    overlay = _backdrop(second)
    overlay[changed == 1] = _CHANGE_COLOUR
    unseen, outside = changed == NOT_OBSERVED, np.zeros(changed.shape, np.bool_)
    if quality:
        with open_raster(str(quality)) as raster:
            outside = raster.read(1, out_shape=grid.shape) == Quality.OUTSIDE
    overlay[unseen], overlay[outside] = _UNSEEN_COLOUR, 1.0
    legend = [("change", _CHANGE_COLOUR)]
    if (unseen & ~outside).any():
        legend.append(("not observed", _UNSEEN_COLOUR))
    model, threshold = tags.get("S2CHANGE_MODEL") or tags.get("S2CHANGE_METHOD", "?"), tags.get("S2CHANGE_THRESHOLD", "?")
    caption = (
        f"{before.label}  →  {after.label}    model {model}, threshold {threshold}{', reviewed' if REVIEWED in tags else ''}"
    )
    panels = {"Before": first, "After": second, "Change": overlay}
    return _drawn(panels, grid, legend, caption)


def view_of(pair: Pair, area: Any) -> View:
    """What both dates of an open pair show around an area, a shapely polygon in the CRS of its grid, the shift taken out.

    Raises:
        NothingObserved: none of the dots of the view shows anything.
    """
    window = bounds_window(pair.grid, area.bounds, pair.grid.crs) or pair.grid.window
    tall, wide = pixel_size_m(pair.grid)
    side_m = max(_VIEW_M, _AROUND * max(window.height * tall, window.width * wide))
    height, width = round(side_m / tall), round(side_m / wide)
    square = Window(window.col_off + (window.width - width) // 2, window.row_off + (window.height - height) // 2, width, height)
    shape = min(height, _VIEW_PIXELS), min(width, _VIEW_PIXELS)
    # Coarser by nearest neighbour, as all pictures; else each pixel where it lies.
    how = Resampling.nearest if shape != (height, width) else Resampling.cubic
    grids = [_divided(grid.crop(square), *shape) for grid in (pair.grid, pair.after_grid)]
    colours = _colours(pair.before, pair.after)
    images = [_read(scene.select(colours), grid, how=how) for scene, grid in zip((pair.before, pair.after), grids, strict=True)]
    first, second = _seen_alike(images, pair.before, pair.after)
    return View(_png(first), _png(second), shape[1], shape[0], _path_of(area, grids[0]))


def _path_of(area: Any, grid: Grid) -> str:
    """The outline of a shapely polygon as the d of an SVG path, in the pixels of a grid, to a fifth of which it is true, without holes smaller than one."""
    import shapely

    def in_pixels(places: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(~grid.transform @ (places[:, 0], places[:, 1]), 1)

    drawn = shapely.transform(area, in_pixels)
    rings = [drawn.exterior, *(hole for hole in drawn.interiors if shapely.area(shapely.Polygon(hole)) >= 1)]
    rings = [shapely.simplify(ring, 0.2) for ring in rings]
    return " ".join("M" + "L".join(f"{col:.1f},{row:.1f}" for col, row in ring.coords[:-1]) + "Z" for ring in rings)


def pair_picture(pair: Pair) -> bytes | None:
    """PNG of three panels, before | after | usable, of an open pair; None where there is nothing to see.

    It is read at the picture's own resolution, so that a whole tile takes seconds; `_shown_quality` says what that leaves out.
    """
    grid = _coarser(pair.grid)
    try:
        first, second = _true_colours(pair.before, pair.after, grid)
    except NothingObserved:
        return None
    quality = _shown_quality(pair, grid)
    # Paler, since some reasons are shown in grey.
    overlay = _backdrop(second) * 0.5 + 0.5
    legend = []
    for code in Quality:
        if code != Quality.OBSERVED and (quality == code).any():
            colour = tuple(value / 255 for value in QUALITY_COLOURS[code])
            overlay[quality == code] = colour
            legend.append((QUALITY_NAMES[code], colour))
    panels = {"Before": first, "After": second, "Not observed": overlay}
    caption = f"{pair.before.label}  →  {pair.after.label}"
    if not _shows_spectral(pair, grid):
        caption += "    (clouds of the spectral test are not drawn at this scale)"
    return _drawn(panels, grid, legend, caption)


def _shows_spectral(pair: Pair, grid: Grid) -> bool:
    """False where a date has the spectral test and the picture is coarser than the pixels of 10 m that it goes by."""
    return grid.shape == pair.grid.shape or not any(isinstance(mask, SpectralTest) for masks in pair.masks for mask in masks)


def _shown_quality(pair: Pair, grid: Grid) -> Codes:
    """Quality codes of a pair on a coarse grid, without the masks' buffer.

    The spectral test knows clouds by their size in pixels of 10 m, so a coarser picture is without it; the check's samples have it.
    """
    codes = []
    spectral = _shows_spectral(pair, grid)
    for scene, masks in zip((pair.before, pair.after), pair.masks, strict=True):
        image = _read(scene.select(pair.bands[:1]), grid, keep_saturated=True)
        reader = MaskReader(scene, [mask for mask in masks if spectral or not isinstance(mask, SpectralTest)], grid, 0)
        try:
            codes.append(worse(date_quality(image), reader.read(grid.window)))
        finally:
            reader.close()
    quality = pair_quality(codes[0], codes[1])
    if pair.area and pair.options.area:
        try:
            outside = Area(pair.options.area, grid).outside(grid.window)
        except GridMismatch:
            # Smaller than a dot: the dots around it stand for it.
            outside = np.ones(grid.shape, np.bool_)
            outside[
                slices_in(bounds_window(grid, pair.grid.crop(pair.area.window).bounds, grid.crs) or grid.window, grid.window)
            ] = False
        quality[outside] = Quality.OUTSIDE
    return quality


def agreement_picture(confusion: Path) -> bytes:
    """PNG of a confusion raster in its colours, at most `_PICTURE_PIXELS` each way, with dots as wide as they are tall on the ground.

    Change is rare and small: where a dot of the picture stands for many pixels, it shows the commonest of those that are not
    true negatives.
    """
    with open_raster(str(confusion)) as raster:
        grid = _coarser(_with_square_pixels(Grid(raster.crs, raster.transform, raster.height, raster.width)))
        # For the mode what is nodata does not count.
        calm = int(Agreement.TRUE_NEGATIVE)
        with WarpedVRT(
            raster,
            crs=grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            src_nodata=calm,
            nodata=calm,
            resampling=Resampling.mode,
        ) as coarse:
            codes = coarse.read(1)
    palette = np.zeros((256, 3), np.uint8)
    palette[list(AGREEMENT_COLOURS)] = list(AGREEMENT_COLOURS.values())
    return _png(palette[codes])


def _png(image: NDArray[Any]) -> bytes:
    """A picture (row, col, colour) as it is."""
    from matplotlib.image import imsave

    drawn = BytesIO()
    imsave(drawn, image, format="png")
    return drawn.getvalue()


def _drawn(panels: dict[str, Any], grid: Grid, legend: Sequence[tuple[str, Any]], caption: str) -> bytes:
    """PNG of pictures (row, col, colour) of one grid side by side, a scale on the first and the legend on the last."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    tall, wide = pixel_size_m(grid)
    aspect = tall / wide
    size = 5.2
    height = min(4 * size, size * aspect * grid.height / grid.width) + 0.9
    figure, axes = plt.subplots(1, len(panels), figsize=(len(panels) * size + 0.3, height), layout="constrained")
    last = list(panels)[-1]
    for axis, (title, image) in zip(axes, panels.items(), strict=True):
        axis.imshow(image, aspect=aspect, interpolation="nearest" if title == last else "antialiased")
        axis.set_title(title, fontsize=14)
        axis.set_xticks([])
        axis.set_yticks([])
    if legend:
        patches = [Patch(facecolor=colour, edgecolor=_OUTLINE, linewidth=0.8, label=name) for name, colour in legend]
        axes[-1].legend(handles=patches, loc="lower right", framealpha=0.9)
    _draw_scale(axes[0], grid, wide)
    # A dollar begins a formula.
    figure.supxlabel(caption.replace("$", r"\$"), fontsize=9)
    drawn = BytesIO()
    with warnings.catch_warnings():
        # Of signs that its font has not, which it draws as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(drawn, dpi=110, format="png")
    plt.close(figure)
    return drawn.getvalue()


def _true_colours(before: Scene, after: Scene, grid: Grid) -> tuple[Array, Array]:
    """Both dates as pictures (row, col, colour) with one stretch.

    Raises:
        NothingObserved: neither shows anything there.
    """
    colours = _colours(before, after)
    return _seen_alike([_read(scene.select(colours), grid) for scene in (before, after)], before, after)


def _seen_alike(images: Sequence[Array], before: Scene, after: Scene) -> tuple[Array, Array]:
    """Images (band, row, col) of both dates as pictures (row, col, colour) with one stretch.

    Raises:
        NothingObserved: neither shows anything there.
    """
    if not any(np.isfinite(image).all(0).any() for image in images):
        raise NothingObserved(f"Neither {before.source} nor {after.source} shows anything there.")
    return stretched_alike(*map(_as_three, images))


def _colours(before: Scene, after: Scene) -> list[str]:
    """The bands to show as red, green and blue; others, three at most, where the dates have not all of these."""
    found: list[str] = [name for name in ("B04", "B03", "B02") if name in before.bands and name in after.bands]
    return found if len(found) == 3 else [name for name in before.bands if name in after.bands][:3]


def _as_three(image: Array) -> Array:
    """Three bands of an image (band, row, col) that has one to three; the first of fewer, in grey."""
    return image if len(image) == 3 else image[:1].repeat(3, 0)


def stretched_alike(first: Array, second: Array) -> tuple[Array, Array]:
    """Both dates as pictures (row, col, colour), 0–1, with one stretch; white where not seen.

    Args:
        first, second: reflectance (colour, row, col), NaN where not seen; one of them sees something.
    """
    seen = np.concatenate([image[:, np.isfinite(image).all(0)] for image in (first, second)], axis=1)
    low, high = np.percentile(seen, (1, 98.5), axis=1)
    return _stretched(first, low, high), _stretched(second, low, high)


def _backdrop(image: Array) -> NDArray[np.float32]:
    """A picture in pale grey, to draw on."""
    return np.asarray(image.mean(2, keepdims=True).repeat(3, 2) * 0.55 + 0.15, np.float32)


def _coarser(grid: Grid) -> Grid:
    """The same ground in at most `_PICTURE_PIXELS` each way."""
    factor = max(1.0, max(grid.shape) / _PICTURE_PIXELS)
    return _divided(grid, max(1, round(grid.height / factor)), max(1, round(grid.width / factor)))


def _with_square_pixels(grid: Grid) -> Grid:
    """The same ground in pixels that are about as wide as tall, as those of degrees are not; none is left out."""
    tall, wide = pixel_size_m(grid)
    return _divided(grid, round(grid.height * max(1.0, tall / wide)), round(grid.width * max(1.0, wide / tall)))


def _divided(grid: Grid, height: int, width: int) -> Grid:
    """The same ground in so many rows and columns."""
    return Grid(grid.crs, grid.transform @ Affine.scale(grid.width / width, grid.height / height), height, width)


def _read(scene: Scene, grid: Grid, keep_saturated: bool = False, how: Resampling = Resampling.nearest) -> Array:
    """Reflectance on a grid, (band, row, col), NaN where nothing is seen; +inf where saturated, if that is kept.

    On a grid that is coarser by far any interpolation would read each pixel many times over.
    """
    reader = SceneReader(scene, grid, how)
    try:
        image = reader.read(grid.window)
    finally:
        reader.close()
    if not keep_saturated:
        image[np.isinf(image)] = np.nan
    return image


def _stretched(image: Array, low: Array, high: Array) -> Array:
    """Reflectance (band, row, col) as a picture (row, col, band), 0–1, white where not seen."""
    scaled = (image - low[:, None, None]) / np.maximum(high - low, 1e-6)[:, None, None]
    return np.asarray(np.nan_to_num(np.clip(scaled, 0, 1) ** 0.8, nan=1.0).transpose(1, 2, 0), np.float32)


def _draw_scale(axis: Any, grid: Grid, pixel_m: float) -> None:
    """A bar of a round length, about a fifth of the picture wide."""
    wanted = grid.width * pixel_m / 5
    power = 10 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    row, col = grid.height * 0.95, grid.width * 0.04
    axis.plot([col, col + length / pixel_m], [row, row], color="white", linewidth=3, solid_capstyle="butt")
    axis.text(col, row - grid.height * 0.02, text, color="white", fontsize=10, va="bottom")
