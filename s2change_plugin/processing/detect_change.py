"""The algorithm `s2change:detectchange`."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    Qgis,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)
from qgis.PyQt.QtGui import QIcon

from ..paths import resources
from ..runtime.environment import missing_engine
from ..runtime.run import EngineError, run_engine
from .models import DEFAULT_MODEL
from .sources import source_of
from .styles import style_outputs

_UNITS = ["auto", "dn", "dn+1000", "reflectance"]
# Output parameter to engine option.
_FILES = {
    "MASK": "--mask",
    "PROBABILITY": "--probability",
    "QUALITY": "--quality",
    "POLYGONS": "--polygons",
    "RECORD": "--record",
}
_NUMBERS = {
    "CHANGED_AREA_HA": ("changed_area_ha", "Changed area (ha)"),
    "CHANGED_PIXELS": ("changed_pixels", "Changed pixels"),
    "OBSERVED_SHARE": ("observed_share", "Share of the area that was observed on both dates"),
    "THRESHOLD_USED": ("threshold", "Threshold that was used"),
}


class DetectChange(QgsProcessingAlgorithm):
    """Change between two Sentinel-2 dates, by the engine's command `detect`."""

    def createInstance(self) -> DetectChange:
        """A fresh one for each run."""
        return DetectChange()

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "detectchange"

    def displayName(self) -> str:
        """For people."""
        return "Detect change"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Finds what changed between two Sentinel-2 images with a U-Net."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["sentinel", "change", "deep learning", "u-net", "urban", "difference", "mask"]

    def icon(self) -> QIcon:
        """The provider's."""
        return QIcon(str(resources() / "icon.svg"))

    def helpUrl(self) -> str:
        """The manual."""
        return "https://github.com/s2change/s2change#in-qgis"

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Finds what changed between two Sentinel-2 images of one place. The shipped model finds <b>new and changed built-up "
            "structure</b> (buildings, roads, building sites) in Level-1C images; seasons, crops, water and clouds are not "
            "what it looks for.</p>"
            "<p>The two are laid on the 10 m grid of <i>before</i>, whatever their CRS, extent and resolution; the sub-pixel shift between them is "
            "measured and taken out. A pixel that one of the dates does not show is <b>not observed</b> (255), never “no change”.</p>"
            "<p>Each input is a raster with one layer per band (their descriptions, such as B02 or “red”, tell which), or the path of a folder "
            "of single-band files (…_B02.tif). For layers without descriptions, name them under <i>Advanced</i>.</p>"
            "<p>The work is done outside of QGIS, in S2Change's own engine. Cancel ends it and leaves nothing behind.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        self._add(
            QgsProcessingParameterRasterLayer("BEFORE", "Before"),
            "The earlier image: a layer, or the path of a raster or folder.",
        )
        self._add(
            QgsProcessingParameterRasterLayer("AFTER", "After"), "The later image: a layer, or the path of a raster or folder."
        )
        model = QgsProcessingParameterString("MODEL", "Model", DEFAULT_MODEL)
        model.setMetadata({"widget_wrapper": {"class": "s2change_plugin.gui.model_widget.ModelWidgetWrapper"}})
        self._add(model, "Name of a model, or path of a .safetensors file with its card (.json) beside it.")
        self._add(
            QgsProcessingParameterExtent("EXTENT", "Extent", optional=True),
            "The part to look at; the result there is the same as that of the whole. Left empty: all that both images cover.",
        )
        threshold = QgsProcessingParameterNumber(
            "THRESHOLD", "Threshold", Qgis.ProcessingNumberParameterType.Double, None, True, 0, 1
        )
        threshold.setMetadata({"widget_wrapper": {"decimals": 3}})
        self._advanced(threshold, "Probability from which a pixel is change. Left empty: the one on the model's card.")
        for side, label in (("BEFORE", "before"), ("AFTER", "after")):
            self._advanced(
                QgsProcessingParameterString(f"{side}_BANDS", f"Layers of {label}", optional=True),
                f"The bands of {label} in their order, such as B02,B03,B04,B08; - skips a layer. Left empty: their descriptions tell.",
            )
        for side, label in (("BEFORE", "before"), ("AFTER", "after")):
            self._advanced(
                QgsProcessingParameterEnum(
                    f"{side}_UNITS", f"Unit of {label}", _UNITS, defaultValue="auto", optional=True, usesStaticStrings=True
                ),
                "dn: reflectance × 10000. dn+1000: with the offset of baseline 04.00 and later. auto: as the file says, else dn.",
            )
        self._advanced(
            QgsProcessingParameterBoolean("REGISTER", "Take out the shift between the dates", True),
            "Measures the sub-pixel shift and corrects it.",
        )
        self._add(QgsProcessingParameterRasterDestination("MASK", "Change mask"), "1 change, 0 no change, 255 not observed.")
        self._add(
            QgsProcessingParameterRasterDestination("PROBABILITY", "Probability of change", optional=True),
            "0 to 1; nodata where not observed.",
        )
        self._add(
            QgsProcessingParameterRasterDestination("QUALITY", "Observed, or why not", optional=True, createByDefault=False),
            "0 observed, 1 no data before, 2 no data after, 6 saturated.",
        )
        self._add(
            QgsProcessingParameterVectorDestination(
                "POLYGONS", "Changed areas", Qgis.ProcessingSourceType.VectorPolygon, optional=True, createByDefault=False
            ),
            "Polygons with area in hectares and mean probability.",
        )
        self._advanced(
            QgsProcessingParameterFileDestination(
                "RECORD", "Record of the run", "JSON (*.json)", optional=True, createByDefault=False
            ),
            "Everything needed to repeat the run: inputs, shift, model, threshold, versions, area.",
        )
        for name, (_, label) in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    def canExecute(self) -> tuple[bool, str]:
        """Whether there is an engine to start."""
        problem = missing_engine()
        return not problem, problem

    def checkParameterValues(self, parameters: dict, context: QgsProcessingContext) -> tuple[bool, str]:
        """What is wrong with the parameters, in a sentence. The two images may be paths that QGIS itself cannot open."""
        try:
            self._sources(parameters, context)
        except QgsProcessingException as error:
            return False, str(error)
        for definition in self.parameterDefinitions():
            value = parameters.get(definition.name())
            if definition.name() in ("BEFORE", "AFTER") or (value is None and self._may_be_empty(definition)):
                continue
            if not definition.checkValueIsAcceptable(value, context):
                return False, self.invalidRasterError(parameters, definition.name()) if value is None else (
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
        before, after = self._sources(parameters, context)
        self._group = f"Change {Path(before).stem} → {Path(after).stem}"
        self._command = [
            "detect",
            before,
            after,
            "--model",
            self.parameterAsString(parameters, "MODEL", context) or DEFAULT_MODEL,
        ]
        extent = self.parameterAsExtent(parameters, "EXTENT", context)
        if not extent.isNull():
            edges = (extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum())
            self._command += ["--bounds", *(repr(value) for value in edges)]
            crs = self.parameterAsExtentCrs(parameters, "EXTENT", context)
            if crs.isValid():
                self._command += [
                    "--bounds-crs",
                    crs.toWkt() if crs.authid().startswith("USER:") else crs.authid() or crs.toWkt(),
                ]
        for name in ("BEFORE_BANDS", "AFTER_BANDS"):
            text = self.parameterAsString(parameters, name, context).strip()
            if text:
                self._command += [f"--{name.lower().replace('_', '-')}", text]
        for name in ("BEFORE_UNITS", "AFTER_UNITS"):
            self._command += [
                f"--{name.lower().replace('_', '-')}",
                self.parameterAsEnumString(parameters, name, context) or "auto",
            ]
        if parameters.get("THRESHOLD") is not None:
            self._command += ["--threshold", repr(self.parameterAsDouble(parameters, "THRESHOLD", context))]
        if not self.parameterAsBoolean(parameters, "REGISTER", context):
            self._command.append("--no-register")
        return True

    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it says."""
        files = {name: self._target(parameters, name, context) for name in _FILES}
        files = {name: path for name, path in files.items() if path}
        options = [part for name, path in files.items() for part in (_FILES[name], path)]
        try:
            result = run_engine([*self._command, *options], feedback)
        except EngineError as error:
            raise QgsProcessingException(str(error)) from error
        style_outputs({name: path for name, path in files.items() if name != "RECORD"}, self._group, context)
        return {**files, **{name: result[key] for name, (key, _) in _NUMBERS.items()}}

    def _sources(self, parameters: dict, context: QgsProcessingContext) -> tuple[str, str]:
        before, after = (source_of(self, parameters, name, context) for name in ("BEFORE", "AFTER"))
        if before == after:
            raise QgsProcessingException(f"Before and after are the same raster, {before}. Pick two dates.")
        return before, after

    def _target(self, parameters: dict, name: str, context: QgsProcessingContext) -> str:
        if name == "RECORD":
            return self.parameterAsFileOutput(parameters, name, context)
        return self.parameterAsOutputLayer(parameters, name, context)

    def _add(self, parameter: QgsProcessingParameterDefinition, help_text: str) -> None:
        parameter.setHelp(help_text)
        self.addParameter(parameter)

    def _advanced(self, parameter: QgsProcessingParameterDefinition, help_text: str) -> None:
        parameter.setFlags(parameter.flags() | Qgis.ProcessingParameterFlag.Advanced)
        self._add(parameter, help_text)

    @staticmethod
    def _may_be_empty(definition: QgsProcessingParameterDefinition) -> bool:
        optional = bool(definition.flags() & Qgis.ProcessingParameterFlag.Optional)
        return optional or definition.defaultValue() is not None
