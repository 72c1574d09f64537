from dataclasses import replace
from itertools import combinations
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.warp import transform
from rasterio.windows import Window
from scipy.ndimage import shift as moved
from shapely import box

from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.blocks import BlockCache
from s2change_plugin.engine.clouds import BANDS
from s2change_plugin.engine.errors import GridMismatch, UnitsUnclear, UnreadableInput
from s2change_plugin.engine.findings import OK, WARNING, require_fit
from s2change_plugin.engine.grid import intersect
from s2change_plugin.engine.pair import DateReader, PairOptions, open_pair
from s2change_plugin.engine.pair_findings import units_finding, usable_finding
from s2change_plugin.engine.reading import SceneReader
from s2change_plugin.engine.scene import open_scene
from s2change_plugin.engine.validity import Quality
from tests.conftest import textured, write_stack

PLAIN = PairOptions(register=False)


def scenes(before: Path, after: Path):
    return open_scene(str(before)), open_scene(str(after))


@pytest.fixture
def before(tmp_path: Path, ground: np.ndarray) -> Path:
    return write_stack(tmp_path / "before.tif", ground)


def test_the_grid_is_befores_own_cut_to_the_overlap(tmp_path: Path, before: Path, ground: np.ndarray) -> None:
    after = write_stack(tmp_path / "after.tif", ground[:, 40:, :200], origin=(500000, 5000000 - 400))
    with open_pair(*scenes(before, after)) as pair:
        assert pair.grid.shape == (260, 200)
        assert pair.grid.bounds == (500000, 4997000, 502000, 4999600)
        seen = pair.read(pair.grid.window)
    np.testing.assert_array_equal(seen.before, seen.after)
    np.testing.assert_allclose(seen.before, ground[:, 40:, :200] / 10000, rtol=1e-6)


def test_scenes_apart_are_refused_with_both_places(tmp_path: Path, before: Path, ground: np.ndarray) -> None:
    after = write_stack(tmp_path / "after.tif", ground, origin=(600000, 5000000))
    with (
        pytest.raises(GridMismatch, match=r"does not overlap .*600000.* against .*500000.*Pick two scenes"),
        open_pair(*scenes(before, after)),
    ):
        pass


def test_both_dates_may_lie_in_one_file_but_not_in_one_layer(tmp_path: Path, ground: np.ndarray) -> None:
    both = str(write_stack(tmp_path / "both.tif", np.concatenate([ground[:2], ground[:2] + 500]), None))
    before, after = open_scene(both, ("B02", "B03", None, None)), open_scene(both, (None, None, "B02", "B03"))
    with open_pair(before, after, ("B02", "B03"), PLAIN) as pair:
        seen = pair.read(pair.grid.window)
    np.testing.assert_allclose(seen.after, seen.before + 0.05, rtol=1e-5)
    shared = open_scene(both, (None, "B02", "B03", None))
    with pytest.raises(UnreadableInput, match="same raster"), open_pair(before, shared, ("B02", "B03"), PLAIN):
        pass


def test_one_raster_twice_is_refused(before: Path, tmp_path: Path) -> None:
    (tmp_path / "link.tif").symlink_to(before)
    with pytest.raises(UnreadableInput, match="same raster"), open_pair(*scenes(before, tmp_path / "link.tif")):
        pass


def test_samples_are_as_windows_are_though_before_is_read_once_and_snow_first_lay_elsewhere(
    tmp_path: Path, ground: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    snowy = ground.copy()
    snowy[:, 110:160, 90:150] = 6000
    snowy[TEN_BANDS.index("B11"), 110:160, 90:150] = 500
    paths = write_stack(tmp_path / "a.tif", snowy), write_stack(tmp_path / "b.tif", np.roll(snowy, (3, -2), (1, 2)))
    read: list[tuple[int, Window]] = []
    plain = DateReader.read

    def counted(self: DateReader, window: Window):
        read.append((id(self), window))
        return plain(self, window)

    monkeypatch.setattr(DateReader, "read", counted)
    with open_pair(*scenes(*paths), TEN_BANDS, PairOptions(clouds="spectral")) as pair:
        assert pair.shift.matters
        assert [one for one in read if one[0] == id(pair._before)] == [(id(pair._before), one) for one in pair.sampled]
        for window, sample in zip(pair.sampled, pair.samples, strict=True):
            again = pair.read(window)
            np.testing.assert_array_equal(sample.before, again.before)
            np.testing.assert_array_equal(sample.after, again.after)
            np.testing.assert_array_equal(sample.quality, again.quality)


@pytest.mark.parametrize(("size", "samples", "timed"), [(300, 4, 2), (200, 1, 1)])
def test_half_of_the_samples_are_timed_before_other_work_begins(
    tmp_path: Path, ground: np.ndarray, monkeypatch: pytest.MonkeyPatch, size: int, samples: int, timed: int
) -> None:
    paths = [write_stack(tmp_path / f"{name}.tif", ground[:, :size, :size]) for name in "ab"]
    read: list[Window] = []
    plain = DateReader.read
    monkeypatch.setattr(DateReader, "read", lambda self, window: read.append(window) or plain(self, window))
    monkeypatch.setattr("s2change_plugin.engine.pair.perf_counter", lambda: len(read))
    begun: list[int] = []
    with open_pair(*scenes(*paths), TEN_BANDS, PLAIN, lambda: begun.append(len(read))) as pair:
        assert pair.timed == pair.sampled[:timed]
        assert len(pair.samples) == len(pair.sampled) == samples
        # Each on both dates.
        assert begun == [pair.sampling_s] == [2 * timed]
        assert len(read) == 2 * samples


def test_a_shift_is_found_and_taken_out(tmp_path: Path, before: Path, ground: np.ndarray) -> None:
    later = (
        np.stack([moved(band.astype(float), (0.4, -0.7), order=3, mode="nearest") for band in ground]).round().astype(np.uint16)
    )
    after = write_stack(tmp_path / "after.tif", later)
    inner = Window(20, 20, 280, 260)
    with open_pair(*scenes(before, after), options=PLAIN) as pair:
        assert not pair.shift.measured
        left = pair.read(inner)
    with open_pair(*scenes(before, after)) as pair:
        assert (pair.shift.rows, pair.shift.cols) == pytest.approx((0.4, -0.7), abs=0.1)
        corrected = pair.read(inner)
    assert np.abs(corrected.before - corrected.after).mean() < 0.25 * np.abs(left.before - left.after).mean()


@pytest.mark.parametrize("east", [False, True])
def test_a_shift_is_taken_out_wherever_the_land_lies(tmp_path: Path, east: bool) -> None:
    """Whether it helps is looked at on half of the samples, and none of these may show land, as on a coast."""
    land = np.tile(textured(2, 256, 256, 1), (1, 5, 5))[:, :1200, :1200].astype(float)
    sea = np.s_[:, :, :880] if east else np.s_[:, :, 320:]
    land[sea] = 500
    later = np.stack([moved(band, (0.4, -0.7), order=3, mode="nearest") for band in land])
    paths = (
        write_stack(tmp_path / name, values.round().astype(np.uint16), ("B03", "B08"))
        for name, values in (("a.tif", land), ("b.tif", later))
    )
    with open_pair(*scenes(*paths), ("B03", "B08")) as pair:
        assert (pair.shift.rows, pair.shift.cols) == pytest.approx((0.4, -0.7), abs=0.1)
        assert pair.shift.residual_px < 0.2


@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_what_a_file_hides_of_itself_does_not_reach_into_pixels_beside_it(tmp_path: Path, kind: str) -> None:
    """Such as clouds that keep their numbers under a mask; a pixel that is interpolated from one of them is not usable."""
    ground = np.full((2, 200, 200), 1000, np.uint16)
    ground[:, 80:120, 80:120] = 9000
    before = write_stack(tmp_path / "a.tif", np.full((2, 200, 200), 1000, np.uint16), ("B03", "B08"))
    seen = np.where(ground[0] == 9000, 0, 255).astype(np.uint16)
    layers = np.concatenate([ground, seen[None]]) if kind == "alpha" else ground
    after = write_stack(tmp_path / "b.tif", layers, ("B03", "B08"), origin=(500004, 5000003))
    with rasterio.open(after, "r+") as raster:
        if kind == "alpha":
            raster.colorinterp = [ColorInterp.gray] * 2 + [ColorInterp.alpha]
        else:
            raster.write_mask(seen.astype(np.uint8))
    with open_pair(*scenes(before, after), ("B03", "B08"), PLAIN) as pair:
        window = pair.read(pair.grid.window)
    observed = window.quality == Quality.OBSERVED
    assert window.after[:, observed] == pytest.approx(0.1, abs=1e-5)
    assert (window.quality == Quality.NODATA_AFTER)[84:116, 84:116].all()
    assert 0.94 < observed.mean() < 0.96


@pytest.mark.parametrize("declared", [None, 0.0], ids=["", "one file declares nodata"])
@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32632"])
def test_water_that_reflects_nothing_in_one_band_is_observed_however_the_bands_are_stored(
    tmp_path: Path, crs: str, declared: float | None
) -> None:
    """Floating point that declares no nodata: no ground is 0 in every band, but in one it may be, and each may be a file of its own."""
    ground = textured(3, 300, 300, 1).astype(np.float32) / 10000
    ground[2, :, :150] = 0
    ground[:, 250:] = 0
    names = ("B03", "B08", "B12")
    corner = transform("EPSG:32631", crs, [499000.0], [5001000.0])
    wide = np.zeros((3, 520, 520), np.float32)
    wide[:, 97:397, 97:397] = ground
    folder = tmp_path / "after"
    folder.mkdir()
    for name, band in zip(names, wide, strict=True):
        nodata = {"nodata": declared} if name == "B03" else {}
        write_stack(folder / f"T31_{name}.tif", band[None], None, crs, (corner[0][0] + 4, corner[1][0] + 3), **nodata)
    stack = write_stack(tmp_path / "after.tif", wide, names, crs=crs, origin=(corner[0][0] + 4, corner[1][0] + 3))
    before = write_stack(tmp_path / "a.tif", textured(3, 300, 300, 1), names)
    found = []
    for after in (folder, stack):
        with open_pair(*scenes(before, after), names, PLAIN) as pair:
            found.append(pair.read(pair.grid.window))
    files, together = found
    for one in found:
        assert (one.quality == Quality.OBSERVED)[30:200, 20:110].mean() > 0.99
        assert (one.quality == Quality.NODATA_AFTER)[285:].all()
    assert (files.quality == together.quality).mean() > 0.995
    seen = (files.quality == Quality.OBSERVED) & (together.quality == Quality.OBSERVED)
    # What fills reaches into no pixel; between water and land a band that is read by itself is not interpolated.
    assert files.after[:2, seen].min() > 0.9 * ground[:2, :250].min()
    assert (np.abs(files.after[:, seen] - together.after[:, seen]) > 1e-5).mean() < 0.005


def test_another_crs_lies_on_befores_grid(tmp_path: Path) -> None:
    """The same smooth ground, written in two neighbouring UTM zones, reads alike on the grid of the first."""

    def landscape(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 2000 + 800 * np.sin(x / 150) * np.cos(y / 130) + 400 * np.sin((x + y) / 90)

    def written(path: Path, crs: str, origin: tuple[float, float], size: int) -> Path:
        xs = origin[0] + 10 * (np.arange(size) + 0.5)
        ys = origin[1] - 10 * (np.arange(size) + 0.5)
        x, y = (grid.ravel() for grid in np.meshgrid(xs, ys))
        in_first = transform(crs, "EPSG:32631", x, y) if crs != "EPSG:32631" else (x, y)
        values = landscape(np.array(in_first[0]), np.array(in_first[1])).reshape(size, size)
        return write_stack(path, np.stack([values.round().astype(np.uint16)] * 10), crs=crs, origin=origin)

    one = written(tmp_path / "one.tif", "EPSG:32631", (700000, 5000000), 200)
    corner = transform("EPSG:32631", "EPSG:32632", [699500.0], [5001000.0])
    other = written(tmp_path / "other.tif", "EPSG:32632", (corner[0][0], corner[1][0]), 400)
    with open_pair(*scenes(one, other), options=PLAIN) as pair:
        assert pair.grid.shape == (200, 200)
        seen = pair.read(pair.grid.window)
    assert (seen.quality == Quality.OBSERVED).all()
    np.testing.assert_allclose(seen.after, seen.before, atol=2e-3)


def test_a_coarse_before_is_laid_on_ten_metres(tmp_path: Path) -> None:
    coarse = write_stack(tmp_path / "before.tif", textured(10, 100, 100, 1), pixel=(20, 20))
    fine = write_stack(tmp_path / "after.tif", textured(10, 200, 200, 1))
    with open_pair(*scenes(coarse, fine), options=PLAIN) as pair:
        assert pair.grid.transform.a == 10
        assert pair.grid.shape == (200, 200)


def test_what_one_date_lacks_is_said_by_quality(tmp_path: Path, ground: np.ndarray) -> None:
    first, second = ground.copy(), ground.copy()
    first[3, :10], second[:, 280:], second[0, 100, 100] = 0, 0, 65535
    paths = write_stack(tmp_path / "a.tif", first), write_stack(tmp_path / "b.tif", second)
    with open_pair(*scenes(*paths), options=PLAIN) as pair:
        seen = pair.read(pair.grid.window)
    assert (seen.quality[:10] == Quality.NODATA_BEFORE).all()
    assert (seen.quality[280:] == Quality.NODATA_AFTER).all()
    assert seen.quality[100, 100] == Quality.SATURATED
    # A band that lacks leaves nothing of the pixel to be compared.
    assert np.isfinite(seen.before).sum() == ground.size - 10 * 10 * 340


def test_the_rim_of_a_zero_filled_float_raster_is_not_observed_ground(tmp_path: Path, ground: np.ndarray) -> None:
    """Resampling must not mix the filling into the ground beside it."""
    later = ground.astype(np.float32) / 10000
    later[:, :, :60] = 0
    before = write_stack(tmp_path / "a.tif", ground)
    after = write_stack(tmp_path / "b.tif", later, origin=(500004, 5000003))
    with open_pair(*scenes(before, after), options=PLAIN) as pair:
        seen = pair.read(pair.grid.window)
    assert np.nanmin(seen.after) > 0.9 * later[later > 0].min()
    assert (seen.quality[:, :55] == Quality.NODATA_AFTER).all()
    assert (seen.quality[5:-5, 65:] == Quality.OBSERVED).all()


@pytest.mark.parametrize("off", [0, 4], ids=["as it is", "interpolated"])
@pytest.mark.parametrize(("fill", "kind"), [(-0.1, np.float32), (-1000, np.int16), (-1, np.int16)])
def test_a_fill_that_an_offset_was_taken_off_is_not_observed(
    tmp_path: Path, ground: np.ndarray, fill: float, kind: type, off: int
) -> None:
    """No ground has one number below 0 in all bands; in single bands shadows have."""
    later = (ground / 10000 if kind is np.float32 else ground).astype(kind)
    later[:, :, :60] = fill
    later[0, 150, 150] = fill
    before = write_stack(tmp_path / "a.tif", ground)
    after = write_stack(tmp_path / "b.tif", later, origin=(500000 + off, 5000000))
    with open_pair(*scenes(before, after), options=PLAIN) as pair:
        seen = pair.read(pair.grid.window)
    assert (seen.quality[:, :55] == Quality.NODATA_AFTER).all()
    assert (seen.quality[5:-5, 65:-5] == Quality.OBSERVED).all()
    # Nothing of it reaches into the ground beside.
    seen_there = seen.after[1:, :, 55:65]
    assert np.nanmin(seen_there) > 0.8 * ground[1:].min() / 10000


def test_dark_water_of_two_bands_may_hold_one_number_below_zero(tmp_path: Path, ground: np.ndarray) -> None:
    later = ground[:2].astype(np.int16)
    later[:, :, :60] = -3
    paths = [write_stack(tmp_path / f"{n}.tif", values, ("B11", "B12")) for n, values in enumerate((ground[:2], later))]
    with open_pair(*scenes(*paths), ("B11", "B12"), options=PLAIN) as pair:
        assert (pair.read(pair.grid.window).quality == Quality.OBSERVED).all()


@pytest.mark.parametrize("off", [0, 4], ids=["as it is", "interpolated"])
@pytest.mark.parametrize(("number", "kind"), [(6.5535, np.float32), (65535 - 999, np.uint16)])
def test_saturated_numbers_are_known_as_reflectance_and_with_an_offset_taken_off(
    tmp_path: Path, ground: np.ndarray, number: float, kind: type, off: int
) -> None:
    later = (ground / 10000 if kind is np.float32 else ground).astype(kind)
    later[2, 100:110, 100:110] = number
    before = write_stack(tmp_path / "a.tif", ground)
    after = write_stack(tmp_path / "b.tif", later, origin=(500000 + off, 5000000))
    with open_pair(*scenes(before, after), options=PLAIN) as pair:
        seen = pair.read(pair.grid.window)
    assert (seen.quality[101:109, 101:109] == Quality.SATURATED).all()
    assert (seen.quality[5:-5, 115:-5] == Quality.OBSERVED).all()


def test_one_date_with_the_offset_stops_with_the_question_and_the_answer(
    tmp_path: Path, before: Path, ground: np.ndarray
) -> None:
    after = write_stack(tmp_path / "after.tif", ground + 1000)
    with (
        pytest.raises(UnitsUnclear, match=r"After is brighter .*--after-units dn\+1000"),
        open_pair(*scenes(before, after)) as pair,
    ):
        require_fit([units_finding(pair, trust_units=False)])
    told = open_scene(str(after), units="dn+1000", side="after")
    with open_pair(open_scene(str(before)), told) as pair:
        seen = pair.read(pair.grid.window)
    np.testing.assert_allclose(seen.after, seen.before, atol=1e-6)


def test_window_reading_equals_whole_reading_on_another_grid(tmp_path: Path, before: Path, ground: np.ndarray) -> None:
    after = write_stack(tmp_path / "after.tif", textured(10, 310, 350, 1), origin=(499963, 5000047))
    with open_pair(*scenes(before, after), options=PLAIN) as pair:
        whole = pair.read(pair.grid.window).after
        part = pair.read(Window(37, 101, 150, 80)).after
    np.testing.assert_array_equal(part, whole[:, 101:181, 37:187])


def test_the_cloud_test_reads_nothing_of_a_window_again(
    tmp_path: Path, before: Path, ground: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = write_stack(tmp_path / "after.tif", ground)
    window, asked, read = Window(40, 50, 60, 70), list[tuple[int, Window]](), SceneReader.read

    def reading(self: SceneReader, part: Window) -> np.ndarray:
        asked.append((len(self.scene.bands), part))
        return read(self, part)

    with open_pair(*scenes(before, after), TEN_BANDS, PairOptions(register=False, clouds="spectral")) as pair:
        monkeypatch.setattr(SceneReader, "read", reading)
        pair.read(window)
    assert [part for count, part in asked if count == len(TEN_BANDS)] == [window, window]
    beside = [part for count, part in asked if count == len(BANDS)]
    assert len(beside) == 2 * 4
    assert all(intersect(part, window) is None for part in beside)


def test_the_oscd_pairs_are_registered(oscd: Path) -> None:
    for city in ("abudhabi", "pisa"):
        before, after = (open_scene(str(oscd / city / name)) for name in ("imgs_1", "imgs_2"))
        with open_pair(before, after, TEN_BANDS, PairOptions(clouds="none")) as pair:
            assert pair.shift.measured
            assert max(abs(pair.shift.rows), abs(pair.shift.cols)) < 1.5


def test_all_that_a_window_needs_of_both_dates_is_asked_for_before_any_of_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    before = open_scene(str(write_stack(tmp_path / "a.tif", textured(10, 1100, 1100, 1), **tiles)))
    after = open_scene(str(write_stack(tmp_path / "b.tif", textured(10, 1100, 1100, 2), origin=(500005, 5000005), **tiles)))
    asked, read, fetch = list[object](), BlockCache._read, BlockCache.fetch
    with open_pair(before, after, TEN_BANDS, PairOptions(register=False, clouds="none")) as pair:
        pair._blocks._parts.clear()
        monkeypatch.setattr(BlockCache, "_read", lambda blocks, part: asked.append(part) or read(blocks, part))
        monkeypatch.setattr(BlockCache, "fetch", lambda blocks, wanted: asked.append(fetch(blocks, wanted)))
        pair.read(Window(300, 300, 400, 400))
    # Four blocks of each date, then what `fetch` gives, which is nothing, and no block after it.
    assert len(asked) == 2 * 4 + 1
    assert asked[-1] is None


def test_of_large_rasters_samples_decode_one_block_each_where_the_last_ones_are_cut_short_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    # Four blocks of 512 along each side, and a fifth of 200 pixels, in which no sample fits.
    side = 4 * 512 + 200
    ground = np.tile(textured(2, 256, 256, 1), (1, 9, 9))[:, :side, :side]
    before, after = (write_stack(tmp_path / name, ground, ("B03", "B08"), **tiles) for name in ("a.tif", "b.tif"))
    decoded, read = [], BlockCache._read
    monkeypatch.setattr(BlockCache, "_read", lambda blocks, part: decoded.append(part) or read(blocks, part))
    with open_pair(*scenes(before, after), ("B03", "B08"), PLAIN) as pair:
        assert len(pair.sampled) == 16
    assert len(set(decoded)) == len(decoded) == 2 * 16
    assert {part.place[:2] for part in decoded} == {(512 * col, 512 * row) for row in range(4) for col in range(4)}


def test_a_small_area_of_interest_moves_no_sample(tmp_path: Path) -> None:
    ground = np.tile(textured(2, 256, 256, 1), (1, 5, 5))[:, :1200, :1200]
    before, after = (write_stack(tmp_path / name, ground, ("B03", "B08")) for name in ("a.tif", "b.tif"))
    area = str(tmp_path / "area.gpkg")
    gpd.GeoDataFrame(geometry=[box(500000, 4999900, 500100, 5000000)], crs="EPSG:32631").to_file(area)
    sampled = []
    for options in (PLAIN, replace(PLAIN, area=area)):
        with open_pair(*scenes(before, after), ("B03", "B08"), options) as pair:
            sampled.append(pair.sampled)
            observed = sum(np.count_nonzero(sample.quality == Quality.OBSERVED) for sample in pair.ground)
    assert sampled[0] == sampled[1]
    assert observed < 200


def test_ground_that_no_sample_met_is_sampled_all_the_same(tmp_path: Path) -> None:
    """As where two swaths share a narrow strip of a tile."""
    ground = np.tile(textured(2, 256, 256, 1), (1, 9, 9))[:, :2200, :2200]
    west, east = ground.copy(), ground.copy()
    west[:, :, 1250:] = east[:, :, :1000] = 0
    before, after = (write_stack(tmp_path / f"{name}.tif", values, ("B03", "B08")) for name, values in (("a", west), ("b", east)))
    with open_pair(*scenes(before, after), ("B03", "B08")) as pair:
        assert len(pair.sampled) == 16
        assert all(intersect(window, Window(1000, 0, 250, 2200)) for window in pair.sampled)
        shown = sum(np.count_nonzero(sample.quality == Quality.OBSERVED) for sample in pair.ground)
        # What was chosen for showing ground does not speak for the rest.
        assert usable_finding(pair.spread, pair.grid.window).severity == WARNING
        assert usable_finding(pair.ground, pair.grid.window).severity == OK
    # 16 of 256 rows, and no pixel twice.
    assert 0.5 * 250 * 2200 < shown <= 250 * 2200


def test_no_pixel_counts_twice_where_moved_samples_would_meet(tmp_path: Path) -> None:
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    # The last row of samples would be moved into the block in which that before it lies.
    ground = np.tile(textured(2, 256, 256, 1), (1, 10, 10))[:, :2500, :2500]
    before, after = (write_stack(tmp_path / name, ground, ("B03", "B08"), **tiles) for name in ("a.tif", "b.tif"))
    with open_pair(*scenes(before, after), ("B03", "B08"), PLAIN) as pair:
        assert not any(intersect(one, other) for one, other in combinations(pair.sampled, 2))
        assert pair.sampled[-1].row_off == 2500 - 256
