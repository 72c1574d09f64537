import errno
from pathlib import Path

import pytest

from s2change_plugin.engine.errors import UnreadableInput
from training.files import read_json, write_json


def test_what_was_there_stays_where_a_disk_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, written = tmp_path / "one.json", Path.write_bytes
    write_json(path, {"city": "Zürich"})

    def full(path: Path, content: bytes) -> int:
        written(path, content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {})
    assert read_json(path, "", "") == {"city": "Zürich"}


def test_what_is_missing_and_what_is_damaged_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    with pytest.raises(UnreadableInput, match="^There is none$"):
        read_json(path, "There is none", "Mend it.")
    path.write_text("")
    with pytest.raises(UnreadableInput, match=r"one\.json is damaged \(Expecting value.*\)\. Mend it\.$"):
        read_json(path, "There is none", "Mend it.")


@pytest.mark.parametrize("held", ["[1]", "null", "7"])
def test_what_is_json_but_no_object_is_damaged(tmp_path: Path, held: str) -> None:
    path = tmp_path / "one.json"
    path.write_text(held)
    with pytest.raises(UnreadableInput, match=r"one\.json is damaged \(it holds no JSON object\)\. Mend it\.$"):
        read_json(path, "There is none", "Mend it.")
