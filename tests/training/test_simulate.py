"""The simulated sample: repeatable, physical, and with the change, shift, sky and season that it declares."""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from s2change_plugin.engine.bands import TEN_BANDS
from training import simulate
from training.__main__ import main
from training.simulate import (
    AFTER,
    BEFORE,
    CODE,
    HALO,
    MARGIN,
    SUB,
    Canvas,
    SampleOptions,
    air,
    cast_shadow,
    draw,
    make_plan,
    sampling,
    simulate_pair,
    write_sample,
)

SMALL = SampleOptions(size=256, clouds=False)
RED, NEAR_INFRARED = TEN_BANDS.index("B04"), TEN_BANDS.index("B08")


@pytest.fixture(scope="module")
def whole():
    return simulate_pair(SampleOptions())


@pytest.fixture(scope="module")
def clear():
    return simulate_pair(SMALL)


def on_one_raster(sample, options):
    """The pixels of both dates that have the same coordinates, as reflectance, and the truth there."""
    row, col = options.offset
    before = sample.before[:, row:, col:] / 10_000
    after = sample.after[:, : before.shape[1], : before.shape[2]] / 10_000
    return before, after, sample.truth[row:, col:]


def test_same_seed_gives_the_same_pixels_and_another_seed_others(clear):
    again, other = simulate_pair(SMALL), simulate_pair(replace(SMALL, seed=3))
    for name in ("before", "after", "truth"):
        assert np.array_equal(getattr(clear, name), getattr(again, name))
        assert not np.array_equal(getattr(clear, name), getattr(other, name))


def test_change_is_rare_and_in_pieces_of_mixed_size(whole):
    assert 0.015 <= whole.truth.mean() <= 0.04
    assert set(np.unique(whole.truth)) == {0, 1}
    pieces, count = ndimage.label(whole.truth)
    sizes = np.bincount(pieces.ravel())[1:]
    assert count >= 15
    assert sizes.min() <= 20
    assert sizes.max() >= 500


def test_truth_follows_from_what_was_drawn(clear):
    options = SMALL
    plan = make_plan(options)
    cells = np.arange(MARGIN * SUB, (MARGIN + options.size) * SUB, dtype=np.int32)
    before, after, new = draw(plan, cells, cells)
    share = new.reshape(options.size, SUB, options.size, SUB).mean((1, 3))
    assert np.array_equal(clear.truth, share >= 0.5)
    assert clear.truth.any()
    assert not np.isin(before.cover[new], [CODE["water"]]).any()
    built = np.isin(after.cover, [CODE[name] for name in ("paved", "tile", "slate", "metal", "white")])
    was = np.isin(before.cover, [CODE[name] for name in ("paved", "tile", "slate", "metal", "white")])
    assert not (built & ~was & ~new).any()


def test_reflectance_is_in_physical_range(whole):
    for image in (whole.before, whole.after):
        reflectance = image / 10_000
        assert image.min() > 0
        assert reflectance.max() < 1.3
        dark = np.percentile(reflectance, 1, axis=(1, 2))
        assert 0.06 < dark[0] < 0.13  # the path radiance of the blue
        assert dark[-1] < 0.08
        ndvi = (reflectance[NEAR_INFRARED] - reflectance[RED]) / (reflectance[NEAR_INFRARED] + reflectance[RED])
        assert np.percentile(ndvi, 1) < 0.05
        assert np.percentile(ndvi, 99) > 0.55


@pytest.mark.parametrize("shift", [(0.4, -0.5), (-0.7, 0.25), (0.0, 0.0)])
def test_misregistration_is_what_is_declared(shift):
    options = replace(SMALL, shift=shift)
    before, after, _ = on_one_raster(simulate_pair(options), options)
    found, _, _ = phase_cross_correlation(before[RED], after[RED], upsample_factor=50, normalization=None)
    assert np.abs(-found - shift).max() < 0.15  # it gives the shift that brings `after` back


def test_what_was_not_built_differs_by_haze_sun_and_noise_alone():
    options = replace(SMALL, shift=(0.0, 0.0))
    before, after, truth = on_one_raster(simulate_pair(options), options)
    plan = make_plan(options)
    first = [(MARGIN + at) * SUB for at in options.offset]
    rows, cols = (np.arange(at, at + n * SUB, dtype=np.int32) for at, n in zip(first, truth.shape, strict=True))
    cover = draw(plan, rows, cols)[0].cover.reshape(truth.shape[0], SUB, truth.shape[1], SUB)
    water = ndimage.binary_erosion((cover == CODE["water"]).all((1, 3)), iterations=5) & (truth == 0)
    assert water.sum() > 50
    for number, band in enumerate(TEN_BANDS):
        paths, ways = zip(*(air(band, date) for date in (BEFORE, AFTER)), strict=True)
        expected = (before[number][water] - paths[0]) / ways[0] * ways[1] + paths[1]
        assert after[number][water].mean() == pytest.approx(expected.mean(), abs=0.006)  # haze varies by place


def test_crops_change_with_the_season_and_are_not_change():
    before, after, truth = on_one_raster(simulate_pair(SMALL), SMALL)
    ndvi = [(x[NEAR_INFRARED] - x[RED]) / (x[NEAR_INFRARED] + x[RED]) for x in (before, after)]
    strong = np.abs(ndvi[1] - ndvi[0]) > 0.2
    assert (strong & (truth == 0)).sum() > (truth == 1).sum()


def test_clouds_lie_on_the_second_date_only_where_declared(whole):
    assert 0.01 < (whole.cloud > 0.1).mean() < 0.08
    thick = whole.cloud > 0.8
    row, col = SampleOptions().offset
    after = whole.after[0][: thick.shape[0] - row, : thick.shape[1] - col]
    assert np.median(after[thick[row:, col:]]) > 4_000
    assert np.median(whole.before[0][thick]) < 2_500


def test_a_detector_sees_all_its_cells_once_and_in_the_right_place():
    cells = 400
    place = (np.arange(cells) + 0.5) / SUB
    for gsd in (1, 2):
        matrix = sampling(20.3, 30, gsd, cells)
        assert matrix.sum(1) == pytest.approx(1, abs=1e-5)
        assert matrix @ place == pytest.approx(20.3 + (np.arange(30) + 0.5) * gsd, abs=0.01)


def test_shadow_falls_away_from_the_sun():
    canvas = Canvas((21, 21))
    canvas.height[10, 10] = 10.0
    shadow = np.argwhere(cast_shadow(canvas.height, replace(BEFORE, sun_azimuth=180.0, sun_elevation=45.0)))
    assert shadow[:, 1].tolist() == [10] * 3
    assert shadow[:, 0].tolist() == [7, 8, 9]  # 2.5, 5 and 7.5 m north of a tower of 10 m
    assert HALO >= 3


def test_files_carry_grid_bands_units_and_that_they_are_simulated(tmp_path: Path):
    options = replace(SMALL, size=128)
    paths = write_sample(tmp_path / "new", options)
    sample = simulate_pair(options)
    with rasterio.open(paths["before"]) as before, rasterio.open(paths["after"]) as after:
        for raster, image in ((before, sample.before), (after, sample.after)):
            assert raster.descriptions == TEN_BANDS
            assert raster.dtypes == ("uint16",) * 10
            assert (raster.nodata, raster.scales[0], raster.offsets[0]) == (0, 1e-4, 0)
            assert raster.crs.to_epsg() == 32631
            assert raster.profile["tiled"]
            assert raster.compression.name == "deflate"
            assert raster.tags()["SIMULATED"] == "yes"
            assert np.array_equal(raster.read(), image)
        assert before.tags()["TIFFTAG_DATETIME"] < after.tags()["TIFFTAG_DATETIME"]
        assert after.index(*before.transform * (12.5, 8.5)) == (0, 0)
        with rasterio.open(paths["truth"]) as truth:
            assert truth.transform == before.transform
            assert np.array_equal(truth.read(1), sample.truth)
    account = json.loads(paths["sample"].read_text())
    assert account["simulated"] is True
    assert account["options"]["seed"] == options.seed
    assert account["options"]["shift"] == list(options.shift)
    assert {path.name for path in paths["sample"].parent.iterdir()} == {
        "before.tif", "after.tif", "truth.tif", "sample.json"
    }  # fmt: skip


def test_command_makes_a_pair_and_refuses_an_odd_size(tmp_path: Path):
    good = CliRunner().invoke(main, ["simulate", str(tmp_path), "--size", "64", "--seed", "5"])
    assert good.exit_code == 0, good.output
    assert "seed 5" in good.output
    assert (tmp_path / "sample.json").exists()
    bad = CliRunner().invoke(main, ["simulate", str(tmp_path / "b"), "--size", "65"])
    assert bad.exit_code == 2
    assert "even" in bad.output
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("late", [False, True])
def test_on_a_full_disk_the_command_says_one_sentence_and_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
):
    arguments = ["simulate", str(tmp_path / "old"), "--size", "64"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    opened = rasterio.open

    def full(path: Path, *args: object, **profile: object):
        if path.name == "truth.tif" and not late:
            raise OSError(errno.ENOSPC, "No space left on device")
        if path.name == "truth.tif" and not args:
            # Nothing was said when it was closed.
            os.truncate(path, path.stat().st_size // 2)
        return opened(path, *args, **profile)

    monkeypatch.setattr(simulate.rasterio, "open", full)
    for folder in ("old", "new"):
        done = CliRunner().invoke(main, ["simulate", str(tmp_path / folder), "--size", "64", "--seed", "5"])
        assert done.exit_code == 1
        assert re.fullmatch(r"Error: .*sample\.json could not be written: .* and run again\.\n", done.stderr)
        assert "the disk is full. Free some space" in done.stderr or late
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == kept
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("wrong", [{"size": 30}, {"shift": (5.0, 0.0)}, {"offset": (3, 0)}, {"change_share": 0.5}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SampleOptions(**wrong)
