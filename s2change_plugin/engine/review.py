"""What a person says of a change map's areas, put into the map."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import outputs
from .errors import GridMismatch, NothingObserved, UnreadableInput
from .events import Events
from .files import without_queries
from .grid import Grid, pixel_area_m2, place_of, windows
from .masks import Shapes
from .outputs import CHANGE, MASK, NOT_OBSERVED, RasterWriter, require_apart, require_ending
from .reference import Labels, open_change_mask
from .report import version
from .vectors import mended, read_table

# Slow to load, and needed for the layer alone.
if TYPE_CHECKING:
    import geopandas

# What may be said of an area, as the mask has it, in words.
_ANSWERS = {CHANGE: "change", 0: "no change", NOT_OBSERVED: "cannot be told"}
_WINDOW = 512


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """A mask, what was said of its areas, and what is to be written.

    Attributes:
        mask: raster of 1 change, 0 no change, 255 not observed.
        areas: layer of polygons with the field `review`; see `vectors.read_table`.
        output: the reviewed mask.
    """

    mask: str
    areas: str
    output: Path

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            OutputError: the output in place of an input, or with another format's ending.
        """
        require_apart((self.mask, self.areas), [self.output])
        require_ending("raster", self.output)


def apply_review(options: ReviewOptions, events: Events) -> None:
    """Write a mask that says of each area what a person says of it, and say through events how it goes and what came out.

    The field `review` of a polygon is 1 change, 0 no change or 255 cannot be told, which is not observed in the mask, or empty: then the mask
    stays there as it is. A pixel is the polygon's in which its centre lies; where polygons overlap, the smaller one's, so that a part of an area may be
    drawn by itself. Polygons that were drawn where the mask has no change count too.

    Raises:
        S2ChangeError: one of its kinds; then nothing is left behind.
    """
    outputs.require_folders([options.output])
    outputs.require_not_read((options.mask, options.areas), [options.output])
    with ExitStack() as opened:
        workdir = opened.enter_context(outputs.workdir_beside(options.output))
        events.started(str(workdir.resolve()))
        dataset, grid, read_mask = open_change_mask(options.mask, opened)
        table = _reviewed(options.areas)
        areas = {name: int((table["review"] == answer).sum()) for answer, name in _ANSWERS.items()}
        areas["open"] = len(table) - sum(areas.values())
        shapes = _laid(table, options.areas, grid)
        with outputs.writing(options.output):
            own = {name: text for name, text in dataset.tags().items() if name.startswith("S2CHANGE_")}
            made = {"S2CHANGE_VERSION": version(), "S2CHANGE_REVIEWED": f"{len(table) - areas['open']} of {len(table)} areas"}
            writer = RasterWriter(workdir / "mask", grid, MASK, {**own, **made})
            opened.callback(writer.close)
            counted = _written(grid, read_mask, shapes, writer, events)
            outputs.publish({writer.finish(options.output): options.output})
    values = {
        "mask": without_queries(options.mask),
        "layer": options.areas,
        "output": str(options.output.resolve()),
        "areas": areas,
        "pixels": {name: int(pixels) for name, (pixels, _) in counted.items()},
        "hectares": {name: round(float(hectares), 4) for name, (_, hectares) in counted.items()},
    }
    events.result(values, _summary(values))


def _reviewed(source: str) -> geopandas.GeoDataFrame:
    """The layer's polygons, with `review` as numbers, missing where nothing is said, whatever a program that saved it made of them.

    Raises:
        UnreadableInput: no layer of polygons, no field `review`, or one that holds something else.
        GridMismatch: no CRS.
        NothingObserved: nothing is said of any.
    """
    from pandas import to_numeric

    table = read_table(source, "reviewed areas")
    if "review" not in table.columns:
        raise UnreadableInput(
            f"The layer {source} has no field “review”. Choose the polygons of a change map, or add it, a whole number: 1 change, 0 no change, 255 cannot be told."
        )
    said = table["review"].replace("", None)
    table["review"] = to_numeric(said, errors="coerce")
    strange = said[said.notna() & ~table["review"].isin(_ANSWERS)]
    if len(strange):
        raise UnreadableInput(
            f"In {source} the review of an area is {strange.iloc[0]!s}. Let it be 1 (change), 0 (no change) or 255 (cannot be told), or leave it empty."
        )
    if not said.notna().any():
        raise NothingObserved(
            f"Nothing is said of any area in {source}. Fill in its field “review”: 1 change, 0 no change, 255 cannot be told."
        )
    return table


def _laid(table: geopandas.GeoDataFrame, source: str, grid: Grid) -> Shapes:
    """The areas of which something is said, by the place of their answer in `_ANSWERS` from 1, on the mask's grid.

    Raises:
        GridMismatch: none meets it.
    """
    import shapely

    parts = mended(table[table["review"].notna()], source, "reviewed areas")
    # What comes later lies above.
    parts = parts.iloc[np.argsort(-shapely.area(parts.geometry.values), kind="stable")]
    places = {answer: place for place, answer in enumerate(_ANSWERS, start=1)}
    shapes = Shapes(parts.geometry, parts["review"].map(places).to_list(), grid)
    if shapes.window is None:
        raise GridMismatch(
            f"No reviewed area of {source} meets the mask, {place_of(grid)}. Give the polygons and the mask of one run."
        )
    return shapes


def _written(grid: Grid, read_mask: Labels, shapes: Shapes, writer: RasterWriter, events: Events) -> dict[str, tuple[int, float]]:
    """Write the reviewed mask; how many pixels and hectares are of what kind.

    mapped: change before; looked_at: of that, what something is said of; rejected, undecided: of that, what is no change now, or not
    observed; added: change that was not mapped; changed: change now.
    """
    answers = np.array([0, *_ANSWERS], np.uint8)
    found = dict.fromkeys(("mapped", "looked_at", "rejected", "undecided", "added", "changed"), (0, 0.0))
    for window in events.progress("review", windows(*grid.shape, _WINDOW)):
        before, said = read_mask(window), shapes.burnt(window)
        now = np.where(said, answers[said], before)
        writer.write(now, window)
        was, is_now, looked = before == CHANGE, now == CHANGE, said > 0
        kinds = (was, was & looked, was & (now == 0), was & (now == NOT_OBSERVED), is_now & ~was, is_now)
        area = pixel_area_m2(grid, window) / 1e4
        for (name, (pixels, hectares)), kind in zip(found.items(), kinds, strict=True):
            count = int(kind.sum())
            found[name] = pixels + count, hectares + float(count * area)
    return found


def _summary(values: dict[str, Any]) -> str:
    """The result in two sentences."""
    areas, hectares = values["areas"], values["hectares"]
    count = sum(areas.values())
    share = (
        f", {100 * hectares['looked_at'] / hectares['mapped']:.0f} % of what the map called change" if hectares["mapped"] else ""
    )
    added = f", {hectares['added']:,.2f} ha of it added" if hectares["added"] else ""
    return (
        f"Something is said of {count - areas['open']:,} of {count:,} areas{share} ({areas['change']:,} change, {areas['no change']:,} no change, "
        f"{areas['cannot be told']:,} cannot be told). Change on the map: {hectares['mapped']:,.2f} ha before, {hectares['changed']:,.2f} ha now{added}. "
        f"Mask: {values['output']}"
    )
