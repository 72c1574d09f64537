"""A finding about a pair of scenes: a sentence with its severity and what to do; and what is made of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import DatesReversed, ModelError, NothingObserved, S2ChangeError, UnitsUnclear

if TYPE_CHECKING:
    from .events import Events
    from .pair import Pair

OK, WARNING, STOP = "ok", "warning", "stop"
SEVERITIES = (OK, WARNING, STOP)


@dataclass(frozen=True)
class Finding:
    """One thing about a pair.

    Attributes:
        topic: "level", "model", "baseline", "units", "platform", "dates", "copy", "season", "sun", "overlap", "usable", "gaps", "clouds", "mask",
            "shift", "brightness", "normalisation", "resolution", "run", or "input".
        severity: "ok", "warning" or "stop".
        text: one sentence.
        advice: what to do, or "".
        values: the numbers behind it.
    """

    topic: str
    severity: str
    text: str
    advice: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """Text and advice."""
        return f"{self.text} {self.advice}".strip()


# A finding that stops a run stops it as this error.
_ERRORS: dict[str, type[S2ChangeError]] = {
    "units": UnitsUnclear,
    "model": ModelError,
    "level": ModelError,
    "dates": DatesReversed,
    "usable": NothingObserved,
    "gaps": NothingObserved,
}


def say_findings(findings: Sequence[Finding], pair: Pair, events: Events) -> None:
    """Say by which units a pair is read, what is worth a warning, and what is taken out of `after`."""
    events.message(f"Before: {pair.before.units}.")
    events.message(f"After: {pair.after.units}.")
    for finding in findings:
        if finding.severity == WARNING:
            events.message(finding.sentence, "warning")
        elif finding.topic in ("shift", "normalisation"):
            events.message(finding.text)
        elif finding.topic == "model" and finding.advice:
            events.message(finding.advice)


def require_fit(findings: Sequence[Finding]) -> None:
    """Stop where a finding says stop.

    Raises:
        S2ChangeError: of the kind that fits the finding; its text says what is wrong and what to do.
    """
    for finding in findings:
        if finding.severity == STOP:
            raise _ERRORS.get(finding.topic, S2ChangeError)(finding.sentence)


def worst(findings: Sequence[Finding]) -> str:
    """The gravest severity of all."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index, default=OK)
