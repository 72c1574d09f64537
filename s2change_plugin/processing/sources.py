"""What the user picked, as a path or name that the engine opens, and as words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRasterRange,
)

if TYPE_CHECKING:
    from .algorithm import EngineAlgorithm

# How the name of a band's file ends, or of a clip of it, which the engine takes for its folder.
_BAND = re.compile(r"(?:^|[_\-. ])B(?:\d\d|8A)(?:_[126]0m|_\(Raw\))?(?:[_\-. ]clip(?:ped)?)?$", re.IGNORECASE)
# A product's level and sensing date, in its name and in those of its files.
_PRODUCT = re.compile(r"_MSIL\d[A-Z]_(\d{4})(\d\d)(\d\d)T")
# The tile of a product.
_TILE = re.compile(r"_MSIL\d[A-Z]_\w*?_(T\d\d[A-Z]{3})_")
# How the names begin of what GDAL makes of a product, and how they end.
_OF_GDAL = re.compile(r"SENTINEL2_L\d[A-Z]:(.+?)(?::(?:\d+m|TCI|PREVIEW|SCL))?(?::EPSG_\d+)?$")
# Of a product's files, what comes after the product.
_INSIDE = re.compile(r"[/\\](?:GRANULE[/\\].*|MTD_MSIL\d[A-Z]\.xml)$", re.IGNORECASE)
_PICTURE = re.compile(r"(?:^|_)(?:TCI|PVI)(?:_[126]0m)?$", re.IGNORECASE)
# Until December 2016 names tell when the product was made, and the longest ones when the ground was seen.
_OLD_NAME = re.compile(r"_(?:OPER|USER)_")
_OLD_DAY = re.compile(r"_V(\d{4})(\d\d)(\d\d)T")
# A day in other names, such as 2021-08-20 or 20210820.
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)(?:T\d{6})?")

# QGIS's providers of pictures, tiles among them.
_WEB_MAPS = ("wms", "arcgismapserver")
# What the layer of a prepared scene is called, before the scene's name.
PREPARED = "Prepared scene"


def source_of(algorithm: EngineAlgorithm, parameters: dict, name: str, context: QgsProcessingContext) -> str:
    """The file behind a raster-layer parameter, or the path that was typed.

    Raises:
        QgsProcessingException: nothing given, or a layer without a file; one sentence.
    """
    label = algorithm.parameterDefinition(name).description()
    layer = layer_of(algorithm, parameters, name, context)
    if layer:
        return file_of(layer, label, algorithm.TAKES)
    text = algorithm.parameterAsString(parameters, name, context).strip()
    if not text:
        raise QgsProcessingException(f"{label}: nothing is chosen. Pick a raster layer or give a path.")
    return text


def layer_of(algorithm: QgsProcessingAlgorithm, parameters: dict, name: str, context: QgsProcessingContext) -> QgsMapLayer | None:
    """The layer behind a raster-layer parameter; None where a path was typed, which is for the engine to open, not for QGIS."""
    given = parameters.get(name)
    if isinstance(given, QgsMapLayer):
        return given
    # A layer's id or name in the project comes first.
    text = algorithm.parameterAsString(parameters, name, context).strip()
    return (context.getMapLayer(text) or _project_layer(context, text)) if text else None


def file_of(layer: QgsMapLayer, label: str, wanted: str = "a GeoTIFF") -> str:
    """The path that a layer's raster is read from, as GDAL opens it.

    Args:
        layer: of the project.
        label: of the parameter that it was picked for.
        wanted: what could be picked in place of a web map.

    Raises:
        QgsProcessingException: there is no such file; one sentence.
    """
    if layer.providerType() in _WEB_MAPS:
        raise QgsProcessingException(
            f"{label}: the layer {layer.name()!r} is a web map, which is only a picture; pick the layer of {wanted}."
        )
    kind = _kind_without_file(layer)
    if kind:
        raise QgsProcessingException(
            f"{label}: the layer {layer.name()!r} ({kind}) has no raster file with digital numbers. "
            "Export it as GeoTIFF first, or pick another layer."
        )
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    if parts.get("layerName"):
        return layer.source()
    path = str(parts.get("path") or layer.source())
    # "/vsizip/" before and "/inside.tif" after belong to the path; a product's subdataset name is one already.
    return f"{parts.get('vsiPrefix') or ''}{path}{parts.get('vsiSuffix') or ''}"


def _kind_without_file(layer: QgsMapLayer) -> str:
    """What a layer is that has no raster file of its own; empty where it has one."""
    if not isinstance(layer, QgsRasterLayer):
        return "a vector layer"
    if layer.providerType() != "gdal":
        return layer.providerType()
    if "/vsimem/" in layer.source():
        return "in the memory of QGIS"
    return "a VRT in the project" if layer.source().lstrip().startswith("<VRTDataset") else ""


def own_crs(layer: QgsMapLayer) -> QgsCoordinateReferenceSystem:
    """The CRS that a layer got in QGIS, where that is another than its file has; else an invalid one."""
    provider = layer.dataProvider()
    same = provider is None or layer.crs() == provider.crs()
    return QgsCoordinateReferenceSystem() if same else layer.crs()


def require_own_crs(layer: QgsMapLayer, label: str) -> None:
    """Refuse a raster that lies elsewhere in QGIS than its file says, where the engine goes by the file.

    Raises:
        QgsProcessingException: one sentence.
    """
    place = own_crs(layer)
    has_one = place.isValid() and layer.dataProvider().crs().isValid()
    if has_one or (place.isValid() and _is_placed(layer)):
        raise QgsProcessingException(
            f"{label}: the layer {layer.name()!r} has {place.userFriendlyIdentifier()} in QGIS, and its file {'another CRS' if has_one else 'none'}. "
            "Write the right one into the file (Raster → Projections → Assign Projection)."
        )


def require_own_nodata(layer: QgsRasterLayer, label: str, fill: float, lowest: float = -inf) -> None:
    """Refuse a raster of which other values are no data in QGIS than its file says, where the engine goes by the file.

    Args:
        layer: of a file.
        label: of the parameter that it was picked for.
        fill: what the engine takes for no data, whether the file says so or not.
        lowest: below it too, where the file declares nothing.

    Raises:
        QgsProcessingException: one sentence.
    """
    provider = layer.dataProvider()
    for band in range(1, layer.bandCount() + 1):
        has_one = provider.sourceHasNoDataValue(band)
        declared = provider.sourceNoDataValue(band) if has_one else fill
        others = [one for one in provider.userNoDataValues(band) if not {one.min(), one.max()} <= {declared, fill}]
        more = [_span(one) for one in others if has_one or one.max() >= lowest]
        if more:
            raise QgsProcessingException(
                f"{label}: the layer {layer.name()!r} has values in QGIS that count as no data ({', '.join(more)}), and its file does not say so. "
                "Write them into the file (Raster → Conversion → Translate, Assign a specified NoData value), or take them off the layer (Properties → "
                "Transparency)."
            )
        # What is no number is none, ticked or not.
        if declared != fill and not isnan(declared) and not provider.useSourceNoDataValue(band):
            raise QgsProcessingException(
                f"{label}: the layer {layer.name()!r} takes {declared:g} for a value in QGIS, and its file says that it is no data. Write a file that does "
                "not (Raster → Conversion → Translate, with -a_nodata none among the additional parameters), or tick it again (Properties → Transparency)."
            )


def _span(values: QgsRasterRange) -> str:
    return f"{values.min():g}" if values.min() == values.max() else f"{values.min():g} to {values.max():g}"


def _is_placed(layer: QgsRasterLayer) -> bool:
    """Whether a raster's pixels have places, as those of a plain picture have not: QGIS may give that the project's CRS by itself."""
    extent = layer.extent()
    return (extent.width(), extent.height()) != (layer.width(), layer.height()) or extent.xMinimum() != 0


def crs_text(crs: QgsCoordinateReferenceSystem) -> str:
    """A CRS as the engine and GDAL know it; what QGIS calls one that a user made up is no name elsewhere."""
    is_known = crs.authid() and not crs.authid().startswith("USER:")
    return str(crs.authid() if is_known else crs.toWkt(Qgis.CrsWktVariant.Preferred))


def short_name(source: str) -> str:
    """A source in few words: a product's tile and sensing date, a folder with its parent's name, else the file's name."""
    product, tile = _PRODUCT.search(source), _TILE.search(source)
    if product:
        return " ".join([*(tile.groups() if tile else ()), "-".join(product.groups())])
    path = Path(source)
    if _BAND.search(path.stem):
        # A file of a band stands for its folder, in which the days of several scenes may lie.
        if _day_in(path.stem):
            return _BAND.sub("", path.stem)
        path = path.parent
    # Path.is_dir raises where a name is too long for a file, as a signed address may be.
    if not os.path.isdir(path):
        return path.stem
    # Of "." these are the names of where it is.
    folder = Path(os.path.abspath(path))
    return f"{folder.parent.name}/{folder.name}"


def short_names(sources: Iterable[str], layers: Iterable[QgsMapLayer | None] = ()) -> list[str]:
    """Sources in few words, with the folders of different ones that have the same; those of layers as these are called, whose files may be temporary."""
    sources = list(sources)
    called = [_own_name(source, layer) for source, layer in zip_longest(sources, layers)]
    tried = chain([called, [short_name(source) for source in sources]], _longer_names(sources), [sources])
    return next(names for names in tried if len(set(names)) >= len(set(sources)))


def _own_name(source: str, layer: QgsMapLayer | None) -> str:
    """What a layer is called, but where that is the long name of a product or of its part, or a band's."""
    name = str(layer.name()) if layer and not (_OF_GDAL.match(source) or _INSIDE.search(source)) else ""
    is_own = name and not (_PRODUCT.search(name) or _BAND.search(name))
    return name.removeprefix(f"{PREPARED}: ") if is_own else short_name(source)


def pair_name(before: str, after: str) -> str:
    """Two names in few words: what they share once, and the days, where that is all that they differ by."""
    (place, day), (other_place, other_day) = _place_and_day(before), _place_and_day(after)
    if day and other_day and place == other_place:
        return f"{place} {day} → {other_day}".lstrip()
    return f"{before} → {after}"


def _place_and_day(name: str) -> tuple[str, str]:
    """What a name says but for its day, and the day; that is empty where there is none."""
    day = _day_in(name)
    if day is None:
        return name, ""
    around = name[: day.start()].rstrip("_-. "), name[day.end() :].lstrip("_-. ")
    return " ".join(filter(None, around)), "-".join(day.groups())


def _day_in(name: str) -> re.Match[str] | None:
    """The day in a name, with the time; None where it may be the one on which a product was made."""
    return None if _OLD_NAME.search(name) else _DAY.search(name)


def _longer_names(sources: list[str]) -> Iterator[list[str]]:
    """Sources with one of their folders, then with two, until all are there."""
    parts = [(*path.parent.parts, path.stem) for path in map(Path, sources)]
    for count in range(2, max(map(len, parts)) + 1):
        yield ["/".join(one[-count:]) for one in parts]


def likely_pair(chosen: Iterable[QgsMapLayer], others: Iterable[QgsMapLayer]) -> dict[str, str]:
    """BEFORE and AFTER, as ids of layers, where it is clear which are meant; else nothing.

    They are the two scenes among the layers that are chosen, or else the only two that there are, of two days as far as their names tell
    these. The earlier comes first; where the names do not tell, they stay as they come.
    """
    for layers in (chosen, others):
        scenes = {_scene_key(layer): layer for layer in layers if _may_be_scene(layer)}
        if len(scenes) == 2:
            first, second = scenes.values()
            days = _day(first), _day(second)
            if all(days) and days[0] == days[1]:
                return {}
            if all(days) and days[0] > days[1]:
                first, second = second, first
            return {"BEFORE": first.id(), "AFTER": second.id()}
    return {}


def _may_be_scene(layer: QgsMapLayer) -> bool:
    """A raster in a file that has several bands, or is one of a folder's, and is neither a picture nor a change map."""
    if not isinstance(layer, QgsRasterLayer) or layer.providerType() != "gdal" or not layer.isValid():
        return False
    if _OF_GDAL.match(layer.source()):
        return True
    stem = Path(layer.source()).stem
    # What has 8 bits is a picture for people.
    picture = _PICTURE.search(stem) or layer.dataProvider().dataType(1) == Qgis.DataType.Byte
    # Band by band, only files that lie in a folder are put together.
    band = _BAND.search(stem) and not layer.source().startswith("/vsi")
    return not picture and bool(layer.bandCount() > 1 or band)


def _scene_key(layer: QgsMapLayer) -> str:
    """The same for all layers of one product, and for all bands of one scene in a folder."""
    named = _OF_GDAL.match(layer.source())
    source = named[1] if named else layer.source()
    product = _INSIDE.sub("", source)
    if named or product != source:
        return product
    path = Path(source)
    return str(path.parent / _BAND.sub("", path.stem) if _BAND.search(path.stem) else path)


def _day(layer: QgsMapLayer) -> tuple[str, ...]:
    """Year, month and day that a layer's names tell: the product's, its own, its file's, its folder's, its group's; empty where none does."""
    source, path = layer.source(), Path(layer.source())
    if _OLD_NAME.search(source):
        found = _OLD_DAY.search(source)
    else:
        node = QgsProject.instance().layerTreeRoot().findLayer(layer.id())
        names = layer.name(), path.stem, path.parent.name, node.parent().name() if node else ""
        found = _PRODUCT.search(source) or next(filter(None, map(_DAY.search, names)), None)
    return found.groups() if found else ()


def _project_layer(context: QgsProcessingContext, text: str) -> QgsMapLayer | None:
    """The project's layer of that name or source."""
    project = context.project()
    if project is None:
        return None
    if project.mapLayer(text):
        return project.mapLayer(text)
    return next((layer for layer in project.mapLayers().values() if text in (layer.name(), layer.source())), None)
