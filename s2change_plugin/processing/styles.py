"""How results look: styled as they arrive, and by a file beside each in batch, with qgis_process, and next week."""

from __future__ import annotations

import shutil
from pathlib import Path

from qgis.core import QgsMapLayer, QgsProcessingContext, QgsProcessingFeedback, QgsProcessingLayerPostProcessorInterface

from ..paths import resources

# From bottom to top.
_ORDER = ("PROBABILITY", "QUALITY", "MASK", "POLYGONS")


class Styler(QgsProcessingLayerPostProcessorInterface):
    """Gives a loaded layer its style, which Processing does not do by itself."""

    def __init__(self, style: Path) -> None:
        super().__init__()
        self._style = style

    def postProcessLayer(self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        """Called by QGIS in its main thread, once the layer is in the project."""
        layer.loadNamedStyle(str(self._style))
        layer.triggerRepaint()


# One for each layer, since the run's context deletes it; and a reference, since QGIS keeps none: without it the style is
# gone now and then.
_STYLERS: list[Styler] = []


def style_outputs(files: dict[str, str], group: str, context: QgsProcessingContext) -> None:
    """Give output files their styles, but where the user has one beside the file, and their places among the layers.

    Args:
        files: output, such as "MASK", to path.
        group: of the layer tree, one for the results of a run.
        context: of the run.
    """
    beside = {name: Path(path).with_suffix(".qml") for name, path in files.items()}
    own = {style for style in beside.values() if style.exists()}
    for name, path in files.items():
        style = resources() / "styles" / f"{name.lower()}.qml"
        if beside[name] in own:
            style = beside[name]
        elif not beside[name].exists():
            shutil.copyfile(style, beside[name])
        if context.willLoadLayerOnCompletion(path):
            _STYLERS.append(Styler(style))
            details = context.layerToLoadOnCompletionDetails(path)
            details.setPostProcessor(_STYLERS[-1])
            # Only within a group does a greater key lie above a lesser one, whatever layer is selected.
            details.groupName = group
            details.layerSortKey = 1 + _ORDER.index(name)
