"""The models known by name, without the engine: cards beside weights."""

from __future__ import annotations

from ..paths import shipped_models, user_models

# The engine's default; a test holds the two together.
DEFAULT_MODEL = "oscd-urban-6"


def model_names() -> list[str]:
    """Names of the user's models and those that ship, as the engine finds them."""
    folders = (shipped_models(), user_models())
    return list(dict.fromkeys(path.stem for folder in folders for path in sorted(folder.glob("*.safetensors"))))
