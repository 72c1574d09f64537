"""A sample of a change map, from the drawing to the area, as a user of QGIS goes."""

import re
import subprocess
from pathlib import Path

import processing
import pytest
from qgis.core import (
    NULL,
    QgsApplication,
    QgsFeatureRequest,
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from tests.qgis.conftest import PYTHON, REPOSITORY

DRAW, ESTIMATE = "s2change:drawsample", "s2change:estimatearea"
# A map of 300 × 340 pixels, 2400 of change in a block; its probability: the block, a doubtful tenth around it, and nothing.
_MAP = """
import sys
from pathlib import Path
import numpy as np
import rasterio
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.outputs import MASK, PROBABILITY, RasterWriter
from rasterio.crs import CRS
from affine import Affine
folder = Path(sys.argv[1])
levels = np.zeros((300, 340), np.uint8)
levels[60:180, 150:310] = 50
levels[100:140, 200:260] = 200
grid = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 300, 340)
for name, values, layer in (("mask", (levels > 125).astype(np.uint8), MASK), ("probability", levels, PROBABILITY)):
    writer = RasterWriter(folder / name, grid, layer, {})
    writer.write(values, grid.window)
    writer.finish(folder / f"{name}.tif").rename(folder / f"{name}.tif")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mask.tif and probability.tif."""
    folder = tmp_path_factory.mktemp("map")
    subprocess.run([PYTHON, "-c", _MAP, folder], cwd=REPOSITORY, check=True)
    return folder


@pytest.fixture
def sample(provider, engine, folder: Path, tmp_path: Path):
    """A sample of 200 pixels as a layer of the project, loaded as the toolbox loads it."""
    path = tmp_path / "sample.gpkg"
    inputs = {name.upper(): str(folder / f"{name}.tif") for name in ("mask", "probability")}
    result = processing.runAndLoadResults(DRAW, {**inputs, "SIZE": 200, "SAMPLE": str(path)})
    assert result["DRAWN"] == 200
    (layer,) = (one for one in QgsProject.instance().mapLayers().values() if isinstance(one, QgsVectorLayer))
    yield layer
    del layer
    # Its group, too.
    QgsProject.instance().clear()


def answer(layer: QgsVectorLayer, most: int = 10**6) -> None:
    """Say of pixels, in the order of their numbers, what is true: all of the map's change, and a quarter of what is doubtful."""
    field = layer.fields().indexOf("reference")
    request = QgsFeatureRequest().addOrderBy('"number"')
    for feature in list(layer.getFeatures(request))[:most]:
        changed = feature["stratum"] == "change" or (feature["stratum"] == "doubtful" and feature["lon"] > 3.03)
        assert layer.changeAttributeValue(feature.id(), field, int(changed))


def test_pixels_wait_for_their_answers_one_by_one_and_show_nothing_of_the_map(sample: QgsVectorLayer) -> None:
    fields = sample.fields()
    names = {field.name(): sample.editorWidgetSetup(fields.indexOf(field.name())).type() for field in fields}
    assert names["reference"] == "ValueMap"
    choices = sample.editorWidgetSetup(fields.indexOf("reference")).config()["map"]
    assert [value for one in choices for value in one.values()][1:] == ["1", "0", "255"]
    hidden = {"fid", "stratum", "stratum_px", "stratum_ha", "drawn", "map", "map_ha", "seed"}
    assert {name for name, kind in names.items() if kind == "Hidden"} == hidden
    table = sample.attributeTableConfig()
    assert {one.name for one in table.columns() if one.hidden and one.name} == hidden
    assert table.sortExpression() == '"number"'
    assert all(sample.editFormConfig().readOnly(fields.indexOf(name)) for name in ("number", "lon", "lat"))
    assert not sample.editFormConfig().readOnly(fields.indexOf("reference"))
    assert all(feature["reference"] == NULL for feature in sample.getFeatures())
    assert re.fullmatch(r"Sample: .*mask", sample.name())


def test_each_answer_has_its_colour(sample: QgsVectorLayer) -> None:
    categories = {one.label(): one for one in sample.renderer().categories()}
    assert list(categories) == ["change", "no change", "cannot be told", "no answer yet"]
    assert [one.value() for one in categories.values()] == [1, 0, 255, NULL]
    colours = [one.symbol().symbolLayers()[1].color().name() for one in categories.values()]
    assert len(set(colours)) == 4
    assert QColor(colours[3]).lightness() == 255
    del categories


def test_answers_count_though_they_are_not_saved(sample: QgsVectorLayer, tmp_path: Path) -> None:
    sample.startEditing()
    answer(sample)
    feedback = QgsProcessingFeedback(False)
    result = processing.run(ESTIMATE, {"SAMPLE": sample.id(), "REPORT": str(tmp_path / "area.html")}, feedback=feedback)
    assert result["PRECISION"] == 1
    assert result["AREA_LOW_HA"] < result["AREA_HA"] < result["AREA_HIGH_HA"]
    assert result["AREA_LOW_HA"] > 24
    assert result["RECALL_LOW"] < result["RECALL"] < result["RECALL_HIGH"] < 1
    page = (tmp_path / "area.html").read_text()
    assert f"{result['AREA_HA']:,.1f} ha" in page
    assert f'<p class="names">“{sample.name()}”, drawn of mask.tif: 200 pixels with an answer' in page
    declared = {one.name() for one in QgsApplication.processingRegistry().algorithmById(ESTIMATE).outputDefinitions()}
    assert set(result) <= declared
    # Saved, they say the same.
    assert sample.commitChanges()
    again = processing.run(ESTIMATE, {"SAMPLE": sample.source()})
    assert {name: again[name] for name in again if name != "REPORT"} == {
        name: result[name] for name in result if name != "REPORT"
    }


def test_what_has_no_answer_yet_is_said(sample: QgsVectorLayer) -> None:
    sample.startEditing()
    answer(sample, 120)
    feedback = QgsProcessingFeedback(False)
    processing.run(ESTIMATE, {"SAMPLE": sample.id()}, feedback=feedback)
    assert "80 pixels of the sample have no answer" in feedback.textLog()
    sample.rollBack()


def test_a_sample_without_answers_is_refused_in_a_sentence(sample: QgsVectorLayer) -> None:
    with pytest.raises(QgsProcessingException, match=r"Of the 50 pixels in “change” none has an answer"):
        processing.run(ESTIMATE, {"SAMPLE": sample.id()})


def test_a_layer_of_the_project_is_drawn_from_and_a_probability_of_another_map_refused(
    provider, engine, folder: Path, tmp_path: Path, pair: Path
) -> None:
    project = QgsProject.instance()
    mask, other = QgsRasterLayer(str(folder / "mask.tif"), "map of change"), QgsRasterLayer(str(pair / "before.tif"), "ground")
    project.addMapLayers([mask, other])
    try:
        result = processing.run(DRAW, {"MASK": "map of change", "SAMPLE": str(tmp_path / "s.gpkg")})
        assert result["DRAWN"] == 300
        with pytest.raises(QgsProcessingException, match="is no probability that detect wrote"):
            processing.run(DRAW, {"MASK": "map of change", "PROBABILITY": "ground", "SAMPLE": str(tmp_path / "t.gpkg")})
        assert not (tmp_path / "t.gpkg").exists()
    finally:
        del mask, other
        project.removeAllMapLayers()


def test_what_is_opened_from_the_file_alone_has_its_form_too(sample: QgsVectorLayer, tmp_path: Path) -> None:
    path = tmp_path / "moved.gpkg"
    path.write_bytes((tmp_path / "sample.gpkg").read_bytes())
    layer = QgsVectorLayer(str(path), "moved", "ogr")
    assert layer.editorWidgetSetup(layer.fields().indexOf("reference")).type() == "ValueMap"
    assert layer.editorWidgetSetup(layer.fields().indexOf("stratum")).type() == "Hidden"
    del layer


def test_a_sample_that_is_being_edited_is_not_drawn_anew(sample: QgsVectorLayer, folder: Path, tmp_path: Path) -> None:
    """Its answers would be saved on the pixels of the new one."""
    asked = {"MASK": str(folder / "mask.tif"), "SEED": 3, "SAMPLE": str(tmp_path / "sample.gpkg")}
    sample.startEditing()
    answer(sample)
    with pytest.raises(QgsProcessingException, match=re.escape(f"{sample.name()!r} of that file is being edited")):
        processing.run(DRAW, asked)
    assert sample.commitChanges()
    with pytest.raises(QgsProcessingException, match="something is said of 200 pixels"):
        processing.run(DRAW, asked)


def test_a_larger_sample_keeps_the_answers_that_are_not_saved_yet(sample: QgsVectorLayer, folder: Path, tmp_path: Path) -> None:
    sample.startEditing()
    answer(sample, 150)
    inputs = {name.upper(): str(folder / f"{name}.tif") for name in ("mask", "probability")}
    result = processing.run(DRAW, {**inputs, "SIZE": 400, "EXTEND": sample.id(), "SAMPLE": str(tmp_path / "larger.gpkg")})
    assert result["DRAWN"] == 400
    larger = QgsVectorLayer(result["SAMPLE"], "larger", "ogr")
    said = [feature["reference"] for feature in larger.getFeatures(QgsFeatureRequest().addOrderBy('"number"'))]
    assert [value == NULL for value in said] == [False] * 150 + [True] * 250
    sample.rollBack()
    del larger


def test_a_sample_in_a_temporary_file_is_warned_of(provider, engine, folder: Path) -> None:
    feedback = QgsProcessingFeedback(False)
    processing.run(DRAW, {"MASK": str(folder / "mask.tif"), "SAMPLE": QgsProcessing.TEMPORARY_OUTPUT}, feedback=feedback)
    assert "a temporary file, which QGIS deletes" in feedback.textLog()
