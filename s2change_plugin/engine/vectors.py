"""Layers of polygons: read as QGIS names them, written as GeoPackages, whatever their paths are, and what a person fills in there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS

from .errors import GridMismatch, OutputError, UnreadableInput
from .files import absolute, keeps_name, name_for_pyogrio
from .grid import is_on_earth
from .rasters import is_missing

# Slow to load, and seldom needed, as is pyogrio below.
if TYPE_CHECKING:
    import geopandas

# In the names of GDAL's kinds of geometry that hold polygons, or may.
_KINDS = ("Polygon", "GeometryCollection", "Unknown")
# Fields that a person fills in: of a sample's pixels, of a map's areas, of both.
_FILLED_IN = ("reference", "review", "note")
# What may be said in the first two, as masks have it.
ANSWERS = {1: "change", 0: "no change", 255: "cannot be told"}


def read_polygons(source: str, what: str) -> geopandas.GeoSeries:
    """The polygons of a vector layer, in its CRS.

    Args:
        source, what: see `read_table`.

    Raises:
        UnreadableInput: as `read_table`, or no polygons.
        GridMismatch: no CRS.
    """
    return mended(read_table(source, what), source, what).geometry


def mended(table: geopandas.GeoDataFrame, source: str, what: str) -> geopandas.GeoDataFrame:
    """A table's polygons, taken apart and made valid, each with the attributes of the row that it is of; nothing else of it.

    Args:
        table: as `read_table` gives it.
        source, what: see there.

    Raises:
        UnreadableInput, GridMismatch: as `read_polygons`.
    """
    import geopandas
    import shapely

    if not isinstance(table, geopandas.GeoDataFrame):
        table = geopandas.GeoDataFrame(table, geometry=[None] * len(table))
    # What is mended keeps all ground that the parts of it cover, and no line, which would count every pixel that it touches.
    parts = table.explode(ignore_index=True)
    parts = parts[parts.geom_type.isin(["Polygon", "MultiPolygon"])]
    shapes = np.asarray(parts.geometry.values, object)
    wrong = ~shapely.is_valid(shapes)
    # Of what is valid too it would take a minute for a million corners.
    shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    parts = parts.set_geometry(shapes, crs=table.crs)
    parts = parts[~parts.is_empty]
    if parts.empty:
        raise UnreadableInput(f"The {what} {source} has no polygons. Choose a layer of polygons.")
    if parts.crs is None or not is_on_earth(CRS.from_user_input(parts.crs)):
        raise GridMismatch(f"The {what} {source} has no CRS on Earth, so its place is unknown. Assign one, such as EPSG:32631.")
    return parts


def require_unanswered(target: Path, what: str, part: str) -> None:
    """Refuse to replace a file in which a person has said something.

    Args:
        target: to be written.
        what: it is, and `part`: what it consists of, as the error names them.

    Raises:
        OutputError: there is one, or what may be one and cannot be read.
    """
    if not target.exists():
        return
    try:
        said = sum(map(_count_said, read_layers(target, _FILLED_IN))) if target.stat().st_size else 0
    except UnreadableInput as error:
        raise OutputError(
            f"{target} cannot be read, so it is not known whether it holds answers. Choose another name, or delete it."
        ) from error
    if said:
        raise OutputError(
            f"{target} is {what} in which something is said of {said} {part}{'s' if said > 1 else ''}. Choose another name, or delete it."
        )


def _count_said(table: Any) -> int:
    """Of how many of its rows a layer holds an answer or a note."""
    told = np.zeros(len(table), np.bool_)
    for name in table.columns:
        told |= _stripped(table[name]).notna().to_numpy()
    return int(told.sum())


def answers(table: Any, field: str, source: str, part: str) -> Any:
    """What is said in a field of a table, as floating point, NaN where nothing is, whatever a program that saved it made of it.

    Args:
        table, source: a layer and its name.
        field: one of its fields.
        part: what a row is, as an error names it.

    Raises:
        UnreadableInput: something else than `ANSWERS` is said.
    """
    from pandas import to_numeric

    said = _stripped(table[field])
    if said.dtype == object:
        # Lists and the like are no answers either.
        said = said.map(lambda one: one if one is None or isinstance(one, str | float) or np.isscalar(one) else str(one))
    found = to_numeric(said, errors="coerce").astype(float)
    strange = said[said.notna() & ~found.isin(ANSWERS)]
    if len(strange):
        raise UnreadableInput(
            f"In {source} the {field} of {part} is {strange.iloc[0]!s}. Let it be 1 (change), 0 (no change) or 255 (cannot be told), or leave it empty."
        )
    return found


def _stripped(said: Any) -> Any:
    """A column in which a text without a letter says nothing."""
    from pandas.api.types import is_numeric_dtype

    return said if is_numeric_dtype(said) else said.map(lambda one: None if isinstance(one, str) and not one.strip() else one)


def read_layers(path: Path, fields: Sequence[str]) -> list[Any]:
    """The layers of a file that have any of these fields, however they are spelt, as tables of these alone, without outlines.

    Raises:
        UnreadableInput: it is no vector file, or cannot be read now.
    """
    from pyogrio import list_layers, read_dataframe, read_info
    from pyogrio.errors import DataLayerError, DataSourceError

    name = name_for_pyogrio(str(path))
    try:
        found = []
        for layer, _ in list_layers(name):
            columns = [one for one in read_info(name, layer=layer)["fields"] if one.lower() in fields]
            if columns:
                found.append(read_dataframe(name, layer=layer, columns=columns, read_geometry=False))
        return found
    except (DataSourceError, DataLayerError, OSError, ValueError) as error:
        raise UnreadableInput(f"{path} cannot be read as layers. Choose another file.") from error


def read_table(source: str, what: str) -> geopandas.GeoDataFrame:
    """A layer of polygons, or a table without outlines, with its attributes as they are; what it holds besides polygons too.

    Args:
        source: path, or as QGIS names a layer: `FILE|layername=NAME`, `|layerid=N`, `|subset=FILTER`.
        what: what they are for, as an error names it.

    Raises:
        UnreadableInput: no vector file, or several layers that may hold polygons and none named.
    """
    import geopandas
    from pyogrio.errors import DataLayerError, DataSourceError

    path, *rest = [source] if Path(source).is_file() else source.split("|")
    said = dict(part.partition("=")[::2] for part in rest)
    if not set(said) <= {"layername", "layerid", "subset"}:
        raise UnreadableInput(f"The {what} {source} has a part that is not known. Give FILE or FILE|layername=NAME.")
    if is_missing(path):
        raise UnreadableInput(f"There is no file {path}, which should hold the {what}. Choose another.")
    layer = int(said["layerid"]) if said.get("layerid", "").isdecimal() else said.get("layername")
    try:
        layer = _layer_of_polygons(path, what) if layer is None else layer
        # A ring that is left open, or has but two corners, is no reason to refuse the others.
        return geopandas.read_file(name_for_pyogrio(path), layer=layer, where=said.get("subset"), on_invalid="fix")
    except (DataSourceError, DataLayerError, OSError, ValueError) as error:
        kinds = "a raster or polygons" if what in ("mask", "reference") else "polygons"
        raise UnreadableInput(f"The {what} {source} cannot be read as {kinds}. Choose another file.") from error


def _layer_of_polygons(path: str, what: str) -> str | None:
    """The layer of a vector file that holds polygons, or may; None without any.

    Raises:
        UnreadableInput: several do.
    """
    from pyogrio import list_layers

    names = [name for name, kind in list_layers(name_for_pyogrio(path)) if kind and any(word in kind for word in _KINDS)]
    if len(names) > 1:
        raise UnreadableInput(
            f"The {what} {path} has several layers that hold polygons, or may: {', '.join(names)}. Name the one that is meant, "
            f"such as {path}|layername={names[0]}."
        )
    return names[0] if names else None


@contextmanager
def plain_name(target: Path) -> Iterator[Path]:
    """Where pyogrio is to write a file: at its target, or, where it would write another one (`files.keeps_name`), elsewhere, from where it is then moved."""
    whole = absolute(str(target))
    if keeps_name(whole):
        yield Path(whole)
        return
    with TemporaryDirectory() as folder:
        if not keeps_name(folder):
            raise OSError(
                f"the folder for temporary files, {folder}, has a sign such as ! in its path, by which polygons cannot be written"
            )
        here = Path(folder, "polygons.gpkg")
        yield here
        shutil.move(here, whole)


def write_layer(table: geopandas.GeoDataFrame, target: Path, layer: str, append: bool = False) -> None:
    """Write polygons to a layer of a new GeoPackage, or add them to it.

    Args:
        table: their outlines and attributes.
        target: as `plain_name` gives it.
        layer: its name.
        append: the layer is there.

    Raises:
        OSError: it cannot be written.
    """
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    # Version 1.2 is what every supported QGIS reads without a warning.
    options = {} if append else {"dataset_options": {"VERSION": "1.2"}}
    how = {"layer": layer, "driver": "GPKG", "engine": "pyogrio", "geometry_type": "Polygon", "index": False, **options}
    try:
        table.to_file(target, mode="a" if append else "w", **how)
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise OSError(str(error)) from error


def write_style(target: Path, layer: str, style: Path) -> None:
    """Give a layer of a GeoPackage its style, which QGIS takes wherever the file goes: as QGIS saves one in a database, the default one.

    Args:
        target: as `plain_name` gives it.
        layer: its name.
        style: QGIS's own file of it (.qml).

    Raises:
        OSError: it cannot be written.
    """
    from pandas import DataFrame, Timestamp
    from pyogrio import write_dataframe
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError

    # The names, and that catalogue and schema are empty, are QGIS's.
    row = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": layer,
        "f_geometry_column": "geom",
        "styleName": layer,
        "styleQML": style.read_text(encoding="utf-8"),
        "styleSLD": "",
        "useAsDefault": True,
        "description": "",
        "owner": "",
        "ui": "",
        "update_time": Timestamp.now("UTC"),
    }
    try:
        write_dataframe(DataFrame([row]), target, layer="layer_styles", driver="GPKG", append=True)
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise OSError(str(error)) from error
