"""Files that appear whole or not at all, and JSON in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s2change_plugin.engine.errors import UnreadableInput


def write_whole(path: Path, content: bytes) -> None:
    """Write it in one step, so that an interruption or a full disk leaves what was there.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f"{path.name}.part")
    beside.write_bytes(content)
    beside.replace(path)


def write_json(path: Path, values: Any) -> None:
    """Write it as `write_whole` does."""
    write_whole(path, (json.dumps(values, indent=2) + "\n").encode())


def read_json(path: Path, missing: str, remedy: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        path: where it lies.
        missing: the error's text where there is no such file.
        remedy: what to do where it holds something else.

    Raises:
        UnreadableInput: it is missing or damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableInput(missing) from error
    except ValueError as error:
        raise UnreadableInput(f"{path} is damaged ({error}). {remedy}") from error
    if not isinstance(values, dict):
        raise UnreadableInput(f"{path} is damaged (it holds no JSON object). {remedy}")
    return values
