import os
import re
import shutil
import zipfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize

from s2change_plugin.engine.acquisition import Acquisition
from s2change_plugin.engine.bands import ALL_BANDS, BANDS, L2A_BANDS
from s2change_plugin.engine.errors import UnreadableInput
from s2change_plugin.engine.safe import Product, find_product
from s2change_plugin.engine.validity import ClassRaster, MaskPolygons, Quality, classes_to_codes
from tests.conftest import REPOSITORY
from training.products import SENSED, Recipe, write_product, zip_folder

SIZE = 60
REAL = Path(os.environ.get("S2CHANGE_SAFE_METADATA", REPOSITORY.parent / "shared" / "data" / "safe_metadata"))
ALL_WAYS = [
    Recipe("L1C"),
    Recipe("L2A", copies=True),
    Recipe("L1C", "02.06", None),
    Recipe("L2A", "02.12", None),
    Recipe("L1C", "02.04", None, old=True),
    Recipe("L2A", "02.04", None, old=True),
    Recipe("L1C", lower=True),
    Recipe("L2A", lower=True),
    Recipe("L1C", "02.04", None, old=True, lower=True),
    Recipe("L1C", zipped="stored"),
    Recipe("L2A", zipped="deflated"),
    Recipe("L2A", zipped="deflated", lower=True),
    Recipe("L1C", "02.04", None, old=True, zipped="stored"),
]


def ground(count: int = 13, size: int = SIZE) -> np.ndarray:
    """Reflectance 0.02–0.6 that differs from band to band: (count, size, size)."""
    values = np.random.default_rng(3).uniform(0.02, 0.5, (count, size, size))
    return values + np.linspace(0, 0.1, count)[:, None, None]


def found(source: Path | str) -> Product:
    product = find_product(str(source))
    assert product is not None
    return product


def read(path: str) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def edit(path: Path, change: Callable[[str], str]) -> None:
    text = path.read_text("utf-8")
    changed = change(text)
    assert changed != text
    path.write_text(changed, "utf-8")


def metadata_of(safe: Path) -> Path:
    return next(path for path in safe.iterdir() if path.suffix == ".xml")


def granule_of(safe: Path) -> Path:
    return next((safe / "GRANULE").iterdir())


def codes(product: Product) -> np.ndarray:
    """Quality codes of a product's class raster, on its own grid."""
    assert isinstance(product.mask, ClassRaster)
    return classes_to_codes(read(product.mask.path), product.mask, None)


@pytest.mark.parametrize("recipe", ALL_WAYS, ids=str)
def test_every_kind_of_product_gives_back_the_reflectance_that_was_written(tmp_path: Path, recipe: Recipe) -> None:
    product = found(write_product(tmp_path, ground(), recipe))
    assert tuple(product.bands) == (ALL_BANDS if recipe.level == "L1C" else L2A_BANDS)
    assert product.missing == {}
    for name, path in product.bands.items():
        size = BANDS[name].gsd_m // 10
        truth = ground()[ALL_BANDS.index(name)].reshape(SIZE // size, size, SIZE // size, size).mean((1, 3))
        rule = product.rules[name]
        np.testing.assert_allclose(read(path)[0] * rule.scale + rule.offset, truth, atol=6e-5)


@pytest.mark.parametrize("recipe", ALL_WAYS, ids=str)
def test_every_kind_of_product_says_how_and_when_it_was_taken(tmp_path: Path, recipe: Recipe) -> None:
    path = write_product(tmp_path, ground(), recipe)
    product = found(path)
    assert product.acquisition == Acquisition(recipe.level, SENSED, "S2A", "31TDH", recipe.baseline, 51, 36.5, 151.25, "metadata")
    assert product.name.lower() == recipe.name.lower()
    assert product.source == str(path)


@pytest.mark.parametrize("platform", ["S2A", "S2B", "S2C", "S2D"])
def test_every_platform_is_known(tmp_path: Path, platform: str) -> None:
    assert found(write_product(tmp_path, ground(), platform=platform)).acquisition.platform == platform


@pytest.mark.parametrize("level", ["L1C", "L2A"])
@pytest.mark.parametrize("zipped", [None, "stored"])
def test_a_product_is_found_by_all_that_a_user_may_pick(tmp_path: Path, level: str, zipped: str | None) -> None:
    safe = write_product(tmp_path / "my: data", ground(), level=level)
    name, granule, metadata = safe.name, granule_of(safe).name, metadata_of(safe).name
    archive = zip_folder(safe, zipped) if zipped else None
    root = f"/vsizip/{archive}/{name}" if archive else str(safe)
    tail = f"SENTINEL2_{level}:{root}/{metadata}"
    sources = [
        root,
        f"{root}/",
        str(tmp_path / "my: data") if not zipped else str(archive),
        f"{root}/{metadata}",
        f"{root}/GRANULE",
        f"{root}/GRANULE/{granule}",
        f"{root}/GRANULE/{granule}/MTD_TL.xml",
        f"{root}/GRANULE/{granule}/IMG_DATA",
        tail,
        f"{tail}:10m:EPSG_32631",
        f"{tail}:TCI:EPSG_32631",
        f"{tail}:60m",
        f'SENTINEL2_{level}:"{root}/{metadata}":20m:EPSG_32631',
        f"SENTINEL2_L1C_TILE:{root}/GRANULE/{granule}/MTD_TL.xml:10m",
    ]
    if archive:
        sources += [f"/vsizip/{archive}", f"/vsizip/{{{archive}}}", f"/vsizip/{{{archive}}}/{name}/{metadata}"]
    bands = found(root).bands
    assert len(bands) == (13 if level == "L1C" else 12)
    for source in sources:
        assert found(source).bands == bands, source


def test_a_relative_path_names_the_product_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safe = write_product(tmp_path, ground())
    bands = found(safe).bands
    monkeypatch.chdir(safe)
    assert found("MTD_MSIL1C.xml").bands == bands
    monkeypatch.chdir(granule_of(safe))
    assert found("MTD_TL.xml").bands == bands
    assert found(".").bands == bands


def test_the_metadata_of_level_2a_may_be_spelled_with_a_small_a(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A")
    small = (safe / "MTD_MSIL2A.xml").rename(safe / "MTD_MSIL2a.xml")
    assert found(small).acquisition.level == "L2A"
    assert found(safe).bands == found(small).bands


def test_a_folder_that_is_called_granule_is_not_taken_for_one(tmp_path: Path) -> None:
    safe = write_product(tmp_path / "granule", ground())
    assert found(safe).bands == found(tmp_path / "granule").bands


def test_what_is_no_product_is_none(tmp_path: Path) -> None:
    (tmp_path / "T31_B02.tif").write_bytes(b"")
    (tmp_path / "INSPIRE.xml").write_text("<a/>")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("T31_B02.tif", "")
    for name in ("", "T31_B02.tif", "INSPIRE.xml", "x.zip", "absent", "absent.tif", "absent.zip"):
        assert find_product(str(tmp_path / name)) is None
    assert find_product("/vsicurl/http://127.0.0.1:9/a.tif") is None


def test_nothing_is_not_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_product(tmp_path, ground(size=12)))
    assert find_product("") is None


@pytest.mark.parametrize("name", ["A.SAFE", "MTD_MSIL1C.xml", "SENTINEL2_L1C:{}/MTD_MSIL1C.xml:10m:EPSG_32631"])
def test_a_product_that_does_not_exist_is_said_so(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "absent"
    with pytest.raises(UnreadableInput, match="does not exist"):
        find_product(name.format(folder) if ":" in name else str(folder / name))


def test_a_safe_folder_without_metadata_is_not_read_without_its_unit(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground())
    (safe / "MTD_MSIL1C.xml").unlink()
    for source in (safe, granule_of(safe), granule_of(safe) / "MTD_TL.xml"):
        with pytest.raises(UnreadableInput, match="lacks the product's metadata"):
            find_product(str(source))


def test_another_levels_metadata_does_not_stand_in_for_the_named(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground())
    with pytest.raises(UnreadableInput, match="lacks the product's metadata"):
        find_product(str(safe / "MTD_MSIL2A.xml"))


def test_several_products_in_a_folder_are_refused_with_their_names(tmp_path: Path) -> None:
    one, two = (write_product(tmp_path, ground(), tile=tile) for tile in ("31TDH", "31TCJ"))
    with pytest.raises(UnreadableInput, match="more than one product") as error:
        find_product(str(tmp_path))
    assert one.name in str(error.value)
    assert two.name in str(error.value)
    assert found(one).acquisition.tile == "31TDH"


def two_tiles(folder: Path, **changes: object) -> Path:
    """An old product of two tiles, of which the second is darker."""
    recipe = {"old": True, "baseline": "02.04", "offset": None, **changes}
    safe = write_product(folder, ground(), **recipe)
    other = write_product(folder / "other", ground() / 2, tile="32TLP", **recipe)
    shutil.move(granule_of(other), safe / "GRANULE")
    listed = re.search(r"<Granules .*?</Granules>", metadata_of(other).read_text("utf-8"))
    assert listed is not None
    edit(metadata_of(safe), lambda text: text.replace("</Granule_List>", f"{listed.group()}</Granule_List>"))
    return safe


def test_a_product_of_several_tiles_lists_them_and_takes_the_granules_folder(tmp_path: Path) -> None:
    safe = two_tiles(tmp_path)
    with pytest.raises(UnreadableInput, match=r"several tiles \(31TDH, 32TLP\)\. Give the folder of one") as error:
        find_product(str(safe))
    offered = str(error.value).partition("such as ")[2].rstrip(".")
    assert found(offered).acquisition.tile == "31TDH"
    for granule in (safe / "GRANULE").iterdir():
        product = found(granule)
        assert product.acquisition.tile == ("32TLP" if "32TLP" in granule.name else "31TDH")
        assert all(path.startswith(str(granule)) for path in product.bands.values())
        metadata = next(path for path in granule.iterdir() if path.suffix == ".xml")
        assert found(metadata).bands == product.bands
        assert found(f"SENTINEL2_L1C_TILE:{metadata}:10m").bands == product.bands


def test_a_band_that_one_of_several_tiles_lacks_is_named_by_its_own_file(tmp_path: Path) -> None:
    safe = two_tiles(tmp_path, leave_out=["B08"])
    other = next(granule for granule in (safe / "GRANULE").iterdir() if "32TLP" in granule.name)
    assert list(found(other).missing) == ["B08"]
    assert re.fullmatch(rf"GRANULE/{other.name}/IMG_DATA/S2A_OPER_MSI_L1C_TL_.*_T32TLP_B08\.jp2", found(other).missing["B08"])


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_a_missing_band_is_named_by_the_file_that_was_looked_for(tmp_path: Path, level: str, old: bool, lower: bool) -> None:
    recipe = Recipe(level, old=old, lower=lower, leave_out=["B02", "B11"])
    product = found(write_product(tmp_path, ground(), recipe))
    below = "GRANULE/" + recipe.granule
    expected = {band: f"{below}/{recipe.image(band, BANDS[band].gsd_m)}.jp2" for band in ("B02", "B11")}
    assert {band: path.lower() for band, path in product.missing.items()} == {
        band: path.lower() for band, path in expected.items()
    }
    assert not {"B02", "B11"} & product.bands.keys()
    assert {"B02", "B11"} < product.rules.keys()


def test_a_coarser_copy_never_stands_in_for_a_band(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A", copies=True, leave_out=["B02", "B05"])
    assert list(granule_of(safe).glob("IMG_DATA/*/*_B02_[26]0m.jp2"))
    product = found(safe)
    assert list(product.missing) == ["B02", "B05"]
    assert all(path.endswith(f"_{BANDS[band].gsd_m}m.jp2") for band, path in product.bands.items())


def test_a_product_whose_metadata_lists_no_files_is_known_by_its_files(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A", leave_out=["B03"])
    edit(safe / "MTD_MSIL2A.xml", lambda text: re.sub(r"<Granule_List>.*</Granule_List>", "", text))
    product = found(safe)
    assert len(product.bands) == 11
    assert product.missing == {"B03": f"GRANULE/{granule_of(safe).name}/IMG_DATA/R10m/T31TDH_{SENSED:%Y%m%dT%H%M%S}_B03_10m.jp2"}
    assert product.acquisition.tile == "31TDH"


def test_masks_that_are_named_like_bands_are_not_taken_for_them(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), leave_out=["B02"])
    band = next(granule_of(safe).glob("IMG_DATA/*_B03.jp2"))
    shutil.copy(band, granule_of(safe) / "QI_DATA" / "MSK_QUALIT_B02.jp2")
    assert list(found(safe).missing) == ["B02"]


def test_a_band_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground())
    band = next(granule_of(safe).glob("IMG_DATA/*_B03.jp2"))
    shutil.copy(band, band.with_name("T31TDH_20200101T101010_B03.jp2"))
    with pytest.raises(UnreadableInput, match="holds B03 more than once"):
        find_product(str(safe))


def test_bands_in_geotiff_are_bands_too(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), leave_out=["B04"])
    edit(safe / "MTD_MSIL1C.xml", lambda text: text.replace("JPEG2000", "GeoTIFF"))
    for band in granule_of(safe).glob("IMG_DATA/*.jp2"):
        band.rename(band.with_suffix(".TIF"))
    product = found(safe)
    assert len(product.bands) == 12
    assert product.missing["B04"].endswith("_B04.tif")


def test_a_product_without_the_granules_metadata_is_usable_and_knows_no_sun(tmp_path: Path) -> None:
    product = found(write_product(tmp_path, ground(), leave_out=["MTD_TL"]))
    assert len(product.bands) == 13
    assert product.acquisition == Acquisition("L1C", SENSED, "S2A", "31TDH", "05.09", 51, origin="metadata")


def test_without_a_datatake_the_products_time_counts_and_then_the_granules(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground())
    edit(safe / "MTD_MSIL1C.xml", lambda text: re.sub(r"<DATATAKE_SENSING_START>.*\n", "", text))
    edit(safe / "MTD_MSIL1C.xml", lambda text: text.replace("2023-08-23T", "2023-08-22T"))
    assert found(safe).acquisition.sensed == datetime(2023, 8, 22, 10, 55, 41, 24000, tzinfo=timezone.utc)
    edit(safe / "MTD_MSIL1C.xml", lambda text: re.sub(r"<PRODUCT_START_TIME>.*\n", "", text))
    assert found(safe).acquisition.sensed == SENSED


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_offsets_belong_to_their_band_id_whatever_their_order(tmp_path: Path, level: str) -> None:
    offsets = {band: -1000.0 - 10 * number for number, band in enumerate(ALL_BANDS)}
    safe = write_product(tmp_path, ground(), level=level, offset=offsets, shuffle=True)
    listed = re.findall(r'ADD_OFFSET band_id="(\d+)"', metadata_of(safe).read_text("utf-8"))
    assert listed != sorted(listed, key=int)
    rules = found(safe).rules
    assert {band: round(rule.offset * 10000) for band, rule in rules.items()} == {band: offsets[band] for band in rules}
    assert rules["B8A"].origin == "product metadata: (DN − 1080) / 10000, baseline 05.09"


def test_a_product_without_a_list_of_offsets_has_none(tmp_path: Path) -> None:
    # A late baseline alone proves no offset: some copies have it applied and taken from the metadata.
    rules = found(write_product(tmp_path, ground(), offset=None)).rules
    assert {(rule.scale, rule.offset, rule.origin) for rule in rules.values()} == {
        (1e-4, 0.0, "product metadata: DN / 10000, baseline 05.09")
    }


def test_an_old_baseline_with_a_list_of_offsets_has_them(tmp_path: Path) -> None:
    rules = found(write_product(tmp_path, ground(), baseline="02.06")).rules
    assert {rule.offset for rule in rules.values()} == {-0.1}


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r'<\w+_ADD_OFFSET band_id="8">.*?</\w+_ADD_OFFSET>', ""),
        (r'(<\w+_ADD_OFFSET band_id="8">).*?(</\w+_ADD_OFFSET>)', r"\1none\2"),
        (r"<\w+_ADD_OFFSET .*</\w+_ADD_OFFSET>", ""),
    ],
)
@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_a_list_of_offsets_that_lacks_a_band_is_refused(tmp_path: Path, level: str, pattern: str, instead: str) -> None:
    safe = write_product(tmp_path, ground(), level=level)
    edit(metadata_of(safe), lambda text: re.sub(pattern, instead, text))
    with pytest.raises(UnreadableInput, match="ADD_OFFSET for other bands but none for B"):
        find_product(str(safe))


def test_level_2a_needs_no_offset_of_the_band_that_it_lacks(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A", offset=dict.fromkeys(L2A_BANDS, -1000.0))
    assert {rule.offset for rule in found(safe).rules.values()} == {-0.1}


@pytest.mark.parametrize("said", ["", "0", "-10000", "nan", "inf", "many"])
@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_a_quantification_value_that_is_no_positive_number_is_refused(tmp_path: Path, level: str, said: str) -> None:
    safe = write_product(tmp_path, ground(), level=level)
    edit(metadata_of(safe), lambda text: re.sub(r"(?<=QUANTIFICATION_VALUE unit=\"none\">)10000", said, text))
    with pytest.raises(UnreadableInput, match="has no usable (BOA_)?QUANTIFICATION_VALUE"):
        find_product(str(safe))


def test_another_quantification_value_is_used(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground())
    edit(safe / "MTD_MSIL1C.xml", lambda text: text.replace('"none">10000<', '"none">5000<'))
    assert found(safe).rules["B02"].scale == pytest.approx(1 / 5000)
    assert found(safe).rules["B02"].offset == pytest.approx(-0.2)


def test_namespaces_may_be_named_otherwise(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground())
    plain = found(safe)
    edit(safe / "MTD_MSIL1C.xml", lambda text: re.sub(r"(</?)n1:", r"\1other:", text).replace("xmlns:n1", "xmlns:other"))
    assert found(safe) == plain
    edit(safe / "MTD_MSIL1C.xml", lambda text: text.replace("xmlns:other", 'xmlns="urn:default" xmlns:other'))
    assert found(safe) == plain


@pytest.mark.parametrize("level", ["1B", "1A", "0", "3A"])
def test_other_levels_are_refused(tmp_path: Path, level: str) -> None:
    safe = write_product(tmp_path, ground())
    edit(safe / "MTD_MSIL1C.xml", lambda text: text.replace(">Level-1C<", f">Level-{level}<"))
    with pytest.raises(UnreadableInput, match=rf"\(Level-{level}\)\. Give a Level-1C or Level-2A product"):
        find_product(str(safe))


def test_a_product_of_sen2like_is_whole_and_of_another_level(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A")
    edit(safe / "MTD_MSIL2A.xml", lambda text: text.replace(">Level-2A<", ">Level-2F<"))
    (safe / "MTD_MSIL2A.xml").rename(safe / "MTD_MSIL2F.xml")
    with pytest.raises(UnreadableInput, match=r"\(Level-2F\)\. Give a Level-1C or Level-2A product"):
        find_product(str(safe))


def test_the_level_is_known_without_its_own_element(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A")
    edit(safe / "MTD_MSIL2A.xml", lambda text: re.sub(r"<PROCESSING_LEVEL>.*\n", "", text))
    assert found(safe).acquisition.level == "L2A"
    edit(safe / "MTD_MSIL2A.xml", lambda text: re.sub(r"<PRODUCT_TYPE>.*\n", "", text))
    assert found(safe).acquisition.level == "L2A"


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>'
FETCHED = '<?xml version="1.0"?><!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>'


@pytest.mark.parametrize("text", ["", "not xml", "<a><b></a>", "<a>", BOMB, OUTSIDE, FETCHED], ids=range(7))
@pytest.mark.parametrize("name", ["MTD_MSIL1C.xml", "MTD_TL.xml", "MSK_CLOUDS_B00.gml"])
@pytest.mark.parametrize("zipped", [False, True])
def test_broken_or_hostile_xml_is_refused_with_its_name(tmp_path: Path, name: str, text: str, zipped: bool) -> None:
    safe = write_product(tmp_path, ground(size=12), mask="gml")
    next(safe.rglob(name)).write_text(text)
    with pytest.raises(UnreadableInput, match=f"{name} is no sound XML"):
        find_product(str(zip_folder(safe) if zipped else safe))


def test_metadata_of_something_else_is_refused(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(size=12))
    (safe / "MTD_MSIL1C.xml").write_text("<rss/>")
    with pytest.raises(UnreadableInput, match="level unknown"):
        find_product(str(safe))


def test_a_zip_that_reaches_outside_itself_is_refused(tmp_path: Path) -> None:
    archive = zip_folder(write_product(tmp_path, ground(size=12)))
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../../MTD_MSIL1C.xml", "<a/>")
    for source in (
        archive,
        f"/vsizip/{archive}/x.SAFE/MTD_MSIL1C.xml",
        f"SENTINEL2_L1C:/vsizip/{archive}/MTD_MSIL1C.xml:10m:EPSG_32631",
    ):
        with pytest.raises(UnreadableInput, match="would lie outside"):
            find_product(str(source))


def test_paths_in_the_metadata_lead_nowhere(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(size=12), leave_out=["B02"])
    shutil.copy(next(safe.rglob("*_B03.jp2")), tmp_path / "T31TDH_B02.jp2")
    edit(safe / "MTD_MSIL1C.xml", lambda text: re.sub(r"(?<=<IMAGE_FILE>)[^<]*_B02(?=<)", "../T31TDH_B02", text))
    assert list(found(safe).missing) == ["B02"]


def blob(size: int = SIZE) -> np.ndarray:
    """Clouds left and right, the left one with a hole: bool (size, size)."""
    clouds = np.zeros((size, size), bool)
    clouds[6:36, 6:30] = True
    clouds[18:24, 12:18] = False
    clouds[42:54, 42:54] = True
    return clouds


@pytest.mark.parametrize("old", [False, True])
def test_the_scene_classification_says_what_is_hidden(tmp_path: Path, old: bool) -> None:
    values = ground()
    values[:, :6] = np.nan
    snow, shadow = np.zeros((2, SIZE, SIZE), bool)
    snow[54:], shadow[36:40] = True, True
    product = found(write_product(tmp_path, values, level="L2A", old=old, clouds=blob(), snow=snow, shadow=shadow))
    expected = np.where(blob(), Quality.CLOUD, np.where(shadow, Quality.CLOUD_SHADOW, np.where(snow, Quality.SNOW, 0)))
    expected[:6] = Quality.NODATA_BEFORE
    np.testing.assert_array_equal(np.kron(codes(product), np.ones((2, 2), int)), expected)
    assert product.mask is not None
    assert product.mask.origin == "scene classification (SCL) of the product"


def test_every_class_of_the_scene_classification_has_its_meaning(tmp_path: Path) -> None:
    product = found(write_product(tmp_path, ground(size=12), level="L2A"))
    assert isinstance(product.mask, ClassRaster)
    hidden = {0: 1, 1: 6, 3: 4, 8: 3, 9: 3, 10: 3, 11: 5}
    np.testing.assert_array_equal(
        classes_to_codes(np.arange(12)[None, None], product.mask, None), [[hidden.get(value, 0) for value in range(12)]]
    )


def test_the_classification_of_60_m_stands_in_for_that_of_20_m_only_where_it_is_missing(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A", copies=True)
    fine = next(safe.rglob("*_SCL_20m.jp2"))
    coarse = granule_of(safe) / "IMG_DATA" / "R60m" / fine.name.replace("20m", "60m")
    shutil.copy(fine, coarse)
    for path in (fine, coarse):
        product = found(safe)
        assert isinstance(product.mask, ClassRaster)
        assert product.mask.path == str(path)
        path.unlink()
    assert found(safe).mask is None


def test_the_scene_classification_goes_before_other_masks(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), level="L2A", mask="classi")
    classi = found(safe).mask
    assert classi is not None
    assert "MSK_CLASSI" in classi.origin
    other = write_product(tmp_path / "other", ground(), level="L2A")
    target = granule_of(safe) / "IMG_DATA" / "R20m"
    shutil.copy(next(other.rglob("*_SCL_20m.jp2")), target)
    scl = found(safe).mask
    assert scl is not None
    assert "SCL" in scl.origin


def test_the_raster_cloud_mask_has_opaque_clouds_cirrus_and_snow(tmp_path: Path) -> None:
    snow = np.zeros((SIZE, SIZE), bool)
    snow[54:] = True
    product = found(write_product(tmp_path, ground(), clouds=blob(), snow=snow))
    expected = np.where(blob(), Quality.CLOUD, np.where(snow, Quality.SNOW, 0))
    np.testing.assert_array_equal(np.kron(codes(product), np.ones((6, 6), int)), expected)
    assert product.mask is not None
    assert product.mask.origin == "cloud mask MSK_CLASSI_B00 of the product"


def burnt(mask: MaskPolygons, product: Product) -> np.ndarray:
    with rasterio.open(product.bands["B02"]) as dataset:
        assert dataset.crs == mask.crs
        return rasterize(list(mask.shapes), dataset.shape, transform=dataset.transform)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(mask="gml"),
        Recipe(baseline="02.04", offset=None, old=True),
        Recipe(mask="gml", zipped="stored"),
        Recipe("L2A", mask="gml", lower=True),
    ],
    ids=str,
)
def test_the_vector_cloud_mask_gives_polygons_with_their_holes(tmp_path: Path, recipe: Recipe) -> None:
    product = found(write_product(tmp_path, ground(), recipe, clouds=blob()))
    assert isinstance(product.mask, MaskPolygons)
    np.testing.assert_array_equal(burnt(product.mask, product), np.where(blob(), Quality.CLOUD, 0))
    assert product.mask.origin == "cloud mask MSK_CLOUDS_B00 of the product"


def test_the_raster_mask_goes_before_the_vector_mask(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), mask="gml")
    other = write_product(tmp_path / "other", ground(), mask="classi")
    shutil.copy(next(other.rglob("MSK_CLASSI_B00.jp2")), granule_of(safe) / "QI_DATA")
    assert isinstance(found(safe).mask, ClassRaster)


@pytest.mark.parametrize("leave_out", [[], ["MTD_TL"]])
@pytest.mark.parametrize(("tile", "epsg"), [("31TDH", 32631), ("22HBD", 32722)])
def test_a_clear_days_vector_mask_is_a_mask_without_clouds(tmp_path: Path, leave_out: list[str], tile: str, epsg: int) -> None:
    safe = write_product(tmp_path, ground(), mask="gml", leave_out=leave_out, tile=tile, epsg=epsg)
    assert "Envelope" not in next(safe.rglob("*.gml")).read_text()
    mask = found(safe).mask
    assert isinstance(mask, MaskPolygons)
    assert mask.shapes == ()
    assert mask.crs.to_epsg() == epsg


def test_the_masks_envelope_goes_before_the_granules_crs(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), mask="gml", clouds=blob())
    edit(
        next(safe.rglob("*.gml")),
        lambda text: text.replace("EPSG:8.7:32631", "EPSG::32632"),
    )
    mask = found(safe).mask
    assert isinstance(mask, MaskPolygons)
    assert mask.crs.to_epsg() == 32632


def test_heights_of_polygons_are_passed_over(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), mask="gml", clouds=blob())
    flat = found(safe).mask
    assert isinstance(flat, MaskPolygons)
    edit(
        next(safe.rglob("*.gml")),
        lambda text: re.sub(r"(\d{6}) (\d{7})", r"\1 \2 12.5", text).replace('srsDimension="2"', 'srsDimension="3"'),
    )
    high = found(safe).mask
    assert isinstance(high, MaskPolygons)
    assert [shape.wkt for shape, _ in high.shapes] == [shape.wkt for shape, _ in flat.shapes]


def test_features_that_are_no_clouds_are_passed_over(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), mask="gml", clouds=blob())
    edit(next(safe.rglob("*.gml")), lambda text: text.replace(">OPAQUE<", ">QT_NODATA_PIXELS<"))
    mask = found(safe).mask
    assert isinstance(mask, MaskPolygons)
    assert len(mask.shapes) == 1


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [(r"(<gml:posList[^>]*>)\d+", r"\1"), (r"(<gml:posList[^>]*>)\d+", r"\1east"), ('Dimension="2"', 'Dimension="7"')],
)
def test_polygons_that_are_damaged_are_refused(tmp_path: Path, pattern: str, instead: str) -> None:
    safe = write_product(tmp_path, ground(), mask="gml", clouds=blob())
    edit(next(safe.rglob("*.gml")), lambda text: re.sub(pattern, instead, text))
    with pytest.raises(UnreadableInput, match="MSK_CLOUDS_B00.gml has a polygon"):
        find_product(str(safe))


def test_a_ring_without_an_area_is_passed_over(tmp_path: Path) -> None:
    safe = write_product(tmp_path, ground(), mask="gml", clouds=blob())
    edit(next(safe.rglob("*.gml")), lambda text: re.sub(r"(<gml:posList[^>]*>)[^<]*", r"\g<1>0 0 1 1 0 0", text, count=1))
    mask = found(safe).mask
    assert isinstance(mask, MaskPolygons)
    assert len(mask.shapes) == 1


def test_a_product_without_masks_has_none(tmp_path: Path) -> None:
    assert found(write_product(tmp_path, ground(), mask="none")).mask is None


def test_real_metadata_of_many_baselines_is_understood() -> None:
    products = [found(path) for path in sorted(REAL.glob("*.SAFE"))]
    if not products:
        pytest.skip("the metadata of real products is not here (S2CHANGE_SAFE_METADATA names their folder)")
    for product in products:
        name = re.fullmatch(r"(S2\w)_MSI(L\w\w)_(\d{8}T\d{6})_N(\d\d)(\d\d)_R(\d{3})_T(\w{5})_\w+", product.name)
        assert name is not None
        platform, level, sensed, major, minor, orbit, tile = name.groups()
        told = product.acquisition
        assert (told.platform, told.level, told.tile) == (platform, level, tile)
        assert (told.baseline, told.orbit) == (f"{major}.{minor}", int(orbit))
        assert told.sensed is not None
        assert told.sensed.strftime("%Y%m%dT%H%M%S") == sensed
        assert {rule.offset for rule in product.rules.values()} == {-0.1 if int(major) >= 4 else 0.0}
        assert (product.bands, tuple(product.missing)) == ({}, ALL_BANDS if level == "L1C" else L2A_BANDS)
