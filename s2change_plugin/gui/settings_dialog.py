"""The settings: the engine's Python, whether it works, and what it takes on the disk."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial

from qgis.core import QgsProcessingFeedback, QgsSettings
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QApplication, QDialog, QDialogButtonBox, QLabel, QMessageBox, QPushButton, QVBoxLayout, QWidget

from ..runtime.environment import (
    PYTHON_SETTING,
    SET_UP,
    engine_arguments,
    engine_python,
    missing_engine,
    requirements,
)
from ..runtime.install import engines, remove_engine
from ..runtime.run import EngineError, is_running, run_process

_PATIENCE_S = 60
_OTHERWISE = "Choose another, or leave it empty and run Plugins → S2Change → Set up the engine."


class SettingsDialog(QDialog):
    """One path, a button that tries it, and one that removes what was set up."""

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
        layout.addWidget(self.python)
        self.state, self.place = QLabel(), QLabel()
        for label in (self.state, self.place):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            layout.addWidget(label)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        test = QPushButton("Try the engine")
        buttons.addButton(test, QDialogButtonBox.ButtonRole.ActionRole)
        test.clicked.connect(self.try_engine)
        self.remove = QPushButton("Remove the engine…")
        buttons.addButton(self.remove, QDialogButtonBox.ButtonRole.ActionRole)
        self.remove.clicked.connect(self.remove_engines)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)
        self._show_engine()

    def _show_engine(self) -> None:
        """Say what there is."""
        self.python.lineEdit().setPlaceholderText(str(engine_python() or "not set up yet"))
        self.state.setText(missing_engine() or "The engine is set up.")
        self.engines = engines()
        places = [f"{folder} ({_size(folder) / 1e9:.1f} GB)" for folder in self.engines]
        self.place.setText(f"What was set up lies in {', '.join(places)}." if places else "")
        self.place.setVisible(bool(places))
        self.remove.setEnabled(bool(places))

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

    def remove_engines(self) -> None:
        """Remove what was set up, by other versions of the plugin too, if the user is sure and nothing runs."""
        if is_running():
            self.state.setText("S2Change is running. Wait until it is done, or cancel it, and remove the engine then.")
            return
        several = " Other versions of S2Change made some of it, which another QGIS may use." if len(self.engines) > 1 else ""
        asked = f"{self.place.text()}{several}\nRemove it? Your models and settings stay, and the engine can be set up again."
        if QMessageBox.question(self, self.windowTitle(), asked) != QMessageBox.StandardButton.Yes:
            return
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        self.state.setText("Removing the engine…")
        # Clicks would wait and count afterwards.
        self.setEnabled(False)
        problems = []
        try:
            for folder in self.engines:
                try:
                    _aside(partial(remove_engine, folder))
                except EngineError as error:
                    problems.append(str(error))
        finally:
            self.setEnabled(True)
            QApplication.restoreOverrideCursor()
        self._show_engine()
        if problems:
            self.state.setText("\n".join(problems))

    def _keep(self) -> None:
        QgsSettings().setValue(PYTHON_SETTING, self.python.filePath().strip())


def _aside(work: Callable[[], None]) -> None:
    """Do what may take a minute, in another thread, while windows are drawn."""
    with ThreadPoolExecutor(1) as other:
        doing = other.submit(work)
        while not wait([doing], 0.05).done:
            QApplication.processEvents()
    doing.result()


def _size(folder: str | os.PathLike) -> int:
    """Bytes in a folder. Tens of thousands of files are looked at in a second, as on Windows a listing tells their sizes."""
    total = 0
    # What is removed meanwhile has none.
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            total += _size(entry) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
    return total


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
