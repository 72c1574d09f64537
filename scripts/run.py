"""The main job, as `make run` does it: the algorithm s2change:detectchange through qgis_process, then a picture."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build"
SAMPLE = BUILD / "sample"
ENGINE = [sys.executable, "-m", "s2change_plugin.engine"]
OPTIONS = ("BEFORE_BANDS", "AFTER_BANDS", "MODEL", "THRESHOLD")


def main() -> None:
    """Read what is asked for from the environment, run it, and say what came out."""
    asked = {name: os.environ.get(name, "") for name in ("BEFORE", "AFTER", *OPTIONS)}
    if bool(asked["BEFORE"]) != bool(asked["AFTER"]):
        sys.exit("make run takes both BEFORE=… and AFTER=…, or neither for the sample.")
    own = bool(asked["BEFORE"])
    if not own:
        make_sample()
        asked |= {"BEFORE": str(SAMPLE / "before.tif"), "AFTER": str(SAMPLE / "after.tif")}
    out = Path(os.environ.get("OUT") or BUILD / ("run" if own else "run-sample")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    files = {
        "MASK": "mask.tif",
        "PROBABILITY": "probability.tif",
        "QUALITY": "quality.tif",
        "POLYGONS": "change.gpkg",
        "RECORD": "run.json",
    }
    inputs = {name: value for name, value in asked.items() if value} | {name: str(out / file) for name, file in files.items()}
    for side in ("BEFORE", "AFTER"):
        # GDAL's names for parts of a product are no paths.
        inputs[side] = str(Path(asked[side]).resolve()) if Path(asked[side]).exists() else asked[side]
    results = run_algorithm(inputs)
    picture = out / "change.png"
    bands = [
        part
        for side in ("before", "after")
        if asked[f"{side.upper()}_BANDS"]
        for part in (f"--{side}-bands", asked[f"{side.upper()}_BANDS"])
    ]
    drawn = [inputs["BEFORE"], inputs["AFTER"], "--mask", inputs["MASK"], "--output", str(picture), *bands]
    subprocess.run([*ENGINE, "picture", *drawn], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    print(f"\nChanged area   {results['CHANGED_AREA_HA']:,.2f} ha, {results['CHANGED_PIXELS']:,} pixels")
    print(f"Observed       {100 * results['OBSERVED_SHARE']:.1f} % on both dates")
    print(f"Threshold      {results['THRESHOLD_USED']}")
    if not own:
        print(f"Against truth  {agreement(Path(inputs['MASK']))}")
    for label, path in (
        ("Mask", inputs["MASK"]),
        ("Probability", inputs["PROBABILITY"]),
        ("Polygons", inputs["POLYGONS"]),
        ("Picture", picture),
    ):
        print(f"{label:14} {path}")


def make_sample() -> None:
    """Simulate the sample pair, once."""
    if not (SAMPLE / "sample.json").is_file():
        print("Simulating the sample pair")
        subprocess.run([sys.executable, "-m", "training", "simulate", str(SAMPLE)], cwd=REPOSITORY, check=True)


def run_algorithm(inputs: dict[str, str]) -> dict:
    """Run s2change:detectchange with the staged plugin in a profile of its own; ends the program where it fails."""
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_PLUGINPATH": str(BUILD / "plugin"),
        "QGIS_CUSTOM_CONFIG_PATH": str(BUILD / "run-profile"),
    }
    (BUILD / "run-profile").mkdir(exist_ok=True)
    enable = ["qgis_process", "plugins", "enable", "s2change_plugin"]
    subprocess.run(enable, env=environment, check=True, capture_output=True)
    print("Running s2change:detectchange through qgis_process", flush=True)
    process = subprocess.run(
        ["qgis_process", "run", "s2change:detectchange", "-"],
        input=json.dumps({"inputs": inputs}),
        env=environment,
        capture_output=True,
        text=True,
    )
    try:
        answer = json.loads(process.stdout)
    except ValueError:
        answer = {}
    said = answer.get("log", {})
    for text in [*said.get("info", []), *(f"Warning: {text}" for text in said.get("warnings", []))]:
        print(f"  {text}")
    if process.returncode or "results" not in answer:
        errors = said.get("errors") or process.stderr.strip().splitlines()[-1:]
        sys.exit("\n".join(str(error) for error in errors) or "qgis_process gave no result.")
    return answer["results"]


def agreement(mask: Path) -> str:
    """The mask's scores against the sample's exact truth, on their common ground."""
    import rasterio
    from rasterio.windows import from_bounds

    sys.path.insert(0, str(REPOSITORY))
    from s2change_plugin.engine.scores import confusion

    with rasterio.open(mask) as found, rasterio.open(SAMPLE / "truth.tif") as truth:
        window = from_bounds(*found.bounds, truth.transform).round_offsets().round_lengths()
        one = confusion(found.read(1), truth.read(1, window=window))
    return f"F1 {one.f1:.3f}, precision {one.precision:.3f}, recall {one.recall:.3f} (simulated, so no measure of the real world)"


if __name__ == "__main__":
    main()
