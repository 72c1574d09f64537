import json
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject, transform
from rasterio.windows import Window
from shapely.geometry import GeometryCollection, MultiPolygon, Point, Polygon, box

from s2change_plugin.engine.acquisition import Acquisition
from s2change_plugin.engine.errors import GridMismatch, UnreadableInput
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.masks import Area, MaskReader, Shapes, doubtful_nodata, masks_of, open_mask
from s2change_plugin.engine.pair import PairOptions, open_pair
from s2change_plugin.engine.reading import SceneReader
from s2change_plugin.engine.scene import Scene, open_scene
from s2change_plugin.engine.validity import SCL_CODES, ClassRaster, MaskPolygons, Quality, SpectralTest
from tests.conftest import textured, write_stack

_ENGINEERING = (
    'ENGCRS["Undefined Cartesian SRS",EDATUM["Unknown"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
)
GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 100, 120)


def read(mask: object, grid: Grid = GRID, buffer: float = 0, window: Window | None = None) -> np.ndarray:
    reader = MaskReader(Scene("none", {}), [mask], grid, buffer)
    try:
        return reader.read(window or grid.window)
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("clouds", "level", "own", "kinds"),
    [
        ("auto", "L1C", True, [ClassRaster]),
        ("auto", "L1C", False, [SpectralTest]),
        ("auto", None, False, [SpectralTest]),
        ("auto", "L2A", False, []),
        ("spectral", "L2A", True, [SpectralTest]),
        ("product", "L2A", True, [ClassRaster]),
        ("none", "L1C", True, []),
    ],
)
def test_the_choice_of_clouds_decides_which_mask_is_used(clouds: str, level: str | None, own: bool, kinds: list[type]) -> None:
    product = ClassRaster("scl.tif", ({3: Quality.CLOUD_SHADOW},), "SCL") if own else None
    scene = Scene("a", dict.fromkeys(("B03", "B04", "B11")), Acquisition(level=level), product)
    assert [type(mask) for mask in masks_of(scene, clouds, None)] == kinds


def test_a_mask_that_is_not_there_is_said() -> None:
    bare = Scene("a.tif", dict.fromkeys(("B03", "B04")))
    with pytest.raises(UnreadableInput, match=r"a\.tif brings no cloud mask"):
        masks_of(bare, "product", None)
    with pytest.raises(UnreadableInput, match="lacks the bands"):
        masks_of(bare, "spectral", None)
    assert masks_of(bare, "auto", None) == ()


def test_a_raster_of_another_resolution_keeps_its_place(tmp_path: Path) -> None:
    values = np.zeros((1, 50, 60), np.uint8)
    values[0, 10:20, 30:40] = 1
    path = write_stack(tmp_path / "m.tif", values, None, pixel=(20, 20))
    codes = read(open_mask(str(path)))
    expected = np.zeros(GRID.shape, bool)
    expected[20:40, 60:80] = True
    np.testing.assert_array_equal(codes == Quality.CLOUD, expected)


@pytest.mark.parametrize("metres", [10, 20, 60])
@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.3, -0.4), (-7.0, 2.2)])
def test_a_raster_beside_the_grid_shows_what_gdal_would_by_nearest_neighbour(
    tmp_path: Path, metres: int, moved: tuple[float, float]
) -> None:
    values = np.random.default_rng(0).integers(0, 2, (1, 600 // metres, 900 // metres)).astype(np.uint8)
    path = write_stack(tmp_path / "m.tif", values, None, pixel=(metres, metres))
    grid = replace(GRID, transform=GRID.transform @ Affine.translation(*moved))
    expected = np.zeros(GRID.shape, np.uint8)
    with rasterio.open(path) as raster:
        reproject(
            rasterio.band(raster, 1), expected, dst_transform=grid.transform, dst_crs=grid.crs, resampling=Resampling.nearest
        )
    codes = read(open_mask(str(path)), grid)
    np.testing.assert_array_equal(codes == Quality.CLOUD, expected == 1)
    # A window that reaches beyond both.
    part = read(open_mask(str(path)), grid, window=Window(-10, 40, 140, 50))
    np.testing.assert_array_equal(part[:, 10:130], codes[40:90])
    assert not part[:, :5].any()
    assert not read(open_mask(str(path)), grid, window=Window(500, 500, 20, 20)).any()


@pytest.mark.parametrize("metres", [10, 20, 30.5])
def test_ground_beyond_a_scene_classification_is_not_observed(tmp_path: Path, metres: float) -> None:
    path = write_stack(tmp_path / "scl.tif", np.full((1, 20, 15), 4, np.uint8), None, pixel=(metres, metres))
    codes = read(ClassRaster(str(path), (SCL_CODES,), "SCL"))
    covered = np.zeros(GRID.shape, bool)
    covered[: round(2 * metres), : round(1.5 * metres)] = True
    np.testing.assert_array_equal(codes == Quality.OBSERVED, covered)
    np.testing.assert_array_equal(codes == Quality.NODATA_BEFORE, ~covered)


def test_polygons_in_another_crs_keep_their_place_and_their_holes(tmp_path: Path) -> None:
    shape = Polygon(box(500200, 4999500, 500600, 4999900).exterior, [box(500300, 4999600, 500400, 4999700).exterior.coords])
    geopandas.GeoSeries([shape], crs="EPSG:32631").to_crs("EPSG:4326").to_file(tmp_path / "m.gpkg")
    codes = read(open_mask(str(tmp_path / "m.gpkg")))
    expected = np.zeros(GRID.shape, bool)
    expected[10:50, 20:60] = True
    expected[30:40, 30:40] = False
    np.testing.assert_array_equal(codes == Quality.CLOUD, expected)


def test_parts_that_overlap_and_polygons_in_collections_count_as_they_were_drawn(tmp_path: Path) -> None:
    shapes = [
        MultiPolygon([box(500200, 4999600, 500400, 4999800), box(500300, 4999600, 500500, 4999800)]),
        GeometryCollection([box(500600, 4999600, 500700, 4999800), Point(500100, 4999500)]),
    ]
    geopandas.GeoSeries(shapes, crs="EPSG:32631").to_file(tmp_path / "m.gpkg")
    expected = np.zeros(GRID.shape, bool)
    expected[20:40, 20:50] = expected[20:40, 60:70] = True
    np.testing.assert_array_equal(read(open_mask(str(tmp_path / "m.gpkg"))) == Quality.CLOUD, expected)


def test_a_files_name_may_hold_what_parts_a_layers_name(tmp_path: Path) -> None:
    (tmp_path / "a|b").mkdir()
    geopandas.GeoSeries([box(500200, 4999600, 500400, 4999800)], crs="EPSG:32631").to_file(tmp_path / "a|b" / "m.gpkg")
    assert (read(open_mask(str(tmp_path / "a|b" / "m.gpkg"))) == Quality.CLOUD).sum() == 400


@pytest.mark.parametrize("name", ["new!m.gpkg", "m.gpkg;1.gpkg", "!work/m.gpkg", "new!m.shp", "a!b.zip"])
def test_signs_of_a_url_in_a_path_lead_to_no_other_polygons(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "!work").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    other, own = (geopandas.GeoSeries([box(500200, 4999600, 500200 + side, 4999800)], crs="EPSG:32631") for side in (100, 200))
    path = tmp_path / name
    for end in (".gpkg", ".shp"):
        other.to_file(f"m{end}")
    if path.suffix == ".gpkg":
        own.to_file(tmp_path / "own.gpkg", layer="own")
        (tmp_path / "own.gpkg").rename(path)
    else:
        own.to_file(tmp_path / "own.shp")
        parts = list(tmp_path.glob("own.*"))
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                for part in parts:
                    archive.write(part, part.name)
        for part in parts:
            part.rename(path.with_suffix(part.suffix))
    layer = path.stem if path.suffix == ".shp" else "own"
    for source in (str(path), f"{path}|layername={layer}"):
        assert (read(open_mask(source)) == Quality.CLOUD).sum() == 400


def test_a_folder_that_holds_polygons_is_refused_where_no_name_of_it_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "new!m.gdb").mkdir()
    with pytest.raises(UnreadableInput, match=r"new!m\.gdb is a folder, .* Rename it"):
        open_mask(str(tmp_path / "new!m.gdb"))


def test_a_spike_of_a_polygon_counts_no_pixel(tmp_path: Path) -> None:
    square = [(500200, 4999600), (500400, 4999600), (500400, 4999800), (500200, 4999800)]
    spike = Polygon([*square[:2], (500700, 4999703), *square[1:]])
    assert not spike.is_valid
    geopandas.GeoSeries([spike], crs="EPSG:32631").to_file(tmp_path / "m.gpkg")
    expected = np.zeros(GRID.shape, bool)
    expected[20:40, 20:40] = True
    np.testing.assert_array_equal(read(open_mask(str(tmp_path / "m.gpkg"))) == Quality.CLOUD, expected)


def test_a_windows_clouds_reach_in_from_outside_of_it(tmp_path: Path) -> None:
    shape = box(500300, 4999700, 500400, 4999800)
    mask = MaskPolygons(GRID.crs, ((shape, Quality.CLOUD),), "")
    whole = read(mask, buffer=55)
    part = read(mask, buffer=55, window=Window(42, 15, 30, 30))
    np.testing.assert_array_equal(part, whole[15:45, 42:72])
    assert (part == Quality.CLOUD).any()
    assert not (read(mask, window=Window(42, 15, 30, 30)) == Quality.CLOUD).any()


def test_the_buffer_is_in_metres_whatever_the_grid() -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(0.0001, 0, 3.0, 0, -0.0001, 60.0), 200, 200)
    mask = MaskPolygons(degrees.crs, ((box(3.0099, 59.9899, 3.0101, 59.9901), Quality.CLOUD),), "")
    rows, cols = np.nonzero(read(mask, degrees, buffer=100) == Quality.CLOUD)
    # At 60° a degree east is half a degree north: 11.1 m and 5.6 m to the pixel.
    assert np.ptp(rows) + 1 == pytest.approx(2 + 2 * 100 / 11.1, abs=2.1)
    assert np.ptp(cols) + 1 == pytest.approx(2 + 2 * 100 / 5.6, abs=2.1)


def test_the_spectral_test_reads_the_dates_own_bands(tmp_path: Path) -> None:
    values = textured(3, 100, 120, 1)
    values[:, 30:70, 40:90] = 6500
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, ("B03", "B04", "B11"))))
    reader = MaskReader(scene, [SpectralTest("")], scene.grid, 0)
    codes = reader.read(Window(15, 5, 40, 40))
    reader.close()
    assert codes[26:, 26:].all()
    assert not codes[:15].any()


def test_the_spectral_test_takes_what_is_known_and_reads_only_what_lies_around_it(tmp_path: Path) -> None:
    bands, window = ("B03", "B04", "B11"), Window(15, 5, 60, 50)
    values = textured(3, 100, 120, 1)
    values[:, 30:80, 40:90] = 6500
    scene = open_scene(str(write_stack(tmp_path / "a.tif", values, bands)))
    moved = replace(scene.grid, transform=scene.grid.transform @ Affine.translation(0.3, -0.4))
    with closing(MaskReader(scene, [SpectralTest("")], moved, 60)) as reader, closing(SceneReader(scene, moved)) as date:
        known = dict(zip(bands, date.read(window), strict=True))
        codes = reader.read(window, known)
        np.testing.assert_array_equal(codes, reader.read(window))
        assert 500 < (codes == Quality.CLOUD).sum() < 2500
        np.testing.assert_array_equal(reader.read(window, {"B03": known["B03"]}), codes)
        # What is read outside is cloud still, and reaches as far as its rim and the buffer.
        dark = {name: np.zeros_like(band) for name, band in known.items()}
        assert not reader.read(window, dark)[:30, :30].any()


def test_what_is_no_mask_is_said(tmp_path: Path) -> None:
    text = tmp_path / "m.txt"
    text.write_text("nothing")
    with pytest.raises(UnreadableInput, match=r"mask .*m\.txt cannot be read"):
        open_mask(str(text))
    geopandas.GeoSeries.from_xy([3.0], [45.0], crs="EPSG:4326").to_file(tmp_path / "points.gpkg")
    with pytest.raises(UnreadableInput, match="no polygons"):
        open_mask(str(tmp_path / "points.gpkg"))
    with pytest.raises(GridMismatch, match="no CRS"):
        open_mask(str(write_stack(tmp_path / "m.tif", np.ones((1, 9, 9), np.uint8), None, crs=None)))


def test_an_area_is_where_its_polygons_are_and_must_meet_the_grid(tmp_path: Path) -> None:
    shapes = geopandas.GeoSeries([box(500200, 4999500, 500400, 4999800), box(500800, 4999300, 500900, 4999400)], crs="EPSG:32631")
    shapes.to_file(tmp_path / "area.gpkg", layer="here")
    area = Area(f"{tmp_path / 'area.gpkg'}|layername=here", GRID)
    assert (area.window.col_off, area.window.row_off, area.window.width, area.window.height) == (20, 20, 70, 50)
    inside = ~area.outside(GRID.window)
    assert inside.sum() == 20 * 30 + 10 * 10
    assert inside[20:50, 20:40].all()
    shapes.translate(90000).to_file(tmp_path / "far.gpkg")
    with pytest.raises(GridMismatch, match="does not meet"):
        Area(str(tmp_path / "far.gpkg"), GRID)
    with pytest.raises(UnreadableInput, match="nowhere"):
        Area(f"{tmp_path / 'area.gpkg'}|layername=nowhere", GRID)
    # A zone of UTM that has no place for the grid, on the other side of the Earth.
    shapes.set_crs("EPSG:32601", allow_override=True).to_file(tmp_path / "zone.gpkg")
    with pytest.raises(GridMismatch, match="does not meet"):
        Area(
            str(tmp_path / "zone.gpkg"), replace(GRID, crs=CRS.from_epsg(32623), transform=Affine(10, 0, 500000, 0, -10, 110000))
        )


def test_what_lies_off_the_grid_counts_as_little_in_its_own_crs_as_in_another(tmp_path: Path) -> None:
    shapes = geopandas.GeoSeries([box(500200, 4999500, 500400, 4999800), box(500200, 4960000, 500400, 4961000)], crs="EPSG:32631")
    shapes.to_file(tmp_path / "own.gpkg")
    shapes.to_crs("EPSG:4326").to_file(tmp_path / "degrees.gpkg")
    for name in ("own", "degrees"):
        window = Area(str(tmp_path / f"{name}.gpkg"), GRID).window
        assert (window.col_off, window.row_off, window.width, window.height) == (20, 20, 20, 30)


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_a_cloud_beside_the_grid_reaches_into_it(crs: str) -> None:
    cloud = geopandas.GeoSeries([box(499780, 4999500, 499980, 4999800)], crs="EPSG:32631").to_crs(crs)
    mask = MaskPolygons(CRS.from_string(crs), ((cloud[0], Quality.CLOUD),), "a cloud")
    assert (read(mask) == Quality.CLOUD).sum() == 0
    assert (read(mask, buffer=60) == Quality.CLOUD)[25:45, :3].all()
    assert (read(mask, buffer=5000) == Quality.CLOUD).all()


def test_polygons_in_degrees_meet_a_grid_that_lies_across_180_degrees(tmp_path: Path) -> None:
    """As in Fiji: one edge of the grid is in the east of the Earth and the other in its west."""
    here = replace(GRID, crs=CRS.from_epsg(32760), transform=Affine(10, 0, 819200, 0, -10, 8138000))
    west, middle, east = (box(x, 8137300, x + 100, 8137700) for x in (819300, 819700, 820200))
    own = geopandas.GeoSeries([west, east], crs="EPSG:32760")
    degrees = own.to_crs("EPSG:4326")
    assert degrees.bounds.minx[0] > 179.9
    assert degrees.bounds.maxx[1] < -179.9
    degrees.to_file(tmp_path / "both.gpkg")
    own.to_file(tmp_path / "own.gpkg")
    found = [~Area(str(tmp_path / f"{name}.gpkg"), here).outside(here.window) for name in ("both", "own")]
    assert found[1].sum() == 2 * 10 * 40
    assert (found[0] != found[1]).sum() <= 4
    # What crosses the line may go on counting beyond 180.
    beyond = geopandas.GeoSeries([middle], crs="EPSG:32760").to_crs("EPSG:4326")
    beyond = geopandas.GeoSeries(
        [shapely.transform(beyond[0], lambda xy: np.column_stack([xy[:, 0] % 360, xy[:, 1]]))], crs="EPSG:4326"
    )
    beyond.to_file(tmp_path / "beyond.gpkg")
    assert (~Area(str(tmp_path / "beyond.gpkg"), here).outside(here.window)).sum() == pytest.approx(400, abs=4)


LOCAL = 'LOCAL_CS["Unknown",UNIT["metre",1]]'


def test_polygons_and_masks_in_a_crs_that_is_no_place_on_earth_are_refused_in_a_sentence(tmp_path: Path) -> None:
    geopandas.GeoSeries([box(0, 0, 100, 100)], crs=pyproj.CRS(_ENGINEERING)).to_file(tmp_path / "area.gpkg")
    with pytest.raises(GridMismatch, match="no CRS on Earth"):
        Area(str(tmp_path / "area.gpkg"), GRID)
    path = write_stack(tmp_path / "mask.tif", np.ones((1, 100, 120), np.uint8), None, crs=LOCAL)
    with pytest.raises(GridMismatch, match="no place on Earth"):
        open_mask(str(path))


def test_polygons_far_apart_are_looked_for_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies between them may be as large as a country."""
    corners = [
        box(500000, 4999990, 500010, 5000000),
        box(560000, 4940000, 560010, 4940010),
        box(530000, 4970000, 530004, 4970004),
    ]
    geopandas.GeoSeries(corners, crs="EPSG:32631").to_file(tmp_path / "area.gpkg")
    grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 9000, 9000)
    seen: list[Window] = []
    burnt = Shapes.burnt
    monkeypatch.setattr(Shapes, "burnt", lambda self, window: (seen.append(window), burnt(self, window))[1])
    area = Area(str(tmp_path / "area.gpkg"), grid)
    assert (area.window.width, area.window.height) == (6001, 6000)
    assert max(window.width * window.height for window in seen) < 5e6
    between = [box(500006, 4999991, 500009, 4999994), box(560006, 4940001, 560009, 4940004)]
    geopandas.GeoSeries(between, crs="EPSG:32631").to_file(tmp_path / "none.gpkg")
    with pytest.raises(GridMismatch, match=r"No polygon of .*none\.gpkg, the area of interest, holds a pixel's centre"):
        Area(str(tmp_path / "none.gpkg"), grid)


def test_a_mask_of_ones_own_must_meet_the_scene_and_have_one_layer(tmp_path: Path) -> None:
    scene = open_scene(str(write_stack(tmp_path / "a.tif", textured(10, 100, 120, 1))))
    far = write_stack(tmp_path / "far.tif", np.ones((1, 9, 9), np.uint8), None, origin=(700000, 4000000))
    with pytest.raises(GridMismatch, match="Your mask far.tif does not meet"):
        masks_of(scene, "none", str(far))
    geopandas.GeoSeries([box(700000, 4000000, 700100, 4000100)], crs="EPSG:32631").to_file(tmp_path / "far.gpkg")
    with pytest.raises(GridMismatch, match="Your mask far.gpkg does not meet"):
        masks_of(scene, "none", str(tmp_path / "far.gpkg"))
    with pytest.raises(UnreadableInput, match="has 2 layers"):
        open_mask(str(write_stack(tmp_path / "two.tif", np.ones((2, 9, 9), np.uint8), None)))


@pytest.mark.parametrize(
    ("name", "classes", "known"),
    [
        ("T31TDH_20200101T105031_SCL_20m.tif", (4, 9), True),
        ("own.tif", (4, 5, 6, 9), True),
        ("own.tif", (0, 2, 4, 8, 9, 11), True),
        # What fills beyond a product's edge, in a file that does not say so.
        ("own.tif", (4, 5, 6, 9, 255), True),
        # Other masks, which may be called after what they are made of, and classes of Fmask.
        ("SCL.tif", (0, 1), False),
        ("SCL.tif", (0, 255), False),
        ("SCL.tif", (0, 9), False),
        ("own.tif", (4, 9), False),
        ("own.tif", (0, 1, 2, 3, 4), False),
        ("own.tif", (1, 2, 3, 4, 5), False),
        # Our own codes, and classes of somebody's own.
        ("a_quality.tif", (0, 3, 4, 5, 6, 7), False),
        ("own.tif", (0, 1, 2, 3, 4, 5, 6), False),
        ("own.tif", (4, 5, 6, 9, 12, 255), False),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_scene_classification_of_ones_own_is_read_as_one(
    tmp_path: Path, name: str, classes: tuple[int, ...], known: bool, dtype: str
) -> None:
    values = np.resize(np.array(classes, dtype), (100, 120))
    mask = open_mask(str(write_stack(tmp_path / name, values[None], None)))
    means = {**SCL_CODES, 255: Quality.NODATA_BEFORE} if known else {value: Quality.CLOUD for value in classes if value}
    np.testing.assert_array_equal(read(mask), np.vectorize(lambda value: means.get(value, 0))(values))


def test_what_fills_a_scene_classification_where_no_sample_looks_is_no_data(tmp_path: Path) -> None:
    values = np.resize(np.array([4, 5, 6, 9], np.uint8), (1000, 1004))
    values[320, 320] = 255
    here = Grid(GRID.crs, GRID.transform, *values.shape)
    codes = read(open_mask(str(write_stack(tmp_path / "own.tif", values[None], None))), here)
    assert (codes[320, 320], codes[values == 9].min(), codes[values < 9].max()) == (Quality.NODATA_BEFORE, Quality.CLOUD, 0)


def test_a_cloud_probability_is_no_mask_and_soft_edges_make_none_of_one(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 100, (1, 100, 120)).astype(np.uint8)
    with pytest.raises(UnreadableInput, match=r"up to 99, as a cloud's probability does, and a mask holds 0 .*'A>40'"):
        open_mask(str(write_stack(tmp_path / "prob.tif", values, None)))
    with pytest.raises(UnreadableInput, match=r"up to 0\.99, .*'A>0\.4'"):
        open_mask(str(write_stack(tmp_path / "prob.tif", values / np.float32(100), None)))
    # In a clear sky only its name tells.
    clear = write_stack(tmp_path / "MSK_CLDPRB_20m.tif", values % 4, None)
    with pytest.raises(UnreadableInput, match="holds 3 values beside 0, up to 3, "):
        open_mask(str(clear))
    open_mask(str(clear.rename(tmp_path / "classes.tif")))
    values[:, :50], values[:, 50:70], values[:, 70:] = 0, np.arange(1, 121), 255
    codes = read(open_mask(str(write_stack(tmp_path / "soft.tif", values, None))))
    assert not codes[:50].any()
    assert (codes[50:] == Quality.CLOUD).all()


def test_numbered_clouds_are_a_mask(tmp_path: Path) -> None:
    """Connected components, as many and as large as there are clouds."""
    values = np.kron(np.arange(1, 51).reshape(5, 10), np.ones((20, 12), int)).astype(np.uint8)
    values[::20], values[:, ::12] = 0, 0
    codes = read(open_mask(str(write_stack(tmp_path / "clouds.tif", values[None], None))))
    np.testing.assert_array_equal(codes == Quality.CLOUD, values != 0)


def test_far_polygons_of_a_world_layer_do_not_matter(tmp_path: Path) -> None:
    here = geopandas.GeoSeries([box(500200, 4999500, 500600, 4999900)], crs="EPSG:32631").to_crs("EPSG:4326").iloc[0]
    geopandas.GeoSeries([here, box(90, -80, 170, 80)], crs="EPSG:4326").to_file(tmp_path / "m.gpkg")
    codes = read(open_mask(str(tmp_path / "m.gpkg")))
    assert (codes == Quality.CLOUD).sum() == 40 * 40


def test_a_polygon_around_half_the_world_keeps_its_edges_in_the_grids_crs() -> None:
    """Its upper edge, a line of latitude, bends in UTM by a few pixels; its left edge, beyond the pole, would come to lie on the grid."""
    grid = Grid(CRS.from_epsg(32631), Affine(200, 0, 300000, 0, -200, 5050000), 500, 500)
    codes = read(MaskPolygons(CRS.from_epsg(4326), ((box(-176, -80, 170, 45.1), Quality.CLOUD),), ""), grid)
    rows, cols = np.indices(grid.shape) + 0.5
    xs, ys = grid.transform @ (cols.ravel(), rows.ravel())
    latitude = np.reshape(transform(grid.crs, "EPSG:4326", xs, ys)[1], grid.shape)
    sure = abs(latitude - 45.1) > 1e-5
    np.testing.assert_array_equal((codes == Quality.CLOUD)[sure], (latitude < 45.1)[sure])


def test_a_filter_that_qgis_puts_on_a_layer_is_kept_to(tmp_path: Path) -> None:
    shapes = [box(500200, 4999500, 500300, 4999600), box(500400, 4999500, 500500, 4999600)]
    geopandas.GeoDataFrame({"n": [1, 2]}, geometry=shapes, crs="EPSG:32631").to_file(tmp_path / "m.gpkg", layer="ar")
    codes = read(open_mask(f"{tmp_path / 'm.gpkg'}|layername=ar|subset=n = 2"))
    assert (codes == Quality.CLOUD).sum() == 100
    assert codes[45, 45] == Quality.CLOUD


def test_of_a_file_with_several_layers_the_one_with_polygons_is_taken_and_of_several_such_one_must_be_named(
    tmp_path: Path,
) -> None:
    path = tmp_path / "project.gpkg"
    geopandas.GeoSeries.from_xy([500250], [4999550], crs="EPSG:32631").to_file(path, layer="points")
    geopandas.GeoSeries([box(500200, 4999500, 500300, 4999600)], crs="EPSG:32631").to_file(path, layer="clouds")
    assert (read(open_mask(str(path))) == Quality.CLOUD).sum() == 100
    collection = GeometryCollection([box(500400, 4999500, 500600, 4999600)])
    geopandas.GeoSeries([collection], crs="EPSG:32631").to_file(path, layer="town")
    with pytest.raises(UnreadableInput, match=r"several layers .*: clouds, town\. Name .*project\.gpkg\|layername=clouds"):
        open_mask(str(path))
    for named in ("layername=town", "layerid=2"):
        assert (read(open_mask(f"{path}|{named}")) == Quality.CLOUD).sum() == 200


def test_rings_that_are_open_are_closed_and_those_without_ground_keep_no_other_polygon_out(tmp_path: Path) -> None:
    def write(*rings: list[list[float]]) -> str:
        kinds = [{"type": "Polygon", "coordinates": [ring]} for ring in rings]
        features = [{"type": "Feature", "properties": {}, "geometry": kind} for kind in kinds]
        crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
        path = tmp_path / "drawn.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
        return str(path)

    closed, left_open = ([[x, 4999500], [x, 4999600], [x + 100, 4999600], [x + 100, 4999500]] for x in (500200, 500400))
    line, point = [[500600, 4999500], [500700, 4999550]], [[500600, 4999500]]
    codes = read(open_mask(write([*closed, closed[0]], left_open, line, point)))
    expected = np.zeros(GRID.shape, bool)
    expected[40:50, 20:30] = expected[40:50, 40:50] = True
    np.testing.assert_array_equal(codes == Quality.CLOUD, expected)
    with pytest.raises(UnreadableInput, match="has no polygons"):
        open_mask(write(line, point))


@pytest.mark.parametrize("kind", ["gpkg", "tif"])
def test_a_mask_whose_clouds_lie_outside_of_the_overlap_with_the_other_date_is_a_mask_of_the_scene(
    tmp_path: Path, kind: str
) -> None:
    paths = [write_stack(tmp_path / f"{x}.tif", textured(10, 100, 120, 1), origin=(500000 + x, 5000000)) for x in (0, 600)]
    own = tmp_path / f"clouds.{kind}"
    if kind == "gpkg":
        geopandas.GeoSeries([box(500200, 4999500, 500570, 4999800)], crs="EPSG:32631").to_file(own)
    else:
        write_stack(own, np.ones((1, 30, 37), np.uint8), None, origin=(500200, 4999800))
    options = PairOptions(register=False, clouds="none", before_mask=str(own), mask_buffer=60)
    with open_pair(*(open_scene(str(path)) for path in paths), options=options) as pair:
        cloud = pair.read(pair.grid.window).quality == Quality.CLOUD
    # The overlap begins three pixels east of the cloud, whose buffer reaches in by as many.
    assert pair.grid.bounds[0] == 500600
    assert cloud[20:50, :3].all()
    assert not cloud[:, 3:].any()


def test_a_cloud_beside_the_grid_reaches_into_it_from_a_raster_of_another_crs_too(tmp_path: Path) -> None:
    cloud = np.ones((1, 30, 20), np.uint8)
    here = write_stack(tmp_path / "own.tif", cloud, None, origin=(499780, 4999800))
    with rasterio.open(here) as own, WarpedVRT(own, crs="EPSG:32632", nodata=0) as moved:
        values, transform = moved.read(), moved.transform
    place = {"origin": (transform.c, transform.f), "pixel": (transform.a, -transform.e), "crs": "EPSG:32632"}
    mask = open_mask(str(write_stack(tmp_path / "moved.tif", values, None, **place)))
    assert not read(mask).any()
    found = read(mask, buffer=60) == Quality.CLOUD
    assert found[22:48, :3].all()
    assert not found[:, 6:].any()


@pytest.mark.parametrize(("nodata", "dtype"), [(255, "uint8"), (-9999, "int16"), (np.nan, "float32")])
def test_the_nodata_of_a_raster_that_masks_nothing_may_be_its_clouds(tmp_path: Path, nodata: float, dtype: str) -> None:
    """As gdal_calc writes a mask of 0 and 255, of which 255 becomes nodata."""
    values = np.zeros((1, 100, 120), dtype)
    values[0, :20] = nodata
    grid = open_scene(str(write_stack(tmp_path / "a.tif", textured(10, 100, 120, 1)))).grid
    # On the scene's pixels and beside them.
    for origin in (500000.0, 500003.0):
        own = str(write_stack(tmp_path / "own.tif", values, None, nodata=nodata, origin=(origin, 5000000.0)))
        found = doubtful_nodata(open_mask(own), grid, [grid.window])
        assert found == nodata or (np.isnan(found) and np.isnan(nodata))
        assert doubtful_nodata(open_mask(own), grid, [Window(0, 40, 120, 60)]) is None
        with rasterio.open(own, "r+") as raster:
            raster.write(np.ones((1, 1), dtype), 1, window=Window(60, 60, 1, 1))
        assert doubtful_nodata(open_mask(own), grid, [grid.window]) is None, "what is 1 says what is masked"


def test_there_is_no_doubt_where_nodata_lies_outside_of_the_scene_or_is_not_there(tmp_path: Path) -> None:
    grid = open_scene(str(write_stack(tmp_path / "a.tif", textured(10, 100, 120, 1)))).grid
    values = np.zeros((1, 120, 140), np.uint8)
    plain = write_stack(tmp_path / "plain.tif", values[:, :50, :60], None, nodata=255)
    values[:, :5], values[:, :, 130:] = 255, 255
    around = write_stack(tmp_path / "around.tif", values, None, nodata=255, origin=(499950, 5000050))
    with rasterio.open(around) as raster, WarpedVRT(raster, crs="EPSG:4326") as turned:
        degrees, transform = turned.read(), turned.transform
    place = {"origin": (transform.c, transform.f), "pixel": (transform.a, -transform.e), "crs": "EPSG:4326"}
    warped = write_stack(tmp_path / "warped.tif", degrees, None, nodata=255, **place)
    zero = write_stack(tmp_path / "zero.tif", np.zeros((1, 100, 120), np.uint8), None, nodata=0)
    for own in (plain, around, warped, zero):
        assert doubtful_nodata(open_mask(str(own)), grid, [grid.window]) is None
