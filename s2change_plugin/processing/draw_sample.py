"""The algorithm `s2change:drawsample`."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    Qgis,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterNumber,
    QgsProcessingParameterVectorDestination,
    QgsProcessingUtils,
)

from . import parameters as shared
from .algorithm import MaskAlgorithm, quiet_when_cancelled
from .styles import shipped_style


class DrawSample(MaskAlgorithm):
    """Pixels of a change map, drawn at random, by the engine's command `sample`."""

    COMMAND = "sample"
    WITH_ATTRIBUTES = True

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "drawsample"

    def displayName(self) -> str:
        """For people."""
        return "Draw a sample to check a change map"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Draws pixels of a change map at random, for you to say what is true of each; Estimate the area of change goes on from there."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["change", "accuracy", "assessment", "stratified", "random", "points", "validation", "olofsson", "review"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Draws pixels of a change map at random, for you to say what is true of each. From your answers <i>Estimate the area of change</i> tells "
            "<b>how much has changed, with a confidence interval</b>, and how far the map is right. The area of change in the map itself is not that: what "
            "it calls change and is not, and what it misses, do not balance.</p>"
            "<p>The result is a layer with the outline of each pixel. Switch on editing, go through them in the order of their <i>number</i>, and choose in the field "
            "<i>reference</i> change, no change, or cannot be told, by better images than the map was made of; the form view of the attribute table goes from "
            "one to the next, and with <i>Automatically zoom to current feature</i>, at its lower edge, the map goes along. Hide the change map meanwhile, so that it does not lead you. Then run <i>Estimate the area of "
            "change</i>.</p>"
            "<p>Change is rare, so a quarter of the pixels is drawn where the map shows change. With the <b>probability</b> of the same run another quarter is drawn where the map "
            "is least sure that there is none: most of what it misses lies there, and the interval becomes narrower.</p>"
            "<p>If the interval is too wide, draw a larger sample that <i>extends</i> the first: your answers stay.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        whole = Qgis.ProcessingNumberParameterType.Integer
        for definition in (
            shared.change_mask(),
            shared.told(
                QgsProcessingParameterMapLayer(
                    "PROBABILITY", "Probability of change", optional=True, types=[Qgis.ProcessingSourceType.Raster]
                ),
                "As Detect change made it together with the mask. Left empty: a quarter of the pixels is drawn in change, the others anywhere else.",
            ),
            shared.told(
                QgsProcessingParameterNumber("SIZE", "Pixels to draw", whole, 300, True, 20, 100000),
                "Four times as many halve the width of the interval.",
            ),
            shared.told(
                QgsProcessingParameterFeatureSource(
                    "EXTEND", "Smaller sample to extend", [Qgis.ProcessingSourceType.VectorPolygon], optional=True
                ),
                "An older sample of this very mask (and probability): its pixels and your answers come first in the new one.",
            ),
            shared.advanced(
                QgsProcessingParameterNumber("SEED", "Random seed", whole, 0, True, 0, 2**31 - 1),
                "Another number draws other pixels.",
            ),
            shared.told(
                QgsProcessingParameterVectorDestination("SAMPLE", "Sample", Qgis.ProcessingSourceType.VectorPolygon),
                "The pixels' outlines, in random order, with the field reference for your answers. Keep it in a file of your own: it is hours of work.",
            ),
        ):
            self.addParameter(definition)
        self.addOutput(QgsProcessingOutputNumber("DRAWN", "Pixels that were drawn"))

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it says."""
        files = shared.targets(self, parameters, context)
        if Path(QgsProcessingUtils.tempFolder()) in Path(files["SAMPLE"]).parents:
            feedback.pushWarning(
                "This sample is in a temporary file, which QGIS deletes when it ends. Save it elsewhere before you look at it."
            )
        result = self.run_command(list(files.values()), feedback)
        styles = {files["SAMPLE"]: shipped_style("sample")}
        self.style(styles, self.names[0], lambda title: f"Sample of {title}", context)
        return {**files, "DRAWN": result["size"]}
