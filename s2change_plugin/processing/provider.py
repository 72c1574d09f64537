"""The provider `s2change`."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ..paths import resources
from .apply_review import ApplyReview
from .check_pair import CheckPair
from .detect_change import DetectChange
from .draw_sample import DrawSample
from .estimate_area import EstimateArea
from .evaluate_change import EvaluateChange
from .export_training_data import ExportTrainingData
from .prepare_scene import PrepareScene
from .setup_engine import SetUpEngine

PROVIDER = "s2change"


class S2ChangeProvider(QgsProcessingProvider):
    """Lists the algorithms; needs no engine for that."""

    def id(self) -> str:
        """Stable: saved models and scripts name it."""
        return PROVIDER

    def name(self) -> str:
        """For people."""
        return "S2Change"

    def icon(self) -> QIcon:
        """Shown in the toolbox."""
        return QIcon(str(resources() / "icon.svg"))

    def loadAlgorithms(self) -> None:
        """Add them all."""
        for algorithm in (
            DetectChange(),
            CheckPair(),
            PrepareScene(),
            EvaluateChange(),
            ApplyReview(),
            DrawSample(),
            EstimateArea(),
            ExportTrainingData(),
            SetUpEngine(),
        ):
            self.addAlgorithm(algorithm)

    def supportsNonFileBasedOutput(self) -> bool:
        """The engine writes files, not databases or memory layers."""
        return False

    def defaultRasterFileExtension(self) -> str:
        """The engine writes GeoTIFF."""
        return "tif"

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """And nothing else."""
        return ["tif", "tiff"]

    def defaultVectorFileExtension(self, hasGeometry: bool = True) -> str:
        """The engine writes GeoPackage."""
        return "gpkg"

    def supportedOutputVectorLayerExtensions(self) -> list[str]:
        """And nothing else."""
        return ["gpkg"]
