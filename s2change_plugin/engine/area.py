"""The area of change with its confidence interval, and the map's accuracy, from a random sample that a person has looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import outputs
from .errors import UnreadableInput
from .events import Events
from .outputs import CHANGE, NOT_OBSERVED, require_apart, require_ending
from .report import write_area_report
from .sample import CHANGED, OF_STRATUM, STRATA, read_sample

# Draws from what is known of the changed shares after the answers; their central 95 % are the interval.
_DRAWS, _INTERVAL = 100_000, (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class AreaOptions:
    """An estimate, as asked for.

    Attributes:
        sample: layer that `sample.draw_sample` wrote, its field `reference` filled; see `vectors.read_table`.
        report: HTML page to write.
    """

    sample: str
    report: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            OutputError: the report in place of the sample, or with another format's ending.
        """
        require_apart([self.sample], self.targets)
        require_ending("report", self.report)

    @property
    def targets(self) -> list[Path]:
        """The files that are asked for."""
        return [self.report] if self.report else []


@dataclass(frozen=True)
class Stratum:
    """What was found in a stratum of the sample.

    Attributes:
        name: one of `sample.STRATA`.
        pixels, hectares: of all of it.
        drawn: pixels of the sample.
        changed, calm, unclear: of these, those of which it was said that they have changed, that they have not, that it cannot be told.
    """

    name: str
    pixels: int
    hectares: float
    drawn: int
    changed: int
    calm: int
    unclear: int

    @property
    def told(self) -> int:
        """Of how many it is known what is true."""
        return self.changed + self.calm

    @property
    def left(self) -> int:
        """Of how many nothing was said."""
        return self.drawn - self.told - self.unclear

    @property
    def share(self) -> float:
        """How many of those have changed, 0–1."""
        return self.changed / self.told


@dataclass(frozen=True)
class Estimate:
    """A number and the ends of its 95 % confidence interval; None where it is not defined, as the precision of a map without change."""

    value: float | None
    low: float | None
    high: float | None


def estimate_area(options: AreaOptions, events: Events) -> None:
    """Estimate how much has changed and how far the map is right, and say it through events.

    Raises:
        S2ChangeError: one of its kinds; then nothing is left behind.
    """
    outputs.require_folders(options.targets)
    outputs.require_not_read([options.sample], options.targets)
    table = read_sample(options.sample)
    values = _values(options, read_strata(table, options.sample), str(table["map"].iloc[0]), _passed_over(table))
    for text in values["warnings"]:
        events.message(text, "warning")
    if options.report:
        with outputs.workdir_beside(options.report) as workdir, outputs.writing(options.report):
            events.started(str(workdir.resolve()))
            finished = outputs.in_workdir(workdir, "report", options.report)
            write_area_report(finished, values)
            outputs.publish({finished: options.report})
    events.result(values, _summary(values))


def read_strata(table: Any, source: str) -> list[Stratum]:
    """What was found in each stratum of a sample.

    Args:
        table: the sample, as `sample.read_sample` gives it.
        source: its name, for messages.

    Raises:
        UnreadableInput: it is not all as it was drawn, or a stratum has no answer; the text says which.
    """
    found = {}
    for name, part in table.groupby("stratum", dropna=False):
        sizes = set(zip(*(part[column] for column in OF_STRATUM[1:]), strict=True))
        if name not in STRATA or len(sizes) > 1:
            wrong = f"of two samples in “{name}”" if name in STRATA else f"of a stratum that is not known, {name!r}"
            raise UnreadableInput(f"The layer {source} holds pixels {wrong}. Choose a sample as it was drawn of one change map.")
        ((pixels, hectares, drawn),) = sizes
        counts = [int((part["reference"] == code).sum()) for code in (CHANGE, 0, NOT_OBSERVED)]
        found[name] = one = Stratum(str(name), int(pixels), float(hectares), int(drawn), *counts)
        if len(part) > drawn or drawn > pixels:
            raise UnreadableInput(
                f"The layer {source} holds more pixels in “{name}” than were drawn. Choose a sample as it was drawn."
            )
        if not one.told and one.unclear:
            raise UnreadableInput(
                f"In “{name}” all {one.unclear} pixels with an answer cannot be told, so nothing can be said of that part of the map. "
                "Look at better images, or at more of its pixels."
            )
        if not one.told:
            raise UnreadableInput(
                f"Of the {one.drawn} pixels in “{name}” none has an answer. Say in the field “reference” what is true of them: 1 change, 0 no change."
            )
    strata = [found[name] for name in STRATA if name in found]
    # No pixel of Sentinel-2 is so small.
    if abs(sum(one.hectares for one in strata) - table["map_ha"].iloc[0]) > 1e-3:
        raise UnreadableInput(
            f"The layer {source} lacks all pixels of a part of the map (only {', '.join(found)} is there), so of the whole nothing can be said. "
            "Choose the sample as it was drawn, all of it."
        )
    return strata


def shares_of(strata: Sequence[Stratum]) -> NDArray[np.float64]:
    """The share of each stratum that has changed, (draw, stratum), 0–1: first as it is estimated, then as it may be.

    What was looked at is as it was found. The others of a stratum change each with a probability that is drawn from what is known of it after so many
    answers, with Jeffreys's prior. Intervals by that prior hold where changed pixels are few or none, for which those by the normal distribution are too narrow.

    Source: Brown, Cai and DasGupta 2001, "Interval estimation for a binomial proportion"; what both cover here is in training/EXPERIMENTS.md, 41.
    """
    # The same sample has the same interval.
    random = np.random.default_rng(0)
    found = np.empty((_DRAWS + 1, len(strata)))
    for column, one in enumerate(strata):
        likely = random.beta(one.changed + 0.5, one.calm + 0.5, _DRAWS)
        found[0, column] = one.share
        found[1:, column] = (one.changed + random.binomial(one.pixels - one.told, likely)) / one.pixels
    return found


def estimated(values: NDArray[np.float64]) -> Estimate:
    """A number with its interval.

    Args:
        values: (draw,), made of `shares_of`; NaN where it is not defined.
    """
    value = float(values[0])
    if not np.isfinite(values).all():
        return Estimate(None, None, None)
    low, high = np.quantile(values[1:], _INTERVAL)
    # Where none of a stratum has changed, all that may be lies on one side.
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _values(options: AreaOptions, strata: Sequence[Stratum], of: str, passed_over: int) -> dict[str, Any]:
    """Everything that came out, as it goes into the result event and the report."""
    hectares, mapped = np.array([one.hectares for one in strata]), np.array([one.name == CHANGED for one in strata])
    every = hectares.sum()
    changed = shares_of(strata) * hectares  # (draw, stratum)
    area, hits = changed.sum(1), changed[:, mapped].sum(1)
    shown = hectares[mapped].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = {
            "precision": hits / shown,
            "recall": hits / area,
            "f1": 2 * hits / (shown + area),
            "accuracy": (hits + (hectares - changed)[:, ~mapped].sum(1)) / every,
        }
    return {
        "sample": options.sample,
        "map": of,
        "report": str(options.report.resolve()) if options.report else None,
        "area_ha": _rounded(estimated(area), 4),
        "mapped_ha": round(float(shown), 4),
        "observed_ha": round(float(every), 4),
        "scores": {name: _rounded(estimated(values), 6) for name, values in scores.items()},
        "strata": [
            {**vars(one), "left": one.left, "share": round(one.share, 6), "changed_ha": round(one.share * one.hectares, 4)}
            for one in strata
        ],
        "drawn": sum(one.drawn for one in strata),
        "told": sum(one.told for one in strata),
        "warnings": _warnings(strata, passed_over),
    }


def _rounded(one: Estimate, digits: int) -> dict[str, float | None]:
    return {name: None if value is None else round(value, digits) for name, value in vars(one).items()}


def _passed_over(table: Any) -> int:
    """How many pixels of a sample without an answer come before one that has one, those included that are no longer there."""
    answered = table["number"][table["reference"].notna()]
    return int(answered.max()) - len(answered)


def _warnings(strata: Sequence[Stratum], passed_over: int) -> list[str]:
    """What the interval takes for granted."""
    unclear, left = sum(one.unclear for one in strata), sum(one.left for one in strata)
    found = []
    if left:
        found.append(
            f"{left} pixels of the sample have no answer, {passed_over} of which come before others that have one. The estimate is right only if they were "
            "not passed over for what they show."
            if passed_over
            else f"{left} pixels of the sample have no answer. The others count as if they were all that was drawn."
        )
    if unclear:
        found.append(
            f"{unclear} pixels could not be told. They are left out, as if they were like the others of their part of the map."
        )
    return found


def _summary(values: dict[str, Any]) -> str:
    """The result in three sentences."""
    area = values["area_ha"]
    scores = ", ".join(
        f"{name} {one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        if one["value"] is not None
        else f"{name} not defined"
        for name, one in ((name, values["scores"][name]) for name in ("precision", "recall", "f1"))
    )
    return (
        f"Changed: {area['value']:,.2f} ha, with 95 % confidence {area['low']:,.2f} to {area['high']:,.2f} ha, by {values['told']:,} pixels with an "
        f"answer. The map shows {values['mapped_ha']:,.2f} ha. Of the map, also with 95 % confidence: {scores}."
    )
