"""Registers provider and menu with QGIS, and takes them away again."""

from __future__ import annotations

import re

from qgis import gui
from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QUrl
from qgis.PyQt.QtGui import QDesktopServices, QIcon
from qgis.PyQt.QtWidgets import QAction, QApplication, QMessageBox

from .paths import resources
from .processing.provider import PROVIDER, S2ChangeProvider
from .processing.sources import likely_pair
from .runtime.environment import missing_engine
from .runtime.run import stop_runs

_MENU = "S2Change"
_SET_UP = "s2change:setupengine"
_HELP = "https://github.com/s2change/s2change#readme"
# What shows an algorithm: since QGIS 4.2 it has the first name and is a widget, in a window of its own or docked.
_NAMES = ("QgsProcessingAlgorithmWidgetBase", "QgsProcessingAlgorithmDialogBase")
# What PyQt says of one that QGIS has deleted.
_GONE = re.compile(r"wrapped C/C\+\+ object of type \w*(?:Dialog|Widget) has been deleted")
_DIALOGS = tuple(getattr(gui, name) for name in _NAMES if hasattr(gui, name))


class S2ChangePlugin:
    """The plugin's lifetime in QGIS; iface is None in qgis_process."""

    def __init__(self, iface) -> None:
        self._iface = iface
        self._provider: S2ChangeProvider | None = None
        self._actions: list[QAction] = []

    def initProcessing(self) -> None:
        """Add the algorithms; all that qgis_process asks for."""
        self._provider = S2ChangeProvider()
        if not QgsApplication.processingRegistry().addProvider(self._provider):
            self._provider = None

    def initGui(self) -> None:
        """Add algorithms and menu."""
        self.initProcessing()
        icon = QIcon(str(resources() / "icon.svg"))
        detect = self._action("DetectChange", "Detect change…", lambda: self._run_on_pair("s2change:detectchange"), icon)
        self._action("CheckPair", "Check a pair…", lambda: self._run_on_pair("s2change:checkpair"))
        self._action("PrepareScene", "Prepare a scene…", lambda: self._run("s2change:preparescene"))
        self._action("EvaluateChange", "Evaluate a change map…", lambda: self._run("s2change:evaluatechange"))
        self._action("ApplyReview", "Apply a review to a change map…", lambda: self._run("s2change:applyreview"))
        self._action("DrawSample", "Draw a sample to check a change map…", lambda: self._run("s2change:drawsample"))
        self._action("EstimateArea", "Estimate the area of change…", lambda: self._run("s2change:estimatearea"))
        self._action("ExportTrainingData", "Export training data…", lambda: self._run_on_pair("s2change:exporttrainingdata"))
        self._action("SetUpEngine", "Set up the engine…", lambda: self._run(_SET_UP))
        self._action("Settings", "Settings…", self._settings)
        self._action("Help", "Help", lambda: QDesktopServices.openUrl(QUrl(_HELP)))
        self._iface.addToolBarIcon(detect)

    def unload(self) -> None:
        """Take all of it away: first what runs and what is open, for QGIS deletes the provider that these still ask."""
        stop_runs()
        self._close_dialogs()
        for action in self._actions:
            self._iface.removePluginMenu(_MENU, action)
            self._iface.removeToolBarIcon(action)
            # It belongs to QGIS's window.
            action.deleteLater()
        self._actions.clear()
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None

    def _close_dialogs(self) -> None:
        """Close the dialogs of our algorithms."""
        for dialog in QApplication.allWidgets():
            algorithm = dialog.algorithm() if isinstance(dialog, _DIALOGS) else None
            if algorithm is not None and algorithm.provider() is not None and algorithm.provider().id() == PROVIDER:
                getattr(dialog, "forceClose", dialog.close)()
                dialog.deleteLater()
                QCoreApplication.sendPostedEvents(dialog, QEvent.Type.DeferredDelete)

    def _action(self, name: str, text: str, run, icon: QIcon | None = None) -> QAction:
        """An entry of the menu; the user's shortcuts and toolbars know it by its name."""
        action = QAction(icon or QIcon(), text, self._iface.mainWindow())
        action.setObjectName(f"s2change{name}")
        action.triggered.connect(lambda: run())
        self._iface.addPluginToMenu(_MENU, action)
        self._actions.append(action)
        return action

    def _run_on_pair(self, algorithm: str) -> None:
        """Open its dialog with the two scenes that are chosen among the layers, or the only two of the project."""
        # What is above was added later.
        layers = [node.layer() for node in QgsProject.instance().layerTreeRoot().findLayers() if node.layer()][::-1]
        chosen = self._iface.layerTreeView().selectedLayersRecursive()
        self._run(algorithm, likely_pair([layer for layer in layers if layer in chosen], layers))

    def _run(self, algorithm: str, parameters: dict[str, str] | None = None) -> None:
        import processing

        # Only from its toolbox does Processing ask before it opens a dialog.
        problem = missing_engine()
        if problem and algorithm != _SET_UP:
            self._tell(problem)
            return
        try:
            processing.execAlgorithmDialog(algorithm, parameters or {})
        except RuntimeError as error:
            # Processing asks the dialog for its results, and that is gone where the plugin was unloaded meanwhile, or where it was closed before
            # another one that was opened later, whose loop runs within its own.
            if not _GONE.fullmatch(str(error)):
                raise

    def _tell(self, problem: str) -> None:
        """Say why the engine cannot start, and open what the user chooses against it."""
        box = QMessageBox(QMessageBox.Icon.Question, _MENU, problem, QMessageBox.StandardButton.Cancel, self._iface.mainWindow())
        set_up = box.addButton("Set up the engine…", QMessageBox.ButtonRole.AcceptRole)
        settings = box.addButton("Settings…", QMessageBox.ButtonRole.AcceptRole)
        box.exec()
        if box.clickedButton() == set_up:
            self._run(_SET_UP)
        elif box.clickedButton() == settings:
            self._settings()

    def _settings(self) -> None:
        from .gui.settings_dialog import SettingsDialog

        SettingsDialog(self._iface.mainWindow()).exec()
