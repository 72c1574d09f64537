import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from s2change_plugin.engine import files as files_module
from s2change_plugin.engine.errors import UnreadableInput
from s2change_plugin.engine.files import open_files, without_queries
from tests.conftest import write_stack

CONTENT = {"a.xml": b"<a/>", "below/b.txt": b"b", "below/deep/c.txt": b"c"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "top"


def write_zip(path: Path, content: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def test_a_folder_is_listed_as_deep_as_asked(folder: Path) -> None:
    listed = [open_files(str(folder), depth) for depth in (1, 2, 3)]
    assert [files.names for files in listed if files] == [
        ("a.xml",),
        ("a.xml", "below/b.txt"),
        ("a.xml", "below/b.txt", "below/deep/c.txt"),
    ]


def test_a_zip_is_listed_and_read_in_place(tmp_path: Path) -> None:
    files = open_files(str(write_zip(tmp_path / "x.ZIP", CONTENT)))
    assert files is not None
    assert files.names == tuple(sorted(CONTENT))
    assert {name: files.read(name) for name in files.names} == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / "x.ZIP"]


def test_a_folder_reads_the_same(folder: Path) -> None:
    files = open_files(str(folder), 3)
    assert files is not None
    assert {name: files.read(name) for name in files.names} == CONTENT


def test_what_is_neither_folder_nor_zip_is_none(folder: Path, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", CONTENT)
    for source in (
        folder / "a.xml",
        folder / "absent",
        tmp_path / "absent.zip",
        f"/vsizip/{archive}/a.xml",
        "/vsizip/absent.zip/a",
    ):
        assert open_files(str(source)) is None


@pytest.mark.parametrize("form", ["/vsizip/{zip}/below", "/vsizip/{{{zip}}}/below", "/vsizip/{{{zip}}}/below/"])
def test_a_folder_in_a_zip_is_opened_by_gdals_name(tmp_path: Path, form: str) -> None:
    # A zip in the name of a folder is not the zip.
    archive = tmp_path / "old.zip.d" / "x.zip"
    archive.parent.mkdir()
    write_zip(archive, CONTENT)
    files = open_files(form.format(zip=archive))
    assert files is not None
    assert files.names == ("b.txt", "deep/c.txt")
    assert files.path("b.txt") == f"/vsizip/{{{archive}}}/below/b.txt"
    assert files.read("deep/c.txt") == b"c"


def test_a_zip_with_one_folder_stands_for_it(tmp_path: Path) -> None:
    archive = write_zip(
        tmp_path / "x.zip", {f"one/{name}": data for name, data in CONTENT.items()} | {"__MACOSX/one/._a.xml": b""}
    )
    files = open_files(str(archive))
    assert files is not None
    assert files.names == tuple(sorted(CONTENT))
    assert files.path("a.xml") == f"/vsizip/{{{archive}}}/one/a.xml"


@pytest.mark.parametrize("name", ["x.zip", "two words (1).zip", "x.zip.zip"])
def test_gdal_opens_the_paths(tmp_path: Path, name: str) -> None:
    raster = write_stack(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint8), None)
    archive = write_zip(tmp_path / name, {"f/a.tif": raster.read_bytes(), "b": b""})
    zipped, plain = open_files(str(archive)), open_files(str(tmp_path))
    assert zipped is not None
    assert plain is not None
    for path in (zipped.path("f/a.tif"), plain.path("a.tif")):
        with rasterio.open(path) as dataset:
            assert dataset.shape == (4, 4)


def test_names_with_backslashes_are_read_as_gdal_does(tmp_path: Path) -> None:
    raster = write_stack(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint8), None)
    archive = write_zip(tmp_path / "x.zip", {"f\\a.tif": raster.read_bytes(), "b": b""})
    files = open_files(str(archive))
    assert files is not None
    assert files.names == ("b", "f/a.tif")
    assert files.read("f/a.tif") == raster.read_bytes()
    with rasterio.open(files.path("f/a.tif")) as dataset:
        assert dataset.shape == (4, 4)


@pytest.mark.parametrize(
    "name", ["../a.xml", "f/../../a.xml", "/etc/a.xml", "\\a.xml", "f\\..\\..\\a.xml", "C:\\a.xml", "c:a.xml"]
)
def test_a_zip_that_reaches_outside_itself_is_refused(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "x.zip", CONTENT | {name: b"x"})
    with pytest.raises(UnreadableInput, match="would lie outside"):
        open_files(str(archive))


def test_two_dots_inside_a_name_are_no_climbing(tmp_path: Path) -> None:
    files = open_files(str(write_zip(tmp_path / "x.zip", {"a..b": b"x", "c": b""})))
    assert files is not None
    assert files.read("a..b") == b"x"


def test_a_damaged_zip_is_said_to_be_damaged(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "x.zip", CONTENT).read_bytes()
    for part in (b"", b"no zip", whole[: len(whole) // 2]):
        (tmp_path / "x.zip").write_bytes(part)
        with pytest.raises(UnreadableInput, match="damaged or no zip"):
            open_files(str(tmp_path / "x.zip"))


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_file_in_a_zip_is_said_to_be_damaged(tmp_path: Path, kind: int) -> None:
    archive = write_zip(tmp_path / "x.zip", {"a.xml": b"<a>damaged</a>" * 9, "b": b""}, kind)
    data = bytearray(archive.read_bytes())
    data[40:44] = bytes(byte ^ 0xFF for byte in data[40:44])
    archive.write_bytes(data)
    files = open_files(str(archive))
    assert files is not None
    with pytest.raises(UnreadableInput, match="a.xml cannot be read"):
        files.read("a.xml")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "x.zip", {"a.xml": b"<a/>"})
    data = bytearray(archive.read_bytes())
    # General purpose flags: 6 bytes into the local header, 8 into the central one (PKWARE APPNOTE 4.3.7, 4.3.12).
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(UnreadableInput, match="is encrypted"):
        open_files(str(archive))


def test_a_compression_that_gdal_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="unusual way"):
        open_files(str(write_zip(tmp_path / "x.zip", {"a.xml": b"<a/>"}, zipfile.ZIP_LZMA)))


def test_a_large_file_is_not_read_as_metadata(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files_module.LARGEST_READ == 64 * 2**20
    monkeypatch.setattr(files_module, "LARGEST_READ", 3)
    for source in (folder, write_zip(tmp_path / "x.zip", CONTENT)):
        files = open_files(str(source), 3)
        assert files is not None
        assert files.read("below/b.txt") == b"b"
        with pytest.raises(UnreadableInput, match="larger than"):
            files.read("a.xml")


def test_what_macos_adds_is_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "._a.xml").write_bytes(b"")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "b.txt").write_bytes(b"")
    content = CONTENT | {"._a.xml": b"", "__MACOSX/b.txt": b"", "below/._b.txt": b""}
    for source in (folder, write_zip(tmp_path / "x.zip", content)):
        files = open_files(str(source), 3)
        assert files is not None
        assert files.names == tuple(sorted(CONTENT))


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed_and_a_circle_ends(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "d.txt").write_bytes(b"d")
    (folder / "linked").symlink_to(other)
    (other / "back").symlink_to(folder)
    files = open_files(str(folder), 20)
    assert files is not None
    assert files.names == (*sorted(CONTENT), "linked/d.txt")
    assert files.read("linked/d.txt") == b"d"


def test_paths_do_not_depend_on_the_working_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zip(tmp_path / "x.zip", CONTENT)
    monkeypatch.chdir(tmp_path)
    for source in ("top", "x.zip", "/vsizip/x.zip"):
        files = open_files(source)
        assert files is not None
        monkeypatch.chdir(folder)
        assert files.read("a.xml") == b"<a/>"
        assert str(tmp_path) in files.path("a.xml")
        monkeypatch.chdir(tmp_path)


def test_the_files_below_a_folder_keep_their_paths(folder: Path, tmp_path: Path) -> None:
    for source in (folder, write_zip(tmp_path / "x.zip", CONTENT)):
        files = open_files(str(source), 3)
        assert files is not None
        below = files.below("below").below("deep")
        assert below.names == ("c.txt",)
        assert below.path("c.txt") == files.path("below/deep/c.txt")
        assert below.read("c.txt") == b"c"


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        ("https://h/a.tif?sig=x&se=1", "https://h/a.tif"),
        ("HTTPS://h/a.tif?sig=x", "HTTPS://h/a.tif"),
        ('NETCDF:"/vsicurl/https://h/x.nc?sig=1":B02', 'NETCDF:"/vsicurl/https://h/x.nc":B02'),
        ("/vsizip/{/vsicurl/https://h/a.zip?sig=x}/B02.tif", "/vsizip/{/vsicurl/https://h/a.zip}/B02.tif"),
        ("/vsicurl?max_retry=3&url=https%3A%2F%2Fh%2Fa.tif%3Fsig%3Dx", "/vsicurl?max_retry=3&url=https%3A%2F%2Fh%2Fa.tif"),
        ("/vsicurl?pc_url_signing=yes&url=https://h/a.tif", "/vsicurl?pc_url_signing=yes&url=https://h/a.tif"),
        ("C:/what?.tif", "C:/what?.tif"),
    ],
)
def test_what_follows_the_question_mark_of_a_web_address_is_left_out(named: str, kept: str) -> None:
    assert without_queries(named) == kept
    assert without_queries({"a": [named, 1, None]}) == {"a": [kept, 1, None]}
