"""The arrows between engine, QGIS side and training that must never be drawn, held by reading the imports."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PLUGIN = "s2change_plugin"
QGIS_SIDE = tuple(f"{PLUGIN}.{part}" for part in ("plugin", "runtime", "processing", "gui"))
QT = ("PyQt5", "PyQt6", "PySide2", "PySide6", "sip")

# Who → what it never imports, each with all that lies below it.
NEVER = {
    f"{PLUGIN}.engine": ("qgis", "processing", *QT, *QGIS_SIDE),
    f"{PLUGIN}.processing": (f"{PLUGIN}.gui",),
    PLUGIN: ("training", "tests", "subprocess", "pickle", "xml"),
    "training": ("qgis", "processing", *QT, *QGIS_SIDE, "tests", "pickle"),
}
# What the QGIS side has beside the standard library; `processing` is QGIS's own framework. Qt comes from qgis.PyQt alone.
QGIS_SIDE_HAS = ("qgis", "processing", f"{PLUGIN}.paths", *QGIS_SIDE)
# What both processes load, each with all that it may import beside the standard library: classFactory's import is QGIS's to run.
SHARED = {PLUGIN: f"{PLUGIN}.plugin.S2ChangePlugin", f"{PLUGIN}.paths": ""}
# The engine's modules that speak; the rest hands over what is to be said.
SPEAKING = {f"{PLUGIN}.engine.events": ("click.echo", "sys.stdout", "sys.stderr"), f"{PLUGIN}.engine.__main__": ("click.echo",)}


def test_no_arrow_is_drawn_that_must_not_be() -> None:
    assert wrongs(REPOSITORY) == []


def test_what_qgis_loads_is_written_for_python_3_9() -> None:
    """QGIS brings its own Python; `zip` counts there from 3.10 on only."""
    loaded = [path for path in sources(REPOSITORY) if module_name(REPOSITORY, path).startswith((*QGIS_SIDE, f"{PLUGIN}.paths"))]
    assert len(loaded) > 15
    for path in loaded:
        tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
        called = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "zip"]
        assert not any(keyword.arg == "strict" for call in called for keyword in call.keywords), path


def test_the_check_reads_the_code() -> None:
    names = {module_name(REPOSITORY, path) for path in sources(REPOSITORY)}
    assert {f"{PLUGIN}.engine.__main__", f"{PLUGIN}.paths", "training.train"} <= names
    assert "torch" in {
        name for _, name in imports(ast.parse((REPOSITORY / PLUGIN / "engine" / "model.py").read_text("utf-8")), "m")
    }


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("engine/a.py", "from qgis.core import QgsRasterLayer"),
        ("engine/a.py", "from PyQt5 import QtCore"),
        ("engine/a.py", "from ..runtime import locate"),
        ("engine/a.py", "from .. import gui"),
        ("engine/a.py", "def later():\n    import training.train"),
        ("engine/a.py", "import importlib\nimportlib.import_module('qgis.core')"),
        ("engine/a.py", "from xml.etree import ElementTree"),
        ("engine/a.py", "print('done')"),
        ("engine/a.py", "import sys\nsys.stdout.write('done')"),
        ("engine/a.py", "import click\nclick.echo('done')"),
        ("engine/__main__.py", "print('done')"),
        ("engine/a.py", "assert True"),
        ("engine/a.py", "try:\n    pass\nexcept:\n    raise"),
        ("runtime/a.py", "from ..engine import bands"),
        ("runtime/a.py", "import subprocess"),
        ("processing/a.py", "import torch"),
        ("processing/a.py", "from ..gui import dock"),
        ("gui/a.py", "import rasterio"),
        ("gui/a.py", "from PyQt6.QtCore import Qt"),
        ("plugin.py", "from .engine.model import list_models"),
        ("plugin.py", "from training import export"),
        ("paths.py", "from qgis.core import QgsApplication"),
        ("__init__.py", "import numpy"),
        ("../training/a.py", "from s2change_plugin.processing import provider"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, line: str) -> None:
    plant(tmp_path, file, line)
    assert len(wrongs(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("engine/a.py", "import torch\nfrom ..paths import resources\nfrom . import bands"),
        ("engine/events.py", "import click\nclick.echo('done')"),
        ("engine/__main__.py", "import click\nclick.echo('done')"),
        (
            "processing/a.py",
            "import json\nfrom qgis.PyQt.QtCore import Qt\nfrom ..runtime import run\nfrom ..paths import resources",
        ),
        ("gui/a.py", "import processing\nfrom ..processing import provider"),
        ("__init__.py", "def classFactory(iface):\n    from .plugin import S2ChangePlugin\n    return S2ChangePlugin(iface)"),
        ("../training/a.py", "import torch\nfrom s2change_plugin.engine.pair import open_pair"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, file: str, line: str) -> None:
    plant(tmp_path, file, line)
    assert wrongs(tmp_path) == []


def plant(root: Path, file: str, text: str) -> None:
    path = root / PLUGIN / file
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / PLUGIN).mkdir(exist_ok=True)
    path.write_text(text + "\n", "utf-8")


def wrongs(root: Path) -> list[str]:
    """What is wrong in the code below root, a sentence each with file and line."""
    found = []
    for path in sources(root):
        name, tree = module_name(root, path), ast.parse(path.read_text("utf-8"))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for line, sentence in sorted({*wrong_imports(name, tree, package), *wrong_statements(name, tree)}):
            found.append(f"{path.relative_to(root)}:{line}: {sentence}")
    return found


def sources(root: Path) -> list[Path]:
    return sorted(path for part in (PLUGIN, "training") for path in (root / part).rglob("*.py"))


def module_name(root: Path, path: Path) -> str:
    parts = PurePosixPath(path.resolve().relative_to(root.resolve()).with_suffix("")).parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def below(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def imports(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each module that is imported, inside functions too, and by importlib where the name is written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            origin = (
                ".".join([*parts[: len(parts) + 1 - node.level], *filter(None, [node.module])])
                if node.level
                else str(node.module)
            )
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            yield from (
                (node.lineno, arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )


def wrong_imports(name: str, tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    for line, target in imports(tree, package):
        if any(below(name, who) and below(target, *never) for who, never in NEVER.items()):
            yield line, f"{name} imports {target}"
        elif below(name, *QGIS_SIDE) and not (is_standard(target) or below(target, *QGIS_SIDE_HAS)):
            yield line, f"{name} imports {target}; the QGIS side has PyQGIS and the standard library"
        elif name in SHARED and not (is_standard(target) or target == SHARED[name]):
            yield line, f"{name} imports {target}; both processes load it"


def is_standard(target: str) -> bool:
    return target.partition(".")[0] in sys.stdlib_module_names


def wrong_statements(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """No assert and no bare except in what ships; in the engine, nothing is said but where speaking is the task."""
    if not below(name, PLUGIN):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert is gone under python -O; raise an error"
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "a bare except takes KeyboardInterrupt too; name the error"
        elif below(name, f"{PLUGIN}.engine"):
            said = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
            if said in ("print", "click.echo", "sys.stdout", "sys.stderr") and said not in SPEAKING.get(name, ()):
                yield node.lineno, f"{said} in {name}; what is to be said goes through events.py"
