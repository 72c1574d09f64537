import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import processing
import pytest
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsFeature,
    QgsGeometry,
    QgsLayerTree,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingOutputHtml,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsVectorLayer,
)

from tests.qgis.conftest import PYTHON, REPOSITORY

ALGORITHM = "s2change:detectchange"
# Of the polygons, the colour that lies within the dark one.
OUTLINE = "#00ffff"
gdal.UseExceptions()


def read(path: object) -> np.ndarray:
    return gdal.Open(str(path)).ReadAsArray()


@pytest.fixture
def asked(pair: Path, tmp_path: Path) -> dict:
    """Parameters of a plain run."""
    return {
        "BEFORE": str(pair / "before.tif"),
        "AFTER": str(pair / "after.tif"),
        "MODEL": "standin",
        "MASK": str(tmp_path / "mask.tif"),
    }


def algorithm():
    return QgsApplication.processingRegistry().createAlgorithmById(ALGORITHM)


def checked(parameters: dict) -> tuple[bool, str]:
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    return algorithm().checkParameterValues(parameters, context)


def test_names_that_saved_models_use_stay_as_they_are(provider) -> None:
    one = algorithm()
    names = [definition.name() for definition in one.parameterDefinitions()]
    assert {"BEFORE", "AFTER", "MODEL", "EXTENT", "BEFORE_BANDS", "AFTER_BANDS", "THRESHOLD"} <= set(names)
    outputs = {definition.name() for definition in one.outputDefinitions()}
    numbers = {"CHANGED_AREA_HA", "OBSERVED_SHARE", "CHANGED_PIXELS", "THRESHOLD_USED"}
    assert {"MASK", "PROBABILITY", "QUALITY", "POLYGONS"} | numbers <= outputs
    assert all(definition.help() for definition in one.parameterDefinitions())


def test_a_layer_that_got_its_crs_in_qgis_is_where_qgis_shows_it(provider, engine, asked: dict, tmp_path: Path) -> None:
    whole = processing.run(ALGORITHM, asked)
    file = tmp_path / "placeless.tif"
    shutil.copyfile(asked["BEFORE"], file)
    gdal.Open(str(file), gdal.GA_Update).SetSpatialRef(None)
    layer = QgsRasterLayer(str(file), "placeless")
    assert not layer.dataProvider().crs().isValid()
    layer.setCrs(QgsRasterLayer(asked["BEFORE"], "before").crs())
    again = processing.run(ALGORITHM, asked | {"BEFORE": layer, "MASK": str(tmp_path / "again.tif")})
    np.testing.assert_array_equal(read(whole["MASK"]), read(again["MASK"]))
    assert gdal.Open(again["MASK"]).GetProjection() == gdal.Open(whole["MASK"]).GetProjection()
    del layer


def test_qgis_and_the_command_line_give_the_same_result(provider, engine, asked: dict, tmp_path: Path) -> None:
    asked |= {"PROBABILITY": str(tmp_path / "p.tif"), "QUALITY": str(tmp_path / "q.tif"), "POLYGONS": str(tmp_path / "c.gpkg")}
    result = processing.run(ALGORITHM, asked)
    typed = [PYTHON, "-m", "s2change_plugin.engine", "detect", asked["BEFORE"], asked["AFTER"], "--model", "standin"]
    own = {"--mask": "m2.tif", "--probability": "p2.tif", "--quality": "q2.tif"}
    subprocess.run(
        [*typed, *(str(part) for name, file in own.items() for part in (name, tmp_path / file))], cwd=REPOSITORY, check=True
    )
    for ours, theirs in (("mask.tif", "m2.tif"), ("p.tif", "p2.tif"), ("q.tif", "q2.tif")):
        np.testing.assert_array_equal(read(tmp_path / ours), read(tmp_path / theirs))
    assert result["CHANGED_PIXELS"] == (read(tmp_path / "m2.tif") == 1).sum() == 2400
    assert result["CHANGED_AREA_HA"] == pytest.approx(24.02, abs=0.01)
    assert result["OBSERVED_SHARE"] == pytest.approx(295 / 300, abs=1e-5)
    assert result["THRESHOLD_USED"] == 0.5
    areas = QgsVectorLayer(f"{asked['POLYGONS']}|layername=change", "areas", "ogr")
    assert [feature["area_ha"] for feature in areas.getFeatures()] == [pytest.approx(24.02, abs=0.01)]
    (area,) = areas.getFeatures()
    assert -1 < area["ndvi_before"] < 1
    assert area["observed_around"] == 1
    del area, areas


def test_a_report_is_written_in_the_words_of_the_dialog_and_the_results_viewer_lists_it(
    provider, engine, asked: dict, tmp_path: Path
) -> None:
    outputs = {one.name(): one for one in QgsApplication.processingRegistry().algorithmById(ALGORITHM).outputDefinitions()}
    assert isinstance(outputs["REPORT"], QgsProcessingOutputHtml)
    asked |= {"REPORT": str(tmp_path / "r.html")}
    assert processing.run(ALGORITHM, asked)["REPORT"] == asked["REPORT"]
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "24.02 ha changed" in page
    assert "The largest areas of change" in page
    assert not re.search(r"(?<![\w-])--[a-z]", re.sub(r"<style>.*?</style>|base64,[^\"]*", "", page, flags=re.DOTALL))


def test_folders_of_bands_are_inputs_too(provider, engine, asked: dict, pair: Path) -> None:
    asked |= {"BEFORE": str(pair / "bands1"), "AFTER": str(pair / "bands2")}
    assert checked(asked) == (True, "")
    assert processing.run(ALGORITHM, asked)["CHANGED_PIXELS"] == 2400


def test_a_layer_of_one_band_stands_for_its_folder(provider, engine, asked: dict, pair: Path) -> None:
    """QGIS picks files; and the group of the results is called as the folders are."""
    files = [next((pair / folder).glob("*B02*")) for folder in ("bands1", "bands2")]
    layers = [QgsRasterLayer(str(file), file.stem) for file in files]
    result = processing.runAndLoadResults(ALGORITHM, asked | dict(zip(("BEFORE", "AFTER"), layers, strict=True)))
    assert result["CHANGED_PIXELS"] == 2400
    project = QgsProject.instance()
    (group,) = project.layerTreeRoot().children()
    assert group.name().startswith(f"Change {pair.name}/bands1 → {pair.name}/bands2, ")
    del layers, group
    project.clear()


def test_an_area_drawn_in_memory_is_all_that_is_looked_at(provider, engine, asked: dict, tmp_path: Path) -> None:
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631", "area", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromWkt("POLYGON((502000 4998600, 502300 4998600, 502300 4999000, 502000 4998600))"))
    layer.dataProvider().addFeatures([feature])
    result = processing.run(ALGORITHM, {**asked, "AREA": layer, "QUALITY": str(tmp_path / "q.tif")})
    mask, quality = read(asked["MASK"]), read(tmp_path / "q.tif")
    # The half of 30 × 40 pixels, all in the block that changed.
    assert mask.shape == (40, 30)
    assert result["CHANGED_PIXELS"] == (mask == 1).sum() == pytest.approx(600, abs=20)
    np.testing.assert_array_equal(mask == 255, quality == 7)
    assert result["OBSERVED_SHARE"] == 1
    del layer


@pytest.mark.parametrize("method", ["cva", "irmad", "pca"])
def test_change_is_found_without_a_model_with_the_same_layers(provider, engine, asked: dict, tmp_path: Path, method: str) -> None:
    asked |= {"METHOD": method, "PROBABILITY": str(tmp_path / "p.tif"), "QUALITY": str(tmp_path / "q.tif")}
    result = processing.run(ALGORITHM, asked)
    mask = read(asked["MASK"])
    assert (mask[102:138, 202:258] == 1).all()
    assert result["CHANGED_PIXELS"] == (mask == 1).sum() == pytest.approx(2400, rel=0.1)
    assert result["THRESHOLD_USED"] == 0.5
    np.testing.assert_array_equal(read(tmp_path / "q.tif") == 2, mask == 255)
    tags = gdal.Open(asked["MASK"]).GetMetadata()
    assert tags["S2CHANGE_METHOD"] == method


def test_two_products_as_they_are_downloaded(provider, engine, asked: dict, products: list[Path], tmp_path: Path) -> None:
    (zipped,) = (products[0].parent / "zipped").glob("*.zip")
    asked |= {"BEFORE": str(zipped), "AFTER": str(products[1]), "QUALITY": str(tmp_path / "q.tif")}
    assert checked(asked) == (True, "")
    assert processing.run(ALGORITHM, asked)["CHANGED_PIXELS"] == 0
    quality = read(tmp_path / "q.tif")
    assert quality[90, 90] == 3
    assert quality[200, 200] == 0
    processing.run(ALGORITHM, {**asked, "CLOUDS": "none"})
    assert (read(tmp_path / "q.tif") == 3).sum() == 0


def test_layers_an_extent_in_another_crs_and_a_threshold(provider, engine, asked: dict) -> None:
    project = QgsProject.instance()
    project.addMapLayer(QgsRasterLayer(asked["BEFORE"], "first date"))
    project.addMapLayer(QgsRasterLayer(asked["AFTER"], "second date"))
    asked |= {"BEFORE": project.mapLayersByName("first date")[0], "AFTER": "second date"}
    asked |= {"EXTENT": "3.0,3.02,45.13,45.14 [EPSG:4326]", "THRESHOLD": 0}
    result = processing.run(ALGORITHM, asked)
    shape = read(asked["MASK"]).shape
    assert 100 < shape[0] < 125
    assert result["CHANGED_PIXELS"] == shape[0] * shape[1]
    assert result["THRESHOLD_USED"] == 0
    asked.clear()
    project.removeAllMapLayers()


def test_results_are_styled_wherever_they_are_opened(provider, engine, asked: dict, tmp_path: Path) -> None:
    asked |= {"PROBABILITY": str(tmp_path / "p.tif"), "POLYGONS": str(tmp_path / "c.gpkg")}
    processing.run(ALGORITHM, asked)
    mask, chance = QgsRasterLayer(asked["MASK"], "mask"), QgsRasterLayer(asked["PROBABILITY"], "chance")
    areas = QgsVectorLayer(asked["POLYGONS"], "areas")
    assert mask.renderer().type() == "paletted"
    assert [entry.label for entry in mask.renderer().classes()] == ["no change", "change", "not observed"]
    assert chance.renderer().type() == "singlebandpseudocolor"
    assert areas.renderer().categories()[0].symbol().symbolLayer(1).color().name() == OUTLINE
    context = QgsExpressionContext([*QgsExpressionContextUtils.globalProjectLayerScopes(areas)])
    context.setFeature(next(areas.getFeatures()))
    tip = QgsExpression.replaceExpressionText(areas.mapTipTemplate(), context)
    both = r" -?\d\.\d\d → -?\d\.\d\d"
    assert re.fullmatch(rf"24\.02 ha, mean probability \d\.\d\d<br>NDVI{both}<br>NDBI{both}<br>MNDWI{both}", tip)
    (area,) = areas.getFeatures()
    area["ndvi_before"], area["observed_around"] = None, 0.5
    context.setFeature(area)
    tip = QgsExpression.replaceExpressionText(areas.mapTipTemplate(), context)
    assert re.fullmatch(rf"24\.02 ha, .*\d<br>NDBI{both}<br>MNDWI{both}<br>50 % of the map around it was observed", tip)
    del area
    # QGIS applies the file's scale: probability is shown as 0 to 1.
    assert chance.dataProvider().bandStatistics(1).maximumValue == pytest.approx(1, abs=0.005)
    del mask, chance, areas


def test_layers_arrive_styled_and_in_order(provider, engine, asked: dict) -> None:
    temporary = dict.fromkeys(("PROBABILITY", "QUALITY", "POLYGONS"), "TEMPORARY_OUTPUT")
    processing.runAndLoadResults(ALGORITHM, {**asked, **temporary})
    project = QgsProject.instance()
    name = "Change before → after, standin, threshold 0.5"
    (group,) = [child for child in project.layerTreeRoot().children() if child.name() == name]
    layers = [node.layer() for node in group.findLayers()]
    # Why a pixel was not observed lies above that it was not.
    kinds = ("Changed areas", "Observed, or why not", "Change mask", "Probability of change")
    assert [layer.name() for layer in layers] == [f"{kind}: before → after" for kind in kinds]
    assert layers[0].renderer().categories()[0].symbol().symbolLayer(1).color().name() == OUTLINE
    assert [layer.renderer().type() for layer in layers[1:]] == ["paletted", "paletted", "singlebandpseudocolor"]
    del layers, group
    project.clear()


def test_legends_are_shown_until_the_user_folds_them(provider, engine, asked: dict) -> None:
    def fold(group, first: int, last: int) -> None:
        """As QGIS does with what has a palette."""
        for node in group.children()[first : last + 1]:
            node.setExpanded(QgsLayerTree.isGroup(node))

    root = QgsProject.instance().layerTreeRoot()
    root.addedChildren.connect(fold)
    processing.runAndLoadResults(ALGORITHM, asked)
    root.addedChildren.disconnect(fold)
    (node,) = root.findLayers()
    assert node.isExpanded()
    node.setExpanded(False)
    processing.runAndLoadResults(ALGORITHM, asked)
    assert not node.isExpanded()
    del node, root
    QgsProject.instance().clear()


def test_runs_of_one_pair_are_told_apart_in_the_layer_tree(provider, engine, asked: dict) -> None:
    for given in ({}, {"THRESHOLD": 0.9}, {"METHOD": "irmad"}):
        processing.runAndLoadResults(ALGORITHM, {**asked, **given, "MASK": "TEMPORARY_OUTPUT"})
    project = QgsProject.instance()
    named = {child.name() for child in project.layerTreeRoot().children()}
    settings = (", standin, threshold 0.5", " (2), standin, threshold 0.9", " (3), irmad, threshold 0.5")
    assert named >= {f"Change before → after{text}" for text in settings}
    project.clear()


def test_runs_with_the_same_settings_but_another_extent_have_groups_of_their_own(provider, engine, asked: dict) -> None:
    project, name, settings = QgsProject.instance(), "Change before → after", "standin, threshold 0.5"
    two = dict.fromkeys(("MASK", "PROBABILITY"), "TEMPORARY_OUTPUT")
    for extent in (None, "502000,502300,4998600,4999000 [EPSG:32631]", "502000,502200,4998600,4999000 [EPSG:32631]"):
        processing.runAndLoadResults(ALGORITHM, {**asked, **two, "EXTENT": extent})
    groups = [(child.name(), len(child.findLayers())) for child in project.layerTreeRoot().children()]
    assert groups == [(f"{name} (3), {settings}", 2), (f"{name} (2), {settings}", 2), (f"{name}, {settings}", 2)]
    project.clear()


def test_layers_of_several_results_are_told_apart_wherever_one_is_chosen(provider, engine, asked: dict, tmp_path: Path) -> None:
    """By the names of the layers that they were made of, whose files may be temporary, and where these are the same by a number."""
    project = QgsProject.instance()
    for which, name in (("BEFORE", "Lyon 2015-09-18"), ("AFTER", "Lyon_20180326")):
        project.addMapLayer(QgsRasterLayer(asked[which], name))
        asked[which] = name
    asked["POLYGONS"] = "TEMPORARY_OUTPUT"
    for threshold in (0.9, 0.5):
        processing.runAndLoadResults(ALGORITHM, {**asked, "THRESHOLD": threshold, "MASK": "TEMPORARY_OUTPUT"})
    first, second = "Lyon 2015-09-18 → 2018-03-26", "Lyon 2015-09-18 → 2018-03-26 (2)"
    groups = {child.name() for child in project.layerTreeRoot().children()}
    assert groups > {f"Change {first}, standin, threshold 0.9", f"Change {second}, standin, threshold 0.5"}
    names = [layer.name() for layer in project.mapLayers().values()]
    assert len(names) == len(set(names))
    assert set(names) > {f"{kind}: {result}" for kind in ("Change mask", "Changed areas") for result in (first, second)}
    evaluation = {"MASK": f"Change mask: {second}", "REFERENCE": f"Changed areas: {second}", "CONFUSION": "TEMPORARY_OUTPUT"}
    assert processing.runAndLoadResults("s2change:evaluatechange", evaluation)["F1"] == 1
    assert f"Evaluation of Change mask: {second}" in {child.name() for child in project.layerTreeRoot().children()}
    project.clear()


def test_a_number_stays_with_what_is_written_over(provider, engine, asked: dict, tmp_path: Path) -> None:
    files = [str(tmp_path / f"{number}.tif") for number in (1, 2)]
    for file in (*files, files[1], files[0]):
        processing.runAndLoadResults(ALGORITHM, {**asked, "MASK": file})
    layers = QgsProject.instance().mapLayers().values()
    named = {layer.name(): layer.source() for layer in layers}
    assert named == {"Change mask: before → after": files[0], "Change mask: before → after (2)": files[1]}
    del layers
    QgsProject.instance().clear()


def test_what_is_written_over_stays_in_its_group_which_is_called_as_the_run(provider, engine, asked: dict) -> None:
    """But for its name where it holds something else too, or has one that the user gave it."""
    project, name = QgsProject.instance(), "Change before → after, standin, threshold"

    def tree(**given: object) -> list[tuple[str, list[str]]]:
        processing.runAndLoadResults(ALGORITHM, {**asked, "PROBABILITY": None, **given})
        groups = project.layerTreeRoot().children()
        return [(group.name(), [node.name() for node in group.findLayers()]) for group in groups]

    mask, chance = "Change mask: before → after", "Probability of change: before → after"
    for _ in range(2):
        assert tree() == [(f"{name} 0.5", [mask])]
    assert tree(THRESHOLD=0.9) == [(f"{name} 0.9", [mask])]
    both = [mask, chance]
    assert sorted(tree(PROBABILITY=asked["MASK"].replace("mask", "p"))[0][1]) == both
    ((called, layers),) = tree(THRESHOLD=0.7)
    assert (called, sorted(layers)) == (f"{name} 0.5", both)
    project.layerTreeRoot().children()[0].setName("Change in May")
    ((called, layers),) = tree(PROBABILITY=asked["MASK"].replace("mask", "p"), THRESHOLD=0.6)
    assert (called, sorted(layers)) == ("Change in May", both)
    project.clear()


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [(["MASK"], ["Probability of change"]), (["PROBABILITY"], ["Change mask"]), (["MASK", "PROBABILITY"], [])],
)
def test_results_have_their_group_though_layers_of_the_project_that_show_them_are_not_in_its_tree(
    provider, engine, asked: dict, tmp_path: Path, hidden: list[str], shown: list[str]
) -> None:
    """As a script adds a layer to the project alone; the group is one beside that of an older run."""
    project, name, settings = QgsProject.instance(), "before → after", "standin, threshold 0.5"
    asked["PROBABILITY"] = str(tmp_path / "p.tif")
    older = processing.runAndLoadResults(ALGORITHM, {**asked, **dict.fromkeys(("MASK", "PROBABILITY"), "TEMPORARY_OUTPUT")})
    for output in hidden:
        shutil.copy(older[output], asked[output])
        project.addMapLayer(QgsRasterLayer(asked[output], output), False)
    processing.runAndLoadResults(ALGORITHM, asked)
    groups = [(group.name(), [node.name() for node in group.findLayers()]) for group in project.layerTreeRoot().children()]
    assert groups == [
        (f"Change {name} (2), {settings}", [f"{one}: {name} (2)" for one in shown]),
        (f"Change {name}, {settings}", [f"Change mask: {name}", f"Probability of change: {name}"]),
    ]
    project.clear()


def test_files_of_one_name_are_told_apart_by_their_folders(provider, engine, asked: dict, tmp_path: Path) -> None:
    for year, which in (("2019", "BEFORE"), ("2021", "AFTER")):
        (tmp_path / year).mkdir()
        asked[which] = shutil.copy(asked[which], tmp_path / year / "stack.tif")
    asked |= {"BEFORE": str(asked["BEFORE"]), "AFTER": str(asked["AFTER"])}
    processing.runAndLoadResults(ALGORITHM, asked)
    (group,) = QgsProject.instance().layerTreeRoot().children()
    assert group.name() == "Change 2019/stack → 2021/stack, standin, threshold 0.5"
    del group
    QgsProject.instance().clear()


def test_a_mask_and_polygons_of_one_name_keep_their_styles(provider, engine, asked: dict, tmp_path: Path) -> None:
    """In a run over older results, too; one file beside them could hold the style of one of them alone."""
    asked |= {"MASK": str(tmp_path / "change.tif"), "POLYGONS": str(tmp_path / "change.gpkg")}
    for _ in range(2):
        processing.runAndLoadResults(ALGORITHM, asked)
        layers = {layer.name(): layer for layer in QgsProject.instance().mapLayers().values()}
        assert (
            layers["Changed areas: before → after"].renderer().categories()[0].symbol().symbolLayer(1).color().name() == OUTLINE
        )
        assert layers["Change mask: before → after"].renderer().type() == "paletted"
        assert not (tmp_path / "change.qml").exists()
        layers.clear()
        QgsProject.instance().clear()


def test_a_layer_of_an_older_result_shows_what_was_written_in_its_place(provider, engine, asked: dict, tmp_path: Path) -> None:
    processing.runAndLoadResults(ALGORITHM, {**asked, "THRESHOLD": 1.0})
    (layer,) = QgsProject.instance().mapLayers().values()
    place = layer.extent()
    assert layer.dataProvider().block(1, place, 4, 4).value(0, 0) == 0
    processing.runAndLoadResults(ALGORITHM, {**asked, "THRESHOLD": 0.0})
    for one in QgsProject.instance().mapLayers().values():
        assert one.dataProvider().block(1, place, 4, 4).value(0, 0) == 1
    del layer, one
    QgsProject.instance().clear()


def test_a_run_that_loads_nothing_renews_what_is_shown_of_older_results(provider, engine, asked: dict, tmp_path: Path) -> None:
    """As from a script, or as a step of a model."""
    asked["POLYGONS"] = str(tmp_path / "areas.gpkg")
    processing.run(ALGORITHM, {**asked, "THRESHOLD": 1.0})
    mask, areas = QgsRasterLayer(asked["MASK"], "mask"), QgsVectorLayer(f"{asked['POLYGONS']}|layername=change", "areas")
    QgsProject.instance().addMapLayers([mask, areas, QgsRasterLayer(asked["BEFORE"], "other"), QgsRasterLayer("gone", "gone")])
    repainted: list[str] = []
    mask.repaintRequested.connect(lambda: repainted.append("mask"))
    areas.repaintRequested.connect(lambda: repainted.append("areas"))

    def shown(mask: QgsRasterLayer, areas: QgsVectorLayer) -> tuple[float, float]:
        """A pixel of the corner, and the hectares of the polygons."""
        return mask.dataProvider().block(1, mask.extent(), 4, 4).value(0, 0), sum(one["area_ha"] for one in areas.getFeatures())

    assert shown(mask, areas) == (0, pytest.approx(24, abs=1))
    processing.run(ALGORITHM, {**asked, "THRESHOLD": 0.0})
    assert shown(mask, areas) == (1, pytest.approx(1004, abs=10))
    assert set(repainted) == {"mask", "areas"}
    del mask, areas
    QgsProject.instance().clear()


def test_a_wrong_band_name_is_told_as_it_is(provider, engine, asked: dict) -> None:
    with pytest.raises(QgsProcessingException, match="'foo' is not a Sentinel-2 band"):
        processing.run(ALGORITHM, {**asked, "BEFORE_BANDS": "foo"})


def test_a_style_of_the_users_own_is_kept(provider, engine, asked: dict, tmp_path: Path) -> None:
    (tmp_path / "mask.qml").write_text("mine")
    processing.run(ALGORITHM, asked)
    assert (tmp_path / "mask.qml").read_text() == "mine"


def test_the_style_of_an_older_result_does_not_stay_for_another(provider, engine, asked: dict, tmp_path: Path) -> None:
    asked["PROBABILITY"] = str(tmp_path / "other.tif")
    processing.run(ALGORITHM, asked)
    styles = {name: (tmp_path / f"{name}.qml").read_text() for name in ("mask", "other")}
    processing.run(ALGORITHM, asked | {"MASK": asked["PROBABILITY"], "PROBABILITY": asked["MASK"]})
    assert {name: (tmp_path / f"{name}.qml").read_text() for name in ("other", "mask")} == {
        "other": styles["mask"],
        "mask": styles["other"],
    }
    processing.run(ALGORITHM, asked | {"POLYGONS": str(tmp_path / "mask.gpkg")})
    assert not (tmp_path / "mask.qml").exists()


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ("METHOD", "IRMAD", "Method: 'IRMAD' cannot be used. Choose one of unet, cva"),
        ("CLOUDS", "None", "'None' cannot be used. Choose one of auto"),
        ("GOAL", "Precision", "'Precision' cannot be used. Choose one of f1, precision, recall"),
        ("GOAL", "-1", "'-1' cannot be used"),
        ("EXTENT", "nowhere", "'nowhere' is no extent"),
        ("THRESHOLD", "0,5", "'0,5' is no number"),
        ("MASK_BUFFER", "sixty", "'sixty' is no number"),
        ("REGISTER", "nope", "'nope' cannot be used. Choose one of true, false"),
        ("METHOD", QgsProperty.fromExpression("'ir' || NULL"), "its expression says nothing"),
        ("METHOD", QgsProperty.fromExpression("'ir'"), "'ir' cannot be used. Choose one of unet"),
    ],
)
def test_in_a_model_which_checks_no_step_what_is_no_choice_is_not_taken_for_the_default(
    provider, engine, asked: dict, parameter: str, value: object, said: str
) -> None:
    step, context, feedback = algorithm().create(), QgsProcessingContext(), QgsProcessingFeedback(False)
    with pytest.raises(QgsProcessingException, match=said):
        step.prepareAlgorithm({**asked, parameter: value}, context, feedback)


def test_a_choice_that_an_expression_says_counts(provider, engine, asked: dict) -> None:
    step, context, feedback = algorithm().create(), QgsProcessingContext(), QgsProcessingFeedback(False)
    step.prepareAlgorithm({**asked, "METHOD": QgsProperty.fromExpression("'ir' || 'mad'")}, context, feedback)
    options = step._options
    assert options[options.index("--method") + 1] == "irmad"


@pytest.mark.parametrize(
    "source",
    [
        "type=xyz&url=http://127.0.0.1:1/{z}/{x}/{y}.png",
        "url=http://127.0.0.1:1/wms&layers=a&styles=&crs=EPSG:4326&format=image/png",
    ],
)
def test_a_web_map_is_refused_as_a_picture_with_what_to_pick(provider, engine, asked: dict, source: str) -> None:
    web = QgsRasterLayer(source, "streets", "wms")
    image = "is a web map, which is only a picture; pick the layer of a Sentinel-2 image that holds its bands, such as a product or a GeoTIFF."
    assert checked({**asked, "BEFORE": web}) == (False, f"Before: the layer 'streets' {image}")
    steps = {ALGORITHM: {**asked, "AFTER_MASK": web}, "s2change:evaluatechange": {"MASK": web, "REFERENCE": asked["BEFORE"]}}
    for (name, parameters), said in zip(
        steps.items(), ("Mask of after: .* of a GeoTIFF", "Change mask: .* of a change mask"), strict=True
    ):
        step = QgsApplication.processingRegistry().algorithmById(name).create()
        with pytest.raises(QgsProcessingException, match=said):
            step.prepareAlgorithm(parameters, QgsProcessingContext(), QgsProcessingFeedback(False))
    steps.clear()
    parameters.clear()
    del web


def test_what_cannot_be_an_input_is_said(provider, engine, asked: dict, pair: Path) -> None:
    same = {**asked, "AFTER": asked["BEFORE"]}
    assert "same raster" in checked(same)[1]
    assert "same raster" not in checked({**same, "BEFORE_BANDS": "B02,B03,-,-", "AFTER_BANDS": "-,-,B02,B03"})[1]
    assert "nothing is chosen" in checked({**asked, "AFTER": None})[1]


def test_an_output_that_the_engine_cannot_write_is_said(provider, engine, asked: dict, tmp_path: Path) -> None:
    fits, said = checked({**asked, "POLYGONS": str(tmp_path / "areas.shp")})
    assert not fits
    assert "Changed areas" in said
    fits, said = checked({**asked, "THRESHOLD": 1.5})
    assert not fits
    assert "Threshold" in said


def test_the_engines_sentence_reaches_the_user(provider, engine, asked: dict) -> None:
    with pytest.raises(QgsProcessingException, match="There is no model 'none'"):
        processing.run(ALGORITHM, {**asked, "MODEL": "none"})
    assert not Path(asked["MASK"]).exists()


def test_the_log_says_what_the_run_will_take_before_it_shows_the_result(provider, engine, asked: dict) -> None:
    feedback = QgsProcessingFeedback(False)
    processing.run(ALGORITHM, asked, feedback=feedback)
    log = feedback.textLog()
    assert -1 < log.find(" of memory.") < log.find("Changed: ")


def test_without_an_engine_it_is_listed_and_says_what_to_do(provider, asked: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_PYTHON", "/nowhere/python")
    assert ALGORITHM in [one.id() for one in provider.algorithms()]
    able, said = algorithm().canExecute()
    assert not able
    assert "Set up the engine" in said
    feedback = QgsProcessingFeedback(False)
    with pytest.raises(QgsProcessingException):
        processing.run(ALGORITHM, asked, feedback=feedback)
    assert "Set up the engine" in feedback.textLog()


def test_the_goal_is_in_words_and_reaches_the_engine(provider, engine, asked: dict) -> None:
    one = algorithm()
    assert one.parameterDefinition("GOAL").options() == [
        "Best balance (F1)",
        "Few false alarms (precision 0.8)",
        "Little missed (recall 0.8)",
    ]
    assert processing.run(ALGORITHM, {**asked, "GOAL": 2})["THRESHOLD_USED"] == 0.2
    with pytest.raises(QgsProcessingException, match="standin has no threshold for the goal precision.*“Goal”"):
        processing.run(ALGORITHM, {**asked, "GOAL": 1})
    with pytest.raises(QgsProcessingException, match="both say what is change"):
        processing.run(ALGORITHM, {**asked, "GOAL": 2, "THRESHOLD": 0.3})


@pytest.mark.parametrize("command", ["detectchange", "checkpair"])
def test_a_level_that_was_only_simulated_is_a_warning_in_the_log(
    provider, engine, asked: dict, tmp_path: Path, command: str
) -> None:
    for side in ("BEFORE", "AFTER"):
        asked[side] = shutil.copy(asked[side], str(tmp_path / f"T31TDH_{side}_L2A.tif"))
    feedback = QgsProcessingFeedback(False)
    processing.run(f"s2change:{command}", asked, feedback=feedback)
    (said,) = [line for line in feedback.htmlLog().split("<br/>") if "simulated only" in line]
    assert "Before and after are Level-2A" in said
    assert "color" in said, "warnings are coloured, information is not"


def test_a_cancel_leaves_nothing_behind(provider, engine, asked: dict, tmp_path: Path) -> None:
    feedback = QgsProcessingFeedback(False)
    feedback.progressChanged.connect(lambda value: feedback.cancel())
    with pytest.raises(QgsProcessingException, match="nothing was written"):
        processing.run(ALGORITHM, asked, feedback=feedback)
    assert list(tmp_path.iterdir()) == []


class Told(QgsProcessingFeedback):
    """Keeps what it is told, by how grave it is, and cancels itself at the first progress."""

    def __init__(self) -> None:
        super().__init__(False)
        self.said: list[str] = []
        self.errors: list[str] = []

    def pushInfo(self, text: str) -> None:
        self.said.append(text)

    def reportError(self, text: str, fatal: bool = False) -> None:
        self.errors.append(text)

    def setProgressText(self, text: str) -> None:
        self.cancel()


@pytest.mark.parametrize("name", ["detectchange", "checkpair"])
def test_a_cancel_in_a_dialog_is_no_error(provider, fake_engine, asked: dict, qtbot, name: str) -> None:
    fake_engine('start(); say(event="progress", stage="register", done=1, total=9); sys.stdin.read()')
    one = QgsApplication.processingRegistry().createAlgorithmById(f"s2change:{name}")
    context, feedback, ended = QgsProcessingContext(), Told(), []
    # What a dialog starts.
    task = QgsProcessingAlgRunnerTask(one, asked, context, feedback)
    task.executed.connect(lambda fits, results: ended.append((fits, results)))
    QgsApplication.taskManager().addTask(task)
    qtbot.waitUntil(lambda: bool(ended), timeout=30000)
    assert ended == [(False, {})]
    assert (feedback.said, feedback.errors) == (["Cancelled; nothing was written."], [])


def test_a_cancel_is_told_a_script_in_a_thread_of_its_own_as_an_error(provider, fake_engine, asked: dict) -> None:
    fake_engine('start(); say(event="progress", stage="register", done=1, total=9); sys.stdin.read()')
    with ThreadPoolExecutor() as threads, pytest.raises(QgsProcessingException, match="Cancelled; nothing was written"):
        threads.submit(processing.run, ALGORITHM, asked, feedback=Told()).result()


def test_it_works_in_a_graphical_model_before_another_algorithm(provider, engine, asked: dict) -> None:
    model = QgsProcessingModelAlgorithm("change", "tests")
    for name in ("BEFORE", "AFTER"):
        model.addModelParameter(QgsProcessingParameterRasterLayer(name, name), QgsProcessingModelParameter(name))
    detect = QgsProcessingModelChildAlgorithm(ALGORITHM)
    detect.setChildId("detect")
    for name in ("BEFORE", "AFTER"):
        detect.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromModelParameter(name)])
    detect.addParameterSources("MODEL", [QgsProcessingModelChildParameterSource.fromStaticValue("standin")])
    model.addChildAlgorithm(detect)
    count = QgsProcessingModelChildAlgorithm("native:rasterlayeruniquevaluesreport")
    count.setChildId("count")
    count.addParameterSources("INPUT", [QgsProcessingModelChildParameterSource.fromChildOutput("detect", "MASK")])
    count.addParameterSources("BAND", [QgsProcessingModelChildParameterSource.fromStaticValue(1)])
    model.addChildAlgorithm(count)
    context = QgsProcessingContext()
    parameters = {"BEFORE": asked["BEFORE"], "AFTER": asked["AFTER"]}
    results, done = model.run(parameters, context, QgsProcessingFeedback(False))
    assert done
    children = context.modelResult().childResults() if hasattr(context, "modelResult") else results
    assert children["detect"].outputs()["CHANGED_PIXELS"] == 2400
    assert children["count"].outputs()["NODATA_PIXEL_COUNT"] == 5 * 340
    assert children["count"].outputs()["TOTAL_PIXEL_COUNT"] == 300 * 340


def test_a_layer_is_called_as_the_model_says_that_made_it(provider, engine, asked: dict) -> None:
    model = QgsProcessingModelAlgorithm("change", "tests")
    detect = QgsProcessingModelChildAlgorithm(ALGORITHM)
    detect.setChildId("detect")
    for name in ("BEFORE", "AFTER", "MODEL"):
        detect.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromStaticValue(asked[name])])
    output = QgsProcessingModelOutput("urban", "urban")
    output.setChildId("detect")
    output.setChildOutputName("MASK")
    detect.setModelOutputs({"urban": output})
    model.addChildAlgorithm(detect)
    model.updateDestinationParameters()
    processing.runAndLoadResults(model, {"urban": "TEMPORARY_OUTPUT"})
    project = QgsProject.instance()
    assert [layer.name() for layer in project.mapLayers().values()] == ["urban"]
    project.clear()
