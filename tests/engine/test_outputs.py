import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from s2change_plugin.engine import outputs
from s2change_plugin.engine.errors import OutputError
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.validity import Quality

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 700, 600)


def written(tmp_path: Path, values: np.ndarray, layer: outputs.Layer) -> Path:
    writer = outputs.RasterWriter(tmp_path / "raw", GRID, layer, {"S2CHANGE_MODEL": "m"})
    writer.write(values, GRID.window)
    return writer.finish(Path("result.tif"))


def test_probability_is_stored_in_steps_that_gdal_scales_back(tmp_path: Path) -> None:
    probability = np.tile(np.linspace(0, 1, 600, dtype=np.float32), (700, 1))
    quality = np.zeros((700, 600), np.uint8)
    quality[:5] = Quality.NODATA_AFTER
    path = written(tmp_path, outputs.to_levels(probability, quality), outputs.PROBABILITY)
    with rasterio.open(path) as raster:
        stored = raster.read(1, masked=True)
        assert raster.nodata == 255
        assert (stored.mask[:5]).all()
        np.testing.assert_allclose(stored[5:] * raster.scales[0] + raster.offsets[0], probability[5:], atol=0.00201)


def test_a_mask_made_later_from_the_stored_probability_is_the_same() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    mask = outputs.to_mask(levels, outputs.applied_threshold(0.5))
    assert mask[0, 124] == 0
    assert mask[0, 125] == 1
    assert mask[0, 255] == 255
    stored = levels * np.float32(0.004)
    np.testing.assert_array_equal(mask[0, :251], stored[0, :251] >= np.float32(0.5))


@pytest.mark.parametrize(("asked", "applied"), [(0.5, 0.5), (0.3333, 0.332), (0.0, 0.0), (1.0, 1.0), (0.001, 0.004)])
def test_a_threshold_is_applied_at_the_nearest_stored_step(asked: float, applied: float) -> None:
    assert outputs.applied_threshold(asked) == applied


def test_results_are_cloud_optimized_and_say_what_they_are(tmp_path: Path) -> None:
    values = np.zeros((700, 600), np.uint8)
    values[100:300, 100:300] = 1
    with rasterio.open(written(tmp_path, values, outputs.MASK)) as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.descriptions == ("change",)
        assert raster.tags()["S2CHANGE_MODEL"] == "m"
        assert raster.tags(1)["255"] == "not observed"
        assert raster.colormap(1)[1][:3] == outputs.MASK.colours[1]
        assert raster.overviews(1)
        assert (raster.crs, raster.transform, raster.shape) == (GRID.crs, GRID.transform, GRID.shape)
        np.testing.assert_array_equal(raster.read(1), values)


@pytest.mark.parametrize("layer", [outputs.MASK, outputs.QUALITY], ids=["mask", "quality"])
def test_what_is_small_keeps_its_share_in_the_overviews(tmp_path: Path, layer: outputs.Layer) -> None:
    values = (np.random.default_rng(0).random((700, 600)) < 0.1).astype(np.uint8)
    with rasterio.open(written(tmp_path, values, layer), overview_level=0) as overview:
        assert overview.shape == (350, 300)
        assert overview.read(1).mean() == pytest.approx(0.1, abs=0.005)


@pytest.mark.skipif(os.name != "posix", reason="devices and pipes that have names")
def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(OutputError, match="is no file"):
        outputs.require_folders([tmp_path / "pipe.tif"])


def test_a_file_that_another_program_holds_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows moves none that is open, as the files of QGIS's layers are."""
    target = tmp_path / "mask.tif"
    target.write_text("old")
    outputs.require_folders([target])
    assert target.read_text() == "old"

    def held(source: Path, _: Path) -> None:
        raise PermissionError(13, "The process cannot access the file because it is being used by another process", str(source))

    monkeypatch.setattr(outputs.os, "replace", held)
    with pytest.raises(OutputError, match=r"mask\.tif could not be written.*Close it where it is open"):
        outputs.require_folders([target])
    outputs.require_folders([tmp_path / "new.tif"])


@pytest.mark.parametrize(("system", "times", "waited"), [("win32", 20, 10.0), ("win32", 21, 10.0), ("linux", 1, 0)])
def test_a_file_that_a_virus_scanner_holds_for_ten_seconds_is_published_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, times: int, waited: float
) -> None:
    """What is held for longer, or by rights, is refused, and the older result stays."""
    new, target = tmp_path / "new.tif", tmp_path / "mask.tif"
    new.write_text("new")
    target.write_text("old")
    replace, left, slept = os.replace, [times], []

    def held(source: Path, to: Path) -> None:
        if to == target and left[0]:
            left[0] -= 1
            raise PermissionError(13, "The process cannot access the file", str(source))
        replace(source, to)

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(time, "sleep", slept.append)
    if times == 20:
        outputs.publish({new: target})
    else:
        with pytest.raises(OutputError, match="could not be written"):
            outputs.publish({new: target})
    assert sum(slept) == waited
    assert target.read_text() == ("new" if times == 20 else "old")


def test_a_database_with_unsaved_changes_of_another_program_is_not_replaced(tmp_path: Path) -> None:
    """They would be written into the new one when that is opened, and break it."""
    target, new = tmp_path / "c.gpkg", tmp_path / "new.gpkg"
    target.write_text("old")
    new.write_text("new")
    (tmp_path / "c.gpkg-wal").write_text("unsaved")
    for attempt in (lambda: outputs.require_folders([target]), lambda: outputs.publish({new: target})):
        with pytest.raises(OutputError, match=r"c\.gpkg-wal lies beside it"):
            attempt()
    assert target.read_text() == "old"
    (tmp_path / "c.gpkg-wal").write_text("")
    outputs.publish({new: target})
    assert target.read_text() == "new", "who only reads leaves an empty one"


@pytest.mark.skipif(os.name != "posix", reason="links that anybody may make")
def test_what_a_link_stands_for_is_replaced_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "there.tif").write_text("old")
    (tmp_path / "mask.tif").symlink_to(tmp_path / "there.tif")
    (tmp_path / "new.tif").write_text("new")
    outputs.publish({tmp_path / "new.tif": tmp_path / "mask.tif"})
    assert (tmp_path / "mask.tif").is_symlink()
    assert (tmp_path / "there.tif").read_text() == "new"


@pytest.mark.parametrize("ending", [".aux.xml", ".ovr", ".msk"])
def test_what_lies_beside_an_older_result_does_not_describe_the_new_one(tmp_path: Path, ending: str) -> None:
    for name in ("mask.tif", f"mask.tif{ending}", "new.tif"):
        (tmp_path / name).write_text(name)
    outputs.publish({tmp_path / "new.tif": tmp_path / "mask.tif"})
    assert [path.name for path in tmp_path.iterdir()] == ["mask.tif"]


def test_a_shapefile_is_not_replaced_in_part(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is an input"):
        outputs.require_apart([str(tmp_path / "area.shp")], [tmp_path / "area.dbf"])


def test_the_working_folder_is_gone_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), outputs.workdir_beside(tmp_path / "mask.tif") as workdir:
        (workdir / "half").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    stale = tmp_path / f"{outputs._mine()}{gone.stdout.strip()}-abc"
    alive = tmp_path / f"{outputs._mine()}{os.getpid()}-abc"
    elsewhere = tmp_path / f".s2change-another-host~{gone.stdout.strip()}-abc"
    # Its name begins as this one's does, and goes on with a number.
    near = tmp_path / f".s2change-{socket.gethostname()}-{gone.stdout.strip()}~77-abc"
    for folder in (stale, alive, elsewhere, near):
        folder.mkdir()
    with outputs.workdir_beside(tmp_path / "mask.tif"):
        pass
    assert not stale.exists()
    assert alive.exists()
    assert elsewhere.exists()
    assert near.exists()


@pytest.mark.parametrize("told_by", ["machine", "container", "card"])
def test_a_run_on_another_machine_of_the_same_name_keeps_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_by: str
) -> None:
    """As in containers that share a disk and a name, and not their processes."""
    machine, processes = tmp_path / "machine", {"here": tmp_path / "here", "there": tmp_path / "there"}
    for path in processes.values():
        path.touch()
    results = tmp_path / "results"
    results.mkdir()

    def at(place: str) -> None:
        outputs._mine.cache_clear()
        monkeypatch.setattr(outputs, "_MACHINE", machine)
        monkeypatch.setattr(outputs, "_PROCESSES", processes[place if told_by == "container" else "here"])
        if told_by != "card":
            machine.write_text(place if told_by == "machine" else "the same")
        monkeypatch.setattr(outputs.uuid, "getnode", lambda: len(place))

    monkeypatch.setattr(outputs.psutil, "pid_exists", lambda pid: False)
    try:
        at("there")
        with outputs.workdir_beside(results / "mask.tif") as other:
            at("here")
            with outputs.workdir_beside(results / "mask.tif"):
                assert other.is_dir()
            at("there")
            with outputs.workdir_beside(results / "mask.tif"):
                assert not other.exists(), "its own machine knows that the process is gone"
    finally:
        outputs._mine.cache_clear()


def test_folders_that_a_killed_run_had_set_aside_are_put_back_where_nothing_came_in_their_place(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    stale = tmp_path / f"{outputs._mine()}{gone.stdout.strip()}-abc"
    for name in ("lost", "replaced"):
        (stale / outputs.SET_ASIDE / name).mkdir(parents=True)
        (stale / outputs.SET_ASIDE / name / "old").touch()
    (tmp_path / "replaced").mkdir()
    with outputs.workdir_beside(tmp_path / "data.json"):
        pass
    assert (tmp_path / "lost" / "old").exists()
    assert list((tmp_path / "replaced").iterdir()) == []
    assert not stale.exists()


def test_what_another_user_left_and_cannot_be_cleared_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f"{outputs._mine()}{gone.pid}-older-mask.tif"
    left.write_text("somebody's")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr("s2change_plugin.engine.outputs.os.replace", refuse)
        with outputs.workdir_beside(tmp_path / "other.tif") as workdir:
            assert workdir.is_dir()
    assert left.exists()


@pytest.mark.skipif(os.name != "posix", reason="umask")
def test_the_working_folder_is_made_as_any_folder_is(tmp_path: Path) -> None:
    """So that what is moved out of it is for whom the folder's files are."""
    plain = tmp_path / "plain"
    plain.mkdir()
    with outputs.workdir_beside(tmp_path / "mask.tif") as workdir:
        assert workdir.stat().st_mode == plain.stat().st_mode


def test_results_are_published_all_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("1")
    second.write_text("2")
    blocked = tmp_path / "folder"
    (blocked / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="folder could not be written"):
        outputs.publish({first: tmp_path / "mask.tif", second: blocked})
    assert not (tmp_path / "mask.tif").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_what_goes_to_another_disk_is_there_before_the_older_one_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """So that nothing is lost where the copy is cut short by a full disk, or by the end of the run."""
    new, folder = tmp_path / "new.tif", tmp_path / "other"
    folder.mkdir()
    target = folder / "mask.tif"
    new.write_text("new")
    target.write_text("old")
    replace, copy = os.replace, outputs.shutil.copyfile

    def within_a_disk(source: Path, to: Path) -> None:
        if source.parent != to.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, to)

    def copied(source: Path, to: Path) -> None:
        assert target.read_text() == "old"
        if fails:
            to.write_text("n")
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(source, to)

    monkeypatch.setattr(outputs.os, "replace", within_a_disk)
    monkeypatch.setattr(outputs.shutil, "copyfile", copied)
    if fails:
        with pytest.raises(OutputError, match=r"No space left on device\. Free some space and run again"):
            outputs.publish({new: target})
    else:
        outputs.publish({new: target})
    assert target.read_text() == ("old" if fails else "new")
    assert [path.name for path in folder.iterdir()] == ["mask.tif"]


def test_an_older_result_that_is_held_a_moment_longer_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new.tif").write_text("new")
    (tmp_path / "mask.tif").write_text("old")

    def held(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "in use", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", held)
        outputs.publish({tmp_path / "new.tif": tmp_path / "mask.tif"})
    assert (tmp_path / "mask.tif").read_text() == "new"


def test_names_of_one_file_are_no_input_and_output_however_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "before.tif").write_text("before")
    (tmp_path / "other.tif").hardlink_to(tmp_path / "before.tif")
    with pytest.raises(OutputError, match="is an input and cannot be an output too"):
        outputs.require_apart([str(tmp_path / "before.tif")], [tmp_path / "other.tif"])
    for one, other in (("Mask.tif", "mask.tif"), ("\u00fc.tif", "u\u0308.tif")):
        with pytest.raises(OutputError, match="same file name"):
            outputs.require_apart([], [tmp_path / one, tmp_path / other])


def test_a_file_that_does_not_read_back_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the disk fills up while GDAL closes the file, of which it says nothing."""
    copy = outputs.rasterio.shutil.copy

    def truncated(source: str, target: str, **options: object) -> None:
        copy(source, target, **options)
        os.truncate(target, os.path.getsize(target) - 500)

    monkeypatch.setattr(outputs.rasterio.shutil, "copy", truncated)
    values = np.random.default_rng(0).integers(0, 2, (700, 600)).astype(np.uint8)
    with pytest.raises(OutputError, match="could not be written"), outputs.writing(tmp_path / "m.tif"):
        written(tmp_path, values, outputs.MASK)


def test_a_failed_run_keeps_the_older_results(tmp_path: Path) -> None:
    first, second, target = tmp_path / "first", tmp_path / "second", tmp_path / "mask.tif"
    first.write_text("new")
    second.write_text("new")
    target.write_text("older")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError):
        outputs.publish({first: target, second: tmp_path / "folder"})
    assert target.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "mask.tif", "second"]


def test_a_result_replaces_an_older_one_and_its_statistics(tmp_path: Path) -> None:
    source, target = tmp_path / "new", tmp_path / "mask.tif"
    source.write_text("new")
    target.write_text("old")
    (tmp_path / "mask.tif.aux.xml").write_text("old statistics")
    outputs.publish({source: target})
    assert target.read_text() == "new"
    assert not (tmp_path / "mask.tif.aux.xml").exists()


def test_a_name_too_long_for_its_older_result_to_be_set_aside_is_refused_before_the_run(tmp_path: Path) -> None:
    target = tmp_path / f"{'x' * 240}.tif"
    outputs.require_folders([target])
    target.write_text("older")
    with pytest.raises(OutputError, match=r"File name too long\. .* choose another name"):
        outputs.require_folders([target])
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nowhere does not exist"):
        outputs.require_folders([tmp_path / "nowhere" / "mask.tif"])


def test_an_older_result_that_a_killed_run_had_set_aside_is_put_back(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = f"{outputs._mine()}{gone.pid}-older-"
    (tmp_path / f"{mine}lost.tif").write_text("older")
    (tmp_path / f"{mine}kept.tif").write_text("older")
    (tmp_path / "kept.tif").write_text("newer")
    with outputs.workdir_beside(tmp_path / "next.tif"):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"lost.tif": "older", "kept.tif": "newer"}
