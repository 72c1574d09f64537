"""The styles that ship, held to the engine's own tables."""

import json
import subprocess

import pytest
from qgis.core import QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtGui import QColor

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


def contrast(one: QColor, other: QColor) -> float:
    """Of two colours, from 1 to 21. Source: W3C, WCAG 2.1, contrast ratio."""
    linear = [
        [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour.getRgbF()[:3]]
        for colour in (one, other)
    ]
    light, dark = sorted((0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_outlines_of_polygons_stand_out_from_all_that_lies_below_them(qgis_app, pair) -> None:
    """From change in the mask, from each probability, and from dark and bright ground: one of their two lines does."""
    areas, mask, chance = (
        QgsVectorLayer("Polygon", "areas", "memory"),
        *(QgsRasterLayer(str(pair / "before.tif"), "any") for _ in "mp"),
    )
    for layer, name in ((areas, "polygons"), (mask, "mask"), (chance, "probability")):
        layer.loadNamedStyle(str(shipped_style(name)))
    below = [entry.color for entry in mask.renderer().classes()]
    below += [item.color for item in chance.renderer().shader().rasterShaderFunction().colorRampItemList()]
    below += [QColor.fromHsv(0, 0, grey) for grey in range(0, 256, 5)]
    for category in areas.renderer().categories():
        lines = category.symbol().symbolLayers()
        assert len(lines) == 2
        assert {line.layerType() for line in lines} == {"SimpleLine"}
        assert min(max(contrast(line.color(), colour) for line in lines) for colour in below) >= 3
        # The lines are told from each other, and the upper, narrower one from what is selected, which QGIS paints yellow.
        assert contrast(lines[0].color(), lines[1].color()) >= 10
        assert lines[0].width() > lines[1].width()
        assert abs(lines[1].color().hue() - QColor("yellow").hue()) > 90 or lines[1].color().saturation() < 60
    del areas, mask, chance, category, lines, layer
