"""How results look: styled as they arrive, and by a file beside each in batch, with qgis_process, and next week."""

from __future__ import annotations

import shutil
from pathlib import Path

from qgis.core import QgsMapLayer, QgsProcessingContext, QgsProcessingFeedback, QgsProcessingLayerPostProcessorInterface

from ..paths import resources

# From bottom to top.
_ORDER = ("PROBABILITY", "QUALITY", "MASK", "POLYGONS")


class Styler(QgsProcessingLayerPostProcessorInterface):
    """Gives a loaded layer the style beside its file, which Processing does not do by itself."""

    def postProcessLayer(self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        """Called by QGIS in its main thread, once the layer is in the project."""
        layer.loadNamedStyle(str(_style_beside(layer.source().split("|")[0])))
        layer.triggerRepaint()


# One for each layer, since the run's context deletes it; and a reference, since QGIS keeps none: without it the style is
# gone now and then.
_STYLERS: list[Styler] = []


def style_output(name: str, path: str, group: str, context: QgsProcessingContext) -> None:
    """Give an output file its style, unless it has one, and its place among the layers if it is loaded.

    Args:
        name: of the output, such as "MASK".
        path: of the file.
        group: of the layer tree, one for the results of a run.
        context: of the run.
    """
    beside = _style_beside(path)
    if not beside.exists():
        shutil.copyfile(resources() / "styles" / f"{name.lower()}.qml", beside)
    if context.willLoadLayerOnCompletion(path):
        details = context.layerToLoadOnCompletionDetails(path)
        _STYLERS.append(Styler())
        details.setPostProcessor(_STYLERS[-1])
        # Only within a group does a greater key lie above a lesser one, whatever layer is selected.
        details.groupName = group
        details.layerSortKey = 1 + _ORDER.index(name)


def _style_beside(path: str) -> Path:
    return Path(path).with_suffix(".qml")
