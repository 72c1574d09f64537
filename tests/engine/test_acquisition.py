from datetime import datetime, timedelta, timezone

import pytest

from s2change_plugin.engine.acquisition import Acquisition, acquisition_of_name, acquisition_of_tags, parse_time, tags_of

PRODUCT = "S2A_MSIL1C_20180101T105441_N0206_R051_T31TDH_20180101T124911"
WHOLE = Acquisition(
    "L2A",
    datetime(2023, 8, 23, 10, 55, 41, 24000, tzinfo=timezone.utc),
    "S2C",
    "31TDH",
    "05.09",
    51,
    36.5,
    151.123456789,
    "metadata",
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "name", [PRODUCT, f"{PRODUCT}.SAFE", f"/data/{PRODUCT}.zip", f"C:\\data\\{PRODUCT}.SAFE\\", PRODUCT.lower()]
)
def test_a_products_name_tells_all_and_its_first_time_is_sensing(name: str) -> None:
    assert acquisition_of_name(name) == Acquisition(
        "L1C", utc(2018, 1, 1, 10, 54, 41), "S2A", "31TDH", "02.06", 51, origin="name"
    )


def test_sensing_and_making_may_be_days_apart_in_a_products_name() -> None:
    name = "S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419"
    assert acquisition_of_name(name).sensed == utc(2018, 7, 21, 5, 37, 21)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("T31UDQ_20171107T105229_B01.tif", Acquisition(None, utc(2017, 11, 7, 10, 52, 29), tile="31UDQ", origin="name")),
        ("L1C_T31TDH_A013204_20180101T105435", Acquisition("L1C", utc(2018, 1, 1, 10, 54, 35), tile="31TDH", origin="name")),
        ("2023-12-17.tif", Acquisition(sensed=utc(2023, 12, 17), origin="name")),
        ("city_2023_12_17.tif", Acquisition(sensed=utc(2023, 12, 17), origin="name")),
        ("scene_20200717_L2A.tif", Acquisition("L2A", utc(2020, 7, 17), origin="name")),
        (
            "HLS.S30.T31TDK.2021032T105441.v2.0.B10.tif",
            Acquisition("L2A", utc(2021, 2, 1, 10, 54, 41), tile="31TDK", origin="name"),
        ),
        ("HLS.S30.T31TDK.2021999T105441.v2.0.B10.tif", Acquisition("L2A", tile="31TDK", origin="name")),
        ("S2A_31TDH_20180101_0_L2A", Acquisition("L2A", utc(2018, 1, 1), "S2A", "31TDH", origin="name")),
        (
            "SENTINEL2B_20180101-105441-457_L2A_T31TDH_D",
            Acquisition("L2A", utc(2018, 1, 1, 10, 54, 41), "S2B", "31TDH", origin="name"),
        ),
        (
            "S2A_MSIL1C_20200717T221941_R029_T01LAC_20200717T234135.SAFE",
            Acquisition("L1C", utc(2020, 7, 17, 22, 19, 41), "S2A", "01LAC", None, 29, origin="name"),
        ),
    ],
)
def test_other_names_tell_what_they_hold(name: str, told: Acquisition) -> None:
    assert acquisition_of_name(name) == told


def test_the_time_in_a_files_old_name_is_that_of_making_and_not_taken() -> None:
    told = acquisition_of_name("S2A_OPER_MSI_L1C_TL_MPS__20161130T130757_A007527_T31UDQ_B02.tif")
    assert told == Acquisition("L1C", None, "S2A", "31UDQ", origin="name")


def test_a_products_old_name_marks_the_time_of_sensing() -> None:
    name = "S2A_OPER_PRD_MSIL1C_PDMC_20161201T130757_R051_V20161130T105441_20161130T105441.SAFE"
    assert acquisition_of_name(name) == Acquisition("L1C", utc(2016, 11, 30, 10, 54, 41), "S2A", orbit=51, origin="name")


def test_two_days_in_a_name_are_a_composite_without_a_date() -> None:
    assert acquisition_of_name("mosaic_20200601_20200831.tif") == Acquisition()
    assert acquisition_of_name("T31TDH_20200601T101010_20200601T111111.tif").sensed == utc(2020, 6, 1, 10, 10, 10)


def test_two_levels_in_a_name_are_none() -> None:
    assert acquisition_of_name("L1C_L2A_difference.tif") == Acquisition()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "stack.tif",
        "20201345.tif",
        "2023-02-30.tif",
        "19991231.tif",
        "20150101.tif",
        "order_120200717.tif",
        "10MAR.tif",
        "field_N0206_R051.tif",
        "T99TDH.tif",
        "T31IOI.tif",
        "AS2A_x.tif",
        "HL2A.tif",
    ],
)
def test_nothing_is_invented(name: str) -> None:
    assert acquisition_of_name(name) == Acquisition()
    assert acquisition_of_name(name).origin == "unknown"


@pytest.mark.parametrize("name", ["S2A_x_R144_y", "S2A_x_R000_y"])
def test_an_orbit_that_does_not_exist_is_none(name: str) -> None:
    assert acquisition_of_name(name).orbit is None


def test_tags_carry_all_that_is_known_and_back() -> None:
    assert acquisition_of_tags(tags_of(WHOLE)) == WHOLE
    assert tags_of(WHOLE)["S2CHANGE_SENSED"] == "2023-08-23T10:55:41.024000+00:00"


def test_tags_hold_nothing_that_is_not_known() -> None:
    assert tags_of(Acquisition("L1C", orbit=3)) == {"S2CHANGE_LEVEL": "L1C", "S2CHANGE_ORBIT": "3"}
    assert tags_of(Acquisition()) == {}
    assert acquisition_of_tags({"AREA_OR_POINT": "Area"}) == Acquisition()


def test_a_damaged_tag_counts_as_not_there() -> None:
    tags = {
        "S2CHANGE_LEVEL": "L3",
        "S2CHANGE_SENSED": "yesterday",
        "S2CHANGE_ORBIT": "-1",
        "S2CHANGE_SUN_ZENITH": "nan",
        "S2CHANGE_TILE": "31TDH",
    }
    assert acquisition_of_tags(tags) == Acquisition(tile="31TDH", origin="metadata")


def test_times_are_aware_and_in_utc() -> None:
    assert parse_time("2018-01-01T10:54:41.026Z") == utc(2018, 1, 1, 10, 54, 41, 26000)
    assert parse_time("2018-01-01T10:54:41") == utc(2018, 1, 1, 10, 54, 41)
    there = parse_time("2018-01-01T12:54:41+02:00")
    assert there == utc(2018, 1, 1, 10, 54, 41)
    assert there is not None
    assert there.utcoffset() == timedelta(0)
    assert parse_time("noon") is None
    assert parse_time("0001-01-01T00:00:00+05:00") is None
