"""Whole products and awkward pairs through the command line, from files to mask."""

import json
import zipfile
from datetime import datetime, timezone
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result
from rasterio.warp import Resampling, calculate_default_transform, reproject, transform_bounds
from scipy.ndimage import shift as moved
from shapely.geometry import Polygon, box

from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.bands import ALL_BANDS, TEN_BANDS
from s2change_plugin.engine.card import AUTO, SHIPPED
from s2change_plugin.engine.reading import SceneReader
from s2change_plugin.engine.scene import open_scene
from s2change_plugin.engine.validity import Quality
from tests.conftest import textured, write_stack
from tests.standin import write_standin
from training.products import write_product

EARLY, LATE = (datetime(year, 6, 20, 10, 50, tzinfo=timezone.utc) for year in (2021, 2023))
OLD, NEW = {"baseline": "02.14", "offset": None, "sensed": EARLY}, {"baseline": "05.09", "offset": -1000, "sensed": LATE}
# Reflectance of clear air in the cirrus band, with its noise.
CIRRUS = np.random.default_rng(10).normal(0.0015, 0.0002, (300, 312)).astype(np.float32)
TRANSFORM = Affine(10, 0, 399960, 0, -10, 4700040)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "models"))
    write_standin(tmp_path / "models", "standin")


@pytest.fixture
def ground() -> np.ndarray:
    """Reflectance of thirteen bands at 10 m, (13, 300, 312); the cirrus band sees none of it."""
    values = textured(13, 300, 312, 1) / np.float32(10000)
    values[ALL_BANDS.index("B10")] = CIRRUS
    return values


@pytest.fixture
def later(ground: np.ndarray) -> np.ndarray:
    """The same, with a block of 48 × 60 pixels that became brighter, too little so for a cloud."""
    changed = ground.copy()
    changed[:, 120:168, 180:240] += 0.2
    changed[ALL_BANDS.index("B10")] = CIRRUS
    return changed


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def detected(folder: Path, before: Path, after: Path, *options: object, model: str = "standin") -> np.ndarray:
    """The mask, and beside it quality.tif and run.json."""
    files = {"mask": "mask.tif", "quality": "quality.tif", "record": "run.json"}
    named = [part for name, file in files.items() for part in (f"--{name}", folder / file)]
    done = run("detect", before, after, *named, "--model", model, *options)
    assert done.exit_code == 0, done.output
    return read(folder / "mask.tif")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def reflectance(path: Path) -> np.ndarray:
    scene = open_scene(str(path))
    reader = SceneReader(scene, scene.grid)
    try:
        return reader.read(scene.grid.window)
    finally:
        reader.close()


def test_one_ground_of_two_baselines_is_one_reflectance_and_one_mask(
    tmp_path: Path, ground: np.ndarray, later: np.ndarray
) -> None:
    before = write_product(tmp_path / "before", ground, **OLD)
    old = write_product(tmp_path / "old", later, **{**OLD, "sensed": LATE})
    new = write_product(tmp_path / "new", later, **NEW)
    np.testing.assert_array_equal(reflectance(old), reflectance(new))
    # Digital numbers are whole: what is stored of a reflectance may be off by half of one.
    np.testing.assert_allclose(reflectance(new)[3], later[3], atol=1e-4)
    masks = [detected(tmp_path, before, after) for after in (old, new)]
    np.testing.assert_array_equal(masks[0], masks[1])
    # A 20 m band's resampling reaches a pixel or two over the block's rim.
    assert (masks[0][122:166, 182:238] == 1).all()
    assert (masks[0] == 1).sum() < 52 * 64
    for model in SHIPPED:
        shipped = [detected(tmp_path, before, after, model=model) for after in (old, new)]
        np.testing.assert_array_equal(shipped[0], shipped[1])


def test_what_both_dates_have_decides_which_model_that_ships_is_used(
    tmp_path: Path, ground: np.ndarray, later: np.ndarray
) -> None:
    before, after = write_product(tmp_path / "before", ground, **OLD), write_product(tmp_path / "after", later, **NEW)

    def used(one: Path, other: Path) -> tuple[str, str]:
        detected(tmp_path, one, other, model=AUTO)
        record = json.loads((tmp_path / "run.json").read_text())
        return record["made_by"]["model"], next(one["advice"] for one in record["findings"] if one["topic"] == "model")

    assert used(before, after) == (SHIPPED[0], "")
    next(after.glob("GRANULE/*/IMG_DATA/*_B10.jp2")).unlink()
    model, advice = used(before, after)
    assert model == SHIPPED[1]
    assert f"{SHIPPED[0]} is more accurate" in advice
    assert "after has no B10 (" in advice
    values = textured(10, 300, 340, 1)
    stacks = [write_stack(tmp_path / f"{name}.tif", values + add) for name, add in (("a", 0), ("b", 1))]
    assert used(*stacks) == (SHIPPED[1], "")


@pytest.mark.parametrize("form", ["folder", "zip", "metadata", "gdal", "gdal in zip", "old", "stack", "band folder"])
def test_one_scene_in_every_form_gives_one_mask(tmp_path: Path, ground: np.ndarray, later: np.ndarray, form: str) -> None:
    before = write_product(tmp_path / "before", ground, **OLD)
    metadata = next(before.glob("MTD_*.xml"))
    twice = CliRunner().invoke(main, ["detect", str(before), str(metadata), "--mask", str(tmp_path / "twice.tif")])
    assert (twice.exit_code, "same raster" in twice.output) == (1, True), twice.output
    expected = detected(tmp_path, before, write_product(tmp_path / "after", later, **NEW))
    after = form_of(form, tmp_path, later)
    np.testing.assert_array_equal(detected(tmp_path, before, after), expected)


def form_of(form: str, folder: Path, later: np.ndarray) -> str | Path:
    if form in ("folder", "metadata", "gdal"):
        safe = write_product(folder / "form", later, **NEW)
        metadata = safe / "MTD_MSIL1C.xml"
        return {"folder": safe, "metadata": metadata, "gdal": f"SENTINEL2_L1C:{metadata}:10m:EPSG_32631"}[form]
    if form in ("zip", "gdal in zip"):
        archive = write_product(folder / "form", later, **NEW, zipped="deflated")
        inner = f"/vsizip/{archive}/{archive.stem}.SAFE/MTD_MSIL1C.xml"
        return archive if form == "zip" else f"SENTINEL2_L1C:{inner}:20m:EPSG_32631"
    if form == "old":
        return write_product(folder / "form", later, **{**NEW, "baseline": "02.04", "offset": None}, old=True)
    safe = write_product(folder / "form", later, **NEW)
    if form == "stack":
        done = run("stack", safe, folder / "stack.tif")
        assert done.exit_code == 0, done.output
        return folder / "stack.tif"
    # Files by themselves have lost their metadata; the cirrus band proves the offset.
    (folder / "bands").mkdir()
    for path in safe.glob("GRANULE/*/IMG_DATA/*.jp2"):
        path.rename(folder / "bands" / path.name)
    return folder / "bands"


def test_a_copy_moved_by_parts_of_a_pixel_shows_no_change_once_that_is_taken_out(tmp_path: Path) -> None:
    ground = 4 * textured(10, 300, 340, 1)
    later = np.stack([moved(band.astype(float), (0.4, -0.7), order=5, mode="nearest") for band in ground])
    paths = (
        write_stack(tmp_path / "a.tif", ground),
        write_stack(tmp_path / "b.tif", later.clip(1, 60000).round().astype(np.uint16)),
    )
    left = (detected(tmp_path, *paths, "--clouds", "none") == 1).mean()
    shift = json.loads((tmp_path / "run.json").read_text())["result"]["shift"]
    assert (shift["rows"], shift["cols"]) == pytest.approx((0.4, -0.7), abs=0.1)
    assert shift["residual_px"] < 0.1 < shift["typical_px"]
    without = (detected(tmp_path, *paths, "--clouds", "none", "--no-register") == 1).mean()
    assert without > 0.01, "without a difference to take out nothing would be shown"
    assert left < 0.001
    assert left <= without / 10


@pytest.mark.parametrize("model", ["standin", SHIPPED[1]])
@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_a_scene_against_itself_on_another_grid_shows_no_change(tmp_path: Path, crs: str, model: str) -> None:
    ground = textured(10, 300, 340, 1)
    before = write_stack(tmp_path / "a.tif", ground, origin=(700000, 5000000))
    after = warped(before, tmp_path / "b.tif", crs)
    mask = detected(tmp_path, before, after, model=model)
    assert (mask != 255).mean() > 0.9
    assert (mask == 1).mean() < 0.001


def warped(source: Path, target: Path, crs: str) -> Path:
    """The same ground on another grid, with a rim so that it covers all of it."""
    with rasterio.open(source) as raster:
        transform, width, height = calculate_default_transform(raster.crs, crs, raster.width, raster.height, *raster.bounds)
        values = np.zeros((raster.count, height, width), np.uint16)
        for index in range(raster.count):
            reproject(
                raster.read(index + 1),
                values[index],
                src_transform=raster.transform,
                src_crs=raster.crs,
                dst_transform=transform,
                dst_crs=crs,
                resampling=Resampling.cubic,
                dst_nodata=0,
            )
    return write_stack(target, values, crs=crs, origin=(transform.c, transform.f), pixel=(transform.a, -transform.e))


@pytest.mark.parametrize("source", ["scl", "classi", "gml", "own raster", "own polygons", "spectral", "stacked"])
def test_a_cloud_is_a_code_and_no_change(tmp_path: Path, ground: np.ndarray, later: np.ndarray, source: str) -> None:
    cloud = np.zeros(ground.shape[1:], bool)
    cloud[30:90, 42:120] = True
    later[:, cloud] = np.linspace(0.62, 0.45, 13, dtype=np.float32)[:, None]
    level = "L2A" if source in ("scl", "stacked") else "L1C"
    before = write_product(tmp_path / "before", ground, level=level, **OLD)
    told = {"scl": "scl", "stacked": "scl", "classi": "classi", "gml": "gml"}.get(source, "none")
    after = write_product(tmp_path / "after", later, level=level, clouds=cloud, mask=told, **NEW)
    options: list[object] = ["--accept-level"]
    if source == "own raster":
        own = write_stack(tmp_path / "own.tif", cloud[None].astype(np.uint8), None, origin=(399960, 4700040))
        options += ["--after-mask", own, "--clouds", "none"]
    if source == "own polygons":
        shape = box(*rasterio.windows.bounds(rasterio.windows.Window(42, 30, 78, 60), TRANSFORM))
        geopandas.GeoSeries([shape], crs="EPSG:32631").to_crs("EPSG:4326").to_file(tmp_path / "own.gpkg", layer="clouds")
        options += ["--after-mask", f"{tmp_path / 'own.gpkg'}|layername=clouds", "--clouds", "none"]
    if source == "stacked":
        assert run("stack", after, tmp_path / "stack.tif").exit_code == 0
        after = tmp_path / "stack.tif"
    mask = detected(tmp_path, before, after, *options)
    quality = read(tmp_path / "quality.tif")
    assert (quality[cloud] == Quality.CLOUD).mean() > (0.97 if source == "spectral" else 0.999)
    assert (mask[quality != Quality.OBSERVED] == 255).all()
    # The buffer of 60 m, after the 80 m of rim that the spectral test adds, and nothing beyond it.
    assert (quality[25:95, 42:120] == Quality.CLOUD).mean() > (0.96 if source == "spectral" else 0.999)
    assert (quality[: 14 if source == "spectral" else 23] == Quality.OBSERVED).all()
    changed = mask == 1
    assert changed[122:166, 182:238].all()
    changed[118:172, 178:242] = False
    assert not changed.any()


def test_without_a_mask_the_same_cloud_is_change(tmp_path: Path, ground: np.ndarray) -> None:
    """What the test above would see if masks did nothing."""
    cloud = np.zeros(ground.shape[1:], bool)
    cloud[30:90, 42:120] = True
    covered = ground.copy()
    covered[:, cloud] = np.linspace(0.62, 0.45, 13, dtype=np.float32)[:, None]
    paths = write_product(tmp_path / "before", ground, **OLD), write_product(tmp_path / "after", covered, **NEW)
    assert (detected(tmp_path, *paths, "--clouds", "none")[cloud] == 1).mean() > 0.9


def test_snow_hides_where_one_date_has_it_and_shadow_always(tmp_path: Path, ground: np.ndarray) -> None:
    snow, snow_again, shadow = (np.zeros(ground.shape[1:], bool) for _ in range(3))
    snow[60:120, 60:120] = snow_again[60:120, 90:150] = shadow[180:240, 60:120] = True
    before = write_product(tmp_path / "before", ground, level="L2A", snow=snow, **OLD)
    after = write_product(tmp_path / "after", ground, level="L2A", snow=snow_again, shadow=shadow, **NEW)
    mask = detected(tmp_path, before, after, "--accept-level", "--mask-buffer", "0")
    quality = read(tmp_path / "quality.tif")
    assert (quality[60:120, 60:90] == Quality.SNOW).all()
    assert (quality[60:120, 120:150] == Quality.SNOW).all()
    assert (quality[60:120, 90:120] == Quality.OBSERVED).all()
    assert (quality[180:240, 60:120] == Quality.CLOUD_SHADOW).all()
    np.testing.assert_array_equal(mask == 255, quality != Quality.OBSERVED)


def test_only_the_area_of_interest_is_answered_and_counted(tmp_path: Path, ground: np.ndarray, later: np.ndarray) -> None:
    paths = write_product(tmp_path / "before", ground, **OLD), write_product(tmp_path / "after", later, **NEW)
    whole = detected(tmp_path, *paths)
    left, bottom, right, top = rasterio.windows.bounds(rasterio.windows.Window(150, 90, 120, 100), TRANSFORM)
    triangle = Polygon([(left, bottom), (right, bottom), (left, top)])
    geopandas.GeoSeries([triangle], crs="EPSG:32631").to_crs("EPSG:4326").to_file(tmp_path / "area.geojson")
    part = detected(tmp_path, *paths, "--area", tmp_path / "area.geojson")
    quality = read(tmp_path / "quality.tif")
    with rasterio.open(tmp_path / "mask.tif") as raster:
        col, row = (round(value) for value in ~TRANSFORM * (raster.bounds.left, raster.bounds.top))
    inside = quality != Quality.OUTSIDE
    assert inside.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(part[inside], whole[row : row + part.shape[0], col : col + part.shape[1]][inside])
    assert (part[~inside] == 255).all()
    result = json.loads((tmp_path / "run.json").read_text())["result"]
    assert result["observed_share"] == 1
    assert result["changed_pixels"] == (part == 1).sum() > 0


@pytest.mark.parametrize(("gain", "haze"), [(1.9, 0.0), (0.7, 1.0)])
def test_normalisation_takes_light_and_haze_out_and_is_recorded(
    tmp_path: Path, ground: np.ndarray, later: np.ndarray, gain: float, haze: float
) -> None:
    lit = later * np.float32(gain) + np.float32(haze) * np.linspace(0.32, 0.26, 13, dtype=np.float32)[:, None, None]
    lit[ALL_BANDS.index("B10")] = CIRRUS
    before = write_product(tmp_path / "before", ground, **OLD)
    after = write_product(tmp_path / "after", lit, **NEW)
    expected = detected(tmp_path, before, write_product(tmp_path / "clear", later, **NEW))
    raw = (detected(tmp_path, before, after, "--clouds", "none") != expected).mean()
    if haze:
        assert raw < 0.002, "a model takes haze off by itself"
    else:
        assert raw > 0.4, "light that changes nothing would prove nothing"
    normalised = detected(tmp_path, before, after, "--normalise", "--clouds", "none")
    assert (normalised != expected).mean() < 0.002
    record = json.loads((tmp_path / "run.json").read_text())["normalisation"]
    assert record["done"]
    assert all(band["gain"] == pytest.approx(1 / gain, rel=0.05) for band in record["bands"])
    assert all(band["rmse_normalised"] < band["rmse_raw"] / 3 for band in record["bands"])


@pytest.fixture
def bad(tmp_path: Path, ground: np.ndarray):
    """Pairs that must not give a map, by name: before, after, what is said."""
    before = write_product(tmp_path / "before", ground, **OLD)
    after = write_product(tmp_path / "after", ground, **NEW)

    def cut(name: str, share: float) -> tuple[Path, Path, str]:
        band = next(after.glob(f"GRANULE/*/*/*_{name}.jp2"))
        band.write_bytes(band.read_bytes()[: int(band.stat().st_size * share)])
        return before, after, band.name

    def truncated() -> tuple[Path, Path, str]:
        return cut("B04", 2 / 3)

    def truncated_coarse() -> tuple[Path, Path, str]:
        return cut("B11", 0.4)

    def truncated_late() -> tuple[Path, Path, str]:
        return cut("B04", 0.97)

    def truncated_mask() -> tuple[Path, Path, str]:
        return cut("B00", 2 / 3)

    def broken() -> tuple[Path, Path, str]:
        metadata = after / "MTD_MSIL1C.xml"
        metadata.write_text(metadata.read_text()[:-40])
        return before, after, "no sound XML"

    def bomb() -> tuple[Path, Path, str]:
        lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
        (after / "MTD_MSIL1C.xml").write_text(f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{lines}]><x>&a8;</x>')
        return before, after, "MTD_MSIL1C.xml"

    def climbing() -> tuple[Path, Path, str]:
        with zipfile.ZipFile(tmp_path / "climbing.zip", "w") as archive:
            archive.writestr("../../escaped/MTD_MSIL1C.xml", "<x/>")
        return before, tmp_path / "climbing.zip", "outside"

    def grids() -> tuple[Path, Path, str]:
        band = next(after.glob("GRANULE/*/IMG_DATA/*_B05.jp2"))
        other = write_product(tmp_path / "other", ground, **NEW, origin=(499980.0, 4700040.0))
        band.write_bytes(next(other.glob("GRANULE/*/IMG_DATA/*_B05.jp2")).read_bytes())
        return before, after, "do not lie on one ground"

    def missing() -> tuple[Path, Path, str]:
        lacking = write_product(tmp_path / "lacking", ground, **NEW, leave_out=("B8A",))
        return before, lacking, "_B8A.jp2 was looked for"

    def reversed_dates() -> tuple[Path, Path, str]:
        return after, before, "dates are reversed"

    def other_level() -> tuple[Path, Path, str]:
        return before, write_product(tmp_path / "l2a", ground, **NEW, level="L2A"), "--accept-level"

    def no_crs() -> tuple[Path, Path, str]:
        stack = write_stack(tmp_path / "no.tif", textured(10, 300, 312, 1), crs=None)
        return before, stack, "no CRS"

    def mixed() -> tuple[Path, Path, str]:
        values = textured(10, 300, 312, 1)
        values[8:, :30] = 250
        stacks = [write_stack(tmp_path / f"{added}.tif", values + added, TEN_BANDS) for added in (0, 1000)]
        return stacks[0], stacks[1], "--after-units dn+1000"

    return locals()


@pytest.mark.parametrize(
    "case",
    [
        "truncated", "truncated_coarse", "truncated_late", "truncated_mask", "broken", "bomb", "climbing", "grids", "missing", "reversed_dates", "other_level", "no_crs", "mixed",
    ],
)  # fmt: skip
def test_what_cannot_be_compared_gets_one_sentence_and_writes_nothing(tmp_path: Path, bad, case: str) -> None:
    before, after, said = bad[case]()
    (tmp_path / "out").mkdir()
    done = run("detect", before, after, "--mask", tmp_path / "out" / "m.tif", "--model", "standin")
    assert done.exit_code == 1, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert said in last
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []
    checked = run("check", before, after, "--json", "--model", "standin")
    assert checked.exit_code == 0, checked.output
    found = json.loads(checked.stdout)
    assert found["severity"] == "stop"
    assert any(said in finding["text"] + finding["advice"] for finding in found["findings"])


def test_another_level_is_taken_once_it_is_accepted(tmp_path: Path, ground: np.ndarray) -> None:
    paths = [write_product(tmp_path / n, ground, **told, level="L2A") for n, told in (("a", OLD), ("b", NEW))]
    mask = ("--mask", tmp_path / "m.tif", "--model", "standin")
    assert run("detect", *paths, *mask).exit_code == 1
    assert run("detect", *paths, *mask, "--accept-level").exit_code == 0


def test_trusted_units_stop_nothing(tmp_path: Path, bad) -> None:
    before, after, _ = bad["mixed"]()
    done = run("detect", before, after, "--mask", tmp_path / "m.tif", "--model", "standin", "--trust-units")
    assert done.exit_code == 0, done.output
    assert "Warning: " in done.stderr


def test_no_oscd_pair_is_taken_for_mixed_units(oscd: Path) -> None:
    """Ten bands as a stack would have them: B10, which would settle it, is left out."""
    from s2change_plugin.engine.pair import PairOptions, open_pair
    from s2change_plugin.engine.pair_findings import units_finding

    states = {}
    for city in sorted(path.name for path in oscd.iterdir() if path.is_dir()):
        scenes = [open_scene(str(oscd / city / name)) for name in ("imgs_1", "imgs_2")]
        with open_pair(*scenes, TEN_BANDS, PairOptions(register=False, clouds="none")) as pair:
            states[city] = units_finding(pair, trust_units=False).values["state"]
    assert len(states) == 14
    assert set(states.values()) <= {"same", "unknown"}


def test_bounds_of_a_zone_west_of_the_date_line_meet_those_east_of_it(tmp_path: Path) -> None:
    """Tiles of zones 60 and 1 overlap across 180°."""
    ground = textured(10, 300, 300, 1)
    before = write_stack(tmp_path / "a.tif", ground, crs="EPSG:32760", origin=(820000, 7900000))
    left, _, right, top = transform_bounds("EPSG:32760", "EPSG:32701", 820000, 7897000, 823000, 7900000)
    assert abs(right - left) < 10000
    later = textured(10, 400, 400, 1)
    after = write_stack(tmp_path / "b.tif", later, crs="EPSG:32701", origin=(left - 200, top + 200))
    mask = detected(tmp_path, before, after, "--no-register")
    assert mask.shape == (300, 300)
    assert (mask != 255).all()
