"""What speaks for each change: indices of both dates where it was found, kept pixel by pixel until areas are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from .pair import PairWindow
from .radiometry import Array
from .validity import Codes

# Normalised differences (one − other) / (one + other) of two bands: vegetation (Rouse, Haas, Schell and Deering 1974), built-up ground (Zha, Gao
# and Ni 2003), open water (Xu 2006).
INDICES = {"ndvi": ("B08", "B04"), "ndbi": ("B11", "B08"), "mndwi": ("B03", "B11")}
NAMES = tuple(f"{index}_{date}" for index in INDICES for date in ("before", "after"))
# An index is kept as 0–250 for −1 to 1; 255 where it cannot be told.
_STEP, _ZERO, _UNKNOWN = 0.008, 125, 255


class Evidence:
    """The pixels of change of all windows, in a file that is gone with the run: what was found there in memory would have no bound."""

    def __init__(self, folder: Path) -> None:
        """Begin the file in a folder."""
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115
        self._parts: list[tuple[Window, int]] = []

    def add(self, window: Window, pixels: Codes) -> None:
        """Keep what `pixels_of` gives of a window."""
        self._file.write(pixels.tobytes())
        self._parts.append((window, pixels.shape[1]))

    def windows(self) -> Iterator[tuple[Window, Codes]]:
        """Each window, with what was kept of it."""
        self._file.seek(0)
        for window, count in self._parts:
            kept = self._file.read(count * (1 + len(NAMES)))
            yield window, np.frombuffer(kept, np.uint8).reshape(1 + len(NAMES), count)

    def close(self) -> None:
        """Forget it, whether what was kept last can still be written or not."""
        with suppress(OSError):
            self._file.close()


def pixels_of(changed: NDArray[np.bool_], levels: Codes, seen: PairWindow, bands: Sequence[str]) -> Codes:
    """What is kept of each pixel of change, row by row: its stored probability, then `NAMES`; uint8 (1 + names, n).

    Args:
        changed: of a window, (row, col).
        levels: stored probability of it.
        seen: what both dates show of it.
        bands: theirs.
    """
    places = np.nonzero(changed)
    found = np.full((1 + len(NAMES), len(places[0])), _UNKNOWN, np.uint8)
    found[0] = levels[places]
    for row, name in enumerate(NAMES, start=1):
        index, date = name.split("_")
        if set(INDICES[index]) <= set(bands):
            one, other = (getattr(seen, date)[bands.index(band)][places] for band in INDICES[index])
            found[row] = _stored(one, other)
    return found


def values_of(stored: Codes) -> NDArray[np.float64]:
    """An index as it is, −1 to 1, NaN where it cannot be told, of what `pixels_of` gives."""
    return np.where(stored == _UNKNOWN, np.nan, (stored - np.float64(_ZERO)) * _STEP)


def _stored(one: Array, other: Array) -> Codes:
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (one - other) / (one + other)
    known = np.isfinite(index) & (one + other > 0)
    steps = np.rint(np.clip(np.where(known, index, 0), -1, 1) / _STEP) + _ZERO
    return np.where(known, steps, _UNKNOWN).astype(np.uint8)
