"""The check of a pair before it is compared: every finding said, and written as a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .card import AUTO, ModelCard, find_card
from .choice import chosen_model
from .detect import fitted
from .errors import ModelError, S2ChangeError
from .estimate import estimate_run, require_room, room
from .events import Events, stage
from .findings import OK, SEVERITIES, STOP, Finding, worst
from .options import CompareOptions
from .outputs import (
    in_workdir,
    publish,
    require_apart,
    require_ending,
    require_folders,
    require_not_read,
    workdir_beside,
    writing,
)
from .pair import Pair, common_bands, open_pair
from .pair_findings import check_pair
from .pictures import pair_picture
from .report import scene_values, write_check_report
from .scene import Scene
from .scene_findings import scene_findings


@dataclass(frozen=True, kw_only=True)
class CheckOptions(CompareOptions):
    """A check, as asked for.

    Attributes:
        report: HTML file to write; None writes none.
    """

    report: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: what `CompareOptions` refuses.
            OutputError: the report in place of an input, or with another format's ending.
        """
        super().__post_init__()
        require_apart(self.inputs, [self.report] if self.report else [])
        require_ending("report", self.report)


def check(options: CheckOptions, events: Events) -> None:
    """Look at a pair before it is compared, and say through events, and in a report, what was found.

    What would stop a comparison is a finding like any other here, not an error.

    Raises:
        OutputError: the report cannot be written, or would replace a file behind an input.
    """
    if options.report:
        require_folders([options.report])
    findings: list[Finding] = []
    scenes: list[Scene | None] = []
    picture = None
    for side in ("before", "after"):
        try:
            scenes.append(options.open_scene(side))
        except S2ChangeError as error:
            scenes.append(None)
            findings.append(Finding("input", STOP, str(error), values={"side": side, "kind": error.kind}))
    if options.report:
        require_not_read([*scenes, *options.beside], [options.report])
    before, after = scenes
    name = options.model if options.method == "unet" and options.model != AUTO else None
    card = None
    try:
        if before and after and options.method == "unet":
            name = chosen_model(options.model, before, after)
        card = find_card(name) if name else None
    except ModelError as error:
        findings.append(Finding("model", STOP, str(error)))
    if before and after:
        try:
            bands = _bands(before, after, card) if options.method == "unet" else common_bands(before, after)
            with stage(events, "register"), open_pair(before, after, bands, options.pair_options()) as pair:
                about = check_pair(pair, card, options.accept_level, options.trust_units)
                if worst(about) != STOP and (card or options.method != "unet"):
                    about = (*about, _run_finding(options, name, pair))
                picture = pair_picture(pair) if options.report else None
            findings += about
        except S2ChangeError as error:
            findings += scene_findings(before, after, card, options.accept_level)
            findings.append(Finding("input", STOP, str(error), values={"kind": error.kind}))
    if options.report:
        with workdir_beside(options.report) as workdir, writing(options.report):
            finished = in_workdir(workdir, "report", options.report)
            write_check_report(finished, options, findings, scenes, picture, card)
            publish({finished: options.report})
    values = {
        "severity": worst(findings),
        "findings": [asdict(finding) for finding in findings],
        "scenes": {side: scene and scene_values(scene) for side, scene in zip(("before", "after"), scenes, strict=True)},
        "report": str(options.report.resolve()) if options.report else None,
        "numbers": numbers_of(findings),
    }
    events.result(values, "\n".join(_line(finding) for finding in findings))


def numbers_of(findings: Sequence[Finding]) -> dict[str, float | None]:
    """The findings' numbers by fixed names; None where one is not known."""
    values = {finding.topic: finding.values for finding in findings}
    brightness = [value for value in values.get("brightness", {}).values() if isinstance(value, float)]
    return {
        "severity": SEVERITIES.index(worst(findings)),
        "shift_rows": values.get("shift", {}).get("rows") if values.get("shift", {}).get("measured") else None,
        "shift_cols": values.get("shift", {}).get("cols") if values.get("shift", {}).get("measured") else None,
        "shift_residual": values.get("shift", {}).get("residual"),
        "usable_share": values.get("usable", {}).get("usable_share"),
        "overlap_before": values.get("overlap", {}).get("overlap_before"),
        "overlap_after": values.get("overlap", {}).get("overlap_after"),
        "days": values.get("dates", {}).get("days"),
        "day_of_year_gap": values.get("season", {}).get("day_of_year_gap"),
        "sun_difference": values.get("sun", {}).get("sun_difference"),
        "brightness": max(brightness, key=abs) if brightness else None,
        "run_seconds": values.get("run", {}).get("seconds"),
        "run_memory_gb": values.get("run", {}).get("memory_gb"),
        "run_disk_gb": values.get("run", {}).get("disk_gb"),
    }


def _run_finding(options: CheckOptions, name: str | None, pair: Pair) -> Finding:
    """What a run on all of the pair, or of its area of interest, takes here; stop where it would not fit, or not begin."""
    values: dict[str, Any] = {}
    try:
        model = None
        if name:
            # PyTorch is slow to load, and whatever stops a run before needs none of it.
            from .model import load_model

            model = load_model(name)
        area = pair.area.window if pair.area else pair.grid.window
        expected = estimate_run(pair, fitted(options.method, model, pair), area, ("mask", "probability"))
        sizes = {"memory_gb": expected.memory_bytes, "disk_gb": expected.disk_bytes}
        values = {"seconds": round(expected.seconds, 1), **{name: round(size / 1e9, 3) for name, size in sizes.items()}}
        require_room(expected, room())
    except S2ChangeError as error:
        return Finding("run", STOP, str(error), values={**values, "kind": error.kind})
    return Finding("run", OK, expected.text, values=values)


def _line(finding: Finding) -> str:
    return f"{finding.severity:8}{finding.topic:11}{finding.sentence}"


def _bands(before: Scene, after: Scene, card: ModelCard | None) -> Sequence[str]:
    """The model's bands. One that a scene lacks is a finding; the rest is looked at without it."""
    shared = [name for name in before.bands if name in after.bands]
    # Where they share none, what is said of that.
    return [name for name in (card.bands if card else shared) if name in shared] or shared or common_bands(before, after)
