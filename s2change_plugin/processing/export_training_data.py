"""The algorithm `s2change:exporttrainingdata`."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    Qgis,
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)

from . import parameters as shared
from .algorithm import MANUAL, EngineAlgorithm, quiet_when_cancelled

_PASSING = "Data folder: QGIS deletes a temporary folder when it closes. Choose one that stays."
_NUMBERS = {
    "CHANGE_PIXELS": ("change_pixels", "Pixels of change"),
    "NO_CHANGE_PIXELS": ("no_change_pixels", "Pixels of no change"),
    "UNOBSERVED_PIXELS": ("unobserved_pixels", "Labelled pixels that are not observed on both dates"),
    "STRIP_PIXELS": ("strip_pixels", "Labelled pixels left out along cuts"),
}


class ExportTrainingData(EngineAlgorithm):
    """Two dates and polygons of change as training data, by the engine's command `chips`."""

    COMMAND = "chips"
    ARGUMENTS = ("CHANGE",)

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "exporttrainingdata"

    def displayName(self) -> str:
        """For people."""
        return "Export training data"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Adds two images and the change that you have drawn between them to a folder on which a model can be trained."

    def helpUrl(self) -> str:
        """The part of the manual that leads from labels to a model."""
        return f"{MANUAL}#training-on-your-own-labels"

    def tags(self) -> list[str]:
        """What people search for."""
        return ["training", "labels", "samples", "chips", "fine-tune", "deep learning", "digitise", "ground truth"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Adds two Sentinel-2 images and <b>polygons of change</b> that you have drawn between them to a <i>data folder</i>, on which "
            "a model of your own can be trained: run it once for each pair of images, with the same folder.</p>"
            "<p>Draw all change that the model is to find, and say where there is none: as <b>polygons of no change</b>, or of the whole area "
            "that you looked at. What neither layer covers is not labelled. Without that second layer all else in the bounding box of the change "
            "counts as no change.</p>"
            "<p>The images are laid over each other as <i>Detect change</i> does: one grid, the shift between them taken out, clouds "
            "masked. What is not observed on both dates is not labelled.</p>"
            "<p>What is labelled is cut into <b>groups</b> of about the block's size, each of which training can hold out to measure "
            "itself. Their images share no pixel, and along a cut a strip of 320 m is not labelled. Groups of one scene say how a model does there, "
            "not elsewhere: label a second place, 50 km away or more, to know that.</p>"
            "<p>Training is done outside of QGIS; the manual goes through it. The new model then stands in the list of <i>Detect change</i>.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        block = QgsProcessingParameterNumber(
            "BLOCK", "Side of a group (m)", Qgis.ProcessingNumberParameterType.Double, 5000, True, 1000, 20000
        )
        block.setMetadata({"widget_wrapper": {"decimals": 0}})
        polygon = [Qgis.ProcessingSourceType.VectorPolygon]
        for definition in (
            shared.scene("BEFORE", "Before", "The earlier image"),
            shared.scene("AFTER", "After", "The later image"),
            shared.told(
                QgsProcessingParameterFeatureSource("CHANGE", "Polygons of change", polygon),
                "What changed from before to after; a pixel is change if its centre lies inside.",
            ),
            shared.told(
                QgsProcessingParameterFeatureSource(
                    "NO_CHANGE", "Polygons of no change, or of all you looked at", polygon, optional=True
                ),
                "In them whatever is not change is no change; elsewhere nothing but the change is labelled. Left empty: the bounding box of the "
                "change.",
            ),
            shared.told(
                QgsProcessingParameterString("NAME", "Name", optional=True),
                "Of what is added: letters, digits, dots, dashes and underscores. Left empty: made of tile and dates, or of the files' names.",
            ),
            shared.told(
                QgsProcessingParameterString("DETECTS", "What the polygons show", optional=True),
                "In a sentence, such as: New solar parks. The card of a model that is trained on them repeats it.",
            ),
            shared.told(
                QgsProcessingParameterString("LICENCE", "Licence of your labels", optional=True),
                "Such as CC BY 4.0; the model's card repeats it. Left empty: not stated.",
            ),
            shared.advanced(
                QgsProcessingParameterEnum("LEVEL", "Processing level", ["L1C", "L2A"], optional=True, usesStaticStrings=True),
                "Of both images, where nothing tells it: L1C with the atmosphere in, L2A with it taken off. A model knows which it was "
                "trained on.",
            ),
            shared.advanced(block, "Metres. What is labelled is cut into groups of about this side."),
            shared.advanced(
                QgsProcessingParameterBoolean("FORCE", "Replace what has this name", False),
                "Takes what was exported under the name out of the folder. Otherwise a name that is taken is refused.",
            ),
            shared.area(),
            shared.bands("BEFORE_BANDS", "before"),
            shared.bands("AFTER_BANDS", "after"),
            shared.crs("BEFORE_CRS", "before", "BEFORE"),
            shared.crs("AFTER_CRS", "after", "AFTER"),
            shared.units("BEFORE_UNITS", "before"),
            shared.units("AFTER_UNITS", "after"),
            shared.trust_units(),
            shared.clouds(),
            shared.mask("BEFORE_MASK", "before"),
            shared.mask("AFTER_MASK", "after"),
            shared.mask_buffer(),
            shared.register(),
            shared.normalise(),
            shared.told(
                QgsProcessingParameterFolderDestination("DATA", "Data folder"),
                "The folder to add to: an empty one, or one that this algorithm has made. It gets a folder for each group, with before.tif, "
                "after.tif and change.tif (1 change, 0 no change, 255 not labelled).",
            ),
        ):
            self.addParameter(definition)
        self.addOutput(QgsProcessingOutputString("GROUPS", "Groups that were added"))
        for name, (_, label) in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    def checkParameterValues(self, parameters: dict, context: QgsProcessingContext) -> tuple[bool, str]:
        """What is wrong with the parameters, in a sentence."""
        fits, reason = super().checkParameterValues(parameters, context)
        return (False, _PASSING) if fits and parameters.get("DATA") == QgsProcessing.TEMPORARY_OUTPUT else (fits, reason)

    def prepareAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> bool:
        """As of any other, but what was labelled by hand is not for a folder that QGIS deletes; a model checks nothing before."""
        folder = Path(self.parameterAsFileOutput(parameters, "DATA", context))
        if Path(QgsProcessingUtils.tempFolder()) in folder.parents:
            raise QgsProcessingException(_PASSING)
        return super().prepareAlgorithm(parameters, context, feedback)

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it says."""
        files = shared.targets(self, parameters, context)
        result = self.run_command(list(files.values()), feedback)
        return {**files, "GROUPS": ",".join(result["groups"]), **{name: result[key] for name, (key, _) in _NUMBERS.items()}}
