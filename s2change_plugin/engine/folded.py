"""The network as it is used: the same numbers as `unet.ChangeNet` up to rounding, in less time."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .reach import BLOCK_REACH, margin, needs
from .unet import ChangeNet, SiameseUNet, TenMetreUNet, UNet

# On its way up a group holds, for each channel of its finest level: what both dates gave and how far they lie apart (3), what came
# from below beside that (2), and a block's two results (2).
_CHANNELS_HELD = 7
# Processors compute so many channels in the time of fewer.
_LANES = 16


class FoldedNet(nn.Module):
    """A `ChangeNet` for use alone, on windows with a margin.

    Batch norm is folded into the convolutions. Narrow networks with one view share their finest level, where most of the work is.
    The way down sees window and margin, the way up computes of the margin only what the window needs.

    Attributes:
        cell: side of the cells that it works on, pixels.
        margin: pixels; see `margin`.
        channels_held: numbers that it holds at most for each pixel of its input, beside it.
    """

    def __init__(self, network: ChangeNet) -> None:
        """Fold a network with what its batch norms have seen so far; it stays as it is."""
        super().__init__()
        networks: list[Any] = list(network.networks)
        by_view: dict[type[UNet], list[UNet]] = {}
        for one in networks:
            by_view.setdefault(type(one), []).append(one)
        together = max(1, _LANES // int(networks[0].head.in_channels))
        self.cell = int(networks[0].cell)
        self.margin = self.cell * margin(len(networks[0].up))
        self.channels_held = -(-_CHANNELS_HELD * together * int(networks[0].head.in_channels) // self.cell**2)
        self.groups = nn.ModuleList(
            _Group(like[first : first + together], len(network.networks))
            for like in by_view.values()
            for first in range(0, len(like), together)
        )

    def forward(self, shown: Tensor) -> Tensor:
        """Logits of change of the window inside the margin: (h − 2 margin, w − 2 margin).

        Args:
            shown: before, after, difference as `appearance.Appearance.shown` gives them, (3, band, h, w), with h and w multiples of
                cell · 2 ** depth.
        """
        cells = pixel_unshuffle(shown, self.cell)
        logits: Tensor = sum(group(cells, self.margin // self.cell) for group in self.groups)
        return pixel_shuffle(logits, self.cell)[0, 0]


class _Group(nn.Module):
    """Networks of one view with a common finest level; gives the sum of their logits' shares."""

    def __init__(self, networks: Sequence[UNet], heard: int) -> None:
        super().__init__()
        self.siamese = isinstance(networks[0], SiameseUNet)
        self.places = _of_cells(networks[0].places, networks[0].cell) if isinstance(networks[0], TenMetreUNet) else None
        self.width = networks[0].head.in_channels
        self.first = _merged([_folded(one.encoder[0]) for one in networks], 0)
        self.last = _merged([_folded(one.decoder[0]) for one in networks], 2)
        self.deeper = nn.ModuleList(_Deeper(one) for one in networks)
        self.head = nn.Conv2d(self.width * len(networks), networks[0].cell ** 2, 1)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([one.head.weight for one in networks], 1) / heard)
            _bias(self.head).copy_(torch.stack([_bias(one.head) for one in networks]).sum(0) / heard)

    def forward(self, shown: Tensor, margin: int) -> Tensor:
        if not self.siamese:
            x = torch.cat([(shown[:1] + shown[1:2]) / 2, shown[2:]], 1)
        elif self.places is None:
            x = shown[:2]
        else:
            x = shown[:2, self.places].contiguous(memory_format=torch.channels_last)
        x = self.first(x)
        lower = _halved(x)
        ups = [
            deeper(lower[:, place * self.width : (place + 1) * self.width], margin // 2, self.siamese)
            for place, deeper in enumerate(self.deeper)
        ]
        inner = _inner(x, margin - BLOCK_REACH)
        x = self.last(torch.cat([*ups, _apart(inner) if self.siamese else inner], 1))
        return _inner(self.head(x), BLOCK_REACH)


class _Deeper(nn.Module):
    """All levels of a network but the finest."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(_folded(level) for level in network.encoder[1:])
        self.decoder = nn.ModuleList(_folded(level) for level in network.decoder[1:])
        # Its own, to be moved to another precision.
        self.up = deepcopy(network.up)
        self.needs = needs(len(network.up))

    def forward(self, x: Tensor, margin: int, siamese: bool) -> Tensor:
        """What the finest level gets from below, with as much margin as its convolutions reach."""
        skips = []
        for level, encode in enumerate(self.encoder, start=1):
            x = encode(x)
            skip = _inner(x, margin - self.needs[level] - (BLOCK_REACH if level < len(self.encoder) else 0))
            skips.append(_apart(skip) if siamese else skip)
            if level < len(self.encoder):
                x, margin = _halved(x), margin // 2
        x = skips.pop()
        for level in range(len(skips), 0, -1):
            x = self._raised(x, level)
            x = self.decoder[level - 1](torch.cat([x, skips.pop()], 1))
            x = _inner(x, BLOCK_REACH)
        return self._raised(x, 0)

    def _raised(self, x: Tensor, level: int) -> Tensor:
        """From the level below, with the margin that this one's block needs."""
        return _inner(self.up[level](x), 2 * self.needs[level + 1] - self.needs[level] - BLOCK_REACH)


def _of_cells(places: Sequence[int], cell: int) -> list[int]:
    """The channels of cells that bands at these places have."""
    return [place * cell**2 + part for place in places for part in range(cell**2)]


def _folded(block: Any) -> nn.Sequential:
    """A `unet.block` with its batch norm in its convolutions."""
    first, norm, _, second, other, _ = block
    return _relus(_with_norm(first, norm), _with_norm(second, other))


def _with_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution that does what it and the batch norm after it do in use."""
    whole = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3, padding=1)
    running: Any = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    whole.weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *running)
    whole.bias = bias
    return whole


def _relus(*convolutions: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(*(layer for one in convolutions for layer in (one, nn.ReLU(inplace=True))))


def _merged(blocks: Sequence[Any], parts: int) -> nn.Sequential:
    """Folded blocks beside each other as one.

    Args:
        blocks: alike.
        parts: of which each block's input consists; the merged input has the first parts of all, then the second ones. 0: all
            have the same input.
    """
    return _relus(_beside([block[0] for block in blocks], parts), _beside([block[2] for block in blocks], 1))


def _beside(convolutions: Sequence[nn.Conv2d], parts: int) -> nn.Conv2d:
    each_in, each_out, count = convolutions[0].in_channels, convolutions[0].out_channels, len(convolutions)
    whole = nn.Conv2d(each_in * (count if parts else 1), each_out * count, 3, padding=1)
    with torch.no_grad():
        whole.weight.zero_()
        _bias(whole).copy_(torch.cat([_bias(one) for one in convolutions]))
        for place, one in enumerate(convolutions):
            rows = whole.weight[place * each_out : (place + 1) * each_out]
            width = each_in // max(parts, 1)
            for part in range(max(parts, 1)):
                start = (part * count + place) * width if parts else 0
                rows[:, start : start + width] = one.weight[:, part * width : (part + 1) * width]
    return whole


def _bias(layer: nn.Conv2d) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias


def _halved(x: Tensor) -> Tensor:
    """Max-pooling of 2 × 2; PyTorch's own also says which pixel it was, and takes three times as long."""
    x = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
    return torch.maximum(x[..., ::2], x[..., 1::2])


def _apart(x: Tensor) -> Tensor:
    """How far the features of two dates lie apart, (1, c, h, w) from (2, c, h, w)."""
    return (x[:1] - x[1:]).abs()


def _inner(x: Tensor, rim: int) -> Tensor:
    return x[..., rim : x.shape[-2] - rim, rim : x.shape[-1] - rim] if rim else x
