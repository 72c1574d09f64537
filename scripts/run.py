"""The main job, as `make run` does it: the algorithm s2change:detectchange through qgis_process, then a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build"
SAMPLE = BUILD / "sample"
# Parameters of the algorithm that may be given beside BEFORE and AFTER.
SCENES = ("BEFORE_BANDS", "AFTER_BANDS", "BEFORE_UNITS", "AFTER_UNITS")
OPTIONS = (*SCENES, "MODEL", "THRESHOLD", "EXTENT")
FILES = {
    "MASK": "mask.tif",
    "PROBABILITY": "probability.tif",
    "QUALITY": "quality.tif",
    "POLYGONS": "change.gpkg",
    "REPORT": "change.html",
    "RECORD": "run.json",
}
# What qgis_process repeats before and after the algorithm's own words.
_INPUTS_END, _RESULTS = b"\n\n\n", b"\n----------------\nResults\n----------------\n"


def main() -> None:
    """Read what is asked for from the environment, run it, and say what came out."""
    asked = {name: os.environ.get(name, "") for name in ("BEFORE", "AFTER", *OPTIONS)}
    if bool(asked["BEFORE"]) != bool(asked["AFTER"]):
        sys.exit("make run takes both BEFORE=… and AFTER=…, or neither for the sample.")
    own = bool(asked["BEFORE"])
    if not own:
        make_sample()
        asked |= {"BEFORE": str(SAMPLE / "before.tif"), "AFTER": str(SAMPLE / "after.tif")}
    out = Path(os.environ.get("OUT") or BUILD / ("run" if own else "run-sample")).expanduser().resolve()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"The folder {out} cannot be made ({error.strerror}). Choose another with OUT=…")
    for side in ("BEFORE", "AFTER"):
        path = Path(asked[side]).expanduser()
        # GDAL's names for parts of a product are no paths.
        asked[side] = str(path.resolve()) if path.exists() else asked[side]
    files = {name: str(out / file) for name, file in FILES.items()}
    results = run_algorithm({name: value for name, value in asked.items() if value} | files)
    picture = out / "change.png"
    draw_picture(asked, files["MASK"], picture)
    print(f"\nChanged area   {float(results['CHANGED_AREA_HA']):,.2f} ha, {int(results['CHANGED_PIXELS']):,} pixels")
    print(f"Observed       {100 * float(results['OBSERVED_SHARE']):.1f} % on both dates")
    print(f"Threshold      {results['THRESHOLD_USED']}")
    if not own:
        print(f"Against truth  {agreement(Path(files['MASK']))}")
    for label, path in [*((name.capitalize(), path) for name, path in files.items()), ("Picture", picture)]:
        print(f"{label:14} {path}")


def make_sample() -> None:
    """Simulate the sample pair, once."""
    if not (SAMPLE / "sample.json").is_file():
        print("Simulating the sample pair", flush=True)
        run([sys.executable, "-m", "training", "simulate", str(SAMPLE)])


def draw_picture(asked: dict[str, str], mask: str, picture: Path) -> None:
    """Before, after and the change in one picture, by the engine's own command."""
    given = [part for name in SCENES if asked[name] for part in (f"--{name.lower().replace('_', '-')}", asked[name])]
    drawn = [asked["BEFORE"], asked["AFTER"], "--mask", mask, "--output", str(picture), *given]
    run([sys.executable, "-m", "s2change_plugin.engine", "picture", *drawn], stdout=subprocess.DEVNULL)


def run(command: list[str], stdout: int | None = None) -> None:
    """Run a command of this repository; it says itself what is wrong, and that ends the program."""
    done = subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=stdout)
    if done.returncode:
        sys.exit(done.returncode)


def run_algorithm(parameters: dict[str, str]) -> dict[str, str]:
    """Run s2change:detectchange with the staged plugin in a profile of its own; give its results by name.

    Progress and messages are shown as they come, without the lists of inputs and results around them. A failure ends the
    program with the algorithm's sentence.
    """
    profile = BUILD / "run-profile"
    profile.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "QGIS_PLUGINPATH": str(BUILD / "plugin"),
        "QGIS_CUSTOM_CONFIG_PATH": str(profile),
    }
    enable = ["qgis_process", "plugins", "enable", "s2change_plugin"]
    enabled = subprocess.run(enable, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    # A second time is an error to qgis_process.
    if enabled.returncode and "already enabled" not in enabled.stdout + enabled.stderr:
        sys.exit(f"QGIS does not load the plugin: {(enabled.stdout + enabled.stderr).strip()}")
    print("Running s2change:detectchange through qgis_process", flush=True)
    arguments = [f"{name}={value}" for name, value in parameters.items()]
    command = ["qgis_process", "run", "s2change:detectchange", "--", *arguments]
    said, shown = b"", 0
    with (BUILD / "run.log").open("w+b") as log:
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as process:
            while chunk := os.read(process.stdout.fileno(), 65536):
                said += chunk
                words = said.partition(_INPUTS_END)[2].partition(_RESULTS[:18])[0]
                sys.stdout.buffer.write(words[shown:])
                sys.stdout.buffer.flush()
                shown = len(words)
        log.seek(0)
        complaints = [line.removeprefix("ERROR:").strip() for line in log.read().decode("utf-8", "replace").splitlines()]
    results = said.partition(_RESULTS)[2].decode("utf-8", "replace")
    if process.returncode or not results:
        sys.exit(next((line for line in reversed(complaints) if line), f"qgis_process ended with {process.returncode}."))
    for line in dict.fromkeys(filter(None, complaints)):
        print(f"Warning: {line}")
    return dict(line.split(":\t", 1) for line in results.splitlines() if ":\t" in line)


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
