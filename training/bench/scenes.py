"""The pair that is measured on: a simulated Sentinel-2 tile on two dates, written once and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shutil import rmtree
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.windows import Window

from s2change_plugin.engine.bands import ALL_BANDS, BANDS, TEN_BANDS
from s2change_plugin.engine.card import SHIPPED
from s2change_plugin.engine.grid import windows

from ..products import Recipe, coarser, write_band, write_metadata, write_no_clouds
from ..simulate import AFTER, BEFORE, PIXEL, SampleOptions, simulate_pair

Numbers = npt.NDArray[np.uint16]
T = TypeVar("T")

# That of ten bands, as the pair has.
MODEL = SHIPPED[-1]
TILE_SIZE = 10_980
BLOCK = 512
SHIFT = (0.4, -0.5)
# Small enough to be drawn in seconds; a smaller tile is put together from smaller ones.
_PIECE = 640
# Of these, one has clouds: a few per cent of the tile.
_SEEDS, _CLOUDY = range(11, 17), 11
_CRS, _CORNER, _TILE = CRS.from_epsg(32631), (399_960.0, 4_900_020.0), "31TDK"
# The bands of 60 m, of what else they are made: to be decoded, and to choose a model by.
_STAND_INS = {"B01": "B02", "B09": "B8A", "B10": "B02"}
# Next to nothing is seen in B10 of what B02 sees.
_CIRRUS = 100
# As real products have it.
_PRODUCT_BLOCK = 1024
_DATES = {"before": BEFORE.time, "after": AFTER.time}


@dataclass(frozen=True)
class Tile:
    """A pair, and its side in pixels: a file for each date, or a product."""

    before: Path
    after: Path
    size: int

    @property
    def pixels(self) -> int:
        """Of each date."""
        return self.size**2

    @property
    def there(self) -> bool:
        """True where both were written; they get their names when they are whole."""
        return self.before.exists() and self.after.exists()

    @property
    def files(self) -> list[Path]:
        """All that has to be read for ten bands."""
        found = [
            file for date in (self.before, self.after) for file in (sorted(date.rglob("*.jp2")) if date.is_dir() else [date])
        ]
        return [file for file in found if file.stem.rpartition("_")[2] not in _STAND_INS]


class Progress(Protocol):
    """Walks items, and says how far it is under a label."""

    def __call__(self, items: Sequence[T], label: str) -> Iterator[T]:
        """The items, one by one."""


@dataclass(frozen=True)
class Mosaic:
    """An endless ground of a few simulated places, put side by side in an irregular order that is always the same.

    Attributes:
        places: by date, digital numbers (band, row, col) of each place; all are square and of one size.
    """

    places: dict[str, list[Numbers]]

    def read(self, date: str, window: Window) -> Numbers:
        """Digital numbers of a window, (band, row, col)."""
        piece = self.places[date][0].shape[1]
        found = np.empty((len(TEN_BANDS), int(window.height), int(window.width)), np.uint16)
        last_row, last_col = window.row_off + window.height, window.col_off + window.width
        row = window.row_off
        while row < last_row:
            down = min(piece - row % piece, last_row - row)
            col = window.col_off
            while col < last_col:
                right = min(piece - col % piece, last_col - col)
                place = self.places[date][_drawn(row // piece, col // piece)]
                part = place[:, row % piece :, col % piece :][:, :down, :right]
                found[:, row - window.row_off :, col - window.col_off :][:, :down, :right] = part
                col += right
            row += down
        return found


def draw_mosaic(piece: int, progress: Progress) -> Mosaic:
    """The ground of places with a side of `piece` pixels, both dates of each displaced by `SHIFT`."""
    options = [SampleOptions(seed, piece, SHIFT, (0, 0), clouds=seed == _CLOUDY) for seed in _SEEDS]
    pairs = [simulate_pair(one) for one in progress(options, "Drawing places")]
    return Mosaic({date: [getattr(pair, date) for pair in pairs] for date in _DATES})


def _drawn(row: int, col: int) -> int:
    """Which place lies there."""
    return int(np.random.default_rng([row, col]).integers(len(_SEEDS)))


def make_tiles(folder: Path, size: int, progress: Progress) -> dict[str, Tile]:
    """The tile, its corners of a quarter and a sixteenth of its area, and four of it as a mosaic; what is there is kept.

    Args:
        folder: where the files lie, under names that tell their size.
        size: of the tile, pixels.
        progress: walks what is drawn and the windows that are written.

    Returns:
        By name: "1/16", "1/4", "1", "4".
    """
    folder.mkdir(parents=True, exist_ok=True)
    tiles = {name: _tile(folder, side) for name, side in (("1/16", size // 4), ("1/4", size // 2), ("1", size))}
    missing = [tile for tile in tiles.values() if not tile.there]
    if missing:
        mosaic = draw_mosaic(min(_PIECE, size // 4 * 2), progress)
        for tile in missing:
            for date in _DATES:
                _write(getattr(tile, date), mosaic, date, tile.size, progress)
    return tiles | {"4": _four_of(folder, tiles["1"])}


def make_products(folder: Path, tile: Tile, progress: Progress) -> Tile:
    """A tile as a pair of Level-1C products: each of 13 bands a JPEG 2000 in its own resolution, with metadata; what is there is kept."""
    products = Tile(folder / f"before-{tile.size}-13.SAFE", folder / f"after-{tile.size}-13.SAFE", tile.size)
    if not products.there:
        for date in _DATES:
            _write_product(getattr(tile, date), getattr(products, date), date, progress)
    return products


def _write_product(stack: Path, target: Path, date: str, progress: Progress) -> None:
    """Write the bands of a stack as a product, which gets its name when it is whole."""
    sensed = datetime.strptime(_DATES[date], "%Y:%m:%d %H:%M:%S").replace(tzinfo=timezone.utc)
    recipe = Recipe(sensed=sensed, epsg=_CRS.to_epsg(), origin=_CORNER, tile=_TILE)
    partial = target.with_name(f"{target.name}.part")
    rmtree(partial, ignore_errors=True)
    granule = write_metadata(partial, recipe)
    with rasterio.open(stack) as raster:
        for band in progress(ALL_BANDS, f"Writing {target.name}"):
            seen = raster.read(TEN_BANDS.index(_STAND_INS.get(band, band)) + 1)
            if band == "B10":
                seen //= _CIRRUS
            numbers = coarser(seen, BANDS[band].gsd_m // 10) + np.uint16(-recipe.offset_of(band))
            write_band(granule, band, numbers, recipe, _PRODUCT_BLOCK)
        write_no_clouds(granule, recipe, raster.shape)
    partial.replace(target)


def _tile(folder: Path, size: int) -> Tile:
    return Tile(folder / f"before-{size}.tif", folder / f"after-{size}.tif", size)


def profile_of(size: int) -> dict[str, Any]:
    """What rasterio writes a date with: uint16, ten bands together in each block, DEFLATE."""
    return {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": len(TEN_BANDS),
        "height": size,
        "width": size,
        "nodata": 0,
        "crs": _CRS,
        "transform": from_origin(*_CORNER, PIXEL, PIXEL),
        "compress": "deflate",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "pixel",
        "bigtiff": "if_safer",
        "num_threads": "all_cpus",
    }


def _write(path: Path, mosaic: Mosaic, date: str, size: int, progress: Progress) -> None:
    """Write one date; the file gets its name when it is whole."""
    partial = path.with_name(f"{path.name}.part")
    with rasterio.open(partial, "w", **profile_of(size)) as raster:
        raster.descriptions = TEN_BANDS
        raster.scales = (1e-4,) * len(TEN_BANDS)
        raster.update_tags(SIMULATED="yes", TIFFTAG_DATETIME=_DATES[date])
        for window in progress(windows(size, size, BLOCK), f"Writing {path.name}"):
            raster.write(mosaic.read(date, window), window=window)
    partial.replace(path)


def _four_of(folder: Path, tile: Tile) -> Tile:
    """A mosaic of two by two of a tile: the same ground again, beside and below it."""
    four = Tile(folder / f"before-{tile.size}x4.vrt", folder / f"after-{tile.size}x4.vrt", 2 * tile.size)
    for date in _DATES:
        getattr(four, date).write_text(_vrt(getattr(tile, date).name, tile.size, _DATES[date]), encoding="utf-8")
    return four


def _vrt(name: str, size: int, time: str) -> str:
    """GDAL's text of the mosaic; see https://gdal.org/drivers/raster/vrt.html."""
    left, top = _CORNER
    source = (
        '<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
        '<SourceProperties RasterXSize="{size}" RasterYSize="{size}" DataType="UInt16" BlockXSize="{block}" BlockYSize="{block}"/>'
        '<SrcRect xOff="0" yOff="0" xSize="{size}" ySize="{size}"/>'
        '<DstRect xOff="{col}" yOff="{row}" xSize="{size}" ySize="{size}"/></SimpleSource>'
    )
    bands = []
    for band, description in enumerate(TEN_BANDS, start=1):
        parts = (
            source.format(name=name, band=band, size=size, block=BLOCK, col=col, row=row)
            for row in (0, size)
            for col in (0, size)
        )
        bands.append(
            f'<VRTRasterBand dataType="UInt16" band="{band}" blockXSize="{BLOCK}" blockYSize="{BLOCK}">'
            f"<Description>{description}</Description><NoDataValue>0</NoDataValue><Scale>0.0001</Scale>{''.join(parts)}</VRTRasterBand>"
        )
    return (
        f'<VRTDataset rasterXSize="{2 * size}" rasterYSize="{2 * size}"><SRS>EPSG:{_CRS.to_epsg()}</SRS>'
        f"<GeoTransform>{left}, {PIXEL}, 0, {top}, 0, {-PIXEL}</GeoTransform>"
        f'<Metadata><MDI key="TIFFTAG_DATETIME">{time}</MDI></Metadata>{"".join(bands)}</VRTDataset>\n'
    )
