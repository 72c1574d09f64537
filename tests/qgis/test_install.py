import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from qgis.core import QgsApplication, QgsProcessingAlgRunnerTask, QgsProcessingContext, QgsProcessingFeedback
from qgis.PyQt.QtCore import QLockFile

from s2change_plugin.runtime import install
from s2change_plugin.runtime.run import EngineCancelled, EngineError


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment would be made."""
    monkeypatch.setattr(install, "managed_environment", lambda: tmp_path / "profile" / "engine")
    return tmp_path / "profile" / "engine"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a script in the place of the Python that makes environments."""

    def put(body: str) -> None:
        script = tmp_path / "base-python"
        script.write_text(f'#!/bin/bash\n[ "$2" = -c ] && exit 0\nfolder=${{@: -1}}\n{body}\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(install, "base_pythons", lambda: [script])

    return put


# Takes a lock, and ends without giving it back.
_LOCK = (
    "import os, sys; from qgis.PyQt.QtCore import QLockFile; lock = QLockFile(sys.argv[1]); assert lock.tryLock(0); os._exit(0)"
)
# An environment whose python records its arguments and succeeds.
_WORKING = 'mkdir -p "$folder/bin"; printf \'#!/bin/bash\\necho "$@" >> "${0%%/bin/python}/said"\\n\' > "$folder/bin/python"; chmod +x "$folder/bin/python"'


def test_the_environment_is_made_from_the_shipped_requirements(target: Path, base) -> None:
    base(_WORKING)
    python = install.set_up_engine(QgsProcessingFeedback(False))
    assert python == target / "bin" / "python"
    assert (target / install.READY).is_file()
    torch, others, trial = (target / "said").read_text().splitlines()
    assert "download.pytorch.org/whl/cpu" in torch
    assert "torch==" in torch
    assert "engine.txt" in others
    assert "cpu-only.txt" in torch
    assert "import torch, rasterio" in trial


def test_a_folder_of_wheels_needs_no_network(target: Path, base) -> None:
    base(_WORKING)
    install.set_up_engine(QgsProcessingFeedback(False), "/stick/wheels")
    said = (target / "said").read_text()
    assert said.count("--no-index --find-links /stick/wheels") == 2
    assert "https://" not in said


@pytest.fixture
def old(target: Path) -> Path:
    """The file that tells an older environment, which works, from a new one."""
    (target / "bin").mkdir(parents=True)
    (target / install.READY).touch()
    (target / "old").touch()
    return target / "old"


def test_a_new_environment_takes_the_place_of_the_old(target: Path, old: Path, base) -> None:
    base(_WORKING)
    assert install.set_up_engine(QgsProcessingFeedback(False)) == target / "bin" / "python"
    assert (target / install.READY).is_file()
    assert not old.exists()
    assert list(target.parent.iterdir()) == [target]


def test_versions_with_other_packages_leave_each_other_alone(target: Path, base, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where all profiles have their engines in one folder."""
    base(_WORKING)
    folders = [target.with_name(f"engine-{packages}") for packages in ("aaaaaaaa", "bbbbbbbb")]
    # The first is replaced, and its set-up was once killed.
    aside = target.with_name(".s2change-old-engine-aaaaaaaa")
    for folder in (folders[0], folders[0], folders[1]):
        aside.mkdir(parents=True, exist_ok=True)
        (aside / install.READY).touch()
        monkeypatch.setattr(install, "managed_environment", lambda folder=folder: folder)
        feedback = QgsProcessingFeedback(False)
        assert install.set_up_engine(feedback) == folder / "bin" / "python"
    assert sorted(target.parent.iterdir()) == [aside, *folders]
    assert f"other versions of S2Change lie in {aside}, {folders[0]}. Delete them" in feedback.textLog()


def test_what_is_not_ours_is_neither_removed_nor_called_an_engine(target: Path, tmp_path: Path, base) -> None:
    """Such as on another disk, where the engine was put beside other things."""
    base(_WORKING)
    (tmp_path / "disk" / "engine").mkdir(parents=True)
    target.parent.mkdir(parents=True)
    target.symlink_to(tmp_path / "disk" / "engine")
    names = ("new-scenes", "new-abcdef", "engine-old", "engineering", "engine-2", "engine-0123abcd", ".s2change-new-scenes")
    for folder in (target.parent, tmp_path / "disk"):
        for name in names:
            (folder / name).mkdir()
            (folder / name / "B02.tif").touch()
        (folder / "engineering" / install.READY).touch()
    # As a set-up leaves it that was killed.
    (tmp_path / "disk" / ".s2change-new-0a1b2c").mkdir()
    feedback = QgsProcessingFeedback(False)
    install.set_up_engine(feedback)
    install.set_up_engine(feedback)
    assert "other versions" not in feedback.textLog()
    for folder in (target.parent, tmp_path / "disk"):
        assert sorted(path.name for path in folder.iterdir()) == sorted(("engine", *names))
        assert all((folder / name / "B02.tif").is_file() for name in names)


@pytest.mark.parametrize("with_old", [False, True])
def test_a_failure_is_one_sentence_and_leaves_what_was_there(
    target: Path, base, with_old: bool, request: pytest.FixtureRequest
) -> None:
    before = [request.getfixturevalue("old").parent] if with_old else []
    base('mkdir -p "$folder"; echo "OSError: [Errno 28] No space left on device" >&2; exit 1')
    with pytest.raises(EngineError, match="disk is full"):
        install.set_up_engine(QgsProcessingFeedback(False))
    assert list(target.parent.iterdir()) == before
    assert (target / install.READY).is_file() == with_old


def test_a_cancel_leaves_what_was_there(target: Path, old: Path, base) -> None:
    base('mkdir -p "$folder"; touch "$folder/../begun"; sleep 60')
    feedback = QgsProcessingFeedback(False)
    begun = target.parent / "begun"
    threading.Thread(target=lambda: (_wait_for(begun), feedback.cancel()), daemon=True).start()
    with pytest.raises(EngineCancelled):
        install.set_up_engine(feedback)
    assert sorted(target.parent.iterdir()) == [begun, target]
    assert old.exists()
    # On a slow disk that takes a minute, in which the dialog would look as if it had not heard.
    assert feedback.textLog().splitlines()[-1] == "Removing what was begun"


def test_a_cancel_in_a_dialog_is_no_error(provider, target: Path, base, qtbot) -> None:
    base("sleep 60")
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("s2change:setupengine")
    context, feedback, ended = QgsProcessingContext(), QgsProcessingFeedback(False), []
    # What a dialog starts.
    task = QgsProcessingAlgRunnerTask(algorithm, {}, context, feedback)
    task.executed.connect(lambda fits, results: ended.append((fits, results)))
    QgsApplication.taskManager().addTask(task)
    qtbot.waitUntil(lambda: "Making an environment" in feedback.textLog(), timeout=30000)
    feedback.cancel()
    qtbot.waitUntil(lambda: bool(ended), timeout=30000)
    assert ended == [(False, {})]
    assert feedback.textLog().splitlines()[-1] == "Cancelled; nothing was set up anew."
    assert "color" not in feedback.htmlLog(), "errors are coloured, information is not"


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)


@pytest.mark.parametrize("number", [3, 4])
def test_a_folder_that_cannot_be_moved_loses_nothing(
    target: Path, old: Path, base, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The third move puts the old aside, the fourth the new in its place; the first two only try whether it can be moved."""
    base(_WORKING)
    moves: list[Path] = []
    rename = Path.rename

    def refused(path: Path, to: Path) -> Path:
        moves.append(path)
        if len(moves) == number:
            raise PermissionError
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refused)
    monkeypatch.setattr(install, "_ATTEMPTS", 1)
    with pytest.raises(EngineError, match="is in use. Close other QGIS windows"):
        install.set_up_engine(QgsProcessingFeedback(False))
    assert old.exists()
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_that_is_held_for_a_moment_is_moved_then(target: Path, old: Path, base, monkeypatch: pytest.MonkeyPatch) -> None:
    base(_WORKING)
    monkeypatch.setattr(install.time, "sleep", lambda seconds: None)
    tries: list[Path] = []
    rename = Path.rename

    def refused_twice(path: Path, to: Path) -> Path:
        tries.append(path)
        if len(tries) < 3:
            raise PermissionError
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refused_twice)
    assert install.set_up_engine(QgsProcessingFeedback(False)).is_file()
    assert not old.exists()


def test_a_disk_that_is_too_full_is_said_before_anything_is_fetched(
    target: Path, old: Path, base, monkeypatch: pytest.MonkeyPatch
) -> None:
    base('touch "$folder/../begun"')
    # Which counts as free once it is gone.
    left = target.parent / ".s2change-new-0a1b2c"
    left.mkdir()
    monkeypatch.setattr(install.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0 if left.exists() else 1_230_000_000))
    with pytest.raises(EngineError, match=rf"The disk of {target.parent} has 1\.2 GB free, and the engine needs 2\.0"):
        install.set_up_engine(QgsProcessingFeedback(False))
    assert list(target.parent.iterdir()) == [target]
    assert old.exists()


def test_the_engine_can_be_removed_but_not_while_it_is_set_up_or_held(
    target: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = QLockFile(str(target.with_name("set-up.lock")))
    assert lock.tryLock(0)
    with pytest.raises(EngineError, match="being set up already"):
        install.remove_engine(target)
    lock.unlock()

    def refused(path: Path, to: Path) -> Path:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(install, "_ATTEMPTS", 1)
        patch.setattr(Path, "rename", refused)
        with pytest.raises(EngineError, match="is in use. Close other QGIS windows"):
            install.remove_engine(target)
    assert old.exists()
    with monkeypatch.context() as patch:
        patch.setattr(install, "_remove", lambda folder: None)
        with pytest.raises(EngineError, match=r"lies in .*\.s2change-new-\w+ now. Delete that folder"):
            install.remove_engine(target)
        (left,) = target.parent.iterdir()
        left.rename(target)
    install.remove_engine(target)
    assert list(target.parent.iterdir()) == []


def test_an_engine_on_another_disk_is_removed_there(target: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "engine").mkdir(parents=True)
    target.parent.mkdir(parents=True)
    target.symlink_to(tmp_path / "disk" / "engine")
    install.remove_engine(target)
    assert list((tmp_path / "disk").iterdir()) == []


def test_what_is_no_engine_is_not_removed_where_a_link_leads_to_it(target: Path, tmp_path: Path, base) -> None:
    base(_WORKING)
    scene = tmp_path / "disk" / "scenes" / "B02.tif"
    scene.parent.mkdir(parents=True)
    scene.touch()
    target.parent.mkdir(parents=True)
    target.symlink_to(scene.parent)
    for attempt in (lambda: install.set_up_engine(QgsProcessingFeedback(False)), lambda: install.remove_engine(target)):
        with pytest.raises(EngineError, match=f"{scene.parent} holds something else than an engine"):
            attempt()
        assert scene.exists()


def test_an_environment_in_use_is_said_before_anything_is_fetched(
    target: Path, old: Path, base, monkeypatch: pytest.MonkeyPatch
) -> None:
    base('touch "$folder/../begun"')

    def refused(path: Path, to: Path) -> Path:
        raise PermissionError

    monkeypatch.setattr(Path, "rename", refused)
    monkeypatch.setattr(install, "_ATTEMPTS", 1)
    with pytest.raises(EngineError, match="is in use"):
        install.set_up_engine(QgsProcessingFeedback(False))
    assert list(target.parent.iterdir()) == [target]


def test_what_a_killed_set_up_moved_aside_comes_back(target: Path, old: Path, base) -> None:
    target.rename(target.with_name(".s2change-old-engine"))
    (target.parent / ".s2change-new-0a1b2c").mkdir()
    # Whose process is gone.
    subprocess.run([sys.executable, "-c", _LOCK, target.with_name("set-up.lock")], check=True)
    assert target.with_name("set-up.lock").exists()
    base('mkdir -p "$folder"; exit 1')
    with pytest.raises(EngineError):
        install.set_up_engine(QgsProcessingFeedback(False))
    assert old.exists()
    assert list(target.parent.iterdir()) == [target]


def test_of_two_set_ups_the_second_is_told_to_wait(target: Path, old: Path) -> None:
    lock = QLockFile(str(target.with_name("set-up.lock")))
    assert lock.tryLock(0)
    with pytest.raises(EngineError, match="being set up already"):
        install.set_up_engine(QgsProcessingFeedback(False))
    assert old.exists()
    lock.unlock()


def test_a_folder_that_cannot_be_written_is_no_set_up_under_way(target: Path, base, monkeypatch: pytest.MonkeyPatch) -> None:
    base(_WORKING)
    monkeypatch.setattr(QLockFile, "tryLock", lambda lock, wait: False)
    monkeypatch.setattr(QLockFile, "error", lambda lock: QLockFile.LockError.PermissionError)
    with pytest.raises(EngineError, match="cannot be written"):
        install.set_up_engine(QgsProcessingFeedback(False))
    target.parent.rmdir()
    target.parent.write_text("a file where the folder should be")
    with pytest.raises(EngineError, match="cannot be written"):
        install.set_up_engine(QgsProcessingFeedback(False))


def test_an_environment_on_another_disk_stays_there(target: Path, tmp_path: Path, base) -> None:
    base(_WORKING)
    (tmp_path / "disk" / "engine").mkdir(parents=True)
    target.parent.mkdir(parents=True)
    target.symlink_to(tmp_path / "disk" / "engine")
    install.set_up_engine(QgsProcessingFeedback(False))
    assert target.is_symlink()
    assert (tmp_path / "disk" / "engine" / install.READY).is_file()


def test_the_algorithm_hands_on_the_python_that_is_named(provider, qgis_processing, target: Path, tmp_path: Path, base) -> None:
    import processing

    base(_WORKING)
    (named,) = install.base_pythons()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(install, "base_pythons", list)
        assert Path(processing.run("s2change:setupengine", {"BASE": str(named)})["PYTHON"]) == target / "bin" / "python"


def test_a_python_that_is_named_elsewhere_is_no_reason_to_set_up_again(
    provider, qgis_processing, target: Path, base, monkeypatch: pytest.MonkeyPatch
) -> None:
    import processing

    base(_WORKING)
    monkeypatch.setenv("S2CHANGE_PYTHON", "/nowhere/python")
    feedback = QgsProcessingFeedback(False)
    processing.run("s2change:setupengine", {}, feedback=feedback)
    said = "the Python named in S2CHANGE_PYTHON goes before it: /nowhere/python. Empty it there to use the new one."
    assert said in feedback.textLog()


def test_the_python_that_is_named_is_taken_if_it_is_new_enough(target: Path, tmp_path: Path, base) -> None:
    base(_WORKING)
    (other,) = install.base_pythons()
    too_old = tmp_path / "old-python"
    too_old.write_text("#!/bin/bash\nexit 1\n")
    too_old.chmod(0o755)
    for name in (too_old, tmp_path / "nothing"):
        with pytest.raises(EngineError, match=rf"{name} is no Python 3\.10 or newer that can make"):
            install.set_up_engine(QgsProcessingFeedback(False), base=str(name))
    assert install.set_up_engine(QgsProcessingFeedback(False), base=str(other)).is_file()


@pytest.mark.parametrize(
    ("system", "machine", "fits"), [("linux", "x86_64", True), ("darwin", "arm64", True), ("darwin", "x86_64", False)]
)
def test_a_python_for_which_there_is_no_pytorch_is_passed_over(
    target: Path, base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str, fits: bool
) -> None:
    """The question itself is put to this Python, as it would be on another system."""
    base(_WORKING)
    (script,) = install.base_pythons()
    there = f"import platform, sys; sys.platform, platform.machine = {system!r}, lambda: {machine!r}; exec(sys.argv[1])"
    script.write_text(script.read_text().replace("&& exit 0", f'&& exec {sys.executable} -c "{there}" "$3"'))
    if fits:
        assert install.set_up_engine(QgsProcessingFeedback(False)) == target / "bin" / "python"
    else:
        with pytest.raises(EngineError, match="on a Mac one for Apple silicon"):
            install.set_up_engine(QgsProcessingFeedback(False))


def test_pythons_that_are_too_old_are_passed_over(target: Path, tmp_path: Path, base, monkeypatch: pytest.MonkeyPatch) -> None:
    base(_WORKING)
    (other,) = install.base_pythons()
    monkeypatch.setattr(install, "base_pythons", lambda: [Path("/bin/false"), other])
    assert install.set_up_engine(QgsProcessingFeedback(False)).is_file()
    monkeypatch.setattr(install, "base_pythons", lambda: [Path("/bin/false")])
    with pytest.raises(EngineError, match="No Python 3.10 or newer that can make environments was found"):
        install.set_up_engine(QgsProcessingFeedback(False))


@pytest.fixture
def aged(target: Path, base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pythons that make environments and are of a version each, the first that would be found first; without ssl where that is said."""
    base(_WORKING)
    (working,) = install.base_pythons()
    monkeypatch.setattr(install, "base_pythons", list)

    def put(name: str, version: str, without_ssl: bool = False) -> Path:
        there = f"import sys; sys.version_info = ({version}, 0, 'final', 0); sys.modules.update({{'ssl': None}} if {without_ssl} else {{}}); exec(sys.argv[1])"
        script = tmp_path / name
        script.write_text(working.read_text().replace("&& exit 0", f'&& exec {sys.executable} -c "{there}" "$3"'))
        script.chmod(0o755)
        found = [*install.base_pythons(), script]
        monkeypatch.setattr(install, "base_pythons", lambda: found)
        return script

    return put


def made_with(**given: str) -> str:
    """Name of the Python that an environment is made with."""
    feedback = QgsProcessingFeedback(False)
    titles: list[str] = []
    feedback.setProgressText = titles.append
    install.set_up_engine(feedback, **given)
    return Path(titles[0].removeprefix("Making an environment with ")).name


def test_a_python_for_which_there_are_packages_goes_before_a_newer_one_that_is_found_first(aged) -> None:
    aged("python3", "3, 15")
    aged("python3.16", "3, 16")
    assert made_with() == "python3", "where there is no other it is tried"
    named = aged("python3.14", "3, 14")
    aged("python3.13", "3, 13")
    assert made_with() == "python3.14"
    assert made_with(base=str(named.with_name("python3"))) == "python3"


def test_a_python_without_ssl_is_passed_over_where_packages_are_fetched(aged) -> None:
    aged("built", "3, 12", without_ssl=True)
    aged("python3", "3, 13")
    assert made_with() == "python3"
    assert made_with(wheels="/stick/wheels") == "built"


def test_packages_are_not_built_here(target: Path, base) -> None:
    """One without a wheel for this Python is said so."""
    base(_WORKING)
    install.set_up_engine(QgsProcessingFeedback(False))
    assert (target / "said").read_text().count("--only-binary :all:") == 2


def test_an_environment_works_where_it_is_moved_to(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(python: Path, folder: Path, wheels: str) -> list[tuple[str, str, list[str]]]:
        return [("Making", str(python), ["-I", "-m", "venv", "--without-pip", str(folder)])]

    monkeypatch.setattr(install, "_steps", steps)
    python = install.set_up_engine(QgsProcessingFeedback(False))
    where = subprocess.run([python, "-I", "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert where.stdout.strip() == str(target)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: ResolutionImpossible: torch 2.13.0 depends on triton==3.6", "CPU build"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no package for this Python"),
        ("WARNING: ... NewConnectionError ... Failed to establish a new connection: Name or service", "network"),
        ("pip._vendor.urllib3.exceptions.ProxyError: 407 Proxy Authentication Required", "HTTPS_PROXY"),
        ("The virtual environment was not created successfully because ensurepip is not available", "python3-venv"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "cannot be written"),
        ("ImportError: DLL load failed while importing _C", "Visual C"),
        ("something\nRuntimeError: odd", "RuntimeError: odd"),
    ],
)
def test_what_pip_says_is_told_in_a_sentence(said: str, told: str) -> None:
    assert told in install.meaning(said)


# What pip ends with, whatever kept it from its index.
_NOTHING_FOUND = """
ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)
ERROR: No matching distribution found for torch==2.13.0"""
_URL = "HTTPSConnectionPool(host='index.example', port=443): Max retries exceeded with url: /simple/torch/"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by "
            "'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate "
            "(_ssl.c:1006)'))': /simple/torch/\n"
            f"Could not fetch URL https://index.example/simple/torch/: There was a problem confirming the ssl certificate: {_URL} "
            "(Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))) - skipping",
            "set PIP_CERT",
        ),
        (
            "WARNING: pip is configured with locations that require TLS/SSL, however the ssl module in Python is not available.\n"
            "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by "
            "'SSLError(\"Can't connect to HTTPS URL because the SSL module is not available.\")': /simple/torch/\n"
            f"Could not fetch URL https://index.example/simple/torch/: There was a problem confirming the ssl certificate: {_URL} "
            '(Caused by SSLError("Can\'t connect to HTTPS URL because the SSL module is not available.")) - skipping',
            "no ssl module. Name another Python",
        ),
        (
            "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by "
            "'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new connection: "
            "[Errno -3] Temporary failure in name resolution')': /simple/torch/",
            "cannot be fetched",
        ),
        (
            "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by "
            "'ConnectTimeoutError(<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>, 'Connection to index.example timed out. "
            "(connect timeout=30.0)')': /simple/torch/",
            "cannot be fetched",
        ),
        ("Looking in indexes: https://index.example/simple, https://download.pytorch.org/whl/cpu", "no package for this Python"),
    ],
)
def test_what_kept_pip_from_its_index_is_told_and_not_that_it_found_nothing(said: str, told: str) -> None:
    assert told in install.meaning(f"{said}{_NOTHING_FOUND}")


def test_pip_is_told_of_the_certificate_that_is_named(target: Path, base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CERT", "/office/ca.pem")
    base(_WORKING.replace('echo "$@"', 'echo "$PIP_CERT"'))
    install.set_up_engine(QgsProcessingFeedback(False))
    assert set((target / "said").read_text().split()) == {"/office/ca.pem"}


def test_a_python_to_start_from_is_found() -> None:
    runs = [subprocess.run([path, "-I", "-c", ""], check=False).returncode == 0 for path in install.base_pythons()]
    assert runs[0]
