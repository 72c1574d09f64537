"""Layers of polygons, as QGIS names them and wherever they lie."""

import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas
import pytest
from shapely.geometry import box

from s2change_plugin.engine.errors import UnreadableInput
from s2change_plugin.engine.vectors import read_polygons


@pytest.mark.parametrize(
    ("name", "said"),
    [("m.gpkg", "has no polygons"), ("new!m.gpkg", "new!m.gpkg holds changes that another program has not saved")],
)
def test_changes_that_lie_beside_a_geopackage_count_or_it_is_refused(tmp_path: Path, name: str, said: str) -> None:
    geopandas.GeoSeries([box(500200, 4999600, 500400, 4999800)], crs="EPSG:32631").to_file(tmp_path / "m.gpkg", layer="m")
    path = (tmp_path / "m.gpkg").rename(tmp_path / name)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = wal")
        for trigger in ("rtree_m_geom_delete", "trigger_delete_feature_count_m"):
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("DELETE FROM m")
        database.commit()
        with pytest.raises(UnreadableInput, match=said):
            read_polygons(str(path), "mask")


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_a_database_with_an_unfinished_change_is_refused_where_it_has_no_plain_name(tmp_path: Path, end: str) -> None:
    geopandas.GeoSeries([box(500200, 4999600, 500400, 4999800)], crs="EPSG:32631").to_file(tmp_path / "m.gpkg")
    path = (tmp_path / "m.gpkg").rename(tmp_path / "new!m.gpkg")
    beside = tmp_path / f"{path.name}{end}"
    assert len(read_polygons(str(path), "mask")) == 1
    beside.touch()
    if end == "-journal":
        assert len(read_polygons(str(path), "mask")) == 1
        beside.write_bytes(b"unfinished")
    with pytest.raises(UnreadableInput, match="holds changes that another program has not saved"):
        read_polygons(str(path), "mask")
