"""What a person says of a change map's areas, put into the map."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS

from . import outputs
from .errors import GridMismatch, NothingObserved, UnreadableInput
from .events import Events
from .files import without_queries
from .grid import Grid, geodesic_areas_m2, pixel_area_m2, place_of, windows
from .masks import Shapes
from .outputs import CHANGE, MASK, NOT_OBSERVED, REVIEWED, RasterWriter, require_apart, require_ending
from .reference import Labels, open_change_mask
from .report import version
from .vectors import ANSWERS, answers, mended, read_table

# Slow to load, and needed for the layer alone.
if TYPE_CHECKING:
    import geopandas

# What is counted of pixels and hectares; see `_written`.
_COUNTED = ("mapped", "looked_at", "rejected", "undecided", "added", "changed", "unobserved")
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

    The field `review` of an area is 1 change, 0 no change or 255 cannot be told, which is not observed in the mask, or empty, which says nothing:
    where nothing is said the mask stays as it is, and what it did not observe stays so wherever something is said. A pixel is the area's in which
    its centre lies. Of areas with an answer that overlap the smaller one counts, so that a part of one may be drawn by itself; of two as large, what
    cannot be told, else change.

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
        areas = {name: int((table["review"] == answer).sum()) for answer, name in ANSWERS.items()}
        areas["open"] = len(table) - sum(areas.values())
        said = np.concatenate([[0], table["review"].fillna(0)]).astype(np.uint8)
        shapes = _laid(table, options.areas, grid)
        with outputs.writing(options.output):
            writer = RasterWriter(workdir / "mask", grid, MASK, _tags(dataset.tags(), areas))
            opened.callback(writer.close)
            counted, held, calm = _written(grid, read_mask, shapes, said, writer, events)
            if not held:
                raise NothingObserved(
                    f"No area of {options.areas} with an answer holds the centre of a pixel that the mask observed, so nothing would change."
                )
            if counted["mapped"][0] and not calm:
                events.message(
                    f"The mask {options.mask} holds nothing but change. If 0 is its nodata and means no change, correct that.",
                    "warning",
                )
            without = len(table) - areas["open"] - held
            if without:
                events.message(
                    f"{without} of the areas with an answer hold no pixel: they are too small, lie outside of the mask or where it was not observed, or smaller "
                    "ones cover them.",
                    "warning",
                )
            finished: dict[Path, Path] = {}
            for target in events.progress("write", [options.output]):
                finished[writer.finish(target)] = target
            outputs.publish(finished)
    values = {
        "mask": without_queries(options.mask),
        "areas_file": options.areas,
        "output": str(options.output.resolve()),
        "areas": {**areas, "without_pixels": without},
        "pixels": {name: int(pixels) for name, (pixels, _) in counted.items()},
        "hectares": {name: round(float(hectares), 4) for name, (_, hectares) in counted.items()},
    }
    events.result(values, _summary(values))


def _tags(of_mask: dict[str, str], areas: dict[str, int]) -> dict[str, str]:
    """What the mask said of how it was made, and that it was reviewed, once more if it was."""
    made = {name: text for name, text in of_mask.items() if name.startswith("S2CHANGE_")}
    count = sum(areas.values())
    told = f"{count - areas['open']} of {count} areas"
    return {**made, "S2CHANGE_VERSION": version(), REVIEWED: f"{made[REVIEWED]}; then {told}" if REVIEWED in made else told}


def _reviewed(source: str) -> geopandas.GeoDataFrame:
    """The layer, with `review` as `vectors.answers` gives it.

    Raises:
        UnreadableInput: no layer, no field `review`, or one that holds something else.
        NothingObserved: nothing is said of any area.
    """
    table = read_table(source, "review")
    table = table.rename(columns={name: "review" for name in table.columns if name.lower() == "review"})
    if "review" not in table.columns:
        raise UnreadableInput(
            f"The layer {source} has no field “review”. Choose the polygons of a change map, or add it, a whole number: 1 change, 0 no change, 255 cannot be told."
        )
    table["review"] = answers(table, "review", source, "an area")
    if table["review"].isna().all():
        raise NothingObserved(
            f"Nothing is said of any area in {source}. Fill in its field “review”: 1 change, 0 no change, 255 cannot be told."
        )
    return table


def _laid(table: geopandas.GeoDataFrame, source: str, grid: Grid) -> Shapes:
    """The areas with an answer, by their rows, from 1, on the mask's grid.

    Raises:
        UnreadableInput: none of them is a polygon.
        GridMismatch: the layer has no CRS, or none of them meets the grid.
    """
    rows = table.assign(row=np.arange(1, len(table) + 1))
    parts = mended(rows[table["review"].notna()], source, "review")
    sizes = np.bincount(parts["row"], geodesic_areas_m2(parts.geometry.values, CRS.from_user_input(parts.crs)).round())[
        parts["row"]
    ]
    # What comes later lies above.
    parts = parts.iloc[np.lexsort((parts["review"], -sizes))]
    shapes = Shapes(parts.geometry, parts["row"].to_list(), grid)
    if shapes.window is None:
        raise GridMismatch(
            f"No area of {source} with an answer meets the mask, {place_of(grid)}. Give the mask and the polygons of one run."
        )
    return shapes


def _written(
    grid: Grid, read_mask: Labels, shapes: Shapes, said: NDArray[np.uint8], writer: RasterWriter, events: Events
) -> tuple[dict[str, tuple[int, float]], int, bool]:
    """Write the reviewed mask; how many pixels and hectares are of what kind, how many areas hold a pixel, and whether there was any no change.

    mapped: change before; looked_at: of that, what something is said of; rejected, undecided: of that, what is no change now, or not observed;
    added: change that was not mapped; changed: change now; unobserved: what something is said of and was not observed, and so stays.

    Args:
        grid, read_mask: of the mask.
        shapes: the areas, by their rows.
        said: what is said by row, (rows + 1,).
        writer: of the result.
        events: gets the progress.
    """
    counted: dict[str, tuple[int, float]] = dict.fromkeys(_COUNTED, (0, 0.0))
    holds, calm = np.zeros(len(said), np.bool_), False
    for window in events.progress("review", windows(*grid.shape, _WINDOW)):
        before, rows = read_mask(window), shapes.numbers(window)
        looked = (rows > 0) & (before != NOT_OBSERVED)
        holds[rows[looked]] = True
        now = np.where(looked, said[rows], before)
        writer.write(now, window)
        was, is_now = before == CHANGE, now == CHANGE
        calm |= bool((before == 0).any())
        kinds = (
            was,
            was & looked,
            was & (now == 0),
            was & (now == NOT_OBSERVED),
            is_now & ~was,
            is_now,
            (rows > 0) & ~looked,
        )
        area = pixel_area_m2(grid, window) / 1e4
        for (name, (pixels, hectares)), kind in zip(counted.items(), kinds, strict=True):
            count = int(kind.sum())
            counted[name] = pixels + count, hectares + float(count * area)
    return counted, int(holds.sum()), calm


def _summary(values: dict[str, Any]) -> str:
    """The result in a few sentences."""
    areas, hectares = values["areas"], values["hectares"]
    count = sum(areas[name] for name in (*ANSWERS.values(), "open"))
    share = (
        f", {_percent(hectares['looked_at'], hectares['mapped'])} of what the map called change"
        if values["pixels"]["mapped"]
        else ""
    )
    added = f", {hectares['added']:,.2f} ha of it added" if values["pixels"]["added"] else ""
    stays = " What the map did not observe stays so where something is said of it." if values["pixels"]["unobserved"] else ""
    return (
        f"Something is said of {count - areas['open']:,} of {count:,} area{'s' if count != 1 else ''}{share} ({areas['change']:,} change, "
        f"{areas['no change']:,} no change, {areas['cannot be told']:,} cannot be told). Change on the map: {hectares['mapped']:,.2f} ha before, "
        f"{hectares['changed']:,.2f} ha now{added}.{stays} Mask: {values['output']}"
    )


def _percent(part: float, whole: float) -> str:
    """A share in words that never says all or nothing where it is neither."""
    percent = round(100 * part / whole)
    if part and not percent:
        return "less than 1 %"
    return "more than 99 %" if percent == 100 and part < whole else f"{percent} %"
