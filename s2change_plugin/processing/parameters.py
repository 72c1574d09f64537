"""The parameters that the algorithms share, and how any parameter is said to the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import (
    NULL,
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsExpressionContext,
    QgsFeatureRequest,
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingUtils,
    QgsProperty,
    QgsRasterLayer,
    QgsVectorLayer,
)

from .models import AUTO, model_names
from .sources import crs_text, file_of, layer_of, own_crs, require_own_crs, require_own_nodata

if TYPE_CHECKING:
    from .algorithm import EngineAlgorithm

_UNITS = ["auto", "dn", "dn+1000", "reflectance"]
_METHODS = ["unet", "cva", "irmad", "pca"]
_GOALS = {"f1": "Best balance (F1)", "precision": "Few false alarms (precision 0.8)", "recall": "Little missed (recall 0.8)"}
_CLOUDS = ["auto", "product", "spectral", "none"]
# Formats that the engine reads as they are; others are copied to the first.
_VECTOR_FILES = ["gpkg", "shp", "geojson", "fgb"]
# What is given as a value and not by its place.
_CHOSEN = (QgsProcessingParameterBoolean, QgsProcessingParameterEnum, QgsProcessingParameterNumber)


def scene(name: str, label: str, which: str) -> QgsProcessingParameterDefinition:
    """One date."""
    return told(
        QgsProcessingParameterRasterLayer(name, label),
        f"{which}: a layer, or the path of a Sentinel-2 product (SAFE folder, its zip, or its MTD xml), of a raster, or of a "
        "folder of single-band files. Of a product's layer the whole product is read, and of a file such as …_B02.tif all bands beside it. The button … picks "
        "files: of a product its zip or MTD xml, of a folder any band.",
    )


def change_mask() -> QgsProcessingParameterDefinition:
    """The result that is to be looked at."""
    return told(
        QgsProcessingParameterRasterLayer("MASK", "Change mask"),
        "1 change, 0 no change, 255 not observed, as Detect change makes it.",
    )


def model() -> QgsProcessingParameterDefinition:
    """Which model, by name or path."""
    definition = QgsProcessingParameterString("MODEL", "Model", AUTO)
    definition.setMetadata({"widget_wrapper": {"class": "s2change_plugin.gui.model_widget.ModelWidgetWrapper"}})
    return told(
        definition,
        "auto: of the models that ship, the more accurate one where both dates are Level-1C with all 13 bands, else the one of ten bands. "
        f"Or the name of a model (installed: {', '.join(model_names()) or 'none'}), or the path of a .safetensors file with its card (.json) "
        "beside it. Other methods than unet do without. "
        "The weights that ship are trained on OSCD's labels and not for commercial use (CC BY-NC-SA 4.0).",
    )


def method() -> QgsProcessingParameterDefinition:
    """What finds change."""
    return advanced(
        QgsProcessingParameterEnum("METHOD", "Method", _METHODS, defaultValue="unet", optional=True, usesStaticStrings=True),
        "unet: a model, which finds what it was trained for. The others need no model and find any change of the ground, not only urban: seasons, "
        "crops and water come out as change too. cva (change vector analysis): the length of the change over all bands. pca (PCA difference): the same over what "
        "moves many bands together. irmad (IR-MAD): change against how the two dates usually relate, by the chi-squared statistic.",
    )


def goal() -> QgsProcessingParameterDefinition:
    """Which of the model's thresholds counts."""
    definition = QgsProcessingParameterEnum("GOAL", "Goal", list(_GOALS.values()), defaultValue=0, optional=True)
    definition.setMetadata({"values": list(_GOALS)})
    return advanced(
        definition,
        "Which threshold of the model decides what is change: the one with the best balance of false alarms and missed change, or "
        "the one that was chosen for eight true of ten changed pixels on the map, at the price of most of the change, or for eight found of ten, at the "
        "price of much false change. The model's card says what was reached in places that it did not know. "
        "A model may lack the last two. Other methods than unet have one threshold only.",
    )


def area() -> QgsProcessingParameterDefinition:
    """The polygons that the user asks about."""
    return told(
        QgsProcessingParameterFeatureSource("AREA", "Area of interest", [Qgis.ProcessingSourceType.VectorPolygon], optional=True),
        "Polygons; what lies outside of them is not looked at (mask 255, quality 7) and not counted.",
    )


def bands(name: str, of: str) -> QgsProcessingParameterDefinition:
    """Which layer of a stack is which band."""
    return advanced(
        QgsProcessingParameterString(name, f"Bands of {of}", optional=True),
        f"The bands of {of} in their order, such as B02,B03,B04,B08; SCL is the scene classification, - skips a layer. Left empty: their descriptions tell. "
        "Products and folders of bands need none.",
    )


def crs(name: str, of: str, layer: str) -> QgsProcessingParameterDefinition:
    """Where an image lies, in the user's words; `layer` is the image's own parameter."""
    definition = QgsProcessingParameterCrs(name, f"CRS of {of}", optional=True)
    definition.setMetadata({"layer": layer})
    return advanced(
        definition,
        "Where its file has none or a wrong one. Left empty: the one that you gave the layer, else the file's. Products need none.",
    )


def units(name: str, of: str) -> QgsProcessingParameterDefinition:
    """How the numbers of a date become reflectance."""
    return advanced(
        QgsProcessingParameterEnum(name, f"Unit of {of}", _UNITS, defaultValue="auto", optional=True, usesStaticStrings=True),
        "dn: reflectance × 10000. dn+1000: with the offset of baseline 04.00 and later. auto: as the product or file says, else dn.",
    )


def trust_units() -> QgsProcessingParameterDefinition:
    """The user's word about units."""
    return advanced(
        QgsProcessingParameterBoolean("TRUST_UNITS", "Trust the units as they are given", False),
        "Goes on where the numbers speak against the units. Check them first: dates in different units look changed everywhere.",
    )


def accept_level() -> QgsProcessingParameterDefinition:
    """The user's word about the processing level."""
    return advanced(
        QgsProcessingParameterBoolean("ACCEPT_LEVEL", "Accept another processing level than the model's", False),
        "Takes, for example, Level-2A images with a model of Level-1C that was never tested on them. Its scores do not hold there. A "
        "level that the model was tested on in simulation only is taken with a warning, without this.",
    )


def clouds() -> QgsProcessingParameterDefinition:
    """Where the mask of clouds comes from."""
    return advanced(
        QgsProcessingParameterEnum("CLOUDS", "Cloud mask", _CLOUDS, defaultValue="auto", optional=True, usesStaticStrings=True),
        "product: the mask that the product brings. spectral: a test of the bands, made for Level-1C. none: clouds are taken for ground. "
        "auto: the product's, else the spectral test, but not for Level-2A.",
    )


def mask(name: str, of: str) -> QgsProcessingParameterDefinition:
    """The user's own mask of a date."""
    return advanced(
        QgsProcessingParameterMapLayer(
            name,
            f"Mask of {of}",
            optional=True,
            types=[Qgis.ProcessingSourceType.Raster, Qgis.ProcessingSourceType.VectorPolygon],
        ),
        f"Where {of} is not usable, such as clouds that you have drawn: polygons, a raster that is not 0 there, or a scene classification (SCL).",
    )


def mask_buffer() -> QgsProcessingParameterDefinition:
    """How much further clouds reach than their mask."""
    definition = QgsProcessingParameterNumber(
        "MASK_BUFFER", "Widen clouds and shadows by (m)", Qgis.ProcessingNumberParameterType.Double, 60, True, 0, 5000
    )
    definition.setMetadata({"widget_wrapper": {"decimals": 0}})
    return advanced(definition, "Metres. Masks are tight, and the rim of a cloud is easily taken for change.")


def register() -> QgsProcessingParameterDefinition:
    """Whether the dates are registered."""
    return advanced(
        QgsProcessingParameterBoolean("REGISTER", "Take out the shift between the dates", True),
        "Measures the sub-pixel shift and corrects it.",
    )


def normalise() -> QgsProcessingParameterDefinition:
    """Whether the dates are brought to one brightness."""
    return advanced(
        QgsProcessingParameterBoolean("NORMALISE", "Bring after to the brightness of before", False),
        "Evens out haze, another sun or another season, measured on ground that did not change.",
    )


def told(definition: QgsProcessingParameterDefinition, help_text: str) -> QgsProcessingParameterDefinition:
    """A definition with its help."""
    definition.setHelp(help_text)
    return definition


def advanced(definition: QgsProcessingParameterDefinition, help_text: str) -> QgsProcessingParameterDefinition:
    """A definition with its help, for few."""
    definition.setFlags(definition.flags() | Qgis.ProcessingParameterFlag.Advanced)
    return told(definition, help_text)


def options(
    algorithm: EngineAlgorithm, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback
) -> list[str]:
    """What is given but arguments and outputs, as options of the engine's command; what is at its default is left to the engine.

    An option is named after its parameter: BEFORE_MASK is --before-mask. The dialog always names a model; it is said only to
    the method that has one.

    Raises:
        QgsProcessingException: a layer that cannot be handed on; one sentence.
    """
    said = []
    method = algorithm.parameterDefinition("METHOD")
    # The default, a model, is not said.
    without_model = method is not None and bool(_option(algorithm, method, parameters, context, feedback))
    for definition in algorithm.parameterDefinitions():
        is_argument = isinstance(definition, QgsProcessingParameterRasterLayer) or definition.name() in algorithm.ARGUMENTS
        is_silent = without_model and definition.name() == "MODEL"
        if not (definition.isDestination() or is_argument or is_silent):
            said += _option(algorithm, definition, parameters, context, feedback)
    return said


def choice_of(definition: QgsProcessingParameterEnum, value: object) -> str | None:
    """What the engine calls a choice that is given by that name, by what the dialog shows, or by its number; None where it is none of them."""
    shown, text = definition.options(), str(value)
    names = choices(definition)
    if text in shown:
        return names[shown.index(text)]
    if text in names:
        return text
    return names[int(text)] if text.isdecimal() and int(text) < len(names) else None


def choices(definition: QgsProcessingParameterEnum) -> list[str]:
    """What the engine calls the choices; the dialog may show others' words for them."""
    return list(definition.metadata().get("values", definition.options()))


def no_choice(definition: QgsProcessingParameterEnum, value: object) -> str:
    """A sentence on a value that is none of the choices."""
    return f"{definition.description()}: {value!r} cannot be used. Choose one of {', '.join(choices(definition))}."


def targets(algorithm: QgsProcessingAlgorithm, parameters: dict, context: QgsProcessingContext) -> dict[str, str]:
    """Output to the file or folder that is to be written, of those that are asked for."""
    files = {}
    for definition in algorithm.destinationParameterDefinitions():
        if _is_left_out(parameters.get(definition.name())):
            continue
        is_layer = not isinstance(definition, (QgsProcessingParameterFileDestination, QgsProcessingParameterFolderDestination))
        path_of = algorithm.parameterAsOutputLayer if is_layer else algorithm.parameterAsFileOutput
        files[definition.name()] = path_of(parameters, definition.name(), context)
    return {name: path for name, path in files.items() if path}


def _is_left_out(value: object) -> bool:
    """Whether a batch has an empty place for an output; asked for its path, QGIS would promise to load it."""
    return isinstance(value, QgsProcessingOutputLayerDefinition) and not value.sink.valueAsString(QgsExpressionContext())[0]


def is_empty(value: object) -> bool:
    """Whether a value is none: a script's of an attribute that is empty is NULL, and a text without a letter is no number, least of all 0."""
    return value is None or value == NULL or (isinstance(value, str) and not value.strip())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def option_name(name: str) -> str:
    """A parameter's option on the engine's command line."""
    return f"--{name.lower().replace('_', '-')}"


def _option(
    algorithm: QgsProcessingAlgorithm,
    definition: QgsProcessingParameterDefinition,
    parameters: dict,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
) -> list[str]:
    name, option = definition.name(), option_name(definition.name())
    value = parameters.get(name)
    if isinstance(definition, QgsProcessingParameterCrs):
        place = _crs(algorithm, definition, parameters, context)
        return [option, crs_text(place)] if place.isValid() else []
    if is_empty(value):
        return []
    # QGIS itself takes a default for what it cannot read, and a model does not check its steps.
    if isinstance(value, QgsProperty) and isinstance(definition, _CHOSEN):
        value = value.valueAsString(context.expressionContext(), "")[0]
        if is_empty(value):
            raise QgsProcessingException(
                f"{definition.description()}: its expression says nothing. Correct it, or choose a value."
            )
    if isinstance(definition, QgsProcessingParameterBoolean):
        if isinstance(value, str) and value.strip().lower() not in ("true", "false", "1", "0"):
            raise QgsProcessingException(f"{definition.description()}: {value!r} cannot be used. Choose one of true, false.")
        on = algorithm.parameterAsBoolean(parameters, name, context)
        if on == bool(definition.defaultValue()):
            return []
        return [option if on else f"--no-{option.removeprefix('--')}"]
    if isinstance(definition, QgsProcessingParameterExtent):
        return _bounds(algorithm, name, parameters, context)
    if isinstance(definition, QgsProcessingParameterNumber):
        if isinstance(value, str) and not _is_number(value):
            raise QgsProcessingException(f"{definition.description()}: {value!r} is no number. Give one such as 0.5.")
        whole = definition.dataType() == Qgis.ProcessingNumberParameterType.Integer
        number = (algorithm.parameterAsInt if whole else algorithm.parameterAsDouble)(parameters, name, context)
        return [] if number == definition.defaultValue() else [option, repr(number)]
    if isinstance(definition, QgsProcessingParameterEnum):
        text = choice_of(definition, value)
        if text is None:
            raise QgsProcessingException(no_choice(definition, value))
        return [] if not text or text == choice_of(definition, definition.defaultValue()) else [option, text]
    if isinstance(definition, QgsProcessingParameterString):
        text = algorithm.parameterAsString(parameters, name, context).strip()
    else:
        text = layer_file(algorithm, name, parameters, context, feedback)
    return [option, text] if text and text != definition.defaultValue() else []


def _crs(
    algorithm: QgsProcessingAlgorithm, definition: QgsProcessingParameterCrs, parameters: dict, context: QgsProcessingContext
) -> QgsCoordinateReferenceSystem:
    """The one that is given, else the one that the layer got in QGIS; invalid where the file's counts."""
    require_known_crs(algorithm, definition, parameters, context)
    given = algorithm.parameterAsCrs(parameters, definition.name(), context)
    layer = layer_of(algorithm, parameters, definition.metadata()["layer"], context)
    return given if given.isValid() or layer is None else own_crs(layer)


def require_known_crs(
    algorithm: QgsProcessingAlgorithm, definition: QgsProcessingParameterCrs, parameters: dict, context: QgsProcessingContext
) -> None:
    """Refuse a text that QGIS would take for no CRS at all, so that another one counted.

    Raises:
        QgsProcessingException: one sentence.
    """
    text = parameters.get(definition.name())
    is_text = isinstance(text, str) and not is_empty(text)
    if is_text and not algorithm.parameterAsCrs(parameters, definition.name(), context).isValid():
        raise QgsProcessingException(
            f"{definition.description()}: {text!r} is no CRS that is known. Give one such as EPSG:32631."
        )


def _bounds(algorithm: QgsProcessingAlgorithm, name: str, parameters: dict, context: QgsProcessingContext) -> list[str]:
    extent = algorithm.parameterAsExtent(parameters, name, context)
    if extent.isNull():
        raise QgsProcessingException(
            f"{algorithm.parameterDefinition(name).description()}: {parameters[name]!r} is no extent. Draw one, or pick a layer."
        )
    edges = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
    said = ["--bounds", *(repr(value) for value in edges)]
    crs = algorithm.parameterAsExtentCrs(parameters, name, context)
    if crs.isValid():
        said += ["--bounds-crs", crs_text(crs)]
    return said


def layer_file(
    algorithm: EngineAlgorithm,
    name: str,
    parameters: dict,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
) -> str:
    """The file of a raster layer, or of polygons: a copy, where they are not in a file as they are (in memory, filtered, selected,
    edited and not saved, in another CRS than the file says).

    Raises:
        QgsProcessingException: there is none; one sentence.
    """
    definition = algorithm.parameterDefinition(name)
    layer: QgsMapLayer | None = None
    if isinstance(definition, QgsProcessingParameterMapLayer):
        layer = algorithm.parameterAsLayer(parameters, name, context)
    if isinstance(layer, QgsRasterLayer):
        require_own_crs(layer, definition.description())
        source = file_of(layer, definition.description())
        require_own_nodata(layer, definition.description(), algorithm.FILL)
        remember(algorithm, source, layer)
        return source
    value = parameters.get(name)
    # QGIS finds no layer behind a selection or filter of one.
    whole = value.source if isinstance(value, QgsProcessingFeatureSourceDefinition) else value
    drawn = algorithm.parameterAsVectorLayer({name: whole}, name, context)
    if drawn is not None and _differs_from_its_file(drawn):
        source = algorithm.parameterAsSource(parameters, name, context)
        # The engine mends what is invalid, here as elsewhere.
        source.setInvalidGeometryCheck(Qgis.InvalidGeometryCheck.NoCheck)
        # A copy leaves out, without a word, what has the number of another or a text for one, as what is drawn and not saved has
        # (https://github.com/qgis/QGIS/issues/38913). So it gets numbers of its own.
        numbers = drawn.primaryKeyAttributes() if drawn.providerType() == "ogr" else []
        others = [place for place, field in enumerate(drawn.fields()) if place not in numbers and field.name().lower() != "fid"]
        request = QgsFeatureRequest().setSubsetOfAttributes(others if algorithm.WITH_ATTRIBUTES else [])
        parameters = {**parameters, name: source.materialize(request)}
    path, layer_name = algorithm.parameterAsCompatibleSourceLayerPathAndLayerName(
        parameters, name, context, _VECTOR_FILES, _VECTOR_FILES[0], feedback
    )
    if not path:
        raise QgsProcessingException(f"{definition.description()}: {value!r} cannot be read. Pick another layer.")
    source = f"{path}|layername={layer_name}" if layer_name else path
    remember(algorithm, source, drawn)
    return source


def remember(algorithm: EngineAlgorithm, source: str, layer: QgsMapLayer | None) -> None:
    """Keep what the layer behind a temporary file is called, be that a copy of it or a result."""
    if layer is not None and Path(QgsProcessingUtils.tempFolder()) in Path(source.partition("|")[0]).parents:
        algorithm.temporary[source] = layer.name()


def _differs_from_its_file(layer: QgsVectorLayer) -> bool:
    """Whether QGIS would hand on a file that holds something else than the layer shows."""
    # Of a layer named by its number in the file QGIS hands on the first.
    numbered = layer.providerType() == "ogr" and "|layerid=" in layer.source()
    fields = layer.fields()
    # Joined ones and those of expressions.
    more = any(fields.fieldOrigin(place) != Qgis.FieldOrigin.Provider for place in range(fields.count()))
    return layer.isModified() or own_crs(layer).isValid() or numbered or more
