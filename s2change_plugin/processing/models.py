"""The models known by name, without the engine: cards beside weights."""

from __future__ import annotations

from ..paths import shipped_models, user_models

# In place of a name: the engine chooses; a test holds the two together.
AUTO = "auto"


def model_names() -> list[str]:
    """Names of the user's models and those that ship, as the engine finds them."""
    folders = (shipped_models(), user_models())
    return list(dict.fromkeys(path.stem for folder in folders for path in sorted(folder.glob("*.safetensors"))))
