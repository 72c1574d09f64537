"""The styles that ship, held to the engine's own tables."""

import json
import subprocess

import pytest
from qgis.core import QgsRasterLayer

from s2change_plugin.processing.styles import shipped_style
from tests.qgis.conftest import PYTHON, REPOSITORY

_TABLES = """
import json
from s2change_plugin.engine import compare, outputs, stack
layers = {"quality": outputs.QUALITY, "scene_quality": stack._QUALITY, "confusion": compare.CONFUSION}
print(json.dumps({name: {int(code): (layer.values[code], "#%02x%02x%02x" % layer.colours[code]) for code in layer.values} for name, layer in layers.items()}))
"""


@pytest.fixture(scope="module")
def tables() -> dict:
    """Style to code to name and colour, as the engine writes them into the rasters."""
    done = subprocess.run([PYTHON, "-c", _TABLES], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["quality", "scene_quality", "confusion"])
def test_codes_are_named_and_coloured_as_the_engine_has_them(qgis_app, tables: dict, name: str, pair) -> None:
    layer = QgsRasterLayer(str(pair / "before.tif"), "any")
    layer.loadNamedStyle(str(shipped_style(name)))
    entries = {str(int(entry.value)): [entry.label, entry.color.name()] for entry in layer.renderer().classes()}
    clear = [entry.value for entry in layer.renderer().classes() if entry.color.alpha() == 0]
    del layer
    # What is observed shows what lies below.
    assert clear == [0]
    assert entries == tables[name]


@pytest.mark.parametrize("name", ["mask", "quality", "scene_quality", "confusion"])
def test_what_is_transparent_on_the_map_is_light_in_a_printed_legend(qgis_app, name: str, pair) -> None:
    """A layout's legend paints its colour without the transparency."""
    layer = QgsRasterLayer(str(pair / "before.tif"), "any")
    layer.loadNamedStyle(str(shipped_style(name)))
    (clear,) = [entry.color for entry in layer.renderer().classes() if entry.color.alpha() == 0]
    del layer
    assert clear.lightness() > 200
