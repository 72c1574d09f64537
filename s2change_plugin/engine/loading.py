"""What PyTorch loads with itself and nothing here uses: left until something does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

# Kernels for tensors without numbers ("meta"), as compiling and exporting need, and for accelerators' own languages. Without them PyTorch
# 2.13 takes a quarter less time to load. Both only register what they hold: until they are asked for, meta tensors do not work.
_SELDOM_USED = frozenset({"torch._meta_registrations", "torch._native"})


class _WhenUsed(MetaPathFinder):
    """Finds these modules as any others are found, and lets each load when something of it is asked for.

    By one thread: in older Pythons a second that asks meanwhile finds a module half loaded (CPython issue 114763).
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _SELDOM_USED else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


def load_when_used() -> None:
    """Let from now on modules that are seldom used load when they are."""
    if not any(isinstance(finder, _WhenUsed) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenUsed())
