"""Fail where detect-secrets finds in the staged plugin what .secrets.baseline does not know."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
STAGE = REPOSITORY / "build" / "plugin"


def findings(folder: Path) -> set[tuple[str, str, str]]:
    """(file, kind, hash) of everything that looks like a secret."""
    command = [str(Path(sys.executable).with_name("detect-secrets")), "scan", "--all-files", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)["results"]
    return {(name, one["type"], one["hashed_secret"]) for name, found in results.items() for one in found}


def main() -> None:
    """Compare with the baseline, which lists the weights' sha256 on the models' cards and nothing else."""
    baseline = json.loads((REPOSITORY / ".secrets.baseline").read_text(encoding="utf-8"))["results"]
    known = {(name, one["type"], one["hashed_secret"]) for name, found in baseline.items() for one in found}
    new = sorted(findings(STAGE) - known)
    for name, kind, _ in new:
        print(f"{name}: {kind}")
    if new:
        print("Take it out. If it is none, such as the sha256 of a new model, make the baseline anew:")
        print("    (cd build/plugin && ../../.venv/bin/detect-secrets scan --all-files . > ../../.secrets.baseline)")
    print(f"detect-secrets: {len(new)} new findings")
    sys.exit(bool(new))


if __name__ == "__main__":
    main()
