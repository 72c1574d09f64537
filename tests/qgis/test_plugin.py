import importlib
import re
import shutil
from pathlib import Path

import processing
import pytest
from osgeo import gdal
from qgis import gui
from qgis.core import QgsApplication, QgsLayerTreeModel, QgsProject, QgsRasterLayer
from qgis.gui import QgsLayerTreeView, QgsProcessingAlgorithmDialogBase
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QCoreApplication, QEvent, QItemSelectionModel, QTimer
from qgis.PyQt.QtWidgets import QAction, QApplication, QDialog, QMessageBox, QWidget

from s2change_plugin import classFactory
from s2change_plugin import plugin as plugin_module
from s2change_plugin.processing.sources import pair_name, short_name, short_names


class Dialog(QgsProcessingAlgorithmDialogBase):
    """Of an algorithm, as Processing shows one."""

    def __init__(self, algorithm: str) -> None:
        super().__init__()
        self.setAlgorithm(QgsApplication.processingRegistry().createAlgorithmById(algorithm))


class Interface:
    """The few calls that the plugin makes on QGIS's interface."""

    def __init__(self, window) -> None:
        self._window = window
        self.menu: list[str] = []
        self.toolbar: list[str] = []
        self.tree = QgsLayerTreeView()
        self.tree.setModel(QgsLayerTreeModel(QgsProject.instance().layerTreeRoot(), self.tree))

    def layerTreeView(self):
        return self.tree

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
        "Apply a review to a change map…",
        "Draw a sample to check a change map…",
        "Estimate the area of change…",
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


def test_what_is_in_the_menu_has_names_for_shortcuts_and_is_gone_afterwards(qgis_processing, qgis_iface) -> None:
    window = QWidget()

    def names() -> list[str]:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        return [action.objectName() for action in window.findChildren(QAction)]

    for _ in range(2):
        plugin = classFactory(Interface(window))
        plugin.initGui()
        assert len(set(names())) == len(names()) == 11
        assert all(name.startswith("s2change") for name in names())
        plugin.unload()
        assert names() == []


def test_what_runs_and_what_is_open_ends_with_the_plugin(qgis_processing, qgis_iface, monkeypatch: pytest.MonkeyPatch) -> None:
    """QGIS deletes the provider then, which both still ask for its name."""
    stopped: list[bool] = []
    monkeypatch.setattr(plugin_module, "stop_runs", lambda: stopped.append(True))
    plugin = classFactory(Interface(qgis_iface.mainWindow()))
    plugin.initGui()
    names = ("s2change:checkpair", "native:buffer")
    ours, other = map(Dialog, names)
    ours.show()
    other.show()
    plugin.unload()
    assert stopped
    assert (sip.isdeleted(ours), sip.isdeleted(other)) == (True, False)
    assert other.isVisible()
    sip.delete(other)


@pytest.fixture
def processing_dialogs(opened, qgis_iface, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Processing show its dialogs, bare ones."""
    from processing.tools import general

    monkeypatch.setattr(general, "iface", qgis_iface)
    monkeypatch.setattr(general, "createAlgorithmDialog", lambda algorithm, parameters: Dialog(algorithm))
    monkeypatch.setattr(processing, "execAlgorithmDialog", general.execAlgorithmDialog)


def test_it_can_be_unloaded_while_a_dialog_of_its_menu_is_open(processing_dialogs, opened) -> None:
    """Processing asks the dialog for its results once that is closed, and it is gone by then."""
    _, plugin, _ = opened
    QTimer.singleShot(0, plugin.unload)
    plugin._run("s2change:checkpair")
    assert QgsApplication.processingRegistry().providerById("s2change") is None


@pytest.mark.parametrize("order", [("checkpair", "detectchange"), ("detectchange", "checkpair")])
def test_of_two_dialogs_of_the_menu_either_may_be_closed_first(processing_dialogs, opened, order: tuple[str, str]) -> None:
    """The loop of the later runs within that of the earlier, which QGIS deletes when it is closed."""
    _, plugin, _ = opened
    closed: list[str] = []

    def close(name: str) -> None:
        for dialog in QApplication.topLevelWidgets():
            if isinstance(dialog, Dialog) and dialog.algorithm().name() == name:
                closed.append(name)
                dialog.close()

    QTimer.singleShot(100, lambda: plugin._run("s2change:detectchange"))
    QTimer.singleShot(200, lambda: close(order[0]))
    QTimer.singleShot(300, lambda: close(order[1]))
    plugin._run("s2change:checkpair")
    assert tuple(closed) == order


@pytest.mark.parametrize("said", ["broken", "wrapped C/C++ object of type QgsRasterLayer has been deleted"])
def test_an_error_of_a_dialog_is_not_hidden_otherwise(opened, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    def broken(*given: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(processing, "execAlgorithmDialog", broken)
    with pytest.raises(RuntimeError, match=re.escape(said)):
        opened[1]._run("s2change:checkpair")


class LaterWidget(QWidget):
    """What QGIS 4.2 has in place of the dialog."""

    def __init__(self, parent: QWidget, algorithm: str) -> None:
        super().__init__(parent)
        self._algorithm = QgsApplication.processingRegistry().createAlgorithmById(algorithm)

    def algorithm(self):
        return self._algorithm

    def forceClose(self) -> None:
        self.parent().setWindowTitle("closed")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch):
    """The plugin as QGIS 4.2 loads it."""
    with monkeypatch.context() as patch:
        patch.delattr(gui, "QgsProcessingAlgorithmDialogBase")
        patch.setattr(gui, "QgsProcessingAlgorithmWidgetBase", LaterWidget, raising=False)
        importlib.reload(plugin_module)
        yield
    importlib.reload(plugin_module)


def test_with_the_dialogs_of_a_later_qgis_it_is_loaded_and_closes_them(later, qgis_processing, qgis_iface) -> None:
    plugin = classFactory(Interface(qgis_iface.mainWindow()))
    plugin.initGui()
    windows = [QDialog(), QDialog()]
    ours, other = map(LaterWidget, windows, ("s2change:checkpair", "native:buffer"))
    plugin.unload()
    assert (sip.isdeleted(ours), sip.isdeleted(other)) == (True, False)
    assert [window.windowTitle() for window in windows] == ["closed", ""]


@pytest.fixture
def opened(qgis_processing, qgis_new_project, qgis_iface, monkeypatch: pytest.MonkeyPatch):
    """The plugin's interface, and what the dialogs that its menu opens are filled with: (algorithm, parameters)."""
    dialogs: list[tuple[str, dict]] = []
    monkeypatch.setattr(processing, "execAlgorithmDialog", lambda *given: dialogs.append(given))
    monkeypatch.setattr(plugin_module, "missing_engine", lambda: "")
    interface = Interface(qgis_iface.mainWindow())
    plugin = classFactory(interface)
    plugin.initGui()
    yield interface, plugin, dialogs
    plugin.unload()
    QgsProject.instance().clear()


def layer(source: Path | str, name: str) -> QgsRasterLayer:
    """In the project, above those that are there."""
    return QgsProject.instance().addMapLayer(QgsRasterLayer(str(source), name))


def select(opened, *names: str) -> None:
    """Layers or groups of the tree."""
    view, root = opened[0].tree, QgsProject.instance().layerTreeRoot()
    view.clearSelection()
    for name in names:
        nodes = [node for node in root.findLayers() if node.name() == name] or [root.findGroup(name)]
        view.selectionModel().select(view.node2index(nodes[0]), QItemSelectionModel.Select)


def filled(opened, menu: str = "Detect change…") -> list[str]:
    """Names of the layers that a dialog begins with."""
    _, plugin, dialogs = opened
    next(action for action in plugin._actions if action.text() == menu).trigger()
    return [QgsProject.instance().mapLayer(key).name() for key in dialogs[-1][1].values()]


def test_without_an_engine_the_menu_offers_to_set_it_up(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plugin, dialogs = opened
    monkeypatch.setattr(plugin_module, "missing_engine", lambda: "There is none. Set it up.")
    monkeypatch.setattr(plugin, "_settings", lambda: dialogs.append(("settings",)))
    said: list[str] = []

    def chosen(menu: str, button: str) -> list[str]:
        """What opens, where a button of what the menu says is clicked."""

        def click(box: QMessageBox) -> None:
            said.append(box.text())
            next(one for one in box.buttons() if one.text().replace("&", "") == button).click()

        monkeypatch.setattr(QMessageBox, "exec", click)
        dialogs.clear()
        next(action for action in plugin._actions if action.text() == menu).trigger()
        return [name for name, *_ in dialogs]

    assert chosen("Detect change…", "Cancel") == []
    assert chosen("Detect change…", "Set up the engine…") == ["s2change:setupengine"]
    assert chosen("Prepare a scene…", "Settings…") == ["settings"]
    assert said == ["There is none. Set it up."] * 3
    assert chosen("Set up the engine…", "") == ["s2change:setupengine"]


def test_a_dialog_begins_with_the_two_scenes_that_are_chosen(opened, pair: Path, tmp_path: Path) -> None:
    shutil.copyfile(pair / "after.tif", tmp_path / "third.tif")
    files = {"summer 2021-08-20": pair / "after.tif", "spring 20180402": pair / "before.tif", "winter": tmp_path / "third.tif"}
    for name, file in files.items():
        layer(file, name)
    *_, dialogs = opened
    assert filled(opened) == [], "of three it is not clear which"
    # By their days, not as they lie.
    select(opened, "summer 2021-08-20", "spring 20180402")
    for menu in ("Detect change…", "Check a pair…", "Export training data…"):
        assert filled(opened, menu) == ["spring 20180402", "summer 2021-08-20"]
        assert list(dialogs[-1][1]) == ["BEFORE", "AFTER"]
    select(opened, "winter")
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


def test_groups_may_be_selected_and_tell_days(opened, pair: Path, tmp_path: Path) -> None:
    """Such as those of prepared scenes."""
    shutil.copyfile(pair / "after.tif", tmp_path / "third.tif")
    root = QgsProject.instance().layerTreeRoot()
    for day, file in (
        ("2021-08-20", pair / "before.tif"),
        ("2018-04-02", pair / "after.tif"),
        ("2016-01-01", tmp_path / "third.tif"),
    ):
        added = QgsProject.instance().addMapLayer(QgsRasterLayer(str(file), f"Prepared scene {file.stem}"), False)
        root.addGroup(f"Scene {day}").addLayer(added)
    assert filled(opened) == []
    select(opened, "Scene 2021-08-20", "Scene 2018-04-02")
    assert filled(opened) == ["Prepared scene after", "Prepared scene before"]


@pytest.mark.parametrize("end", ["_(Raw)", "_10m_clip", " clipped"])
def test_bands_of_two_days_in_one_folder_are_two_scenes(opened, pair: Path, tmp_path: Path, end: str) -> None:
    for day in ("2021-08-20", "2018-04-02"):
        for band in ("B02", "B03"):
            name = f"{day}_Sentinel-2_L1C_{band}{end}.tif"
            shutil.copyfile(pair / "bands1" / f"T31_{band}.tif", tmp_path / name)
            layer(tmp_path / name, f"{day} {band}")
    assert [name[:10] for name in filled(opened)] == ["2018-04-02", "2021-08-20"]
    assert short_name(str(tmp_path / name)) == "2018-04-02_Sentinel-2_L1C"


def test_sources_of_one_name_are_told_apart_by_as_many_folders_as_it_takes(tmp_path: Path) -> None:
    folders = [str(tmp_path / year / "site" / "bands") for year in ("2018", "2020")]
    for folder in folders:
        Path(folder).mkdir(parents=True)
    assert short_names(folders) == ["2018/site/bands", "2020/site/bands"]
    assert short_names([folders[0], "/there/a.tif"]) == ["site/bands", "a"]
    assert short_names(["/there/a.tif", "/there/a.jp2"]) == ["/there/a.tif", "/there/a.jp2"]


@pytest.mark.parametrize(
    ("before", "after", "pair"),
    [
        ("lyon_20150918", "lyon_2018-03-26", "lyon 2015-09-18 → 2018-03-26"),
        ("2015-09-18", "2018-03-26", "2015-09-18 → 2018-03-26"),
        ("T31TFJ 2015-09-18", "T31TFK 2018-03-26", "T31TFJ 2015-09-18 → T31TFK 2018-03-26"),
        ("T10SEG_20160326T185011", "T10SEG_20180326T190012", "T10SEG 2016-03-26 → 2018-03-26"),
        ("lyon_20150918", "later", "lyon_20150918 → later"),
        # Of the day on which a product was made.
        ("S2A_OPER_20161023T053304_T10SEG", "T10SEG_20180326", "S2A_OPER_20161023T053304_T10SEG → T10SEG_20180326"),
    ],
)
def test_a_pair_is_called_by_its_place_and_its_days(before: str, after: str, pair: str) -> None:
    assert pair_name(before, after) == pair


def test_a_product_is_called_by_its_tile_and_day_and_a_layer_by_the_name_that_the_user_gave_it(
    products: list[Path], pair: Path
) -> None:
    assert [short_name(str(product)) for product in products] == ["T31TDH 2021-08-20", "T31TDH 2023-08-23"]
    assert short_name("/there/S2A_MSIL1C_20210820T105031.zip") == "2021-08-20"
    files = [str(pair / "before.tif"), str(products[0] / "MTD_MSIL1C.xml")]
    layers = [QgsRasterLayer(file, name) for file, name in zip(files, ("May", "Bands B2, B3, B4, B8"), strict=True)]
    assert short_names(files, layers) == ["May", "T31TDH 2021-08-20"]
    assert short_names(files, [None, None]) == ["before", "T31TDH 2021-08-20"]
    layers = [QgsRasterLayer(file, "Prepared scene: 2021-08-20") for file in files[:1]]
    assert short_names(files[:1], layers) == ["2021-08-20"]
    del layers


@pytest.mark.parametrize("other", ["", "/", f"/vsicurl?url={'a' * 300}"], ids=["empty", "root", "long"])
def test_a_source_without_a_usual_name_gets_one_all_the_same(other: str) -> None:
    """Names come after a run is finished, which they must not spoil."""
    assert len(set(short_names([".", other]))) == 2
    assert short_names([other, other]) == [short_name(other)] * 2


def test_the_working_folder_is_called_as_it_is_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "B02.tif").touch()
    names = {short_name(source) for source in (".", "B02.tif", str(tmp_path))}
    assert names == {f"{tmp_path.parent.name}/{tmp_path.name}"}


def test_two_rasters_of_one_day_are_no_pair(opened, pair: Path) -> None:
    layer(pair / "before.tif", "2021-08-20")
    layer(pair / "after.tif", "20210820 prepared")
    assert filled(opened) == []


def test_a_picture_is_no_scene(opened, pair: Path, tmp_path: Path) -> None:
    layer(pair / "before.tif", "one")
    layer(pair / "after.tif", "other")
    driver = gdal.GetDriverByName("GTiff")
    for name in ("photo.tif", "T31TDH_20210820T105500_TCI.tif"):
        driver.Create(str(tmp_path / name), 20, 20, 3, gdal.GDT_Byte).FlushCache()
        layer(tmp_path / name, name)
    assert filled(opened) == ["one", "other"]


def test_a_product_s_layers_are_one_scene(opened, products: list[Path], tmp_path: Path) -> None:
    later = products[1]
    earlier = shutil.copytree(later, tmp_path / later.name.replace("20230823", "20210820"))
    for product in (later, earlier):
        for part in ("10m", "20m", "TCI"):
            layer(f"SENTINEL2_L1C:{product}/MTD_MSIL1C.xml:{part}:EPSG_32631", f"{product.name[11:15]} {part}")
    assert [name[:4] for name in filled(opened)] == ["2021", "2023"]


def test_a_product_in_a_folder_of_another_name_is_one_scene_too(opened, products: list[Path], tmp_path: Path) -> None:
    renamed = shutil.copytree(products[1], tmp_path / "mine")
    for part in ("10m", "20m"):
        layer(f"SENTINEL2_L1C:{renamed}/MTD_MSIL1C.xml:{part}:EPSG_32631", part)
    assert filled(opened) == []
