"""The network as it is used: the same numbers as `unet.ChangeNet` up to rounding, in less time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pixel_shuffle
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .appearance import Images
from .reach import BLOCK_REACH, margin
from .unet import ChangeNet, SiameseUNet, UNet

# Numbers that a group holds at most, for each channel of its finest level, with what the allocator cannot use again: as measured with both shipped
# models in float32 on patches of 832².
_CHANNELS_HELD = 7.6
# Processors compute so many channels in the time of fewer.
_LANES = 16
_SMALL_PRIMES = (2, 3, 5, 7, 11, 13, 17)


class FoldedNet(nn.Module):
    """A `ChangeNet` for use alone, on windows with a margin.

    Batch norm is folded into the convolutions. Narrow networks with one view, on like cells, share their finest level, where most of
    the work is.
    The way down sees window and margin, the way up computes of the margin only what the window needs.

    Attributes:
        cell: side of the largest cells that it works on, pixels.
        margin: pixels; see `reach.margin`.
        views: what is looked at of before, after and difference, see `unet.UNet.images`, and the side of the cells.
        channels_held: numbers that it and its input hold at most for each pixel of a patch.
    """

    def __init__(self, network: ChangeNet) -> None:
        """Fold a network with what its batch norms have seen so far; it stays as it is."""
        super().__init__()
        by_view: dict[tuple[type[nn.Module], int, float], list[Any]] = {}
        for one, cell, share in zip(network.networks, network.cells, network.shares, strict=True):
            by_view.setdefault((type(one), cell, share), []).append(one)
        self.cell = max(network.cells)
        self.margin = margin(network.depth, network.cells)
        self.views = [(networks[0].images, cell) for (_, cell, _), networks in by_view.items()]
        self.groups: Any = nn.ModuleList()
        inputs = held = 0.0
        for (kind, cell, share), networks in by_view.items():
            first = networks[0]
            together = min(len(networks), max(1, _LANES // first.width))
            parts = (networks[start : start + together] for start in range(0, len(networks), together))
            self.groups.append(nn.ModuleList(_Group(part, share) for part in parts))
            inputs += (1 + issubclass(kind, SiameseUNet)) * first.encoder[0][0].in_channels / cell**2
            held = max(held, _CHANNELS_HELD * together * first.width / cell**2)
        self.channels_held = math.ceil(inputs + held)

    def laid_out(self, blocks: Iterable[tuple[int, Images]], height: int, dtype: torch.dtype) -> list[Tensor]:
        """The network's input of a patch, for each view, in cells: (image, channel, row, col), channels last, all of a pixel beside each other.

        It is put together block by block, so that little more is held, and all channels of an image in one step.

        Args:
            blocks: as `appearance.Appearance.blocks` gives them, rows and columns multiples of `cell`.
            height: of the patch; it and the width are multiples of 2 ** depth pixels.
            dtype: of the input.
        """
        found: list[NDArray[Any]] = []
        for row, images in blocks:
            for place, (seen, cell) in enumerate(self.views):
                shown = seen(*(image[None] for image in images))
                rows, width = shown[0][0].shape[2:]
                channels = [part.shape[1] for part in shown[0]]
                if len(found) == place:
                    found.append(
                        np.empty((len(shown), height // cell, width // cell, cell, cell, sum(channels)), f"i{dtype.itemsize}")
                    )
                joined = torch.empty(sum(channels), rows, width, dtype=dtype)
                for whole, parts in zip(found[place][:, row // cell : (row + rows) // cell], shown, strict=True):
                    for there, part in zip(torch.split(joined, channels), parts, strict=True):
                        there.copy_(part[0])
                    _fill_cells(whole, joined)
        return [torch.from_numpy(whole).view(dtype).flatten(3).permute(0, 3, 1, 2) for whole in found]

    def forward(self, laid_out: Sequence[Tensor]) -> Tensor:
        """Logits of change of the window inside the margin: (h − 2 margin, w − 2 margin).

        Args:
            laid_out: see there.
        """
        logits: Tensor = sum(group(x, self.margin) for x, groups in zip(laid_out, self.groups, strict=True) for group in groups)
        return logits[0, 0]


class _Group(nn.Module):
    """Networks of one view with a common finest level; gives the sum of their logits' shares."""

    def __init__(self, networks: Sequence[UNet], share: float) -> None:
        super().__init__()
        self.siamese = isinstance(networks[0], SiameseUNet)
        self.cell, self.depth = networks[0].cell, len(networks[0].up)
        self.first = _merged([_folded(one.encoder[0]) for one in networks], 0)
        shown: Any = self.first[0]
        shown.weight = _by_pixel(shown.weight, self.cell)
        self.deeper = nn.ModuleList(_Deeper(one, place, len(networks)) for place, one in enumerate(networks))
        self.last = _WayUp(
            _ups_beside([one.up[0] for one in networks]), _merged([_folded(one.decoder[0]) for one in networks], 2)
        )
        self.head = nn.Conv2d(networks[0].width * len(networks), networks[0].cell ** 2, 1)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([one.head.weight for one in networks], 1) * share)
            _bias(self.head).copy_(torch.stack([_bias(one.head) for one in networks]).sum(0) * share)

    def forward(self, x: Tensor, margin: int) -> Tensor:
        rim = margin // self.cell
        rims = _rims(x.shape[-1] - 2 * rim, rim, self.depth)
        x = self.first(x)
        lower = _halved(x)
        below = [deeper(lower, rim // 2, rims, self.siamese) for deeper in self.deeper]
        # What is not needed any more is not held while the finest level is made.
        del lower
        x = _inner(x, rim - rims[0])
        if self.siamese:
            x = _apart(x)
        # Put together where there is a quarter of the places.
        x = self.last(below[0] if len(below) == 1 else torch.cat(below, 1), x)
        logits = _inner(self.head(x), rims[0])
        return pixel_shuffle(logits, self.cell) if self.cell > 1 else logits


class _Deeper(nn.Module):
    """All levels but the finest of one of the networks that share that."""

    def __init__(self, network: UNet, place: int, count: int) -> None:
        super().__init__()
        levels = [_folded(level) for level in network.encoder[1:]]
        first: Any = levels[0][0]
        # Shown what all gave: to take its own channels out would be a copy.
        levels[0][0] = _among(first, place, count)
        self.encoder = nn.ModuleList(levels)
        self.decoder = nn.ModuleList(
            _WayUp(up, _folded(level)) for up, level in zip(network.up[1:], network.decoder[1:], strict=True)
        )

    def forward(self, x: Tensor, rim: int, rims: Sequence[int], siamese: bool) -> Tensor:
        """What the second level found, with what the finest needs of it; `rim` in cells of x, `rims` as `_rims` gives them."""
        skips = []
        for encode, wanted in zip(self.encoder, rims[1:], strict=True):
            x = encode(x)
            skip = _inner(x, rim - wanted)
            skips.append(_apart(skip) if siamese else skip)
            if len(skips) < len(self.encoder):
                x, rim = _halved(x), rim // 2
        x = skips.pop()
        for level in range(len(skips), 0, -1):
            x = self.decoder[level - 1](x, skips.pop())
            x = _inner(x, rims[level] - _half(rims[level - 1]))
        return x


def _half(rim: int) -> int:
    return -(-rim // 2)


def _rims(width: int, most: int, depth: int) -> list[int]:
    """Margin with which each level is computed on the way up, in its own cells, the finest first, the deepest last.

    What its block needs, or a little more where rows would be of a length that oneDNN takes up to twice as long for.

    Args:
        width: of the window, cells of the finest level.
        most: margin that the patch has, such cells.
        depth: of the network.
    """
    found: list[int] = []
    for level in range(depth):
        least = BLOCK_REACH + (_half(found[-1]) if found else 0)
        # Without what the levels below need beside it.
        room = range(least, (most >> level) - 2 * BLOCK_REACH * (2 ** (depth - 1 - level) - 1) + 1)
        found.append(next((rim for rim in room if _is_round((width >> level) + 2 * rim)), least))
    return [*found, _half(found[-1])]


def _is_round(length: int) -> bool:
    """Whether a row can be cut into a few equal parts, and these again: it has no large prime factor."""
    for prime in _SMALL_PRIMES:
        while length % prime == 0:
            length //= prime
    return length == 1


class _WayUp(nn.Module):
    """A transposed convolution of 2 × 2, and a folded block of what it gives and of a skip beside that.

    Nothing lies between the transposed convolution and the block's first one, so they are one of 4 × 4 to which that of the skip is
    added: what comes up is neither stored nor joined to the skip.
    """

    def __init__(self, up: Any, block: Any) -> None:
        super().__init__()
        first, second = block
        coming = up.out_channels
        self.below = _Coming(up.in_channels, first.out_channels)
        self.beside = _ConvolutionReLU(first.in_channels - coming, first.out_channels)
        self.second = second
        with torch.no_grad():
            through = first.weight[:, :coming]
            self.below.weight.copy_(conv2d(up.weight, through, padding=2))
            _bias(self.below).copy_(_bias(first) + through.sum((2, 3)) @ _bias(up))
            self.beside.weight.copy_(first.weight[:, coming:])
        self.beside.bias = None

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Of what lies below, (n, c, h, w), and the skip, (n, c', about 2h, about 2w), in whose middle it is laid."""
        result: Tensor = self.second(self.beside(skip, self.below(x, x.shape[-1] - skip.shape[-1] // 2)))
        return result


class _Coming(nn.ConvTranspose2d):
    """A transposed convolution of 4 × 4 to twice the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 4, 2, 1)

    def forward(self, x: Tensor, beyond: int) -> Tensor:  # type: ignore[override]
        """Without so many cells on each side of what comes."""
        return conv_transpose2d(x, self.weight, self.bias, 2, 1 + beyond)


class _ConvolutionReLU(nn.Conv2d):
    """A convolution of 3 × 3, what is added to it, and a ReLU; on processors in one pass over the memory, where PyTorch can."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """The result may take the place of what is added."""
        if x.device.type == "cpu" and _computes_both(x.dtype):
            return _in_one(x, self, added)
        found = super().forward(x)
        return (found if added is None else added.add_(found)).relu_()


def _in_one(x: Tensor, layer: nn.Conv2d, added: Tensor | None = None) -> Tensor:
    """What PyTorch's own compiler calls for a convolution and what is computed of its result; no public names."""
    calls: Any = torch.ops.mkldnn
    how = layer.weight, layer.bias, layer.padding, layer.stride, layer.dilation, 1
    result: Tensor
    if added is None:
        result = calls._convolution_pointwise(x, *how, "relu", [], "")
    else:
        result = calls._convolution_pointwise_.binary(added, x, *how, "add", 1.0, "relu", [], "")
    return result


@cache
def _computes_both(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has `_in_one` for this processor and type of number, found by trying."""
    try:
        with torch.inference_mode():
            x = torch.zeros(1, 2, 4, 4, dtype=dtype).to(memory_format=torch.channels_last)
            layer = nn.Conv2d(2, 2, 3, padding=1, dtype=dtype)
            _in_one(_in_one(x, layer), layer, x)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    return True


def _folded(block: Any) -> nn.Sequential:
    """A `unet.block` with its batch norm in its convolutions."""
    first, norm, _, second, other, _ = block
    return nn.Sequential(_with_norm(first, norm), _with_norm(second, other))


def _with_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> _ConvolutionReLU:
    """A convolution that does what it, the batch norm and the ReLU after it do in use."""
    whole = _ConvolutionReLU(convolution.in_channels, convolution.out_channels)
    running: Any = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    whole.weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *running)
    whole.bias = bias
    return whole


def _merged(blocks: Sequence[Any], parts: int) -> nn.Sequential:
    """Folded blocks beside each other as one.

    Args:
        blocks: alike.
        parts: of which each block's input consists; the merged input has the first parts of all, then the second ones. 0: all
            have the same input.
    """
    return nn.Sequential(_beside([block[0] for block in blocks], parts), _beside([block[1] for block in blocks], 1))


def _beside(convolutions: Sequence[nn.Conv2d], parts: int) -> _ConvolutionReLU:
    each_in, each_out, count = convolutions[0].in_channels, convolutions[0].out_channels, len(convolutions)
    whole = _ConvolutionReLU(each_in * (count if parts else 1), each_out * count)
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


def _among(convolution: nn.Conv2d, place: int, count: int) -> _ConvolutionReLU:
    """A convolution that is shown the inputs of so many like it, and looks at its own."""
    width = convolution.in_channels
    whole = _ConvolutionReLU(width * count, convolution.out_channels)
    with torch.no_grad():
        whole.weight.zero_()
        whole.weight[:, place * width : (place + 1) * width] = convolution.weight
        _bias(whole).copy_(_bias(convolution))
    return whole


def _ups_beside(layers: Sequence[Any]) -> nn.ConvTranspose2d:
    """Transposed convolutions of different inputs as one of all of them."""
    each_in, each_out = layers[0].in_channels, layers[0].out_channels
    whole = nn.ConvTranspose2d(each_in * len(layers), each_out * len(layers), 2, 2)
    with torch.no_grad():
        whole.weight.zero_()
        for place, one in enumerate(layers):
            whole.weight[place * each_in : (place + 1) * each_in, place * each_out : (place + 1) * each_out] = one.weight
        _bias(whole).copy_(torch.cat([_bias(one) for one in layers]))
    return whole


def _by_pixel(weight: Tensor, cell: int) -> nn.Parameter:
    """Weights for an input whose channels are those of a cell's pixels, one pixel after the other, as `laid_out` has it; not one band after the other."""
    outputs, inputs, *kernel = weight.shape
    by_channel = weight.detach().reshape(outputs, inputs // cell**2, cell**2, *kernel)
    return nn.Parameter(by_channel.transpose(1, 2).reshape(weight.shape))


def _fill_cells(cells: NDArray[Any], image: Tensor) -> None:
    """Lay out rows of an image, (channel, row, col), as (row, col, row in the cell, col in the cell, channel)."""
    height, width, cell = cells.shape[:3]
    cells[...] = _bits(image).reshape(-1, height, cell, width, cell).transpose(1, 3, 2, 4, 0)


def _bits(x: Tensor) -> NDArray[Any]:
    """The same numbers as integers of their size, in which NumPy moves any type, and in half of the time that PyTorch takes."""
    return x.view(getattr(torch, f"int{8 * x.dtype.itemsize}")).numpy()


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    return torch.zeros(layer.out_channels) if layer.bias is None else layer.bias


def _halved(x: Tensor) -> Tensor:
    """Max-pooling of 2 × 2 of what a ReLU gave; PyTorch's own also says which pixel it was, and takes three to five times as long.

    Numbers that are not below zero are in the order of their bits, read as integers, which are compared without widening them.
    """
    bits = x.view(torch.int16) if x.dtype == torch.bfloat16 else x
    bits = torch.maximum(bits[..., ::2, :], bits[..., 1::2, :])
    return torch.maximum(bits[..., ::2], bits[..., 1::2]).view(x.dtype)


def _apart(x: Tensor) -> Tensor:
    """How far the features of two dates lie apart, (1, c, h, w) from (2, c, h, w)."""
    return (x[:1] - x[1:]).abs_()


def _inner(x: Tensor, rim: int) -> Tensor:
    return x[..., rim : x.shape[-2] - rim, rim : x.shape[-1] - rim] if rim else x
