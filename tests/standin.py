"""A model whose answer is known: hand-made weights that call a pixel changed where its bands differ enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from s2change_plugin.engine.bands import BANDS, TEN_BANDS
from s2change_plugin.engine.card import ModelCard
from s2change_plugin.engine.model import save_model
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.unet import ChangeNet

# Reflectance, summed over the bands, above which a pixel is change; the logit is 0 there.
LIMIT = 1.5


def standin_network(bands: int = 10, depth: int = 1) -> ChangeNet:
    """The network that computes Σ |after − before| − LIMIT, per pixel, from its full-resolution skip."""
    whole = ChangeNet(list(BANDS)[:bands], ("dates",), width=bands, depth=depth)
    network = whole.networks[0]
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    first, last = network.encoder[0], network.decoder[0]
    for conv, norm in ((first[0], first[1]), (first[3], first[4]), (last[3], last[4])):
        conv.weight.data[range(bands), range(bands), 1, 1] = 1
        norm.weight.data[:] = 1
    # Lifted above zero, so that the ReLUs let negative values through; the difference takes it off again.
    first[1].bias.data[:] = 10
    last[0].weight.data[0, bands:, 1, 1] = 1
    last[1].weight.data[:] = 1
    network.head.weight.data[0, 0] = 10
    network.head.bias.data[:] = -10 * LIMIT
    return whole.eval()


def write_standin(folder: Path, name: str, **entries: object) -> Path:
    """Write it as a model, and give its weights' path; entries are the card's."""
    card = ModelCard(
        name=name,
        bands=TEN_BANDS,
        views=("dates",),
        width=10,
        depth=1,
        mean=(0.0,) * 10,
        std=(1.0,) * 10,
        thresholds={"f1": 0.5},
        licence="GPL-2.0-or-later",
        trained_on="nothing: made by hand for tests",
        halo=halo(1),
    )
    return save_model(folder, replace(card, **entries), standin_network())
