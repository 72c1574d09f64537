import threading
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingParameterString,
    QgsSettings,
)
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QComboBox, QMessageBox

from s2change_plugin.gui import settings_dialog
from s2change_plugin.gui.settings_dialog import SettingsDialog
from s2change_plugin.processing.models import model_names
from s2change_plugin.runtime import environment, install, run
from s2change_plugin.runtime.environment import PYTHON_SETTING
from s2change_plugin.runtime.run import EngineError


@pytest.fixture
def settings():
    yield QgsSettings()
    QgsSettings().remove(PYTHON_SETTING)


def test_the_settings_keep_the_python_that_is_named(qtbot, settings, engine) -> None:
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)
    dialog.python.setFilePath("/my/python")
    dialog.accept()
    assert settings.value(PYTHON_SETTING) == "/my/python"


def test_trying_the_engine_says_whether_it_works(qtbot, settings, engine) -> None:
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)
    dialog.try_engine()
    assert "It works" in dialog.state.text()
    assert "standin" in dialog.state.text()
    dialog.python.setFilePath("/usr/bin/python3")
    dialog.try_engine()
    assert "It does not work" in dialog.state.text()
    for program in ("/bin/true", "/bin/echo"):
        dialog.python.setFilePath(program)
        dialog.try_engine()
        assert dialog.state.text() == f"It does not work: {program} is no Python with the packages of the engine."
    dialog.reject()
    assert settings.value(PYTHON_SETTING, "") == ""


def test_a_program_that_stays_open_is_not_waited_for_for_ever(qtbot, settings, engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2change_plugin.gui.settings_dialog._PATIENCE_S", 1)
    monkeypatch.setattr("s2change_plugin.gui.settings_dialog.engine_arguments", lambda arguments: ["60"])
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)
    dialog.python.setFilePath("/bin/sleep")
    dialog.try_engine()
    assert "did not answer within 1 seconds" in dialog.state.text()
    assert settings.value(PYTHON_SETTING, "") == ""


@pytest.fixture
def managed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine of 1.5 GB that was set up, which is the one that is used."""
    folder = tmp_path / "s2change" / "engine"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    with (folder / "bin" / "torch").open("wb") as sparse:
        sparse.truncate(1_500_000_000)
    (folder / environment.READY).write_text("these")
    monkeypatch.delenv("S2CHANGE_PYTHON", raising=False)
    monkeypatch.setattr(environment, "PACKAGE", tmp_path / "s2change_plugin")
    monkeypatch.setattr(environment, "packages", lambda: "these")
    for module in (environment, install):
        monkeypatch.setattr(module, "managed_environment", lambda: folder)
    return folder


def test_the_settings_say_where_the_engine_lies_and_remove_it_when_asked(
    qtbot, settings, managed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)
    assert dialog.state.text() == "The engine is set up."
    assert dialog.place.text() == f"What was set up lies in {managed} (1.5 GB)."
    asked: list[str] = []

    def answer(button: QMessageBox.StandardButton):
        return lambda parent, title, text: asked.append(text) or button

    with run._counted(QgsProcessingFeedback()):
        dialog.remove.click()
    assert "S2Change is running" in dialog.state.text()
    monkeypatch.setattr(QMessageBox, "question", answer(QMessageBox.StandardButton.No))
    dialog.remove.click()
    assert managed.is_dir()
    monkeypatch.setattr(QMessageBox, "question", answer(QMessageBox.StandardButton.Yes))
    dialog.remove.click()
    assert list(managed.parent.iterdir()) == []
    assert [text.startswith(f"What was set up lies in {managed} (1.5 GB).") for text in asked] == [True, True]
    assert "not set up yet" in dialog.state.text()
    assert dialog.python.lineEdit().placeholderText() == "not set up yet"
    assert (dialog.place.text(), dialog.remove.isEnabled()) == ("", False)


def test_engines_of_other_versions_are_listed_and_removed_too(
    qtbot, settings, managed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows after an update, before its engine is set up."""
    ours = [managed.with_name(name) for name in ("engine-0123abcd", "engine-89abcdef")]
    managed.rename(ours[0])
    ours[1].mkdir()
    (ours[1] / environment.READY).touch()
    not_ours = managed.with_name("engineering")
    not_ours.mkdir()
    asked: list[str] = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", lambda parent, title, text: asked.append(text) or answers.pop(0))
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)
    assert dialog.place.text() == f"What was set up lies in {ours[0]} (1.5 GB), {ours[1]} (0.0 GB)."
    dialog.remove.click()
    assert all(folder.is_dir() for folder in ours)
    dialog.remove.click()
    assert list(managed.parent.iterdir()) == [not_ours]
    assert "another QGIS may use" in asked[1]
    assert (dialog.place.text(), dialog.remove.isEnabled()) == ("", False)


def test_an_engine_that_is_held_keeps_no_other_from_being_removed(
    qtbot, settings, managed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = managed.with_name("engine-0123abcd")
    other.mkdir()
    (other / environment.READY).touch()
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)

    def held(folder: Path) -> None:
        if folder == managed:
            raise EngineError("It is in use.")
        install.remove_engine(folder)

    monkeypatch.setattr(settings_dialog, "remove_engine", held)
    monkeypatch.setattr(QMessageBox, "question", lambda *given: QMessageBox.StandardButton.Yes)
    dialog.remove.click()
    assert list(managed.parent.iterdir()) == [managed]
    assert dialog.state.text() == "It is in use."


def test_windows_are_drawn_while_an_engine_is_removed(qtbot, settings, managed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow disk that takes a minute or two."""
    drawn, seen = threading.Event(), []
    monkeypatch.setattr(settings_dialog, "remove_engine", lambda folder: seen.append(drawn.wait(10)))
    monkeypatch.setattr(QMessageBox, "question", lambda *asked: QMessageBox.StandardButton.Yes)
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)
    QTimer.singleShot(0, drawn.set)
    dialog.remove.click()
    assert seen == [True]


def test_an_engine_that_cannot_be_removed_is_said(qtbot, settings, managed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dialog = SettingsDialog()
    qtbot.addWidget(dialog)

    def held(folder: Path) -> None:
        raise EngineError("It is in use.")

    monkeypatch.setattr(settings_dialog, "remove_engine", held)
    monkeypatch.setattr(QMessageBox, "question", lambda *given: QMessageBox.StandardButton.Yes)
    dialog.remove.click()
    assert dialog.state.text() == "It is in use."
    assert dialog.remove.isEnabled()


def test_the_model_can_be_picked_by_name_or_typed_as_a_path(
    qtbot, provider, engine, qgis_iface, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from processing.gui.wrappers import WidgetWrapperFactory

    (tmp_path / "cardless.safetensors").touch()
    monkeypatch.setattr("s2change_plugin.processing.models.shipped_models", lambda: tmp_path)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("s2change:detectchange")
    definition = algorithm.parameterDefinition("MODEL")
    wrapper = WidgetWrapperFactory.create_wrapper_from_metadata(definition, None, 0, 0)
    qtbot.addWidget(wrapper.widget)
    names = [wrapper._names.itemText(row) for row in range(wrapper._names.count())]
    assert names[0] == "auto"
    assert "standin" in names
    assert "cardless" not in names
    wrapper.setValue(str(Path("/my/model.safetensors")))
    assert wrapper.value() == "/my/model.safetensors"


def test_the_dialog_tells_the_help_of_the_model_where_one_points(qtbot, provider, engine, qgis_iface) -> None:
    """Its licence above all, on the list as on the label before it."""
    from processing.gui.wrappers import WidgetWrapperFactory

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("s2change:detectchange")
    wrapper = WidgetWrapperFactory.create_wrapper_from_metadata(algorithm.parameterDefinition("MODEL"), None, 0, 0)
    qtbot.addWidget(wrapper.widget)
    (names,) = wrapper.widget.findChildren(QComboBox)
    for shown in (names, wrapper.label):
        assert "not for commercial use (CC BY-NC-SA 4.0)" in shown.toolTip()
    assert (wrapper.label.text(), names.accessibleName()) == ("Model", "Model")


def test_the_help_of_the_model_names_those_that_there_are(provider, engine) -> None:
    """In a dialog without the list, and for qgis_process."""
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("s2change:detectchange")
    names = ", ".join(model_names())
    assert "standin" in names
    assert f"the name of a model (installed: {names})" in algorithm.parameterDefinition("MODEL").help()


def test_in_the_model_designer_the_model_is_text_or_an_input_and_stays_so(qtbot, provider, engine, qgis_iface) -> None:
    from processing.modeler.ModelerParametersDialog import ModelerParametersDialog

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("s2change:detectchange")
    model = QgsProcessingModelAlgorithm()
    model.addModelParameter(QgsProcessingParameterString("which", "Which model"), QgsProcessingModelParameter("which"))

    def source_after(change) -> QgsProcessingModelChildParameterSource:
        dialog = ModelerParametersDialog(algorithm, model, algName="child")
        qtbot.addWidget(dialog)
        if change:
            dialog.widget.widget.wrappers["MODEL"].setWidgetValue(change)
        child = dialog.createAlgorithm()
        model.setChildAlgorithm(child)
        (source,) = child.parameterSources()["MODEL"]
        return source

    child = QgsProcessingModelChildAlgorithm("s2change:detectchange")
    child.setChildId("child")
    for date in ("BEFORE", "AFTER"):
        child.addParameterSources(date, [QgsProcessingModelChildParameterSource.fromStaticValue(f"{date}.tif")])
    model.addChildAlgorithm(child)
    assert source_after(None).staticValue() == "auto"
    assert source_after(QgsProcessingModelChildParameterSource.fromStaticValue("standin")).staticValue() == "standin"
    linked = source_after(QgsProcessingModelChildParameterSource.fromModelParameter("which"))
    assert linked.parameterName() == "which"
    assert source_after(None).parameterName() == "which"
