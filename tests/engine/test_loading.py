import subprocess
import sys

import pytest

from s2change_plugin.engine.loading import _SELDOM_USED

BEGIN = "from s2change_plugin.engine.__main__ import main\nmain(['models'], standalone_mode=False)\n"


def said(program: str) -> str:
    """What a Python of its own prints last."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", sorted(_SELDOM_USED))
def test_a_command_loads_pytorch_without_what_is_seldom_used_until_it_is(name: str) -> None:
    program = f"import sys, torch\nkind = lambda: type(sys.modules['{name}']).__name__\ntorch.nn.Conv2d(1, 1, 3)(torch.ones(1, 1, 4, 4))\n"
    use = f"before = kind()\nsys.modules['{name}'].__doc__\nprint(before, kind())"
    assert said(program + use) == "module module"
    assert said(BEGIN + program + use) == "_LazyModule module"


def test_the_second_call_changes_nothing() -> None:
    program = "from s2change_plugin.engine.loading import load_when_used\nload_when_used()\nimport sys\n"
    assert said(BEGIN + program + "print([type(finder).__name__ for finder in sys.meta_path].count('_WhenUsed'))") == "1"
