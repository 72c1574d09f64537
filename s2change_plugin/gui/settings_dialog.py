"""The settings: the engine's Python, and whether it works."""

from __future__ import annotations

import json
import threading

from qgis.core import QgsProcessingFeedback, QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QApplication, QDialog, QDialogButtonBox, QLabel, QPushButton, QVBoxLayout, QWidget

from ..runtime.environment import PYTHON_SETTING, SET_UP, engine_arguments, engine_python, missing_engine, requirements
from ..runtime.run import EngineError, run_process

_PATIENCE_S = 60
_OTHERWISE = "Choose another, or leave it empty and run Plugins → S2Change → Set up the engine."


class SettingsDialog(QDialog):
    """One path, and a button that tries it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("S2Change settings")
        self.setMinimumWidth(560)
        layout = QVBoxLayout(self)
        text = QLabel(
            "Python of the engine. Leave it empty to use the environment that “Set up the engine” makes; "
            f"another one needs the packages of {requirements() / 'engine.txt'}."
        )
        text.setWordWrap(True)
        layout.addWidget(text)
        self.python = QgsFileWidget()
        self.python.setStorageMode(QgsFileWidget.StorageMode.GetFile)
        self.python.setDialogTitle("Choose a Python")
        self.python.setFilePath(QgsSettings().value(PYTHON_SETTING, "", str))
        self.python.lineEdit().setPlaceholderText(str(engine_python() or "not set up yet"))
        layout.addWidget(self.python)
        self.state = QLabel(missing_engine() or "The engine is set up.")
        self.state.setWordWrap(True)
        self.state.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout.addWidget(self.state)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        test = QPushButton("Try the engine")
        buttons.addButton(test, QDialogButtonBox.ButtonRole.ActionRole)
        test.clicked.connect(self.try_engine)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)

    def accept(self) -> None:
        """Keep the choice."""
        self._keep()
        super().accept()

    def try_engine(self) -> None:
        """Keep the choice, start the engine, and show what it says."""
        before = QgsSettings().value(PYTHON_SETTING, "", str)
        self._keep()
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            self.state.setText(_tried())
        finally:
            QApplication.restoreOverrideCursor()
            QgsSettings().setValue(PYTHON_SETTING, before)

    def _keep(self) -> None:
        QgsSettings().setValue(PYTHON_SETTING, self.python.filePath().strip())


def _tried() -> str:
    """What comes of starting the engine."""
    said: list[str] = []
    feedback = QgsProcessingFeedback()
    # A program that is no Python may stay open.
    late = threading.Timer(_PATIENCE_S, feedback.cancel)
    late.start()
    try:
        problem = missing_engine()
        if not problem:
            arguments = engine_arguments(["models", "--json"])
            stderr = run_process(str(engine_python()), arguments, feedback, said.append, clicks=False)
            problem = (
                f"{engine_python()} is no Python with the packages of the engine ({stderr.splitlines()[-1]})." if stderr else ""
            )
        names = [] if problem else [card["name"] for card in json.loads(said[-1])]
    except EngineError as error:
        problem = str(error)
    except (IndexError, KeyError, TypeError, ValueError):
        problem = f"{engine_python()} is no Python with the packages of the engine."
    finally:
        late.cancel()
    if feedback.isCanceled():
        problem = f"{engine_python()} did not answer within {_PATIENCE_S} seconds."
    if problem:
        return f"It does not work: {problem.replace(SET_UP, _OTHERWISE)}"
    return f"It works: {engine_python()}\nModels: {', '.join(names) or 'none'}"
