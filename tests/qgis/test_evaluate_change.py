import csv
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingOutputHtml,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from tests.qgis.conftest import PYTHON, REPOSITORY

ALGORITHM = "s2change:evaluatechange"
# The block that changes in the pair; and what is said of it, half a block further east, and of its northern half alone.
BLOCK, MOVED = (502000, 4998600, 502600, 4999000), (502300, 4998600, 502900, 4999000)
_MASKS = """
import sys
from pathlib import Path
import numpy as np
from tests.conftest import write_stack
folder = Path(sys.argv[1])
values = np.zeros((1, 300, 340), np.uint8)
values[:, 100:140, 200:260] = 1
values[:, :5] = 255
write_stack(folder / "mask.tif", values, None)
write_stack(folder / "oscd.tif", values % 254 + 1, None, crs=None)
"""
gdal.UseExceptions()


def read(path: object) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mask.tif, 2400 pixels of change in it, five rows not observed; and oscd.tif, alike in OSCD's values."""
    folder = tmp_path_factory.mktemp("masks")
    subprocess.run([PYTHON, "-c", _MASKS, folder], cwd=REPOSITORY, check=True)
    return folder


@pytest.fixture
def layer():
    """Put rectangles in a layer of the project, in memory."""

    def put(*rectangles: tuple[float, ...]) -> str:
        made = QgsVectorLayer("Polygon?crs=EPSG:32631", f"polygons of {len(rectangles)}", "memory")
        features = []
        for rectangle in rectangles:
            features.append(QgsFeature())
            features[-1].setGeometry(QgsGeometry.fromRect(QgsRectangle(*rectangle)))
        made.dataProvider().addFeatures(features)
        return QgsProject.instance().addMapLayer(made).id()

    yield put
    QgsProject.instance().removeAllMapLayers()


def test_a_layer_of_polygons_gives_all_scores_as_numbers(provider, engine, folder: Path, layer) -> None:
    feedback = QgsProcessingFeedback(False)
    result = processing.run(ALGORITHM, {"MASK": str(folder / "mask.tif"), "REFERENCE": layer(MOVED)}, feedback=feedback)
    names = ("TRUE_POSITIVES", "FALSE_POSITIVES", "FALSE_NEGATIVES", "TRUE_NEGATIVES", "UNOBSERVED_PIXELS", "UNLABELLED_PIXELS")
    assert [result[name] for name in names] == [1200, 1200, 1200, 295 * 340 - 3600, 5 * 340, 0]
    assert (result["F1"], result["PRECISION"], result["RECALL"]) == (0.5, 0.5, 0.5)
    assert result["IOU"] == pytest.approx(1 / 3, abs=1e-4)
    assert 0.4 < result["KAPPA"] < 0.5 < result["ACCURACY"] < 1
    assert result["PREVALENCE"] == pytest.approx(2400 / (295 * 340), abs=1e-4)
    assert result["PIXELS"] == 295 * 340
    assert result["MAPPED_AREA_HA"] == pytest.approx(24, rel=2e-3)
    assert result["REFERENCE_AREA_HA"] == pytest.approx(24, rel=2e-3)
    assert "overall accuracy" in feedback.textLog()
    declared = {one.name() for one in QgsApplication.processingRegistry().algorithmById(ALGORITHM).outputDefinitions()}
    assert set(result) <= declared


def test_the_report_names_layers_as_they_are_called_and_not_temporary_files(
    provider, engine, folder: Path, layer, tmp_path: Path
) -> None:
    drawn, mask = layer(MOVED), Path(QgsProcessingUtils.generateTempFilename("MASK.tif"))
    QgsProject.instance().mapLayer(drawn).setName("drawn < here")
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(shutil.copy(folder / "mask.tif", mask)), "Change mask: lyon"))
    processing.run(ALGORITHM, {"MASK": "Change mask: lyon", "REFERENCE": drawn, "REPORT": str(tmp_path / "r.html")})
    page = (tmp_path / "r.html").read_text()
    assert page.count("“Change mask: lyon” measured by “drawn &lt; here”") == 1
    assert not re.search("processing_|MASK|REFERENCE", page)


def test_results_that_lie_in_temporary_files_are_named_as_they_are_called_too(
    provider, engine, folder: Path, layer, tmp_path: Path
) -> None:
    mask, found = (Path(QgsProcessingUtils.generateTempFilename(name)) for name in ("MASK.tif", "OUTPUT.tif"))
    for path, name in ((mask, "Change mask: lyon"), (found, "drawn by hand")):
        QgsProject.instance().addMapLayer(QgsRasterLayer(str(shutil.copy(folder / "mask.tif", path)), name))
    file = QgsProcessingUtils.generateTempFilename("OUTPUT.gpkg")
    processing.run("native:buffer", {"INPUT": layer(MOVED), "DISTANCE": 1000, "OUTPUT": file})
    buffered = QgsVectorLayer(file, "looked at", "ogr")
    QgsProject.instance().addMapLayer(buffered)
    asked = {"MASK": "Change mask: lyon", "REFERENCE": "drawn by hand", "REPORT": str(tmp_path / "r.html")}
    for labelled in (None, buffered):
        processing.run(ALGORITHM, {**asked, "LABELLED": labelled and labelled.id()})
        page = (tmp_path / "r.html").read_text()
        assert page.count("“Change mask: lyon” measured by “drawn by hand”") == 1
        assert not re.search("processing_|OUTPUT|LABELLED", page)
    del buffered, labelled


def test_outside_of_the_labelled_area_nothing_counts(provider, engine, folder: Path, layer) -> None:
    asked = {"MASK": str(folder / "mask.tif"), "REFERENCE": layer(MOVED), "LABELLED": layer(BLOCK, MOVED)}
    result = processing.run(ALGORITHM, asked)
    assert (result["PIXELS"], result["TRUE_NEGATIVES"], result["UNOBSERVED_PIXELS"]) == (3600, 0, 0)
    assert result["UNLABELLED_PIXELS"] == 300 * 340 - 3600


def test_a_raster_of_other_values_needs_the_value_of_change(provider, engine, folder: Path) -> None:
    asked = {"MASK": str(folder / "mask.tif"), "REFERENCE": str(folder / "oscd.tif")}
    with pytest.raises(QgsProcessingException, match="“Value of change”"):
        processing.run(ALGORITHM, asked)
    assert processing.run(ALGORITHM, {**asked, "CHANGE_VALUE": 2})["F1"] == 1


def test_a_crs_that_a_placed_raster_has_in_qgis_alone_is_not_passed_over(provider, engine, folder: Path, tmp_path: Path) -> None:
    for name in ("placed", "plain"):
        path = str(tmp_path / f"{name}.tif")
        plain = gdal.GetDriverByName("GTiff").Create(path, 340, 300)
        plain.WriteArray(read(folder / "mask.tif"))
        if name == "placed":
            plain.SetGeoTransform((600000, 10, 0, 5000000, 0, -10))
        plain = None
        reference = QgsRasterLayer(path, name)
        reference.setCrs(QgsCoordinateReferenceSystem("EPSG:32631"))
        QgsProject.instance().addMapLayer(reference)
        asked = {"MASK": str(folder / "mask.tif"), "REFERENCE": reference.id()}
        if name == "placed":
            context, step = QgsProcessingContext(), QgsApplication.processingRegistry().createAlgorithmById(ALGORITHM)
            context.setProject(QgsProject.instance())
            with pytest.raises(QgsProcessingException, match="'placed' has EPSG:32631.* in QGIS, and its file none"):
                step.prepareAlgorithm(asked, context, QgsProcessingFeedback(False))
        else:
            # A plain picture, which QGIS gives the project's by itself.
            assert processing.run(ALGORITHM, asked)["F1"] == 1
    QgsProject.instance().removeAllMapLayers()


def test_files_are_written_and_styled(provider, engine, folder: Path, layer, tmp_path: Path) -> None:
    files = {"CONFUSION": str(tmp_path / "c.tif"), "REPORT": str(tmp_path / "r.html"), "TABLE": str(tmp_path / "t.csv")}
    result = processing.run(ALGORITHM, {"MASK": str(folder / "mask.tif"), "REFERENCE": layer(MOVED), **files})
    assert {name: result[name] for name in files} == files
    assert np.bincount(read(files["CONFUSION"]).ravel(), minlength=256)[[1, 2, 3, 255]].tolist() == [1200, 1200, 1200, 1700]
    assert "false alarm" in (tmp_path / "c.qml").read_text()
    with (tmp_path / "t.csv").open(newline="") as file:
        assert sum(int(line["pixels"]) for line in csv.DictReader(file)) == 300 * 340
    page = (tmp_path / "r.html").read_text()
    assert "0.500" in page
    outputs = {one.name(): one for one in QgsApplication.processingRegistry().algorithmById(ALGORITHM).outputDefinitions()}
    assert isinstance(outputs["REPORT"], QgsProcessingOutputHtml)


def test_the_page_speaks_as_the_dialog_does(provider, engine, folder: Path, layer, tmp_path: Path) -> None:
    white = tmp_path / "white.tif"
    gdal.Translate(str(white), str(folder / "mask.tif"), scaleParams=[[0, 1, 0, 255]])
    feedback = QgsProcessingFeedback(False)
    asked = {"MASK": str(folder / "mask.tif"), "REFERENCE": str(white), "REPORT": str(tmp_path / "r.html")}
    processing.run(ALGORITHM, asked, feedback=feedback)
    for said in ((tmp_path / "r.html").read_text(), feedback.textLog()):
        assert "“Value of change”" in said
        assert "--change-value" not in said


def test_the_confusion_arrives_styled(provider, engine, folder: Path, layer) -> None:
    asked = {"MASK": str(folder / "mask.tif"), "REFERENCE": layer(MOVED), "CONFUSION": "TEMPORARY_OUTPUT"}
    processing.runAndLoadResults(ALGORITHM, asked)
    project = QgsProject.instance()
    (arrived,) = project.mapLayersByName("Agreement with the reference: mask")
    labels = [entry.label for entry in arrived.renderer().classes()]
    del arrived
    assert labels[:2] == ["true negative (no change)", "true positive (found)"]
    project.clear()


def test_a_mask_is_no_reference_of_its_own(provider, engine, folder: Path) -> None:
    mask = str(folder / "mask.tif")
    with pytest.raises(QgsProcessingException, match="both mask and reference"):
        processing.run(ALGORITHM, {"MASK": mask, "REFERENCE": mask})


def test_a_model_detects_and_evaluates(provider, engine, pair: Path, layer) -> None:
    model = QgsProcessingModelAlgorithm("measured", "tests")
    for name in ("BEFORE", "AFTER"):
        model.addModelParameter(QgsProcessingParameterRasterLayer(name, name), QgsProcessingModelParameter(name))
    model.addModelParameter(QgsProcessingParameterVectorLayer("TRUTH", "TRUTH"), QgsProcessingModelParameter("TRUTH"))
    source = QgsProcessingModelChildParameterSource
    detect = QgsProcessingModelChildAlgorithm("s2change:detectchange")
    detect.setChildId("detect")
    for name in ("BEFORE", "AFTER"):
        detect.addParameterSources(name, [source.fromModelParameter(name)])
    detect.addParameterSources("MODEL", [source.fromStaticValue("standin")])
    model.addChildAlgorithm(detect)
    evaluate = QgsProcessingModelChildAlgorithm(ALGORITHM)
    evaluate.setChildId("evaluate")
    evaluate.addParameterSources("MASK", [source.fromChildOutput("detect", "MASK")])
    evaluate.addParameterSources("REFERENCE", [source.fromModelParameter("TRUTH")])
    model.addChildAlgorithm(evaluate)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    feedback = QgsProcessingFeedback(False)
    dates = {"BEFORE": str(pair / "before.tif"), "AFTER": str(pair / "after.tif")}
    _, done = model.run({**dates, "TRUTH": layer(BLOCK)}, context, feedback)
    assert done, feedback.textLog()
    found = context.modelResult().childResults()["evaluate"].outputs()
    assert (found["F1"], found["TRUE_POSITIVES"]) == (1, 2400)
