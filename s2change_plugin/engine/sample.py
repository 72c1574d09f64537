"""A random sample of a change map's pixels, for a person to say of each what is true: what an area of change is estimated from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ..paths import resources
from . import outputs
from .errors import GridMismatch, NothingObserved, OutputError, UnreadableInput
from .events import Events
from .files import without_queries
from .grid import Grid, fits_geopackage, for_pyproj, lonlats_of, name_of, pixel_area_m2, windows
from .outputs import CHANGE, NOT_OBSERVED, PROBABILITY, require_apart, require_ending
from .rasters import damaged, open_raster
from .reference import open_change_mask
from .vectors import answers, plain_name, read_table, require_unanswered, write_layer, write_style

# Slow to load, and needed for the layer alone.
if TYPE_CHECKING:
    import geopandas

# Where pixels are drawn, by what the map says: change; no change, but with a probability that about a tenth of such pixels have or exceed; no change.
CHANGED = "change"
STRATA = (CHANGED, "doubtful", "no change")
_DOUBTFUL_SHARE = 0.1
# How many are drawn in each, as parts of all, with a probability and without. Chosen on maps of fourteen cities (training/EXPERIMENTS.md, 41).
_PARTS = {True: (1, 1, 2), False: (1, 0, 3)}
LAYER = "sample"
# What the layer says of a stratum, in the ten letters that a shapefile has room for.
OF_STRATUM = ("stratum", "stratum_px", "stratum_ha", "drawn")
_SIZES = (*OF_STRATUM[1:], "map_ha")
_OF_MAP = ("map", "map_ha", "seed")
_NUMBERS = ("number", "reference", "lon", "lat", *_SIZES, "seed")
_WINDOW = 512
_LEAST, _MOST = 20, 100_000
# What stands for change beside stored probabilities.
_CHANGE_LEVEL = 256

# What a window's pixels are counted by: `_CHANGE_LEVEL`, 255 where not observed, else the stored probability, or 0 where there is none; (row, col).
_Read = Callable[[Window], NDArray[np.int64]]


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """A sample, as asked for.

    Attributes:
        mask: raster of 1 change, 0 no change, 255 not observed.
        sample: GeoPackage to write.
        probability: of the same run; None draws in two strata instead of three.
        size: how many pixels to draw.
        seed: another one draws other pixels.
        extend: an older sample of this map, whose pixels and answers are the first of the new one; its seed counts.
    """

    mask: str
    sample: Path
    probability: str | None = None
    size: int = 300
    seed: int = 0
    extend: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: a size or seed out of range.
            OutputError: the sample in place of an input, or with another format's ending.
        """
        if not _LEAST <= self.size <= _MOST:
            raise ValueError(f"the size is {self.size} and must lie between {_LEAST} and {_MOST}")
        if self.seed < 0:
            raise ValueError(f"the seed is {self.seed} and must not be negative")
        require_apart(self.inputs, [self.sample])
        require_ending("GeoPackage", self.sample)

    @property
    def inputs(self) -> tuple[str | None, ...]:
        """The files that are read."""
        return self.mask, self.probability, self.extend


def draw_sample(options: SampleOptions, events: Events) -> None:
    """Draw pixels at random in each of `STRATA`, write their outlines as a layer, and say through events how it goes and what came out.

    The layer holds a polygon for each pixel, in random order, with `number` (from 1), `reference` (empty; for a person to fill with 1 change, 0 no
    change or 255 cannot be told), `note` (empty), `lon` and `lat` (degrees, of its centre); of its stratum `stratum` (its name), `stratum_px` and
    `stratum_ha` (all of it) and `drawn` (how many of its pixels are in the sample); and of the map `map` (its file), `map_ha` (what was observed) and `seed`.
    Within a stratum every pixel is as likely, and counts as much as its mean pixel: on a grid of degrees their areas differ a little with latitude.
    A larger sample with the same seed holds the smaller one. QGIS finds the layer's style in the file.

    Raises:
        S2ChangeError: one of its kinds; then nothing is left behind.
    """
    outputs.require_folders([options.sample])
    outputs.require_not_read(options.inputs, [options.sample])
    require_unanswered(options.sample, "a sample", "pixel")
    with ExitStack() as opened:
        workdir = opened.enter_context(outputs.workdir_beside(options.sample))
        events.started(str(workdir.resolve()))
        grid, read = _opened(options, opened)
        table, of_stratum = _sample(options, grid, read, events)
        with outputs.writing(options.sample):
            finished = outputs.in_workdir(workdir, "sample", options.sample)
            with plain_name(finished) as here:
                write_layer(table, here, LAYER)
                write_style(here, LAYER, resources() / "styles" / "sample.qml")
            # Answers may have been saved meanwhile.
            require_unanswered(options.sample, "a sample", "pixel")
            outputs.publish({finished: options.sample})
    values = {
        "sample": str(options.sample.resolve()),
        "mask": without_queries(options.mask),
        "size": len(table),
        "strata": {
            name: {"drawn": int(count), "pixels": int(of), "hectares": float(ha)}
            for name, of, ha, count in zip(*of_stratum.values(), strict=True)
            if of
        },
    }
    events.result(values, _summary(values))


def _sample(
    options: SampleOptions, grid: Grid, read: _Read, events: Events
) -> tuple[geopandas.GeoDataFrame, dict[str, NDArray[Any]]]:
    """The layer of a new sample, and what it says of each of `STRATA`: by field of `OF_STRATUM`, each (stratum,).

    Raises:
        NothingObserved: there is no pixel to draw from.
        UnreadableInput: what is to be extended is no smaller sample of this map.
    """
    parts = windows(*grid.shape, _WINDOW)
    counts = np.stack([np.bincount(read(part).ravel(), minlength=_CHANGE_LEVEL + 1) for part in events.progress("count", parts)])
    codes = _strata(counts.sum(0))
    by_stratum = np.stack([counts[:, codes == code].sum(1) for code in range(len(STRATA))], 1)  # (window, stratum)
    pixels = by_stratum.sum(0)
    if not pixels.any():
        raise NothingObserved(f"The mask {options.mask} has no pixel that was observed, so there is nothing to draw from.")
    if not pixels[1:].any():
        events.message(
            f"The mask {options.mask} holds nothing but change. If 0 is its nodata and means no change, correct that.", "warning"
        )
    hectares = np.array([pixel_area_m2(grid, part) for part in parts]) @ by_stratum / 1e4
    drawn = np.array(allocated(pixels.tolist(), options.size, _PARTS[options.probability is not None]))
    of_stratum = {"stratum": np.array(STRATA), "stratum_px": pixels, "stratum_ha": hectares.round(4), "drawn": drawn}
    older = _older(options.extend, of_stratum) if options.extend else None
    seed, skipped = (options.seed, [0] * len(STRATA)) if older is None else _seed_and_drawn(older)
    if older is not None and len(older) < sum(skipped):
        events.message(
            f"{sum(skipped) - len(older)} pixels of {options.extend} are no longer there. They stay away, and count as without an answer.",
            "warning",
        )
    chosen = [
        np.sort(_drawn(np.random.default_rng([seed, code]), int(pixels[code]), drawn[code])[skipped[code] :])
        for code in range(len(STRATA))
    ]
    places = _places(read, parts, by_stratum, chosen, codes, events)
    of_map = {
        "map": Path(without_queries(options.mask)).name,
        "map_ha": of_stratum["stratum_ha"].sum().round(4),
        "seed": seed,
    }
    # Of another stream than what is drawn, so that the order tells nothing of that.
    return _table(places, of_stratum, of_map, grid, np.random.default_rng([seed, len(STRATA)]), older), of_stratum


def allocated(pixels: Sequence[int], size: int, parts: Sequence[int]) -> list[int]:
    """How many pixels are drawn in each stratum: its part of all, and where it holds less, all of it, the rest going to the others.

    Args:
        pixels: of each stratum.
        size: of the sample.
        parts: of each stratum; one without any has no pixels.
    """
    left, found = size, [0] * len(pixels)
    order = sorted((code for code in range(len(pixels)) if parts[code]), key=lambda code: pixels[code] / parts[code])
    for place, code in enumerate(order):
        found[code] = min(pixels[code], round(left * parts[code] / sum(parts[one] for one in order[place:])))
        left -= found[code]
    return found


def _opened(options: SampleOptions, opened: ExitStack) -> tuple[Grid, _Read]:
    """The grid of the mask, and what reads a window of it.

    Raises:
        UnreadableInput: no mask, or no probability; on reading, a damaged file.
        GridMismatch: the mask has no place, or the probability another one; on reading, it is not of the same run.
        OutputError: no GeoPackage can hold the mask's CRS.
    """
    _, grid, read_mask = open_change_mask(options.mask, opened)
    if not fits_geopackage(grid.crs):
        raise OutputError(
            f"A GeoPackage cannot hold the CRS of the mask, {name_of(grid.crs)}. Warp the mask to another CRS first (gdalwarp -r near)."
        )
    if options.probability is None:
        levels = None
    else:
        levels = opened.enter_context(open_raster(options.probability))
        if levels.descriptions != PROBABILITY.descriptions or levels.dtypes != (PROBABILITY.dtype,):
            raise UnreadableInput(
                f"{options.probability} is no probability that detect wrote. Choose another file, or leave it out."
            )
        if (levels.shape, levels.transform, levels.crs) != (grid.shape, grid.transform, grid.crs):
            raise GridMismatch(
                f"The probability {options.probability} and the mask {options.mask} do not lie on the same pixels. Give those of one run."
            )

    def read(window: Window) -> NDArray[np.int64]:
        mask = read_mask(window)
        found = np.zeros(mask.shape, np.int64)
        if levels is not None:
            try:
                found[:] = levels.read(1, window=window)
            except RasterioError as error:
                raise damaged(str(options.probability), error) from error
            if ((found == NOT_OBSERVED) & (mask != NOT_OBSERVED)).any():
                raise GridMismatch(
                    f"The mask {options.mask} is observed where the probability {options.probability} is not. Give those of one run."
                )
        found[mask == CHANGE] = _CHANGE_LEVEL
        found[mask == NOT_OBSERVED] = NOT_OBSERVED
        return found

    return grid, read


def _strata(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Of each value that `_Read` gives the place of its stratum in `STRATA`, (257,); 255 for what was not observed.

    Args:
        counts: of these values in all of the map, (257,).
    """
    found = np.full(len(counts), STRATA.index("no change"), np.uint8)
    found[_doubtful_from(counts) :] = STRATA.index("doubtful")
    found[NOT_OBSERVED], found[_CHANGE_LEVEL] = NOT_OBSERVED, STRATA.index(CHANGED)
    return found


def _doubtful_from(counts: NDArray[np.int64]) -> int:
    """The stored probability from which no change is doubtful: that at which what lies there or higher is nearest to a tenth of it; at least 1.

    Args:
        counts: of what `_Read` gives, (257,).
    """
    from_top = np.cumsum(counts[:NOT_OBSERVED][::-1])[::-1]
    return 1 + int(np.abs(from_top[1:] - _DOUBTFUL_SHARE * from_top[0]).argmin())


def _drawn(random: np.random.Generator, of: int, count: int) -> NDArray[np.int64]:
    """So many different numbers below another, (n,), in random order; of more the same ones are the first."""
    if of < 4 * _MOST:
        return random.permutation(of)[:count]
    # Of twice as many some are the same, and never half of them.
    numbers = random.integers(of, size=2 * _MOST)
    _, first = np.unique(numbers, return_index=True)
    return numbers[np.sort(first)[:count]]


def _older(source: str, of_stratum: dict[str, NDArray[Any]]) -> geopandas.GeoDataFrame:
    """The pixels and answers of an older sample.

    Raises:
        UnreadableInput: it is none, or of another map, or no smaller than the new one, or its pixels have no outlines.
    """
    table = read_sample(source)
    if getattr(table, "crs", None) is None or table.geometry.isna().any():
        raise UnreadableInput(
            f"{source} has no outlines of its pixels, or no CRS. Give the sample as a GeoPackage, as it was drawn."
        )
    new = dict(zip(of_stratum["stratum"], zip(*(of_stratum[name] for name in OF_STRATUM[1:]), strict=True), strict=True))
    sizes = set(zip(*(table[name] for name in OF_STRATUM), strict=True))
    for name, pixels, hectares, drawn in sizes:
        if name not in new or (pixels, hectares) != new[name][:2]:
            raise UnreadableInput(
                f"{source} is no sample of this map, or was drawn with another probability. Give the very mask and probability that it was drawn of."
            )
        if drawn > new[name][2] or sum(one[3] for one in sizes) >= of_stratum["drawn"].sum():
            raise UnreadableInput(f"{source} is no smaller than what is asked for. Give a larger --size.")
    return table


def _seed_and_drawn(older: geopandas.GeoDataFrame) -> tuple[int, list[int]]:
    """The seed of a sample, and how many pixels of each of `STRATA` were drawn, whether they are still there or not."""
    drawn = older.groupby("stratum")["drawn"].first()
    return int(older["seed"].iloc[0]), [int(drawn.get(name, 0)) for name in STRATA]


def read_sample(source: str) -> geopandas.GeoDataFrame:
    """A sample, its numbers as such, whatever a program that saved it made of them; without outlines where its file has none.

    Args:
        source: see `vectors.read_table`.

    Raises:
        UnreadableInput: a field is missing, or holds what is no number, or a pixel is there twice, or it is of two maps.
    """
    from pandas import to_numeric

    table = read_table(source, "sample")
    missing = [name for name in (*_NUMBERS, "stratum", "map", "note") if name not in table.columns]
    if missing or table.empty:
        lacks = f"has no field {missing[0]!r}" if missing else "is empty"
        raise UnreadableInput(f"The layer {source} {lacks}. Choose a sample that was drawn of a change map.")
    if len(table[list(_OF_MAP)].drop_duplicates()) > 1:
        raise UnreadableInput(f"The layer {source} holds pixels of two samples. Choose one as it was drawn.")
    said = answers(table, "reference", source, "a pixel")
    table[list(_NUMBERS)] = table[list(_NUMBERS)].replace("", None).apply(to_numeric, errors="coerce")
    table["reference"] = said
    if table[list(_NUMBERS)].drop(columns="reference").isna().any(axis=None) or (table[list(_SIZES)] <= 0).any(axis=None):
        raise UnreadableInput(
            f"In {source} a pixel lacks its number, its place, or one of {', '.join(_SIZES)}, which are above 0. Choose a sample as it was drawn."
        )
    again = table[table.duplicated(["lon", "lat"])]
    if len(again):
        one = again.iloc[0]
        raise UnreadableInput(
            f"The layer {source} holds the pixel at {one['lon']:.6f}, {one['lat']:.6f} twice. Take one of them away."
        )
    return table


def _places(
    read: _Read,
    parts: Sequence[Window],
    counts: NDArray[np.int64],
    chosen: Sequence[NDArray[np.int64]],
    codes: NDArray[np.uint8],
    events: Events,
) -> list[NDArray[np.int64]]:
    """Rows and columns of what is chosen in each stratum, (n, 2), in the order of their numbers there: window by window, row by row.

    Args:
        read: a window's levels.
        parts: all windows.
        counts: pixels of each window and stratum, (window, stratum).
        chosen: numbers of pixels within each stratum, rising.
        codes: see `_strata`.
        events: gets the progress.
    """
    ends = counts.cumsum(0)
    window_of = [np.searchsorted(ends[:, code], numbers, "right") for code, numbers in enumerate(chosen)]
    found: list[list[NDArray[np.int64]]] = [[np.empty((0, 2), np.int64)] for _ in STRATA]
    for place in events.progress("draw", np.unique(np.concatenate(window_of)).tolist()):
        window, here = parts[place], codes[read(parts[place])]
        for code, numbers in enumerate(chosen):
            within = numbers[window_of[code] == place] - (ends[place, code] - counts[place, code])
            rows, cols = np.unravel_index(np.flatnonzero(here == code)[within], here.shape)
            found[code].append(np.column_stack([rows + window.row_off, cols + window.col_off]))
    return [np.concatenate(one) for one in found]


def _table(
    places: Sequence[NDArray[np.int64]],
    of_stratum: dict[str, NDArray[Any]],
    of_map: dict[str, Any],
    grid: Grid,
    random: np.random.Generator,
    older: geopandas.GeoDataFrame | None,
) -> geopandas.GeoDataFrame:
    """The layer: the pixels of all strata, shuffled, so that their order tells nothing of the map; those of an older sample as they are before them."""
    # Slow to load, and needed here alone.
    import geopandas
    from pandas import concat
    from shapely import box, get_geometry

    codes = np.repeat(np.arange(len(STRATA)), [len(part) for part in places])
    order = random.permutation(len(codes))
    codes, (rows, cols) = codes[order], np.concatenate(places)[order].T
    (left, top), (right, bottom) = (grid.transform @ (cols + shift, rows + shift) for shift in (0, 1))
    outlines = box(left, bottom, right, top)
    x, y = grid.transform @ (cols + 0.5, rows + 0.5)
    lon, lat = lonlats_of(x, y, grid.crs)
    first = 1 if older is None else int(older["number"].max()) + 1
    columns = {
        "number": np.arange(first, first + len(codes), dtype=np.int32),
        "reference": np.full(len(codes), None, object),
        "note": np.full(len(codes), None, object),
        "lon": np.round(lon, 6),
        "lat": np.round(lat, 6),
        **{name: values[codes] for name, values in of_stratum.items()},
        **of_map,
    }
    table = geopandas.GeoDataFrame(columns, geometry=list(outlines), crs=for_pyproj(grid.crs))
    if older is not None:
        older["drawn"] = older["stratum"].map(dict(zip(STRATA, of_stratum["drawn"], strict=True)))
        # Other programs save polygons as collections of one.
        older = older.set_geometry(get_geometry(older.geometry.values, 0)).to_crs(table.crs)
        table = concat([older, table])
    return table.astype({"number": "int32", "reference": "Int32", "note": "string", "drawn": "int32"})


def _summary(values: dict[str, Any]) -> str:
    """The result in three sentences."""
    strata = ", ".join(f"{one['drawn']} of {one['pixels']:,} in “{name}”" for name, one in values["strata"].items())
    return (
        f"Drawn: {strata}. Say in the field “reference” what is true of each: 1 change, 0 no change, 255 cannot be told. "
        f"Sample: {values['sample']}"
    )
