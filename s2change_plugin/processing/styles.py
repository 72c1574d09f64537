"""How results look: a style beside each file, so that it also holds in batch, with qgis_process, and next week."""

from __future__ import annotations

import shutil
from pathlib import Path

from qgis.core import QgsProcessingContext

from ..paths import resources

# From bottom to top.
_ORDER = ("PROBABILITY", "QUALITY", "MASK", "POLYGONS")


def style_output(name: str, path: str, context: QgsProcessingContext) -> None:
    """Give an output file its style, unless it has one, and its place among the layers if it is loaded.

    Args:
        name: of the output, such as "MASK".
        path: of the file.
        context: of the run.
    """
    beside = Path(path).with_suffix(".qml")
    if not beside.exists():
        shutil.copyfile(resources() / "styles" / f"{name.lower()}.qml", beside)
    if context.willLoadLayerOnCompletion(path):
        context.layerToLoadOnCompletionDetails(path).layerSortKey = _ORDER.index(name)
