import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from shutil import make_archive

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.warp import transform, transform_bounds
from rasterio.windows import Window

from s2change_plugin.engine.bands import ALL_BANDS, L2A_BANDS, TEN_BANDS, parse_layers
from s2change_plugin.engine.errors import BandsUnknown, GridMismatch, UnitsUnclear, UnreadableInput
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.masks import MaskReader, masks_of
from s2change_plugin.engine.pair import DateReader
from s2change_plugin.engine.reading import SceneReader
from s2change_plugin.engine.scene import _beside, open_scene
from s2change_plugin.engine.validity import SCL_CODES, Quality
from tests.conftest import textured, write_stack
from training.products import write_product


def test_bands_are_found_by_description_whatever_their_order(tmp_path: Path, ground: np.ndarray) -> None:
    path = write_stack(tmp_path / "a.tif", ground[:4], ("nir", "B4, central wavelength 665 nm", "green", "B2"))
    scene = open_scene(str(path))
    assert {name: band.index for name, band in scene.bands.items()} == {"B02": 4, "B03": 3, "B04": 2, "B08": 1}


def test_a_stack_without_descriptions_shows_the_option_to_paste(tmp_path: Path, ground: np.ndarray) -> None:
    path = write_stack(tmp_path / "a.tif", ground, None)
    with pytest.raises(BandsUnknown, match="--after-bands B02,B03,B04,B05,B06,B07,B08,B8A,B11,B12"):
        open_scene(str(path), side="after")
    assert tuple(open_scene(str(path), TEN_BANDS).bands) == TEN_BANDS


@pytest.mark.parametrize(
    ("count", "offered"),
    [
        (2, ["B02,B03"]),
        (3, ["B02,B03,B04", "B04,B03,B02"]),
        (4, ["B02,B03,B04,B08"]),
        (6, ["B02,B03,B04,B08,-,-"]),
        (12, ["B01,B02,B03,B04,B05,B06,B07,B08,B09,B11,B12,B8A", ",".join(L2A_BANDS)]),
        (14, [",".join(ALL_BANDS) + ",-"]),
    ],
)
def test_what_is_offered_to_paste_names_every_layer_and_in_both_orders_that_are_usual(
    tmp_path: Path, count: int, offered: list[str]
) -> None:
    path = str(write_stack(tmp_path / "a.tif", textured(count, 20, 20, 1), None))
    with pytest.raises(BandsUnknown) as refused:
        open_scene(path)
    assert re.findall(r"--before-bands (\S+)", str(refused.value)) == offered
    for layers in offered:
        assert open_scene(path, parse_layers(f"--before-bands {layers}")).bands


@pytest.mark.parametrize(
    ("cirrus", "profile"), [(0, {}), (0, {"nodata": -9999}), (-9999, {"nodata": -9999}), (-9999, {}), (1000, {})]
)
def test_a_layer_that_only_fills_the_place_of_the_cirrus_band_is_no_band(tmp_path: Path, cirrus: int, profile: dict) -> None:
    values = textured(13, 300, 340, 1).astype(np.int16)
    values[ALL_BANDS.index("B10")] = cirrus
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ALL_BANDS, **profile)))
    assert (tuple(scene.bands), scene.acquisition.level) == (L2A_BANDS, None)
    with pytest.raises(BandsUnknown, match=r"has no B10 \(its layer B10 holds one number or nothing\); it has B01"):
        scene.select(ALL_BANDS)
    values[ALL_BANDS.index("B10")] = 8 + np.arange(340) % 9
    scene = open_scene(str(write_stack(tmp_path / "b.tif", values, ALL_BANDS, **profile)))
    assert (tuple(scene.bands), scene.acquisition.level, scene.unusable) == (ALL_BANDS, "L1C", {})


@pytest.mark.parametrize("fill", [0, 1000])
def test_another_band_of_60_m_that_is_only_filled_is_no_band_either(tmp_path: Path, fill: int) -> None:
    values = textured(13, 300, 340, 1)
    values[ALL_BANDS.index("B09")] = fill
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ALL_BANDS)))
    assert "B09" not in scene.bands
    assert (len(scene.bands), scene.acquisition.level) == (12, "L1C")
    assert scene.why_not(["B09"]) == " (its layer B09 holds one number or nothing)"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(("zeros", "kept"), [(0.005, True), (0.03, False)])
def test_a_cirrus_band_that_was_cut_at_nodata_is_left_out_of_a_scene_that_stays_level_1c(
    tmp_path: Path, zeros: float, kept: bool, apart: bool
) -> None:
    """As exports have it that took the offset of 1000 off: what lay below is 0, which is nodata."""
    values = textured(13, 300, 340, 1)
    values[:, :40] = 0
    values[ALL_BANDS.index("B10"), np.random.default_rng(0).random((300, 340)) < zeros] = 0
    if apart:
        for name, layer in zip(ALL_BANDS, values, strict=True):
            write_stack(tmp_path / f"T31_{name}.tif", layer[None], None)
    else:
        write_stack(tmp_path / "a.tif", values, ALL_BANDS)
    scene = open_scene(str(tmp_path if apart else tmp_path / "a.tif"))
    assert ("B10" in scene.bands, scene.acquisition.level) == (kept, "L1C")
    assert scene.why_not(["B10"]) == ("" if kept else " (its layer B10 has gaps where other bands have none)")


def test_layers_of_several_types_are_a_scene(tmp_path: Path) -> None:
    """As a virtual raster puts them together."""
    for name, dtype in (("whole", np.uint16), ("real", np.float32)):
        write_stack(tmp_path / f"{name}.tif", textured(1, 300, 340, 1).astype(dtype), None)
    with rasterio.open(tmp_path / "whole.tif") as raster:
        place = (
            f"<SRS>{raster.crs.to_string()}</SRS><GeoTransform>{', '.join(map(str, raster.transform.to_gdal()))}</GeoTransform>"
        )
    layers = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{index}"><Description>{name}</Description><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{file}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
        for index, name in enumerate(ALL_BANDS, 1)
        for kind, file in [("Float32", "real") if name == "B01" else ("UInt16", "whole")]
    )
    text = f'<VRTDataset rasterXSize="340" rasterYSize="300">{place}{layers}</VRTDataset>'
    (tmp_path / "a.vrt").write_text(text)
    scene = open_scene(str(tmp_path / "a.vrt"), units="dn", trust_units=True)
    assert tuple(scene.bands) == ALL_BANDS
    with closing(SceneReader(scene, scene.grid)) as reader:
        seen = reader.read(scene.grid.window)
    assert seen == pytest.approx(np.broadcast_to(textured(1, 300, 340, 1) / np.float32(10000), seen.shape))


def test_bands_that_end_where_no_other_is_seen_have_no_gaps(tmp_path: Path) -> None:
    values = textured(13, 300, 340, 1)
    values[:, 100:] = 0
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ALL_BANDS)))
    assert (tuple(scene.bands), scene.unusable) == (ALL_BANDS, {})


def test_a_cirrus_band_of_which_nothing_was_seen_stays_one(tmp_path: Path) -> None:
    """Most of it is nodata, as a cut leaves it, and the few windows that are looked at hold nothing of any band."""
    values = np.zeros((2, 2000, 2000), np.uint16)
    values[:, 300:800, 300:800] = textured(2, 500, 500, 1)
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B04", "B10"))))
    assert (tuple(scene.bands), scene.acquisition.level) == (("B04", "B10"), "L1C")


def test_harmonized_landsat_sentinel_2_from_earth_engine_is_surface_reflectance_though_its_cirrus_band_is_there(
    tmp_path: Path,
) -> None:
    values, bands = textured(15, 300, 340, 1).astype(np.float32), [name.replace("B0", "B") for name in ALL_BANDS]
    values[10] = 15 + np.arange(340) % 9
    values[:13] /= 10000
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, (*bands, "Fmask", "SZA"))))
    assert (tuple(scene.bands), scene.acquisition.level) == (ALL_BANDS, "L2A")
    # What the file's name says goes before that: an Fmask can be made of any scene.
    scene = open_scene(str(write_stack(tmp_path / "b_L1C.tif", values, (*bands, "Fmask", "SZA"))))
    assert scene.acquisition.level == "L1C"
    assert "Fmask" in scene.unused_mask
    scene = open_scene(str(write_stack(tmp_path / "c.tif", values[:14], (*bands, "NDVI"))))
    assert (scene.acquisition.level, scene.unused_mask) == ("L1C", "")


def test_harmonized_landsat_is_not_read_as_sentinel_2(tmp_path: Path) -> None:
    layers = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11", "Fmask", "SZA")
    path = write_stack(tmp_path / "a.tif", textured(len(layers), 40, 40, 1), layers)
    with pytest.raises(BandsUnknown, match="layers of Harmonized Landsat .* none of B08, B12, B8A"):
        open_scene(str(path))


def test_numbers_alone_are_not_taken_for_bands(tmp_path: Path, ground: np.ndarray) -> None:
    path = write_stack(tmp_path / "a.tif", ground, [f"B{number}" for number in range(1, 11)])
    with pytest.raises(BandsUnknown, match="only numbers its layers"):
        open_scene(str(write_stack(tmp_path / "three.tif", ground[:3], ("b1", "b2", "b3"))))
    assert tuple(open_scene(str(write_stack(tmp_path / "named.tif", ground[:2], ("B01", "B02")))).bands) == ("B01", "B02")
    with pytest.raises(BandsUnknown, match="B8A"):
        open_scene(str(path))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ("B1 Blue", "B2 Green", "B3 Red", "B4 NIR"),
            r"\(B1 … B4\), and .* another band \(B1 Blue\)\. .*--before-bands B02,B03,B04,B08",
        ),
        (("B1 (490 nm)", "B2 (560 nm)", "B3 (665 nm)", "B4 (842 nm)"), r"\(B1 … B4\)"),
        # Those that agree by chance are numbers as well.
        (("b1_coastal", "b2_blue", "b3_green", "b4_red", "b5_re1", "b6_re2", "b7_nir", "b8_nir08"), r"\(b8_nir08\)"),
    ],
)
def test_numbers_with_the_names_of_other_bands_beside_them_are_not_taken_for_bands(
    tmp_path: Path, ground: np.ndarray, names: tuple[str, ...], said: str
) -> None:
    with pytest.raises(BandsUnknown, match=said):
        open_scene(str(write_stack(tmp_path / "a.tif", ground[: len(names)], names)))


def test_an_index_beside_the_bands_is_none_of_them(tmp_path: Path, ground: np.ndarray) -> None:
    names = ("B2 Blue", "B3 Green", "B4 Red", "NDVI (B8-B4)/(B8+B4)")
    assert tuple(open_scene(str(write_stack(tmp_path / "a.tif", ground[:4], names))).bands) == ("B02", "B03", "B04")


def test_an_option_of_another_length_is_refused_with_both_numbers(tmp_path: Path, ground: np.ndarray) -> None:
    path = write_stack(tmp_path / "a.tif", ground, None)
    with pytest.raises(BandsUnknown, match="names 2 layers .* has 10"):
        open_scene(str(path), ("B02", "B03"))


def test_a_folder_of_single_bands_of_any_resolution_is_a_scene(tmp_path: Path) -> None:
    write_stack(tmp_path / "T31_B02.tif", textured(1, 100, 80, 1), None)
    write_stack(tmp_path / "T31_B05.tif", textured(1, 50, 40, 2), None, pixel=(20, 20))
    scene = open_scene(str(tmp_path))
    assert tuple(scene.bands) == ("B02", "B05")
    assert scene.grid.shape == (100, 80)


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_by_resolution_are_one_scene_of_the_finest_of_each_band(tmp_path: Path, zipped: bool) -> None:
    for name in ("R10m/B02", "R10m/B03", "R20m/B02", "R20m/B05", "R20m/SCL", "R60m/B01", "R60m/B05", "R60m/SCL"):
        path, size = tmp_path / "scene" / f"{name}.tif", int(name[1:3])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stack(path, textured(1, 600 // size, 600 // size, 1), None, pixel=(size, size))
    if zipped:
        make_archive(str(tmp_path / "scene"), "zip", tmp_path / "scene")
    scene = open_scene(str(tmp_path / ("scene.zip" if zipped else "scene")))
    assert {name: Path(band.path).parent.name for name, band in scene.bands.items()} == {
        "B01": "R60m",
        "B02": "R10m",
        "B03": "R10m",
        "B05": "R20m",
    }
    assert Path(scene.mask.path).parts[-2:] == ("R20m", "SCL.tif")
    if not zipped:
        assert open_scene(str(tmp_path / "scene" / "R20m" / "B05.tif")) == scene, "one of them stands for all"


@pytest.mark.parametrize("zipped", [False, True])
def test_bands_in_a_folder_itself_are_the_scene_whatever_lies_in_its_folders(tmp_path: Path, zipped: bool) -> None:
    for name in ("B02", "B03", "2019/B02", "2019/B03", "2019/B04"):
        path = tmp_path / "scene" / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_stack(path, textured(1, 40, 40, 1), None)
    if zipped:
        make_archive(str(tmp_path / "scene"), "zip", tmp_path / "scene")
    scene = open_scene(str(tmp_path / ("scene.zip" if zipped else "scene")))
    assert {name: Path(band.path).parent.name == "2019" for name, band in scene.bands.items()} == {"B02": False, "B03": False}


def test_a_scene_classification_is_found_in_a_folder_of_another_resolution(tmp_path: Path) -> None:
    for name, size in (("R10m/B02", 40), ("R10m/B03", 40), ("R20m/SCL", 20)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_stack(tmp_path / f"{name}.tif", textured(1, size, size, 1), None, pixel=(400 / size, 400 / size))
    assert Path(open_scene(str(tmp_path)).mask.path).parts[-2:] == ("R20m", "SCL.tif")
    (tmp_path / "other").mkdir()
    (tmp_path / "R20m").rename(tmp_path / "other" / "R20m")
    assert open_scene(str(tmp_path)).mask is None


def test_folders_by_resolution_of_several_dates_are_not_one_scene(tmp_path: Path) -> None:
    for name, size in (("2020/R10m/B02", 40), ("2020/R10m/B03", 40), ("2021/R20m/B05", 20)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_stack(tmp_path / "in" / f"{name}.tif", textured(1, size, size, 1), None, pixel=(400 / size, 400 / size))
    make_archive(str(tmp_path / "both"), "zip", tmp_path / "in")
    with pytest.raises(BandsUnknown, match="several folders"):
        open_scene(str(tmp_path / "both.zip"))


def test_folders_of_several_dates_are_not_one_scene(tmp_path: Path) -> None:
    for folder in ("2020", "2021"):
        (tmp_path / folder).mkdir()
        for band in ("B02", "B03"):
            write_stack(tmp_path / folder / f"{band}.tif", textured(1, 40, 40, 1), None)
    with pytest.raises(BandsUnknown, match=r"several folders \(2020, 2021\)"):
        open_scene(str(tmp_path))


def test_common_names_tell_bands_of_files_where_no_file_has_a_code(tmp_path: Path) -> None:
    names = ("red", "nir", "nir08", "swir16", "scl", "visual")
    for name in names:
        write_stack(tmp_path / f"S2A_21JUH_20240101_0_L2A_{name}.tif", textured(1, 40, 40, 1), None)
    scene = open_scene(str(tmp_path))
    assert tuple(scene.bands) == ("B04", "B08", "B8A", "B11")
    assert scene.mask
    assert open_scene(str(tmp_path / "S2A_21JUH_20240101_0_L2A_nir08.tif")) == scene
    # An image of several layers is no band, whatever its name ends with.
    write_stack(tmp_path / "scene_rgb_green.tif", textured(3, 40, 40, 1), None)
    assert open_scene(str(tmp_path)) == scene
    for name in ("B02", "B04"):
        write_stack(tmp_path / f"clip_{name}.tif", textured(1, 40, 40, 1), None)
    assert {Path(band.path).name for band in open_scene(str(tmp_path)).bands.values()} == {"clip_B02.tif", "clip_B04.tif"}
    with pytest.raises(BandsUnknown, match="one band only"):
        open_scene(str(tmp_path / "S2A_21JUH_20240101_0_L2A_red.tif"))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["T31UFU_20200101T105441_{}_clip", "{}_clip", "S2_{}_10m_clipped", "S2_{}_20m_reproj (1)"])
def test_names_of_band_files_may_go_on_behind_the_band(tmp_path: Path, name: str, zipped: bool) -> None:
    for band in ("B02", "B03", "B8A", "SCL"):
        write_stack(tmp_path / f"{name.format(band)}.tif", textured(1, 40, 40, 1), None)
    scene = open_scene(make_archive(str(tmp_path / "scene"), "zip", tmp_path) if zipped else str(tmp_path))
    assert tuple(scene.bands) == ("B02", "B03", "B8A")
    assert scene.mask.path.endswith(f"{name.format('SCL')}.tif")
    # A product that lies beside them is another scene.
    write_product(tmp_path, np.full((13, 60, 60), 0.1, np.float32))
    if not zipped:
        assert open_scene(str(tmp_path / f"{name.format('B03')}.tif")) == scene, "one of them stands for all"


def test_names_that_go_on_behind_the_band_count_only_where_others_do_not_tell_bands(tmp_path: Path) -> None:
    for name in ("B02_20m", "B03_20m", "B02_10m_clip", "B03_10m_clip", "B04_clip", "SCL_clip"):
        write_stack(tmp_path / f"{name}.tif", textured(1, 40, 40, 1), None)
    scene = open_scene(str(tmp_path))
    assert [Path(band.path).stem for band in scene.bands.values()] == ["B02_20m", "B03_20m"]
    assert scene.mask is None
    for band, colour in (("B02", "blue"), ("B03", "green")):
        (tmp_path / f"{band}_20m.tif").rename(tmp_path / f"{colour}.tif")
    assert [Path(band.path).stem for band in open_scene(str(tmp_path)).bands.values()] == ["blue", "green"]
    for colour in ("blue", "green"):
        (tmp_path / f"{colour}.tif").rename(tmp_path / f"{colour}_20m_clip.tif")
    assert tuple(open_scene(str(tmp_path)).bands) == ("B02", "B03", "B04")


def test_bands_in_a_folder_below_are_another_scene_than_clips_beside_it(tmp_path: Path) -> None:
    (tmp_path / "original").mkdir()
    for band in ("B02", "B03", "B04"):
        write_stack(tmp_path / f"{band}_clip.tif", textured(1, 40, 40, 1), None)
        write_stack(tmp_path / "original" / f"{band}.tif", textured(1, 80, 80, 1), None)
    for source in (tmp_path, tmp_path / "B03_clip.tif"):
        names = [Path(band.path).name for band in open_scene(str(source)).bands.values()]
        assert names == ["B02_clip.tif", "B03_clip.tif", "B04_clip.tif"]


def test_of_names_that_go_on_behind_the_band_the_finer_resolution_counts_and_what_is_unclear_is_refused(tmp_path: Path) -> None:
    for name in ("B02_10m_clip", "B02_20m_clip", "B05_20m_clip", "B04_B08_index_clip"):
        write_stack(tmp_path / f"{name}.tif", textured(2 if "index" in name else 1, 40, 40, 1), None)
    # What has several layers is no band.
    assert [Path(band.path).stem for band in open_scene(str(tmp_path)).bands.values()] == ["B02_10m_clip", "B05_20m_clip"]
    write_stack(tmp_path / "B04_B08_index_clip.tif", textured(1, 40, 40, 1), None)
    with pytest.raises(BandsUnknown, match=r"B04_B08_index_clip.tif in .* holds B04 and B08, .* Leave one in its name, or move"):
        open_scene(str(tmp_path))
    (tmp_path / "B04_B08_index_clip.tif").rename(tmp_path / "B02_clip.tif")
    with pytest.raises(BandsUnknown, match=r"holds B02 more than once .* Give a folder with one file of each band"):
        open_scene(str(tmp_path))


def test_a_zip_of_one_stack_is_that_stack(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stack = write_stack(tmp_path / "in" / "S2A_L2A_20240101.tif", textured(3, 40, 40, 1), ["B02", "B03", "B04"])
    make_archive(str(tmp_path / "stack"), "zip", tmp_path / "in")
    scene, plain = open_scene(str(tmp_path / "stack.zip")), open_scene(str(stack))
    assert scene.source == str(tmp_path / "stack.zip")
    assert (tuple(scene.bands), scene.acquisition, scene.grid) == (tuple(plain.bands), plain.acquisition, plain.grid)
    assert scene.files == [str(tmp_path / "stack.zip")] * len(scene.files)
    assert tuple(open_scene(str(tmp_path / "stack.zip"), ("B04", "B03", None)).bands) == ("B03", "B04")
    write_stack(tmp_path / "in" / "other.tif", textured(3, 40, 40, 1), ["B02", "B03", "B04"])
    make_archive(str(tmp_path / "two"), "zip", tmp_path / "in")
    with pytest.raises(BandsUnknown, match="holds neither"):
        open_scene(str(tmp_path / "two.zip"))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_zarr_store_is_said_not_to_be_supported(tmp_path: Path, zipped: bool) -> None:
    store = tmp_path / "S2B_MSIL2A_20250302T095029_N0511_R079_T33UXP_20250302T104753.zarr"
    (store / "measurements").mkdir(parents=True)
    (store / ".zmetadata").write_text("{}")
    source = make_archive(str(store), "zip", tmp_path, store.name) if zipped else str(store)
    with pytest.raises(UnreadableInput, match="Zarr store.* not supported. Give the product in the SAFE format"):
        open_scene(source)


def test_one_of_the_files_of_a_folder_stands_for_all_of_them(tmp_path: Path) -> None:
    for band in ("B02", "B03"):
        write_stack(tmp_path / f"T31_{band}.tif", textured(1, 60, 80, 1), None)
    assert open_scene(str(tmp_path / "T31_B03.tif")) == open_scene(str(tmp_path))
    stack = write_stack(tmp_path / "T31_B08.tif", textured(3, 60, 80, 1), ["B02", "B03", "B04"])
    assert tuple(open_scene(str(stack)).bands) == ("B02", "B03", "B04"), "a stack is itself, whatever it is called"


def test_the_working_folder_is_called_as_it_is_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for band in ("B02", "B03"):
        write_stack(tmp_path / f"{band}.tif", textured(1, 40, 40, 1), None)
    named = open_scene(str(tmp_path)).label
    monkeypatch.chdir(tmp_path)
    assert open_scene(".").label == named == f"{tmp_path.parent.name}/{tmp_path.name}"


def test_bands_of_several_scenes_in_a_folder_are_not_mixed(tmp_path: Path) -> None:
    for name in ("2020-01-01_B02", "2020-01-01_B03", "2021-06-01_B02", "2021-06-01_B8A", "2021-06-01_B11", "2021-06-01_SCL"):
        write_stack(tmp_path / f"{name}.tif", textured(1, 40, 40, 1), None)
    with pytest.raises(BandsUnknown, match="bands of several scenes .*2020-01-01_B02.tif, 2021-06-01_B02.tif"):
        open_scene(str(tmp_path))
    # A file that is picked tells which.
    older, newer = (open_scene(str(tmp_path / name)) for name in ("2020-01-01_B03.tif", "2021-06-01_B11.tif"))
    assert [Path(band.path).stem for band in older.bands.values()] == ["2020-01-01_B02", "2020-01-01_B03"]
    assert tuple(newer.bands) == ("B02", "B8A", "B11")
    assert older.mask is None
    assert newer.mask
    assert older.source != newer.source
    (tmp_path / "one").mkdir()
    # The only one in the folder of one scene is that scene's, whatever it is called.
    write_stack(tmp_path / "one" / "T31TDK_20200101T105441_SCL_20m.tif", textured(1, 40, 40, 1), None)
    # Numbers of bands and pixels' sizes are no marks of a scene.
    for name in ("10m_B02", "20m_B05_20m", "01_B03"):
        write_stack(tmp_path / "one" / f"T31TDK_{name}.tif", textured(1, 40, 40, 1), None)
    assert tuple(open_scene(str(tmp_path / "one")).bands) == ("B02", "B03", "B05")
    assert open_scene(str(tmp_path / "one")).mask


def test_a_folder_of_bands_stays_one_where_a_product_lies_beside_them(tmp_path: Path, ground: np.ndarray) -> None:
    write_product(tmp_path, np.full((13, 60, 60), 0.1, np.float32))
    for band in ("B02", "B03"):
        write_stack(tmp_path / f"clip_{band}.tif", textured(1, 60, 80, 1), None)
    for source in (tmp_path, tmp_path / "clip_B02.tif"):
        scene = open_scene(str(source))
        assert scene.product is None
        assert tuple(scene.bands) == ("B02", "B03")


def test_a_band_twice_in_a_folder_is_refused(tmp_path: Path) -> None:
    for name in ("T31_B02.tif", "T31a_B02.tif"):
        write_stack(tmp_path / name, textured(1, 20, 20, 1), None)
    with pytest.raises(BandsUnknown, match="more than once"):
        open_scene(str(tmp_path))


@pytest.mark.parametrize("nodata", [(0, 65535), (65535, 0), (None, 65535)])
@pytest.mark.parametrize("on", ["its own grid", "a parallel one", "another one"])
def test_bands_of_a_file_that_tell_no_data_by_other_values_are_read_each_by_its_own(
    tmp_path: Path, ground: np.ndarray, nodata: tuple[int | None, ...], on: str
) -> None:
    """As a VRT of single files does; what one value fills is not to be mixed with the ground beside."""
    file = tmp_path / "of.vrt"
    layers = []
    for number, value in enumerate(nodata, start=1):
        layer = ground[:1].copy()
        layer[:, 100:140, 100:140] = value or 0
        part = write_stack(tmp_path / f"{number}.tif", layer, None, nodata=value)
        said = "" if value is None else f"<NoDataValue>{value}</NoDataValue>"
        layers.append(
            f'<VRTRasterBand dataType="UInt16" band="{number}"><Description>B0{number + 1}</Description>{said}'
            f"<SimpleSource><SourceFilename>{part}</SourceFilename></SimpleSource></VRTRasterBand>"
        )
    with rasterio.open(part) as raster:
        place, size = raster.transform.to_gdal(), raster.shape
    file.write_text(
        f'<VRTDataset rasterXSize="{size[1]}" rasterYSize="{size[0]}"><SRS>EPSG:32631</SRS>'
        f"<GeoTransform>{', '.join(map(str, place))}</GeoTransform>{''.join(layers)}</VRTDataset>"
    )
    scene = open_scene(str(file))
    left, _, _, top = transform_bounds("EPSG:32631", "EPSG:32632", *scene.grid.bounds)
    grid = {
        "its own grid": scene.grid,
        "a parallel one": replace(scene.grid, transform=scene.grid.transform @ Affine.translation(0.3, 0.3)),
        "another one": Grid(CRS.from_epsg(32632), Affine(10, 0, left, 0, -10, top), 360, 400),
    }[on]
    with closing(SceneReader(scene, grid)) as reader:
        one, other = reader.read(grid.window)
    assert np.isfinite(one).any()
    np.testing.assert_array_equal(one, other)


def test_bands_that_tell_no_data_by_nan_are_resampled_in_one(tmp_path: Path, ground: np.ndarray) -> None:
    """One NaN is not another; to open the file for each band would take as many times as long."""
    stored = ground[:3].astype(np.float32) / 10000
    scene = open_scene(str(write_stack(tmp_path / "a.tif", stored, ("B02", "B03", "B04"), nodata=np.nan)))
    with closing(SceneReader(scene, replace(scene.grid, crs=CRS.from_epsg(32632)))) as reader:
        assert len(reader._files) == 1


@pytest.mark.parametrize("elsewhere", [{"crs": "EPSG:32632"}, {"origin": (600000.0, 5000000.0)}])
def test_a_folder_of_which_one_file_lies_elsewhere_is_refused(tmp_path: Path, ground: np.ndarray, elsewhere: dict) -> None:
    for name, layer in zip(("blue", "green", "swir16"), ground, strict=False):
        write_stack(tmp_path / f"{name}.tif", layer[None], None, **(elsewhere if name == "swir16" else {}))
    with pytest.raises(GridMismatch, match=r"do not lie on one ground: B11 covers .*, and B02 \(500000"):
        open_scene(str(tmp_path))
    # Parts of one ground they may be.
    write_stack(tmp_path / "swir16.tif", ground[:1, :100], None, origin=(500500.0, 5000000.0))
    assert tuple(open_scene(str(tmp_path)).bands) == ("B02", "B03", "B11")


def test_one_band_is_not_enough(tmp_path: Path, ground: np.ndarray) -> None:
    with pytest.raises(BandsUnknown, match="one band only"):
        open_scene(str(write_stack(tmp_path / "a.tif", ground[:1], ["B02"])))


@pytest.mark.parametrize(
    ("empty", "held", "wrong"),
    [
        ({"B09": slice(40), "B10": slice(40, None)}, "no usable band", "has gaps where other bands have none"),
        (
            {"B04": slice(0), "B09": slice(40), "B10": slice(40, None)},
            "one usable band only, B04",
            "has gaps where other bands have none",
        ),
        ({"B04": slice(0), "B09": slice(None), "B10": slice(None)}, "one usable band only, B04", "holds one number or nothing"),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_bands_that_are_not_usable_do_not_count_and_it_is_said_why(
    tmp_path: Path, empty: dict[str, slice], held: str, wrong: str, apart: bool
) -> None:
    values = textured(len(empty), 80, 80, 1)
    for layer, columns in zip(values, empty.values(), strict=True):
        layer[:, columns] = 0
    if apart:
        for name, layer in zip(empty, values, strict=True):
            write_stack(tmp_path / f"{name}.tif", layer[None], None)
    else:
        write_stack(tmp_path / "a.tif", values, tuple(empty))
    said = rf"holds {held} \(its layer B09 {wrong}, its layer B10 {wrong}\)\. Give a stack with at least two bands of 10 or 20 m"
    with pytest.raises(BandsUnknown, match=said):
        open_scene(str(tmp_path if apart else tmp_path / "a.tif"))


def test_what_is_not_a_raster_or_not_there_is_said(tmp_path: Path) -> None:
    text = tmp_path / "a.tif"
    text.write_text("not a raster")
    with pytest.raises(UnreadableInput, match="not a raster"):
        open_scene(str(text))
    with pytest.raises(UnreadableInput, match="does not exist"):
        open_scene(str(tmp_path / "b.tif"))


def test_a_raster_without_crs_is_refused(tmp_path: Path, ground: np.ndarray) -> None:
    with pytest.raises(GridMismatch, match="no CRS"):
        open_scene(str(write_stack(tmp_path / "a.tif", ground, crs=None)))


@pytest.mark.parametrize("own", [None, "EPSG:32631"])
def test_a_raster_lies_where_it_is_said_to_and_so_do_its_classes(tmp_path: Path, ground: np.ndarray, own: str | None) -> None:
    values, bands = np.concatenate([ground[:4], np.full_like(ground[:1], 4)]), ("B02", "B03", "B04", "B08", "SCL")
    values[4, 10:20, 30:50] = 9
    there = open_scene(str(write_stack(tmp_path / "a.tif", values, bands, crs="EPSG:32633")))
    given = open_scene(str(write_stack(tmp_path / "b.tif", values, bands, crs=own)), crs=CRS.from_epsg(32633))
    assert given.grid == there.grid
    window = there.grid.window
    readers = (DateReader(scene, bands[:4], [scene.mask], there.grid, 0) for scene in (there, given))
    (expected, codes), (found, others) = (_read_once(reader, window) for reader in readers)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(others, codes)
    assert (codes == Quality.CLOUD).sum() == 200


def _read_once(reader: DateReader, window: Window) -> tuple[np.ndarray, np.ndarray]:
    with closing(reader):
        return reader.read(window)


def test_a_product_lies_where_it_says_itself(tmp_path: Path) -> None:
    product = write_product(tmp_path, textured(13, 300, 342, 1) / 10000)
    with pytest.raises(GridMismatch, match="leave --after-crs out"):
        open_scene(str(product), side="after", crs=CRS.from_epsg(32633))


def test_a_crs_that_is_no_place_on_earth_is_refused(tmp_path: Path, ground: np.ndarray) -> None:
    with pytest.raises(GridMismatch, match="no place on Earth"):
        open_scene(str(write_stack(tmp_path / "a.tif", ground, crs='LOCAL_CS["site",UNIT["m",1]]')))


def test_a_scene_is_in_one_unit_whatever_a_dark_band_looks_like(tmp_path: Path, ground: np.ndarray) -> None:
    values = ground.astype(np.float32)
    values[9] = 1.5
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values)))
    assert {band.rule.scale for band in scene.bands.values()} == {1e-4}
    share = open_scene(str(write_stack(tmp_path / "b.tif", values / 10000)))
    assert {band.rule.scale for band in share.bands.values()} == {1.0}


def test_a_scene_whose_files_tell_the_unit_of_some_bands_only_is_asked_for_that_of_the_others(
    tmp_path: Path, ground: np.ndarray
) -> None:
    for name, layer in zip(("B02", "B03", "B11"), ground, strict=False):
        tags = {} if name == "B11" else {"scale": 1e-4, "offset": -0.1}
        write_stack(tmp_path / f"x_{name}.tif", layer[None] + 1000, bands=None, **tags)
    with pytest.raises(UnitsUnclear, match=r"value × 0.0001 − 0.1, and of B11 nothing tells the unit.*--after-units"):
        open_scene(str(tmp_path), side="after")
    said = open_scene(str(tmp_path), units="dn+1000")
    assert {(band.rule.scale, round(band.rule.offset, 6)) for band in said.bands.values()} == {(1e-4, -0.1)}
    assert open_scene(str(tmp_path), trust_units=True).bands["B11"].rule.offset == 0


def test_a_scale_that_some_bands_only_have_is_asked_about_only_where_it_matters(tmp_path: Path, ground: np.ndarray) -> None:
    for name, layer in zip(("B02", "B03", "B11"), ground, strict=False):
        write_stack(tmp_path / f"x_{name}.tif", layer[None], bands=None, **({} if name == "B11" else {"scale": 1e-4}))
    assert {band.rule.scale for band in open_scene(str(tmp_path)).bands.values()} == {1e-4}


def test_a_few_bright_pixels_do_not_make_reflectance_digital_numbers(tmp_path: Path, ground: np.ndarray) -> None:
    """Glint and hot pixels reach above what reflects."""
    share = ground.astype(np.float32) / 10000
    share[:, 100:104, 100:104] = 2.6
    scene = open_scene(str(write_stack(tmp_path / "a.tif", share)))
    assert {band.rule.scale for band in scene.bands.values()} == {1.0}


def test_a_missing_band_is_named(tmp_path: Path, ground: np.ndarray) -> None:
    scene = open_scene(str(write_stack(tmp_path / "a.tif", ground[:4], ("B02", "B03", "B04", "B08"))))
    with pytest.raises(BandsUnknown, match="has no B05, B06"):
        scene.select(TEN_BANDS)


def test_zero_and_the_files_nodata_become_nan_and_65535_infinite(tmp_path: Path) -> None:
    values = textured(2, 40, 40, 1)
    values[0, 3, 4], values[1, 5, 6] = 0, 65535
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03"))))
    reader = SceneReader(scene, scene.grid)
    read = reader.read(Window(0, 0, 40, 40))
    reader.close()
    assert np.isnan(read[0, 3, 4])
    assert np.isnan(read).sum() == 1
    assert np.isposinf(read[1, 5, 6])
    assert read[0, 0, 0] == pytest.approx(values[0, 0, 0] / 10000)


@pytest.mark.parametrize("moved", [0.0, 3.0], ids=["as it is", "interpolated"])
@pytest.mark.parametrize("odd", [None, 0, 65535, 64499])
def test_a_window_of_blocks_without_odd_pixels_is_read_as_if_each_pixel_were_looked_at(
    tmp_path: Path, moved: float, odd: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = textured(2, 1100, 560, 1)
    if odd is not None:
        values[1, 800, 300] = odd
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03"), **tiled)))
    grid = replace(scene.grid, transform=scene.grid.transform @ Affine.translation(moved / 10, moved / 10))
    windows = [Window(20, 30, 300, 400), Window(250, 600, 200, 300), Window(-5, 500, 100, 100), Window(300, 1000, 300, 120)]
    with closing(SceneReader(scene, grid)) as reader:
        found = [reader.read(window) for window in windows]
        ordinary = [reader.is_ordinary(window) for window in windows]
        monkeypatch.setattr(SceneReader, "is_ordinary", lambda *_: False)
        monkeypatch.setattr("s2change_plugin.engine.reading._ParallelFile.is_ordinary", lambda *_: False)
        expected = [reader.read(window) for window in windows]
    # Beyond the file there is nothing, and the second window lies in a block with an odd pixel.
    assert ordinary == [True, odd in (None, 64499), False, False]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(np.isfinite(one).all() for one, without in zip(found, ordinary, strict=True) if without)


def test_a_file_whose_nodata_lies_among_its_values_or_that_holds_nan_has_no_ordinary_window(tmp_path: Path) -> None:
    window, bands = Window(0, 0, 30, 30), ("B02", "B03")
    values = textured(2, 40, 40, 1)
    values[0, :, :20], values[0, :, 20:] = 900, 1100
    share = (values / 10000).astype(np.float32)
    share[0, 3, 3] = np.nan
    stacks = (values, 1000), (values, 5), (share, None)
    found = []
    for place, (written, nodata) in enumerate(stacks):
        scene = open_scene(str(write_stack(tmp_path / f"{place}.tif", written, bands, nodata=nodata)))
        with closing(SceneReader(scene, scene.grid)) as reader:
            reader.read(window)
            found.append(reader.is_ordinary(window))
    assert found == [False, True, False]


def test_beyond_the_raster_there_is_nothing(tmp_path: Path) -> None:
    values = textured(2, 40, 40, 1)
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03"))))
    reader = SceneReader(scene, scene.grid)
    read = reader.read(Window(-8, 30, 24, 24))
    reader.close()
    assert np.isnan(read[:, 10:]).all()
    assert np.isnan(read[:, :, :8]).all()
    np.testing.assert_allclose(read[:, :10, 8:], values[:, 30:, :16] / 10000, rtol=1e-6)


def test_twenty_metre_bands_keep_their_place_on_the_ten_metre_grid(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(1000, 3000, 100, dtype=np.uint16), (20, 1))
    write_stack(tmp_path / "T31_B02.tif", np.kron(ramp, np.ones((2, 2), np.uint16))[None], None)
    write_stack(tmp_path / "T31_B05.tif", ramp[None], None, pixel=(20, 20))
    scene = open_scene(str(tmp_path))
    reader = SceneReader(scene, scene.grid)
    fine = reader.read(scene.grid.window)[1]
    reader.close()
    # 100 DN per 20 m: a 10 m pixel's centre lies 5 m, a quarter of that, off the 20 m pixel's.
    np.testing.assert_allclose(fine[20, 10:30:2] * 10000, ramp[0, 5:15] - 25, atol=1)
    np.testing.assert_allclose(fine[20, 11:31:2] * 10000, ramp[0, 5:15] + 25, atol=1)


@pytest.mark.parametrize("scale", [0.0, -0.0001, float("nan")])
def test_a_scale_that_is_none_is_refused(tmp_path: Path, ground: np.ndarray, scale: float) -> None:
    with pytest.raises(UnitsUnclear, match="by which no number becomes reflectance"):
        open_scene(str(write_stack(tmp_path / "a.tif", ground, scale=scale)))


@pytest.mark.parametrize(("dtype", "shift"), [("int16", 0), ("int16", 3.5), ("float32", 0), ("float32", 3.5)])
def test_a_fill_that_nobody_declared_and_no_sample_met_is_no_ground(
    tmp_path: Path, ground: np.ndarray, dtype: str, shift: float
) -> None:
    """Whether it is read as it is or interpolated."""
    values = ground.astype(dtype)
    if dtype == "float32":
        values /= 10000
    values[:, 100:140, 200:260] = -9999
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, origin=(500000 + shift, 5000000 - shift))))
    # As where the windows that are looked at for a fill did not meet it.
    scene = replace(scene, bands={name: replace(band, nodata=float("nan")) for name, band in scene.bands.items()})
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 300, 340)
    reader = SceneReader(scene, grid)
    shown = reader.read(grid.window)
    reader.close()
    assert np.isnan(shown[:, 102:138, 202:258]).all()
    around = shown[:, 90:150, 190:270]
    assert np.nanmin(around) > 0
    assert np.isfinite(shown[:, 10:90, 10:190]).all()


@pytest.mark.parametrize(("count", "full"), [(3, 65535), (10, 65535), (10, 255), (10, 1)])
@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32632"], ids=["parallel", "warped"])
def test_where_the_alpha_band_is_0_there_is_no_data(tmp_path: Path, ground: np.ndarray, crs: str, count: int, full: int) -> None:
    """As gdalwarp -dstalpha adds it; GDAL takes it for a mask of three bands alone."""
    bands, ground = TEN_BANDS[:count], ground[:count]
    alpha = np.full((1, *ground.shape[1:]), full, np.uint16)
    alpha[:, 100:140, 200:260] = 0
    path = write_stack(tmp_path / "a.tif", np.concatenate([ground, alpha]), None)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [ColorInterp.gray] * count + [ColorInterp.alpha]
        for index, name in enumerate(bands, start=1):
            raster.set_band_description(index, name)
    scene = open_scene(str(path))
    assert open_scene(str(path), (*bands, "B12")).own_masks == (), "what is said to be a band is none"
    left, bottom, right, top = transform_bounds("EPSG:32631", crs, *scene.grid.bounds)
    shape = round((top - bottom) / 10), round((right - left) / 10)
    grid = Grid(CRS.from_string(crs), Affine(10, 0, left, 0, -10, top), *shape)
    with closing(DateReader(scene, bands, masks_of(scene, "none", None), grid, 0)) as reader:
        shown, codes = reader.read(grid.window)
    xs, ys = transform("EPSG:32631", crs, [502300, 500500], [4998800, 4999500])
    inside, beside = ((int((top - y) / 10), int((x - left) / 10)) for x, y in zip(xs, ys, strict=True))
    assert codes[inside] == Quality.NODATA_BEFORE
    assert codes[beside] == Quality.OBSERVED
    assert shown[(slice(None), *beside)] == pytest.approx(ground[:, 50, 50] / 10000, rel=0.3)
    assert 2000 < (codes[: shape[0], : shape[1]] == Quality.NODATA_BEFORE).sum() < 0.3 * codes.size


@pytest.mark.parametrize("internal", [True, False])
@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:32632"], ids=["parallel", "warped"])
def test_what_a_file_masks_itself_has_no_data(tmp_path: Path, ground: np.ndarray, internal: bool, crs: str) -> None:
    path = write_stack(tmp_path / "a.tif", ground)
    masked = np.full(ground.shape[1:], 255, np.uint8)
    masked[100:140, 200:260] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as raster:
        raster.write_mask(masked)
    scene = open_scene(str(path))
    left, bottom, right, top = transform_bounds("EPSG:32631", crs, *scene.grid.bounds)
    shape = round((top - bottom) / 10), round((right - left) / 10)
    grid = Grid(CRS.from_string(crs), Affine(10, 0, left, 0, -10, top), *shape)
    reader = DateReader(scene, tuple(scene.bands), masks_of(scene, "none", None), grid, 60)
    codes = reader.read(grid.window)[1]
    reader.close()
    for row, col, expected in ((102, 202, 1), (138, 258, 1), (95, 230, 0), (120, 195, 0), (145, 230, 0), (120, 265, 0)):
        x, y = transform("EPSG:32631", crs, [500005 + 10 * col], [4999995 - 10 * row])
        assert codes[int((top - y[0]) // 10), int((x[0] - left) // 10)] == expected, (row, col)


def test_a_file_of_several_rasters_names_them(tmp_path: Path) -> None:
    image = write_stack(tmp_path / "a.tif", textured(1, 40, 40, 1).astype(np.uint8), None)
    for number, more in enumerate(({}, {"append_subdataset": "yes"})):
        copy(image, tmp_path / "a.gpkg", driver="GPKG", raster_table=f"t{number}", **more)
    with pytest.raises(UnreadableInput, match=r"holds 2 rasters \(GPKG:.*:T0, GPKG:.*:T1\)"):
        open_scene(str(tmp_path / "a.gpkg"))


def test_complex_numbers_are_no_reflectance(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="complex numbers"):
        open_scene(str(write_stack(tmp_path / "a.tif", textured(3, 40, 40, 1).astype(np.complex64), ["B02", "B03", "B04"])))


def test_a_truncated_raster_is_said_to_be_damaged(tmp_path: Path, ground: np.ndarray) -> None:
    path = write_stack(tmp_path / "a.tif", ground, compress="deflate", tiled=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableInput):
        scene = open_scene(str(path))
        SceneReader(scene, scene.grid).read(scene.grid.window)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_saturated_pixel_stays_one_when_it_is_resampled(tmp_path: Path, size: int) -> None:
    """The kernel spreads 65535 over its neighbours, above and below zero: none of it is ground."""
    coarse = np.full((1, 30, 30), 1500, np.uint16)
    coarse[0, 12 : 12 + size, 12 : 12 + size] = 65535
    write_stack(tmp_path / "T31_B02.tif", np.full((1, 60, 60), 1200, np.uint16), None)
    write_stack(tmp_path / "T31_B11.tif", coarse, None, pixel=(20, 20))
    scene = open_scene(str(tmp_path))
    reader = SceneReader(scene, scene.grid)
    whole, part = reader.read(scene.grid.window)[1], reader.read(Window(20, 20, 6, 40))[1]
    reader.close()
    saturated = np.isposinf(whole)
    assert saturated[24 : 24 + 2 * size, 24 : 24 + 2 * size].all()
    np.testing.assert_allclose(whole[~saturated], 0.15, atol=1e-4)
    assert saturated.sum() <= (2 * size + 8) ** 2
    np.testing.assert_array_equal(part, whole[20:60, 20:26])


@pytest.mark.parametrize(
    ("picked", "kind"), [("", "FRE"), ("X_L2A_T31TDH_C_V2-2_FRE_B2.tif", "FRE"), ("X_L2A_T31TDH_C_V2-2_SRE_B2.tif", "SRE")]
)
def test_of_the_two_reflectances_of_theia_the_one_without_slopes_counts_unless_the_other_is_picked(
    tmp_path: Path, picked: str, kind: str
) -> None:
    for each in ("FRE", "SRE"):
        for band in ("B2", "B3", "B8A"):
            write_stack(tmp_path / f"X_L2A_T31TDH_C_V2-2_{each}_{band}.tif", textured(1, 20, 20, 1), None)
    scene = open_scene(str(tmp_path / picked))
    assert list(scene.bands) == ["B02", "B03", "B8A"]
    assert all(f"_{kind}_" in band.path for band in scene.bands.values())


def test_where_one_band_has_no_data_nothing_of_it_is_mixed_with_the_ground_beside(tmp_path: Path) -> None:
    """Read on a grid of another zone, for which GDAL resamples it."""
    values = np.full((2, 80, 80), 1500, np.uint16)
    values[0, 30:50, 30:50] = 0
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03"), nodata=0)))
    bounds = transform_bounds(scene.grid.crs, "EPSG:32632", *scene.grid.bounds)
    reader = SceneReader(scene, Grid(CRS.from_epsg(32632), Affine(10, 0, bounds[0], 0, -10, bounds[3]), 80, 80))
    first, second = reader.read(reader.grid.window)
    reader.close()
    assert np.isnan(first).sum() > np.isnan(second).sum() + 300
    np.testing.assert_allclose(first[np.isfinite(first)], 0.15, atol=1e-4)


@pytest.mark.parametrize(("dtype", "fill"), [("float32", -9999), ("int16", -32768), ("uint16", 0)])
def test_what_fills_a_raster_is_no_ground_though_nodata_is_not_or_wrongly_declared(
    tmp_path: Path, dtype: str, fill: float
) -> None:
    values = textured(2, 80, 80, 1).astype(dtype)
    values[:, :, :20] = fill
    declared = {"nodata": 65535} if dtype == "uint16" else {}
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03"), **declared)))
    reader = SceneReader(scene, scene.grid)
    read = reader.read(scene.grid.window)
    reader.close()
    assert np.isnan(read[:, :, :20]).all()
    assert np.isfinite(read[:, :, 20:]).all()


def test_the_scene_classification_beside_band_files_is_their_mask(tmp_path: Path) -> None:
    for name in ("S2A_31TDH_20230823_L2A_B02.tif", "S2A_31TDH_20230823_L2A_B03.tif", "S2A_31TDH_20230823_L2A_SCL.tif"):
        write_stack(tmp_path / name, textured(1, 20, 20, 1), None)
    scene = open_scene(str(tmp_path))
    assert scene.mask.path.endswith("_SCL.tif")
    assert scene.acquisition.level == "L2A"


def test_a_scl_layer_of_a_stack_is_its_mask_and_numbers_beside_it_are_still_no_bands(tmp_path: Path) -> None:
    values = textured(5, 30, 30, 1)
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03", "B04", "B08", "SCL"))))
    assert (scene.mask.first_layer, scene.acquisition.level) == (5, "L2A")
    with pytest.raises(BandsUnknown, match="B8A"):
        open_scene(str(write_stack(tmp_path / "b.tif", values, ("B1", "B2", "B3", "B4", "SCL"))))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("scale", [1, 1e-4])
@pytest.mark.parametrize("fill", [np.nan, -9999, -0.5, 65535, 255.5, np.finfo(np.float32).max])
def test_classes_that_were_scaled_with_the_bands_are_still_classes_whatever_fills_among_them(
    tmp_path: Path, scale: float, fill: float
) -> None:
    values = textured(5, 40, 48, 1).astype(np.float32) / 10000
    values[4] = np.arange(48) % 12 * np.float32(scale)
    values[4, 20:] = fill
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03", "B04", "B08", "SCL"))))
    assert (scene.unused_mask, scene.acquisition.level) == ("", "L2A")
    with closing(MaskReader(scene, [scene.mask], scene.grid, 0)) as reader:
        codes = reader.read(scene.grid.window)
    np.testing.assert_array_equal(codes[:20, :12], [[SCL_CODES.get(value, 0) for value in range(12)]] * 20)
    assert not codes[20:].any()


def test_a_scene_classification_that_was_interpolated_is_not_used_and_it_is_said(tmp_path: Path) -> None:
    values = textured(5, 40, 48, 1).astype(np.float32)
    values[4], values[4, :, 1::2] = 4, 4.25
    paths = [write_stack(tmp_path / "a.tif", values, ("B02", "B03", "B04", "B08", "SCL"))]
    values[4] /= 10000
    paths.append(write_stack(tmp_path / "b.tif", values, ("B02", "B03", "B04", "B08", "SCL")))
    (tmp_path / "folder").mkdir()
    for band, layer in (("B02", values[:1]), ("SCL", values[4:])):
        write_stack(tmp_path / "folder" / f"T31TDK_20200101_{band}.tif", layer, None)
    paths.append(write_stack(tmp_path / "folder" / "T31TDK_20200101_B03.tif", values[1:2], None))
    scenes = [open_scene(str(path)) for path in paths]
    # Still, only Level-2A has been classified.
    assert [(scene.mask, scene.acquisition.level) for scene in scenes] == [(None, "L2A")] * 3
    said = [f"the SCL layer holds no classes (values such as {odd}); export it" for odd in ("4.25", "0.0004", "0.0004")]
    assert [scene.unused_mask[: len(start)] for scene, start in zip(scenes, said, strict=True)] == said


def test_a_scaled_scene_classification_is_known_where_most_of_it_is_no_data(tmp_path: Path) -> None:
    values = textured(3, 40, 48, 1).astype(np.float32)
    values[2] = 0
    values[2, :2] = 9 / 10000
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03", "SCL"))))
    assert (scene.mask.scale, scene.unused_mask) == (10000, "")


def test_of_a_scene_classification_whose_edges_alone_are_interpolated_clouds_are_masked_and_it_is_said(tmp_path: Path) -> None:
    values = textured(3, 40, 48, 1).astype(np.float32)
    values[2, :, :20], values[2, :, 20], values[2, :, 21:] = 4, 6.5, 9
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B02", "B03", "SCL"))))
    assert scene.mask
    assert scene.unused_mask.startswith("the SCL layer was interpolated")


def test_a_layer_that_the_user_names_scl_is_the_mask_of_a_stack(tmp_path: Path) -> None:
    values = textured(4, 30, 30, 1)
    values[2] = 9
    path = str(write_stack(tmp_path / "a.tif", values, None))
    scene = open_scene(path, parse_layers("B02,B03,SCL,-"))
    assert (tuple(scene.bands), scene.mask.first_layer, scene.acquisition.level) == (("B02", "B03"), 3, "L2A")
    assert open_scene(path, parse_layers("B02,B03,-,-")).mask is None
    # The user's word goes before the file's.
    path = str(write_stack(tmp_path / "b.tif", values, ("B02", "B03", "B04", "SCL")))
    assert open_scene(path, parse_layers("B02,B03,SCL,-")).mask.first_layer == 3
    assert open_scene(path, parse_layers("B02,B03,-,-")).mask.first_layer == 4


@pytest.mark.parametrize("crs", ["EPSG:32631", "+proj=longlat +a=3396190 +b=3376200 +no_defs"])
def test_a_raster_without_a_place_on_earth_is_refused(tmp_path: Path, crs: str) -> None:
    import rasterio

    values = textured(2, 20, 20, 1)
    place = {} if crs.startswith("EPSG") else {"transform": rasterio.Affine(0.1, 0, 1, 0, -0.1, 2)}
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=2, height=20, width=20, dtype="uint16", crs=crs, **place
    ) as raster:
        raster.write(values)
        raster.descriptions = ("B02", "B03")
    with pytest.raises(GridMismatch, match="no georeference|no place on Earth"):
        open_scene(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_jpeg_2000_file_that_ends_early_is_never_read_as_ground(tmp_path: Path, share: float) -> None:
    """GDAL decodes its blocks in threads where it may, and loses their errors."""
    ground = textured(13, 300, 312, 1) / np.float32(10000)
    product = write_product(tmp_path, ground)
    band = next(product.glob("GRANULE/*/IMG_DATA/*_B04.jp2"))
    band.write_bytes(band.read_bytes()[: int(share * band.stat().st_size)])
    with pytest.raises(UnreadableInput, match="_B04.jp2"):
        scene = open_scene(str(product)).select(("B03", "B04"))
        reader = SceneReader(scene, scene.grid)
        try:
            reader.read(scene.grid.window)
        finally:
            reader.close()


@pytest.mark.parametrize("folder", ["https://host/dir", "/vsicurl/https://host/dir", "data"])
def test_what_a_file_names_beside_itself_is_looked_for_there(folder: str) -> None:
    assert Path(_beside(f"{folder}/stack.tif", "stack_quality.tif")).as_posix() == Path(f"{folder}/stack_quality.tif").as_posix()
    assert folder in _beside(f"{folder}/stack.tif", "stack_quality.tif")
