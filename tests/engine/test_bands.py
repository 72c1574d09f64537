import pytest

from s2change_plugin.engine.bands import (
    ALL_BANDS,
    BANDS,
    TEN_BANDS,
    band_of_description,
    band_of_file,
    bands_of_descriptions,
    bands_within_file,
    common_band_of_file,
    parse_layers,
)


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("B2", "B02"),
        ("B02", "B02"),
        ("b8a", "B8A"),
        ("B08A", "B8A"),
        ("B4, central wavelength 665 nm", "B04"),
        ("B12", "B12"),
        ("T32TPP_20180211T102141_B05", "B05"),
        ("S2_SR_B8A", "B8A"),
        ("SR_B11", "B11"),
        ("red", "B04"),
        ("NIR", "B08"),
        ("Red Edge 2", "B06"),
        ("nir08", "B8A"),
        ("SWIR 1", "B11"),
        ("swir22", "B12"),
        ("1613.7 nm", "B11"),
        ("Reflectance 842 nm", "B08"),
        ("B2 Blue", "B02"),
        ("B02 blue 490 nm", "B02"),
        ("B8 NIR", "B08"),
        ("B8A: Narrow NIR (865 nm)", "B8A"),
        ("B8A NIR", "B8A"),
        ("B06 - Red Edge, 20 m", "B06"),
        ("Red Edge 740 nm", "B06"),
        ("nir 865 nm", "B8A"),
        ("B1 Ultra Blue", "B01"),
        ("B12 (2185.7 nm)", "B12"),
        ("B02 (B2)", "B02"),
    ],
)
def test_a_description_in_a_usual_spelling_names_its_band(text: str, band: str) -> None:
    assert band_of_description(text) == band


@pytest.mark.parametrize("text", [None, "", "Band 4", "QA60", "SCL", "B13", "B0", "ab12", "NDVI", "550000 nm", "SR_B5", "ST_B10"])
def test_a_description_that_names_no_band_gives_none(text: str | None) -> None:
    assert band_of_description(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "B1 Blue",
        "b1_blue",
        "Blue (B1)",
        "B4 NIR",
        "B4_nir_10m",
        "B1 (490 nm)",
        "B4 (842 nm)",
        "B8 (865 nm)",
        "B8 NIR narrow",
        "B05 NIR",
        "Red 842 nm",
        "NDVI (B8-B4)/(B8+B4)",
        "B8A/B11 ratio",
        "B8_B4_nd",
        "B1: B02",
    ],
)
def test_a_description_that_contradicts_itself_names_no_band(text: str) -> None:
    assert band_of_description(text) is None


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("T32TPP_20180211T102141_B8A.tif", "B8A"),
        ("S2A_OPER_MSI_L1C_TL_EPA__20160809T015434_A000162_T32TPP_B08.tif", "B08"),
        ("T31UDQ_20200101T000000_B05_20m.jp2", "B05"),
        ("B02.tif", "B02"),
        ("T31UDQ_SCL_20m.jp2", None),
        ("B02_mask.tif", None),
        ("2021-08-20-00:00_2021-08-20-23:59_Sentinel-2_L2A_B02_(Raw).tiff", "B02"),
        ("T31TDK_S2_SR_B02.tif", "B02"),
        ("HLS.S30.T31TDK.2021001T105441.v2.0.B05.tif", "B05"),
        ("HLS.L30.T31TDK.2021001T103941.v2.0.B05.tif", None),
        ("LC08_L1TP_198030_20210101_20210308_02_T1_B10.TIF", None),
        ("LC81960302014022LGN00_B2.TIF", None),
        ("LC08_044034_20140318.B5.tif", None),
        ("LC08_CU_010009_20150430_20210502_02_TA_B5.tif", None),
        ("VENUS-XS_20180101-105441-457_L2A_SITE_C_V2-2_FRE_B2.tif", None),
        ("view_zenith_B2.img", None),
        ("SENTINEL2A_20180101-105441-457_L2A_T31TDH_C_V2-2_FRE_B2.tif", "B02"),
        ("B4.img", "B04"),
        ("b8a.tif", "B8A"),
        ("sheet_b4.tif", None),
    ],
)
def test_a_single_band_file_is_known_by_the_end_of_its_name(name: str, band: str | None) -> None:
    assert band_of_file(name) == band


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("S2A_21JUH_20240101_0_L2A_nir08.tif", "B8A"),
        ("S2A_21JUH_20240101_0_L2A_red.tif", "B04"),
        ("red_edge_1_20m.tif", "B05"),
        ("narrow_nir.tif", "B8A"),
        ("SWIR16.TIF", "B11"),
        ("blue.tif", "B02"),
        ("coastal_blue.tif", None),
        ("LC09_L2SP_230094_20230823_red.tif", None),
        ("interred.tif", None),
        ("red_mask.tif", None),
        ("T31_B02.tif", None),
    ],
)
def test_a_single_band_file_is_known_by_the_common_name_that_its_name_ends_with(name: str, band: str | None) -> None:
    assert common_band_of_file(name) == band


@pytest.mark.parametrize(
    ("name", "bands"),
    [
        ("T31UFU_20200101T105441_B02_clip.tif", ("B02",)),
        ("B02_clip.tif", ("B02",)),
        ("S2_B8A_10m_clipped.tif", ("B8A",)),
        ("T31UFU_B02_10m_reproj.tif", ("B02",)),
        ("b11-utm (1).tif", ("B11",)),
        ("X_FRE_B2_clip.tif", ("B02",)),
        ("B02_clip_of_B02.tif", ("B02",)),
        ("NDVI_B08_B04_clip.tif", ("B08", "B04")),
        ("B02clip.tif", ()),
        ("B13_clip.tif", ()),
        ("sheet_b4_clip.tif", ()),
        ("LC08_L1TP_198030_20210101_20210308_02_T1_B10_clip.tif", ()),
    ],
)
def test_codes_of_bands_are_found_where_they_stand_by_themselves_in_a_files_name(name: str, bands: tuple[str, ...]) -> None:
    assert bands_within_file(name) == bands


def test_beside_a_broad_near_infrared_nir_is_the_narrow_one() -> None:
    names = ["BLUE", "GREEN", "RED", "REDEDGE1", "REDEDGE2", "REDEDGE3", "BROADNIR", "NIR", "SWIR1", "SWIR2"]
    assert bands_of_descriptions(names) == TEN_BANDS
    assert bands_of_descriptions(["red", None, "NIR"]) == ("B04", None, "B08")


def test_the_ten_bands_are_those_of_10_and_20_metres() -> None:
    assert TEN_BANDS == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    assert [BANDS[name].band_id for name in ALL_BANDS] == list(range(13))


def test_layers_are_read_in_order_with_a_dash_for_one_to_skip() -> None:
    assert parse_layers("B02, red,-,nir") == ("B02", "B04", None, "B08")
    assert parse_layers("B02,-,scl") == ("B02", None, "SCL")
    assert parse_layers("") is None
    assert parse_layers("--before-bands B02,B03") == ("B02", "B03")


@pytest.mark.parametrize(("text", "said"), [("B02,B99", "B99"), ("B02,B2", "B02 is named twice")])
def test_layers_that_are_no_bands_are_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_layers(text)
