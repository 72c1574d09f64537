"""The command `sample`, as a person or a script uses it."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from click.testing import CliRunner, Result
from rasterio.crs import CRS
from shapely.geometry import MultiPolygon

from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.grid import Grid, geodesic_area_m2
from s2change_plugin.engine.outputs import MASK, NOT_OBSERVED, PROBABILITY, Layer, RasterWriter
from s2change_plugin.engine.sample import _doubtful_from, _drawn, allocated
from s2change_plugin.paths import resources
from tests.conftest import write_stack


@pytest.fixture
def levels() -> np.ndarray:
    """Stored probability of a map of 700 × 600 pixels: most of it sure, some eighth doubtful, some change, and a part not observed."""
    random = np.random.default_rng(1)
    values = random.integers(0, 3, (700, 600)).astype(np.uint8)
    values[random.random(values.shape) < 0.12] = 60
    values[100:130, 480:560] = 200
    values[:, :50] = NOT_OBSERVED
    return values


@pytest.fixture
def mask(tmp_path: Path, levels: np.ndarray) -> Path:
    return write(tmp_path / "mask.tif", np.where(levels == NOT_OBSERVED, NOT_OBSERVED, levels >= 125).astype(np.uint8), MASK)


@pytest.fixture
def probability(tmp_path: Path, levels: np.ndarray) -> Path:
    return write(tmp_path / "probability.tif", levels, PROBABILITY)


def write(path: Path, values: np.ndarray, layer: Layer, **place: object) -> Path:
    """A raster as `detect` writes it."""
    like = write_stack(path.with_suffix(".like.tif"), values[None], None, **place)
    with rasterio.open(like) as raster:
        grid = Grid(raster.crs, raster.transform, *raster.shape)
    writer = RasterWriter(path.with_suffix(""), grid, layer, {})
    writer.write(values, grid.window)
    return writer.finish(path).rename(path)


def sample(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["sample", *map(str, arguments)])


def drawn(mask: Path, *more: object) -> tuple[dict, geopandas.GeoDataFrame]:
    """What was said, and the layer."""
    target = mask.parent / "sample.gpkg"
    done = sample(mask, target, *more, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), geopandas.read_file(target)


def places(table: geopandas.GeoDataFrame) -> list[tuple[int, int]]:
    """Row and column of each pixel, on the grid of `write_stack`."""
    bounds = table.geometry.bounds
    return list(zip(((5000000 - bounds.maxy) / 10).astype(int), ((bounds.minx - 500000) / 10).astype(int), strict=True))


def test_pixels_lie_where_the_map_says_what_their_stratum_is_called_and_none_is_drawn_twice(
    mask: Path, probability: Path, levels: np.ndarray
) -> None:
    said, table = drawn(mask, "--probability", probability, "--size", 200)
    found = places(table)
    assert len(set(found)) == 200
    assert (table.geometry.area == 100).all()
    for (row, col), name in zip(found, table["stratum"], strict=True):
        expected = "change" if levels[row, col] == 200 else "doubtful" if levels[row, col] == 60 else "no change"
        assert (name, levels[row, col]) != (expected, NOT_OBSERVED)
        assert name == expected
    assert table["stratum"].value_counts().to_dict() == {"change": 50, "doubtful": 50, "no change": 100}
    assert {name: one["drawn"] for name, one in said["strata"].items()} == {"change": 50, "doubtful": 50, "no change": 100}
    # All windows, not the first one alone.
    assert max(row for row, _ in found) > 600


def test_strata_together_are_all_that_was_observed(mask: Path, probability: Path, levels: np.ndarray) -> None:
    said, table = drawn(mask, "--probability", probability)
    strata = said["strata"]
    assert strata["change"]["pixels"] == (levels == 200).sum()
    assert strata["doubtful"]["pixels"] == (levels == 60).sum()
    assert sum(one["pixels"] for one in strata.values()) == 700 * 550
    with rasterio.open(mask) as raster:
        whole = geodesic_area_m2(Grid(raster.crs, raster.transform, *raster.shape)) / 1e4
    assert sum(one["hectares"] for one in strata.values()) == pytest.approx(whole * 550 / 600, rel=1e-4)
    for name, one in strata.items():
        part = table[table["stratum"] == name]
        assert set(part["stratum_px"]) == {one["pixels"]}
        assert set(part["stratum_ha"]) == {one["hectares"]}


def test_without_a_probability_there_is_no_doubtful_stratum(mask: Path) -> None:
    said, table = drawn(mask, "--size", 100)
    assert {name: one["drawn"] for name, one in said["strata"].items()} == {"change": 25, "no change": 75}
    assert set(table["stratum"]) == {"change", "no change"}


def test_every_pixel_of_a_stratum_is_as_likely(tmp_path: Path) -> None:
    values = np.zeros((40, 600), np.uint8)
    values[:, 300:] = 1
    mask = write(tmp_path / "mask.tif", values, MASK)
    drawn_in = np.zeros(values.shape, int)
    for seed in range(20):
        for row, col in places(drawn(mask, "--seed", seed, "--size", 400)[1]):
            drawn_in[row, col] += 1
    # Windows of 512 columns and 88: of 2000 and 6000 pixels drawn, as many as their share, within four standard deviations.
    inside = drawn_in[:, 512:].sum()
    assert inside == pytest.approx(2000 * 88 / 300, abs=4 * np.sqrt(2000 * 0.29 * 0.71))
    halves = drawn_in[:20, :300].sum()
    assert halves == pytest.approx(3000, abs=4 * np.sqrt(6000 * 0.25))


def test_no_pixel_is_drawn_twice_where_most_are_drawn(tmp_path: Path) -> None:
    values = np.zeros((40, 50), np.uint8)
    values[5:11, 5:10] = 1
    _, table = drawn(write(tmp_path / "mask.tif", values, MASK), "--size", 100)
    change = table[table["stratum"] == "change"]
    assert len(change) == len(set(places(change))) == 25


def test_the_same_seed_draws_the_same_pixels_and_another_one_others(mask: Path) -> None:
    first, again, other = (places(drawn(mask, "--seed", seed)[1]) for seed in (3, 3, 4))
    assert first == again
    assert len(set(first) & set(other)) < 30


def test_the_order_tells_nothing_of_the_strata_and_there_is_no_answer_yet(mask: Path, probability: Path) -> None:
    _, table = drawn(mask, "--probability", probability)
    assert list(table["number"]) == list(range(1, 301))
    assert table["reference"].isna().all()
    assert table["note"].isna().all()
    first = table["stratum"][:100].value_counts()
    assert 10 < first["change"] < 40
    assert 10 < first["doubtful"] < 40


def test_longitude_and_latitude_are_those_of_the_pixels_centres(mask: Path) -> None:
    _, table = drawn(mask)
    centres = table.geometry.centroid.to_crs(4326)
    np.testing.assert_allclose(table["lon"], centres.x, atol=1e-6)
    np.testing.assert_allclose(table["lat"], centres.y, atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "parts", "expected"),
    [
        ([1000, 1000, 1000], (1, 1, 2), [75, 75, 150]),
        ([1000, 0, 1000], (1, 0, 3), [75, 0, 225]),
        # What a stratum lacks the others get.
        ([10, 1000, 1000], (1, 1, 2), [10, 97, 193]),
        ([0, 1000, 1000], (1, 1, 2), [0, 100, 200]),
        ([5, 0, 7], (1, 0, 3), [5, 0, 7]),
        # By its part, not by its pixels, a stratum is short.
        ([90, 1000, 120], (1, 1, 2), [90, 90, 120]),
    ],
)
def test_a_stratum_with_few_pixels_gives_all_and_the_others_more(pixels: list[int], parts: tuple, expected: list[int]) -> None:
    assert allocated(pixels, 300, parts) == expected


def test_doubtful_is_what_is_nearest_to_a_tenth_and_never_what_has_no_probability() -> None:
    counts = np.zeros(257, int)
    counts[[0, 10, 20, 30]] = [850, 60, 50, 40]
    # 90 lie at 20 or above, 150 at 10 or above.
    assert _doubtful_from(counts) == 11
    counts[[0, 10, 20, 30]] = [850, 20, 90, 40]
    assert _doubtful_from(counts) == 11
    counts[[0, 10, 20, 30]] = [850, 90, 20, 40]
    assert _doubtful_from(counts) == 11
    counts[[0, 10, 20, 30]] = [860, 100, 20, 20]
    assert _doubtful_from(counts) == 1
    counts[[10, 20, 30]] = 0
    assert _doubtful_from(counts) == 1


def test_a_map_without_change_has_a_sample_too(tmp_path: Path) -> None:
    mask = write(tmp_path / "mask.tif", np.zeros((50, 60), np.uint8), MASK)
    said, table = drawn(mask)
    assert list(said["strata"]) == ["no change"]
    assert len(table) == 300


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--probability", "other.tif"], "do not lie on the same pixels. Give those of one run."),
        (["--probability", "mask.tif"], "is no probability that detect wrote"),
        (["--probability", "less.tif"], "is observed where the probability"),
    ],
)
def test_a_probability_that_is_not_the_masks_is_refused(
    mask: Path, levels: np.ndarray, tmp_path: Path, given: list[str], sentence: str
) -> None:
    write(tmp_path / "other.tif", levels, PROBABILITY, origin=(500010.0, 5000000.0))
    less = levels.copy()
    less[300, 300] = NOT_OBSERVED
    write(tmp_path / "less.tif", less, PROBABILITY)
    done = sample(mask, tmp_path / "sample.gpkg", given[0], tmp_path / given[1])
    assert done.exit_code == 1
    assert sentence in done.stderr.splitlines()[-1]
    assert not (tmp_path / "sample.gpkg").exists()


def test_a_map_that_observed_nothing_is_refused(tmp_path: Path) -> None:
    mask = write(tmp_path / "mask.tif", np.full((50, 60), NOT_OBSERVED, np.uint8), MASK)
    done = sample(mask, tmp_path / "sample.gpkg")
    assert done.exit_code == 1
    assert "has no pixel that was observed" in done.stderr
    assert not (tmp_path / "sample.gpkg").exists()


@pytest.mark.parametrize(("option", "value"), [("--size", 5), ("--size", 1_000_000), ("--seed", -1)])
def test_what_cannot_be_meant_is_wrong_usage(mask: Path, option: str, value: int) -> None:
    done = sample(mask, mask.parent / "sample.gpkg", option, value)
    assert done.exit_code == 2
    assert option.removeprefix("--") in done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("target", ["mask.tif", "probability.tif", "sample.tif", "older.gpkg"])
def test_a_sample_in_place_of_what_it_is_drawn_of_is_refused(mask: Path, probability: Path, target: str) -> None:
    older = mask.parent / "older.gpkg"
    sample(mask, older, "--probability", probability, "--size", 40)
    before = contents(mask.parent)
    done = sample(mask, mask.parent / target, "--probability", probability, "--extend", older)
    assert done.exit_code == 1
    assert contents(mask.parent) == before


def test_a_file_behind_the_mask_is_not_replaced(mask: Path) -> None:
    """A VRT names it, and a GeoPackage may hold a raster."""
    inside = mask.parent / "mask.gpkg"
    rasterio.shutil.copy(mask, inside, driver="GPKG")
    rasterio.shutil.copy(inside, mask.parent / "mask.vrt", driver="VRT")
    whole = inside.read_bytes()
    done = sample(mask.parent / "mask.vrt", inside)
    assert done.exit_code == 1
    assert "is an input and cannot be an output" in done.stderr
    assert inside.read_bytes() == whole


def test_a_crs_that_no_geopackage_can_hold_is_refused_before_anything_is_read(mask: Path) -> None:
    turned = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229 +to_meter=0.0174532925199433"
    wkt = escape(CRS.from_string(turned).to_wkt(version="WKT2_2019"))
    there = mask.with_suffix(".vrt")
    rasterio.shutil.copy(mask, there, driver="VRT")
    there.write_text(re.sub(r"<SRS.*?</SRS>", lambda _: f"<SRS>{wkt}</SRS>", there.read_text(), flags=re.DOTALL))
    done = sample(there, mask.parent / "sample.gpkg")
    assert done.exit_code == 1
    assert "A GeoPackage cannot hold the CRS of the mask" in done.stderr


def test_a_damaged_probability_is_said_to_be_damaged(mask: Path, probability: Path) -> None:
    probability.write_bytes(probability.read_bytes()[: probability.stat().st_size // 2])
    done = sample(mask, mask.parent / "sample.gpkg", "--probability", probability)
    assert done.exit_code == 1
    assert "probability.tif" in done.stderr.splitlines()[-1]
    assert not (mask.parent / "sample.gpkg").exists()


def test_hectares_are_those_where_the_pixels_lie(tmp_path: Path) -> None:
    # Two windows, from 60° to 30° north and on to the equator; the upper one is change.
    values = np.zeros((1024, 4), np.uint8)
    values[:512] = 1
    mask = write(tmp_path / "mask.tif", values, MASK, crs="EPSG:4326", origin=(3.0, 60.0), pixel=(30 / 512, 30 / 512))
    said, _ = drawn(mask)
    upper, lower = (said["strata"][name]["hectares"] for name in ("change", "no change"))
    # By sin 60° − sin 30° and sin 30° on a sphere.
    assert upper / lower == pytest.approx((0.8660 - 0.5) / 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("layer", "column", "value"), [("sample", "reference", 0), ("renamed", "reference", 255), ("sample", "note", "a crane")]
)
@pytest.mark.parametrize("name", ["sample.gpkg", "new!sample.gpkg"])
def test_a_sample_in_which_something_is_said_is_not_replaced_and_one_without_is(
    mask: Path, layer: str, column: str, value: object, name: str
) -> None:
    target = mask.parent / name
    for seed in (0, 1):
        assert sample(mask, target, "--seed", seed).exit_code == 0
    table = geopandas.read_file(shutil.copy(target, mask.parent / "copy.gpkg"), layer="sample")
    table.loc[[3, 4], column] = value
    table.to_file(mask.parent / "said.gpkg", layer=layer)
    whole = (mask.parent / "said.gpkg").replace(target).read_bytes()
    done = sample(mask, target)
    assert done.exit_code == 1
    assert "is a sample in which something is said of 2 pixels. Choose another name, or delete it." in done.stderr
    assert target.read_bytes() == whole


def test_what_may_be_a_sample_and_cannot_be_read_is_not_replaced(mask: Path) -> None:
    target = mask.parent / "sample.gpkg"
    target.write_bytes(b"SQLite format 3\0 and no more")
    done = sample(mask, target)
    assert done.exit_code == 1
    assert "cannot be read, so it is not known whether it holds answers" in done.stderr
    assert target.stat().st_size == 28


def test_a_geopackage_of_rasters_is_not_replaced(mask: Path) -> None:
    target = mask.parent / "sample.gpkg"
    rasterio.shutil.copy(mask, target, driver="GPKG")
    whole = target.read_bytes()
    assert "Choose another name, or delete it." in sample(mask, target).stderr
    assert target.read_bytes() == whole


def test_answers_that_are_saved_while_a_sample_is_drawn_stay(mask: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = mask.parent / "sample.gpkg"
    table = drawn(mask)[1]
    table["reference"] = 1

    def saved_meanwhile(*_: object) -> None:
        table.to_file(target, layer="sample")

    monkeypatch.setattr("s2change_plugin.engine.sample.write_style", saved_meanwhile)
    done = sample(mask, target, "--seed", 1)
    assert done.exit_code == 1
    assert "something is said of 300 pixels" in done.stderr
    assert geopandas.read_file(target)["reference"].notna().all()


def test_a_larger_sample_extends_a_smaller_one_and_keeps_its_answers(mask: Path, probability: Path) -> None:
    _, table = drawn(mask, "--probability", probability, "--size", 100, "--seed", 5)
    table["reference"] = (table["number"] % 3).map({0: 0, 1: 1, 2: None})
    table["note"] = "seen"
    older = mask.parent / "older.gpkg"
    table.to_file(older)
    said, new = drawn(mask, "--probability", probability, "--size", 300, "--extend", older)
    assert said["size"] == len(new) == len(set(places(new))) == 300
    assert list(new["number"]) == list(range(1, 301))
    assert places(new)[:100] == places(table)
    np.testing.assert_array_equal(new["reference"][:100], table["reference"])
    assert (new["note"][:100] == "seen").all()
    assert new[["reference", "note"]][100:].isna().all(axis=None)
    assert new["stratum"].value_counts().to_dict() == {"change": 75, "doubtful": 75, "no change": 150}
    for name, part in new.groupby("stratum"):
        assert set(part["drawn"]) == {len(part)}, name
    assert set(new["seed"]) == {5}
    # As if all had been drawn at once.
    (mask.parent / "sample.gpkg").unlink()
    assert set(places(new)) == set(places(drawn(mask, "--probability", probability, "--size", 300, "--seed", 5)[1]))


def test_a_sample_that_has_lost_pixels_is_extended_by_others(mask: Path) -> None:
    _, table = drawn(mask, "--size", 100)
    older = mask.parent / "older.gpkg"
    table.drop(index=range(10, 50)).to_file(older)
    (mask.parent / "sample.gpkg").unlink()
    done = sample(mask, mask.parent / "sample.gpkg", "--size", 200, "--extend", older)
    assert done.exit_code == 0
    assert "40 pixels of" in done.stderr
    new = geopandas.read_file(mask.parent / "sample.gpkg", layer="sample")
    assert len(new) == len(set(places(new))) == len(set(new["number"])) == 160
    assert not set(places(new)) & set(places(table.loc[10:49]))
    assert set(new["drawn"]) == {50, 150}


def test_what_a_user_added_to_a_sample_stays(mask: Path) -> None:
    """Fields, and outlines that another program saved as collections of one."""
    _, table = drawn(mask, "--size", 100)
    table["image"] = "2019-05-01"
    table.geometry = [MultiPolygon([one]) for one in table.geometry]
    older = mask.parent / "older.gpkg"
    table.to_file(older)
    _, new = drawn(mask, "--size", 200, "--extend", older)
    assert list(new["image"].notna()) == [True] * 100 + [False] * 100
    assert set(new.geom_type) == {"Polygon"}


@pytest.mark.parametrize("name", ["older.csv", "older.shp"])
def test_a_sample_without_places_is_not_extended(mask: Path, name: str) -> None:
    table, older = drawn(mask, "--size", 100)[1], mask.parent / name
    if name == "older.csv":
        table.drop(columns="geometry").to_csv(older, index=False)
    else:
        table.to_file(older)
        older.with_suffix(".prj").unlink()
    (mask.parent / "sample.gpkg").unlink()
    done = sample(mask, mask.parent / "sample.gpkg", "--size", 200, "--extend", older)
    assert done.exit_code == 1
    assert "has no outlines of its pixels, or no CRS. Give the sample as a GeoPackage" in done.stderr


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--size", 50], "is no smaller than what is asked for. Give a larger --size."),
        (["--size", 100], "is no smaller than what is asked for. Give a larger --size."),
        (["--size", 400], "was drawn with another probability"),
    ],
)
def test_what_cannot_be_extended_is_refused(mask: Path, probability: Path, more: list, sentence: str) -> None:
    older = mask.parent / "older.gpkg"
    sample(mask, older, "--size", 100, *(["--probability", probability] if more[1] == 400 else []))
    done = sample(mask, mask.parent / "sample.gpkg", "--extend", older, *more)
    assert done.exit_code == 1
    assert sentence in done.stderr.splitlines()[-1]


def test_a_mask_that_holds_nothing_but_change_is_doubted(tmp_path: Path) -> None:
    values = np.ones((50, 60), np.uint8)
    values[10:] = NOT_OBSERVED
    done = sample(write(tmp_path / "mask.tif", values, MASK), tmp_path / "sample.gpkg")
    assert done.exit_code == 0
    assert "holds nothing but change. If 0 is its nodata" in done.stderr


def test_qgis_finds_the_style_in_the_file(mask: Path) -> None:
    drawn(mask)
    with closing(sqlite3.connect(mask.parent / "sample.gpkg")) as database:
        ((layer, column, style, default),) = database.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchall()
        ((geometry,),) = database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchall()
    assert (layer, column, default) == ("sample", geometry, 1)
    assert style == (resources() / "styles" / "sample.qml").read_text()


@pytest.mark.parametrize("of", [50, 10_000, 10**7])
def test_of_more_pixels_the_first_are_the_same(of: int) -> None:
    few, many = (_drawn(np.random.default_rng(1), of, count) for count in (20, 45))
    assert len(set(many.tolist())) == 45
    np.testing.assert_array_equal(few, many[:20])
    assert many.max() < of
