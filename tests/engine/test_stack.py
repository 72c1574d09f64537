import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result

from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.bands import L2A_BANDS
from s2change_plugin.engine.errors import UnreadableInput
from s2change_plugin.engine.findings import STOP, WARNING
from s2change_plugin.engine.masks import MaskReader, masks_of
from s2change_plugin.engine.pair import open_pair
from s2change_plugin.engine.pair_findings import clouds_finding, units_finding
from s2change_plugin.engine.scene import open_scene
from s2change_plugin.engine.stack import to_dn
from s2change_plugin.engine.validity import ClassRaster, Quality
from tests.conftest import textured, write_stack
from training.products import SENSED, write_product


def stack(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["stack", *map(str, arguments)])


@pytest.fixture
def ground() -> np.ndarray:
    return textured(12, 240, 252, 1) / np.float32(10000)


def test_a_product_becomes_one_raster_of_reflectance_without_its_offset(tmp_path: Path, ground: np.ndarray) -> None:
    ground[3, :40], ground[2, 60, 60] = np.nan, np.inf
    cloud = np.zeros(ground.shape[1:], bool)
    cloud[120:180, 60:120] = True
    product = write_product(tmp_path / "p", ground, level="L2A", clouds=cloud)
    done = stack(product, tmp_path / "out.tif", "--mask-buffer", 0)
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert (raster.descriptions, raster.nodata, set(raster.dtypes)) == (L2A_BANDS, 0, {"uint16"})
        assert set(raster.scales) == {1e-4}
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        values = raster.read()
        assert raster.transform.a == 10
    np.testing.assert_allclose(values[3, 40:] / 10000, ground[3, 40:], atol=1.01e-4)
    assert (values[3, :40] == 0).all()
    assert values[2, 60, 60] == 65535
    with rasterio.open(tmp_path / "out_quality.tif") as raster:
        quality = raster.read(1)
        assert raster.tags(1)[str(int(Quality.CLOUD))] == "cloud"
    np.testing.assert_array_equal(quality == Quality.CLOUD, cloud)
    assert (quality[:40] == Quality.NODATA_BEFORE).all()
    assert quality[60, 60] == Quality.SATURATED


def test_what_was_known_of_a_product_is_known_of_its_stack(tmp_path: Path, ground: np.ndarray) -> None:
    product = write_product(tmp_path / "p", ground, level="L2A")
    assert stack(product, tmp_path / "out.tif").exit_code == 0
    before, after = open_scene(str(product)), open_scene(str(tmp_path / "out.tif"))
    assert after.acquisition == before.acquisition
    assert after.acquisition.sensed == SENSED.replace(microsecond=after.acquisition.sensed.microsecond)
    assert after.mask is not None
    assert all(band.rule.assured and band.rule.offset == 0 for band in after.bands.values())
    (tmp_path / "other").mkdir()
    apart = tmp_path / "other" / "q.tif"
    assert stack(product, tmp_path / "apart.tif", "--quality", apart).exit_code == 0
    assert Path(open_scene(str(tmp_path / "apart.tif")).mask.path).resolve() == apart.resolve()
    (tmp_path / "out_quality.tif").unlink()
    assert open_scene(str(tmp_path / "out.tif")).mask is None


def test_clouds_of_a_prepared_scene_are_widened_once(tmp_path: Path, ground: np.ndarray) -> None:
    """What is asked for beyond the buffer that they have already is added."""
    cloud = np.zeros(ground.shape[1:], bool)
    cloud[120:180, 60:120] = True
    product = write_product(tmp_path / "p", ground, level="L2A", clouds=cloud)
    assert stack(product, tmp_path / "out.tif", "--mask-buffer", 60).exit_code == 0
    scene = open_scene(str(tmp_path / "out.tif"))
    # The cloud's 60 rows, and the buffer of 10 m pixels on both sides.
    for buffer, tall in ((0, 72), (60, 72), (100, 80)):
        with closing(MaskReader(scene, [scene.mask], scene.grid, buffer)) as reader:
            cloudy = reader.read(scene.grid.window) == Quality.CLOUD
        assert (cloudy.any(1).sum(), cloudy.any(0).sum()) == (tall, tall)


def test_a_folder_of_bands_and_a_stack_of_another_order_work_too(tmp_path: Path) -> None:
    values = textured(3, 60, 60, 1)
    path = write_stack(tmp_path / "a.tif", values + 1000, ("B04", "B02", "B03"))
    done = stack(path, tmp_path / "out.tif", "--units", "dn+1000", "--quality", tmp_path / "q.tif")
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "out.tif") as raster:
        assert raster.descriptions == ("B02", "B03", "B04")
        np.testing.assert_array_equal(raster.read(), values[[1, 2, 0]])
    assert (tmp_path / "q.tif").exists()
    assert not (tmp_path / "out_quality.tif").exists()


def test_a_product_that_lacks_a_ten_metre_band_is_refused_and_a_sixty_metre_one_is_done_without(
    tmp_path: Path, ground: np.ndarray
) -> None:
    lacking = write_product(tmp_path / "a", ground, level="L2A", leave_out=("B03",))
    refused = stack(lacking, tmp_path / "out.tif")
    assert refused.exit_code == 1
    assert "_B03_10m.jp2 was looked for" in refused.stderr
    assert not list(tmp_path.glob("*.tif"))
    done = stack(write_product(tmp_path / "b", ground, level="L2A", leave_out=("B01",)), tmp_path / "out.tif")
    assert done.exit_code == 0
    assert "Warning: " in done.stderr
    assert "B01" in done.stderr


def test_bad_ends_get_one_sentence_and_leave_nothing(tmp_path: Path, ground: np.ndarray) -> None:
    empty = write_stack(tmp_path / "empty.tif", np.zeros((3, 40, 40), np.uint16), ("B02", "B03", "B04"))
    (tmp_path / "out").mkdir()
    for arguments, said in (
        ((empty, tmp_path / "out" / "o.tif"), "nothing but nodata"),
        ((empty, empty), "is an input"),
        ((tmp_path / "none.tif", tmp_path / "out" / "o.tif"), "does not exist"),
        ((empty, tmp_path / "out" / "o.tif", "--quality", tmp_path / "out" / "o.tif"), "same file name"),
    ):
        done = stack(*arguments)
        assert done.exit_code == 1, done.output
        assert said in done.stderr.strip().splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_stored_reflectance_keeps_ground_nodata_and_saturation_apart() -> None:
    stored = to_dn(np.array([np.nan, -0.02, 0.0, 0.25, 9.0, np.inf], np.float32))
    assert stored.tolist() == [0, 1, 1, 2500, 64499, 65535]


def test_a_unit_that_was_assumed_stays_assumed_in_what_is_made_of_it(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.tif", textured(3, 60, 60, 1), ("B02", "B03", "B04"))
    done = stack(path, tmp_path / "out.tif")
    assert "Warning: The unit is assumed" in done.stderr
    assert not any(band.rule.assured for band in open_scene(str(tmp_path / "out.tif")).bands.values())
    told = stack(path, tmp_path / "told.tif", "--units", "dn")
    assert "assumed" not in told.stderr
    assert all(band.rule.assured for band in open_scene(str(tmp_path / "told.tif")).bands.values())


def test_what_a_products_metadata_says_of_its_unit_holds_for_its_stack_whatever_the_numbers_are(tmp_path: Path) -> None:
    """High and dry ground is seen in the cirrus band, and of open water next to nothing is seen."""
    high = textured(13, 240, 252, 1) / np.float32(10000)
    water = np.random.default_rng(1).normal(0.008, 0.002, (12, 240, 252)).clip(0.001, 0.015).astype(np.float32)
    for level, ground in (("L1C", high), ("L2A", water)):
        folder = tmp_path / level
        product, later = (
            write_product(folder, ground + more, level=level, platform=by) for more, by in ((0, "S2A"), (0.001, "S2B"))
        )
        assert stack(product, folder / "out.tif").exit_code == 0
        with rasterio.open(folder / "out.tif") as raster:
            bands = raster.descriptions
        for before in (product, folder / "out.tif"):
            with open_pair(open_scene(str(before)), open_scene(str(later)), bands) as pair:
                assert units_finding(pair, trust_units=False).severity != STOP, before
        # What is made of a stack is as sure.
        assert stack(folder / "out.tif", folder / "again.tif").exit_code == 0
        assert all(band.rule.product for band in open_scene(str(folder / "again.tif")).bands.values())
    raster = write_stack(tmp_path / "a_L2A.tif", textured(10, 200, 200, 1), scale=1e-4)
    assert stack(raster, tmp_path / "of_raster.tif").exit_code == 0
    assert not any(band.rule.product for band in open_scene(str(tmp_path / "of_raster.tif")).bands.values())


@pytest.mark.parametrize(
    ("scale", "units", "of_product"),
    [
        (1e-4, "auto", True),
        (1e-4, "dn+1000", False),
        (1e-4, "reflectance", False),
        # As a program writes it that keeps tags and leaves the scale out.
        (None, "auto", False),
        (None, "dn+1000", False),
        (None, "reflectance", False),
    ],
)
def test_what_the_user_says_of_a_stacks_unit_is_not_what_a_product_said(
    tmp_path: Path, scale: float | None, units: str, of_product: bool
) -> None:
    path = write_stack(tmp_path / "a.tif", textured(3, 60, 60, 1), ("B02", "B03", "B04"), scale=scale)
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(S2CHANGE_UNITS_OF_PRODUCT="yes")
    scene = open_scene(str(path), units=units, trust_units=True)
    assert [band.rule.product for band in scene.bands.values()] == [of_product] * 3


def test_a_unit_that_the_values_contradict_is_refused_with_stacks_own_option(tmp_path: Path) -> None:
    values = textured(3, 60, 60, 1)
    values[2] = 120
    path = write_stack(tmp_path / "a.tif", values, ("B02", "B03", "B11"))
    refused = stack(path, tmp_path / "out.tif", "--units", "dn+1000")
    assert refused.exit_code == 1
    assert "Say --units dn" in refused.stderr
    assert not (tmp_path / "out.tif").exists()


def test_a_mask_is_never_overwritten_and_a_buffer_must_be_one(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a.tif", textured(3, 60, 60, 1), ("B02", "B03", "B04"))
    mask = write_stack(tmp_path / "m.tif", np.ones((1, 60, 60), np.uint8), None)
    assert stack(path, mask, "--mask", mask).exit_code == 1
    with rasterio.open(mask) as raster:
        assert raster.count == 1
    for buffer in ("-50", "nan", "1e7"):
        assert stack(path, tmp_path / "o.tif", "--mask-buffer", buffer).exit_code == 2


def test_what_must_be_known_of_the_spectral_test_is_known_of_a_prepared_scene(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        image = write_stack(tmp_path / f"{name}_L1C.tif", textured(10, 200, 220, seed))
        assert stack(image, tmp_path / f"{name}.tif").exit_code == 0
    done = CliRunner().invoke(main, ["check", str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), "--json"])
    (clouds,) = [finding for finding in json.loads(done.stdout)["findings"] if finding["topic"] == "clouds"]
    assert "on before by quality raster a_quality.tif (a simple spectral test for thick clouds" in clouds["text"]
    assert "misses thin and small ones" in clouds["text"]


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_a_prepared_scene_in_which_no_clouds_were_masked_does_not_say_that_they_were(tmp_path: Path, level: str) -> None:
    dates = []
    for day in ("20200101", "20210101"):
        source = write_stack(tmp_path / f"S2A_MSI{level}_{day}T100000_N0301_R051_T31TDK.tif", textured(10, 240, 252, 1))
        done = stack(source, tmp_path / f"{day}.tif", "--clouds", "none")
        assert done.exit_code == 0, done.output
        assert "Clouds are not masked" in done.stderr
        dates.append(open_scene(str(tmp_path / f"{day}.tif")))
    with open_pair(*dates) as pair:
        found = clouds_finding(pair)
        origins = [mask.origin if isinstance(mask, ClassRaster) else type(mask).__name__ for mask in pair.masks[0]]
    # What it was made of still says where there is no data; the test is made for Level-1C.
    assert origins[0].startswith("quality raster")
    assert origins[1:] == (["SpectralTest"] if level == "L1C" else [])
    assert (found.severity == WARNING) == (level == "L2A")
    with pytest.raises(UnreadableInput, match="brings no cloud mask"):
        masks_of(dates[0], "product", None)


def test_a_prepared_scene_that_has_lost_its_quality_raster_says_so(tmp_path: Path, ground: np.ndarray) -> None:
    paths = []
    for name in ("a", "b"):
        product = write_product(tmp_path / name, ground, level="L2A")
        assert stack(product, tmp_path / f"{name}.tif").exit_code == 0
        paths.append(str(tmp_path / f"{name}.tif"))
    (tmp_path / "b_quality.tif").unlink()
    done = CliRunner().invoke(main, ["check", *paths, "--accept-level", "--json"])
    (clouds,) = [finding for finding in json.loads(done.stdout)["findings"] if finding["topic"] == "clouds"]
    assert clouds["severity"] == "warning"
    assert "b_quality.tif" in clouds["text"]


def test_a_mask_that_a_scene_brings_and_that_is_not_read_is_warned_of_unless_there_is_another(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "a_L2A.tif", textured(3, 60, 60, 1), ("B03", "B04", "Fmask"))
    own = write_stack(tmp_path / "own.tif", np.eye(60, dtype=np.uint8)[None], None)
    assert "the layer Fmask is not read" in stack(path, tmp_path / "out.tif").stderr
    assert "Fmask" not in stack(path, tmp_path / "other.tif", "--mask", own).stderr
