"""The algorithm `s2change:preparescene`."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterRasterDestination,
)

from . import parameters as shared
from .algorithm import EngineAlgorithm, quiet_when_cancelled
from .sources import PREPARED
from .styles import shipped_style, true_colour


class PrepareScene(EngineAlgorithm):
    """One date as one analysis-ready raster, by the engine's command `stack`."""

    COMMAND = "stack"

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "preparescene"

    def displayName(self) -> str:
        """For people."""
        return "Prepare a scene"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Makes one GeoTIFF of a Sentinel-2 product: reflectance, all bands on 10 m, and beside it what is usable."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["sentinel", "safe", "stack", "reflectance", "cloud mask", "analysis ready", "10 m", "offset"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Makes one Cloud Optimized GeoTIFF of a Sentinel-2 product (SAFE folder, its zip, its MTD xml, or a layer that QGIS made of it), "
            "of a stack, or of a folder of single-band files: all bands on one 10 m grid, as <b>reflectance × 10000</b> without the offset of "
            "baseline 04.00, described by their names; 0 is nodata, 65535 saturated. QGIS shows reflectance, in true colour.</p>"
            "<p>Beside it lies a raster that says what is usable: clouds, their shadows, snow, saturation. <i>Detect change</i> and "
            "<i>Check a pair</i> find it there by themselves.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        for definition in (
            shared.scene("INPUT", "Scene", "The image"),
            shared.bands("BANDS", "the scene"),
            shared.crs("CRS", "the scene", "INPUT"),
            shared.units("UNITS", "the scene"),
            shared.trust_units(),
            shared.clouds(),
            shared.mask("MASK", "the scene"),
            shared.mask_buffer(),
            shared.told(
                QgsProcessingParameterRasterDestination("OUTPUT", PREPARED),
                "Reflectance × 10000 of all bands, 0 nodata, 65535 saturated.",
            ),
            shared.told(
                QgsProcessingParameterRasterDestination("QUALITY", "Usable, or why not", optional=True, createByDefault=False),
                "0 usable, 1 no data, 3 cloud, 4 cloud shadow, 5 snow, 6 saturated. Left out: a file beside the scene, named …_quality.tif.",
            ),
        ):
            self.addParameter(definition)
        self.addOutput(QgsProcessingOutputNumber("USABLE_SHARE", "Share of what the scene shows that is usable"))

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it says."""
        files = shared.targets(self, parameters, context)
        quality = [shared.option_name("QUALITY"), files["QUALITY"]] if "QUALITY" in files else []
        result = self.run_command([files["OUTPUT"], *quality], feedback)
        files.setdefault("QUALITY", result["quality"])
        styles = {
            files["OUTPUT"]: true_colour(files["OUTPUT"], result["bands"]),
            files["QUALITY"]: shipped_style("scene_quality"),
        }
        self.style(styles, self.names[0], lambda title: f"Scene {title}", context)
        return {**files, "USABLE_SHARE": result["usable_share"]}
