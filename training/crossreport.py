"""What a cross-validation found, beside other methods on the same cities, as a page that a person reads and as JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from s2change_plugin.engine.errors import S2ChangeError
from s2change_plugin.engine.labelled import NEIGHBOURS_KM, UNLABELLED, origins
from s2change_plugin.engine.report import rendered
from s2change_plugin.engine.scores import AGREEMENT_COLOURS, GOALS, NOT_COUNTED, Agreement

from .calibrate import (
    CALIBRATIONS,
    CARRIED,
    STEP,
    WANTED,
    Counts,
    beta_curve,
    counted,
    curve,
    over_seeds,
    pooled,
    scores_at,
)
from .classical import LIMIT, METHODS, Found, classical_counts
from .crosspictures import Line, city_picture, curves_picture, ramp, reliability_picture
from .crossvalidate import (
    VARIANTS,
    Fold,
    begun_with,
    is_predicted,
    labels_of,
    mapped,
    observed_labels,
    read_predictions,
    saved_options,
    saved_scores,
    summaries,
    taught_by,
)
from .failures import KINDS
from .files import write_json, write_whole
from .options import FitOptions
from .prepare import Labels, fingerprints, read_city, require_as_before

PAGE, VALUES = "report.html", "report.json"
_TEMPLATE = Path(__file__).parent / "templates" / "crossvalidation.html"
_TRUE_COLOUR = ("B04", "B03", "B02")
_ARCHITECTURES = {"two-date-unets": "S2Change", "fc-ef": "FC-EF", "fc-siam-diff": "FC-Siam-diff"}
# Another run may lack a band that makes a pixel on the rim unseen; more than this share is other data.
_OTHER_PIXELS = 0.001


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: as a reader sees it.
        kind: "own", "rival" (another run) or "plain" (needs no labels).
        note: what it is and where its threshold comes from.
        flops_per_pixel: of a prediction; None where there is no network.
        scores: by variant, as `summary` gives them, or so much of it as there is without seeds.
        counts: of all cities and seeds, as Level-1C.
    """

    name: str
    kind: str
    note: str
    flops_per_pixel: int | None
    scores: dict[str, dict[str, Any]]
    counts: Counts

    def row(self) -> dict[str, Any]:
        """Its scores, for programs."""
        kept = ("mean", "deviation", "mean_of_cities", "cities")
        scores = {variant: {name: one[name] for name in kept} for variant, one in self.scores.items()}
        return {
            "name": self.name,
            "note": self.note,
            "flops_per_pixel": self.flops_per_pixel,
            "seeds": self.seeds,
            **scores,
            "curve": np.round(curve(self.counts), 4).tolist(),
        }

    @property
    def seeds(self) -> int | None:
        """How many; None where nothing is random."""
        return len(self.scores["l1c"]["seeds"]) if self.kind != "plain" else None


def read_rival(folder: Path, data: Path, split: Sequence[Fold], options: FitOptions) -> Method:
    """Another finished cross-validation of the same cities in the same folds, scored anew from its predictions.

    Args:
        folder: its output.
        data: the labelled cities.
        split: the folds that it must have.
        options: of this run; the note says what differs.

    Raises:
        S2ChangeError: it is not finished, has other folds or pixels, or is of other data.
    """
    there, settings = saved_scores(folder), saved_options(folder)
    if sorted(map(sorted, there["folds"])) != sorted(map(sorted, split)):
        theirs, ours = (" | ".join(sorted(", ".join(sorted(fold)) for fold in folds)) for folds in (there["folds"], split))
        raise S2ChangeError(
            f"{folder} has other folds or cities ({theirs}) than this run ({ours}), so their scores cannot stand in one table. "
            "Run it with the same data and --folds."
        )
    require_as_before(settings["cities"], fingerprints(data), folder)
    truth = labels_of(data)
    numbers = sorted(int(path.name.removeprefix("seed-")) for path in folder.glob("seed-*"))
    seeds = [seed for seed in numbers if is_predicted(folder, seed, truth)]
    if not seeds:
        raise S2ChangeError(f"{folder} has no seed of which all {len(truth)} cities are predicted. Finish that run first.")
    _require_grids(folder, seeds, truth)
    scores, counts = _read_scores(folder, seeds, truth, split)
    own = json.loads(json.dumps(asdict(options)))
    different = [name for name in own if settings[name] != own[name] and name != "seed"]
    other = [f"{name} {_in_words(settings[name])}" for name in different]
    note = f"Otherwise than this run: {', '.join(other) or 'nothing'}. {_lesson(settings)}Threshold of the other folds."
    name = f"{_ARCHITECTURES.get(settings['architecture'], settings['architecture'])} ({folder.name})"
    rival = Method(name, "rival", note, there["flops_per_pixel"], scores, counts)
    _require_pixels(rival, observed_labels(data, options.bands))
    return rival


def _lesson(saved: dict[str, Any]) -> str:
    """Sentences on what learned from others, and on what it began with, where something did."""
    return "".join(f"{one[:1].upper()}{one[1:]}. " for one in (taught_by(saved), begun_with(saved)) if one)


def _in_words(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def write_report(
    data: Path,
    output: Path,
    options: FitOptions,
    found: dict[str, Any],
    rivals: Sequence[Method],
    workers: int,
    say: Callable[[str], None],
) -> None:
    """Write output/report.html, with all its pictures inside, and output/report.json.

    Args:
        data: the labelled cities.
        output: of the cross-validation.
        options: that it ran with.
        found: as `crossvalidate` gives it.
        rivals: as `read_rival` gives them.
        workers: cities that the methods without labels are fitted to at a time.
        say: tells a sentence.
    """
    saved = saved_options(output)
    say("Comparing with the methods that need no labels.")
    truth = labels_of(data)
    seeds = found["seeds"]
    with mapped(workers) as walk:
        plain = classical_counts(data, options.bands, walk)
    counts = pooled(one for seed in seeds for one in _counts(output, seed, truth).values())
    own = Method(
        f"This run: {_ARCHITECTURES.get(options.architecture, options.architecture)}",
        "own",
        f"{_lesson(saved)}Threshold of the other folds.",
        found["flops_per_pixel"],
        {variant: found[variant] for variant in VARIANTS},
        counts,
    )
    methods = [own, *rivals, *_plain_methods(plain)]
    values = {
        "settings": {**asdict(options), "teachers": taught_by(saved) or "none", "init": begun_with(saved) or "none"},
        "sources": list(dict.fromkeys(one.source for one in origins(data, truth).values())),
        "level": found["level"],
        "imitated": found["imitated"],
        "folds": found["folds"],
        "seeds": seeds,
        "neighbours_km": NEIGHBOURS_KM,
        "wanted": WANTED,
        "goals": {
            goal: {
                "thresholds": [one["goals"][goal]["thresholds"] for one in found["l1c"]["seeds"]],
                **found["l1c"]["goals"][goal],
            }
            for goal in GOALS
        },
        "card": found["card"],
        "calibration": found["l1c"]["calibration"],
        "ensemble": found["l1c"]["ensemble"]["pooled"],
        "failures": found["failures"],
        "by_seed": [one["pooled"] for one in found["l1c"]["seeds"]],
        "hindsight": [one["best_f1_in_hindsight"] for one in found["l1c"]["seeds"]],
        "methods": [one.row() for one in methods],
    }
    write_json(output / VALUES, values)
    say("Drawing the report.")
    names: dict[int, str] = {**{code: code.name.lower() for code in Agreement}, NOT_COUNTED: "not_counted"}
    page = rendered(
        _TEMPLATE,
        **values,
        rows=methods,
        kinds=KINDS,
        carried=CARRIED,
        rivals=len(rivals),
        other_pixels=_OTHER_PIXELS,
        pixels=found["l1c"]["seeds"][0]["pooled"]["pixels"],
        colours={name: "#{:02x}{:02x}{:02x}".format(*AGREEMENT_COLOURS[code]) for code, name in names.items()},
        ramp=ramp(),
        shown=_shown(options.bands),
        true_colour=_TRUE_COLOUR,
        curves_picture=_base64(_curves_picture(methods, found["l1c"])),
        reliability_picture=_base64(
            reliability_picture(
                {kind: [one["calibration"][kind]["bins"] for one in found["l1c"]["seeds"]] for kind in CALIBRATIONS}
            )
        ),
        pictures=_city_pictures(data, output, options, found),
    )
    write_whole(output / PAGE, page.encode())


def _city_pictures(data: Path, output: Path, options: FitOptions, found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each city the picture of the first seed with its scores, and its fold's threshold as it is after its fold's calibration.

    That rises with the probability, so the threshold that it makes of a fold's calls the same pixels change.
    """
    shown = _shown(options.bands)
    first = found["l1c"]["seeds"][0]
    pictures = {}
    for fold, threshold, one in zip(found["folds"], first["goals"]["f1"]["thresholds"], first["betas"], strict=True):
        levels, calibrated = read_predictions(output, options.seed, fold), beta_curve(one)
        at = float(calibrated[round(threshold / STEP)])
        for name in fold:
            city = read_city(data / name, tuple(dict.fromkeys(shown)))
            colours = [city.bands.index(band) for band in shown]
            city = replace(city, before=city.before[colours], after=city.after[colours])
            picture = city_picture(city, levels[name], calibrated, threshold)
            pictures[name] = {"picture": _base64(picture), "threshold": at, "scores": first["cities"][name]}
    return dict(sorted(pictures.items()))


def _shown(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Which are shown as red, green and blue: true colour where there is that, else the first, over again where they are fewer than three."""
    return _TRUE_COLOUR if set(_TRUE_COLOUR) <= set(bands) else (3 * bands)[:3]


def _curves_picture(methods: Sequence[Method], scores: dict[str, Any]) -> bytes:
    """The precision–recall curves of all methods but the empty map, which has none."""
    lines = [
        Line(one.name, curve(one.counts), one.kind, (one.scores["l1c"]["mean"]["recall"], one.scores["l1c"]["mean"]["precision"]))
        for one in methods
        if one.name != METHODS["empty"]
    ]
    goals = {
        f"this run's threshold for {goal} {WANTED}": (one["mean"]["recall"], one["mean"]["precision"])
        for goal, one in scores["goals"].items()
        if goal != "f1" and one["mean"]["recall"]
    }
    return curves_picture(lines, goals, scores["mean"]["prevalence"])


def _plain_methods(found: Found) -> list[Method]:
    """Rows of the methods without labels."""
    methods = []
    for method, variants in found.items():
        scores = {}
        for variant, counts in variants.items():
            at = scores_at(counts, dict.fromkeys(counts, LIMIT))
            scores[variant] = {
                **over_seeds([at["pooled"]]),
                "mean_of_cities": over_seeds([at["mean_of_cities"]]),
                "cities": {name: over_seeds([one]) for name, one in at["cities"].items()},
            }
        note = "Nothing is called change." if method == "empty" else "No label used; its limit comes from the pair itself."
        methods.append(Method(METHODS[method], "plain", note, None, scores, pooled(variants["l1c"].values())))
    return methods


def _read_scores(
    folder: Path, seeds: Sequence[int], truth: dict[str, Labels], split: Sequence[Fold]
) -> tuple[dict[str, dict[str, Any]], Counts]:
    """Scores of a run by variant, and the counts of all its cities and seeds."""
    return summaries(folder, seeds, truth, split), pooled(one for seed in seeds for one in _counts(folder, seed, truth).values())


def _counts(folder: Path, seed: int, truth: dict[str, Labels]) -> dict[str, Counts]:
    levels = read_predictions(folder, seed, truth)
    return {name: counted(levels[name], truth[name]) for name in truth}


def _require_grids(folder: Path, seeds: Sequence[int], truth: dict[str, Labels]) -> None:
    for seed in seeds:
        for name, levels in read_predictions(folder, seed, truth).items():
            if levels.shape != truth[name].shape:
                raise S2ChangeError(
                    f"{folder} predicts {name} on {levels.shape} pixels, but its label has {truth[name].shape}. "
                    "That run used other data; run it again on these."
                )


def _require_pixels(rival: Method, labels: Mapping[str, Labels]) -> None:
    for name, change in labels.items():
        theirs, ours = rival.scores["l1c"]["seeds"][0]["cities"][name]["pixels"], int((change != UNLABELLED).sum())
        if abs(theirs - ours) > _OTHER_PIXELS * ours:
            raise S2ChangeError(
                f"{rival.name} counts {theirs} pixels of {name}, this run {ours}, so their scores "
                "cannot stand in one table. Run it again on the same data."
            )


def _base64(picture: bytes) -> str:
    return b64encode(picture).decode("ascii")
