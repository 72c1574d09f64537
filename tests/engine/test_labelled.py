from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS

from s2change_plugin.engine import labelled as module
from s2change_plugin.engine.grid import Grid
from s2change_plugin.engine.labelled import near, neighbours, sharing_ground, write_city

GRID = Grid(CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5000000), 20, 30)
# Kilometres of a degree along a meridian at 45° north.
DEGREE_KM = 111.13


@pytest.mark.parametrize("order", list(permutations(("south", "middle", "north"))))
def test_a_place_between_two_groups_joins_them_whatever_the_order(order: tuple[str, ...]) -> None:
    """Else ground beside what is held out could be trained on."""
    steps = {"south": 0, "middle": 30, "north": 60}
    places = {name: (3.0, 45 + steps[name] / DEGREE_KM) for name in order}
    assert neighbours(places, 40) == [("middle", "north", "south")]


def test_places_are_near_up_to_50_kilometres() -> None:
    at = {"here": (3.0, 45.0)}
    others = {f"{km} km": (3.0, 45 + km / DEGREE_KM) for km in (4, 49, 51)}
    assert near(others, at) == ["4 km", "49 km"]


def test_ground_whose_crs_leads_to_no_other_is_shared_with_none() -> None:
    unplaced = Grid(CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'), GRID.transform, *GRID.shape)
    assert sharing_ground({"one": GRID, "same": GRID, "unplaced": unplaced}) == {
        "one": {"same"},
        "same": {"one"},
        "unplaced": set(),
    }


@pytest.mark.parametrize("name", ["before.tif", "after.tif", "change.tif"])
def test_a_file_that_a_full_disk_cut_short_is_not_taken_for_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = rasterio.open

    def cut_short(path: Path, mode: str = "r", **profile: Any) -> Any:
        """Before the file is read its last line is lost, as when a disk fills up while GDAL closes it."""
        if mode == "r" and path.name == name:
            with opened(path, "r+") as raster:
                raster.write(np.zeros((raster.count, 1, raster.width), raster.dtypes[0]), window=((19, 20), (0, 30)))
        return opened(path, mode, **profile)

    monkeypatch.setattr(module.rasterio, "open", cut_short)
    image = np.full((2, *GRID.shape), 0.2, np.float32)
    with pytest.raises(OSError, match="does not read back"):
        write_city(tmp_path / "town", (image, image), np.ones(GRID.shape, np.uint8), ("B02", "B03"), GRID)
