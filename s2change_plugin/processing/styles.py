"""How results look: styled as they arrive, and by a file beside each in batch, with qgis_process, and next week."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from qgis.core import (
    QgsContrastEnhancement,
    QgsMapLayer,
    QgsMultiBandColorRenderer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingUtils,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import QThread

from ..paths import resources

# At the end of each style that is not the user's; QGIS leaves it out when it saves one.
_MARK = "<!-- Written by S2Change -->"
_TRUE_COLOUR = ("B04", "B03", "B02")
# Of a layer, what the group of its run was called: a group that the user has renamed stays as it is.
_GROUP = "s2change/group"
# Reflectance that is white: clouds, snow and the brightest roofs exceed it, ground hardly does.
_WHITE = 0.3


class Styler(QgsProcessingLayerPostProcessorInterface):
    """Gives a loaded layer its style, which Processing does not do by itself."""

    def __init__(self, style: Path) -> None:
        super().__init__()
        self._style = style
        # What the group was called in which the layer was put; empty where that is not known.
        self.group = ""

    def postProcessLayer(self, layer: QgsMapLayer, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        """Called by QGIS in its main thread, once the layer is in the project."""
        layer.loadNamedStyle(str(self._style))
        node = layer.project().layerTreeRoot().findLayer(layer.id()) if layer.project() else None
        if node and not layer.customProperty(_GROUP):
            # QGIS folds what has a palette, and with it what its colours mean; what the user has folded since then stays so.
            node.setExpanded(True)
        if self.group:
            layer.setCustomProperty(_GROUP, self.group)
        layer.triggerRepaint()


# One for each layer, since the run's context deletes it; and a reference, since QGIS keeps none: without it the style is
# gone now and then.
_STYLERS: list[Styler] = []


def style_outputs(styles: dict[str, Path | None], context: QgsProcessingContext) -> None:
    """Give output files their styles, but where there is one beside the file, and their places among the layers.

    Outputs that share a name but for its end get none beside them.

    Args:
        styles: path of a file to the style that it gets, from the bottom layer to the top one; None gives none.
        context: of the run.
    """
    # A raster and a vector layer of one name have one file for a style, which could be right for one of them alone.
    shared = Counter(map(style_beside, styles))
    own = {path for path in styles if _is_own(style_beside(path))}
    for place, (path, shipped) in enumerate(styles.items(), start=1):
        beside, alone = style_beside(path), shared[style_beside(path)] == 1
        if path not in own:
            # A result is worth more than its style.
            with suppress(OSError):
                beside.unlink(missing_ok=True)
                if shipped and alone:
                    shutil.copyfile(shipped, beside)
        if context.willLoadLayerOnCompletion(path):
            details = context.layerToLoadOnCompletionDetails(path)
            style = beside if path in own and alone else shipped
            if style:
                # Its own, not the last one: another run's thread may come in between.
                styler = Styler(style)
                _STYLERS.append(styler)
                details.setPostProcessor(styler)
            # Only within a group does a greater key lie above a lesser one, whatever layer is selected.
            details.layerSortKey = place


def name_layers(
    paths: Iterable[str], kinds: Sequence[str], title: str, group: Callable[[str], str], context: QgsProcessingContext
) -> None:
    """Name a run's layers, each after what it is and then after the run, and their group; in the thread that owns the layer tree.

    The run's name is numbered where an older one has it. Where it writes over what is shown already, QGIS adds no layer: then the number is that of
    those layers, and the group theirs, which is called as this run if nothing else is in it. Names that a user or a model gives stay.

    Args:
        paths: of the files, of which not all need to be loaded.
        kinds: what QGIS calls outputs by itself.
        title: what the run is called.
        group: what the group of a run of that name is called.
        context: of the run.
    """
    loaded = [path for path in paths if context.willLoadLayerOnCompletion(path)]
    if not loaded:
        return
    details = [context.layerToLoadOnCompletionDetails(path) for path in loaded]
    project = details[0].project or context.project()
    root = project.layerTreeRoot()
    found = [QgsProcessingUtils.mapLayerFromString(path, context, False) for path in loaded]
    shown = [layer for layer in found if layer and root.findLayer(layer.id())]
    old = root.findLayer(shown[0].id()).parent() if shown else None
    is_own = old is not None and all(layer.customProperty(_GROUP) == old.name() for layer in shown)
    is_all = old is not None and {one.layerId() for one in old.findLayers()} == {layer.id() for layer in shown}
    is_named = not shown or (is_own and is_all)
    taken = {_title_of(layer) for layer in project.mapLayers().values() if layer not in found}
    kept = [_title_of(layer) for layer in shown if re.fullmatch(rf"{re.escape(title)}( \(\d+\))?", _title_of(layer))]
    numbered = (f"{title} ({number})" for number in count(2))
    free = (one for one in chain([title], numbered) if one not in taken)
    title = next(one for one in chain(kept, free) if not is_named or root.findGroup(group(one)) in (None, old))
    name = group(title) if is_named else old.name()
    if is_named and old is not None:
        old.setName(name)
    for one in details:
        # The tree itself has no name.
        one.groupName = name
        if one.name in kinds:
            one.name = f"{one.name}: {title}"
        if is_named and one.postProcessor():
            one.postProcessor().group = name


def _title_of(layer: QgsMapLayer) -> str:
    """What the run is called whose layer this is, as far as its name tells."""
    return str(layer.name().partition(": ")[2])


def renew_layers(paths: Iterable[str], project: QgsProject | None) -> None:
    """Let a project's layers show what has taken the place of their files, which they still have open."""
    for layer in layers_of(paths, project):
        # A script may run an algorithm in another thread than that of the layers.
        if layer.isValid() and layer.thread() == QThread.currentThread():
            layer.dataProvider().reloadData()
            layer.triggerRepaint()


def layers_of(paths: Iterable[str], project: QgsProject | None) -> Iterator[QgsMapLayer]:
    """A project's layers that show one of these files."""
    asked = [Path(path) for path in paths]
    files = {path.resolve() for path in asked}
    names = {path.name for path in (*asked, *files)}
    for layer in project.mapLayers().values() if project else ():
        file = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source()).get("path")
        # Names first: a file may lie on a network that does not answer.
        if file and Path(file).name in names and Path(file).resolve() in files:
            yield layer


def _is_own(style: Path) -> bool:
    """Whether there is a style that is the user's, not that of another result which had the file's name before."""
    try:
        return _MARK not in style.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return style.exists()


def shipped_style(name: str) -> Path:
    """The style that ships by that name, such as "mask"."""
    return resources() / "styles" / f"{name}.qml"


def style_beside(path: str) -> Path:
    """The file in which QGIS looks for a layer's style."""
    return Path(path).with_suffix(".qml")


def true_colour(path: str, bands: Sequence[str]) -> Path | None:
    """A style for a raster of reflectance, in a temporary file: true colour; None where it has not the bands for that.

    Args:
        path: of the raster.
        bands: the names of its layers, in their order.
    """
    if not set(_TRUE_COLOUR) <= set(bands):
        return None
    style = Path(QgsProcessingUtils.generateTempFilename("true_colour.qml"))
    layer = QgsRasterLayer(path, "scene")
    red, green, blue = (bands.index(name) + 1 for name in _TRUE_COLOUR)
    renderer = QgsMultiBandColorRenderer(layer.dataProvider(), red, green, blue)
    renderer.setRedContrastEnhancement(_stretch(layer, red))
    renderer.setGreenContrastEnhancement(_stretch(layer, green))
    renderer.setBlueContrastEnhancement(_stretch(layer, blue))
    layer.setRenderer(renderer)
    layer.saveNamedStyle(str(style), QgsMapLayer.StyleCategory.Symbology | QgsMapLayer.StyleCategory.Rendering)
    with suppress(OSError), style.open("a", encoding="utf-8") as file:
        file.write(f"{_MARK}\n")
    return style


def _stretch(layer: QgsRasterLayer, band: int) -> QgsContrastEnhancement:
    stretch = QgsContrastEnhancement(layer.dataProvider().dataType(band))
    stretch.setContrastEnhancementAlgorithm(QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum)
    stretch.setMinimumValue(0)
    stretch.setMaximumValue(_WHITE)
    return stretch
