import json
import threading
import time
from pathlib import Path

import pytest
from qgis.core import QgsNetworkAccessManager, QgsProcessingFeedback, QgsSettings
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtNetwork import QNetworkProxy

from s2change_plugin.runtime import environment, run
from s2change_plugin.runtime.run import EngineCancelled, EngineError, run_engine, stop_runs
from tests.qgis.conftest import PYTHON, REPOSITORY


class Feedback(QgsProcessingFeedback):
    """Keeps what it is told, and can cancel itself at the first progress."""

    def __init__(self, cancel: bool = False) -> None:
        super().__init__(False)
        self.said: list[str] = []
        self.warned: list[str] = []
        self.debug: list[str] = []
        self.steps: list[float] = []
        self._cancel = cancel
        self.progressChanged.connect(self._step)

    def _step(self, value: float) -> None:
        self.steps.append(value)
        if self._cancel:
            self.cancel()

    def pushInfo(self, text: str) -> None:
        self.said.append(text)

    def pushWarning(self, text: str) -> None:
        self.warned.append(text)

    def pushDebugInfo(self, text: str) -> None:
        self.debug.append(text)


def test_events_become_progress_and_messages(fake_engine) -> None:
    fake_engine("""
start()
say(event="message", level="info", text="Grüße")
say(event="message", level="warning", text="mind")
print("not an event", flush=True)
for done in range(5):
    say(event="progress", stage="detect", done=done, total=4)
say(event="result", mask="m.tif", changed_pixels=7)
""")
    feedback = Feedback()
    assert run_engine(["detect"], feedback)["changed_pixels"] == 7
    assert feedback.said == ["Grüße"]
    assert feedback.warned == ["mind"]
    assert feedback.debug == ["not an event"]
    assert feedback.steps == sorted(feedback.steps)
    assert feedback.steps[-1] == 90


@pytest.mark.parametrize(
    ("command", "stages"),
    [
        ("detect", ("register", "detect", "polygons", "write")),
        ("detect", ("register", "detect", "polygons", "report", "write")),
        ("check", ("register",)),
        ("stack", ("stack", "write")),
    ],
)
def test_the_progress_of_each_command_rises_to_a_hundred(fake_engine, command: str, stages: tuple[str, ...]) -> None:
    fake_engine(f"""
for stage in {stages!r}:
    for done in range(3):
        say(event="progress", stage=stage, done=done, total=2)
say(event="result")
""")
    feedback = Feedback()
    run_engine([command], feedback)
    assert feedback.steps == sorted(feedback.steps)
    assert feedback.steps[-1] == 100


def test_messages_can_be_left_out_and_put_into_other_words(fake_engine) -> None:
    fake_engine("""
say(event="message", level="info", text="say --area")
say(event="result")
""")
    quiet, other = Feedback(), Feedback()
    run_engine(["check"], quiet, messages=False)
    run_engine(["check"], other, words=str.upper)
    assert (quiet.said, other.said) == ([], ["SAY --AREA"])


def test_an_error_event_is_the_sentence_and_leaves_nothing(fake_engine) -> None:
    work = fake_engine('start(); say(event="error", kind="GridMismatch", text="They do not overlap."); sys.exit(1)')
    with pytest.raises(EngineError, match=r"^They do not overlap\.$"):
        run_engine(["detect"], Feedback())
    assert not work.exists()


def test_cancel_closes_standard_input_and_the_engine_ends(fake_engine) -> None:
    work = fake_engine("""
start()
say(event="progress", stage="detect", done=1, total=9)
sys.stdin.read()
open(WORK + "-asked", "w").close()
sys.exit(1)
""")
    with pytest.raises(EngineCancelled, match="nothing was written"):
        run_engine(["detect"], Feedback(cancel=True))
    assert not work.exists()
    assert Path(f"{work}-asked").exists()


def test_cancel_kills_an_engine_that_does_not_listen(fake_engine) -> None:
    work = fake_engine("""
start()
open(WORK + "-pid", "w").write(str(os.getpid()))
say(event="progress", stage="detect", done=1, total=9)
time.sleep(600)
""")
    with pytest.raises(EngineCancelled):
        run_engine(["detect"], Feedback(cancel=True))
    assert not work.exists()
    pid = Path(f"{work}-pid").read_text()
    assert not Path(f"/proc/{pid}").exists()


def test_an_engine_that_is_killed_is_one_sentence_and_leaves_nothing(fake_engine) -> None:
    work = fake_engine("start(); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(EngineError, match="ended from outside"):
        run_engine(["detect"], Feedback())
    assert not work.exists()


def test_what_an_engine_that_died_had_set_aside_is_left_for_the_next_run_to_put_back(fake_engine) -> None:
    work = fake_engine("""
start()
os.makedirs(WORK + "/older/lyon"), os.makedirs(WORK + "/new")
os.kill(os.getpid(), signal.SIGKILL)
""")
    with pytest.raises(EngineError, match="ended from outside"):
        run_engine(["chips"], Feedback())
    assert (work / "older" / "lyon").is_dir()
    assert f'SET_ASIDE = "{run.SET_ASIDE}"' in (REPOSITORY / "s2change_plugin" / "engine" / "outputs.py").read_text("utf-8")


def test_a_folder_that_is_held_for_a_moment_is_removed_all_the_same(fake_engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where what a killed process has open stays a little longer."""
    work = fake_engine('start(); say(event="error", kind="GridMismatch", text="They do not overlap.")')
    remove, tries = run.shutil.rmtree, []

    def held(path: Path, ignore_errors: bool) -> None:
        tries.append(path)
        if len(tries) > 1:
            remove(path, ignore_errors)

    monkeypatch.setattr(run.shutil, "rmtree", held)
    with pytest.raises(EngineError, match="They do not overlap"):
        run_engine(["detect"], Feedback())
    assert (len(tries), work.exists()) == (2, False)


def test_all_runs_can_be_stopped_and_waited_for(fake_engine) -> None:
    # Both have one folder.
    work = fake_engine("os.makedirs(WORK, exist_ok=True); say(event='started', workdir=WORK); sys.stdin.read()")
    ended: list[str] = []

    def call() -> None:
        try:
            run_engine(["detect"], Feedback())
        except EngineCancelled as error:
            ended.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 30
    while (len(run._RUNNING) < 4 or not work.exists()) and time.monotonic() < until:
        time.sleep(0.01)
    stop_runs()
    for thread in threads:
        thread.join(30)
    assert run._RUNNING == []
    assert ended == ["Cancelled; nothing was written."] * 2


def test_in_the_main_thread_a_click_on_cancel_is_heard_while_the_engine_says_nothing(fake_engine) -> None:
    fake_engine("start(); sys.stdin.read()")
    feedback = Feedback()
    QTimer.singleShot(300, feedback.cancel)
    with pytest.raises(EngineCancelled):
        run_engine(["detect"], feedback)


def test_a_python_that_does_not_start_is_not_taken_for_a_lack_of_memory(fake_engine) -> None:
    """As the environment of a QGIS that an update put elsewhere."""
    fake_engine("sys.stderr.write('No Python at that place'); sys.stderr.flush(); os._exit(103)")
    with pytest.raises(EngineError, match=r"Python does not work \(No Python at that place\).*Set up the engine"):
        run_engine(["detect"], Feedback())


def test_an_engine_that_ends_well_and_says_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2CHANGE_PYTHON", "/bin/true")
    with pytest.raises(EngineError, match=r"Python does not work \(it said nothing\)"):
        run_engine(["detect"], Feedback())


def test_a_traceback_is_logged_and_told_in_one_sentence(fake_engine) -> None:
    fake_engine("start(); raise RuntimeError('a bug')")
    feedback = Feedback()
    with pytest.raises(EngineError, match="error of its own: RuntimeError: a bug"):
        run_engine(["detect"], feedback)
    assert any("Traceback" in text for text in feedback.debug)


def test_a_python_without_the_packages_says_what_to_do(fake_engine) -> None:
    fake_engine("import torch_is_not_here")
    with pytest.raises(EngineError, match="lacks a package.*Set up the engine"):
        run_engine(["detect"], Feedback())


@pytest.fixture
def setting():
    """Name a Python in the settings; afterwards there is none."""
    yield lambda path: QgsSettings().setValue(environment.PYTHON_SETTING, str(path))
    QgsSettings().remove(environment.PYTHON_SETTING)


def test_a_python_that_is_not_there_says_where_it_is_named_and_what_to_do(setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """To set up the engine once more would not help."""
    monkeypatch.setenv("S2CHANGE_PYTHON", "/nowhere/python")
    with pytest.raises(EngineError, match=r"named in S2CHANGE_PYTHON, /nowhere/python, does not exist\. Empty it there"):
        run_engine(["detect"], Feedback())
    setting("/elsewhere/python")
    with pytest.raises(EngineError, match=r"S2Change → Settings, /elsewhere/python, does not exist\. Empty it there"):
        run_engine(["detect"], Feedback())


def test_the_folder_of_an_environment_stands_for_its_python(setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = environment.python_in(tmp_path)
    setting(tmp_path)
    assert f"{python}, does not exist" in environment.missing_engine()
    python.parent.mkdir()
    python.touch()
    assert (environment.engine_python(), environment.missing_engine()) == (python, "")
    setting("")
    monkeypatch.setenv("S2CHANGE_PYTHON", str(tmp_path))
    assert environment.engine_python() == python


def test_the_engine_gets_none_of_qgis_environment_but_the_proxy(fake_engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PROJ_LIB", "GDAL_DATA", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "/qgis")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:8080")
    fake_engine('say(event="result", names=sorted(os.environ), arguments=sys.argv[1:])')
    result = run_engine(["detect", "a b.tif"], Feedback())
    assert "HTTPS_PROXY" in result["names"]
    assert not [name for name in result["names"] if name.startswith(("PYTHON", "PROJ", "GDAL", "LD_LIBRARY"))]
    assert result["arguments"][0] == "-I"
    assert json.loads(result["arguments"][-1])[-3:] == ["detect", "a b.tif", "--events"]


def test_the_engine_gets_the_settings_of_gdal_and_proj_but_not_where_those_of_qgis_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ("GDAL_HTTP_HEADERS", "GDAL_HTTP_USERPWD", "GDAL_CACHEMAX", "PROJ_NETWORK", "AWS_PROFILE", "VSI_CACHE")
    of_qgis = (
        "GDAL_DATA",
        "GDAL_DRIVER_PATH",
        "GDAL_PYTHON_DRIVER_PATH",
        "OGR_DRIVER_PATH",
        "PROJ_DATA",
        "PROJ_LIB",
        "PROJ_AUX_DB",
    )
    for name in (*own, *of_qgis):
        monkeypatch.setenv(name, "said")
    given = environment.clean_environment()
    assert [name for name in own if given.value(name) != "said"] == []
    assert [name for name in of_qgis if given.contains(name)] == []


def test_paths_reach_the_engine_whole_whatever_letters_the_locale_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qt 5 puts a question mark for those that it does not know."""
    package = tmp_path / "Müller" / "s2change_plugin"
    (package / "engine").mkdir(parents=True)
    for file in (package / "__init__.py", package / "engine" / "__init__.py"):
        file.touch()
    said = "import json, sys; print(json.dumps({'event': 'result', 'arguments': sys.argv}), flush=True)"
    (package / "engine" / "__main__.py").write_text(said)
    monkeypatch.setenv("S2CHANGE_PYTHON", str(PYTHON))
    monkeypatch.setattr(environment, "PACKAGE", package)
    given = ["detect", "/Köln/vorher 'a\" b.tif", "", "北京\\"]
    assert all(map(str.isascii, environment.engine_arguments(given)))
    assert run_engine(given, Feedback())["arguments"] == ["s2change", *given, "--events"]


@pytest.fixture
def proxy_of_qgis():
    """Set the proxy of QGIS's settings; afterwards there is none."""
    manager = QgsNetworkAccessManager.instance()

    def put(kind: QNetworkProxy.ProxyType, *who: str) -> None:
        proxy = QNetworkProxy(kind, "proxy.office", 3128, *who)
        manager.setFallbackProxyAndExcludes(proxy, ["http://intranet/maps"], ["https://tiles.office"])

    yield put
    manager.setFallbackProxyAndExcludes(QNetworkProxy(QNetworkProxy.ProxyType.NoProxy), [], [])


def test_the_proxy_of_qgis_settings_is_the_engines_unless_the_environment_has_one(
    proxy_of_qgis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    assert not environment.clean_environment().value("https_proxy")
    proxy_of_qgis(QNetworkProxy.ProxyType.HttpProxy, "me", "p@ss/word")
    assert environment.clean_environment().value("https_proxy") == "http://me:p%40ss%2Fword@proxy.office:3128"
    proxy_of_qgis(QNetworkProxy.ProxyType.HttpProxy)
    assert environment.clean_environment().value("https_proxy") == "http://proxy.office:3128"
    assert environment.clean_environment().value("no_proxy") == "localhost,127.0.0.1,intranet,tiles.office"
    proxy_of_qgis(QNetworkProxy.ProxyType.Socks5Proxy)
    assert not environment.clean_environment().value("https_proxy")
    proxy_of_qgis(QNetworkProxy.ProxyType.HttpProxy)
    monkeypatch.setenv("NO_PROXY", "corp.example")
    assert environment.clean_environment().value("no_proxy").startswith("corp.example,localhost,")
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "all_proxy"):
        with monkeypatch.context() as one:
            one.setenv(name, "http://other:8080")
            assert environment.clean_environment().value(name) == "http://other:8080"
            assert not environment.clean_environment().value("https_proxy")
            assert not environment.clean_environment().value("no_proxy")


def test_a_neighbour_among_the_plugins_does_not_shadow_the_engines_packages(
    engine: None, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('the neighbour')")
    (tmp_path / "s2change_plugin").symlink_to(environment.PACKAGE)
    monkeypatch.setattr(environment, "PACKAGE", tmp_path / "s2change_plugin")
    before = str(pair / "before.tif")
    with pytest.raises(EngineError, match="same raster"):
        run_engine(["detect", before, before, "--mask", str(tmp_path / "m.tif"), "--model", "standin"], Feedback())


def test_the_real_engine_stops_when_its_starter_is_gone(engine: None, pair: Path, tmp_path: Path) -> None:
    """A cancel in the middle of a real run leaves neither files nor folder."""
    names = ("before.tif", "after.tif")
    arguments = ["detect", *(str(pair / name) for name in names), "--mask", str(tmp_path / "m.tif"), "--model", "standin"]
    began = time.monotonic()
    with pytest.raises(EngineCancelled):
        run_engine(arguments, Feedback(cancel=True))
    assert time.monotonic() - began < 60
    assert list(tmp_path.iterdir()) == []


def test_on_windows_the_engine_lies_where_long_names_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert not environment.managed_environment().is_relative_to(tmp_path), "elsewhere the variable says nothing"
    monkeypatch.setattr(environment.sys, "platform", "win32")
    monkeypatch.setattr(environment, "packages", lambda: "0123456789abcdef")
    assert environment.managed_environment() == tmp_path / "s2change" / "engine-01234567"


def test_the_order_of_pythons_is_setting_variable_profile(setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    managed = tmp_path / "engine"
    monkeypatch.setattr(environment, "managed_environment", lambda: managed)
    monkeypatch.delenv("S2CHANGE_PYTHON", raising=False)
    monkeypatch.setattr(environment, "PACKAGE", tmp_path / "s2change_plugin")
    assert environment.engine_python() is None
    assert "not set up yet" in environment.missing_engine()
    managed.mkdir()
    assert environment.engine_python() is None, "an unfinished environment is none"
    (managed / environment.READY).touch()
    assert environment.engine_python() == managed / "bin" / "python"
    (managed / "bin").mkdir()
    (managed / "bin" / "python").touch()
    monkeypatch.setattr(environment, "packages", lambda: "new")
    assert "packages of another version" in environment.missing_engine()
    (managed / environment.READY).write_text("new")
    assert environment.missing_engine() == ""
    monkeypatch.setenv("S2CHANGE_PYTHON", "/variable/python")
    assert environment.engine_python() == Path("/variable/python")
    setting("/setting/python")
    assert environment.engine_python() == Path("/setting/python")
