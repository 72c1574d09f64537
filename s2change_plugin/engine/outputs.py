"""The rasters of a run: written window by window, finished as Cloud Optimized GeoTIFF, published whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import socket
import sys
import time
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import psutil
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from .errors import OutputError
from .events import PLACED
from .grid import Grid
from .radiometry import Array
from .rasters import files_behind
from .validity import QUALITY_COLOURS, QUALITY_NAMES, Codes, Quality

if TYPE_CHECKING:
    from .scene import Scene

CHANGE, NOT_OBSERVED = 1, 255
# Probability is stored as 0–250, so that GDAL's scale shows it as 0–1 and 255 is free for "not observed".
PROBABILITY_STEP = 0.004
_TOP_LEVEL = round(1 / PROBABILITY_STEP)
_OLDER = "older-"
# What tells a Linux machine, and the container on it, in which a process has its number; what was left in a container that is gone stays.
_MACHINE, _PROCESSES = Path("/etc/machine-id"), Path("/proc/self/ns/pid")
# In a working folder, where folders wait that were there before; the next run puts them back if this one is killed before it put others in their place.
SET_ASIDE = "older"
# How often, and after how many seconds each, what Windows refuses is tried again.
_TRIES, _BETWEEN_S = 21, 0.5


def to_levels(probability: Array, quality: Codes) -> Codes:
    """Probability as it is stored: uint8 0–250, 255 where the pixel was not observed.

    Args:
        probability: float32 (row, col), 0–1.
        quality: uint8 (row, col).
    """
    levels = np.rint(probability * _TOP_LEVEL).astype(np.uint8)
    levels[quality != Quality.OBSERVED] = NOT_OBSERVED
    return levels


def applied_threshold(threshold: float) -> float:
    """The threshold as it can be applied to stored probability: the nearest multiple of 0.004, 0 only where 0 is asked."""
    level = max(round(threshold * _TOP_LEVEL), 1 if threshold > 0 else 0)
    return round(level * PROBABILITY_STEP, 3)


def to_mask(levels: Codes, threshold: float) -> Codes:
    """1 change, 0 no change, 255 not observed, from the stored probability, so that a mask made later from it is the same."""
    mask = (levels >= round(threshold * _TOP_LEVEL)).astype(np.uint8)
    mask[levels == NOT_OBSERVED] = NOT_OBSERVED
    return mask


def require_apart(inputs: Sequence[str | None], targets: Sequence[Path]) -> None:
    """Refuse targets that would replace an input or each other.

    Args:
        inputs: paths, or names that GDAL or QGIS gives files; None is none.
        targets: files to be written.

    Raises:
        OutputError: the text says which.
    """
    resolved = [resolved_path(path) for path in targets]
    # Many disks do not tell names apart that differ in case, or in how an accent is written.
    if len({unicodedata.normalize("NFC", str(path)).casefold() for path in resolved}) < len(resolved):
        raise OutputError("Two outputs have the same file name. Give each its own.")
    for source in filter(None, inputs):
        path = resolved_path(source.partition("|")[0])
        # A shapefile is several files.
        parts = {
            target for target in resolved if path.suffix.lower() == ".shp" and target.with_suffix("") == path.with_suffix("")
        }
        if path in resolved or parts or any(_is_same(path, target) for target in resolved):
            raise OutputError(f"{source} is an input and cannot be an output too. Choose another file name.")


def resolved_path(path: str | Path) -> Path:
    """The absolute path of a file, links followed; unlike `Path.resolve` it raises nothing where they lead in a circle."""
    return Path(os.path.realpath(path))


def _is_same(path: Path, target: Path) -> bool:
    """Whether both names are of one file that is there."""
    try:
        return path.samefile(target)
    except (OSError, ValueError):
        # One of them is not, or is no path, such as a name of GDAL's.
        return False


def require_not_read(inputs: Iterable[Scene | str | None], targets: Sequence[Path]) -> None:
    """Refuse targets that would replace a file behind an input, such as one of a folder of bands or of a VRT.

    Args:
        inputs: scenes, and names of rasters and of layers of polygons, as `rasters.files_behind` takes them; None is none.
        targets: files to be written.

    Raises:
        OutputError: the text says which.
    """
    # What is not there yet is not read, and all files would have to be opened.
    there = [target for target in targets if target.exists()]
    if there:
        require_apart(
            [file for one in inputs if one for file in (files_behind(one) if isinstance(one, str) else one.files)], there
        )


def require_ending(kind: str, *targets: Path | None) -> None:
    """Refuse names that say another format than what is written; None is none.

    Raises:
        OutputError: one of a kind of `_ENDINGS` does not end so.
    """
    for target in targets:
        if target is not None and target.suffix.lower() not in _ENDINGS[kind]:
            raise OutputError(f"{target} is no name for a {kind}: let it end in {_ENDINGS[kind][0]}.")


def require_folders(targets: list[Path]) -> None:
    """Refuse targets that cannot be files.

    Raises:
        OutputError: a target is a folder, or cannot be moved, or its folder is missing or cannot be written, or a link leads nowhere but to
            itself; or what `_require_replaceable` refuses.
    """
    for target in targets:
        for path in (target, target.parent):
            if resolved_path(path).is_symlink():
                raise OutputError(
                    f"{path} is a link that leads back to itself. Remove it, or choose another place for the result."
                )
        _require_replaceable(target)
        if target.is_dir():
            raise OutputError(f"{target} is a folder. Give a file name for the result.")
        if target.exists():
            # Windows moves no file that another program has open, as QGIS has its layers' files, and no system one to a name that is too long;
            # better said now than at the end.
            with _placing(target), suppress(FileNotFoundError):
                os.replace(target, target)
                os.lstat(_older(target))
        if not target.parent.is_dir():
            raise OutputError(f"The folder {target.parent} does not exist. Create it, or choose another place for {target.name}.")
    for target in {one.parent: one for one in targets}.values():
        # What cannot be put there at the end is better said now.
        with workdir_beside(target):
            pass


def _require_replaceable(target: Path) -> None:
    """Refuse to replace what is there, where that would break it or what takes its place.

    Raises:
        OutputError: it is a device or the like, or a database in which another program has unsaved changes, which would come into the new one.
    """
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise OutputError(f"{target} is no file. Choose another name.")
    for journal in (Path(f"{target}-wal"), Path(f"{target}-journal")):
        if os.path.lexists(journal) and journal.stat().st_size:
            raise OutputError(
                f"{target} holds changes that another program has not saved ({journal.name} lies beside it). Close it there, or choose another name."
            )


@cache
def _mine() -> str:
    """How names of what this machine's runs leave begin, before the number of a process.

    On a shared disk such a number says nothing of another machine's processes, nor of those of a container with this one's name.
    """
    try:
        machine = f"{_MACHINE.read_text()}{_PROCESSES.stat().st_ino}"
    except OSError:
        machine = f"{uuid.getnode()}"
    # No machine's name has a tilde.
    return f".s2change-{socket.gethostname()}~{crc32(machine.encode()):08x}~"


@contextmanager
def workdir_beside(target: Path) -> Iterator[Path]:
    """A folder for unfinished files beside the target, gone afterwards whatever happens.

    Folders of runs on this machine whose process is gone are removed first.

    Raises:
        OutputError: the target's folder cannot be written.
    """
    folder = target.parent
    _remove_stale(folder)
    # As any folder is made: what `tempfile` makes, and all that is moved out of it, is for nobody else to read on Windows.
    workdir = folder / f"{_mine()}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        workdir.mkdir()
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}). Choose another place for {target.name}.") from error
    try:
        yield workdir
    finally:
        shutil.rmtree(workdir, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    for left in folder.glob(f"{glob.escape(_mine())}*"):
        pid, _, rest = left.name.removeprefix(_mine()).partition("-")
        if not pid.isdigit() or psutil.pid_exists(int(pid)):
            continue
        target = folder / rest.removeprefix(_OLDER)
        # What belongs to somebody else is left to him.
        with suppress(OSError):
            for older in left.glob(f"{SET_ASIDE}/*"):
                if not (folder / older.name).exists():
                    os.replace(older, folder / older.name)
            if rest.startswith(_OLDER) and not target.exists():
                # Its run was ended between setting the older result aside and putting the new one in place.
                os.replace(left, target)
            elif left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


# By which others know what is written.
_ENDINGS = {
    "raster": (".tif", ".tiff"),
    "GeoPackage": (".gpkg",),
    "picture": (".png",),
    "record": (".json",),
    "report": (".html", ".htm"),
    "table": (".csv",),
}
# By which a mask says that a person corrected it, and how far; see `review.apply_review`.
REVIEWED = "S2CHANGE_REVIEWED"
_BESIDE = (".aux.xml", ".ovr", ".msk")


@dataclass(frozen=True)
class Layer:
    """What a raster of results says about its values.

    Attributes:
        descriptions: of its bands.
        resampling: of its overviews. Nearest neighbour keeps the share of each value as it is; the most frequent one would lose what is small.
        values: what each value means.
        colours: value to (red, green, blue), 0–255; GeoTIFF keeps no transparency, the QGIS style does.
        scale: value × scale is what it stands for.
        dtype: numpy's name.
        nodata: the value that stands for nothing.
    """

    descriptions: tuple[str, ...]
    resampling: str
    values: dict[int, str] = field(default_factory=dict)
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    scale: float = 1.0
    dtype: str = "uint8"
    nodata: int = NOT_OBSERVED


MASK = Layer(
    ("change",),
    "nearest",
    {0: "no change", 1: "change", NOT_OBSERVED: "not observed"},
    {0: (242, 242, 242), 1: (213, 0, 87), NOT_OBSERVED: (150, 150, 150)},
)
PROBABILITY = Layer(("probability of change",), "average", {NOT_OBSERVED: "not observed"}, scale=PROBABILITY_STEP)
QUALITY = Layer(("observed, or why not",), "nearest", QUALITY_NAMES, QUALITY_COLOURS)


class RasterWriter:
    """A raster of results under construction, written window by window."""

    def __init__(self, path: Path, grid: Grid, layer: Layer, tags: dict[str, str]) -> None:
        """Begin it in the working folder; tags are what the file says about its making."""
        self.path, self._resampling = path, layer.resampling
        self._written: list[tuple[Window, int]] = []
        self._file = rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype=layer.dtype,
            count=len(layer.descriptions),
            crs=grid.crs,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            nodata=layer.nodata,
            tiled=True,
            blockxsize=512,
            blockysize=512,
            # Only this process reads it; deflate at its quickest takes four times as long.
            compress="zstd",
            zstd_level=1,
            bigtiff="if_safer",
        )
        for index, description in enumerate(layer.descriptions, start=1):
            self._file.set_band_description(index, description)
        self._file.update_tags(**tags)
        self._file.update_tags(1, **{str(value): meaning for value, meaning in layer.values.items()})
        if layer.scale != 1:
            self._file.scales = (layer.scale,) * len(layer.descriptions)
        if layer.colours:
            self._file.write_colormap(1, layer.colours)

    def write(self, values: NDArray[Any], window: Window) -> None:
        """Write one window, (row, col) or (band, row, col) of the layer's type."""
        values = values.reshape(-1, *values.shape[-2:])
        self._file.write(values, window=window)
        self._written.append((window, crc32(values.tobytes())))

    def close(self) -> None:
        """No more windows: what was written is on the disk."""
        self._file.close()

    def finish(self, target: Path) -> Path:
        """Make the Cloud Optimized GeoTIFF of it, in the working folder under the target's name, and give its path.

        Raises:
            OSError: what was written does not read back; GDAL says nothing when a disk fills up while it closes a file.
        """
        self.close()
        finished = in_workdir(self.path.parent, self.path.name, target)
        rasterio.shutil.copy(
            str(self.path),
            str(finished),
            driver="COG",
            compress="deflate",
            # GDAL's own, 6, takes twice as long for files that are a tenth smaller.
            level=3,
            resampling=self._resampling,
            bigtiff="if_safer",
            num_threads="all_cpus",
        )
        with rasterio.open(finished) as raster:
            for window, sum_of_it in self._written:
                if crc32(raster.read(window=window).tobytes()) != sum_of_it:
                    raise OSError("what was written does not read back")
        return finished


def in_workdir(workdir: Path, role: str, target: Path) -> Path:
    """Where the finished file of a target waits to be published; targets in different folders may share a name."""
    folder = workdir / f"finished-{role}"
    folder.mkdir(exist_ok=True)
    return folder / target.name


# GDAL's own errors have no public name in rasterio.
_FAILURES = (OSError, RasterioError, CPLE_BaseError)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what fails while files are written into a sentence.

    Raises:
        OutputError: disk full, no permission, anything else that GDAL or the system says.
    """
    try:
        yield
    except _FAILURES as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or shutil.disk_usage(target.parent).free < 1 << 20
        reason = "the disk is full. Free some space" if full else f"{_reason(error)}. Choose another place"
        raise OutputError(f"{target} could not be written: {reason} and run again.") from error


def rename(source: Path, target: Path) -> None:
    """`os.replace`, tried for some ten seconds where Windows refuses it, whose virus scanners hold for a moment what was just written."""
    for left in reversed(range(_TRIES)):
        try:
            os.replace(source, target)
        except PermissionError:
            # Elsewhere it is no matter of time.
            if sys.platform != "win32" or not left:
                raise
            time.sleep(_BETWEEN_S)
        else:
            return


def publish(finished: dict[Path, Path]) -> None:
    """Move finished files to where they were asked for: all of them, or none.

    Args:
        finished: file in the working folder to its target; an existing target is replaced.

    Raises:
        OutputError: one of them cannot be put there; what this call had put elsewhere is taken away again.
    """
    done: list[tuple[Path, Path | None]] = []
    try:
        for source, asked in finished.items():
            # What a link stands for is replaced, not the link.
            target = asked.resolve() if asked.is_symlink() else asked
            _require_replaceable(target)
            with _placing(target):
                done.append((target, _replace(source, target)))
            # Statistics, overviews and a mask that QGIS or GDAL keep beside an older file of this name describe that one.
            for beside in (f"{target}{ending}" for ending in _BESIDE):
                if os.path.lexists(beside):
                    os.unlink(beside)
        PLACED.set()
    except BaseException:
        for target, older in done:
            target.unlink(missing_ok=True)
            if older:
                rename(older, target)
        raise
    for _, older in done:
        # All is in place; where this is held for a moment, the next run in that folder takes it away.
        with suppress(OSError):
            if older:
                older.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> Path | None:
    """Move a file to its target, and give where an older target was set aside; on failure all is as it was."""
    beside = target.with_name(f"{_mine()}{os.getpid()}-{secrets.token_hex(4)}")
    older = None
    try:
        # First beside it, for which it may have to be copied: the older one is away for no longer than a moment.
        _move(source, beside)
        older = _set_aside(target)
        rename(beside, target)
    except BaseException:
        if older:
            rename(older, target)
        if source.exists():
            beside.unlink(missing_ok=True)
        elif beside.exists():
            rename(beside, source)
        raise
    return older


def _set_aside(target: Path) -> Path | None:
    """An older result of that name, kept until the new ones are all in place; None where there is none."""
    if not target.is_file():
        return None
    older = _older(target)
    rename(target, older)
    return older


def _older(target: Path) -> Path:
    return target.with_name(f"{_mine()}{os.getpid()}-{_OLDER}{target.name}")


@contextmanager
def _placing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = (
            "Free some space and run again"
            if error.errno == errno.ENOSPC
            else "Close it where it is open, or choose another name"
        )
        raise OutputError(f"{target} could not be written: {_reason(error)}. {advice}.") from error


def _move(source: Path, target: Path) -> None:
    """Give a file another name; on another file system a copy of it has that."""
    try:
        rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _remove_stale(target.parent)
        shutil.copyfile(source, target)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().rstrip(".")
