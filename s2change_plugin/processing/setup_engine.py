"""The algorithm `s2change:setupengine`."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
)
from qgis.PyQt.QtGui import QIcon

from ..paths import resources
from ..runtime.environment import engine_python, named_python, requirements
from ..runtime.install import set_up_engine
from ..runtime.run import EngineCancelled, EngineError
from .algorithm import HELP, quiet_when_cancelled


class SetUpEngine(QgsProcessingAlgorithm):
    """Makes the engine's own Python environment in the QGIS profile."""

    def createInstance(self) -> SetUpEngine:
        """A fresh one for each run."""
        return SetUpEngine()

    def name(self) -> str:
        """Stable."""
        return "setupengine"

    def displayName(self) -> str:
        """For people."""
        return "Set up the engine"

    def icon(self) -> QIcon:
        """The provider's."""
        return QIcon(str(resources() / "icon.svg"))

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Makes the Python environment with PyTorch that the other algorithms work in; needed once."

    def helpUrl(self) -> str:
        """The manual."""
        return HELP

    def flags(self) -> Qgis.ProcessingAlgorithmFlag:
        """Once is enough: no batch."""
        return super().flags() & ~Qgis.ProcessingAlgorithmFlag.SupportsBatch

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Makes a Python environment with PyTorch and rasterio in your QGIS profile (on Windows in your local application data), about 2 GB. Nothing is installed into QGIS's own Python "
            "or anywhere else, no administrator rights are needed, and updates of the plugin keep it. Run it again to make it anew; the old one is used until the new one works.</p>"
            "<p>Without a network: on a machine that has one, and the same system and Python, run "
            "<code>pip download --extra-index-url https://download.pytorch.org/whl/cpu -c cpu-only.txt -r engine.txt</code>, with the two files from "
            f"{requirements()}, and give the folder of the wheels.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        wheels = QgsProcessingParameterFile(
            "WHEELS", "Folder of wheels (without a network)", Qgis.ProcessingFileParameterBehavior.Folder, optional=True
        )
        wheels.setHelp("Left empty: the packages are fetched.")
        self.addParameter(wheels)
        # QGIS's own filter lets no name without a dot through.
        base = QgsProcessingParameterFile("BASE", "Python to make it with", optional=True, fileFilter="Programs (*)")
        base.setHelp("3.10 to 3.14. Left empty: QGIS's own, else another that is found.")
        base.setFlags(base.flags() | Qgis.ProcessingParameterFlag.Advanced)
        self.addParameter(base)
        self.addOutput(QgsProcessingOutputString("PYTHON", "The engine's Python"))

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Make it."""
        try:
            python = set_up_engine(feedback, *(self.parameterAsFile(parameters, name, context) for name in ("WHEELS", "BASE")))
        except EngineCancelled:
            raise
        except EngineError as error:
            raise QgsProcessingException(str(error)) from error
        if engine_python() != python:
            named, place = named_python()
            feedback.pushWarning(
                f"It is ready, but the Python named {place} goes before it: {named}. Empty it there to use the new one."
            )
        feedback.pushInfo(f"The engine is ready: {python}")
        return {"PYTHON": str(python)}
