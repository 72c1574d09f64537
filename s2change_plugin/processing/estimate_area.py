"""The algorithm `s2change:estimatearea`."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFileDestination,
)

from . import parameters as shared
from .algorithm import EngineAlgorithm, quiet_when_cancelled

# Of each output where it lies in the result, and what it is.
_NUMBERS = {
    "AREA_HA": ("area_ha", "value", "Area of change (ha)"),
    "AREA_LOW_HA": ("area_ha", "low", "Area of change, lower end of its 95 % interval (ha)"),
    "AREA_HIGH_HA": ("area_ha", "high", "Area of change, upper end of its 95 % interval (ha)"),
    **{
        f"{name.upper()}{end.upper()}": (name, key, f"{label}{words}")
        for name, label in (
            ("precision", "Precision (user's accuracy) of change"),
            ("recall", "Recall (producer's accuracy) of change"),
            ("f1", "F1 of change"),
            ("accuracy", "Overall accuracy"),
        )
        for end, key, words in (
            ("", "value", ""),
            ("_low", "low", ", lower end of its 95 % interval"),
            ("_high", "high", ", upper end of its 95 % interval"),
        )
    },
}


class EstimateArea(EngineAlgorithm):
    """How much has changed, from a sample that was looked at, by the engine's command `area`."""

    COMMAND = "area"
    ARGUMENTS = ("SAMPLE",)
    WITH_ATTRIBUTES = True

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "estimatearea"

    def displayName(self) -> str:
        """For people."""
        return "Estimate the area of change"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Says how much has changed, with a confidence interval, from a sample that you have looked at."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["change", "area", "confidence", "interval", "accuracy", "assessment", "user's", "producer's", "olofsson"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Says <b>how much has changed, with a 95 % confidence interval</b>, and how far the map is right (precision, recall, F1, overall accuracy, each with its interval), "
            "from a sample of <i>Draw a sample to check a change map</i> in which you have said what is true of each pixel. What is not saved yet counts.</p>"
            "<p>Estimators are those of Olofsson et al. 2014 for stratified random sampling. The intervals also hold where none of the pixels in a part of the map has changed: "
            "usual ones, by the normal distribution, are too narrow then.</p>"
            "<p>Pixels without an answer are left out; look at the others in the order of their numbers. Nothing is said of ground that the map did not observe.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        for definition in (
            shared.told(
                QgsProcessingParameterFeatureSource("SAMPLE", "Sample", [Qgis.ProcessingSourceType.VectorPolygon]),
                "As it was drawn of a change map, with your answers in the field reference: 1 change, 0 no change, 255 cannot be told.",
            ),
            # Of a file named .html QGIS makes an output that its results viewer lists.
            shared.told(
                QgsProcessingParameterFileDestination("REPORT", "Report on the area", "HTML files (*.html)", optional=True),
                "A page with the area and its interval, the map's accuracy, and what was looked at.",
            ),
        ):
            self.addParameter(definition)
        for name, (_, _, label) in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it says."""
        files = shared.targets(self, parameters, context)
        result = self.run_command([part for name, path in files.items() for part in (shared.option_name(name), path)], feedback)
        if "REPORT" in files:
            self.reword(files["REPORT"])
        found = {"area_ha": result["area_ha"], **result["scores"]}
        return {**files, **{name: found[group][key] for name, (group, key, _) in _NUMBERS.items()}}
