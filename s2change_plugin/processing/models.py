"""The models known by name, without the engine: cards beside weights."""

from __future__ import annotations

from ..paths import shipped_models, user_models

# In place of a name: the engine chooses; a test holds the two together.
AUTO = "auto"


def model_names() -> list[str]:
    """Names of the user's models and those that ship, of which the engine finds weights and card."""
    weights = (path for folder in (shipped_models(), user_models()) for path in sorted(folder.glob("*.safetensors")))
    return list(dict.fromkeys(path.stem for path in weights if path.with_suffix(".json").is_file()))
