"""The algorithm `s2change:applyreview`."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterRasterDestination,
)

from . import parameters as shared
from .algorithm import MaskAlgorithm, quiet_when_cancelled
from .styles import shipped_style

# Of each output where it lies in the result, and what it is.
_NUMBERS = {
    "CHANGE_AREAS": ("areas", "change", "Areas that are change"),
    "NO_CHANGE_AREAS": ("areas", "no change", "Areas that are no change"),
    "UNTOLD_AREAS": ("areas", "cannot be told", "Areas of which it cannot be told"),
    "OPEN_AREAS": ("areas", "open", "Areas of which nothing is said yet"),
    "MAPPED_HA": ("hectares", "mapped", "Change on the map as it was (ha)"),
    "LOOKED_AT_HA": ("hectares", "looked_at", "Of that, what something is said of (ha)"),
    "REJECTED_HA": ("hectares", "rejected", "Change on the map as it was that is no change now (ha)"),
    "ADDED_HA": ("hectares", "added", "Change that was added (ha)"),
    "CHANGED_HA": ("hectares", "changed", "Change on the reviewed map (ha)"),
}


class ApplyReview(MaskAlgorithm):
    """A change mask as a person corrected it, by the engine's command `review`."""

    COMMAND = "review"
    ARGUMENTS = ("AREAS",)
    WITH_ATTRIBUTES = True

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "applyreview"

    def displayName(self) -> str:
        """For people."""
        return "Apply a review to a change map"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Takes out of a change mask what you have found to be no change, area by area, and puts in what you have drawn."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["change", "review", "correct", "clean", "accept", "reject", "false", "alarm", "edit", "polygons"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Makes a change mask that says of each area what you say of it.</p>"
            "<p><i>Detect change</i> makes the layer <i>Changed areas</i> if you ask for it. Switch on its editing, open its attribute table in the form view, where the largest "
            "areas come first, and choose in the field <i>review</i> change, no change, or cannot be told; with <i>Automatically zoom to current feature</i>, at the table's lower edge, "
            "the map goes along. In <i>note</i> there is room for why.</p>"
            "<p><b>No change</b> is taken out of the mask, and what <b>cannot be told</b> is not observed in it. Where you say nothing the mask stays as it is. You may "
            "draw areas that the map has missed, and say change of them, or one around much that is no change. Of areas with an answer that overlap the smaller one counts, so that a part "
            "of one can be drawn by itself. What the map did not observe stays so. What is not saved yet counts.</p>"
            "<p>Nobody has looked for what the map missed elsewhere: how much has changed in all, <i>Draw a sample to check a change map</i> tells, of a reviewed map too.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        for definition in (
            shared.change_mask(),
            shared.told(
                QgsProcessingParameterFeatureSource("AREAS", "Changed areas", [Qgis.ProcessingSourceType.VectorPolygon]),
                "As Detect change made them together with the mask, with what you say in the field review: 1 change, 0 no change, 255 cannot be told.",
            ),
            shared.told(
                QgsProcessingParameterRasterDestination("OUTPUT", "Reviewed change mask"),
                "1 change, 0 no change, 255 not observed.",
            ),
        ):
            self.addParameter(definition)
        for name, (_, _, label) in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it says."""
        files = shared.targets(self, parameters, context)
        result = self.run_command(["--output", files["OUTPUT"]], feedback)
        self.style({files["OUTPUT"]: shipped_style("mask")}, self.names[0], lambda title: f"Review of {title}", context)
        return {**files, **{name: result[group][key] for name, (group, key, _) in _NUMBERS.items()}}
