"""What the user picked, as a path or name that the engine opens, and as words."""

from __future__ import annotations

import re
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsMapLayer,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProviderRegistry,
    QgsRasterLayer,
)

# A product's level and sensing date, in its name and in those of its files.
_PRODUCT = re.compile(r"_MSIL\d[A-Z]_(\d{4})(\d\d)(\d\d)T")


def source_of(algorithm: QgsProcessingAlgorithm, parameters: dict, name: str, context: QgsProcessingContext) -> str:
    """The file behind a raster-layer parameter, or the path that was typed.

    Raises:
        QgsProcessingException: nothing given, or a layer without a file; one sentence.
    """
    label = algorithm.parameterDefinition(name).description()
    given = parameters.get(name)
    layer = given if isinstance(given, QgsMapLayer) else None
    text = "" if layer else algorithm.parameterAsString(parameters, name, context).strip()
    if not layer and not text:
        raise QgsProcessingException(f"{label}: nothing is chosen. Pick a raster layer or give a path.")
    # A layer's id or name in the project comes first; anything else is for the engine to open, not for QGIS.
    layer = layer or context.getMapLayer(text) or _project_layer(context, text)
    return file_of(layer, label) if layer else text


def file_of(layer: QgsMapLayer, label: str) -> str:
    """The path that a layer's raster is read from, as GDAL opens it; with the layer's CRS where that is set to another than the file's.

    Args:
        layer: of the project.
        label: of the parameter that it was picked for.

    Raises:
        QgsProcessingException: there is no such file; one sentence.
    """
    if not isinstance(layer, QgsRasterLayer) or layer.providerType() != "gdal":
        kind = layer.providerType() if isinstance(layer, QgsRasterLayer) else "a vector layer"
        raise QgsProcessingException(
            f"{label}: the layer {layer.name()!r} ({kind}) has no raster file with digital numbers. "
            "Export it as GeoTIFF first, or pick another layer."
        )
    parts = QgsProviderRegistry.instance().decodeUri("gdal", layer.source())
    if parts.get("layerName"):
        return layer.source()
    path = str(parts.get("path") or layer.source())
    # "/vsizip/" before and "/inside.tif" after belong to the path; a product's subdataset name is one already.
    path = f"{parts.get('vsiPrefix') or ''}{path}{parts.get('vsiSuffix') or ''}"
    if layer.crs() == layer.dataProvider().crs() or not layer.crs().isValid() or not _takes_a_crs(path):
        return path
    # GDAL's name for a file of which something else is to be taken than what it says itself.
    return f"vrt://{path}?a_srs={crs_text(layer.crs())}"


def crs_text(crs: QgsCoordinateReferenceSystem) -> str:
    """A CRS as the engine and GDAL know it; what QGIS calls one that a user made up is no name elsewhere."""
    return crs.toWkt() if crs.authid().startswith("USER:") else crs.authid() or crs.toWkt()


def _takes_a_crs(path: str) -> bool:
    """Whether a file lacks nothing but a CRS, or could have another: no product, whose files say it themselves, and no plain picture."""
    if ".SAFE" in path.upper() or "?" in path:
        return False
    try:
        dataset = gdal.Open(path)
    except RuntimeError:
        # Whether it raises anything is for whoever else uses it in this QGIS.
        return False
    return dataset is not None and dataset.GetGeoTransform(can_return_null=True) is not None


def short_name(source: str) -> str:
    """A source in few words: a product's sensing date, a folder with its parent's name, else the file's name."""
    product = _PRODUCT.search(source)
    if product:
        return "-".join(product.groups())
    path = Path(source)
    return f"{path.parent.name}/{path.name}" if path.is_dir() else path.stem


def _project_layer(context: QgsProcessingContext, text: str) -> QgsMapLayer | None:
    """The project's layer of that name or source."""
    project = context.project()
    if project is None:
        return None
    if project.mapLayer(text):
        return project.mapLayer(text)
    return next((layer for layer in project.mapLayers().values() if text in (layer.name(), layer.source())), None)
