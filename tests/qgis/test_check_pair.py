import json
import os
import subprocess
from pathlib import Path

import processing
import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildDependency,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingOutputHtml,
    QgsProcessingParameterRasterLayer,
)

from tests.qgis.conftest import PYTHON, STAGE

ALGORITHM = "s2change:checkpair"
NUMBERS = ("SEVERITY", "USABLE_SHARE", "OVERLAP_BEFORE", "OVERLAP_AFTER", "SHIFT_ROWS", "SHIFT_COLS", "BRIGHTNESS")


class Feedback(QgsProcessingFeedback):
    """Keeps what it is told, by gravity."""

    def __init__(self) -> None:
        super().__init__(False)
        self.said: dict[str, list[str]] = {"info": [], "warning": [], "error": []}
        self.fatal = False
        self.steps: list[float] = []
        self.progressChanged.connect(self.steps.append)

    def pushInfo(self, text: str) -> None:
        self.said["info"].append(text)

    def pushWarning(self, text: str) -> None:
        self.said["warning"].append(text)

    def reportError(self, text: str, fatalError: bool = False) -> None:  # noqa: N803 - Qt's name
        self.said["error"].append(text)
        self.fatal |= fatalError


@pytest.fixture
def asked(pair: Path, tmp_path: Path) -> dict:
    """Parameters of a plain run."""
    names = {"BEFORE": str(pair / "before.tif"), "AFTER": str(pair / "after.tif"), "MODEL": "standin"}
    return {**names, "REPORT": str(tmp_path / "report.html")}


def test_it_writes_a_report_and_gives_numbers(provider, engine, asked: dict) -> None:
    feedback = Feedback()
    result = processing.run(ALGORITHM, asked, feedback=feedback)
    assert result["VERDICT"] == "warning"
    assert result["SEVERITY"] == 1
    assert set(NUMBERS) <= set(result)
    # Five rows of 300 have no data; a check looks at samples.
    assert 0.97 < result["USABLE_SHARE"] < 1
    assert result["OVERLAP_BEFORE"] == result["OVERLAP_AFTER"] == 1
    assert result["SHIFT_ROWS"] == pytest.approx(0, abs=0.1)
    page = Path(asked["REPORT"]).read_text()
    assert "<html" in page
    assert "before.tif" in page
    assert "--" not in page.partition("<body>")[2].replace("<!--", "").replace("-->", ""), "the dialog has no options"
    assert feedback.steps[-1] == 100


def test_what_a_run_would_take_is_in_the_log_the_report_and_the_numbers(provider, engine, asked: dict) -> None:
    feedback = Feedback()
    result = processing.run(ALGORITHM, asked, feedback=feedback)
    (said,) = [text for text in feedback.said["info"] if text.startswith("Run: ")]
    assert said.endswith(" of memory.")
    assert said.removeprefix("Run: ") in Path(asked["REPORT"]).read_text()
    assert result["RUN_SECONDS"] >= 0
    assert f"{result['RUN_MEMORY_GB']:.1f} GB" in said
    assert result["RUN_DISK_GB"] < 0.01


def test_numbers_that_are_not_known_are_left_out(provider, engine, asked: dict) -> None:
    assert "DAYS" not in processing.run(ALGORITHM, asked)


def test_each_finding_is_said_once_by_its_severity(provider, engine, asked: dict) -> None:
    feedback = Feedback()
    processing.run(ALGORITHM, asked, feedback=feedback)
    assert [text for text in feedback.said["info"] if text.startswith("Overlap: ")]
    assert [text for text in feedback.said["warning"] if text.startswith("Dates: ")]
    assert feedback.said["error"] == []
    said = "\n".join(text for texts in feedback.said.values() for text in texts)
    assert said.count("Nothing tells the date") == 1


def test_a_stop_is_a_result_and_no_failure(provider, engine, asked: dict, pair: Path) -> None:
    feedback = Feedback()
    result = processing.run(ALGORITHM, {**asked, "BEFORE_BANDS": "B02,B03,B04,B05,B06,B07,B08,-,-,-"}, feedback=feedback)
    assert (result["VERDICT"], result["SEVERITY"]) == ("stop", 2)
    assert ["B8A" in text for text in feedback.said["error"]] == [True]
    assert not feedback.fatal
    assert "B8A" in Path(asked["REPORT"]).read_text()


def test_the_engines_options_are_called_as_the_dialog_calls_them(provider, fake_engine, asked: dict) -> None:
    fake_engine("""
numbers = "severity shift_rows shift_cols shift_residual usable_share overlap_before overlap_after days day_of_year_gap sun_difference brightness run_seconds run_memory_gb run_disk_gb"
finding = {"topic": "clouds", "severity": "warning", "text": "No mask.", "advice": "Give --before-mask, --bounds or --normalise, not --device."}
say(event="result", severity="warning", numbers=dict.fromkeys(numbers.split()), findings=[finding])
""")
    Path(asked["REPORT"]).write_text("Give --before-mask.")
    feedback = Feedback()
    processing.run(ALGORITHM, asked, feedback=feedback)
    assert Path(asked["REPORT"]).read_text() == "Give “Mask of before”."
    assert feedback.said["warning"] == [
        "Clouds: No mask. Give “Mask of before”, “Extent” or “Bring after to the brightness of before”, not --device."
    ]


def test_the_report_is_an_output_that_the_results_viewer_lists(provider) -> None:
    outputs = {one.name(): one for one in QgsApplication.processingRegistry().algorithmById(ALGORITHM).outputDefinitions()}
    assert isinstance(outputs["REPORT"], QgsProcessingOutputHtml)
    assert {*NUMBERS, "VERDICT", "DAYS", "DAY_OF_YEAR_GAP", "SUN_DIFFERENCE", "SHIFT_RESIDUAL"} <= set(outputs)


@pytest.mark.parametrize(("bands", "runs"), [("", True), ("B02,B03,B04,B05,B06,B07,B08,-,-,-", False)])
def test_a_model_detects_change_where_the_check_does_not_say_stop(provider, engine, asked: dict, bands: str, runs: bool) -> None:
    model = QgsProcessingModelAlgorithm("careful", "tests")
    given = {"MODEL": "standin", "BEFORE_BANDS": bands}
    for name in ("BEFORE", "AFTER"):
        model.addModelParameter(QgsProcessingParameterRasterLayer(name, name), QgsProcessingModelParameter(name))
    for child_id, algorithm in (("check", ALGORITHM), ("branch", "native:condition"), ("detect", "s2change:detectchange")):
        child = QgsProcessingModelChildAlgorithm(algorithm)
        child.setChildId(child_id)
        if child_id == "branch":
            child.setConfiguration({"conditions": [{"name": "fits", "expression": "@check_SEVERITY < 2"}]})
            child.setDependencies([QgsProcessingModelChildDependency("check")])
        else:
            for name in ("BEFORE", "AFTER"):
                child.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromModelParameter(name)])
            for name, value in given.items():
                child.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromStaticValue(value)])
        if child_id == "detect":
            child.setDependencies([QgsProcessingModelChildDependency("branch", "fits")])
        model.addChildAlgorithm(child)
    context = QgsProcessingContext()
    _, done = model.run({"BEFORE": asked["BEFORE"], "AFTER": asked["AFTER"]}, context, QgsProcessingFeedback(False))
    assert done
    children = context.modelResult().childResults()
    assert children["check"].outputs()["SEVERITY"] == (1 if runs else 2)
    assert ("detect" in children) == runs
    if runs:
        assert children["detect"].outputs()["CHANGED_PIXELS"] == 2400


def test_qgis_process_checks_two_products(products: list[Path], pair: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "QGIS_PLUGINPATH": str(STAGE), "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile")}
    environment |= {"QT_QPA_PLATFORM": "offscreen", "S2CHANGE_PYTHON": str(PYTHON), "S2CHANGE_MODELS": str(pair / "models")}
    enable = ["qgis_process", "plugins", "enable", "s2change_plugin"]
    subprocess.run(enable, env=environment, capture_output=True, check=True)
    listed = subprocess.run(["qgis_process", "--json", "list"], env=environment, capture_output=True, text=True, check=True)
    algorithms = json.loads(listed.stdout)["providers"]["s2change"]["algorithms"]
    names = (
        "detectchange",
        "checkpair",
        "preparescene",
        "evaluatechange",
        "applyreview",
        "drawsample",
        "estimatearea",
        "exporttrainingdata",
        "setupengine",
    )
    assert set(algorithms) == {f"s2change:{name}" for name in names}
    report = tmp_path / "report.html"
    inputs = {"BEFORE": str(products[0]), "AFTER": str(products[1]), "MODEL": "standin", "REPORT": str(report)}
    done = subprocess.run(
        ["qgis_process", "--json", "run", ALGORITHM, "-"],
        input=json.dumps({"inputs": inputs}),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)["results"]
    assert result["DAYS"] == pytest.approx(733, abs=0.1)
    assert result["VERDICT"] in ("ok", "warning")
    # The cloud and its rim of 60 m, of all; a check looks at samples.
    assert 1 - result["USABLE_SHARE"] == pytest.approx(72 * 72 / (300 * 342), abs=0.03)
    assert "S2A_MSIL1C" in report.read_text()
