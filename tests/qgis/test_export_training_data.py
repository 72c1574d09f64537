import json
from pathlib import Path

import processing
import pytest
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProject,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)

ALGORITHM = "s2change:exporttrainingdata"
# Of the pair's 300 × 340 pixels: 40 × 60, 10 × 10, and what was looked at, 100 × 150.
CHANGE, SMALL, AREA = (
    (502000, 4998600, 502600, 4999000),
    (500500, 4998500, 500600, 4998600),
    (501500, 4998400, 503000, 4999400),
)
gdal.UseExceptions()


def square(layer: QgsVectorLayer, *rectangle: float) -> QgsFeature:
    feature = QgsFeature(layer.fields())
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(*rectangle)))
    return feature


@pytest.fixture
def layer():
    """Put rectangles in a layer of the project, in memory."""

    def put(*rectangles: tuple[float, ...]) -> QgsVectorLayer:
        made = QgsVectorLayer("Polygon?crs=EPSG:32631", "polygons", "memory")
        made.dataProvider().addFeatures([square(made, *rectangle) for rectangle in rectangles])
        QgsProject.instance().addMapLayer(made)
        return made

    yield put
    QgsProject.instance().removeAllMapLayers()


@pytest.fixture
def dates(pair: Path, tmp_path: Path) -> dict:
    return {
        "BEFORE": str(pair / "before.tif"),
        "AFTER": str(pair / "after.tif"),
        "DATA": str(tmp_path / "data"),
        "NAME": "lyon",
        "LEVEL": "L1C",
    }


def test_drawn_polygons_become_a_group(provider, engine, dates: dict, layer, tmp_path: Path) -> None:
    feedback = QgsProcessingFeedback(False)
    result = processing.run(ALGORITHM, {**dates, "CHANGE": layer(CHANGE), "NO_CHANGE": layer(AREA)}, feedback=feedback)
    assert (result["GROUPS"], result["CHANGE_PIXELS"], result["NO_CHANGE_PIXELS"]) == ("lyon", 2400, 100 * 150 - 2400)
    assert result["DATA"] == dates["DATA"]
    values = gdal.Open(str(tmp_path / "data" / "lyon" / "change.tif")).ReadAsArray()
    assert ((values == 1).sum(), (values == 0).sum()) == (2400, 12600)
    assert "lyon" in json.loads((tmp_path / "data" / "data.json").read_text())["cities"]
    declared = {one.name() for one in QgsApplication.processingRegistry().algorithmById(ALGORITHM).outputDefinitions()}
    assert set(result) <= declared


def test_selected_polygons_alone_are_labels_where_that_is_asked(provider, engine, dates: dict, layer) -> None:
    drawn = layer(SMALL, CHANGE)
    drawn.selectByIds([1])
    chosen = QgsProcessingFeatureSourceDefinition(drawn.id(), selectedFeaturesOnly=True)
    assert processing.run(ALGORITHM, {**dates, "CHANGE": chosen, "NO_CHANGE": layer(AREA)})["CHANGE_PIXELS"] == 100


def test_what_is_drawn_and_not_saved_counts(provider, engine, dates: dict, layer, tmp_path: Path) -> None:
    options = QgsVectorFileWriter.SaveVectorOptions()
    context = QgsProject.instance().transformContext()
    QgsVectorFileWriter.writeAsVectorFormatV3(layer(CHANGE), str(tmp_path / "drawn.gpkg"), context, options)
    saved = QgsVectorLayer(str(tmp_path / "drawn.gpkg"), "drawn", "ogr")
    QgsProject.instance().addMapLayer(saved)
    saved.startEditing()
    # As QGIS's own tools make it, with "Autogenerate" for its number.
    saved.addFeature(QgsVectorLayerUtils.createFeature(saved, square(saved, *SMALL).geometry()))
    assert processing.run(ALGORITHM, {**dates, "CHANGE": saved, "NO_CHANGE": layer(AREA)})["CHANGE_PIXELS"] == 2500
    saved.rollBack()
    del saved


def test_a_name_that_is_taken_is_refused_in_the_dialogs_words(provider, engine, dates: dict, layer) -> None:
    asked = {**dates, "CHANGE": layer(CHANGE), "NO_CHANGE": layer(AREA)}
    processing.run(ALGORITHM, asked)
    with pytest.raises(QgsProcessingException, match="holds lyon already.*“Name”.*“Replace what has this name”"):
        processing.run(ALGORITHM, asked)
    assert processing.run(ALGORITHM, {**asked, "FORCE": True})["GROUPS"] == "lyon"


def test_what_was_labelled_by_hand_goes_to_no_folder_that_qgis_deletes(provider, engine, dates: dict, layer) -> None:
    with pytest.raises(QgsProcessingException, match="Choose one that stays"):
        processing.run(ALGORITHM, {**dates, "CHANGE": layer(CHANGE), "DATA": "TEMPORARY_OUTPUT"})
    # A model checks nothing, and names a temporary folder itself.
    step = QgsApplication.processingRegistry().algorithmById(ALGORITHM).create()
    for data in ("TEMPORARY_OUTPUT", f"{QgsProcessingUtils.tempFolder()}/steps/data"):
        with pytest.raises(QgsProcessingException, match="Choose one that stays"):
            step.prepareAlgorithm(
                {**dates, "CHANGE": layer(CHANGE), "DATA": data}, QgsProcessingContext(), QgsProcessingFeedback(False)
            )
