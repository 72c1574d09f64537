"""Which model a pair is given where none is asked for."""

from __future__ import annotations

from .card import AUTO, SHIPPED, find_card, named_weights
from .errors import ModelError
from .findings import STOP
from .scene import Scene
from .scene_findings import model_finding


def chosen_model(name: str, before: Scene, after: Scene) -> str:
    """The model to use for a pair: the one that is asked for, or, for `AUTO`, the first shipped one whose bands and level both dates have.

    Where they have none's, the last, which needs the least: what is missing for it is a finding.

    Raises:
        ModelError: none that ships is here, or the card of one is broken: a worse one is not taken without a word.
    """
    if name != AUTO:
        return name
    here = [one for one in SHIPPED if named_weights(one)]
    if not here:
        raise ModelError("No model that ships is here. Name another with --model, or give the path of a .safetensors file.")
    fits = (one for one in here if model_finding(before, after, find_card(one), accept_level=False).severity != STOP)
    return next(fits, here[-1])
