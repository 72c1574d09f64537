"""The command `chips`, as a person or a script uses it, and how it cuts ground into groups."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from click.testing import CliRunner, Result
from rasterio.crs import CRS
from rasterio.windows import Window
from shapely.geometry import Point, box

from s2change_plugin.engine import chips as module
from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.chips import CONTEXT_PX, STRIP_PX, cut
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.labelled import centres, city_names, grids, origins, sharing_ground
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.scene import open_scene
from tests.conftest import write_stack

LEFT, TOP = 500000, 5000000
# Rows and columns of what changed, and of what was looked at.
CHANGED, LOOKED_AT = (slice(60, 100), slice(200, 260)), (slice(40, 140), slice(150, 300))


@pytest.fixture
def dates(tmp_path: Path, ground: np.ndarray) -> list[Path]:
    """Two dates of 300 × 340 pixels, the later one a little brighter."""
    return [write_stack(tmp_path / "before_L1C.tif", ground), write_stack(tmp_path / "after_L1C.tif", ground + 20)]


@pytest.fixture
def change(tmp_path: Path) -> Path:
    return draw(tmp_path / "change.gpkg", pixels(*CHANGED))


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return draw(tmp_path / "seen.gpkg", pixels(*LOOKED_AT))


def draw(path: Path, *shapes: object, crs: str = "EPSG:32631") -> Path:
    geopandas.GeoDataFrame(geometry=list(shapes), crs="EPSG:32631").to_crs(crs).to_file(path)
    return path


def pixels(rows: slice, cols: slice) -> object:
    """The rectangle of some pixels."""
    return box(LEFT + 10 * cols.start, TOP - 10 * rows.stop, LEFT + 10 * cols.stop, TOP - 10 * rows.start)


def chips(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["chips", *map(str, arguments)])


def export(*arguments: object) -> Result:
    done = chips(*arguments)
    assert done.exit_code == 0, done.output
    return done


def refusal(*arguments: object) -> str:
    done = chips(*arguments)
    assert done.exit_code == 1, done.output
    return done.stderr.strip().splitlines()[-1]


def result(*arguments: object) -> dict:
    said: dict = json.loads(export(*arguments, "--json").stdout)
    return said


def label(group: Path) -> np.ndarray:
    """A group's label on the pixels of the dates; 254 where the group does not reach."""
    whole = np.full((300, 340), 254, np.uint8)
    with rasterio.open(group / "change.tif") as raster:
        col, row = round((raster.transform.c - LEFT) / 10), round((TOP - raster.transform.f) / 10)
        whole[row : row + raster.height, col : col + raster.width] = raster.read(1)
    return whole


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_change_is_1_what_was_looked_at_0_and_the_rest_not_labelled(
    dates: list[Path], change: Path, seen: Path, tmp_path: Path
) -> None:
    said = result(*dates, change, tmp_path / "data", "--no-change", seen, "--name", "town")
    assert (said["groups"], said["change_pixels"], said["no_change_pixels"]) == (["town"], 2400, 15000 - 2400)
    found = label(tmp_path / "data" / "town")
    assert (found[CHANGED] == 1).all()
    assert ((found == 1).sum(), (found == 0).sum()) == (2400, 12600)
    found[LOOKED_AT] = 255
    assert set(np.unique(found)) == {254, 255}


def test_polygons_of_no_change_need_not_hold_the_change(dates: list[Path], change: Path, tmp_path: Path) -> None:
    calm = draw(tmp_path / "calm.gpkg", pixels(slice(200, 220), slice(30, 60)), crs="EPSG:4326")
    said = result(*dates, change, tmp_path / "data", "--no-change", calm)
    assert (said["change_pixels"], said["no_change_pixels"]) == (2400, 600)


def test_without_polygons_of_no_change_the_box_around_the_change_counts_and_it_says_so(dates: list[Path], tmp_path: Path) -> None:
    drawn = draw(tmp_path / "two.gpkg", pixels(slice(50, 60), slice(50, 60)), pixels(slice(90, 100), slice(80, 90)))
    done = export(*dates, drawn, tmp_path / "data", "--name", "town")
    assert "all else in the bounding box of the change counts as no change" in done.stderr
    found = label(tmp_path / "data" / "town")
    assert ((found == 1).sum(), (found == 0).sum()) == (200, 50 * 40 - 200)
    assert (found[50:100, 50:90] <= 1).all()


def test_more_change_than_any_ground_has_is_said(dates: list[Path], tmp_path: Path) -> None:
    drawn = draw(tmp_path / "two.gpkg", pixels(slice(50, 60), slice(50, 60)), pixels(slice(60, 70), slice(55, 65)))
    assert "67 % of what is labelled is change" in export(*dates, drawn, tmp_path / "data", "--name", "town").stderr
    seen = draw(tmp_path / "seen.gpkg", pixels(slice(30, 90), slice(30, 90)))
    assert (
        "of what is labelled is change"
        not in export(*dates, drawn, tmp_path / "other", "--name", "town", "--no-change", seen).stderr
    )


def test_what_is_not_observed_or_not_in_the_area_is_not_labelled(
    ground: np.ndarray, dates: list[Path], change: Path, seen: Path, tmp_path: Path
) -> None:
    ground[:, 60:70] = 0
    write_stack(dates[0], ground, nodata=0)
    cloud = draw(tmp_path / "cloud.gpkg", pixels(slice(70, 80), slice(0, 340)))
    area = draw(tmp_path / "area.gpkg", pixels(slice(0, 90), slice(0, 340)))
    masks = ("--after-mask", cloud, "--mask-buffer", 0, "--area", area, "--clouds", "none")
    said = result(*dates, change, tmp_path / "data", "--no-change", seen, "--name", "town", *masks)
    assert (said["change_pixels"], said["unobserved_pixels"]) == (10 * 60, 20 * 150)
    found = label(tmp_path / "data" / "town")
    assert (found[60:80] >= 254).all()
    assert (found[90:] >= 254).all()
    assert (found[80:90, 200:260] == 1).all()


def test_the_images_are_what_the_engine_reads_of_the_pair(
    dates: list[Path], ground: np.ndarray, change: Path, seen: Path, tmp_path: Path
) -> None:
    """The shift between the dates is taken out."""
    write_stack(dates[1], ground, origin=(LEFT + 7.0, TOP - 4.0))
    export(*dates, change, tmp_path / "data", "--no-change", seen, "--name", "town")
    scenes = [open_scene(str(date)) for date in dates]
    with open_pair(scenes[0], scenes[1], TEN_BANDS, PairOptions()) as pair:
        assert pair.shift.measured
        for side in ("before", "after"):
            with rasterio.open(tmp_path / "data" / "town" / f"{side}.tif") as raster:
                assert raster.descriptions == TEN_BANDS
                values, t = raster.read(masked=True), raster.transform
            col, row = ~pair.grid.transform @ (t.c, t.f)
            read = pair.read(Window(round(col), round(row), raster.width, raster.height))
            np.testing.assert_allclose(values.filled(0) / 1e4, np.nan_to_num(getattr(read, side)), atol=5.1e-5)


@pytest.mark.parametrize("extent", [Window(700, 900, 400, 400), Window(700, 900, 1700, 1200), Window(0, 0, 3000, 3000)])
def test_blocks_share_no_pixel_and_leave_a_strip_along_cuts(extent: Window) -> None:
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, LEFT, 0, -10, TOP), 3000, 3000)
    shown, labelled = np.zeros(grid.shape, int), np.zeros(grid.shape, int)
    blocks = cut(extent, grid, 5000)
    for number, block in enumerate(blocks, start=1):
        shown[block.window.toslices()] += 1
        assert (labelled[block.inside.toslices()] == 0).all()
        labelled[block.inside.toslices()] = number
        assert 333 <= block.inside.height + 2 * STRIP_PX <= 750 + 2 * CONTEXT_PX
    assert shown.max() == 1
    # All that is labelled is shown, with as much around it as the scene has.
    rows, cols = extent.toslices()
    context = slice(max(0, rows.start - CONTEXT_PX), rows.stop + CONTEXT_PX)
    assert shown[context, max(0, cols.start - CONTEXT_PX) : cols.stop + CONTEXT_PX].all()
    # Two pixels with labels of different groups lie more than the strips apart.
    for axis in (0, 1):
        line = np.moveaxis(labelled[rows, cols], axis, 0)[20, :]
        where = np.flatnonzero(line)
        gaps = [after - before for before, after in zip(where, where[1:], strict=False) if line[before] != line[after]]
        assert all(gap == 2 * STRIP_PX + 1 for gap in gaps)
        assert len(gaps) == max(1, round((extent.width, extent.height)[axis] / 500)) - 1
    assert len({block.name for block in blocks}) == len(blocks)
    assert (len(blocks) == 1) == (blocks[0].name == "")


def test_blocks_are_measured_on_the_ground_where_pixels_are_taller_than_wide() -> None:
    grid = Grid(CRS.from_epsg(32631), Affine(8, 0, LEFT, 0, -12, TOP), 1000, 1000)
    # 12 km from north to south and 8 km from west to east.
    assert [block.name for block in cut(grid.window, grid, 4000)] == [f"-r{row}c{col}" for row in (1, 2, 3) for col in (1, 2)]


def test_a_large_scene_becomes_groups_that_hold_each_label_once(dates: list[Path], tmp_path: Path) -> None:
    drawn = draw(
        tmp_path / "dots.gpkg", *(Point(LEFT + x, TOP - y).buffer(100) for x in (300, 1700, 3000) for y in (300, 1400, 2700))
    )
    seen = draw(tmp_path / "all.gpkg", pixels(slice(0, 300), slice(0, 340)))
    said = result(*dates, drawn, tmp_path / "data", "--no-change", seen, "--name", "town", "--block", 1000)
    assert len(said["groups"]) == 9
    whole = result(*dates, drawn, tmp_path / "one", "--no-change", seen, "--name", "town")
    labels = [label(tmp_path / "data" / name) for name in said["groups"]]
    known = np.sum([found <= 1 for found in labels], 0)
    assert known.max() == 1
    cut_up = np.min(labels, 0)
    assert (cut_up[known == 1] == label(tmp_path / "one" / "town")[known == 1]).all()
    assert (known == 0).sum() == said["strip_pixels"]
    counted = said["change_pixels"] + said["no_change_pixels"]
    assert counted + said["strip_pixels"] == whole["change_pixels"] + whole["no_change_pixels"] == 300 * 340
    # Shown ground is nobody else's.
    assert not any(sharing_ground(grids(tmp_path / "data")).values())


def test_a_block_without_labels_is_left_out(dates: list[Path], tmp_path: Path) -> None:
    drawn = draw(tmp_path / "far.gpkg", pixels(slice(10, 30), slice(10, 30)), pixels(slice(270, 290), slice(310, 330)))
    said = result(*dates, drawn, tmp_path / "data", "--name", "town", "--block", 1000)
    assert said["groups"] == ["town-r1c1", "town-r3c3"]


def test_the_record_says_where_labels_come_from_without_folders(
    dates: list[Path], change: Path, seen: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    export(*dates, change, data, "--no-change", seen, "--name", "a")
    export(*dates, seen, data, "--name", "b", "--licence", "CC BY 4.0", "--detects", "New solar parks.")
    # What a model of these labels has to be shown.
    export(*dates, change, data, "--no-change", seen, "--name", "c", "--normalise")
    found = origins(data, ["a", "b", "c"])
    assert "--normalise" in found["c"].source
    assert found["a"].source == "own labels (change.gpkg, on before_L1C.tif and after_L1C.tif)"
    assert (found["a"].level, found["a"].licence) == ("L1C", "not stated by whoever drew the labels")
    assert found["a"].detects == "What was drawn as change in change.gpkg."
    assert (found["b"].licence, found["b"].detects) == ("CC BY 4.0", "New solar parks.")
    record = json.loads((data / "data.json").read_text())
    assert record["exports"]["a"]["options"]["no_change"] == str(seen)
    assert record["cities"]["a"]["changed_share"] == pytest.approx(2400 / 15000, abs=1e-4)


def test_the_level_must_be_known_and_one(dates: list[Path], ground: np.ndarray, change: Path, tmp_path: Path) -> None:
    plain = write_stack(tmp_path / "plain.tif", ground)
    other = write_stack(tmp_path / "other_L2A.tif", ground)
    data = tmp_path / "data"
    assert "Nothing tells the processing level of after" in refusal(dates[0], plain, change, data)
    assert "before is Level-1C and after is Level-2A" in refusal(dates[0], other, change, data)
    assert "before is Level-1C, and --level says L2A" in refusal(dates[0], plain, change, data, "--level", "L2A")
    assert not data.exists()
    done = export(dates[0], plain, change, data, "--level", "L1C", "--name", "a")
    assert "processing level" not in done.output, "it was told"
    assert origins(data, ["a"])["a"].level == "L1C"


def test_a_name_is_made_of_place_and_dates(ground: np.ndarray, change: Path, tmp_path: Path) -> None:
    dates = [
        write_stack(tmp_path / f"S2A_MSIL1C_{day}T104031_N0500_R008_T31TDH_{day}T130000.tif", ground + step)
        for step, day in ((0, "20210820"), (20, "20230823"))
    ]
    assert result(*dates, change, tmp_path / "data")["groups"] == ["31TDH-20210820-20230823"]
    plain = [write_stack(tmp_path / f"{name}.tif", ground) for name in ("my place, early", "my place, late")]
    assert result(*plain, change, tmp_path / "data", "--level", "L1C")["groups"] == ["my_place_early-my_place_late"]


def test_what_was_replaced_and_is_held_by_somebody_spoils_no_export(
    dates: list[Path], change: Path, seen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    export(*dates, change, data, "--no-change", seen, "--name", "town", "--block", 1000)
    before = city_names(data)

    def held(*args: object) -> None:
        raise PermissionError(13, "held by a virus scanner")

    monkeypatch.setattr(Path, "rename", held)
    export(*dates, change, data, "--name", "town", "--force")
    assert city_names(data) == ["town"] != before
    assert list(origins(data, ["town"])) == ["town"]


def test_a_name_that_is_taken_is_refused_and_with_force_replaced(
    dates: list[Path], change: Path, seen: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    export(*dates, change, data, "--no-change", seen, "--name", "town", "--block", 1000)
    export(*dates, change, data, "--name", "other")
    before = contents(data)
    assert "holds town-r1c1, town-r1c2 already" in (said := refusal(*dates, change, data, "--name", "town"))
    assert "--force" in said
    assert contents(data) == before
    export(*dates, change, data, "--name", "town", "--force")
    assert city_names(data) == ["other", "town"] == sorted(json.loads((data / "data.json").read_text())["cities"])
    assert contents(data)["other/change.tif"] == before["other/change.tif"]


def test_a_folder_that_is_no_group_is_not_replaced(dates: list[Path], change: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    export(*dates, change, data, "--name", "town")
    (data / "town-r1c1").mkdir()
    (data / "town-r1c1" / "notes.txt").write_text("mine")
    export(*dates, change, data, "--name", "town", "--force")
    assert (data / "town-r1c1" / "notes.txt").read_text() == "mine"


def test_what_is_read_is_not_replaced(dates: list[Path], change: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    export(*dates, change, data, "--name", "town")
    again = [data / "town" / f"{side}.tif" for side in ("before", "after")]
    assert "is read and lies in what would be replaced" in refusal(
        *again, change, data, "--name", "town", "--force", "--level", "L1C"
    )
    behind = [tmp_path / f"{path.stem}.vrt" for path in again]
    for path, virtual in zip(again, behind, strict=True):
        rasterio.shutil.copy(str(path), str(virtual), driver="VRT")
    assert "is read and lies in what would be replaced" in refusal(
        *behind, change, data, "--name", "town", "--force", "--level", "L1C"
    )
    rasterio.shutil.copy(str(data / "town" / "change.tif"), str(tmp_path / "mask.vrt"), driver="VRT")
    assert "is read and lies in what would be replaced" in refusal(
        *dates, change, data, "--name", "town", "--force", "--before-mask", tmp_path / "mask.vrt"
    )
    assert city_names(data) == ["town"]


@pytest.mark.parametrize("kind", ["elsewhere", "empty", "lines", "missing", "elsewhere beside"])
def test_labels_that_are_none_are_refused_and_nothing_is_left(kind: str, dates: list[Path], change: Path, tmp_path: Path) -> None:
    drawn, more = tmp_path / "drawn.gpkg", []
    if kind == "elsewhere":
        draw(drawn, pixels(slice(5000, 5010), slice(0, 10)))
    elif kind == "empty":
        draw(drawn, pixels(slice(0, 1), slice(0, 1)).boundary)
    elif kind == "lines":
        drawn.write_text("no layer")
    elif kind == "elsewhere beside":
        more = ["--no-change", draw(tmp_path / "calm.gpkg", pixels(slice(5000, 5010), slice(0, 10)))]
        drawn = change
    text = {"elsewhere": "does not meet the overlap", "empty": "has no polygons", "elsewhere beside": "polygons of no change"}
    text["missing"] = f"There is no file {drawn}, which should hold the polygons of change"
    assert text.get(kind, "cannot be read as polygons") in refusal(*dates, drawn, tmp_path / "data", *more)
    assert not (tmp_path / "data").exists()


def test_polygons_that_lie_outside_are_counted_in_a_warning(dates: list[Path], tmp_path: Path) -> None:
    drawn = draw(tmp_path / "drawn.gpkg", pixels(*CHANGED), pixels(slice(5000, 5010), slice(0, 10)))
    assert "1 of 2 polygons of change lies outside" in export(*dates, drawn, tmp_path / "data").stderr


def test_labels_too_small_to_hold_a_pixels_centre_are_counted(dates: list[Path], seen: Path, tmp_path: Path) -> None:
    kiosk = box(LEFT + 2001, TOP - 509, LEFT + 2004, TOP - 506)
    drawn = draw(tmp_path / "drawn.gpkg", pixels(*CHANGED), kiosk)
    said = export(*dates, drawn, tmp_path / "data", "--no-change", seen).stderr
    assert f"1 of the 2 polygons of {drawn}, the polygons of change, inside the overlap" in said
    assert "no pixel's centre" not in export(*dates, seen, tmp_path / "other").stderr
    assert "No polygon of" in refusal(*dates, draw(tmp_path / "kiosk.gpkg", kiosk), tmp_path / "none")


def test_change_that_nobody_saw_is_refused(dates: list[Path], change: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert "No pixel of change is left" in refusal(*dates, change, data, "--after-mask", change)
    area = draw(tmp_path / "area.gpkg", pixels(slice(200, 220), slice(0, 50)))
    assert "area.gpkg counts" in refusal(*dates, change, data, "--area", area)
    assert not data.exists()


def test_a_group_of_which_hardly_anything_was_seen_is_left_out_and_named(dates: list[Path], tmp_path: Path) -> None:
    """A model could neither be trained on it nor be tested."""
    drawn = [pixels(slice(60, 100), slice(left, left + 20)) for left in (60, 240)]
    change, data = draw(tmp_path / "c.gpkg", *drawn), tmp_path / "data"
    cloud = draw(
        tmp_path / "cloud.gpkg", pixels(slice(0, 300), slice(150, 340)).difference(pixels(slice(70, 80), slice(240, 250)))
    )
    asked = (*dates, change, data, "--name", "town", "--block", "1000", "--before-mask", cloud, "--mask-buffer", "0")
    said = export(*asked)
    assert city_names(data) == ["town-r1c1"]
    assert "town-r1c2 is left out: fewer than 200 pixels there are observed on both dates." in said.stderr


def test_what_another_export_added_meanwhile_is_kept(
    dates: list[Path], change: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, write = tmp_path / "data", module.write_city

    def write_while_another_exports(*given: object) -> None:
        monkeypatch.setattr(module, "write_city", write)
        export(*dates, change, data, "--name", "other")
        write(*given)

    monkeypatch.setattr(module, "write_city", write_while_another_exports)
    export(*dates, change, data, "--name", "town")
    assert city_names(data) == ["other", "town"]
    assert set(origins(data, ["other", "town"])) == {"other", "town"}


def test_a_folder_is_of_one_level_as_a_model_is(dates: list[Path], change: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    # Under names that do not tell the level.
    dates = [Path(shutil.copyfile(date, tmp_path / name)) for date, name in zip(dates, ("a.tif", "b.tif"), strict=True)]
    export(*dates, change, data, "--name", "one", "--level", "L1C")
    said = refusal(*dates, change, data, "--name", "two", "--level", "L2A")
    assert "one of Level-1C and two of Level-2A. Keep them in two folders" in said
    assert city_names(data) == ["one"]
    export(*dates, change, data, "--name", "one", "--level", "L2A", "--force")


def test_a_folder_of_other_things_is_no_data_folder(dates: list[Path], change: Path, tmp_path: Path) -> None:
    other, file = tmp_path / "photos", tmp_path / "file"
    other.mkdir()
    (other / "cat.jpg").touch()
    file.touch()
    assert "holds cat.jpg and no data.json" in refusal(*dates, change, other)
    assert "is a file" in refusal(*dates, change, file)
    (tmp_path / "odd").mkdir()
    for record in ("[1]", '{"cities": 5}', '{"cities": {"one": 5}}'):
        (tmp_path / "odd" / "data.json").write_text(record)
        assert "is not the record of a data folder" in refusal(*dates, change, tmp_path / "odd")
    assert "does not exist" in refusal(*dates, change, tmp_path / "none" / "data")
    (tmp_path / "empty").mkdir()
    export(*dates, change, tmp_path / "empty")


def test_options_that_cannot_be_meant_are_wrong_usage(dates: list[Path], change: Path, tmp_path: Path) -> None:
    for option, value in (("--name", "../up"), ("--name", ".hidden"), ("--block", "10"), ("--level", "L3")):
        assert chips(*dates, change, tmp_path / "data", option, value).exit_code == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("kind", ["stopped", "full"])
def test_a_run_that_does_not_end_leaves_the_folder_as_it_was(
    kind: str, dates: list[Path], change: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, fresh = tmp_path / "data", tmp_path / "fresh"
    export(*dates, change, data, "--name", "town")
    before, replace = contents(data), os.replace

    def fail(source: Path, target: Path) -> None:
        """Fail when the record is put in place, all groups being there."""
        if Path(target).name == "data.json":
            if kind == "stopped":
                raise KeyboardInterrupt
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    for folder in (data, fresh):
        assert refusal(*dates, change, folder, "--name", "town", "--force")
    assert contents(data) == before
    assert [path.name for path in data.iterdir() if path.name.startswith(".")] == []
    assert not fresh.exists()


def test_groups_that_a_virus_scanner_holds_for_a_moment_are_published(
    dates: list[Path], change: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(*dates, change, tmp_path / "data", "--name", "town")
    replace, refused = os.replace, set()

    def held(source: Path, target: Path) -> None:
        """Refuse each move once."""
        if (source, target) not in refused:
            refused.add((source, target))
            raise PermissionError(13, "The process cannot access the file", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    export(*dates, change, tmp_path / "data", "--name", "town", "--force")
    assert {source.name for source, _ in refused} == {"town", "data.json", "older"}
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["data.json", "town"]


def test_it_says_what_scores_on_such_groups_will_not_tell(dates: list[Path], change: Path, seen: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = export(*dates, change, data, "--no-change", seen, "--name", "one").stderr
    assert "needs more than this one" in first
    second = export(*dates, change, data, "--no-change", seen, "--name", "two", "--block", 1000).stderr
    assert "one shows the same ground" in second
    assert "lie at one place" in second
    assert "not elsewhere" in second
    alone = draw(tmp_path / "alone.gpkg", pixels(slice(10, 20), slice(10, 20)))
    assert "Nothing is labelled as no change" in export(*dates, alone, tmp_path / "other").stderr


def test_bands_that_are_missing_are_said(ground: np.ndarray, change: Path, tmp_path: Path) -> None:
    dates = [write_stack(tmp_path / f"{name}_L1C.tif", ground[:4] + 1, TEN_BANDS[:4]) for name in ("a", "b")]
    assert "The dates lack B01, B06, B07, B08, B8A, B09, B10, B11, B12" in export(*dates, change, tmp_path / "data").stderr
    dates = [write_stack(tmp_path / f"{name}_L2A.tif", ground[:4] + 1, TEN_BANDS[:4]) for name in ("a", "b")]
    assert "The dates lack B06, B07, B08, B8A, B11, B12" in export(*dates, change, tmp_path / "other").stderr


def test_the_middle_of_what_crosses_180_degrees_lies_there(tmp_path: Path) -> None:
    """Near Taveuni; the mean of 179.9 and −179.9 would be half the Earth away."""
    (tmp_path / "a").mkdir()
    write_stack(
        tmp_path / "a" / "change.tif", np.zeros((1, 100, 1200), np.uint8), None, crs="EPSG:32760", origin=(813500, 8135000)
    )
    ((lon, lat),) = centres(tmp_path).values()
    assert abs(lon) == pytest.approx(180, abs=0.1)
    assert lat == pytest.approx(-16.8, abs=0.2)


def test_ground_is_shared_where_pixels_are_not_where_edges_touch() -> None:
    one = Grid(CRS.from_epsg(32631), Affine(10, 0, LEFT, 0, -10, TOP), 100, 100)
    right = Grid(one.crs, one.transform @ Affine.translation(100, 0), 100, 100)
    over = Grid(one.crs, one.transform @ Affine.translation(150, 50), 100, 100)
    west = Grid(CRS.from_epsg(32630), Affine(10, 0, 970000, 0, -10, TOP + 20000), 5000, 5000)
    far = Grid(CRS.from_epsg(32719), one.transform, 100, 100)
    assert not any(sharing_ground({"one": one, "right": right, "far": far}).values())
    assert sharing_ground({"one": one, "right": right, "over": over}) == {"one": set(), "right": {"over"}, "over": {"right"}}
    assert sharing_ground({"one": one, "west": west}) == {"one": {"west"}, "west": {"one"}}
