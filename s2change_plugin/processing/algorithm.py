"""What the algorithms that run a command of the engine have in common."""

from __future__ import annotations

import html
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import chain, zip_longest
from math import inf
from pathlib import Path

from qgis.core import (
    Qgis,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorDestination,
    QgsProperty,
)
from qgis.PyQt.QtGui import QIcon

from ..paths import resources
from ..runtime.environment import missing_engine
from ..runtime.run import EngineCancelled, EngineError, is_main_thread, run_engine
from . import parameters as shared
from .sources import layer_of, require_own_crs, require_own_nodata, short_names, source_of
from .styles import layers_of, name_layers, renew_layers, style_outputs

MANUAL = "https://github.com/s2change/s2change"
HELP = f"{MANUAL}#in-qgis"


def quiet_when_cancelled(process: Callable[..., dict]) -> Callable[..., dict]:
    """A `processAlgorithm` that raises no `EngineCancelled`, which QGIS would log as critical: what the user wanted is no error.

    It says so and gives no results, as QGIS's own algorithms do; QGIS knows of the cancel. A script and qgis_process, which would go on with
    results that there are not, get a `QgsProcessingException`.
    """

    @wraps(process)
    def run(
        self: QgsProcessingAlgorithm, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict:
        try:
            return process(self, parameters, context, feedback)
        except EngineCancelled as error:
            # In the thread of a task of QGIS's own there is no Python that called.
            if is_main_thread() or sys._getframe().f_back:
                raise QgsProcessingException(str(error)) from error
            feedback.pushInfo(str(error))
            return {}

    return run


class EngineAlgorithm(QgsProcessingAlgorithm):
    """Parameters to a command of the engine: its raster layers first, then each parameter as the option of its name."""

    # The engine's command, and the layers that it takes as arguments after the raster layers, not as options.
    COMMAND: str
    ARGUMENTS: tuple[str, ...] = ()
    # Whether it reads more of polygons than their outlines.
    WITH_ATTRIBUTES = False
    # What the layers of its raster parameters are.
    TAKES = "a Sentinel-2 image that holds its bands, such as a product or a GeoTIFF"
    # What is no data in its rasters, whether their files say so or not: in a scene 0, and where a mask is 0 nothing is masked.
    FILL = 0
    # Below it too, in scenes whose files declare nothing: `engine.scene` takes no such number for reflectance.
    LOWEST = -2000.0
    # Files of layers, what the result is called, and then what its group is called.
    _written: Sequence[str] = ()
    _title = ""
    _group: Callable[[str], str] = str

    def __init__(self) -> None:
        super().__init__()
        # Temporary files that the engine is given, to the names of the layers whose data they hold.
        self.temporary: dict[str, str] = {}

    def createInstance(self) -> EngineAlgorithm:
        """A fresh one for each run."""
        return type(self)()

    def icon(self) -> QIcon:
        """The provider's."""
        return QIcon(str(resources() / "icon.svg"))

    def helpUrl(self) -> str:
        """The manual."""
        return HELP

    def canExecute(self) -> tuple[bool, str]:
        """Whether there is an engine to start."""
        problem = missing_engine()
        return not problem, problem

    def checkParameterValues(self, parameters: dict, context: QgsProcessingContext) -> tuple[bool, str]:
        """What is wrong with the parameters, in a sentence. Images may be paths that QGIS itself cannot open."""
        try:
            self._find_sources(parameters, context)
            self._require_unedited(parameters, context)
        except QgsProcessingException as error:
            return False, str(error)
        for definition in self.parameterDefinitions():
            value = parameters.get(definition.name())
            if isinstance(definition, QgsProcessingParameterRasterLayer) or (
                shared.is_empty(value) and _may_be_empty(definition)
            ):
                continue
            if isinstance(definition, QgsProcessingParameterCrs):
                try:
                    shared.require_known_crs(self, definition, parameters, context)
                except QgsProcessingException as error:
                    return False, str(error)
            is_choice = isinstance(definition, QgsProcessingParameterEnum)
            if is_choice and shared.choice_of(definition, value):
                continue
            if not definition.checkValueIsAcceptable(value, context):
                if value is None:
                    return False, self.invalidRasterError(parameters, definition.name())
                return False, shared.no_choice(definition, value) if is_choice else (
                    f"{definition.description()}: {value!r} cannot be used."
                )
            if definition.isDestination():
                fits, reason = definition.isSupportedOutputValue(value, context)
                if not fits:
                    return False, f"{definition.description()}: {reason}"
        return True, ""

    def prepareAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> bool:
        """Turn the parameters into a command, in the thread that owns the layers."""
        problem = missing_engine()
        if problem:
            raise QgsProcessingException(problem)
        self.sources = self._find_sources(parameters, context)
        self._require_unedited(parameters, context)
        layers = [layer_of(self, parameters, one.name(), context) for one in self._scenes()]
        self.names = short_names(self.sources, layers)
        self.temporary = {}
        for source, layer in zip_longest(self.sources, layers):
            shared.remember(self, source, layer)
        self._arguments = [shared.layer_file(self, name, parameters, context, feedback) for name in self.ARGUMENTS]
        self._options = shared.options(self, parameters, context, feedback)
        return True

    def run_command(self, outputs: list[str], feedback: QgsProcessingFeedback, messages: bool = True) -> dict:
        """The result event of the command.

        Args:
            outputs: what is to be written, as arguments.
            feedback: gets progress, and messages if asked, and says when to stop.
            messages: hand on what the engine says.

        Raises:
            QgsProcessingException: the engine gave no result; its sentence.
            EngineCancelled: the user stopped it.
        """
        try:
            return run_engine(
                [self.COMMAND, *self.sources, *self._arguments, *outputs, *self._options], feedback, messages, self.words
            )
        except EngineCancelled:
            raise
        except EngineError as error:
            raise QgsProcessingException(str(error)) from error

    def style(
        self, styles: dict[str, Path | None], title: str, group: Callable[[str], str], context: QgsProcessingContext
    ) -> None:
        """Style what was written, as `style_outputs` does, and let it be named after the run, as `name_layers` does."""
        self._written, self._title, self._group = list(styles), title, group
        style_outputs(styles, context)

    def postProcessAlgorithm(self, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Renew layers of older results, and keep new ones apart from them, in the thread that owns them."""
        renew_layers(self._written, context.project())
        kinds = [one.description() for one in self.destinationParameterDefinitions()]
        name_layers(self._written, kinds, self._title, self._group, context)
        return {}

    def words(self, text: str, quoted: Callable[[str], str] = str) -> str:
        """A sentence of the engine with the options that it names called as the dialog calls them, and temporary files as their layers are called."""
        said = Counter(chain.from_iterable(map(_spellings, self.temporary)))
        for source, name in self.temporary.items():
            # What stands for another one too says nothing.
            known = "|".join(re.escape(one) for one in _spellings(source) if one and said[one] == 1)
            text = re.sub(rf"(?<![\w/\\.-])(?:{known})(?![\w\[-])", lambda _, name=name: quoted(f"“{name}”"), text)
        # A check names what only a detection offers.
        known = (*self.parameterDefinitions(), shared.normalise(), shared.method())
        labels = {"--bounds": "Extent"} | {shared.option_name(one.name()): one.description() for one in known}
        return re.sub(r"--[a-z-]+", lambda found: f"“{labels[found[0]]}”" if found[0] in labels else found[0], text)

    def reword(self, page: str) -> None:
        """Let a page that the engine wrote speak as the dialog does."""
        Path(page).write_text(self.words(Path(page).read_text("utf-8"), html.escape), "utf-8")

    def _require_unedited(self, parameters: dict, context: QgsProcessingContext) -> None:
        """Refuse to write a file of which a layer is being edited: what was said there would be saved on the new one's polygons.

        Raises:
            QgsProcessingException: a sentence that names the layer.
        """
        for definition in self.destinationParameterDefinitions():
            target = parameters.get(definition.name())
            if not isinstance(definition, QgsProcessingParameterVectorDestination) or not target:
                continue
            # Asked for its path by `parameterAsOutputLayer`, QGIS would promise to load it.
            if isinstance(target, QgsProcessingOutputLayerDefinition):
                target = target.sink
            if isinstance(target, QgsProperty):
                target = target.valueAsString(context.expressionContext(), "")[0]
            for layer in layers_of([str(target)], context.project()) if target else ():
                if layer.isEditable():
                    raise QgsProcessingException(
                        f"{definition.description()}: the layer {layer.name()!r} of that file is being edited. End that, or choose another file."
                    )

    def _scenes(self) -> list[QgsProcessingParameterRasterLayer]:
        """The raster-layer parameters."""
        return [one for one in self.parameterDefinitions() if isinstance(one, QgsProcessingParameterRasterLayer)]

    def _find_sources(self, parameters: dict, context: QgsProcessingContext) -> list[str]:
        """What the raster-layer parameters name, in their order."""
        inputs = self._scenes()
        found = [source_of(self, parameters, definition.name(), context) for definition in inputs]
        placed = [one.metadata()["layer"] for one in self.parameterDefinitions() if isinstance(one, QgsProcessingParameterCrs)]
        for definition in inputs:
            layer = layer_of(self, parameters, definition.name(), context)
            if layer and definition.name() not in placed:
                require_own_crs(layer, definition.description())
            if layer:
                require_own_nodata(layer, definition.description(), self.FILL, self.LOWEST)
        # One file may hold both dates, which the engine then finds in other layers.
        bands = {
            self.parameterAsString(parameters, name, context)
            for name in ("BEFORE_BANDS", "AFTER_BANDS")
            if self.parameterDefinition(name)
        }
        if len(set(found)) < len(found) and len(bands) < 2:
            raise QgsProcessingException(f"Before and after are the same raster, {found[0]}. Pick two dates.")
        return found


class MaskAlgorithm(EngineAlgorithm):
    """One whose raster layer is a change mask."""

    TAKES = "a change mask, as Detect change makes it"
    FILL, LOWEST = 255, -inf


def _spellings(source: str) -> list[str]:
    """How the engine may name a file, the longest first: with its layer, its folders, one folder, or by its name."""
    path = Path(source.partition("|")[0])
    return list(dict.fromkeys((source, str(path), f"{path.parent.name}/{path.stem}", path.name, path.stem)))


def _may_be_empty(definition: QgsProcessingParameterDefinition) -> bool:
    optional = bool(definition.flags() & Qgis.ProcessingParameterFlag.Optional)
    return optional or definition.defaultValue() is not None
