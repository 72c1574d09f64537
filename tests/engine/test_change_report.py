"""The report on a change map, as a person reads it and as another page would."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from shapely.geometry import Polygon, box

from s2change_plugin.engine.__main__ import main
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.pictures import View, view_of
from s2change_plugin.engine.scene import open_scene
from tests.conftest import textured, write_stack
from tests.standin import write_standin


class Page(HTMLParser):
    """What is read on a page, its pictures, and the outlines on them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text("utf-8")
        self.text, self.pictures, self.outlines = "", list[bytes](), list[str]()
        self.feed(self.html)
        self.text = " ".join(self.text.split())

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(b64decode((dict(attrs)["src"] or "").partition("base64,")[2]))
        if tag == "path":
            self.outlines.append(dict(attrs)["d"] or "")


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_MODELS", str(tmp_path / "models"))
    write_standin(tmp_path / "models", "standin", detects="New <buildings>.", known_failures=("Seasons: four of ten fields.",))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two dates that differ in blocks of 2 to 15 rows by ten columns, one below the other, the second without data on the right."""
    ground = textured(10, 300, 340, 1)
    later = ground.copy()
    row = 5
    for tall in range(2, 16):
        later[:, row : row + tall, 100:110] += 3000
        row += tall + 4
    later[:, :, 306:] = 0
    return write_stack(tmp_path / "<i>20210620.tif", ground), write_stack(tmp_path / "20230901.tif", later)


def detect(*arguments: object, model: tuple[str, ...] = ("--model", "standin")) -> Result:
    return CliRunner().invoke(main, ["detect", *map(str, arguments), *model, "--clouds", "none", "--no-register"])


def ring_of(outline: str) -> np.ndarray:
    return np.array([[float(value) for value in pair.split(",")] for pair in outline.strip("MZ").split("L")])


def shown(png: bytes) -> np.ndarray:
    with MemoryFile(png) as file, file.open() as raster:
        return raster.read()[:3].astype(int)


def test_it_has_the_map_the_largest_areas_what_was_seen_and_nothing_from_outside(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = detect(*pair, "--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["20230901.tif", "<i>20210620.tif", "m.tif", "r.html"]
    page = Page(tmp_path / "r.html")
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", page.html)
    assert "<i>20210620.tif" in page.text, "a file's name is text, whatever it holds"
    hectares = 10 * sum(range(2, 16)) / 100 / 0.9996**2
    assert f"{hectares:.2f} ha changed, {100 * hectares / (300 * 306 / 100 / 0.9996**2):.2f} % of what was observed" in page.text
    assert "That is 90.0 % of the area" in page.text
    for said in (
        "no data after",
        "10.00 %",
        "New <buildings>.",
        "Seasons: four of ten fields.",
        "Model standin on cpu",
        "Threshold",
    ):
        assert said in page.text
    # Twelve of fourteen areas, of two pictures each, after that of the whole.
    assert len(page.pictures) == 25
    sizes = [float(one) for one in re.findall(r"([\d.]+) ha, mean probability", page.text)]
    assert sizes == pytest.approx([tall / 10 / 0.9996**2 for tall in range(15, 3, -1)], abs=0.006)


def test_each_area_is_outlined_where_it_changed(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert detect(*pair, "--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html").exit_code == 0
    page = Page(tmp_path / "r.html")
    for tall, place in zip(range(15, 3, -1), range(1, 25, 2), strict=True):
        before, after = map(shown, page.pictures[place : place + 2])
        changed = np.abs(after - before).max(0) > 20
        (first, second) = (ring_of(outline) for outline in page.outlines[place - 1 : place + 1])
        np.testing.assert_array_equal(first, second)
        (left, top), (right, bottom) = first.min(0), first.max(0)
        assert (right - left, bottom - top) == (10, tall)
        inside = np.zeros_like(changed)
        inside[round(top) : round(bottom), round(left) : round(right)] = True
        assert changed[inside].all()
        assert Polygon(first).area == 10 * tall


def test_what_nobody_asked_about_is_not_shown_as_not_observed(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    gpd.GeoSeries([box(500000, 4997000, 501700, 5000000)], crs=32631).to_file(tmp_path / "area.gpkg")
    asked = ("--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html")
    shares = []
    for area in ((), ("--area", tmp_path / "area.gpkg")):
        assert detect(*pair, *asked, *area).exit_code == 0
        page = Page(tmp_path / "r.html")
        panel = shown(page.pictures[0])[:, 50:-60, -560:]
        shares.append((np.abs(panel - np.array([201, 184, 140])[:, None, None]).max(0) < 3).mean())
        assert ("of the rest nothing is said" in page.text) == (not area)
    assert shares[0] > 0.05
    assert shares[1] < 0.001


def test_signs_that_a_picture_has_not_are_no_warning(
    tmp_path: Path, pair: tuple[Path, Path], recwarn: pytest.WarningsRecorder
) -> None:
    dates = [path.rename(tmp_path / f"前{place}.tif") for place, path in enumerate(pair)]
    assert detect(*dates, "--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html").exit_code == 0
    assert not [one for one in recwarn if "Glyph" in str(one.message)]


def test_a_map_without_change_has_no_areas_to_show(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    done = detect(
        *pair, "--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html", "--bounds", 500000, 4997500, 500500, 4999000
    )
    assert done.exit_code == 0, done.output
    page = Page(tmp_path / "r.html")
    assert "0.00 ha changed, 0.00 % of what was observed" in page.text
    assert "largest areas" not in page.text
    assert len(page.pictures) == 1


def test_two_bands_are_shown_in_grey_and_an_index_without_its_bands_is_not_known(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    bands = ("B02", "B12", *["-"] * 8)
    given = ("--before-bands", ",".join(bands), "--after-bands", ",".join(bands))
    out = ("--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html")
    done = detect(*pair, *given, *out, model=("--method", "cva"))
    assert done.exit_code == 0, done.output
    page = Page(tmp_path / "r.html")
    assert "NDVI not known → not known" in page.text
    view = shown(page.pictures[1])
    assert (view[0] == view[1]).all()
    assert np.ptp(view) > 100
    picture = ["picture", *map(str, pair), *given, "--mask", str(tmp_path / "m.tif"), "--output", str(tmp_path / "p.png")]
    assert CliRunner().invoke(main, picture).exit_code == 0


def test_a_grid_that_a_geopackage_cannot_hold_has_a_report(tmp_path: Path) -> None:
    turned = CRS.from_wkt(
        'GEOGCRS["turned",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563]]],'
        'DERIVINGCONVERSION["Pole rotation (netCDF CF convention)",METHOD["Pole rotation (netCDF CF convention)"],'
        'PARAMETER["Grid north pole latitude (netCDF CF convention)",39.25,ANGLEUNIT["degree",0.0174532925199433]],'
        'PARAMETER["Grid north pole longitude (netCDF CF convention)",-162,ANGLEUNIT["degree",0.0174532925199433]],'
        'PARAMETER["North pole grid longitude (netCDF CF convention)",0,ANGLEUNIT["degree",0.0174532925199433]]],'
        'CS[ellipsoidal,2],AXIS["latitude",north,ORDER[1],ANGLEUNIT["degree",0.0174532925199433]],'
        'AXIS["longitude",east,ORDER[2],ANGLEUNIT["degree",0.0174532925199433]]]'
    )
    ground = textured(10, 120, 120, 1)
    later = ground.copy()
    later[:, 40:60, 40:70] += 3000
    place = {"crs": turned.to_wkt(version="WKT2_2019"), "origin": (1.0, 1.0), "pixel": (9e-5, 9e-5)}
    dates = [
        write_stack(tmp_path / name, values, **place) for name, values in (("a20210620.tif", ground), ("b20230901.tif", later))
    ]
    done = detect(*dates, "--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    assert len(Page(tmp_path / "r.html").pictures) == 3


@pytest.mark.parametrize("by", [(2.4, -1.6), (0.0, 0.0)])
def test_in_a_view_the_dates_lie_over_each_other(tmp_path: Path, by: tuple[float, float]) -> None:
    ground = textured(10, 300, 300, 1)
    place = (500000 - 10 * by[1], 5000000 + 10 * by[0])
    dates = write_stack(tmp_path / "before.tif", ground), write_stack(tmp_path / "after.tif", ground, origin=place)
    before, after = (open_scene(str(path)) for path in dates)
    with open_pair(before, after, TEN_BANDS, PairOptions(clouds="none")) as pair:
        assert pair.shift.measured
        view = view_of(pair, box(501400, 4998400, 501500, 4998500))
    one, other = shown(view.before), shown(view.after)
    assert one.shape == other.shape == (3, 60, 60)
    assert np.abs(one - other).mean() < 0.1 * one.std()


def test_a_view_holds_all_of_a_large_area_and_a_length_on_the_ground_is_as_long_both_ways(tmp_path: Path) -> None:
    ground = textured(10, 300, 300, 1)
    degrees = {"crs": "EPSG:4326", "origin": (2.0, 60.0), "pixel": (0.00018, 0.00009)}
    dates = write_stack(tmp_path / "before.tif", ground, **degrees), write_stack(tmp_path / "after.tif", ground + 10, **degrees)
    before, after = (open_scene(str(path)) for path in dates)
    with open_pair(before, after, TEN_BANDS, PairOptions(register=False, clouds="none")) as pair:
        view = view_of(pair, box(2.002, 59.98, 2.05, 59.998))
        assert isinstance(view, View)
        assert (view.width, view.height) == (240, 240)
        ring = ring_of(view.outline)
        assert ring.min() > 0
        assert ring.max() < 240
        wide, tall = np.ptp(ring, axis=0)
    # 0.048° of longitude at 60° north are 2.68 km, 0.018° of latitude 2.0 km.
    assert wide / tall == pytest.approx(2.68 / 2.0, rel=0.02)


def test_a_map_that_shows_nothing_at_the_scale_of_a_picture_has_a_report_without(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_PICTURE_PIXELS", "_VIEW_PIXELS"):
        monkeypatch.setattr(f"s2change_plugin.engine.pictures.{name}", 2)
    for path in pair:
        with rasterio.open(path, "r+") as raster:
            values = raster.read()
            values[:, :, :92], values[:, :, 112:] = 0, 0
            raster.write(values)
    done = detect(*pair, "--mask", tmp_path / "m.tif", "--report", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    page = Page(tmp_path / "r.html")
    assert page.pictures == []
    assert "The largest areas of change" in page.text


@pytest.mark.parametrize(("name", "said"), [("r.tif", "no name for a report: let it end in .html"), ("m.tif", "same file name")])
def test_a_report_has_a_name_of_its_own(tmp_path: Path, pair: tuple[Path, Path], name: str, said: str) -> None:
    done = detect(*pair, "--mask", tmp_path / "m.tif", "--report", tmp_path / name)
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (tmp_path / name).exists()


def test_an_outline_has_its_holes() -> None:
    from s2change_plugin.engine.pictures import _path_of

    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 0, 0, -10, 0), 20, 20)
    ring = box(20, -120, 120, -20).difference(box(50, -90, 70, -50))
    # Too small for any eye; a map may have a hundred thousand of them.
    ring = ring.difference(box(101, -39, 108, -33))
    outer, inner = _path_of(ring, grid).split(" ")
    assert Polygon(ring_of(outer)).bounds == (2, 2, 12, 12)
    assert Polygon(ring_of(inner)).bounds == (5, 5, 7, 9)
