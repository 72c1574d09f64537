"""The command line, as scripts outside the project use it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import product
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from click.testing import CliRunner, Result

from s2change_plugin.engine import outputs
from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.card import SHIPPED
from s2change_plugin.engine.evidence import INDICES
from s2change_plugin.engine.outputs import RasterWriter
from s2change_plugin.engine.scores import GOALS
from tests.conftest import REPOSITORY, textured, write_stack
from tests.standin import write_standin

COMMAND = [sys.executable, "-m", "s2change_plugin.engine"]


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of models with the stand-in, and signals left as they were."""
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "models"))
    write_standin(tmp_path / "models", "standin")
    yield
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two dates alike but for a block of 40 × 60 pixels, and five rows of nodata at the top of the second."""
    ground = textured(10, 300, 340, 1)
    later = ground.copy()
    later[:, 100:140, 200:260] += 3000
    later[:, :5] = 0
    return write_stack(tmp_path / "before.tif", ground), write_stack(tmp_path / "after.tif", later)


def detect(*args: object, model: str = "standin") -> Result:
    # The block that changes is bright and wide, as a cloud is.
    return CliRunner().invoke(main, ["detect", *map(str, args), "--model", model, "--clouds", "none"])


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_every_output_of_one_run_agrees(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    names = {"mask": "m.tif", "probability": "p.tif", "quality": "q.tif", "polygons": "c.gpkg", "record": "r.json"}
    done = detect(*pair, *[part for name, file in names.items() for part in (f"--{name}", out / file)])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == sorted(names.values())
    mask, quality = read(out / "m.tif"), read(out / "q.tif")
    truth = np.zeros((300, 340), np.uint8)
    truth[100:140, 200:260] = 1
    truth[:5] = 255
    np.testing.assert_array_equal(mask, truth)
    np.testing.assert_array_equal(quality, np.where(truth == 255, 2, 0))
    record = json.loads((out / "r.json").read_text())
    assert record["result"]["changed_pixels"] == 2400
    assert record["result"]["changed_area_ha"] == pytest.approx(24 / 0.9996**2, rel=1e-3)
    assert record["result"]["observed_share"] == pytest.approx(295 / 300, abs=1e-5)
    assert (record["made_by"]["method"], record["made_by"]["model"]) == ("unet", "standin")
    assert "2,400 pixels" in done.output
    with rasterio.open(pair[0]) as one, rasterio.open(pair[1]) as other:
        dates = {"before": one.read() / 10000, "after": other.read() / 10000}
    (area,) = geopandas.read_file(out / "c.gpkg").itertuples()
    for index, bands in INDICES.items():
        for date, reflectance in dates.items():
            first, second = (reflectance[TEN_BANDS.index(band)][truth == 1] for band in bands)
            assert getattr(area, f"{index}_{date}") == pytest.approx(((first - second) / (first + second)).mean(), abs=0.004)
    assert area.observed_around == 1


@pytest.mark.parametrize("place", [0, 1])
def test_without_a_name_the_model_is_chosen_by_the_pair_and_the_record_says_which(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.card.shipped_models", lambda: tmp_path / "models")
    write_standin(tmp_path / "models", SHIPPED[place])
    asked = ["detect", *map(str, pair), "--mask", str(tmp_path / "m.tif"), "--record", str(tmp_path / "r.json")]
    done = CliRunner().invoke(main, [*asked, "--clouds", "none"])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "r.json").read_text())["made_by"]["model"] == SHIPPED[place]
    assert f"Model {SHIPPED[place]} on" in done.output


def test_outputs_in_two_folders_may_share_a_name(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    for name in ("masks", "qualities"):
        (tmp_path / name).mkdir()
    done = detect(*pair, "--mask", tmp_path / "masks" / "x.tif", "--quality", tmp_path / "qualities" / "x.tif")
    assert done.exit_code == 0, done.output
    assert set(np.unique(read(tmp_path / "masks" / "x.tif"))) == {0, 1, 255}
    assert set(np.unique(read(tmp_path / "qualities" / "x.tif"))) == {0, 2}


def test_a_name_that_the_system_refuses_gets_one_sentence(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = detect(*pair, "--mask", tmp_path / ("x" * 300))
    assert done.exit_code == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    "args",
    [
        "detect before.tif after.tif --mask loop.tif",
        "detect before.tif after.tif --mask loop/m.tif --record loop.json",
        "check before.tif after.tif --report loop.html",
        "stack before.tif loop.tif",
        "stack before.tif s.tif --quality loop.tif",
        "compare before.tif after.tif --table loop.csv",
        "chips before.tif after.tif before.tif loop",
        "picture before.tif after.tif --mask before.tif --output loop.png",
        "detect loop.tif after.tif --mask m.tif",
        "chips before.tif after.tif loop.tif data --level L1C",
    ],
)
def test_links_that_lead_in_a_circle_get_one_sentence(
    tmp_path: Path, pair: tuple[Path, Path], args: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("loop", "loop.tif", "loop.json", "loop.html", "loop.csv", "loop.png"):
        Path(name).symlink_to(name)
    done = CliRunner().invoke(main, args.split())
    assert done.exit_code == 1
    (said,) = re.findall(r"^Error: .*loop.*", done.stderr, re.MULTILINE)
    assert re.search(r"leads back to itself\. Remove it, or|does not exist|There is no file", said)
    assert not any(Path(name).exists() for name in ("m.tif", "s.tif", "data"))


def test_the_mask_with_bounds_is_the_crop_of_the_whole(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    whole, part = tmp_path / "whole.tif", tmp_path / "part.tif"
    assert detect(*pair, "--mask", tmp_path / "m.tif", "--probability", whole).exit_code == 0
    bounds = ("500105", "4998000", "502300", "4999200")
    assert detect(*pair, "--mask", tmp_path / "m.tif", "--probability", part, "--bounds", *bounds).exit_code == 0
    with rasterio.open(part) as raster:
        assert raster.bounds == (500100, 4998000, 502300, 4999200)
    np.testing.assert_array_equal(read(part), read(whole)[80:200, 10:230])


def test_areas_wait_for_a_review_and_are_not_replaced_once_something_is_said(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    run = (*pair, "--mask", tmp_path / "m.tif", "--polygons", tmp_path / "c.gpkg")
    for _ in range(2):
        assert detect(*run).exit_code == 0
    table = geopandas.read_file(tmp_path / "c.gpkg")
    assert table["review"].isna().all()
    assert table["note"].isna().all()
    table["note"] = " "
    table.to_file(tmp_path / "c.gpkg", layer="change")
    assert detect(*run).exit_code == 0
    table["note"] = "a crane"
    table.rename(columns={"note": "Note"}).to_file(tmp_path / "c.gpkg", layer="change")
    whole = (tmp_path / "c.gpkg").read_bytes(), (tmp_path / "m.tif").read_bytes()
    done = detect(*run)
    assert done.exit_code == 1
    assert "c.gpkg is a map in which something is said of 1 area. Choose another name, or delete it." in done.stderr
    assert ((tmp_path / "c.gpkg").read_bytes(), (tmp_path / "m.tif").read_bytes()) == whole


def test_a_file_that_waits_for_its_areas_is_filled(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    (tmp_path / "c.gpkg").touch()
    assert detect(*pair, "--mask", tmp_path / "m.tif", "--polygons", tmp_path / "c.gpkg").exit_code == 0
    assert len(geopandas.read_file(tmp_path / "c.gpkg")) == 1


def test_what_is_said_while_a_run_goes_on_stays(tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run = (*pair, "--mask", tmp_path / "m.tif", "--polygons", tmp_path / "c.gpkg")
    assert detect(*run).exit_code == 0
    table = geopandas.read_file(tmp_path / "c.gpkg")
    table["review"] = 0
    finish = RasterWriter.finish

    def saved_meanwhile(writer: RasterWriter, target: Path) -> Path:
        table.to_file(tmp_path / "c.gpkg", layer="change")
        return finish(writer, target)

    monkeypatch.setattr(RasterWriter, "finish", saved_meanwhile)
    assert "something is said of 1 area" in detect(*run).stderr
    assert geopandas.read_file(tmp_path / "c.gpkg")["review"].tolist() == [0]


def test_an_area_inside_the_bounds_is_the_same_as_in_the_whole(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    drawn = []
    for name, bounds in (("whole", ()), ("part", ("--bounds", "500105", "4998000", "502800", "4999200"))):
        done = detect(*pair, "--mask", tmp_path / "m.tif", "--polygons", tmp_path / f"{name}.gpkg", *bounds)
        assert done.exit_code == 0, done.output
        drawn.append(geopandas.read_file(tmp_path / f"{name}.gpkg"))
    assert drawn[0].geometry[0].equals(drawn[1].geometry[0])
    assert len(drawn[0].columns) == 12
    for name in drawn[0].columns.drop(["geometry", "review", "note"]):
        assert drawn[0][name].tolist() == pytest.approx(drawn[1][name].tolist(), rel=1e-3), name


def test_bounds_are_taken_in_another_crs(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    bounds = ("3.0", "45.13", "3.02", "45.14")
    done = detect(*pair, "--mask", tmp_path / "m.tif", "--bounds", *bounds, "--bounds-crs", "EPSG:4326")
    assert done.exit_code == 0, done.output
    assert 100 < read(tmp_path / "m.tif").shape[0] < 125


def test_bounds_that_miss_are_told_beside_the_overlap_in_their_crs(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    said = detect(*pair, "--mask", tmp_path / "m.tif", "--bounds", 3.1, 45.1, 3.2, 45.2, "--bounds-crs", "EPSG:4326").stderr
    assert "The bounds (3.1, 45.1, 3.2, 45.2) in EPSG:4326 do not meet the overlap" in said
    assert re.search(
        r"two dates, \(3\.0000, 45\.1[23]\d\d, 3\.04\d\d, 45\.15\d\d\) in EPSG:4326\. Choose an area inside it", said
    ), said


def test_a_threshold_of_ones_own_goes_before_the_models(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert "is called change" not in detect(*pair, "--mask", tmp_path / "m.tif").output
    done = detect(*pair, "--mask", tmp_path / "m.tif", "--threshold", "0")
    assert done.exit_code == 0
    assert (read(tmp_path / "m.tif")[5:] == 1).all()
    assert "100 % of what is observed is called change." in done.output
    assert "Threshold 0.\n" in done.output
    rounded = detect(*pair, "--mask", tmp_path / "m.tif", "--threshold", "0.25")
    assert "Threshold 0.248 in place of 0.25: probability is stored in steps of 0.004." in rounded.output


def test_a_stack_without_descriptions_works_with_the_option(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    bare = write_stack(tmp_path / "bare.tif", textured(10, 300, 340, 1), None)
    refused = detect(bare, pair[1], "--mask", tmp_path / "m.tif")
    assert refused.exit_code == 1
    option = refused.stderr.split("add: ")[1].split()
    assert detect(bare, pair[1], "--mask", tmp_path / "m.tif", *option).exit_code == 0


def test_a_raster_smaller_than_a_patch_works(tmp_path: Path) -> None:
    ground = textured(10, 21, 33, 1)
    later = ground.copy()
    later[:, 5:9, 5:9] += 3000
    paths = write_stack(tmp_path / "a.tif", ground), write_stack(tmp_path / "b.tif", later)
    assert detect(*paths, "--mask", tmp_path / "m.tif", "--no-register").exit_code == 0
    mask = read(tmp_path / "m.tif")
    assert mask.shape == (21, 33)
    assert mask.sum() == 16


def test_wrong_usage_is_a_sentence_among_the_events(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.__main__.stop_when_input_closes", lambda: None)
    asked = ["detect", *map(str, pair), "--mask", str(tmp_path / "m.tif"), "--method", "irmad", "--goal", "recall", "--events"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 1
    (said,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert said["event"] == "error"
    assert said["text"] == "The method irmad has one threshold and none for the goal recall: leave --goal out, or --method."


def test_wrong_usage_exits_with_two(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    mask = ("--mask", tmp_path / "m.tif")
    assert detect(pair[0], *mask).exit_code == 2
    assert detect(*pair).exit_code == 2
    assert detect(*pair, *mask, "--threshold", "1.5").exit_code == 2
    assert detect(*pair, *mask, "--bounds", "3", "3", "1", "1").exit_code == 2
    assert detect(*pair, *mask, "--before-bands", "B99").exit_code == 2


@pytest.fixture
def bad(tmp_path: Path, pair: tuple[Path, Path]):
    """Arguments that must fail, by name."""
    before, after = pair
    ground = textured(10, 300, 340, 1)
    text = tmp_path / "text.tif"
    text.write_text("no raster")
    damaged = tmp_path / "damaged.tif"
    write_stack(damaged, ground, compress="deflate", tiled=True)
    damaged.write_bytes(damaged.read_bytes()[:200000])
    model = write_standin(tmp_path / "models", "damaged")
    model.write_bytes(model.read_bytes()[:-5])
    mask = ("--mask", tmp_path / "m.tif")
    return {
        "not a raster": ((text, after, *mask), "not a raster"),
        "missing": ((tmp_path / "none.tif", after, *mask), "does not exist"),
        "damaged": ((damaged, after, *mask), "damaged"),
        "missing band": (
            (before, write_stack(tmp_path / "four.tif", ground[:4], ("B02", "B03", "B04", "B08")), *mask),
            "has no B05",
        ),
        "twice": ((before, before, *mask), "same raster"),
        "apart": ((before, write_stack(tmp_path / "far.tif", ground, origin=(700000, 4000000)), *mask), "does not overlap"),
        "no crs": ((before, write_stack(tmp_path / "crs.tif", ground, crs=None), *mask), "no CRS"),
        "one band": ((before, write_stack(tmp_path / "one.tif", ground[:1], ("B02",)), *mask), "one band only"),
        "nothing seen": ((before, write_stack(tmp_path / "empty.tif", ground * 0), *mask), "No pixel is observed"),
        "added offset": ((before, write_stack(tmp_path / "offset.tif", ground + 1000), *mask), "dn+1000"),
        "bounds outside": ((*pair, *mask, "--bounds", "0", "0", "10", "10"), "do not meet"),
        "no folder": ((*pair, "--mask", tmp_path / "none" / "m.tif"), "does not exist"),
        "unwritable folder": ((*pair, "--mask", Path("/proc/m.tif")), "cannot be written"),
        # Before the dates are looked at, of which one is no raster.
        "unwritable report": (
            (before, tmp_path / "text.tif", *mask, "--report", Path("/proc/r.html")),
            "/proc cannot be written",
        ),
        "output over input": ((*pair, "--mask", before), "cannot be an output"),
        "outputs alike": ((*pair, *mask, "--quality", tmp_path / "m.tif"), "same file name"),
        "no model": ((*pair, *mask, "--model", "nowhere"), "nowhere"),
        "damaged model": ((*pair, *mask, "--model", "damaged"), "damaged"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "not a raster", "missing", "damaged", "missing band", "twice", "apart", "no crs", "one band", "nothing seen", "added offset",
        "bounds outside", "no folder", "unwritable folder", "unwritable report", "output over input", "outputs alike", "no model", "damaged model",
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence_and_leaves_nothing(tmp_path: Path, bad, case: str) -> None:
    args, said = bad[case]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = CliRunner().invoke(main, ["detect", *(["--model", "standin"] if "--model" not in args else []), *map(str, args)])
    assert done.exit_code == 1, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert said in last
    assert "Traceback" not in done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path != tmp_path} == files


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_raster(tmp_path: Path) -> None:
    """Four times the pixels, of which one date alone would take 1.2 GB, take a sixth more at most.

    Of one width, since rows of blocks are held; what is too wide for that is walked in stripes (`test_detect`). The smaller one is tall
    enough for all that is held at once. On one core, since what several threads hold at once depends on who else is at work.
    """
    ask = "import os\nos.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
    ask += "from s2change_plugin.engine.__main__ import main\nmain(standalone_mode=False)\n"
    ask += "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    peaks = []
    for times in (12, 48):
        ground = np.tile(textured(10, 400, 400, 1), (1, times, 4))
        paths = write_stack(tmp_path / "a.tif", ground, tiled=True), write_stack(tmp_path / "b.tif", ground + 1, tiled=True)
        command = [
            sys.executable,
            "-c",
            ask,
            "detect",
            *paths,
            "--mask",
            tmp_path / "m.tif",
            "--model",
            "standin",
            "--no-register",
        ]
        environment = {**os.environ, "GDAL_CACHEMAX": "16"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=True)
        peaks.append(int(done.stdout.split("VmHWM:")[1].split()[0]))
    assert peaks[1] < 7 / 6 * peaks[0]


def test_what_is_slow_to_load_is_not_loaded_before_it_is_needed() -> None:
    ask = "import sys, s2change_plugin.engine.check, s2change_plugin.engine.detect; "
    ask += "print(sorted({'torch', 'geopandas', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"


def test_numpy_computes_a_matrix_on_one_core_since_others_are_busy() -> None:
    ask = "import sys; from s2change_plugin.engine.__main__ import main; early = 'numpy' in sys.modules; "
    ask += "main(['models'], standalone_mode=False); import os; print(early, os.environ['OPENBLAS_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=True
    )
    assert done.stdout.splitlines()[-1] == "False 1"


def test_events_are_json_lines_from_the_folder_to_the_result(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = started(tmp_path, pair, stdin=subprocess.PIPE)
    lines = [json.loads(line) for line in done.stdout]
    assert done.wait(60) == 0
    done.stdin.close()
    assert lines[0]["event"] == "started"
    assert Path(lines[0]["workdir"]).parent == tmp_path
    assert [line["event"] for line in lines].count("result") == 1
    assert lines[-1]["event"] == "result"
    assert lines[-1]["changed_pixels"] == 2400
    stages = [line for line in lines if line["event"] == "progress" and line["stage"] == "detect"]
    assert stages[-1]["done"] == stages[-1]["total"] == 4, "threads share even one window"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="shows what a process has open")
def test_no_library_finds_the_standard_input_that_is_waited_for(tmp_path: Path, large_pair: tuple[Path, Path]) -> None:
    """On Windows it would wait, while it is loaded, until the run is cancelled."""
    done = started(tmp_path, large_pair, stdin=subprocess.PIPE)
    wait_for_windows(done)
    assert os.readlink(f"/proc/{done.pid}/fd/0") == os.devnull
    done.stdin.close()
    assert done.wait(30) == 1


def test_a_standard_input_that_was_never_there_stops_a_run_as_a_closed_one_does(
    tmp_path: Path, large_pair: tuple[Path, Path]
) -> None:
    done = started(tmp_path, large_pair, preexec_fn=lambda: os.close(0))
    assert json.loads(done.stdout.readlines()[-1])["kind"] == "Cancelled"
    assert done.wait(30) == 1


def test_a_standard_output_that_was_never_there_is_no_traceback(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = started(tmp_path, (pair[0], pair[0]), stdin=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert done.wait(60) == 1
    assert done.stderr.read() == ""


@pytest.mark.parametrize(("command", "advice"), [("detect", " with --bounds."), ("check", " part.")])
def test_memory_that_runs_out_anywhere_is_one_sentence(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, command: str, advice: str
) -> None:
    def short(*args: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes.")

    monkeypatch.setattr("s2change_plugin.engine.detect.open_pair", short)
    monkeypatch.setattr("s2change_plugin.engine.check.open_pair", short)
    outputs = ["--mask", tmp_path / "m.tif"] if command == "detect" else []
    done = CliRunner().invoke(main, [command, *map(str, [*pair, *outputs]), "--model", "standin"])
    assert done.exit_code == 1
    assert "The memory is not enough. Close other programs, or choose a smaller part" in done.output
    assert done.output.rstrip().endswith(advice.strip())
    assert not (tmp_path / "m.tif").exists()


def test_an_error_is_an_event_too(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = started(tmp_path, (pair[0], pair[0]), stdin=subprocess.PIPE)
    last = [json.loads(line) for line in done.stdout][-1]
    assert done.wait(60) == 1
    assert (last["event"], last["kind"]) == ("error", "UnreadableInput")


@pytest.mark.parametrize("how", ["standard input closes", "SIGTERM", "SIGINT", "SIGHUP"])
def test_a_run_that_is_stopped_half_way_leaves_nothing(tmp_path: Path, large_pair: tuple[Path, Path], how: str) -> None:
    done = started(tmp_path, large_pair, stdin=subprocess.PIPE)
    workdir = wait_for_windows(done)
    assert any(workdir.iterdir())
    if how == "standard input closes":
        done.stdin.close()
    else:
        done.send_signal(getattr(signal, how))
    assert done.wait(30) == 1
    assert json.loads(done.stdout.readlines()[-1])["kind"] == "Cancelled"
    assert not workdir.exists()
    assert not (tmp_path / "m.tif").exists()


def test_a_stop_that_comes_once_all_is_in_place_says_so_and_not_that_nothing_was_written(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = outputs.publish

    def publish_and_stop(finished: dict[Path, Path]) -> None:
        publish(finished)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(outputs, "publish", publish_and_stop)
    for _ in range(2):
        done = detect(*pair, "--mask", tmp_path / "m.tif")
        assert (done.exit_code, "2,400 pixels" in done.output) == (0, True)

    def stop(finished: dict[Path, Path]) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(outputs, "publish", stop)
    done = detect(*pair, "--mask", tmp_path / "late.tif")
    assert (done.exit_code, "nothing was written" in done.output) == (1, True)
    assert not (tmp_path / "late.tif").exists()


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_what_a_killed_run_leaves_is_gone_after_the_next(
    tmp_path: Path, large_pair: tuple[Path, Path], pair: tuple[Path, Path]
) -> None:
    done = started(tmp_path, large_pair, stdin=subprocess.PIPE)
    workdir = wait_for_windows(done)
    done.kill()
    done.wait()
    assert workdir.exists()
    assert not (tmp_path / "m.tif").exists()
    assert detect(*pair, "--mask", tmp_path / "m.tif").exit_code == 0
    assert not workdir.exists()


def test_without_events_an_empty_standard_input_stops_nothing(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [*COMMAND, "detect", *pair, "--mask", tmp_path / "m.tif", "--model", "standin", "--clouds", "none"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert "2,400 pixels" in done.stdout
    assert "Detecting change" in done.stderr


def test_the_picture_shows_three_panels(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert detect(*pair, "--mask", tmp_path / "m.tif").exit_code == 0
    done = CliRunner().invoke(
        main, ["picture", *map(str, pair), "--mask", str(tmp_path / "m.tif"), "--output", str(tmp_path / "p.png")]
    )
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "p.png") as raster:
        picture = raster.read()
    assert picture.shape[2] > 2.2 * picture.shape[1]
    assert (np.abs(picture[:3].astype(int) - np.array([214, 0, 87])[:, None, None]).max(0) < 3).mean() > 0.003


def test_the_picture_of_a_large_map_shows_as_much_change_as_there_is(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with rasterio.open(pair[0]) as raster:
        profile = {**raster.profile, "count": 1, "dtype": "uint8", "height": 2000, "width": 2000}
    with rasterio.open(tmp_path / "m.tif", "w", **profile) as raster:
        raster.write((np.random.default_rng(0).random((2000, 2000)) < 0.1).astype(np.uint8), 1)
    asked = ["picture", *map(str, pair), "--mask", str(tmp_path / "m.tif"), "--output", str(tmp_path / "p.png")]
    assert CliRunner().invoke(main, asked).exit_code == 0
    with rasterio.open(tmp_path / "p.png") as raster:
        panel = raster.read()[:3, 100:-150, -500:-50].astype(int)
    assert (np.abs(panel - np.array([214, 0, 87])[:, None, None]).max(0) < 3).mean() == pytest.approx(0.1, abs=0.02)


def test_what_is_no_change_mask_is_not_drawn_as_one(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    # Where all was observed, the quality's codes are a mask's values.
    seen = ("--bounds", 500100, 4997500, 501000, 4999000)
    assert detect(*pair, "--mask", tmp_path / "m.tif", "--quality", tmp_path / "q.tif", *seen).exit_code == 0
    assert not read(tmp_path / "q.tif").any()
    with rasterio.open(pair[0]) as stack, rasterio.open(tmp_path / "b.tif", "w", **{**stack.profile, "count": 1}) as band:
        band.write(stack.read(1), 1)
    for mask, said in (
        ("before.tif", "has 10 layers"),
        ("q.tif", "holds 'observed, or why not'"),
        ("b.tif", "is no change mask"),
    ):
        asked = ["picture", *map(str, pair), "--mask", str(tmp_path / mask), "--output", str(tmp_path / "p.png")]
        done = CliRunner().invoke(main, asked)
        assert (done.exit_code, said in done.output) == (1, True), done.output
        assert not (tmp_path / "p.png").exists()


def test_what_was_not_observed_stands_out_from_paper_and_ground_and_its_patch_has_an_outline(
    tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    with rasterio.open(pair[0]) as raster:
        profile = {**raster.profile, "count": 1, "dtype": "uint8"}
    mask = np.zeros((profile["height"], profile["width"]), np.uint8)
    mask[: len(mask) // 3] = 255
    with rasterio.open(tmp_path / "m.tif", "w", **profile) as raster:
        raster.write(mask, 1)
    asked = ["picture", *map(str, pair), "--mask", str(tmp_path / "m.tif"), "--output", str(tmp_path / "p.png")]
    assert CliRunner().invoke(main, asked).exit_code == 0
    with rasterio.open(tmp_path / "p.png") as raster:
        picture = raster.read()[:3].astype(int)
    # The ground is grey in the last panel, so that what has a colour there, but change, is what was not observed.
    panel = picture[:, :, int(0.7 * picture.shape[2]) :]
    colours = Counter(map(tuple, panel[:, (np.ptp(panel, axis=0) > 30) & (panel[1] > 60)].T.tolist()))
    ((colour, times),) = colours.most_common(1)
    assert times > 0.15 * panel[0].size
    assert max(colour) < 220, "paper is 255"
    # Below, no more than the legend has it.
    patch = (np.abs(panel - np.array(colour)[:, None, None]) < 3).all(0)
    patch[: len(patch) // 2] = False
    rows, cols = patch.nonzero()
    assert 50 < len(rows) < 2000
    row = int(np.median(rows))
    for outside in (panel[:, row, cols.min() - 2 : cols.min()], panel[:, row, cols.max() + 1 : cols.max() + 3]):
        assert outside.sum(0).min() < sum(colour) - 50


def test_models_tell_programs_their_whole_card(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["models", "--json"])
    (told,) = [model for model in json.loads(done.stdout) if model["name"] == "standin"]
    assert told["path"] == str(tmp_path / "models" / "standin.safetensors")
    assert told["thresholds"] == {"f1": 0.5}
    assert set(json.loads((tmp_path / "models" / "standin.json").read_text())) <= set(told)


def test_models_tell_people_what_they_find_how_well_and_where_they_fail(tmp_path: Path) -> None:
    score = {"f1": 0.613, "precision": 0.58, "recall": 0.65, "iou": 0.442, "prevalence": 0.025, "pixels": 1000}
    write_standin(
        *(tmp_path / "models", "mine"),
        detects="New buildings.",
        thresholds={"f1": 0.5, "precision": 0.9},
        simulated_levels=("L2A",),
        scores={"pooled": score, "nantes": {**score, "f1": 0.541}, "spread": 0.01},
        known_failures=("Seasons: of ten false alarms, four are fields.", "Water."),
    )
    done = CliRunner().invoke(main, ["models"])
    assert done.exit_code == 0
    (mine,) = [card for card in done.stdout.split("\n\n") if card.startswith("mine\n")]
    lines = [line.strip() for line in mine.splitlines()]
    for said in (
        r"Detects +New buildings\.",
        r"Bands +B02, B03, .*B12",
        r"Level +Level-1C; Level-2A simulated only",
        r"Licence +GPL-2.0-or-later",
        r"nantes +54.1 % +58.0 % +65.0 % +44.2 % +2.5 %",
        r"pooled +61.3 % .*",
        r"Thresholds +0.500 +f1 .*",
        r"0.900 +precision .*",
        r"none +recall .*",
        r"Fails at +- Seasons: of ten false alarms, four are fields\.",
        r"- Water\.",
        r"File +.*mine\.safetensors",
    ):
        assert [line for line in lines if re.fullmatch(said, line)], said
    assert lines.index(next(line for line in lines if line.startswith("pooled"))) > [line[:6] for line in lines].index("nantes")


@pytest.fixture
def careful(tmp_path: Path) -> str:
    """A model whose probability is 0.82 where the pair changed and 0.18 where not, with a threshold between and one below both."""
    entries = {"thresholds": {"f1": 0.5, "recall": 0.1}, "calibration": (0.0, 0.1, 0.1), "known_failures": ("Snow.",)}
    write_standin(tmp_path / "models", "careful", simulated_levels=("L2A",), **entries)
    return "careful"


def test_the_goal_chooses_the_models_threshold_and_record_and_map_say_which(
    tmp_path: Path, pair: tuple[Path, Path], careful: str
) -> None:
    outputs = ("--mask", tmp_path / "m.tif", "--probability", tmp_path / "p.tif", "--record", tmp_path / "r.json")
    for given, goal, threshold, changed in (
        ((), "f1", 0.5, 2400),
        (("--threshold", "0.88"), None, 0.88, 2400),
        (("--goal", "recall"), "recall", 0.1, 295 * 340),
        (("--threshold", "0.9"), None, 0.9, 0),
    ):
        # In bfloat16 the numbers of one block differ.
        done = detect(*pair, *outputs, *given, "--precision", "float32", model=careful)
        assert done.exit_code == 0, done.output
        record = json.loads((tmp_path / "r.json").read_text())
        assert (record["result"]["goal"], record["result"]["threshold"]) == (goal, threshold)
        levels = read(tmp_path / "p.tif")
        above = ((levels >= round(threshold * 250)) & (levels != 255)).sum()
        assert record["result"]["changed_pixels"] == (read(tmp_path / "m.tif") == 1).sum() == above
        assert above == changed
        assert f"Threshold {threshold}" in done.output
        with rasterio.open(tmp_path / "m.tif") as raster:
            assert raster.tags().get("S2CHANGE_GOAL") == goal
    assert record["made_by"]["calibration"] == [0, 0.1, 0.1]
    assert record["made_by"]["known_failures"] == ["Snow."]
    assert 0.17 * 250 < np.median(read(tmp_path / "p.tif")) < 0.2 * 250


def test_a_goal_that_the_card_lacks_gets_one_sentence_with_those_that_it_has(
    tmp_path: Path, pair: tuple[Path, Path], careful: str
) -> None:
    done = detect(*pair, "--mask", tmp_path / "m.tif", "--goal", "precision", model=careful)
    assert done.exit_code == 1
    assert "no threshold for the goal precision; it has f1, recall" in done.stderr
    assert not (tmp_path / "m.tif").exists()


def test_the_command_offers_the_goals_that_there_are() -> None:
    (goal,) = [option for option in main.commands["detect"].params if option.name == "goal"]
    assert tuple(goal.type.choices) == tuple(GOALS)


def test_a_level_that_was_only_simulated_is_said_in_events_and_record(
    tmp_path: Path, pair: tuple[Path, Path], careful: str
) -> None:
    level_2a = [path.rename(tmp_path / f"{path.stem}_L2A.tif") for path in pair]
    asked = ("detect", *level_2a, "--mask", tmp_path / "m.tif", "--record", tmp_path / "r.json", "--model", careful)
    # Closing standard input would stop it.
    with subprocess.Popen(
        [*COMMAND, *asked, "--clouds", "none", "--events"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    ) as run:
        told = run.stdout.read()
    assert run.returncode == 0, told
    said = [event for event in map(json.loads, told.splitlines()) if event["event"] == "message"]
    assert [event["level"] for event in said if "simulated only" in event["text"]] == ["warning"]
    findings = json.loads((tmp_path / "r.json").read_text())["findings"]
    assert [one["severity"] for one in findings if "simulated only" in one["text"]] == ["warning"]
    refused = detect(*level_2a, "--mask", tmp_path / "m.tif")
    assert refused.exit_code == 1
    assert "--accept-level" in refused.stderr


def by_method(method: str, *args: object) -> Result:
    return CliRunner().invoke(main, ["detect", *map(str, args), "--method", method, "--clouds", "none"])


@pytest.mark.parametrize("method", ["cva", "irmad", "pca"])
def test_a_method_without_a_model_finds_the_change_and_says_itself(tmp_path: Path, pair: tuple[Path, Path], method: str) -> None:
    names = {"mask": "m.tif", "probability": "p.tif", "quality": "q.tif", "polygons": "c.gpkg", "record": "r.json"}
    with rasterio.open(pair[1], "r+") as raster:
        seen = raster.read()
        raster.write(np.where(seen > 0, seen + np.random.default_rng(1).integers(0, 60, seen.shape, np.uint16), seen))
    done = by_method(method, *pair, *[part for name, file in names.items() for part in (f"--{name}", tmp_path / file)])
    assert done.exit_code == 0, done.output
    mask, quality = read(tmp_path / "m.tif"), read(tmp_path / "q.tif")
    assert (mask[102:138, 202:258] == 1).mean() > 0.99
    mask[98:142, 198:262] = 0
    assert (mask[:5] == 255).all()
    assert (mask[5:] == 1).mean() < 0.01
    np.testing.assert_array_equal(quality == 2, read(tmp_path / "p.tif") == 255)
    record = json.loads((tmp_path / "r.json").read_text())
    assert (record["made_by"]["method"], record["made_by"]["model"]) == (method, None)
    assert record["made_by"]["pixels"] > 50_000
    assert record["result"]["threshold"] == 0.5
    assert "model" not in {finding["topic"] for finding in record["findings"]}
    with rasterio.open(tmp_path / "m.tif") as raster:
        assert raster.tags()["S2CHANGE_METHOD"] == method
        assert "S2CHANGE_MODEL" not in raster.tags()
    levels = read(tmp_path / "p.tif")
    assert by_method(method, *pair, "--mask", tmp_path / "m.tif", "--threshold", "0.1").exit_code == 0
    np.testing.assert_array_equal(read(tmp_path / "m.tif") == 1, (levels >= 25) & (levels != 255))
    assert ((levels >= 25) & (levels < 125)).any()


def test_a_method_without_a_model_does_without_pytorch(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    blocked = "import sys, runpy; sys.modules['torch'] = None; runpy.run_module('s2change_plugin.engine', run_name='__main__')"
    command = [sys.executable, "-c", blocked, "detect", *pair, "--mask", tmp_path / "m.tif", "--record", tmp_path / "r.json"]
    done = subprocess.run([*command, "--method", "cva"], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([*command, "--model", "standin"], capture_output=True, cwd=REPOSITORY).returncode == 1
    checked = subprocess.run(
        [sys.executable, "-c", blocked, "check", *pair, "--method", "cva", "--json"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert json.loads(checked.stdout)["numbers"]["run_memory_gb"] > 0, checked.stderr


@pytest.mark.skipif(os.name != "posix", reason="closes a stream as shells do")
def test_nobody_listening_makes_no_run_fail(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    command = f"{shlex.quote(sys.executable)} -m s2change_plugin.engine detect {shlex.join(map(str, pair))} --model standin --mask {{}} >&- 2>&-"
    mask = tmp_path / "m.tif"
    assert subprocess.run(["sh", "-c", command.format(shlex.quote(str(mask)))], cwd=REPOSITORY).returncode == 0
    assert mask.exists()


def test_the_bands_that_both_dates_share_are_enough_and_fewer_than_two_are_not(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    ground = textured(4, 300, 340, 1)
    few = write_stack(tmp_path / "few.tif", ground, ("B08", "B01", "B12", "B04"))
    done = by_method("cva", pair[0], few, "--mask", tmp_path / "m.tif", "--record", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "r.json").read_text())["made_by"]["bands"] == ["B04", "B08", "B12"]
    coarse = write_stack(tmp_path / "coarse.tif", ground, ("B01", "B09", "B10", "B08"))
    refused = by_method("cva", pair[0], coarse, "--mask", tmp_path / "m.tif")
    assert refused.exit_code == 1
    assert "At least two bands" in refused.stderr.splitlines()[-1]


def test_a_method_that_is_fitted_is_so_on_what_it_is_used_on_normalised_too(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with rasterio.open(pair[1]) as raster:
        dimmed = (raster.read() * 0.8).astype(np.uint16)
    after = write_stack(tmp_path / "dimmed.tif", dimmed)
    levels = []
    for option in ("--no-normalise", "--normalise"):
        written = ("--mask", tmp_path / "m.tif", "--probability", tmp_path / "p.tif", "--record", tmp_path / "r.json")
        assert by_method("cva", pair[0], after, *written, option).exit_code == 0
        levels.append(read(tmp_path / "p.tif").astype(int))
    assert json.loads((tmp_path / "r.json").read_text())["normalisation"]["done"]
    # A gain of a band is no change to it, so taking one out changes nothing but the rounding of reflectance.
    assert np.abs(levels[0] - levels[1]).max() <= 2


def test_a_model_for_a_method_without_one_is_wrong_usage(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    refused = by_method("cva", *pair, "--mask", tmp_path / "m.tif", "--model", "standin")
    assert refused.exit_code == 2
    assert "leave --model out" in refused.stderr
    assert by_method("guess", *pair, "--mask", tmp_path / "m.tif").exit_code == 2


@pytest.fixture
def large_pair(tmp_path: Path) -> tuple[Path, Path]:
    """So many windows, of one piece of ground again and again, that a run is stopped between two however late the word comes."""
    ground = textured(10, 512, 512, 1)
    return tuple(repeated(write_stack(tmp_path / f"large{place}.tif", ground + place), 16) for place in (1, 2))


def repeated(tile: Path, times: int) -> Path:
    """A virtual raster of a tile beside and below itself; see https://gdal.org/drivers/raster/vrt.html."""
    with rasterio.open(tile) as raster:
        size, left, top = raster.height, raster.transform.c, raster.transform.f
        crs, names = raster.crs.to_string(), raster.descriptions
    lines = [f'<VRTDataset rasterXSize="{times * size}" rasterYSize="{times * size}"><SRS>{crs}</SRS>']
    lines.append(f"<GeoTransform>{left}, 10, 0, {top}, 0, -10</GeoTransform>")
    for band, name in enumerate(names, start=1):
        lines.append(
            f'<VRTRasterBand dataType="UInt16" band="{band}" blockXSize="512" blockYSize="512"><Description>{name}</Description>'
        )
        for row, col in product(range(times), repeat=2):
            lines.append(
                f'<SimpleSource><SourceFilename relativeToVRT="1">{tile.name}</SourceFilename><SourceBand>{band}</SourceBand>'
                f'<SrcRect xOff="0" yOff="0" xSize="{size}" ySize="{size}"/>'
                f'<DstRect xOff="{col * size}" yOff="{row * size}" xSize="{size}" ySize="{size}"/></SimpleSource>'
            )
        lines.append("</VRTRasterBand>")
    path = tile.with_suffix(".vrt")
    path.write_text("".join([*lines, "</VRTDataset>"]), encoding="utf-8")
    return path


def started(tmp_path: Path, pair: tuple[Path, Path], **streams: object) -> subprocess.Popen:
    command = [*COMMAND, "detect", *pair, "--mask", tmp_path / "m.tif", "--model", "standin", "--clouds", "none", "--events"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, **streams)


def wait_for_windows(process: subprocess.Popen) -> Path:
    """The working folder, once a window is done."""
    workdir = Path(json.loads(process.stdout.readline())["workdir"])
    end = time.monotonic() + 120
    for line in process.stdout:
        event = json.loads(line)
        if event.get("stage") == "detect" and event["done"] >= 1:
            return workdir
        assert time.monotonic() < end
    raise AssertionError("the run ended before a window was done")


def test_a_picture_replaces_no_input_and_takes_any_file_name(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert detect(*pair, "--mask", tmp_path / "m.tif").exit_code == 0
    after = pair[1].rename(tmp_path / "a$b_{1}^.tif")
    command = ["picture", str(pair[0]), str(after), "--mask", str(tmp_path / "m.tif"), "--output"]
    for taken in (pair[0], tmp_path / "m.tif"):
        size = taken.stat().st_size
        assert CliRunner().invoke(main, [*command, str(taken)]).exit_code == 1
        assert taken.stat().st_size == size
    done = CliRunner().invoke(main, [*command, str(tmp_path / "p.png")])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(main, [*command, str(tmp_path / "p.png"), "--before-bands", "XX"]).exit_code == 2
    behind = pair[0].rename(tmp_path / "before.png")
    rasterio.shutil.copy(str(behind), str(pair[0].with_suffix(".vrt")), driver="VRT")
    command[1] = str(pair[0].with_suffix(".vrt"))
    refused = CliRunner().invoke(main, [*command, str(behind)])
    assert (refused.exit_code, "is an input" in refused.stderr) == (1, True)
    behind = (tmp_path / "m.tif").rename(tmp_path / "mask.png")
    rasterio.shutil.copy(str(behind), str(tmp_path / "m.vrt"), driver="VRT")
    command[4] = str(tmp_path / "m.vrt")
    refused = CliRunner().invoke(main, [*command, str(behind)])
    assert (refused.exit_code, "is an input" in refused.stderr) == (1, True)


_VRT = """<VRTDataset rasterXSize="340" rasterYSize="300"><SRS>EPSG:32631</SRS><GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""
_VRT_OF_POLYGONS = """<OGRVRTDataSource><OGRVRTLayer name="{0.stem}"><SrcDataSource relativeToVRT="1">{0}</SrcDataSource>
<SrcLayer>drawn</SrcLayer></OGRVRTLayer></OGRVRTDataSource>"""


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "args",
    [
        "detect before.tif after.tif --before-mask raster.vrt --mask there.tif",
        "detect before.tif after.tif --after-mask raster.vrt --mask m.tif --quality there.tif",
        "detect before.tif after.tif --before-mask drawn.vrt --mask m.tif --polygons there.gpkg",
        "detect before.tif after.tif --area drawn.vrt --mask m.tif --polygons there.gpkg",
        "detect before.tif after.tif --area drawn.vrt|layername=there --mask m.tif --polygons there.gpkg",
        "stack before.tif m.tif --mask raster.vrt --quality there.tif",
        "compare raster.vrt before.tif --confusion there.tif",
        "compare before.tif after.tif --labelled drawn.vrt --table there.csv",
    ],
)
def test_what_lies_behind_a_mask_or_an_area_is_not_replaced(
    tmp_path: Path, pair: tuple[Path, Path], args: str, nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = Path("there.tif" if "there.tif" in args else "there.csv" if "there.csv" in args else "there.gpkg")
    there.write_bytes(b"what must stay")
    inner = Path("inner.vrt")
    for given, text in (("raster.vrt", _VRT), ("drawn.vrt", _VRT_OF_POLYGONS)):
        if given in args:
            inner.write_text(text.format(there))
            Path(given).write_text(text.format(inner if nested else there))
    done = CliRunner().invoke(main, args.split())
    assert done.exit_code == 1
    assert f"Error: {there} is an input and cannot be an output too." in done.stderr.replace(f"{tmp_path}/", "")
    assert there.read_bytes() == b"what must stay"


def test_a_terminal_of_few_letters_ends_no_run(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    command = [*COMMAND, "check", *pair, "--before-units", "dn", "--after-units", "dn", "--model", "standin", "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    named = pair[0].rename(tmp_path / "Zürich−北.tif")
    command[command.index(pair[0])] = named
    done = subprocess.run(command, capture_output=True, cwd=REPOSITORY, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a shell that closes standard input")
def test_standard_input_that_was_never_open_stops_a_run_with_events(tmp_path: Path, large_pair: tuple[Path, Path]) -> None:
    words = [*COMMAND, "detect", *large_pair, "--mask", tmp_path / "m.tif", "--model", "standin", "--events"]
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *map(str, words)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.tif").exists()


def test_a_file_name_that_is_no_utf8_gets_one_sentence(tmp_path: Path) -> None:
    names = [os.fsencode(tmp_path / side) + b"_\xff.tif" for side in ("before", "after")]
    for name in names:
        Path(os.fsdecode(name)).write_bytes(b"II*")
    done = subprocess.run([sys.executable, "-m", "s2change_plugin.engine", "check", *names], capture_output=True, text=True)
    assert done.returncode == 1
    assert "is not valid UTF-8" in done.stderr
    assert "Traceback" not in done.stderr
