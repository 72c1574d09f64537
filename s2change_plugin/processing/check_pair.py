"""The algorithm `s2change:checkpair`."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterFileDestination,
)

from . import parameters as shared
from .algorithm import EngineAlgorithm, quiet_when_cancelled

_NUMBERS = {
    "SEVERITY": "Gravest finding: 0 ok, 1 warning, 2 stop",
    "SHIFT_ROWS": "Shift of after, rows (pixels)",
    "SHIFT_COLS": "Shift of after, columns (pixels)",
    "SHIFT_RESIDUAL": "Shift that is left where it is corrected (pixels)",
    "USABLE_SHARE": "Share of the overlap that can be compared",
    "OVERLAP_BEFORE": "Share of before that after covers",
    "OVERLAP_AFTER": "Share of after that before covers",
    "DAYS": "Days from before to after",
    "DAY_OF_YEAR_GAP": "Days between the dates within the year",
    "SUN_DIFFERENCE": "Angle between the suns (degrees)",
    "BRIGHTNESS": "Largest difference in brightness, after − before (reflectance)",
    "RUN_SECONDS": "Time that Detect change will take, about (seconds)",
    "RUN_MEMORY_GB": "Memory that it will need (GB)",
    "RUN_DISK_GB": "Disk that it will need at most (GB)",
}


class CheckPair(EngineAlgorithm):
    """What speaks against comparing two dates, by the engine's command `check`."""

    COMMAND = "check"

    def name(self) -> str:
        """Stable: saved models and scripts name it."""
        return "checkpair"

    def displayName(self) -> str:
        """For people."""
        return "Check a pair"

    def shortDescription(self) -> str:
        """In the toolbox's tooltip."""
        return "Says what speaks against comparing two Sentinel-2 images, and what to do about it."

    def tags(self) -> list[str]:
        """What people search for."""
        return ["sentinel", "change", "quality", "registration", "shift", "cloud", "baseline", "offset"]

    def shortHelpString(self) -> str:
        """Shown beside the dialog."""
        return (
            "<p>Says what speaks against comparing two Sentinel-2 images before you do it: mixed units and processing levels, the shift between "
            "them, clouds, how much both show, season, sun and brightness. It also says how long <i>Detect change</i> will take here, and with "
            "how much memory. Nothing is changed.</p>"
            "<p>Each finding is <b>ok</b>, a <b>warning</b>, or a <b>stop</b> (Detect change would refuse the pair), with what to do. They are in "
            "the log and in the report, which the results viewer lists; a stop is a result here, not a failure, so a model can go by "
            "<i>SEVERITY</i>.</p>"
            "<p>Inputs are the same as those of <i>Detect change</i>: products, stacks, folders of bands.</p>"
        )

    def initAlgorithm(self, configuration: dict | None = None) -> None:
        """Declare parameters and outputs."""
        for definition in (
            shared.scene("BEFORE", "Before", "The earlier image"),
            shared.scene("AFTER", "After", "The later image"),
            shared.model(),
            shared.method(),
            shared.area(),
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
            # Of a file named .html QGIS makes an output that its results viewer lists.
            shared.told(
                QgsProcessingParameterFileDestination("REPORT", "Report on the pair", "HTML files (*.html)", optional=True),
                "A page with all findings and a picture of both dates.",
            ),
        ):
            self.addParameter(definition)
        self.addOutput(QgsProcessingOutputString("VERDICT", "ok, warning or stop"))
        for name, label in _NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, label))

    @quiet_when_cancelled
    def processAlgorithm(self, parameters: dict, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict:
        """Run the command and hand on what it finds."""
        files = shared.targets(self, parameters, context)
        outputs = [part for name, path in files.items() for part in (shared.option_name(name), path)]
        # Its findings are said here, each by its severity; the engine's own words would say them twice.
        result = self.run_command(outputs, feedback, messages=False)
        for finding in result["findings"]:
            text = self.words(f"{finding['topic'].capitalize()}: {finding['text']} {finding['advice']}".rstrip())
            _say(text, finding["severity"], feedback)
        if "REPORT" in files:
            self.reword(files["REPORT"])
        numbers = {name: result["numbers"][name.lower()] for name in _NUMBERS}
        known = {name: value for name, value in numbers.items() if value is not None}
        return {**files, "VERDICT": result["severity"], **known}


def _say(text: str, severity: str, feedback: QgsProcessingFeedback) -> None:
    if severity == "stop":
        feedback.reportError(text, fatalError=False)
    elif severity == "warning":
        feedback.pushWarning(text)
    else:
        feedback.pushInfo(text)
