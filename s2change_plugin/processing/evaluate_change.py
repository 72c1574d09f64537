"""The algorithm `s2change:evaluatechange`."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
)

from . import parameters as shared
from .algorithm import MaskAlgorithm, quiet_when_cancelled
from .styles import shipped_style

# Of each output where it lies in the result, and what it is.
_NUMBERS = {
    "F1": ("scores", "f1", "F1 of change"),
    "PRECISION": ("scores", "precision", "Precision: share of the mapped change that is true"),
    "RECALL": ("scores", "recall", "Recall: share of the true change that is mapped"),
    "IOU": ("scores", "iou", "Intersection over union of change"),
    "KAPPA": ("scores", "kappa", "Cohen's kappa: agreement beyond chance"),
    "ACCURACY": ("scores", "accuracy", "Overall accuracy (near 1 for an empty map: never by itself)"),
    "PREVALENCE": ("scores", "prevalence", "Share of the counted pixels that truly changed"),
    "PIXELS": ("scores", "pixels", "Counted pixels: observed and labelled"),
    "TRUE_POSITIVES": ("pixels", "true_positive", "Pixels found"),
    "FALSE_POSITIVES": ("pixels", "false_positive", "Pixels of false alarm"),
    "FALSE_NEGATIVES": ("pixels", "false_negative", "Pixels missed"),
    "TRUE_NEGATIVES": ("pixels", "true_negative", "Pixels of no change in both"),
    "UNOBSERVED_PIXELS": ("pixels", "unobserved", "Labelled pixels that the map did not observe"),
    "UNLABELLED_PIXELS": ("pixels", "unlabelled", "Pixels that the reference does not label"),
    "MAPPED_AREA_HA": ("hectares", "mapped_change", "Change in the map, where it is labelled (ha)"),
    "REFERENCE_AREA_HA": ("hectares", "reference_change", "Change in the reference, where it is observed (ha)"),
}


class EvaluateChange(MaskAlgorithm):
    """A change map against a reference, by the engine's command `compare`."""

    COMMAND = "compare"
    ARGUMENTS = ("REFERENCE",)

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "evaluatechange"

    def displayName(self) -> str:
        """For people."""
        return "Evaluate a change map"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Says how well a change mask agrees with a reference: F1, precision, recall, IoU, kappa."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["change", "accuracy", "assessment", "validation", "confusion", "f1", "kappa", "precision", "recall"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Says how well a change mask agrees with a <b>reference</b> that you trust: F1, precision, recall, intersection over union, "
            "kappa and overall accuracy, with the share that truly changed, without which they cannot be judged.</p>"
            "<p>The reference is a layer of <b>polygons</b> of change, everything outside of them being no change; or a <b>raster</b> in which 1 is "
            "change, 0 no change, and 255 or nodata unlabelled. It may have another CRS and other pixels; the mask's pixel centres decide. "
            "A raster without CRS must have the mask's size; it lies where its georeference says in the mask's CRS, or pixel by pixel where that does not fit.</p>"
            "<p>If only a part was looked at for the reference, give polygons of the <i>labelled area</i>: outside of it nothing counts. Pixels that "
            "the mask did not observe (255) are in no score either; both are counted by themselves.</p>"
            "<p>A reference that was used to make the map, to train its model or to choose its threshold proves nothing.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        for definition in (
            shared.change_mask(),
            shared.told(
                QgsProcessingParameterMapLayer(
                    "REFERENCE", "Reference", types=[Qgis.ProcessingSourceType.Raster, Qgis.ProcessingSourceType.VectorPolygon]
                ),
                "What is true: polygons of change, or a raster: 1 change, 0 no change, 255 or nodata unlabelled.",
            ),
            shared.told(
                QgsProcessingParameterFeatureSource(
                    "LABELLED", "Labelled area", [Qgis.ProcessingSourceType.VectorPolygon], optional=True
                ),
                "Polygons of the part that was looked at for the reference; outside of them nothing counts. Left empty: all of the reference.",
            ),
            shared.advanced(
                QgsProcessingParameterNumber(
                    "CHANGE_VALUE", "Value of change", Qgis.ProcessingNumberParameterType.Integer, None, optional=True
                ),
                "For a reference raster with other values: the one that is change, such as 2 in OSCD's labels; any other, but 255 and "
                "nodata, is then no change. Left empty: 1 is change, 0 is no change, and another value is an error.",
            ),
            shared.told(
                QgsProcessingParameterRasterDestination("CONFUSION", "Agreement with the reference", optional=True),
                "0 true negative, 1 true positive, 2 false positive, 3 false negative, 255 not counted.",
            ),
            # Of a file named .html QGIS makes an output that its results viewer lists.
            shared.told(
                QgsProcessingParameterFileDestination("REPORT", "Report on the map", "HTML files (*.html)", optional=True),
                "A page with all scores, the confusion in pixels and hectares, and a picture of the errors.",
            ),
            shared.told(
                QgsProcessingParameterFileDestination(
                    "TABLE", "Confusion table", "CSV files (*.csv)", optional=True, createByDefault=False
                ),
                "Pixels and hectares by what the mask and what the reference says.",
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
        styles = {files["CONFUSION"]: shipped_style("confusion")} if "CONFUSION" in files else {}
        self.style(styles, self.names[0], lambda title: f"Evaluation of {title}", context)
        return {**files, **{name: result[group][key] for name, (group, key, _) in _NUMBERS.items()}}
