"""From a run to a model that S2Change finds by name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from s2change_plugin.engine.card import AUTO, SHIPPED
from s2change_plugin.engine.errors import ModelError
from s2change_plugin.engine.model import load_model, save_model
from s2change_plugin.paths import shipped_models, user_models

# What ends so is taken for a file.
_ENDINGS = (".safetensors", ".json")


def export(run: Path, name: str, ship: bool = False, force: bool = False) -> Path:
    """Copy a run's weights and card under a name, into the user's models or what ships; gives the weights' path.

    Raises:
        ModelError: the name cannot be one, or is taken, or the run has no weights yet.
    """
    if name in SHIPPED and not ship:
        raise ModelError(f"{name} is the name of a model that ships. Choose another.")
    if name == AUTO or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name.endswith(_ENDINGS):
        raise ModelError(
            f"{name!r} cannot be a model's name. Use letters, digits, dots, dashes and underscores, not {AUTO}, and not the ending of a file."
        )
    folder = shipped_models() if ship else user_models()
    target = folder / f"{name}.safetensors"
    if target.exists() and not force:
        raise ModelError(f"{target} is there already. Choose another name, or replace it with --force.")
    if not run.is_dir():
        raise ModelError(f"{run} is no folder of a run. Train one with: python -m training train")
    model = load_model(str(run.resolve()), device="cpu")
    return save_model(folder, replace(model.card, name=name), model.network)
