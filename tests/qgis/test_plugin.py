from qgis.core import QgsApplication

from s2change_plugin import classFactory


class Interface:
    """The few calls that the plugin makes on QGIS's interface."""

    def __init__(self, window) -> None:
        self._window = window
        self.menu: list[str] = []
        self.toolbar: list[str] = []

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
