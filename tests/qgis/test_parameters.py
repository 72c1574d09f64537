"""What each parameter becomes on the engine's command line."""

import json
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import processing
import pytest
from osgeo import gdal
from qgis.core import (
    NULL,
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)

from tests.qgis.conftest import PYTHON, REPOSITORY

COMMANDS = {
    "detectchange": "detect",
    "checkpair": "check",
    "preparescene": "stack",
    "evaluatechange": "compare",
    "applyreview": "review",
    "drawsample": "sample",
    "estimatearea": "area",
    "exporttrainingdata": "chips",
}
ALGORITHMS = tuple(COMMANDS)
# The engine's commands with their options, and these options' defaults and choices.
_DUMP = """
import json
from s2change_plugin.engine.__main__ import main
said = {name: {option: one.default for one in command.params for option in (*one.opts, *one.secondary_opts)} for name, command in main.commands.items()}
choices = {name: {option: getattr(one.type, "choices", None) for one in command.params for option in one.opts} for name, command in main.commands.items()}
print(json.dumps([said, choices], default=lambda value: None))
"""


@pytest.fixture
def dates(tmp_path: Path) -> dict:
    """Parameters of a plain run of all that compare; the files need not exist."""
    return {"BEFORE": "/data/a.tif", "AFTER": "/data/b.tif", "MASK": str(tmp_path / "mask.tif")}


@pytest.fixture
def scene(tmp_path: Path) -> dict:
    """Parameters of a plain preparation."""
    return {"INPUT": "/data/a.tif", "OUTPUT": str(tmp_path / "scene.tif")}


@pytest.fixture
def areas():
    """Two squares in memory, in the project."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631&field=kind:string", "areas", "memory")
    squares = []
    for left in (500500, 502000):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(left, 4998000, left + 1000, 4999000)))
        feature.setAttribute("kind", f"at {left}")
        squares.append(feature)
    layer.dataProvider().addFeatures(squares)
    QgsProject.instance().addMapLayer(layer)
    yield layer
    QgsProject.instance().removeAllMapLayers()


def definitions(name: str) -> list:
    """An algorithm's parameters; the provider's own one, since its definitions live as long as it does."""
    return QgsApplication.processingRegistry().algorithmById(f"s2change:{name}").parameterDefinitions()


def polygons(source: str) -> int:
    """How many there are in what an option names."""
    layer = QgsVectorLayer(source, "there", "ogr")
    assert layer.isValid(), source
    return layer.featureCount()


def saved(areas, file: Path, name: str) -> None:
    """Write a layer into a file, beside those that are there."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerName = name
    if file.exists():
        options.actionOnExistingFile = QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteLayer
    QgsVectorFileWriter.writeAsVectorFormatV3(areas, str(file), QgsProject.instance().transformContext(), options)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_option_is_one_of_the_engines_and_has_its_default(provider, name: str) -> None:
    done = subprocess.run([PYTHON, "-c", _DUMP], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    commands, choices = json.loads(done.stdout)
    known = commands[COMMANDS[name]]
    for definition in definitions(name):
        option = f"--{definition.name().lower().replace('_', '-')}"
        if isinstance(definition, QgsProcessingParameterRasterLayer) or definition.name() == "EXTENT" or option == "--output":
            continue
        default = definition.defaultValue()
        assert (
            definition.name().lower() if definition.name() in ("REFERENCE", "CHANGE", "DATA", "SAMPLE", "AREAS") else option
        ) in known
        if isinstance(definition, QgsProcessingParameterEnum):
            values = definition.metadata().get("values", definition.options())
            assert values == choices[COMMANDS[name]][option]
            assert len(values) == len(definition.options())
            assert known[option] == (default if definition.usesStaticStrings() else values[default])
        elif isinstance(default, bool):
            # A flag without a default is off.
            assert bool(known[option]) == default
        elif default is not None and not definition.isDestination():
            assert known[option] == default
        assert default is not True or option.replace("--", "--no-", 1) in known


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_parameter_has_help_and_those_for_few_are_advanced(provider, name: str) -> None:
    plain = {
        "MODEL",
        "EXTENT",
        "AREA",
        "REFERENCE",
        "LABELLED",
        "CHANGE",
        "NO_CHANGE",
        "EXTEND",
        "NAME",
        "DETECTS",
        "LICENCE",
        "PROBABILITY",
        "SIZE",
        "SAMPLE",
        "AREAS",
    }
    for definition in definitions(name):
        assert definition.help()
        if not definition.isDestination():
            for_all = definition.name() in plain or isinstance(definition, QgsProcessingParameterRasterLayer)
            assert bool(definition.flags() & Qgis.ProcessingParameterFlag.Advanced) != for_all


def test_it_is_said_beforehand_that_the_shipped_weights_are_not_for_commercial_use(provider) -> None:
    helps = {one.name(): one.help() for one in definitions("detectchange")}
    for text in (provider.algorithm("detectchange").shortHelpString(), helps["MODEL"]):
        assert "trained on OSCD's labels and not for commercial use (CC BY-NC-SA 4.0)" in text


def test_it_is_said_that_level_2a_is_taken_too(provider) -> None:
    for text in (provider.algorithm("detectchange").shortHelpString(), (REPOSITORY / "metadata.txt").read_text("utf-8")):
        assert "trained on Level-1C images; Level-2A is taken with a warning" in text


def test_what_old_models_and_scripts_give_is_enough(typed, dates: dict, scene: dict) -> None:
    assert typed("detectchange", dates) == ["detect", "/data/a.tif", "/data/b.tif", "--mask", dates["MASK"]]
    assert typed("checkpair", {"BEFORE": "/data/a.tif", "AFTER": "/data/b.tif"}) == ["check", "/data/a.tif", "/data/b.tif"]
    assert typed("preparescene", scene) == ["stack", "/data/a.tif", scene["OUTPUT"]]


def test_defaults_are_left_to_the_engine(typed, dates: dict) -> None:
    given = {one.name(): one.defaultValue() for one in definitions("detectchange")}
    assert typed("detectchange", {**given, "PROBABILITY": None, **dates}) == typed("detectchange", dates)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CLOUDS": "none"}, ["--clouds", "none"]),
        ({"MASK_BUFFER": 120}, ["--mask-buffer", "120.0"]),
        ({"MASK_BUFFER": 0}, ["--mask-buffer", "0.0"]),
        ({"TRUST_UNITS": True}, ["--trust-units"]),
        ({"BEFORE_BANDS": " B02,B03 "}, ["--before-bands", "B02,B03"]),
        ({"AFTER_UNITS": "dn+1000"}, ["--after-units", "dn+1000"]),
        ({"ACCEPT_LEVEL": True}, ["--accept-level"]),
        ({"REGISTER": False}, ["--no-register"]),
        ({"MODEL": "mine"}, ["--model", "mine"]),
        ({"METHOD": "irmad"}, ["--method", "irmad"]),
        ({"METHOD": "unet", "MODEL": "mine"}, ["--model", "mine"]),
        # The dialog's box of models always names one.
        ({"METHOD": "cva", "MODEL": "mine"}, ["--method", "cva"]),
    ],
)
def test_both_that_compare_say_it_alike(typed, dates: dict, given: dict, said: list[str]) -> None:
    assert typed("detectchange", {**dates, **given}) == [*typed("detectchange", dates), *said]
    dates.pop("MASK")
    assert typed("checkpair", {**dates, **given}) == [*typed("checkpair", dates), *said]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"THRESHOLD": 0.25}, ["--threshold", "0.25"]),
        ({"THRESHOLD": 0}, ["--threshold", "0.0"]),
        # What a script has of an attribute that is empty.
        (dict.fromkeys(("THRESHOLD", "MASK_BUFFER", "REGISTER", "MODEL", "AREA", "EXTENT", "GOAL"), NULL), []),
        ({"GOAL": 0}, []),
        ({"GOAL": 1}, ["--goal", "precision"]),
        ({"GOAL": 2}, ["--goal", "recall"]),
        ({"NORMALISE": True}, ["--normalise"]),
        (
            {"EXTENT": "1,2,3,4 [EPSG:4326]"},
            ["--bounds", "1.0", "3.0", "2.0", "4.0", "--bounds-crs", "EPSG:4326"],
        ),
    ],
)
def test_what_only_a_detection_asks(typed, dates: dict, given: dict, said: list[str]) -> None:
    assert typed("detectchange", {**dates, **given}) == [*typed("detectchange", dates), *said]


@pytest.mark.parametrize(
    ("name", "given"), [("GOAL", "precision"), ("GOAL", 1), ("GOAL", "1"), ("GOAL", "Few false alarms (precision 0.8)"),
        ("CLOUDS", "spectral"), ("CLOUDS", "2")],
)  # fmt: skip
def test_a_choice_is_said_by_name_by_number_or_as_the_dialog_shows_it(typed, dates: dict, name: str, given: object) -> None:
    said = {"GOAL": ["--goal", "precision"], "CLOUDS": ["--clouds", "spectral"]}
    assert typed("detectchange", {**dates, name: given})[5:] == said[name]


def test_a_choice_that_there_is_not_is_answered_with_those_that_there_are(provider, dates: dict) -> None:
    detect = QgsApplication.processingRegistry().createAlgorithmById("s2change:detectchange")
    fits, reason = detect.checkParameterValues({**dates, "METHOD": "7"}, QgsProcessingContext())
    assert (fits, reason) == (False, "Method: '7' cannot be used. Choose one of unet, cva, irmad, pca.")


@pytest.mark.parametrize(
    ("name", "given"), [("detectchange", {"THRESHOLD": ""}), ("detectchange", {"THRESHOLD": " ", "AREA": ""})]
)
def test_an_empty_text_is_no_number(typed, dates: dict, name: str, given: dict) -> None:
    """Least of all 0, at which everything would be change."""
    assert typed(name, {**dates, **given}) == typed(name, dates)


def test_an_output_that_a_row_of_a_batch_leaves_empty_is_not_promised_to_be_loaded(provider, dates: dict) -> None:
    """QGIS would say of a row that went well that its layers were not made."""
    from s2change_plugin.processing.parameters import targets

    context, project = QgsProcessingContext(), QgsProject.instance()
    empty = {name: QgsProcessingOutputLayerDefinition("", project) for name in ("QUALITY", "POLYGONS", "PROBABILITY")}
    made = {"MASK": QgsProcessingOutputLayerDefinition(dates["MASK"], project)}
    algorithm = QgsApplication.processingRegistry().algorithmById("s2change:detectchange")
    assert targets(algorithm, {**dates, **made, **empty}, context) == {"MASK": dates["MASK"]}
    assert list(context.layersToLoadOnCompletion()) == [dates["MASK"]]


def test_what_a_preparation_asks(typed, scene: dict, tmp_path: Path, pair: Path) -> None:
    given = {"BANDS": "B02,B03", "UNITS": "dn", "CLOUDS": "spectral", "MASK_BUFFER": 20, "MASK": str(pair / "after.tif")}
    scene["QUALITY"] = str(tmp_path / "quality.tif")
    options = ["--bands", "B02,B03", "--units", "dn", "--clouds", "spectral", "--mask", str(pair / "after.tif")]
    assert typed("preparescene", {**scene, **given}) == [
        *("stack", "/data/a.tif", scene["OUTPUT"], "--quality", scene["QUALITY"]),
        *(*options, "--mask-buffer", "20.0"),
    ]


def test_what_an_evaluation_asks(typed, areas, tmp_path: Path, pair: Path) -> None:
    given = {"MASK": "/data/mask.tif", "REFERENCE": str(pair / "before.tif")}
    assert typed("evaluatechange", given) == ["compare", "/data/mask.tif", str(pair / "before.tif")]
    given |= {"CHANGE_VALUE": 2, "LABELLED": areas, "TABLE": str(tmp_path / "t.csv")}
    *said, polygons_option, path, value_option, value = typed("evaluatechange", given)
    assert said == ["compare", "/data/mask.tif", str(pair / "before.tif"), "--table", given["TABLE"]]
    assert (polygons_option, value_option, value) == ("--labelled", "--change-value", "2")
    assert polygons(path) == 2


def test_what_an_export_asks(typed, areas, tmp_path: Path) -> None:
    given = {"BEFORE": "/data/a.tif", "AFTER": "/data/b.tif", "CHANGE": areas, "DATA": str(tmp_path / "data")}
    *said, changed, data = typed("exporttrainingdata", given)
    assert (said, data) == (["chips", "/data/a.tif", "/data/b.tif"], given["DATA"])
    assert polygons(changed) == 2
    more = {
        "NO_CHANGE": areas,
        "NAME": "lyon",
        "LICENCE": "CC0",
        "DETECTS": "New roads.",
        "LEVEL": "L2A",
        "BLOCK": 3000,
        "FORCE": True,
        "CLOUDS": "none",
        "NORMALISE": True,
    }
    option, path, *said = typed("exporttrainingdata", {**given, **more})[5:]
    assert option == "--no-change"
    assert polygons(path) == 2
    labels = ["--name", "lyon", "--detects", "New roads.", "--licence", "CC0", "--level", "L2A"]
    assert said == [*labels, "--block", "3000.0", "--force", "--clouds", "none", "--normalise"]


def test_polygons_in_memory_become_a_file(typed, dates: dict, areas) -> None:
    for name in ("AREA", "BEFORE_MASK"):
        *_, option, path = typed("detectchange", {**dates, name: areas})
        assert option == f"--{name.lower().replace('_', '-')}"
        assert polygons(path) == 2


def test_selected_polygons_alone_count_where_that_is_asked(typed, dates: dict, areas) -> None:
    areas.selectByExpression("kind = 'at 502000'")
    chosen = QgsProcessingFeatureSourceDefinition(areas.id(), selectedFeaturesOnly=True)
    *_, path = typed("detectchange", {**dates, "AREA": chosen})
    assert polygons(path) == 1


@pytest.mark.parametrize("name", ["AREA", "BEFORE_MASK"])
def test_what_is_drawn_and_not_saved_counts(typed, dates: dict, areas, tmp_path: Path, name: str) -> None:
    file = tmp_path / "drawn.gpkg"
    saved(areas, file, "drawn")
    layer = QgsVectorLayer(str(file), "drawn", "ogr")
    QgsProject.instance().addMapLayer(layer)
    assert typed("detectchange", {**dates, name: layer})[-1] == str(file)
    layer.startEditing()
    layer.deleteFeature(1)
    assert polygons(typed("detectchange", {**dates, name: layer})[-1]) == 1
    layer.rollBack()
    del layer


def test_a_layer_of_many_in_a_file_is_named_and_its_filter_obeyed(typed, dates: dict, areas, tmp_path: Path) -> None:
    saved(areas, tmp_path / "many.gpkg", "fields")
    source = f"{tmp_path / 'many.gpkg'}|layername=fields"
    assert typed("detectchange", {**dates, "AREA": source})[-1] == source
    assert typed("detectchange", {**dates, "AFTER_MASK": source})[-1] == source
    filtered = QgsVectorLayer(source, "filtered", "ogr")
    filtered.setSubsetString("kind = 'at 502000'")
    QgsProject.instance().addMapLayer(filtered)
    *_, path = typed("detectchange", {**dates, "AREA": filtered})
    assert polygons(path) == 1
    *_, path = typed("detectchange", {**dates, "AFTER_MASK": filtered})
    assert polygons(path) == 1
    del filtered


def test_a_layer_that_is_named_by_its_number_is_that_one(typed, dates: dict, areas, tmp_path: Path) -> None:
    saved(areas, tmp_path / "many.gpkg", "both")
    areas.dataProvider().deleteFeatures([1])
    saved(areas, tmp_path / "many.gpkg", "one")
    for number, count in ((0, 2), (1, 1)):
        assert polygons(typed("detectchange", {**dates, "AREA": f"{tmp_path / 'many.gpkg'}|layerid={number}"})[-1]) == count


@pytest.mark.parametrize("edited", [False, True])
def test_a_filter_on_what_is_drawn_counts(typed, dates: dict, areas, tmp_path: Path, edited: bool) -> None:
    saved(areas, tmp_path / "drawn.gpkg", "drawn")
    layer = QgsVectorLayer(str(tmp_path / "drawn.gpkg"), "drawn", "ogr")
    QgsProject.instance().addMapLayer(layer)
    if edited:
        layer.startEditing()
        layer.changeAttributeValue(1, layer.fields().indexOf("kind"), "other")
    chosen = QgsProcessingFeatureSourceDefinition(layer.id(), filterExpression="kind = 'at 500500'")
    assert polygons(typed("detectchange", {**dates, "AREA": chosen})[-1]) == (0 if edited else 1)
    chosen = QgsProcessingFeatureSourceDefinition(layer.id(), filterExpression="kind = 'other'")
    assert polygons(typed("detectchange", {**dates, "AREA": chosen})[-1]) == (1 if edited else 0)
    layer.rollBack()
    del layer


@pytest.fixture
def filed(areas, tmp_path: Path):
    """A layer of two squares in a file, in the project."""
    saved(areas, tmp_path / "filed.gpkg", "filed")
    layer = QgsVectorLayer(str(tmp_path / "filed.gpkg"), "filed", "ogr")
    QgsProject.instance().addMapLayer(layer)
    yield layer
    layer.rollBack()


# What the dialog's wrench says of invalid polygons.
_UNFILTERED = {
    "flags": QgsProcessingFeatureSourceDefinition.Flag.FlagOverrideDefaultGeometryCheck,
    "geometryCheck": Qgis.InvalidGeometryCheck.NoCheck,
}


@pytest.mark.parametrize("name", ["AREA", "BEFORE_MASK"])
def test_of_the_selected_polygons_those_that_are_not_saved_count_too(typed, dates: dict, filed, name: str) -> None:
    filed.startEditing()
    # As QGIS's own tools draw: with a number that is a text.
    square = QgsGeometry.fromRect(QgsRectangle(504000, 4998000, 505000, 4999000))
    filed.addFeature(QgsVectorLayerUtils.createFeature(filed, square))
    filed.selectByExpression("kind IS NULL OR kind = 'at 502000'")
    assert filed.selectedFeatureCount() == 2
    chosen = QgsProcessingFeatureSourceDefinition(filed.id(), selectedFeaturesOnly=True)
    assert polygons(typed("detectchange", {**dates, name: chosen})[-1]) == 2


@pytest.mark.parametrize("name", ["AREA", "BEFORE_MASK"])
def test_what_is_not_saved_counts_whatever_the_dialog_says_of_invalid_polygons(typed, dates: dict, filed, name: str) -> None:
    filed.startEditing()
    filed.deleteFeature(1)
    chosen = QgsProcessingFeatureSourceDefinition(filed.id(), **_UNFILTERED)
    assert polygons(typed("detectchange", {**dates, name: chosen})[-1]) == 1


def test_polygons_lie_where_their_layer_says_whatever_the_dialog_says_of_invalid_ones(typed, dates: dict, filed) -> None:
    filed.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    chosen = QgsProcessingFeatureSourceDefinition(filed.id(), **_UNFILTERED)
    *_, path = typed("detectchange", {**dates, "AREA": chosen})
    assert QgsVectorLayer(path, "there", "ogr").crs().authid() == "EPSG:32632"


@pytest.mark.parametrize("name", ["AREA", "BEFORE_MASK"])
@pytest.mark.parametrize("kind", ["drawn", "edited"])
def test_messages_name_a_layer_as_it_is_called_and_not_its_copy(
    provider, engine, pair: Path, filed, kind: str, name: str
) -> None:
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631", "clouds of May", "memory") if kind == "drawn" else filed
    layer.setName("clouds of May")
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    far = QgsGeometry.fromRect(QgsRectangle(604000, 5998000, 605000, 5999000))
    layer.selectAll()
    layer.deleteSelectedFeatures()
    layer.addFeature(QgsVectorLayerUtils.createFeature(layer, far))
    if kind == "drawn":
        layer.commitChanges()
    feedback = QgsProcessingFeedback(False)
    asked = {"BEFORE": str(pair / "before.tif"), "AFTER": str(pair / "after.tif"), "MODEL": "standin", name: layer.id()}
    with suppress(QgsProcessingException):
        processing.run("s2change:checkpair", asked, feedback=feedback)
    assert re.search("“clouds of May”.* does not meet", feedback.textLog())
    assert not re.search(f"processing_|{name}", feedback.textLog())
    del layer


def test_polygons_lie_where_their_layer_says(typed, dates: dict, areas, tmp_path: Path) -> None:
    saved(areas, tmp_path / "fields.gpkg", "fields")
    layer = QgsVectorLayer(str(tmp_path / "fields.gpkg"), "fields", "ogr")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    QgsProject.instance().addMapLayer(layer)
    *_, path = typed("detectchange", {**dates, "AREA": layer})
    assert QgsVectorLayer(path, "there", "ogr").crs().authid() == "EPSG:32632"
    del layer


@pytest.fixture
def moved(pair: Path, tmp_path: Path):
    """A layer of which QGIS was told another CRS than its file has, which is of zone 31."""
    shutil.copyfile(pair / "before.tif", tmp_path / "moved.tif")
    layer = QgsRasterLayer(str(tmp_path / "moved.tif"), "moved")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    QgsProject.instance().addMapLayer(layer)
    yield layer
    QgsProject.instance().removeAllMapLayers()


def test_a_raster_lies_where_its_layer_or_the_user_says(typed, dates: dict, scene: dict, moved) -> None:
    assert typed("preparescene", {**scene, "INPUT": moved})[-2:] == ["--crs", "EPSG:32632"]
    for name in ("detectchange", "checkpair"):
        assert typed(name, {**dates, "AFTER": "moved"})[-2:] == ["--after-crs", "EPSG:32632"]
        said = typed(name, {**dates, "AFTER": moved, "AFTER_CRS": "EPSG:32633", "BEFORE_CRS": "EPSG:32634"})
        assert said[-4:] == ["--before-crs", "EPSG:32634", "--after-crs", "EPSG:32633"]
    moved.setCrs(QgsCoordinateReferenceSystem.fromProj("+proj=utm +zone=31 +lon_0=4 +a=6378000 +b=6356000 +units=m"))
    *_, option, text = typed("detectchange", {**dates, "AFTER": moved})
    assert option == "--after-crs"
    assert "6378000" in text
    with pytest.raises(QgsProcessingException, match="'EPSG:326322' is no CRS that is known"):
        typed("detectchange", {**dates, "AFTER": moved, "AFTER_CRS": "EPSG:326322"})
    moved.setCrs(moved.dataProvider().crs())
    assert "--after-crs" not in typed("detectchange", {**dates, "AFTER": moved})


def test_a_raster_that_the_engine_takes_by_its_file_must_lie_where_qgis_shows_it(
    typed, dates: dict, moved, tmp_path: Path
) -> None:
    said = "has EPSG:32632 .* in QGIS, and its file another CRS"
    with pytest.raises(QgsProcessingException, match=f"Change mask: the layer 'moved' {said}"):
        typed("evaluatechange", {"MASK": moved, "REFERENCE": "a.tif"})
    detection, context = QgsApplication.processingRegistry().createAlgorithmById("s2change:detectchange"), QgsProcessingContext()
    feedback = QgsProcessingFeedback(False)
    assert not detection.run({**dates, "AFTER_MASK": moved}, context, feedback)[1]
    assert re.search(f"Mask of after: the layer 'moved' {said}", feedback.textLog())


@pytest.fixture
def gaps(tmp_path: Path):
    """Put layers of files into the project, of which QGIS may be told what is no data: of each band what it is told, and what the file declares."""

    def put(
        name: str,
        told: tuple[float, float] | None = None,
        declared: float | None = None,
        ticked: bool = True,
        kind: int = gdal.GDT_UInt16,
    ) -> None:
        raster = gdal.GetDriverByName("GTiff").Create(str(tmp_path / f"{name}.tif"), 20, 20, 2, kind)
        if declared is not None:
            raster.GetRasterBand(1).SetNoDataValue(declared)
        del raster
        layer = QgsRasterLayer(str(tmp_path / f"{name}.tif"), name)
        for band in (1, 2):
            layer.dataProvider().setUseSourceNoDataValue(band, ticked)
            if told is not None:
                layer.dataProvider().setUserNoDataValue(band, [QgsRasterRange(*told)])
        QgsProject.instance().addMapLayer(layer)

    yield put
    QgsProject.instance().removeAllMapLayers()


_ADDED = "has values in QGIS that count as no data ({}), and its file does not say so. Write them into the file"
_TAKEN = "takes {} for a value in QGIS, and its file says that it is no data. Write a file that does not"


def test_what_is_no_data_in_qgis_alone_is_refused_and_not_read_as_if_it_were_ground(
    typed, dates: dict, scene: dict, gaps
) -> None:
    gaps("gaps", (7, 7))
    gaps("holes", (1000, 2000))
    gaps("untold", declared=9999, ticked=False)
    gaps("zero", (0, 0))
    gaps("full", (255, 255))
    mask = {"MASK": "/data/mask.tif", "REFERENCE": "full"}
    for name, given, said in (
        ("detectchange", {**dates, "AFTER": "gaps"}, f"After: the layer 'gaps' {_ADDED.format(7)}"),
        ("checkpair", {"BEFORE": "holes", "AFTER": "/data/b.tif"}, f"Before: the layer 'holes' {_ADDED.format('1000 to 2000')}"),
        ("preparescene", {**scene, "INPUT": "untold"}, f"Scene: the layer 'untold' {_TAKEN.format(9999)}"),
        ("evaluatechange", {**mask, "MASK": "zero"}, f"Change mask: the layer 'zero' {_ADDED.format(0)}"),
    ):
        with pytest.raises(QgsProcessingException, match=re.escape(said)):
            typed(name, given)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    for name, given, said in (
        ("detectchange", {**dates, "AFTER_MASK": "full"}, f"Mask of after: the layer 'full' {_ADDED.format(255)}"),
        ("evaluatechange", {**mask, "REFERENCE": "zero"}, f"Reference: the layer 'zero' {_ADDED.format(0)}"),
        ("evaluatechange", {**mask, "REFERENCE": "untold"}, f"Reference: the layer 'untold' {_TAKEN.format(9999)}"),
    ):
        feedback = QgsProcessingFeedback(False)
        assert not QgsApplication.processingRegistry().createAlgorithmById(f"s2change:{name}").run(given, context, feedback)[1]
        assert said in feedback.textLog()


def test_what_is_no_data_for_the_engine_too_may_be_so_in_qgis(typed, dates: dict, gaps, tmp_path: Path) -> None:
    """In scenes and masks of clouds 0, in change maps 255, and what the file says."""
    gaps("zero", (0, 0))
    gaps("told", (9999, 9999), declared=9999)
    gaps("zero untold", declared=0, ticked=False)
    gaps("full", (255, 255))
    said = typed("detectchange", {**dates, "BEFORE": "zero", "AFTER": "told", "AFTER_MASK": "zero untold"})
    assert said[1:3] == [str(tmp_path / "zero.tif"), str(tmp_path / "told.tif")]
    assert said[-1] == str(tmp_path / "zero untold.tif")
    assert typed("evaluatechange", {"MASK": "full", "REFERENCE": "told"})[1:] == [
        str(tmp_path / "full.tif"),
        str(tmp_path / "told.tif"),
    ]


def test_what_no_reflectance_can_be_may_be_no_data_in_qgis_where_a_scenes_file_declares_nothing(
    typed, dates: dict, gaps, tmp_path: Path
) -> None:
    """The engine takes −9999 for no data there; not where the file declares another, nor in a mask or change map."""
    gaps("filled", (-9999, -9999), kind=gdal.GDT_Float32)
    gaps("span", (-9999, -2001), kind=gdal.GDT_Int16)
    gaps("shallow", (-9999, -2000), kind=gdal.GDT_Float32)
    gaps("declared", (-9999, -9999), declared=7, kind=gdal.GDT_Float32)
    said = typed("detectchange", {**dates, "BEFORE": "filled", "AFTER": "span"})
    assert said[1:3] == [str(tmp_path / "filled.tif"), str(tmp_path / "span.tif")]
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    for name, given, told in (
        ("detectchange", {**dates, "AFTER": "shallow"}, f"After: the layer 'shallow' {_ADDED.format('-9999 to -2000')}"),
        ("detectchange", {**dates, "AFTER": "declared"}, f"After: the layer 'declared' {_ADDED.format(-9999)}"),
        ("detectchange", {**dates, "AFTER_MASK": "filled"}, f"Mask of after: the layer 'filled' {_ADDED.format(-9999)}"),
        ("evaluatechange", {"MASK": "filled", "REFERENCE": "a.tif"}, f"Change mask: the layer 'filled' {_ADDED.format(-9999)}"),
    ):
        feedback = QgsProcessingFeedback(False)
        algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"s2change:{name}")
        try:
            assert not algorithm.run(given, context, feedback)[1]
            text = feedback.textLog()
        except QgsProcessingException as error:
            text = str(error)
        assert told in text


def test_polygons_are_handed_on_whether_they_are_valid_or_not(typed, dates: dict, areas, tmp_path: Path) -> None:
    """The engine mends them."""
    bow = QgsFeature(areas.fields())
    bow.setGeometry(
        QgsGeometry.fromWkt("POLYGON((500500 4998000, 501000 4999000, 501000 4998000, 500500 4999000, 500500 4998000))")
    )
    areas.dataProvider().addFeatures([bow])
    saved(areas, tmp_path / "bow.gpkg", "bow")
    layer = QgsVectorLayer(str(tmp_path / "bow.gpkg"), "bow", "ogr")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    QgsProject.instance().addMapLayer(layer)
    assert polygons(typed("detectchange", {**dates, "AREA": layer})[-1]) == 3
    del layer


def test_a_raster_layer_is_a_mask_by_its_file(typed, dates: dict, pair: Path) -> None:
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(pair / "before.tif"), "clouds"))
    assert typed("detectchange", {**dates, "AFTER_MASK": "clouds"})[-2:] == ["--after-mask", str(pair / "before.tif")]
    QgsProject.instance().removeAllMapLayers()


def test_a_layer_without_a_file_that_the_engine_can_open_is_to_be_exported(typed, dates: dict) -> None:
    """What QGIS has in its memory no other program sees."""
    gdal.GetDriverByName("GTiff").Create("/vsimem/scratch.tif", 20, 20, 2, gdal.GDT_UInt16).FlushCache()
    inline = '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="UInt16" band="1"/></VRTDataset>'
    for source, kind in (("/vsimem/scratch.tif", "in the memory of QGIS"), (inline, "a VRT in the project")):
        layer = QgsRasterLayer(source, "scratch")
        assert layer.isValid()
        QgsProject.instance().addMapLayer(layer)
        said = rf"After: the layer 'scratch' \({kind}\) has no raster file .* Export it as GeoTIFF first"
        with pytest.raises(QgsProcessingException, match=said):
            typed("detectchange", {**dates, "AFTER": layer})
        del layer
    QgsProject.instance().removeAllMapLayers()
    gdal.Unlink("/vsimem/scratch.tif")


def test_a_mask_that_is_not_there_is_said(typed, dates: dict) -> None:
    with pytest.raises(QgsProcessingException, match="Mask of before"):
        typed("detectchange", {**dates, "BEFORE_MASK": "/nowhere/clouds.gpkg"})


@pytest.mark.parametrize(
    "source",
    [
        "/data/S2A_MSIL1C_20230823T105541_N0509_R051_T31TDH_20230824T020406.SAFE",
        "/data/S2A_MSIL1C_20230823T105541_N0509_R051_T31TDH_20230824T020406.zip",
        "/data/S2A.SAFE/MTD_MSIL1C.xml",
        "SENTINEL2_L1C:/data/S2A.SAFE/MTD_MSIL1C.xml:10m:EPSG_32643",
        "SENTINEL2_L2A:/vsizip//data/S2A.zip/S2A.SAFE/MTD_MSIL2A.xml:20m:EPSG_32643",
    ],
)
def test_a_product_goes_to_the_engine_as_it_is_named(typed, dates: dict, scene: dict, source: str) -> None:
    context = QgsProcessingContext()
    check = QgsApplication.processingRegistry().algorithmById("s2change:checkpair")
    assert check.checkParameterValues({"BEFORE": source, "AFTER": "/b.tif"}, context) == (True, "")
    assert typed("detectchange", {**dates, "BEFORE": source})[1] == source
    assert typed("preparescene", {**scene, "INPUT": source})[1] == source


def test_a_layer_that_qgis_makes_of_a_product_goes_on_by_its_name(typed, scene: dict, products: list[Path]) -> None:
    name = f"SENTINEL2_L1C:{products[1] / 'MTD_MSIL1C.xml'}:10m:EPSG_32631"
    layer = QgsRasterLayer(name, "dragged in")
    assert layer.isValid()
    QgsProject.instance().addMapLayer(layer)
    del layer
    assert typed("preparescene", {**scene, "INPUT": "dragged in"})[1] == name
    QgsProject.instance().removeAllMapLayers()
