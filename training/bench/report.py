"""What was measured, as a page with tables and a picture: rows, goals, growth, where the time goes."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import matplotlib
import numpy as np
import psutil
import rasterio
import torch

from s2change_plugin.engine.card import SHIPPED

from .peers import PEERS
from .rounds import Round
from .scenes import MODEL, TILE_SIZE

matplotlib.use("agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

PAGE, PICTURE = "BENCHMARK.md", "benchmark.png"

# Rows of the table in their order, and what they are.
ROWS = {
    "detect": "**`detect`, whole**: registration, mask, probability, quality, polygons, record",
    "detect-no-register": "`detect --no-register`: one grid, nothing is resampled",
    "detect-1/4": "`detect`, a quarter of the tile",
    "detect-1/16": "`detect`, a sixteenth of the tile",
    "detect-window": "`detect --bounds`, a window of 512² in the middle",
    "detect-4": "`detect`, four tiles (first round only)",
    "inside": "`detect`, whole, in one process with clocks in it, without the start of Python (first round only)",
    "read": "Bare part: read every block of both dates once",
    "resample": "Bare part: resample `after` once",
    "network": "Bare part: the network over the tile's pixels, no halo",
    "layers": "The network's layers, each timed alone, summed",
    "write": "Bare part: write the three rasters once",
    "detect-jp2": "`detect` of two Level-1C products, ten bands: each a JPEG 2000 with blocks of 1024², six of them at 20 m, metadata, cloud mask",
    "detect-jp2-13": f"The same, of all 13 bands, with the model that `--model auto` takes for them: `{SHIPPED[0]}`",
    "read-jp2": "Bare part of it, ten bands: decode every block of both dates once",
    "resample-jp2": "Bare part of it: bring both dates' bands of 20 m to 10 m, resample `after`",
    **PEERS,
}
_GROWTH = {"1/16": 1 / 16, "1/4": 1 / 4, "1": 1.0}
_PARTS = {
    "detect": ("read", "resample", "network", "write"),
    "detect-no-register": ("read", "network", "write"),
    "detect-jp2": ("read-jp2", "resample-jp2", "network", "write"),
}
# Okabe and Ito's colours; the rest in grey.
_BARS = {
    "inside": "what threads do",
    "detect": "bare parts,\nwith registration",
    "detect-no-register": "without",
    "detect-jp2": "JPEG 2000",
}
_COLOURS = {
    "read": "#0072b2",
    "resample": "#56b4e9",
    "prepare": "#e69f00",
    "network": "#d50057",
    "write": "#009e73",
    "rest": "#bbbbbb",
}
_LEFT_OUT = ("sse", "avx", "fma", "amx", "neon", "sve", "bf16")


@dataclass(frozen=True)
class Goal:
    """Something that is to be reached.

    Attributes:
        text: what.
        value: as measured; None where it was not.
        limit: to be reached.
        unit: of both.
        at_least: True where more is better.
    """

    text: str
    value: float | None
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.value is None:
            return "not measured"
        reached = self.value >= self.limit if self.at_least else self.value <= self.limit
        return "reached" if reached else "**missed**"


def seconds_of(rounds: Sequence[Round], row: str) -> float | None:
    """Median seconds of a row; None where it was not measured."""
    return _median(rounds, lambda one: one[row].seconds, row)


def ratio(rounds: Sequence[Round], over: Sequence[str], under: Sequence[str]) -> float | None:
    """Median over the rounds of one sum of rows against another, so that what drifts from round to round falls out."""
    return _median(
        rounds, lambda one: sum(one[row].seconds for row in over) / sum(one[row].seconds for row in under), *over, *under
    )


def _median(rounds: Sequence[Round], value: Callable[[Round], float | None], *rows: str) -> float | None:
    """Median of a value over the rounds that have these rows and the value; None where none has."""
    found = [value(one) for one in rounds if all(row in one for row in rows)]
    known = [one for one in found if one is not None]
    return median(known) if known else None


def goals(rounds: Sequence[Round], size: int) -> list[Goal]:
    """What the engine is held to, in the order of importance.

    Args:
        rounds: as they were measured.
        size: of the tile, pixels; seconds of another than the full size are scaled to it.
    """
    per_tile = _median(rounds, lambda one: one["detect"].seconds * (TILE_SIZE / size) ** 2, "detect")
    scaled = "" if size == TILE_SIZE else f", scaled up from {size}²"

    def against_parts(text: str, row: str) -> Goal:
        return Goal(text, ratio(rounds, [row], _PARTS[row]), 1.3, "×")

    def gigabytes(row: str) -> float | None:
        """The most of any round, as in the table."""
        return max((one[row].peak_bytes / 1e9 for one in rounds if row in one), default=None)

    return [
        Goal(f"Seconds for a pair of {TILE_SIZE}² pixels{scaled}", per_tile, 60, "s"),
        against_parts("Whole run against the sum of its bare parts", "detect"),
        against_parts("The same without registration", "detect-no-register"),
        against_parts("The same from JPEG 2000", "detect-jp2"),
        Goal("Network against the sum of its layers", ratio(rounds, ["network"], ["layers"]), 1.25, "×"),
        Goal("Faster than the naive loop", ratio(rounds, ["naive"], ["detect"]), 10, "×", at_least=True),
        Goal("Faster than ONNX Runtime in the manner of Deepness", ratio(rounds, ["onnx"], ["detect"]), 2, "×", at_least=True),
        Goal("Faster than Orfeo Toolbox's MAD", ratio(rounds, ["otb"], ["detect"]), 1, "×", at_least=True),
        Goal("Peak memory, the tile", gigabytes("detect"), 2.5, "GB"),
        Goal("Peak memory, four tiles", gigabytes("detect-4"), 2.5, "GB"),
        Goal(
            "Start of the engine to the first finished window",
            _median(rounds, lambda one: one["detect"].first_window, "detect"),
            3,
            "s",
        ),
        Goal("A window of 512² all in", seconds_of(rounds, "detect-window"), 4, "s"),
        Goal("Seconds per pixel, the tile against a quarter of it", growth(rounds, size), 1.1, "×"),
    ]


def growth(rounds: Sequence[Round], size: int) -> float | None:
    """Seconds per pixel of the tile against those of a quarter of it: 1 where growth is linear."""
    found = ratio(rounds, ["detect"], ["detect-1/4"])
    return None if found is None else found * (size // 2) ** 2 / size**2


def shares(rounds: Sequence[Round], row: str) -> dict[str, float]:
    """Where the median seconds of a whole run go, and the rest, which is never below 0: its bare parts, or what its clocks say."""
    if row == "inside":
        names = list(rounds[0][row].stages)
        found = {name: _median(rounds, lambda one, name=name: one[row].stages[name], row) or 0.0 for name in names}  # type: ignore[misc]
    else:
        found = {part.removesuffix("-jp2"): seconds_of(rounds, part) or 0.0 for part in _PARTS[row]}
    return {**found, "rest": max(0.0, (seconds_of(rounds, row) or 0.0) - sum(found.values()))}


def machine() -> dict[str, str]:
    """What it was measured on, and with which versions."""
    memory, cores = psutil.virtual_memory().total / 2**30, psutil.cpu_count(logical=False)
    able = torch.cpu.get_capabilities()
    instructions = [name for name, there in able.items() if there is True and name.startswith(_LEFT_OUT)]
    return {
        "Processor": f"{able.get('cpu_name') or platform.processor() or platform.machine()}, {cores} cores, {os.cpu_count()} threads",
        "Instruction sets": f"{torch.backends.cpu.get_cpu_capability()}; {', '.join(sorted(instructions))}",
        "Memory": f"{memory:.0f} GiB",
        "System": f"{platform.system()} {platform.machine()}",
        "Versions": ", ".join(_versions()),
        "Date": date.today().isoformat(),
    }


def _versions() -> list[str]:
    found = [f"Python {platform.python_version()}", f"GDAL {rasterio.__gdal_version__}"]
    for package in ("torch", "rasterio", "numpy", "openvino", "onnxruntime"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def page(rounds: Sequence[Round], size: int, missing: Mapping[str, str], about: Mapping[str, str]) -> str:
    """The whole page, Markdown.

    Args:
        rounds: as they were measured.
        size: of the tile, pixels.
        missing: peers that could not be run, with what to install.
        about: as `machine` gives it.
    """
    seconds, naive = seconds_of(rounds, "detect"), ratio(rounds, ["naive"], ["detect"])
    faster = f"; a naive loop takes {naive:.1f} times as long" if naive else ""
    parts = [
        "# How fast a whole tile is",
        "Written by `make bench`; edit nothing here.",
        f"A pair of {size}² pixels, ten bands, takes **{seconds or 0:.1f} s** with `{MODEL}`{faster}.",
        f"![Growth with the pixels, and where the time goes]({PICTURE})",
        "## Goals",
        table(["Goal", "measured", "limit", ""], [_goal_cells(goal) for goal in goals(rounds, size)]),
        "## Rows",
        f"Rounds: {len(rounds)}. In each, all rows are measured in turn. Seconds are medians over the rounds, ratios too, each round's own.",
        table(["Row", "s", "least–most", "against `detect`", "peak GB", "note"], _rows(rounds, missing)),
        "## Stages of the whole run",
        table(["Stage", "s"], _stages(rounds)),
        *_inside(rounds),
        "## Layers of the network",
        "Each alone, with its work in the best patch of the network, at the rate of the precision, layout and patch that are fastest for it. Batch norm and ReLU count as nothing, as if they "
        "were folded into the convolutions.",
        table(["Layer", "input", "times", "how", "ms", "GFLOP/s"], _layers(rounds)),
        "## Machine",
        "\n".join(f"- {name}: {text}" for name, text in about.items()),
        "## How it was measured",
        _METHOD,
    ]
    return "\n\n".join(parts) + "\n"


_METHOD = f"""\
- The pair is simulated (`training/simulate.py`): a mosaic of a few places, the dates displaced by part of a pixel, one GeoTIFF a date,
  uint16, DEFLATE, blocks of 512² with all bands together. The files were in the system's cache.
- Each row is a fresh process. `detect` is timed from before its start to after its end, with the polygons and the record written too.
- Bare parts use all cores, and are timed without the start of Python. They owe nothing to the engine but the network: blocks are read by
  as many threads as there are cores, resampling is a separable cubic kernel from memory to memory, writing is without overviews.
- Peers that are our own loops are timed without imports and export, and get reflectance and one normalisation only; their result stays in
  memory to the end. Where the note says so, a peer ran on less and was scaled up. Orfeo Toolbox writes what its filter gives: ten layers in
  floating point, uncompressed.
- The model is `{MODEL}`, which looks at ten bands, of products too, but for the row that says otherwise.
- Peak memory is resident memory of the process and its children, sampled twenty times a second."""


def _goal_cells(goal: Goal) -> list[str]:
    sign, value = ("≥" if goal.at_least else "≤"), ("–" if goal.value is None else f"{goal.value:.2f} {goal.unit}")
    return [goal.text, value, f"{sign} {goal.limit:g} {goal.unit}", goal.verdict]


def _rows(rounds: Sequence[Round], missing: Mapping[str, str]) -> list[list[str]]:
    found = []
    for name, text in ROWS.items():
        samples = [one[name] for one in rounds if name in one]
        if not samples:
            why = f"missing: `{missing[name]}`" if name in missing else "not measured"
            found.append([text, "–", "–", "–", "–", why])
            continue
        seconds = [sample.seconds for sample in samples]
        against, peak = ratio(rounds, [name], ["detect"]), max(sample.peak_bytes for sample in samples) / 1e9
        span = f"{_short(min(seconds))}–{_short(max(seconds))}"
        found.append([text, _short(median(seconds)), span, f"{against or 0:.2f}", f"{peak:.2f}", samples[0].note])
    return found


def _short(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 10 else f"{seconds:.2f}"


def _stages(rounds: Sequence[Round]) -> list[list[str]]:
    names = list(dict.fromkeys(stage for one in rounds for stage in one["detect"].stages))
    return [[name, f"{_median(rounds, lambda one, name=name: one['detect'].stages.get(name)) or 0:.2f}"] for name in names]  # type: ignore[misc]


def _inside(rounds: Sequence[Round]) -> list[str]:
    """A section on what the threads of a run spend their time on, where that was measured."""
    if "inside" not in rounds[0]:
        return []
    return [
        "## What the threads of a run do",
        "Each second is given to what was called last, those of the windows' threads divided by their number. *read*: decoding blocks; *resample*: "
        "interpolating; both of registration's samples too; *prepare*: masks, reflectance, haze, what is usual between the dates, laying out; "
        "*network*, with its margin; *write*: finishing the rasters beside the polygons, once all windows are done. The rest is loading, registration "
        "itself, and waiting.",
        table(["Work", "s"], [[name, f"{seconds:.1f}"] for name, seconds in shares(rounds, "inside").items()]),
    ]


def _layers(rounds: Sequence[Round]) -> list[list[str]]:
    return [
        [
            str(layer["name"]),
            str(layer["input"]),
            str(layer["times"]),
            str(layer["way"]),
            f"{1000 * layer['seconds']:.2f}",
            f"{layer['gflop'] / layer['seconds']:,.0f}" if layer["gflop"] else "–",
        ]
        for layer in rounds[0]["layers"].layers
    ]


def draw(rounds: Sequence[Round], size: int, target: Path) -> None:
    """The picture: growth with the pixels beside where the time goes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), dpi=110, layout="constrained", width_ratios=(1, 1.35))
    _draw_growth(left, rounds, size)
    _draw_shares(right, rounds)
    figure.savefig(target)
    plt.close(figure)


def _draw_growth(axes: Axes, rounds: Sequence[Round], size: int) -> None:
    points = {name: seconds_of(rounds, "detect" if name == "1" else f"detect-{name}") for name in _GROWTH}
    pixels = np.array([_GROWTH[name] * size**2 for name in points]) / 1e6
    seconds = np.array([value or np.nan for value in points.values()])
    axes.loglog(pixels, seconds[-1] * pixels / pixels[-1], "--", color="#999999", label="linear in pixels")
    axes.loglog(pixels, seconds, "o-", color=_COLOURS["network"], label="detect")
    for x, y, name in zip(pixels, seconds, points, strict=True):
        axes.annotate(f"{name} tile\n{y:.1f} s", (x, y), (6, 8), textcoords="offset points", ha="right")
    axes.margins(0.25, 0.25)
    axes.set(title="Growth", xlabel="million pixels", ylabel="seconds")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.legend(loc="lower right", frameon=False)
    axes.grid(alpha=0.3)


def _draw_shares(axes: Axes, rounds: Sequence[Round]) -> None:
    runs = {row: shares(rounds, row) for row in _BARS if seconds_of(rounds, row) is not None}
    for place, (row, found) in enumerate(runs.items()):
        left = 0.0
        for part, seconds in found.items():
            drawn = part in {label for each in list(runs.values())[:place] for label in each}
            axes.barh(place, seconds, left=left, color=_COLOURS[part], label=None if drawn else part, height=0.6)
            if seconds > 0.07 * max(sum(each.values()) for each in runs.values()):
                axes.text(
                    left + seconds / 2,
                    place,
                    f"{seconds:.1f}",
                    ha="center",
                    va="center",
                    color="black" if part == "rest" else "white",
                )
            left += seconds
        axes.text(left, place, f"  {seconds_of(rounds, row) or 0:.1f} s", va="center")
    axes.set_yticks(range(len(runs)), [_BARS[row] for row in runs])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(title="Where the time goes", xlabel="seconds")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=len(_COLOURS), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def write_report(rounds: Sequence[Round], size: int, missing: Mapping[str, str], folder: Path) -> Path:
    """Write page and picture to a folder; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(rounds, size, folder / PICTURE)
    target = folder / PAGE
    target.write_text(page(rounds, size, missing, machine()), encoding="utf-8")
    return target
