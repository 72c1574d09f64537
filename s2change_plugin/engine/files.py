"""A folder, or a zip that is read in place: the names of its files, GDAL's path of each, the bytes of a small one."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from .errors import UnreadableInput

# Far more than any metadata file or vector mask has; what is larger is no such file.
LARGEST_READ = 64 * 2**20
V = TypeVar("V")

_VSIZIP, _WHOLE_FILE = "/vsizip/", "/vsisubfile/0,"
_ENCRYPTED = 0x1
# Of a web address, also where it is an option of GDAL's in another, what goes before its question mark, and the rest.
_QUERY = re.compile(r"(https?(?:://|%3A%2F%2F)[^\s?\"<}]+?)(?:\?|%3F)[^\s\"<}]*", re.IGNORECASE)


@dataclass(frozen=True)
class Files:
    """The files below a folder, on disk or inside a zip.

    Attributes:
        archive: absolute path of the zip; None on disk.
        folder: absolute path; inside a zip, from its root ("" is the root).
        names: of the files, relative to the folder, with "/", sorted.
    """

    archive: str | None
    folder: str
    names: tuple[str, ...]

    def path(self, name: str = "") -> str:
        """GDAL's path of a file in `names`; of the folder itself without one."""
        if self.archive is None:
            return os.path.join(self.folder, *name.split("/")) if name else self.folder
        inner = "/".join(part for part in (self.folder, name) if part)
        # Braces tell GDAL where the archive ends, whatever its name.
        return f"{_VSIZIP}{{{self.archive}}}/{inner}".rstrip("/")

    def below(self, folder: str) -> Files:
        """The files below one of its folders, "" for itself."""
        if not folder:
            return self
        inside = tuple(name.removeprefix(f"{folder}/") for name in self.names if name.startswith(f"{folder}/"))
        if self.archive is None:
            return Files(None, self.path(folder), inside)
        return Files(self.archive, "/".join(part for part in (self.folder, folder) if part), inside)

    def read(self, name: str) -> bytes:
        """The bytes of a file in `names`.

        Raises:
            UnreadableInput: damaged, not to be read, or larger than `LARGEST_READ`.
        """
        path = self.path(name)
        try:
            if self.archive is None:
                with open(path, "rb") as file:
                    data = file.read(LARGEST_READ + 1)
            else:
                inner = "/".join(part for part in (self.folder, name) if part)
                with zipfile.ZipFile(self.archive) as archive:
                    member = next(member for member in archive.infolist() if _posix(member) == inner)
                    with archive.open(member) as file:
                        data = file.read(LARGEST_READ + 1)
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise UnreadableInput(f"{path} cannot be read, it is damaged or locked ({error}). Download it again.") from error
        if len(data) > LARGEST_READ:
            raise UnreadableInput(
                f"{path} is larger than {LARGEST_READ // 2**20} MB, which no metadata file is. Download the product again."
            )
        return data


def open_files(source: str, depth: int = 1) -> Files | None:
    """The files in a folder or in a zip; None where the source is neither.

    Args:
        source: a folder, a `.zip`, or GDAL's name of a zip or of a folder inside one (`/vsizip/…`, with and without braces).
            A zip whose files all lie in one folder stands for that folder.
        depth: how far down a folder on disk is listed, 1 is the folder itself: below it may lie a whole disk. A zip is listed whole.

    Raises:
        UnreadableInput: the zip is damaged, encrypted, or has members that would lie outside it.
    """
    archive, inner = _split(source)
    if archive is None:
        folder = absolute(source)
        if not os.path.isdir(folder):
            return None
        return Files(None, folder, tuple(sorted(_walk(folder, depth))))
    names = _members(archive)
    if inner:
        files = Files(archive, "", names).below(inner)
        return files if files.names else None
    shared = os.path.commonpath([name.rpartition("/")[0] for name in names]) if names else ""
    return Files(archive, "", names).below(shared.replace(os.sep, "/"))


def absolute(source: str) -> str:
    """A path that does not depend on the working folder; GDAL's virtual names as they are, without a slash at their end."""
    if source.startswith("/vsi"):
        return source.rstrip("/")
    # Nothing is not the working folder.
    return os.path.abspath(source) if source else ""


def without_queries(value: V) -> V:
    """A text, or all texts of a value for JSON, whose web addresses end before their question mark: what follows may be a signature that opens the file."""
    found: Any = value
    if isinstance(value, str):
        found = _QUERY.sub(r"\1", value)
    elif isinstance(value, dict):
        found = {name: without_queries(one) for name, one in value.items()}
    elif isinstance(value, (list, tuple)):
        found = [without_queries(one) for one in value]
    return found  # type: ignore[no-any-return]


def name_for_pyogrio(path: str) -> str:
    """The name by which pyogrio opens a vector file: of a path with "!" or ";" it leaves out a part, as if it were a URL, and may find another file.

    Source: https://github.com/geopandas/pyogrio/issues/632; with its end this can go.

    Raises:
        UnreadableInput: there is no such name of it.
    """
    whole = absolute(path)
    if not os.path.exists(whole) or keeps_name(whole):
        return path
    if _is_zip(whole):
        return f"{_VSIZIP}{{{whole}}}"
    # By that name GDAL reads no folder, and of a database only what is saved in the file itself; nothing where an empty log waits for changes.
    journal = f"{whole}-journal"
    unsaved = os.path.exists(f"{whole}-wal") or (os.path.exists(journal) and os.path.getsize(journal) > 0)
    if unsaved or os.path.isdir(whole):
        why = "holds changes that another program has not saved" if unsaved else "is a folder"
        raise UnreadableInput(
            f"{path} {why}, and cannot be read with a sign such as ! or ; in its path. {'Close it there' if unsaved else 'Rename it'}, or give a copy by "
            "another name."
        )
    return f"{_WHOLE_FILE}{whole}"


def keeps_name(path: str) -> bool:
    """Whether pyogrio leaves an absolute path as it is; see `name_for_pyogrio`."""
    # Slow to load, and seldom needed.
    from pyogrio.util import vsi_path

    # It may put /vsizip/ before it.
    return bool(vsi_path(path).endswith(path))


def _split(source: str) -> tuple[str | None, str]:
    """A zip on disk and the folder inside it; (None, "") where the source names no zip."""
    if not source.startswith(_VSIZIP):
        return (os.path.abspath(source), "") if _is_zip(source) else (None, "")
    rest = source[len(_VSIZIP) :]
    braces = re.match(r"\{(.*)\}(?:/|$)", rest)
    if braces:
        archive, inner = braces.group(1), rest[braces.end() :]
        return (os.path.abspath(archive), _tidy(inner)) if os.path.isfile(archive) else (None, "")
    for end in re.finditer(r"\.zip(?=/|$)", rest, re.IGNORECASE):
        if os.path.isfile(rest[: end.end()]):
            return os.path.abspath(rest[: end.end()]), _tidy(rest[end.end() :])
    return None, ""


def _is_zip(source: str) -> bool:
    return source.lower().endswith(".zip") and os.path.isfile(source)


def _tidy(inner: str) -> str:
    return "/".join(part for part in inner.split("/") if part not in ("", "."))


def _walk(top: str, depth: int) -> Iterator[str]:
    """Relative names of the files in a folder and, links followed, in those below it, each folder once."""
    seen: set[str] = set()
    for folder, below, files in os.walk(top, followlinks=True):
        relative = os.path.relpath(folder, top).replace(os.sep, "/")
        parts = [] if relative == "." else relative.split("/")
        real = os.path.realpath(folder)
        again = real in seen
        seen.add(real)
        if again or len(parts) + 1 >= depth:
            below.clear()
        names = () if again else ("/".join([*parts, name]) for name in files)
        yield from (name for name in names if not _is_clutter(name))


def _members(archive: str) -> tuple[str, ...]:
    """Names of a zip's files, once none is found that could lie outside it or cannot be read."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnreadableInput(f"{archive} is damaged or no zip ({error}). Download it again.") from error
    for member in members:
        if _climbs(member.filename):
            raise UnreadableInput(
                f"{archive} holds a file that would lie outside it ({member.filename}). Do not use it; get it from its first source."
            )
        if member.flag_bits & _ENCRYPTED:
            raise UnreadableInput(f"{archive} is encrypted ({member.filename}). Unpack it with its password and give the folder.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableInput(
                f"{archive} is compressed in an unusual way ({member.filename}). Unpack it and give the folder."
            )
    names = (_posix(member) for member in members if not _posix(member).endswith("/"))
    return tuple(sorted(name for name in names if not _is_clutter(name)))


def _posix(member: zipfile.ZipInfo) -> str:
    """The name as GDAL sees it: some programs on Windows write backslashes."""
    return member.filename.replace("\\", "/")


def _climbs(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) is not None


def _is_clutter(name: str) -> bool:
    """True for what macOS adds to zips and folders."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._")
