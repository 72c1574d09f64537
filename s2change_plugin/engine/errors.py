"""What can go wrong, one class per thing that a caller would handle differently."""

from __future__ import annotations


def option_of(side: str, name: str) -> str:
    """How an option of one date is typed: "--before-units"; of a scene by itself (side "") "--units"."""
    return f"--{side}-{name}" if side else f"--{name}"


class S2ChangeError(Exception):
    """Something that the user can put right; its text is one clear sentence that says how."""

    @property
    def kind(self) -> str:
        """The name under which the error is reported to other programs."""
        return type(self).__name__


class UnreadableInput(S2ChangeError):
    """The input is missing, damaged, or not a raster."""


class BandsUnknown(S2ChangeError):
    """The input's layers cannot be told to be Sentinel-2 bands, or a band that is needed is missing."""


class UnitsUnclear(S2ChangeError):
    """The two dates are not, or may not be, in the same unit."""


class DatesReversed(S2ChangeError):
    """Before was taken after after."""


class GridMismatch(S2ChangeError):
    """The two dates cannot be laid on one grid: no CRS, no overlap, bounds outside."""


class NothingObserved(S2ChangeError):
    """No pixel was observed on both dates."""


class ModelError(S2ChangeError):
    """The model is missing, damaged, or does not cover the input."""


class NotEnoughMemory(S2ChangeError):
    """The run needs more memory than there is."""


class OutputError(S2ChangeError):
    """A result cannot be written where it was asked for."""


class Cancelled(S2ChangeError):
    """The user, or the program that started the run, stopped it."""
