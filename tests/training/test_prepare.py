import errno
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from s2change_plugin.engine.bands import ALL_BANDS, TEN_BANDS
from s2change_plugin.engine.errors import OutputError, UnreadableInput
from s2change_plugin.engine.labelled import UNLABELLED, city_names, origins
from training.prepare import prepare_oscd, read_city


def test_bands_dates_and_labels_lie_on_one_grid(layout: Path, tmp_path: Path) -> None:
    found = list(prepare_oscd(layout, tmp_path / "data"))
    assert [one["city"] for one in found] == ["town"]
    # The second date starts twelve rows further south, and the label with it.
    with rasterio.open(tmp_path / "data" / "town" / "change.tif") as raster:
        change = raster.read(1)
        assert raster.crs.to_epsg() == 4326
    assert change.shape == (228, 300)
    assert (change[48:68, 100:140] == 1).all()
    assert (change == 1).sum() == 800
    with rasterio.open(tmp_path / "data" / "town" / "after.tif") as raster:
        assert raster.descriptions == ALL_BANDS
        assert raster.scales[0] == pytest.approx(1e-4)
    record = json.loads((tmp_path / "data" / "data.json").read_text())
    assert record["cities"]["town"]["shift"]["measured"]
    origin = origins(tmp_path / "data", ["town"])["town"]
    assert (origin.level, "OSCD" in origin.source, "CC BY-NC-SA" in origin.licence) == ("L1C", True, True)


def test_preparing_keeps_what_else_the_folder_holds(layout: Path, data: Path) -> None:
    list(prepare_oscd(layout, data))
    assert list(origins(data, ["bern", "town"])) == ["bern", "town"]


def test_a_city_that_cannot_be_written_is_named(layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL does not say itself which file that is."""

    def fail(*_: object) -> None:
        raise RasterioIOError("Write failed. See previous exception for details.")

    monkeypatch.setattr("training.prepare.write_city", fail)
    with pytest.raises(OutputError, match="data/town could not be written"):
        list(prepare_oscd(layout, tmp_path / "data"))


def test_a_record_that_cannot_be_written_stays_as_it_was(layout: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        list(prepare_oscd(layout, data))
    assert list(origins(data, ["bern"])) == ["bern"]


def test_what_is_prepared_reads_back_as_reflectance(data: Path) -> None:
    city = read_city(data / "bern", TEN_BANDS)
    assert city.before.shape == (10, 96, 128)
    changed = city.change == 1
    assert (city.after - city.before)[:, changed].mean() > 0.28
    np.testing.assert_allclose(city.after[:, ~changed], city.before[:, ~changed], atol=1.1e-4)


def test_what_is_not_seen_is_not_labelled(data: Path) -> None:
    with rasterio.open(data / "bern" / "after.tif", "r+") as raster:
        values = raster.read(3)
        values[:10] = 0
        raster.write(values, 3)
    assert (read_city(data / "bern", TEN_BANDS).change[:10] == UNLABELLED).all()


@pytest.mark.parametrize("missing", ["images", "labels"])
def test_a_folder_that_is_not_oscd_is_refused(layout: Path, tmp_path: Path, missing: str) -> None:
    (layout / "OSCD - Images").rename(tmp_path / "images") if missing == "images" else (layout / "OSCD - Train Labels").rename(
        tmp_path / "labels"
    )
    with pytest.raises(UnreadableInput, match=missing):
        list(prepare_oscd(layout, tmp_path / "data"))


def test_a_folder_without_cities_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="is not a data folder"):
        city_names(tmp_path)


def test_the_oscd_labels_keep_their_share_of_change(oscd: Path, tmp_path: Path) -> None:
    """Rennes: 2.58 % of the prepared pixels changed."""
    for part in ("Images", "Train Labels"):
        source = next(path for path in oscd.parent.iterdir() if path.name.endswith(part))
        (tmp_path / "oscd" / part).mkdir(parents=True)
        (tmp_path / "oscd" / part / "rennes").symlink_to(source / "rennes")
    (found,) = prepare_oscd(tmp_path / "oscd", tmp_path / "data")
    with rasterio.open(next(oscd.parent.glob("*Labels/rennes/cm/rennes-cm.tif"))) as raster:
        label = raster.read(1)
    assert found["changed_share"] == pytest.approx((label == 2).mean(), abs=1e-4)
