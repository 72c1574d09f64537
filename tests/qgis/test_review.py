"""A change map's areas, from the detection to the reviewed mask, as a user of QGIS goes."""

import re
from pathlib import Path

import processing
import pytest
from osgeo import gdal
from qgis.core import (
    NULL,
    QgsApplication,
    QgsExpression,
    QgsFeature,
    QgsFeatureRequest,
    QgsField,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsRenderContext,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtCore import QMetaType, Qt

DETECT, REVIEW = "s2change:detectchange", "s2change:applyreview"


@pytest.fixture
def areas(provider, engine, pair: Path, tmp_path: Path):
    """The changed areas of a run, as the toolbox loads them; mask.tif lies beside."""
    asked = {"BEFORE": str(pair / "before.tif"), "AFTER": str(pair / "after.tif"), "MODEL": "standin"}
    asked |= {"MASK": str(tmp_path / "mask.tif"), "POLYGONS": str(tmp_path / "change.gpkg")}
    processing.runAndLoadResults(DETECT, asked)
    (layer,) = (one for one in QgsProject.instance().mapLayers().values() if isinstance(one, QgsVectorLayer))
    yield layer
    del layer
    # Its group, too.
    QgsProject.instance().clear()


def say(layer: QgsVectorLayer, answer: int) -> None:
    """Of all areas."""
    field = layer.fields().indexOf("review")
    for feature in list(layer.getFeatures()):
        assert layer.changeAttributeValue(feature.id(), field, answer)


def draw(layer: QgsVectorLayer, rectangle: str, answer: int) -> None:
    """An area of one's own."""
    feature = QgsVectorLayerUtils.createFeature(layer, QgsGeometry.fromWkt(rectangle))
    feature["review"] = answer
    assert layer.addFeature(feature)


def applied(layer: QgsVectorLayer, folder: Path, polygons: object = None) -> tuple[dict, int]:
    """What came out, and how many pixels of the mask are change."""
    asked = {"MASK": str(folder / "mask.tif"), "OUTPUT": str(folder / "reviewed.tif")}
    result = processing.run(REVIEW, {**asked, "AREAS": polygons or layer.id()})
    return result, int((gdal.Open(result["OUTPUT"]).ReadAsArray() == 1).sum())


def test_areas_wait_for_what_is_said_of_them_the_largest_first(areas: QgsVectorLayer) -> None:
    fields = areas.fields()
    assert areas.editorWidgetSetup(fields.indexOf("review")).type() == "ValueMap"
    choices = areas.editorWidgetSetup(fields.indexOf("review")).config()["map"]
    assert [value for one in choices for value in one.values()][:3] == ["1", "0", "255"]
    assert areas.editorWidgetSetup(fields.indexOf("fid")).type() == "Hidden"
    form = areas.editFormConfig()
    assert {field.name() for field in fields if not form.readOnly(fields.indexOf(field.name()))} == {"review", "note"}
    table = areas.attributeTableConfig()
    shown = [one.name for one in table.columns() if one.name and not one.hidden]
    assert shown[:4] == ["area_ha", "mean_probability", "review", "note"]
    assert set(shown) == {field.name() for field in fields} - {"fid"}
    assert table.sortExpression() == '"area_ha"'
    assert table.sortOrder() == Qt.SortOrder.DescendingOrder
    assert all(feature["review"] == NULL for feature in areas.getFeatures())


def test_each_answer_has_its_colour(areas: QgsVectorLayer) -> None:
    categories = {one.label(): one for one in areas.renderer().categories()}
    assert [one.value() for one in categories.values()] == [NULL, 1, 0, 255]
    assert list(categories) == ["nothing said yet", "change", "no change", "cannot be told"]
    lines = [one.symbol().symbolLayers()[1] for one in categories.values()]
    assert len({line.penStyle() for line in lines}) == 3
    assert [line.color().name() for line in lines] == ["#00ffff", "#ffffff", "#cdcdcd", "#ffbeeb"]
    renderer = areas.renderer()
    renderer.startRender(QgsRenderContext(), areas.fields())
    said = QgsVectorLayerUtils.createFeature(areas)
    for answer, line in zip((NULL, 1, 0, 255), lines, strict=True):
        said["review"] = answer
        assert renderer.symbolForFeature(said, QgsRenderContext()).symbolLayers()[1].color() == line.color()
    renderer.stopRender(QgsRenderContext())
    del categories, lines, renderer, said


def test_what_is_no_change_is_taken_out_though_it_is_not_saved(areas: QgsVectorLayer, tmp_path: Path) -> None:
    areas.startEditing()
    say(areas, 0)
    result, changed = applied(areas, tmp_path)
    assert changed == 0
    assert (result["CHANGE_AREAS"], result["NO_CHANGE_AREAS"], result["UNTOLD_AREAS"], result["OPEN_AREAS"]) == (0, 1, 0, 0)
    assert result["MAPPED_HA"] == result["LOOKED_AT_HA"] == result["REJECTED_HA"] > 20
    assert result["CHANGED_HA"] == result["ADDED_HA"] == 0
    declared = {one.name() for one in QgsApplication.processingRegistry().algorithmById(REVIEW).outputDefinitions()}
    assert set(result) <= declared
    assert areas.commitChanges()
    assert applied(areas, tmp_path)[0] == result


def test_a_field_of_an_expression_counts(areas: QgsVectorLayer, tmp_path: Path) -> None:
    plain = str(tmp_path / "plain.gpkg")
    gdal.VectorTranslate(plain, str(tmp_path / "change.gpkg"), SQLStatement="SELECT geom FROM change", SQLDialect="SQLite")
    layer = QgsVectorLayer(plain, "plain", "ogr")
    layer.addExpressionField("0", QgsField("review", QMetaType.Type.Int))
    QgsProject.instance().addMapLayer(layer)
    assert applied(layer, tmp_path)[1] == 0
    del layer


@pytest.mark.parametrize("ending", ["shp", "geojson"])
def test_areas_of_other_files_count_with_what_is_not_saved(areas: QgsVectorLayer, tmp_path: Path, ending: str) -> None:
    """Such as have a number of their own that QGIS would take for its own."""
    copy = str(tmp_path / f"areas.{ending}")
    gdal.VectorTranslate(
        copy, str(tmp_path / "change.gpkg"), SQLStatement="SELECT 1 AS FID, review, geom FROM change", SQLDialect="SQLite"
    )
    layer = QgsVectorLayer(copy, "copy", "ogr")
    QgsProject.instance().addMapLayer(layer)
    box = next(layer.getFeatures()).geometry().boundingBox()
    left, top = box.xMinimum(), box.yMaximum() + 100
    layer.startEditing()
    say(layer, 0)
    draw(layer, f"POLYGON(({left} {top}, {left + 20} {top}, {left + 20} {top - 20}, {left} {top - 20}, {left} {top}))", 1)
    assert applied(layer, tmp_path)[1] == 4
    layer.rollBack()
    del layer


@pytest.mark.parametrize("is_saved", [False, True])
def test_what_is_drawn_beside_counts_saved_or_not(areas: QgsVectorLayer, tmp_path: Path, is_saved: bool) -> None:
    (area,) = areas.getFeatures()
    box = area.geometry().boundingBox()
    left, top = box.xMinimum(), box.yMaximum()
    areas.startEditing()
    say(areas, 0)
    # Ten pixels by four beside it, and a part of it that is change after all.
    draw(
        areas,
        f"POLYGON(({left} {top + 100}, {left + 100} {top + 100}, {left + 100} {top + 60}, {left} {top + 60}, {left} {top + 100}))",
        1,
    )
    draw(areas, f"POLYGON(({left} {top}, {left + 50} {top}, {left + 50} {top - 50}, {left} {top - 50}, {left} {top}))", 1)
    if is_saved:
        assert areas.commitChanges()
    result, changed = applied(areas, tmp_path)
    assert changed == 40 + 25
    assert (result["CHANGE_AREAS"], result["NO_CHANGE_AREAS"]) == (2, 1)
    assert result["ADDED_HA"] == pytest.approx(0.4, rel=0.01)
    areas.rollBack()


def test_what_is_selected_alone_counts_where_that_is_asked(areas: QgsVectorLayer, tmp_path: Path) -> None:
    areas.startEditing()
    say(areas, 0)
    box = next(areas.getFeatures()).geometry().boundingBox()
    left, top = box.xMinimum(), box.yMaximum() + 100
    draw(areas, f"POLYGON(({left} {top}, {left + 20} {top}, {left + 20} {top - 20}, {left} {top - 20}, {left} {top}))", 1)
    assert areas.commitChanges()
    areas.selectByExpression('"review" = 1')
    _, changed = applied(areas, tmp_path, QgsProcessingFeatureSourceDefinition(areas.id(), selectedFeaturesOnly=True))
    assert changed == 2400 + 4


def test_the_result_is_a_mask_that_is_named_after_the_map(areas: QgsVectorLayer, tmp_path: Path) -> None:
    areas.startEditing()
    say(areas, 255)
    assert areas.commitChanges()
    mask = QgsRasterLayer(str(tmp_path / "mask.tif"), "harbour")
    QgsProject.instance().addMapLayer(mask)
    asked = {"MASK": mask.id(), "AREAS": areas.id(), "OUTPUT": str(tmp_path / "reviewed.tif")}
    processing.runAndLoadResults(REVIEW, asked)
    (layer,) = (one for one in QgsProject.instance().mapLayers().values() if one.source().endswith("reviewed.tif"))
    assert re.fullmatch("Reviewed change mask: harbour", layer.name())
    assert [one.label for one in layer.renderer().classes()] == ["no change", "change", "not observed"]
    assert QgsProject.instance().layerTreeRoot().findGroup("Review of harbour")
    del layer, mask


def test_areas_that_are_being_edited_or_reviewed_are_not_drawn_anew(areas: QgsVectorLayer, pair: Path, tmp_path: Path) -> None:
    asked = {"BEFORE": str(pair / "before.tif"), "AFTER": str(pair / "after.tif"), "MODEL": "standin"}
    asked |= {"MASK": str(tmp_path / "mask.tif"), "POLYGONS": str(tmp_path / "change.gpkg")}
    areas.startEditing()
    say(areas, 1)
    with pytest.raises(QgsProcessingException, match="of that file is being edited"):
        processing.run(DETECT, {**asked, "POLYGONS": QgsProperty.fromExpression(f"'{asked['POLYGONS']}'")})
    with pytest.raises(
        QgsProcessingException, match=re.escape(f"Changed areas: the layer {areas.name()!r} of that file is being edited")
    ):
        processing.run(DETECT, asked)
    assert areas.commitChanges()
    with pytest.raises(QgsProcessingException, match="is a map in which something is said of 1 area"):
        processing.run(DETECT, asked)


def test_a_map_of_which_nothing_is_said_is_refused_in_a_sentence(areas: QgsVectorLayer, tmp_path: Path) -> None:
    with pytest.raises(QgsProcessingException, match=re.escape(f"Nothing is said of any area in {tmp_path}")):
        applied(areas, tmp_path)
    assert not (tmp_path / "reviewed.tif").exists()


def test_a_map_tip_says_what_was_said(areas: QgsVectorLayer) -> None:
    areas.startEditing()
    say(areas, 0)
    area: QgsFeature = next(areas.getFeatures(QgsFeatureRequest()))
    context = areas.createExpressionContext()
    context.setFeature(area)
    tip = QgsExpression.replaceExpressionText(areas.mapTipTemplate(), context)
    assert "<b>no change</b>" in tip
    assert re.match(r"2\d\.\d\d ha, mean probability [01]\.\d\d", tip)
    area["area_ha"] = NULL
    area["note"] = "a <crane>"
    context.setFeature(area)
    tip = QgsExpression.replaceExpressionText(areas.mapTipTemplate(), context)
    assert tip.startswith("drawn")
    assert tip.endswith("<br>a &lt;crane>")
    areas.rollBack()
