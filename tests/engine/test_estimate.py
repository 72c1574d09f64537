import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from rasterio.windows import Window

from s2change_plugin.engine import estimate as module
from s2change_plugin.engine import outputs
from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.detect import DetectOptions, detect
from s2change_plugin.engine.errors import NotEnoughMemory, OutputError
from s2change_plugin.engine.estimate import (
    Estimate,
    Pace,
    Room,
    Work,
    estimate,
    measure_pace,
    require_room,
    room,
    size_text,
    stored_pixels,
    time_text,
    work_of,
)
from s2change_plugin.engine.evidence import NAMES
from s2change_plugin.engine.pair import Pair, PairOptions, open_pair
from s2change_plugin.engine.scene import open_scene
from tests.conftest import textured, write_stack
from tests.standin import write_standin

WORK = Work(stored=2000, sampled=0, seen=150, written=100, patch=(10, 10), pixel_bytes=260, block_bytes=7000)
PACE = Pace(decode=0.001, lay=0.01, predict=0.1, held_bytes=5000)
ALL = ("mask", "probability", "quality")


def test_threads_share_reading_and_predicting() -> None:
    # Reading takes 2 + 1.5 seconds of a core, and the network 15.
    assert estimate(WORK, PACE, ALL, 1, 0).seconds == pytest.approx(18.5, rel=1e-4)
    assert estimate(WORK, PACE, ALL, 2, 0).seconds == pytest.approx(18.5 / 2, rel=1e-4)


def test_time_and_disk_are_linear_in_pixels() -> None:
    larger = replace(WORK, stored=8000, seen=600, written=400)
    one, four = estimate(WORK, PACE, ALL, 2, 0), estimate(larger, PACE, ALL, 2, 0)
    assert four.seconds == pytest.approx(4 * one.seconds)
    assert four.disk_bytes == pytest.approx(4 * one.disk_bytes, rel=0.01)


def test_memory_does_not_grow_with_the_raster_beyond_what_gdal_may_keep_of_it() -> None:
    # For each thread a patch of 100 pixels at 260 bytes.
    assert estimate(WORK, PACE, ALL, 2, 0).memory_bytes == 5000 + 7000 + 2 * 100 * 260
    small, large = (estimate(replace(WORK, stored=stored), PACE, ALL, 2, 3000).memory_bytes for stored in (1000, 10**6))
    assert large - small == 1000
    # What the samples brought into GDAL's cache is held already.
    assert estimate(replace(WORK, stored=10**6, sampled=10**6), PACE, ALL, 2, 3000).memory_bytes == large - 3000


def test_disk_suffices_even_for_results_that_hardly_compress(tmp_path: Path, pair: Pair) -> None:
    random = np.random.default_rng(0)
    values = {"mask": random.integers(0, 2, (300, 340)) > 1, "probability": random.integers(0, 251, (300, 340))}
    values["quality"] = np.zeros((300, 340))
    used = {}
    for name, layer in {"mask": outputs.MASK, "probability": outputs.PROBABILITY, "quality": outputs.QUALITY}.items():
        writer = outputs.RasterWriter(tmp_path / name, pair.grid, layer, {})
        writer.write(values[name].astype(np.uint8), pair.grid.window)
        finished = writer.finish(tmp_path / f"{name}.tif")
        used[name] = (writer.path.stat().st_size, finished.stat().st_size)
    work = replace(WORK, written=300 * 340)
    assert sum(map(sum, used.values())) < estimate(work, PACE, ALL, 2, 0).disk_bytes < 3 * 300 * 340
    of_areas = estimate(work, PACE, ALL, 2, 0, evidence=True).disk_bytes - estimate(work, PACE, ALL, 2, 0).disk_bytes
    assert of_areas == pytest.approx(0.1 * (1 + len(NAMES)) * 300 * 340, abs=1), "for a map of which a tenth changed"
    without = sum(begun for begun, _ in used.values()) + used["mask"][1]
    assert without < estimate(work, PACE, ("mask",), 2, 0).disk_bytes < estimate(work, PACE, ALL, 2, 0).disk_bytes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.3, "A few seconds"),
        (7, "About 5 seconds"),
        (14, "About 15 seconds"),
        (38, "About 40 seconds"),
        (54.9, "About 50 seconds"),
        (56, "About 1 minute"),
        (170, "About 3 minutes"),
        (5000, "About 83 minutes"),
        (9000, "About 2 hours"),
    ],
)
def test_a_time_is_said_as_a_person_says_it(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_a_size_is_said_as_a_person_says_it() -> None:
    assert [size_text(size) for size in (1.84e9, 3.1e8, 4.01e7, 1.21e6, 10)] == [
        "1.8 GB",
        "0.3 GB",
        "41 MB",
        "1.3 MB",
        "0.1 MB",
    ]
    assert Estimate(170, 1_840_000_000, 0).text == "About 3 minutes, 1.8 GB of memory."


def test_what_does_not_fit_is_refused_with_both_values_and_what_to_do() -> None:
    expected = Estimate(10, 2_000_000_000, 300_000_000)
    require_room(expected, Room(2_000_000_000, 300_000_000))
    require_room(expected, Room(2_000_000_000))
    with pytest.raises(NotEnoughMemory, match=r"needs 2\.0 GB of memory, and 1\.5 GB is free.*Close other programs.*--bounds"):
        require_room(expected, Room(1_500_000_000, 300_000_000))
    with pytest.raises(OutputError, match=r"up to 0\.3 GB of disk.*50 MB is free.*another disk"):
        require_room(expected, Room(2_000_000_000, 50_000_000))


def test_the_limit_of_a_container_counts_less_the_files_that_the_kernel_can_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def group(name: str, limit: str) -> Path:
        files = {"memory.max": limit, "memory.current": "700", "memory.stat": "anon 400\ninactive_file 200"}
        older = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": "700", "memory.stat": "total_inactive_file 200"}
        for file, text in (files if name == "second" else {f"memory/{file}": text for file, text in older.items()}).items():
            path = tmp_path / f"{name}{limit}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path / f"{name}{limit}"

    assert module._free_in_container(group("second", "1000")) == [500]
    assert module._free_in_container(group("first", "1000")) == [500]
    assert module._free_in_container(group("second", "max")) == []
    assert module._free_in_container(tmp_path / "none") == []
    before = room().memory_bytes
    monkeypatch.setattr(module, "_free_in_container", lambda root: [500])
    assert room().memory_bytes < before


@pytest.fixture
def pair(tmp_path: Path, ground: np.ndarray) -> Iterator[Pair]:
    """Two dates on one grid, in blocks of 64 × 64 and, the later, of a row."""
    before = open_scene(str(write_stack(tmp_path / "a.tif", ground, tiled=True, blockxsize=64, blockysize=64)))
    after = open_scene(str(write_stack(tmp_path / "b.tif", textured(10, 300, 340, 2), blockysize=1)))
    with open_pair(before, after, TEN_BANDS, PairOptions(register=False)) as opened:
        yield opened


def test_whole_blocks_are_decoded_and_each_once(pair: Pair) -> None:
    # Two blocks of 64 × 64, and ten rows of 340.
    assert stored_pixels(pair, [Window(60, 10, 10, 10)]) == 10 * (2 * 64 * 64 + 10 * 340)
    assert stored_pixels(pair, [Window(60, 10, 10, 10), Window(62, 12, 20, 8)]) == 10 * (2 * 64 * 64 + 10 * 340)
    # At the raster's edge blocks end with it, and beyond there are none.
    assert stored_pixels(pair, [pair.grid.window]) == stored_pixels(pair, [Window(-9, -9, 400, 400)]) == 20 * 300 * 340


class Clock:
    """A time that passes only where it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowPredictor:
    """Takes a millionth of a second for a pixel, and three times that for a shape it has not seen."""

    halo, alignment, bytes_per_pixel = 8, 4, 50

    def __init__(self, clock: Clock) -> None:
        self.clock, self.shapes = clock, list[tuple[int, ...]]()

    def probability(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        shape = before.shape[1:]
        self.clock.now += 1e-6 * before[0].size * (1 if shape in self.shapes else 3)
        self.shapes.append(shape)
        return np.zeros(shape, np.float32)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()
    monkeypatch.setattr(module, "perf_counter", told)
    return told


def test_halos_are_read_and_predicted_each_time(pair: Pair, clock: Clock) -> None:
    # Windows of 102 round up to 104, and the halo is 8; three rows of four windows, the last ones smaller and whole.
    work = work_of(pair, SlowPredictor(clock), pair.grid.window, 102)
    assert work.patch == (120, 120)
    assert work.seen == (3 * 16 + 104 + 104 + 92) * (4 * 16 + 104 * 3 + 28)
    assert work.written == 300 * 340
    # Two dates of ten bands in float32, each twice, and what the predictor says of itself.
    assert work.pixel_bytes == 2 * 10 * 4 * 2 + 50
    # From the multiple of 4 before it to its end, rounded up.
    assert work_of(pair, SlowPredictor(clock), Window(10, 10, 20, 20), 102).seen == (16 + 24) ** 2


def test_what_samples_decoded_is_not_decoded_again(pair: Pair, clock: Clock) -> None:
    assert estimate(replace(WORK, sampled=500), PACE, ALL, 1, 0).seconds == pytest.approx(18, rel=1e-4)
    work = work_of(pair, SlowPredictor(clock), Window(10, 10, 20, 20), 102)
    assert work.stored == stored_pixels(pair, [Window(2, 2, 36, 36), *pair.sampled])
    assert work.sampled == stored_pixels(pair, pair.sampled)


def test_the_pace_is_what_samples_and_patches_take_without_what_is_done_but_once(
    pair: Pair, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pair.read

    def reading(window: Window) -> object:
        clock.now += 0.5
        return read(window)

    monkeypatch.setattr(pair, "read", reading)
    monkeypatch.setattr(module, "window_threads", lambda: 2)
    pair.sampling_s = (0.5 * len(pair.timed) + 3) / 2
    predictor = SlowPredictor(clock)
    work = replace(work_of(pair, predictor, pair.grid.window, 64), seen=module._FEW + 1)
    pace = measure_pace(pair, predictor, work)
    assert pace.decode == pytest.approx(3 / stored_pixels(pair, pair.timed))
    assert pace.lay == pytest.approx(0.5 / (256 * 256))
    assert pace.predict == pytest.approx(1e-6)
    assert predictor.shapes == [(80, 80)] * 2
    # Of a large patch a part will do.
    measure_pace(pair, predictor, replace(work, patch=(912, 612)))
    assert predictor.shapes[2:] == [(384, 384)] * 2


def test_a_slow_machine_is_tried_on_one_small_patch_only(pair: Pair, clock: Clock) -> None:
    predictor = SlowPredictor(clock)
    clock_of, predictor.probability = (
        predictor.probability,
        lambda *images: (clock_of(*images), setattr(clock, "now", clock.now + 9)),
    )
    measure_pace(pair, predictor, replace(WORK, patch=(512, 512), seen=module._FEW + 1))
    assert predictor.shapes == [(384, 384)]


def test_of_a_small_area_one_patch_is_tried_once_and_nothing_is_read(
    pair: Pair, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair, "read", lambda window: pytest.fail("read again"))
    monkeypatch.setattr(module, "window_threads", lambda: 2)
    pair.sampling_s = 3.0
    predictor = SlowPredictor(clock)
    work = replace(work_of(pair, predictor, pair.grid.window, 64), seen=module._FEW)
    pace = measure_pace(pair, predictor, work)
    assert predictor.shapes == [(80, 80)]
    # With what is done but once: the run has no more windows to spread that over.
    assert pace.predict == pytest.approx(3e-6)
    assert pace.lay == 0
    assert pace.decode * stored_pixels(pair, pair.timed) == pytest.approx(6)


def test_what_shows_nothing_of_both_dates_takes_the_network_no_time(pair: Pair, clock: Clock) -> None:
    pair.samples[0].quality[:] = 1
    assert len(pair.samples) == 4
    work = replace(work_of(pair, SlowPredictor(clock), pair.grid.window, 64), seen=module._FEW + 1)
    assert measure_pace(pair, SlowPredictor(clock), work).predict == pytest.approx(0.75e-6)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ground: np.ndarray) -> list[str]:
    """Arguments of a run on the stand-in model."""
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "models"))
    write_standin(tmp_path / "models", "standin")
    dates = [write_stack(tmp_path / name, ground) for name in ("20210620.tif", "20230620.tif")]
    return [*map(str, dates), "--model", "standin"]


class Said:
    """Keeps the order in which a run says things."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, workdir: str) -> None:
        self.lines.append("started")

    def progress(self, stage: str, items: Sequence) -> Iterator:
        self.lines.append(stage)
        yield from items

    def message(self, text: str, level: str = "info") -> None:
        self.lines.append(text)

    def result(self, values: dict, summary: str) -> None:
        self.lines.append("result")


def asked(files: list[str], folder: Path) -> DetectOptions:
    return DetectOptions(before=files[0], after=files[1], model=files[3], mask=folder / "mask.tif")


def test_a_run_says_what_it_will_take_before_its_first_window(tmp_path: Path, files: list[str]) -> None:
    said = Said()
    detect(asked(files, tmp_path), said)
    (place,) = [number for number, line in enumerate(said.lines) if line.endswith(" of memory.")]
    assert place < said.lines.index("detect")
    assert said.lines[-1] == "result"


@pytest.mark.parametrize(("short", "kind"), [("memory", NotEnoughMemory), ("disk", OutputError)])
def test_a_run_that_does_not_fit_ends_before_anything_is_written(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch, short: str, kind: type[Exception]
) -> None:
    if short == "memory":
        monkeypatch.setattr(module.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**5))
    else:
        monkeypatch.setattr(module, "disk_usage", lambda folder: SimpleNamespace(free=10**4))
    (tmp_path / "out").mkdir()
    said = Said()
    with pytest.raises(kind, match="needs? .* is free"):
        detect(asked(files, tmp_path / "out"), said)
    assert "detect" not in said.lines
    assert list((tmp_path / "out").iterdir()) == []


def run_finding(files: list[str]) -> tuple[list[dict], dict]:
    done = CliRunner().invoke(main, ["check", *files, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return [finding for finding in found["findings"] if finding["topic"] == "run"], found["numbers"]


def test_the_check_says_what_a_run_would_take(files: list[str]) -> None:
    (finding,), numbers = run_finding(files)
    assert finding["severity"] == "ok"
    assert finding["text"].endswith(" of memory.")
    assert finding["values"] == {name.removeprefix("run_"): value for name, value in numbers.items() if name.startswith("run_")}
    assert 0.1 < numbers["run_memory_gb"] < 4


def test_the_check_stops_a_run_that_would_not_fit_or_not_begin(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "standin.safetensors").write_bytes(b"broken")
    (finding,), _ = run_finding(files)
    assert (finding["severity"], finding["values"]["kind"]) == ("stop", "ModelError")
    write_standin(tmp_path / "models", "standin")
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: SimpleNamespace(available=10**5))
    (finding,), numbers = run_finding(files)
    assert (finding["severity"], finding["values"]["kind"]) == ("stop", "NotEnoughMemory")
    assert numbers["run_memory_gb"] > 0.1


def test_of_a_pair_that_cannot_be_compared_nothing_is_estimated(files: list[str]) -> None:
    findings, numbers = run_finding([*files, "--before-bands", "B02,B03,B04,B05,B06,B07,B08,-,-,-"])
    assert findings == []
    assert (numbers["severity"], numbers["run_seconds"]) == (2, None)
