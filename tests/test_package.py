"""The zip for the plugin site: what is in it, and that it works in a QGIS that knows nothing of this checkout."""

import configparser
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path, PurePosixPath

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PLUGIN = "s2change_plugin"
ENGINE_PYTHON = os.environ.get("S2CHANGE_PYTHON") or str(REPOSITORY / ".venv" / "bin" / "python")
# The plugin site's own limit, and the fields that it asks for.
LARGEST = 25_000_000
REQUIRED = ("name", "description", "version", "qgisMinimumVersion", "author", "email", "about", "tracker", "repository")
# Nothing from this checkout, nor of another GDAL or Python, may help the installed plugin.
LEFT_OUT = ("PYTHON", "PROJ_", "GDAL_", "QGIS_", "S2CHANGE_", "VIRTUAL_ENV")
# Writes two dates that differ in a block of 20 × 30 pixels, and a model that finds just this.
MAKE_INPUTS = """
import sys
from pathlib import Path
from tests.conftest import textured, write_stack
from tests.standin import write_standin
folder = Path(sys.argv[1])
ground = textured(10, 160, 200, 1)
write_stack(folder / "before.tif", ground)
# Not in the visible bands: what is bright there is taken for a cloud.
ground[5:, 40:60, 100:130] += 5000
write_stack(folder / "after.tif", ground)
write_standin(folder, "standin")
"""
COUNT = "import rasterio, sys; print((rasterio.open(sys.argv[1]).read(1) == 1).sum())"

needs_qgis = pytest.mark.skipif(shutil.which("qgis_process") is None, reason="qgis_process is not installed: the zip is not run")


def make(*arguments: str) -> str:
    done = subprocess.run(["make", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["WEIGHTS=yes", "WEIGHTS=no"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, with and without the weights, as `make package` says where it is; away from the checkout."""
    said = make("package", request.param)
    found = re.search(r"(\S+\.zip)", said)
    assert found, said
    return Path(shutil.copy(REPOSITORY / found[1], tmp_path_factory.mktemp("zip")))


@pytest.fixture(scope="module")
def names(package: Path) -> list[PurePosixPath]:
    with zipfile.ZipFile(package) as archive:
        return [PurePosixPath(name) for name in archive.namelist()]


@pytest.fixture(scope="module")
def metadata(package: Path) -> configparser.SectionProxy:
    """As the plugin site reads it: a raw % is an error."""
    parser = configparser.ConfigParser()
    parser.optionxform = str
    with zipfile.ZipFile(package) as archive:
        parser.read_string(archive.read(f"{PLUGIN}/metadata.txt").decode("utf-8"))
    return parser["general"]


def test_it_is_one_folder_that_the_plugin_site_takes(package: Path, names: list[PurePosixPath]) -> None:
    assert package.stat().st_size < LARGEST
    assert {name.parts[0] for name in names} == {PLUGIN}
    assert {PurePosixPath(PLUGIN, name) for name in ("__init__.py", "metadata.txt", "LICENSE", "requirements/engine.txt")} <= set(
        names
    )
    wrong = [
        name for name in names if name.suffix == ".pyc" or any(p.startswith((".", "__pycache__", "__MACOSX")) for p in name.parts)
    ]
    assert wrong == []


def test_tests_and_training_stay_at_home(names: list[PurePosixPath]) -> None:
    assert [name for name in names if {"training", "tests", "build", ".venv"} & set(name.parts)] == []


def test_weights_are_in_it_unless_left_out(package: Path, names: list[PurePosixPath]) -> None:
    weights = {name.stem for name in names if name.suffix == ".safetensors"}
    cards = {name.stem for name in names if name.parent.name == "models" and name.suffix == ".json"}
    assert weights == cards
    assert bool(weights) != ("without-weights" in package.name)


def test_metadata_has_what_the_plugin_site_asks_for(metadata: configparser.SectionProxy, names: list[PurePosixPath]) -> None:
    assert [name for name in REQUIRED if not metadata.get(name)] == []
    assert metadata["hasProcessingProvider"] == "yes"
    assert metadata["qgisMinimumVersion"] == "3.40"
    assert PurePosixPath(PLUGIN, metadata["icon"]) in names


def test_one_version_everywhere(metadata: configparser.SectionProxy, package: Path) -> None:
    project = re.search(r'^version = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert project
    assert metadata["version"] == project[1]
    assert f"-{project[1]}" in package.name
    assert f"## {project[1]}" in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_the_licence_is_the_whole_text(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        text = archive.read(f"{PLUGIN}/LICENSE").decode("utf-8")
    assert "GNU GENERAL PUBLIC LICENSE" in text
    assert "Version 2, June 1991" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name, and in it before.tif, after.tif and a model whose answer is known."""
    folder = tmp_path_factory.mktemp("two dates")
    folder = folder.rename(folder.with_name(f"{folder.name} and a model"))
    engine("-c", MAKE_INPUTS, str(folder))
    return folder


def engine(*arguments: str) -> str:
    done = subprocess.run([ENGINE_PYTHON, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a QGIS whose profile was empty, with the zip installed and enabled in it."""
    profile = tmp_path_factory.mktemp("profile")
    runtime = tmp_path_factory.mktemp("runtime")
    runtime.chmod(0o700)
    with zipfile.ZipFile(package) as archive:
        archive.extractall(profile / "profiles" / "default" / "python" / "plugins")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    environment |= {
        "PATH": f"/usr/bin:{environment['PATH']}",
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(runtime),
        "QGIS_CUSTOM_CONFIG_PATH": str(profile),
        "S2CHANGE_PYTHON": ENGINE_PYTHON,
        "S2CHANGE_MODELS": str(profile / "models"),
    }
    enabled = subprocess.run(
        ["qgis_process", "plugins", "enable", PLUGIN], env=environment, cwd=profile, capture_output=True, text=True, check=False
    )
    assert enabled.returncode == 0, enabled.stdout + enabled.stderr
    return environment


def detect(environment: dict[str, str], **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["qgis_process", "--json", "run", "s2change:detectchange", "-"],
        input=json.dumps({"inputs": given}),
        env=environment,
        cwd=environment["QGIS_CUSTOM_CONFIG_PATH"],
        capture_output=True,
        text=True,
        check=False,
    )


@needs_qgis
def test_installed_into_an_empty_profile_it_finds_the_change_with_a_model_of_ones_own(
    installed: dict[str, str], inputs: Path, tmp_path: Path
) -> None:
    dates = {"BEFORE": str(inputs / "before.tif"), "AFTER": str(inputs / "after.tif")}
    mask = tmp_path / "mask.tif"
    done = detect(installed, **dates, MODEL=str(inputs / "standin.safetensors"), MASK=str(mask))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)["results"]
    assert results["CHANGED_PIXELS"] == 600
    assert results["CHANGED_AREA_HA"] == pytest.approx(6, rel=2e-3)
    assert int(engine("-c", COUNT, str(mask))) == 600


@needs_qgis
def test_installed_it_uses_the_model_that_ships_or_says_that_there_is_none(
    installed: dict[str, str], inputs: Path, package: Path, tmp_path: Path
) -> None:
    dates = {"BEFORE": str(inputs / "before.tif"), "AFTER": str(inputs / "after.tif")}
    mask = tmp_path / "mask.tif"
    done = detect(installed, **dates, MASK=str(mask))
    if "without-weights" in package.name:
        assert done.returncode == 1
        assert "No model that ships is here." in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert not mask.exists()
    else:
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["results"]["OBSERVED_SHARE"] == 1
        assert mask.exists()
