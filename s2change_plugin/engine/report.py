"""What a run, a check or a comparison says of itself: the record, its summary, the report that a person reads."""

from __future__ import annotations

import json
import platform
from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version as package_version
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import rasterio

from ..paths import PACKAGE, resources
from .errors import NothingObserved
from .evidence import INDICES
from .files import without_queries
from .findings import Finding, worst
from .grid import lonlat_of, name_of
from .scene import Scene, short_name
from .scores import AGREEMENT_COLOURS, GOALS, NOT_COUNTED, Agreement
from .threads import window_threads
from .validity import QUALITY_COLOURS, QUALITY_NAMES, Quality

if TYPE_CHECKING:
    from .card import ModelCard
    from .check import CheckOptions
    from .detect import DetectOptions, Run, Tally


T = TypeVar("T")

_WIDTH = 110
_SCORES = {"f1": "F1", "precision": "precision", "recall": "recall", "iou": "IoU", "prevalence": "changed"}


def version() -> str:
    """S2Change's version, from the plugin's metadata.txt."""
    for folder in (PACKAGE, PACKAGE.parent):
        metadata = folder / "metadata.txt"
        if metadata.is_file():
            for line in metadata.read_text(encoding="utf-8").splitlines():
                if line.startswith("version="):
                    return line.removeprefix("version=").strip()
    return "unknown"


def result_values(options: DetectOptions, run: Run, tally: Tally) -> dict[str, Any]:
    """The outputs and numbers of a run, as they go into the result event and the record."""
    grid = run.pair.grid.crop(run.area)
    paths = {name: getattr(options, name) for name in ("mask", "probability", "quality", "polygons", "record", "report")}
    return {
        **{name: str(path.resolve()) if path else None for name, path in paths.items()},
        "changed_area_ha": round(tally.changed_m2 / 1e4, 4),
        "changed_pixels": tally.changed,
        "observed_share": round(tally.observed / tally.pixels, 6),
        "threshold": run.threshold,
        "goal": run.goal,
        **{name: run.predictor.made_by[name] for name in ("method", "model", "device", "precision")},
        "shift": asdict(run.pair.shift),
        "severity": worst(run.findings),
        "grid": {"crs": name_of(grid.crs), "transform": list(grid.transform)[:6], "height": grid.height, "width": grid.width},
    }


def summary_of(values: dict[str, Any]) -> str:
    """The result in two sentences."""
    return (
        f"Changed: {values['changed_area_ha']:,.2f} ha ({values['changed_pixels']:,} pixels), "
        f"with {100 * values['observed_share']:.1f} % of the area observed on both dates. Mask: {values['mask']}"
    )


def write_record(path: Path, options: DetectOptions, run: Run, values: dict[str, Any]) -> None:
    """Write everything needed to repeat and to judge a run, as JSON."""
    record = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()},
        "inputs": {"before": scene_values(run.pair.before), "after": scene_values(run.pair.after)},
        "masks": dict(zip(("before", "after"), ([mask.origin for mask in masks] for masks in run.pair.masks), strict=True)),
        "normalisation": asdict(run.pair.normalisation),
        "findings": [asdict(finding) for finding in run.findings],
        "made_by": run.predictor.made_by,
        "result": values,
        "versions": _versions(),
    }
    path.write_text(json.dumps(without_queries(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def scene_values(scene: Scene) -> dict[str, Any]:
    """What is known of a scene, for programs."""
    bands = {name: {"path": band.path, "layer": band.index} for name, band in scene.bands.items()}
    acquisition = asdict(scene.acquisition)
    if scene.acquisition.sensed:
        acquisition["sensed"] = scene.acquisition.sensed.isoformat()
    return {
        "source": scene.source,
        "product": scene.product,
        "units": scene.units,
        "crs": name_of(scene.grid.crs),
        "acquisition": acquisition,
        "bands": bands,
    }


def write_check_report(
    target: Path,
    options: CheckOptions,
    findings: Sequence[Finding],
    scenes: Sequence[Scene | None],
    picture: bytes | None,
    card: ModelCard | None,
) -> None:
    """Write the findings about a pair as a page that a person reads, with everything it needs inside.

    Args:
        target: HTML file.
        options: what was asked.
        findings: in their order.
        scenes: before and after; None where it could not be opened.
        picture: PNG of both dates and of what is usable.
        card: of the model that is to be used, if there is one.
    """
    page = rendered(
        resources() / "templates" / "check.html",
        options=options,
        findings=findings,
        severity=worst(findings),
        scenes=dict(zip(("before", "after"), scenes, strict=True)),
        names={
            side: scene.label if scene else short_name(getattr(options, side))
            for side, scene in zip(("before", "after"), scenes, strict=True)
        },
        picture=picture,
        card=card,
        goals=GOALS,
    )
    target.write_text(page, encoding="utf-8")


def write_change_report(
    target: Path,
    options: DetectOptions,
    run: Run,
    values: dict[str, Any],
    tally: Tally,
    mask: Path,
    quality: Path,
    largest: Sequence[Any],
) -> None:
    """Write what a run found as a page that a person reads, with everything it needs inside.

    Args:
        target: HTML file.
        options: what was asked.
        run: what it was made with.
        values: the numbers of the run.
        tally: what was counted.
        mask, quality: the rasters of the run.
        largest: areas of change, as `polygons.draw_polygons` gives them.
    """
    # Slow to load, and needed for a report alone.
    from .pictures import change_picture, view_of

    pair, sides = run.pair, ("before", "after")
    scenes = dict(zip(sides, (pair.before, pair.after), strict=True))
    with ThreadPoolExecutor(window_threads(), "view") as pool:
        views = list(pool.map(lambda area: _if_seen(lambda: view_of(pair, area.geometry)), largest))
    places = [lonlat_of(area.geometry.representative_point(), pair.grid.crs) for area in largest]
    page = rendered(
        resources() / "templates" / "change.html",
        options=options,
        values=values,
        names={side: scene.label for side, scene in scenes.items()},
        scenes=scenes,
        findings=run.findings,
        picture=_if_seen(lambda: change_picture(pair.before, pair.after, mask, quality)),
        areas=list(zip(largest, views, places, strict=True)),
        indices=tuple(INDICES),
        codes=[
            (QUALITY_NAMES[code], _hex(QUALITY_COLOURS[code]), tally.codes_m2[code] / 1e4)
            for code in Quality
            if code != Quality.OUTSIDE and tally.codes[code]
        ],
        asked_ha=(tally.codes_m2.sum() - tally.codes_m2[Quality.OUTSIDE]) / 1e4,
        observed_ha=tally.codes_m2[Quality.OBSERVED] / 1e4,
        decided=run.predictor.text,
        card=run.card,
        goals=GOALS,
    )
    target.write_text(page, encoding="utf-8")


def write_compare_report(target: Path, values: dict[str, Any], picture: bytes) -> None:
    """Write how a mask agrees with its reference as a page that a person reads, with everything it needs inside.

    Args:
        target: HTML file.
        values: what came out, as in the result event.
        picture: PNG of the confusion raster.
    """
    names: dict[int, str] = {**{code: code.name.lower() for code in Agreement}, NOT_COUNTED: "not_counted"}
    colours = {name: _hex(AGREEMENT_COLOURS[code]) for code, name in names.items()}
    page = rendered(
        resources() / "templates" / "compare.html",
        **values,
        names={name: short_name(values[name].partition("|")[0]) for name in ("mask", "reference")},
        colours=colours,
        picture=picture,
    )
    target.write_text(page, encoding="utf-8")


def write_area_report(target: Path, values: dict[str, Any]) -> None:
    """Write how much has changed, with its interval, as a page that a person reads.

    Args:
        target: HTML file.
        values: what came out, as in the result event.
    """
    page = rendered(resources() / "templates" / "area.html", **values, name=short_name(values["sample"].partition("|")[0]))
    target.write_text(page, encoding="utf-8")


def _hex(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _if_seen(drawn: Callable[[], T]) -> T | None:
    """What is drawn; None where there is nothing to see at its scale, as of a map that is narrower than a dot."""
    try:
        return drawn()
    except NothingObserved:
        return None


def card_text(card: ModelCard, path: Path) -> str:
    """A model's card as lines that a person reads, under the name by which the model is asked for.

    Args:
        card: of the model.
        path: of its weights.
    """
    level = f"Level-{card.level[1:]}"
    simulated = [f"Level-{one[1:]} simulated only" for one in card.simulated_levels]
    goals = [
        f"{f'{card.thresholds[goal]:.3f}' if goal in card.thresholds else 'none '}  {goal:10} {words}"
        for goal, words in GOALS.items()
    ]
    entries: dict[str, Sequence[str]] = {
        "Detects": [card.detects],
        "Bands": [", ".join(card.bands)],
        "Level": ["; ".join([level, *simulated])],
        "Licence": [card.licence],
        "Trained on": [card.trained_on],
        "Protocol": [card.protocol],
        "Scores": _score_lines(card.scores),
        "Thresholds": goals,
        "Fails at": [f"- {failure}" for failure in card.known_failures],
    }
    lines = [path.stem]
    for label, texts in entries.items():
        for text in filter(None, texts):
            lines += wrap(
                text,
                _WIDTH,
                initial_indent=f"  {label:12}",
                subsequent_indent=" " * (16 if text.startswith("- ") else 14),
                break_long_words=False,
                break_on_hyphens=False,
            )
            label = ""
    # Whole, to be copied.
    return "\n".join([*lines, f"  {'File':12}{path}"])


def _score_lines(scores: dict[str, Any]) -> list[str]:
    """Scores by city, pooled, and pooled for other goals as a table in percent; no lines where there are none."""
    rows = {name: one for name, one in scores.items() if isinstance(one, dict) and set(_SCORES) <= set(one)}
    if not rows:
        return []
    rows = {name: rows[name] for name in sorted(rows, key=lambda name: 2 if name.startswith("goal ") else name == "pooled")}
    wide = max(map(len, rows))
    head = " " * wide + "".join(f"{label:>11}" for label in _SCORES.values())
    return [head, *(f"{name:{wide}}" + "".join(f"{100 * one[key]:>9.1f} %" for key in _SCORES) for name, one in rows.items())]


def rendered(template: Path, **values: Any) -> str:
    """A page from a jinja2 template, with the version and the time; text from outside is escaped, and web addresses are without queries."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(template.parent), autoescape=True)
    environment.filters["inline"] = lambda png: b64encode(png).decode("ascii")
    page = environment.get_template(template.name).render(**values, version=version(), made=datetime.now(timezone.utc))
    return without_queries(page)


def _versions() -> dict[str, str]:
    return {
        "s2change": version(),
        "python": platform.python_version(),
        "torch": package_version("torch"),
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
