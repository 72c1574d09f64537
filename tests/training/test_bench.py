"""The benchmark: a pair as it says it is, honest parts and ratios, and a page with every row. Nothing here is timed."""

from __future__ import annotations

import math
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from rasterio.windows import Window

from s2change_plugin.engine.bands import TEN_BANDS, TEN_METRE_BANDS
from s2change_plugin.engine.card import AUTO, SHIPPED
from s2change_plugin.engine.choice import chosen_model
from s2change_plugin.engine.errors import S2ChangeError
from s2change_plugin.engine.model import load_model
from s2change_plugin.engine.registration import measure_displacement
from s2change_plugin.engine.scene import open_scene
from training.bench import parts, scenes
from training.bench.__main__ import main
from training.bench.inside import Clocks
from training.bench.measure import Measured, run_measured
from training.bench.parts import cubic_weights, layers_of, write_rasters
from training.bench.peers import PEERS, missing, starts, tile_count
from training.bench.report import PAGE, PICTURE, ROWS, Goal, goals, growth, page, ratio, shares, table
from training.bench.rounds import Round, Sample, first_window_of, stages_of

T = TypeVar("T")
SIZE = 288


def quiet(items: Sequence[T], label: str) -> Iterator[T]:
    yield from items


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, scenes.Tile]:
    return scenes.make_tiles(tmp_path_factory.mktemp("pair"), SIZE, quiet)


def test_a_date_is_one_described_stack_in_deflated_blocks(tiles: dict[str, scenes.Tile]) -> None:
    for path in (tiles["1"].before, tiles["1"].after):
        with rasterio.open(path) as raster:
            assert raster.shape == (SIZE, SIZE)
            assert raster.descriptions == TEN_BANDS
            assert set(raster.dtypes) == {"uint16"}
            assert raster.compression.value == "DEFLATE"
            assert set(raster.block_shapes) == {(512, 512)}
            assert raster.res == (10, 10)


def test_smaller_tiles_are_corners_of_the_tile_and_four_are_the_tile_four_times(tiles: dict[str, scenes.Tile]) -> None:
    with rasterio.open(tiles["1"].after) as raster:
        whole = raster.read()
    for name, side in (("1/4", SIZE // 2), ("1/16", SIZE // 4)):
        with rasterio.open(tiles[name].after) as raster:
            np.testing.assert_array_equal(raster.read(), whole[:, :side, :side])
    with rasterio.open(tiles["4"].after) as raster:
        np.testing.assert_array_equal(raster.read(), np.tile(whole, (1, 2, 2)))
        assert raster.descriptions == TEN_BANDS


def test_the_dates_are_displaced_by_part_of_a_pixel(tiles: dict[str, scenes.Tile]) -> None:
    dates = []
    for path in (tiles["1"].before, tiles["1"].after):
        with rasterio.open(path) as raster:
            dates.append(raster.read([2, 3, 7]).astype(np.float32) / 10000)
    halves = [(slice(row, row + 128), slice(col, col + 128)) for row in (0, 128) for col in (0, 128)]
    before, after = ([date[:, rows, cols] for rows, cols in halves] for date in dates)
    found = measure_displacement(before, after, [(64, 64), (64, 192), (192, 64), (192, 192)], (SIZE, SIZE))
    assert (found.rows, found.cols) == pytest.approx(scenes.SHIFT, abs=0.15)


def test_what_is_there_is_not_made_again_and_what_was_interrupted_is(tmp_path: Path) -> None:
    made = scenes.make_tiles(tmp_path, 128, quiet)["1"]
    made.before.write_bytes(b"kept")
    made.after.unlink()
    made.before.with_name("after-128.tif.part").write_bytes(b"half of it")
    scenes.make_tiles(tmp_path, 128, quiet)
    with rasterio.open(made.after) as raster:
        assert raster.read().any()
    made.before.write_bytes(b"kept")
    scenes.make_tiles(tmp_path, 128, quiet)
    assert made.before.read_bytes() == b"kept"


def test_a_window_of_the_mosaic_does_not_depend_on_how_it_is_cut() -> None:
    random = np.random.default_rng(0)
    mosaic = scenes.Mosaic({"before": [random.integers(1, 9999, (10, 40, 40), np.uint16) for _ in range(6)]})
    whole = mosaic.read("before", Window(0, 0, 130, 110))
    np.testing.assert_array_equal(mosaic.read("before", Window(35, 20, 70, 61)), whole[:, 20:81, 35:105])
    assert len({whole[:, row : row + 40, col : col + 40].tobytes() for row in (0, 40) for col in (0, 40, 80)}) > 2


def test_products_hold_the_same_reflectance_and_the_mean_of_it_at_20_m(tmp_path: Path, tiles: dict[str, scenes.Tile]) -> None:
    products = scenes.make_products(tmp_path, tiles["1/4"], quiet)
    # Ten bands, and the cloud mask.
    assert len(products.files) == 2 * (10 + 1)
    assert len(list(products.before.rglob("*.jp2"))) == 13 + 1
    with rasterio.open(tiles["1/4"].before) as raster:
        stack = dict(zip(TEN_BANDS, raster.read(), strict=True))
    scene = open_scene(str(products.before))
    assert (scene.acquisition.level, scene.acquisition.tile, scene.acquisition.sensed.year) == ("L1C", "31TDK", 2016)
    assert scene.mask is not None
    assert scene.bands["B08"].rule.whole_offset == -1000
    with rasterio.open(scene.bands["B08"].path) as raster:
        np.testing.assert_array_equal(raster.read(1), stack["B08"] + 1000)
    with rasterio.open(scene.bands["B11"].path) as raster:
        assert raster.res == (20, 20)
        assert raster.read(1)[3, 5] == round(stack["B11"][6:8, 10:12].mean()) + 1000
    after = open_scene(str(products.after), side="after")
    assert chosen_model(AUTO, scene, after) == SHIPPED[0], "all 13 bands"


def test_every_block_is_read_once(tiles: dict[str, scenes.Tile], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    share = parts._read_share

    def counted(given: tuple[Path, int]) -> int:
        read.append(share(given))
        return read[-1]

    monkeypatch.setattr(parts, "_read_share", counted)
    parts.read_blocks(*tiles["1"].files)
    assert sum(read) == 2 * 10 * SIZE**2


def test_cubic_weights_give_a_parabola_back() -> None:
    assert cubic_weights(0.0) == pytest.approx([0, 1, 0, 0])
    assert float(cubic_weights(0.4) @ np.arange(-1, 3.0) ** 2) == pytest.approx(0.16)
    assert cubic_weights(0.3)[::-1] == pytest.approx(cubic_weights(0.7))


def test_the_layers_are_all_convolutions_of_the_network_with_their_work() -> None:
    model = load_model(scenes.MODEL, "cpu", "float32")
    found = layers_of(model, 128)
    card = model.card
    # The one view that has so few channels, and no cells.
    channels = len(TEN_METRE_BANDS)
    first = next(layer for layer in found if layer.inputs == channels)
    assert (first.kind, first.side, first.shape) == ("conv", 3, (2, channels, 128, 128))
    assert first.flops == 2 * 9 * channels * first.outputs * 2 * 128 * 128
    # Blocks of two, down on depth levels below the finest and up on those between; and for the networks that share their finest
    # level a block down, a way up to it, a block there and a head.
    networks = Counter(zip(card.views, card.view_cells or repeat(1), strict=False))
    depths = [card.depth - int(math.log2(cell)) for (_, cell), count in networks.items() for _ in range(count)]
    groups = sum(math.ceil(count / max(1, 16 // (card.width * cell))) for (_, cell), count in networks.items())
    expected = sum(2 * depth + 2 * (depth - 1) for depth in depths) + groups * 5
    assert sum(times for layer, times in found.items() if layer.kind == "conv") == expected
    assert sum(times for layer, times in found.items() if layer.kind == "up") == sum(depth - 1 for depth in depths) + groups
    for layer in found:
        assert layer.build().eval()(torch.zeros(layer.shape)).shape[1] == layer.outputs


def test_bare_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    for name in ("mask", "probability", "quality"):
        with rasterio.open(tmp_path / f"{name}.tif", "w", driver="GTiff", dtype="uint8", count=1, height=60, width=70) as raster:
            raster.write(np.ones((60, 70), np.uint8), 1)
    write_rasters(*(tmp_path / f"{name}.tif" for name in ("mask", "probability", "quality")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.tif", "probability.tif", "quality.tif"]


def test_tiles_of_a_peer_cover_all_and_overlap_by_twice_the_margin() -> None:
    assert starts(600, 256, 32) == [0, 192, 344]
    assert starts(256, 256, 32) == [0]
    assert starts(448, 256, 32) == [0, 192]


def test_a_peer_is_scaled_up_by_its_patches_which_overlap_more_at_the_edge_of_what_it_ran_on() -> None:
    # 512² every 436th pixel, and once more at the edge.
    assert tile_count("onnx", 2745) == 7**2
    assert tile_count("onnx", 10980) == 26**2
    assert tile_count("naive", 2745) == 14**2
    assert tile_count("naive", 10980) == 57**2
    assert tile_count("naive", 200) == 1


def test_a_process_is_measured_with_its_children_and_with_what_it_says() -> None:
    child = "import time; b = bytearray(200_000_000); time.sleep(1.5)"
    parent = f"import subprocess, sys; print('{{\"a\": 1}}', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    found = run_measured([sys.executable, "-c", parent])
    assert found.result == {"a": 1}
    assert found.peak_bytes > 200_000_000


def test_a_process_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(S2ChangeError, match="ended with 3: no tile today"):
        run_measured([sys.executable, "-c", "import sys; print('no tile today', file=sys.stderr); sys.exit(3)"])


def test_the_first_window_and_the_stages_come_from_the_events() -> None:
    def at(when: float, stage: str, done: int) -> tuple[float, dict[str, object]]:
        return when, {"event": "progress", "stage": stage, "done": done, "total": 2}

    said = (at(1, "register", 0), at(2, "register", 1), at(2, "detect", 0), at(4, "detect", 1), at(7, "detect", 2))
    run = Measured(9, 0, ((0.5, {"event": "started"}), *said))
    assert first_window_of(run) == 4
    assert stages_of(run) == {"start": 1, "register": 1, "detect": 5, "end": 2}
    assert first_window_of(Measured(9, 0)) is None


def test_what_runs_inside_of_another_has_its_own_seconds_in_each_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("training.bench.inside.time.perf_counter", lambda: now[0])
    clocks = Clocks()

    def spend(seconds: float) -> None:
        now[0] += seconds

    inner = clocks.on("inner", spend)

    def work() -> int:
        spend(1)
        inner(2)
        spend(3)
        return 7

    outer = clocks.on("outer", work)
    assert outer() == 7
    spend(50)
    thread = threading.Thread(target=outer)
    thread.start()
    thread.join()
    assert dict(clocks.seconds) == {"outer": 8, "inner": 4}


def round_of(**seconds: float) -> Round:
    return {name.replace("_", "-"): Sample(value, 2_000_000_000, 1.0) for name, value in seconds.items()}


def test_ratios_are_medians_of_each_round_s_own() -> None:
    # The machine was slower in the second round, which says nothing of the ratio; medians of seconds would give 1.5.
    rounds = [round_of(detect=10, read=5), round_of(detect=40, read=20), round_of(detect=30, read=40)]
    assert ratio(rounds, ["detect"], ["read"]) == 2
    assert ratio(rounds, ["naive"], ["detect"]) is None


def test_goals_are_decided_by_the_numbers() -> None:
    fast = round_of(detect=12, read=2, resample=2, network=4, write=2, naive=120, onnx=23, layers=4)
    found = {goal.text: goal for goal in goals([fast], scenes.TILE_SIZE)}
    assert found["Whole run against the sum of its bare parts"].value == pytest.approx(1.2)
    assert found["Whole run against the sum of its bare parts"].verdict == "reached"
    assert found["Faster than the naive loop"].verdict == "reached"
    assert found["Faster than ONNX Runtime in the manner of Deepness"].verdict == "**missed**"
    assert found["Faster than Orfeo Toolbox's MAD"].verdict == "not measured"
    assert found["Peak memory, the tile"].value == 2
    slow = round_of(detect=14, read=2, resample=2, network=4, write=2)
    assert {goal.text: goal for goal in goals([slow], 10980)}[
        "Whole run against the sum of its bare parts"
    ].verdict == "**missed**"


def test_a_goal_at_its_limit_is_reached_on_either_side() -> None:
    assert Goal("", 2, 2).verdict == Goal("", 2, 2, at_least=True).verdict == "reached"
    assert Goal("", 2.1, 2).verdict == Goal("", 1.9, 2, at_least=True).verdict == "**missed**"


def test_seconds_of_another_size_are_scaled_to_a_tile() -> None:
    first = goals([round_of(detect=3)], scenes.TILE_SIZE // 2)[0]
    assert first.value == pytest.approx(12)
    assert "scaled" in first.text


def test_growth_is_one_where_seconds_follow_the_pixels() -> None:
    rounds = [{"detect": Sample(40), "detect-1/4": Sample(10)}]
    assert growth(rounds, 1024) == pytest.approx(1)
    assert growth([{"detect": Sample(80), "detect-1/4": Sample(10)}], 1024) == pytest.approx(2)


def test_the_rest_is_what_the_bare_parts_leave() -> None:
    found = shares([round_of(detect=12, read=2, resample=1, network=4, write=2)], "detect")
    assert found == {"read": 2, "resample": 1, "network": 4, "write": 2, "rest": 3}
    assert shares([round_of(detect=5, read=6)], "detect")["rest"] == 0


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| :-- | --: |\n| x | 1 |"


def test_a_peer_that_is_missing_is_said_with_what_to_install() -> None:
    text = page([round_of(detect=1, layers=1)], 1024, {"otb": "apt-get install otb-bin"}, {})
    row = next(line for line in text.splitlines() if line.startswith(f"| {PEERS['otb']}"))
    assert "missing: `apt-get install otb-bin`" in row


def test_the_whole_command_writes_a_page_with_every_row_and_a_picture(tmp_path: Path) -> None:
    asked = ["--size", "516", "--repeats", "1", "--steady", "0.02", "--folder", str(tmp_path / "pair"), "--report", str(tmp_path)]
    done = CliRunner().invoke(main, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = (tmp_path / PAGE).read_text(encoding="utf-8").splitlines()
    left_out = {name for name in PEERS if missing(name)}
    for name, text in ROWS.items():
        row = next(line for line in lines if line.startswith(f"| {text} |"))
        assert ("missing" in row) == (name in left_out), row
        assert "not measured" not in row
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in "".join(lines)
