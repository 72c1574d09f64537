import shutil
from pathlib import Path

import processing
import pytest
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer

from s2change_plugin import classFactory


class Interface:
    """The few calls that the plugin makes on QGIS's interface."""

    def __init__(self, window) -> None:
        self._window = window
        self.menu: list[str] = []
        self.toolbar: list[str] = []
        self.selected: list[QgsRasterLayer] = []

    def layerTreeView(self):
        return self

    def selectedLayers(self):
        return self.selected

    def mainWindow(self):
        return self._window

    def addPluginToMenu(self, menu: str, action) -> None:
        self.menu.append(action.text())

    def removePluginMenu(self, menu: str, action) -> None:
        self.menu.remove(action.text())

    def addToolBarIcon(self, action) -> None:
        self.toolbar.append(action.text())

    def removeToolBarIcon(self, action) -> None:
        if action.text() in self.toolbar:
            self.toolbar.remove(action.text())


def test_the_plugin_adds_its_parts_and_takes_them_away(qgis_processing, qgis_iface) -> None:
    interface = Interface(qgis_iface.mainWindow())
    plugin = classFactory(interface)
    plugin.initGui()
    assert QgsApplication.processingRegistry().providerById("s2change") is not None
    assert interface.menu == [
        "Detect change…",
        "Check a pair…",
        "Prepare a scene…",
        "Evaluate a change map…",
        "Export training data…",
        "Set up the engine…",
        "Settings…",
        "Help",
    ]
    assert interface.toolbar == ["Detect change…"]
    plugin.unload()
    assert QgsApplication.processingRegistry().providerById("s2change") is None
    assert interface.menu == interface.toolbar == []


def test_it_can_be_loaded_again(qgis_processing, qgis_iface) -> None:
    for _ in range(2):
        plugin = classFactory(Interface(qgis_iface.mainWindow()))
        plugin.initGui()
        plugin.unload()


@pytest.fixture
def opened(qgis_processing, qgis_new_project, qgis_iface, monkeypatch: pytest.MonkeyPatch):
    """The plugin's interface, and what the dialogs that its menu opens are filled with: (algorithm, parameters)."""
    dialogs: list[tuple[str, dict]] = []
    monkeypatch.setattr(processing, "execAlgorithmDialog", lambda *given: dialogs.append(given))
    interface = Interface(qgis_iface.mainWindow())
    plugin = classFactory(interface)
    plugin.initGui()
    yield interface, plugin, dialogs
    plugin.unload()


def layer(source: Path | str, name: str) -> QgsRasterLayer:
    """In the project, above those that are there."""
    return QgsProject.instance().addMapLayer(QgsRasterLayer(str(source), name))


def filled(opened, menu: str = "Detect change…") -> list[str]:
    """Names of the layers that a dialog begins with."""
    _, plugin, dialogs = opened
    next(action for action in plugin._actions if action.text() == menu).trigger()
    return [QgsProject.instance().mapLayer(key).name() for key in dialogs[-1][1].values()]


def test_a_dialog_begins_with_the_two_scenes_that_are_chosen(opened, pair: Path, tmp_path: Path) -> None:
    shutil.copyfile(pair / "after.tif", tmp_path / "third.tif")
    files = {"summer 2021-08-20": pair / "after.tif", "spring 20180402": pair / "before.tif", "winter": tmp_path / "third.tif"}
    layers = [layer(file, name) for name, file in files.items()]
    interface, _, dialogs = opened
    assert filled(opened) == [], "of three it is not clear which"
    # By their days, not as they lie.
    interface.selected = layers[:2]
    for menu in ("Detect change…", "Check a pair…", "Export training data…"):
        assert filled(opened, menu) == ["spring 20180402", "summer 2021-08-20"]
        assert list(dialogs[-1][1]) == ["BEFORE", "AFTER"]
    interface.selected = layers[2:]
    assert filled(opened) == []
    assert filled(opened, "Prepare a scene…") == []


def test_a_dialog_begins_with_the_only_two_scenes_of_the_project(opened, pair: Path) -> None:
    layer(pair / "before.tif", "one")
    assert filled(opened) == []
    # Bands of one folder are one scene.
    layer(pair / "bands2" / "T31_B02.tif", "blue")
    layer(pair / "bands2" / "T31_B03.tif", "green")
    assert filled(opened) == ["one", "green"]


def test_a_change_map_is_not_taken_for_a_scene(opened, pair: Path, tmp_path: Path) -> None:
    layer(pair / "before.tif", "one")
    layer(pair / "after.tif", "other")
    shutil.copyfile(pair / "bands1" / "T31_B02.tif", tmp_path / "mask.tif")
    layer(tmp_path / "mask.tif", "mask")
    assert filled(opened) == ["one", "other"]


def test_a_product_s_layers_are_one_scene(opened, products: list[Path], tmp_path: Path) -> None:
    later = products[1]
    earlier = shutil.copytree(later, tmp_path / later.name.replace("20230823", "20210820"))
    for product in (later, earlier):
        for gsd in (10, 20):
            layer(f"SENTINEL2_L1C:{product}/MTD_MSIL1C.xml:{gsd}m:EPSG_32631", f"{product.name[11:15]} at {gsd} m")
    assert [name[:4] for name in filled(opened)] == ["2021", "2023"]
