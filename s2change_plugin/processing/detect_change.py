"""The algorithm `s2change:detectchange`."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterVectorDestination,
)

from . import parameters as shared
from .algorithm import EngineAlgorithm, quiet_when_cancelled
from .sources import pair_name
from .styles import shipped_style

# From bottom to top; where the quality says why, the mask's "not observed" lies below it.
_LAYERS = ("PROBABILITY", "MASK", "QUALITY", "POLYGONS")
_NUMBERS = {
    "CHANGED_AREA_HA": ("changed_area_ha", "Changed area (ha)"),
    "CHANGED_PIXELS": ("changed_pixels", "Changed pixels"),
    "OBSERVED_SHARE": ("observed_share", "Share of the area that was observed on both dates"),
    "THRESHOLD_USED": ("threshold", "Threshold that was used"),
}


class DetectChange(EngineAlgorithm):
    """Change between two Sentinel-2 dates, by the engine's command `detect`."""

    COMMAND = "detect"

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "detectchange"

    def displayName(self) -> str:
        """For people."""
        return "Detect change"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Finds what changed between two Sentinel-2 images with neural networks, or without a model."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["sentinel", "change", "deep learning", "u-net", "urban", "difference", "cva", "mad", "pca", "mask"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Finds what changed between two Sentinel-2 images of one place. The shipped models find <b>new and changed built-up "
            "structure</b> (buildings, roads, building sites); seasons, crops and water are not what they look for. They were trained on "
            "Level-1C images; Level-2A is taken with a warning. Their weights are trained on OSCD's labels and not for commercial use (CC BY-NC-SA 4.0). "
            "Other <i>methods</i> (under <i>Advanced</i>) need no model and find any change.</p>"
            "<p>Each input is a Sentinel-2 <b>product</b> as it is downloaded: its SAFE folder, its zip, its MTD xml, or a layer that QGIS "
            "made of it when you dragged it in. Or it is a raster with one layer per band (their descriptions, such as B02 or “red”, tell "
            "which), or the path of a folder of single-band files (…_B02.tif). For layers without descriptions, name them under "
            "<i>Advanced</i>.</p>"
            "<p>The two are laid on the 10 m grid of <i>before</i>, whatever their CRS, extent and resolution; the sub-pixel shift between "
            "them is measured and taken out. Clouds and their shadows are masked by what the product brings, else, but in Level-2A, by a test "
            "of the bands; you can give masks of your own. A pixel that one of the dates does not show is <b>not observed</b> (255), never "
            "“no change”.</p>"
            "<p><i>Check a pair</i> says beforehand what speaks against comparing the two.</p>"
            "<p>The work is done outside of QGIS, in S2Change's own engine. Cancel ends it and leaves nothing behind.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        threshold = QgsProcessingParameterNumber(
            "THRESHOLD", "Threshold", Qgis.ProcessingNumberParameterType.Double, None, True, 0, 1
        )
        threshold.setMetadata({"widget_wrapper": {"decimals": 3}})
        for definition in (
            shared.scene("BEFORE", "Before", "The earlier image"),
            shared.scene("AFTER", "After", "The later image"),
            shared.model(),
            shared.method(),
            shared.told(
                QgsProcessingParameterExtent("EXTENT", "Extent", optional=True),
                "The part to look at; the result there is the same as that of the whole. Left empty: all that both images cover.",
            ),
            shared.area(),
            shared.goal(),
            shared.advanced(
                threshold,
                "Probability from which a pixel is change, in place of a goal. Taken to the nearest step of 0.004, as it is "
                "stored. Left empty: the one on the model's card for the goal, or 0.5.",
            ),
            shared.bands("BEFORE_BANDS", "before"),
            shared.bands("AFTER_BANDS", "after"),
            shared.crs("BEFORE_CRS", "before", "BEFORE"),
            shared.crs("AFTER_CRS", "after", "AFTER"),
            shared.units("BEFORE_UNITS", "before"),
            shared.units("AFTER_UNITS", "after"),
            shared.trust_units(),
            shared.accept_level(),
            shared.clouds(),
            shared.mask("BEFORE_MASK", "before"),
            shared.mask("AFTER_MASK", "after"),
            shared.mask_buffer(),
            shared.register(),
            shared.normalise(),
            shared.told(
                QgsProcessingParameterRasterDestination("MASK", "Change mask"), "1 change, 0 no change, 255 not observed."
            ),
            shared.told(
                QgsProcessingParameterRasterDestination("PROBABILITY", "Probability of change", optional=True),
                "0 to 1; nodata where not observed.",
            ),
            shared.told(
                QgsProcessingParameterRasterDestination("QUALITY", "Observed, or why not", optional=True, createByDefault=False),
                "0 observed, 1 no data before, 2 no data after, 3 cloud, 4 cloud shadow, 5 snow on one date, 6 saturated, "
                "7 outside the area of interest.",
            ),
            shared.told(
                QgsProcessingParameterVectorDestination(
                    "POLYGONS", "Changed areas", Qgis.ProcessingSourceType.VectorPolygon, optional=True, createByDefault=False
                ),
                "Polygons, each with its area in hectares, its mean probability, vegetation, built-up and water index of both dates, and how much of "
                "the map around it was observed; and the fields review and note for you: say there what is change and what is not, and Apply a review to a change map corrects the mask.",
            ),
            # Of a file named .html QGIS makes an output that its results viewer lists.
            shared.told(
                QgsProcessingParameterFileDestination(
                    "REPORT", "Report on the change", "HTML files (*.html)", optional=True, createByDefault=False
                ),
                "A page with the map, its largest areas on both dates, what was not observed, how it was made, and what speaks against it.",
            ),
            shared.advanced(
                QgsProcessingParameterFileDestination(
                    "RECORD", "Record of the run", "JSON (*.json)", optional=True, createByDefault=False
                ),
                "Everything needed to repeat the run: inputs, masks, findings, shift, model, goal and threshold, versions, area.",
            ),
        ):
            self.addParameter(definition)
        for name, (_, label) in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it says."""
        files = shared.targets(self, parameters, context)
        result = self.run_command([part for name, path in files.items() for part in (shared.option_name(name), path)], feedback)
        if "REPORT" in files:
            self.reword(files["REPORT"])
        styles = {files[name]: shipped_style(name.lower()) for name in _LAYERS if name in files}
        made_by = result["model"] or result["method"]
        settings = f"{made_by}, threshold {result['threshold']:g}"
        self.style(styles, pair_name(*self.names), lambda title: f"Change {title}, {settings}", context)
        return {**files, **{name: result[key] for name, (key, _) in _NUMBERS.items()}}
