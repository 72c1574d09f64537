"""The MODEL parameter's widget: the known names to pick from, or a path to type or browse for."""

from __future__ import annotations

from typing import Any

from processing.gui.wrappers import WidgetWrapper
from processing.modeler.ModelerParametersDialog import ModelerParametersDialog
from qgis.core import QgsProcessingParameterDefinition
from qgis.gui import QgsGui
from qgis.PyQt.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QToolButton, QWidget

from ..processing.models import AUTO, model_names


class ModelWidgetWrapper(WidgetWrapper):
    """An editable list and a browse button; in the model designer QGIS's own widget for text, which takes inputs and outputs as well."""

    def __new__(cls, definition: QgsProcessingParameterDefinition, dialog: QWidget | None, *place: int, **given: Any) -> Any:
        """The one that fits the dialog."""
        if not isinstance(dialog, ModelerParametersDialog):
            return super().__new__(cls)
        # A value there is where it comes from, which this wrapper would take for text.
        widget = QgsGui.processingGuiRegistry().createModelerParameterWidget(
            dialog.model, dialog.childId, definition, dialog.context
        )
        widget.setDialog(dialog)
        return widget

    def createWidget(self) -> QWidget:
        """Build it."""
        widget = QWidget()
        layout = QHBoxLayout(widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self._names = QComboBox()
        self._names.setEditable(True)
        self._names.setAccessibleName(self.parameterDefinition().description())
        self._names.setToolTip(self.parameterDefinition().toolTip())
        self._names.addItems([AUTO, *model_names()])
        self._names.setSizePolicy(self._names.sizePolicy().Policy.Expanding, self._names.sizePolicy().Policy.Fixed)
        self._names.currentTextChanged.connect(lambda: self.widgetValueHasChanged.emit(self))
        browse = QToolButton()
        browse.setText("…")
        browse.setToolTip("Choose a model file")
        browse.setAccessibleName("Choose a model file")
        browse.clicked.connect(self._browse)
        layout.addWidget(self._names)
        layout.addWidget(browse)
        return widget

    def createLabel(self) -> QLabel | None:
        """As QGIS's own wrappers have it, whose labels tell the help; none in batch."""
        label = super().createLabel()
        if label is not None:
            label.setToolTip(self.parameterDefinition().toolTip())
        return label

    def setValue(self, value: object) -> None:
        """Show a name or path."""
        self._names.setCurrentText(str(value or ""))

    def value(self) -> str:
        """The name or path."""
        return self._names.currentText().strip()

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self._names, "Choose a model", "", "Models (*.safetensors)")
        if path:
            self.setValue(path)
