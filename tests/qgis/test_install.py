import stat
from pathlib import Path

import pytest
from qgis.core import QgsProcessingFeedback

from s2change_plugin.runtime import install
from s2change_plugin.runtime.run import EngineCancelled, EngineError


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment would be made."""
    monkeypatch.setattr(install, "managed_environment", lambda: tmp_path / "profile" / "engine")
    return tmp_path / "profile" / "engine"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a script in the place of the Python that makes environments."""

    def put(body: str) -> None:
        script = tmp_path / "base-python"
        script.write_text(f"#!/bin/bash\nfolder=${{@: -1}}\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(install, "base_python", lambda: script)

    return put


# An environment whose python records its arguments and succeeds.
_WORKING = 'mkdir -p "$folder/bin"; printf \'#!/bin/bash\\necho "$@" >> "%s/said"\\n\' "$folder" > "$folder/bin/python"; chmod +x "$folder/bin/python"'


def test_the_environment_is_made_from_the_shipped_requirements(target: Path, base) -> None:
    base(_WORKING)
    python = install.set_up_engine(QgsProcessingFeedback(False))
    assert python == target / "bin" / "python"
    assert (target / install.READY).is_file()
    torch, others, trial = (target / "said").read_text().splitlines()
    assert "download.pytorch.org/whl/cpu" in torch
    assert "torch==" in torch
    assert "engine.txt" in others
    assert "cpu-only.txt" in torch
    assert "import torch, rasterio" in trial


def test_a_folder_of_wheels_needs_no_network(target: Path, base) -> None:
    base(_WORKING)
    install.set_up_engine(QgsProcessingFeedback(False), "/stick/wheels")
    said = (target / "said").read_text()
    assert said.count("--no-index --find-links /stick/wheels") == 2
    assert "https://" not in said


def test_a_failure_is_one_sentence_and_leaves_no_environment(target: Path, base) -> None:
    base('mkdir -p "$folder"; echo "OSError: [Errno 28] No space left on device" >&2; exit 1')
    with pytest.raises(EngineError, match="disk is full"):
        install.set_up_engine(QgsProcessingFeedback(False))
    assert not target.exists()


def test_a_cancel_leaves_no_environment(target: Path, base) -> None:
    base('mkdir -p "$folder"; sleep 60')
    feedback = QgsProcessingFeedback(False)
    feedback.cancel()
    with pytest.raises(EngineCancelled):
        install.set_up_engine(feedback)
    assert not target.exists()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: ResolutionImpossible: torch 2.13.0 depends on triton==3.6", "CPU build"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no package for this Python"),
        ("WARNING: ... NewConnectionError ... Failed to establish a new connection: Name or service", "network"),
        ("pip._vendor.urllib3.exceptions.ProxyError: 407 Proxy Authentication Required", "HTTPS_PROXY"),
        ("The virtual environment was not created successfully because ensurepip is not available", "python3-venv"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "cannot be written"),
        ("ImportError: DLL load failed while importing _C", "Visual C"),
        ("something\nRuntimeError: odd", "RuntimeError: odd"),
    ],
)
def test_what_pip_says_is_told_in_a_sentence(said: str, told: str) -> None:
    assert told in install.meaning(said)


def test_a_python_to_start_from_is_found_and_is_no_shim() -> None:
    found = install.base_python()
    assert found is not None
    assert found.is_file()
