from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
)

from s2change_plugin.processing.styles import shipped_style

ALGORITHM = "s2change:preparescene"
gdal.UseExceptions()


def read(path: object) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


def test_a_product_becomes_one_raster_with_what_is_usable_beside_it(
    provider, engine, products: list[Path], tmp_path: Path
) -> None:
    result = processing.run(ALGORITHM, {"INPUT": str(products[1]), "OUTPUT": str(tmp_path / "scene.tif")})
    raster = gdal.Open(result["OUTPUT"])
    assert [raster.GetRasterBand(index).GetDescription() for index in (2, 3, 4)] == ["B02", "B03", "B04"]
    assert raster.GetRasterBand(2).GetScale() == pytest.approx(1e-4)
    assert Path(result["QUALITY"]) == tmp_path / "scene_quality.tif"
    codes = read(result["QUALITY"])
    assert codes[90, 90] == 3
    assert result["USABLE_SHARE"] == pytest.approx((codes == 0).mean(), abs=1e-4)


def test_the_zip_the_folder_and_the_metadata_are_one_scene(provider, engine, products: list[Path], tmp_path: Path) -> None:
    (zipped,) = (products[0].parent / "zipped").glob("*.zip")
    for name, source in (("folder", products[0]), ("zip", zipped), ("xml", products[0] / "MTD_MSIL1C.xml")):
        processing.run(ALGORITHM, {"INPUT": str(source), "OUTPUT": str(tmp_path / f"{name}.tif")})
    for name in ("zip", "xml"):
        np.testing.assert_array_equal(read(tmp_path / f"{name}.tif"), read(tmp_path / "folder.tif"))


def test_it_is_shown_in_true_colour_as_reflectance(provider, engine, products: list[Path], tmp_path: Path) -> None:
    processing.run(ALGORITHM, {"INPUT": str(products[1]), "OUTPUT": str(tmp_path / "scene.tif")})
    layer = QgsRasterLayer(str(tmp_path / "scene.tif"), "scene")
    renderer = layer.renderer()
    assert renderer.type() == "multibandcolor"
    shown = [layer.bandName(band) for band in (renderer.redBand(), renderer.greenBand(), renderer.blueBand())]
    assert [name[-3:] for name in shown] == ["B04", "B03", "B02"]
    stretch = renderer.redContrastEnhancement()
    assert (stretch.minimumValue(), stretch.maximumValue()) == (0, 0.3)
    assert layer.dataProvider().bandStatistics(4).maximumValue < 1
    del layer, renderer, stretch


def test_the_bands_of_true_colour_are_found_by_name(provider, engine, pair: Path, tmp_path: Path) -> None:
    processing.run(ALGORITHM, {"INPUT": str(pair / "before.tif"), "OUTPUT": str(tmp_path / "scene.tif")})
    layer = QgsRasterLayer(str(tmp_path / "scene.tif"), "scene")
    assert (layer.renderer().redBand(), layer.renderer().blueBand()) == (3, 1)
    del layer


def test_layers_arrive_styled_in_a_group(provider, engine, products: list[Path]) -> None:
    asked = {"INPUT": str(products[1]), "OUTPUT": "TEMPORARY_OUTPUT", "QUALITY": "TEMPORARY_OUTPUT"}
    processing.runAndLoadResults(ALGORITHM, asked)
    project = QgsProject.instance()
    (group,) = [child for child in project.layerTreeRoot().children() if child.name() == "Scene T31TDH 2023-08-23"]
    layers = [node.layer() for node in group.findLayers()]
    assert [layer.name() for layer in layers] == ["Usable, or why not: T31TDH 2023-08-23", "Prepared scene: T31TDH 2023-08-23"]
    assert [layer.renderer().type() for layer in layers] == ["paletted", "multibandcolor"]
    assert [entry.label for entry in layers[0].renderer().classes()][:2] == ["usable", "no data"]
    shown = layers[1].renderer()
    assert [layers[1].bandName(band)[-3:] for band in (shown.redBand(), shown.greenBand(), shown.blueBand())] == [
        "B04",
        "B03",
        "B02",
    ]
    del layers, group, shown
    project.clear()


def test_what_is_usable_is_found_again_in_another_folder(provider, engine, products: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    asked = {"INPUT": str(products[1]), "OUTPUT": str(tmp_path / "scene.tif"), "QUALITY": str(tmp_path / "other" / "q.tif")}
    processing.run(ALGORITHM, asked)
    feedback = QgsProcessingFeedback(False)
    processing.run(
        "s2change:checkpair", {"BEFORE": str(products[0]), "AFTER": asked["OUTPUT"], "MODEL": "standin"}, feedback=feedback
    )
    assert "on after by quality raster q.tif" in feedback.textLog()


def test_without_the_colours_qgis_shows_it_as_it_does(provider, engine, pair: Path, tmp_path: Path) -> None:
    asked = {"INPUT": str(pair / "before.tif"), "BANDS": "-,-,-,B05,B06,B07,-,-,-,-", "OUTPUT": str(tmp_path / "scene.tif")}
    processing.run(ALGORITHM, asked)
    assert read(asked["OUTPUT"]).shape[0] == 3
    assert not (tmp_path / "scene.qml").exists()
    assert (tmp_path / "scene_quality.qml").exists()


def test_the_style_of_an_older_result_gives_way_and_the_users_own_does_not(provider, engine, pair: Path, tmp_path: Path) -> None:
    style = tmp_path / "scene.qml"
    style.write_bytes(shipped_style("mask").read_bytes())
    asked = {"INPUT": str(pair / "before.tif"), "OUTPUT": str(tmp_path / "scene.tif")}

    def red_of(bands: str) -> int:
        processing.run(ALGORITHM, {**asked, "BANDS": bands})
        layer = QgsRasterLayer(asked["OUTPUT"], "scene")
        red = layer.renderer().redBand()
        del layer
        return red

    assert red_of("B02,B03,B04,-,-,-,-,-,-,-") == 3
    assert red_of("B01,B02,B03,B04,-,-,-,-,-,-") == 4
    style.write_text(style.read_text().replace("<!-- Written by S2Change -->", ""))
    assert red_of("B02,B03,B04,-,-,-,-,-,-,-") == 4


def test_a_model_prepares_both_dates_and_detects_with_their_clouds(provider, engine, products: list[Path]) -> None:
    model = QgsProcessingModelAlgorithm("prepared", "tests")
    detect = QgsProcessingModelChildAlgorithm("s2change:detectchange")
    detect.setChildId("detect")
    for name in ("BEFORE", "AFTER"):
        model.addModelParameter(QgsProcessingParameterRasterLayer(name, name), QgsProcessingModelParameter(name))
        prepare = QgsProcessingModelChildAlgorithm(ALGORITHM)
        prepare.setChildId(name.lower())
        prepare.addParameterSources("INPUT", [QgsProcessingModelChildParameterSource.fromModelParameter(name)])
        model.addChildAlgorithm(prepare)
        detect.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromChildOutput(name.lower(), "OUTPUT")])
    detect.addParameterSources("MODEL", [QgsProcessingModelChildParameterSource.fromStaticValue("standin")])
    model.addChildAlgorithm(detect)
    context = QgsProcessingContext()
    parameters = {"BEFORE": str(products[0]), "AFTER": str(products[1])}
    feedback = QgsProcessingFeedback(False)
    _, done = model.run(parameters, context, feedback)
    assert done, feedback.textLog()
    mask = read(context.modelResult().childResults()["detect"].outputs()["MASK"])
    assert mask[90, 90] == 255
    assert mask[200, 200] == 0
