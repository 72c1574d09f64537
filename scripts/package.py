"""Lay what ships in one folder, and zip it for the plugin site."""

from __future__ import annotations

import argparse
import configparser
import shutil
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NAME = "s2change_plugin"
STAGE = REPOSITORY / "build" / "plugin" / NAME
# The plugin site's limit for an upload.
LARGEST = 25_000_000
_NEVER = ("__pycache__", "*.pyc", ".*")
_LEFT_OUT = shutil.ignore_patterns(*_NEVER)


def stage(target: Path = STAGE, weights: bool = True) -> Path:
    """Make the plugin's folder: the package with metadata, licence, resources and the engine's requirements inside."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(REPOSITORY / NAME, target, ignore=_LEFT_OUT)
    without = _LEFT_OUT if weights else shutil.ignore_patterns(*_NEVER, "models")
    shutil.copytree(REPOSITORY / "resources", target / "resources", ignore=without)
    for name in ("metadata.txt", "LICENSE", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, target)
    (target / "requirements").mkdir()
    for name in ("engine.txt", "cpu-only.txt"):
        shutil.copy(REPOSITORY / "requirements" / name, target / "requirements")
    return target


def package(weights: bool = True) -> Path:
    """Zip the plugin; the file is named after the version in metadata.txt."""
    folder = stage(REPOSITORY / "build" / "package" / NAME, weights)
    metadata = configparser.ConfigParser()
    metadata.read(folder / "metadata.txt", encoding="utf-8")
    suffix = "" if weights else "-without-weights"
    target = REPOSITORY / "build" / f"{NAME}-{metadata['general']['version']}{suffix}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder.parent))
    size = target.stat().st_size
    if size > LARGEST:
        sys.exit(f"{target} measures {size:,} bytes; the plugin site takes {LARGEST:,}.")
    print(f"{target.relative_to(REPOSITORY)}: {size / 1e6:.1f} MB")
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["stage", "zip"])
    parser.add_argument("--without-weights", action="store_true")
    arguments = parser.parse_args()
    if arguments.what == "stage":
        stage()
    else:
        package(not arguments.without_weights)
