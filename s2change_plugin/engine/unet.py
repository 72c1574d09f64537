"""The network: a Siamese U-Net that looks at both dates alike and decodes their difference."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

# Two 3 × 3 convolutions reach this far on each side.
_BLOCK_REACH = 2
# How many tensors of a level's width the decoder sees of both dates.
SKIPS = {"difference": 1, "both": 2}


class SiameseUNet(nn.Module):
    """U-Net whose encoder sees each date by itself and whose skips carry the absolute difference of the two.

    Encoder: blocks of two 3 × 3 convolutions with batch norm and ReLU, and max-pooling. Decoder: transposed convolutions
    and skip connections. The same weights see both dates, so a swap of the dates gives the same answer. Nothing pools over
    the whole patch: what a pixel gets depends only on what lies within `halo` of it.

    With a stem of 2 the first level works on cells of 2 × 2 pixels, whose values become channels, and the head gives each cell's
    four logits: no value is lost, and the same arithmetic buys twice the channels (space to depth; Shi et al. 2016 for the head).

    Source: Caye Daudt, Le Saux, Boulch 2018, "Fully convolutional Siamese networks for change detection" (FC-Siam-diff);
    Ronneberger et al. 2015 for the U-Net.
    """

    def __init__(self, bands: int, width: int = 16, depth: int = 4, stem: int = 1, skips: str = "difference") -> None:
        """Make it with random weights.

        Args:
            bands: of each date.
            width: channels of the first level; each deeper level has twice as many.
            depth: how often resolution is halved.
            stem: side of the cells that the first level works on, pixels.
            skips: what the decoder sees of both dates' features: their absolute "difference", or "both" that and their sum.
        """
        super().__init__()
        self.stem, self.skips = stem, skips
        seen = SKIPS[skips]
        widths = [width * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            block(before, after) for before, after in zip([bands * stem**2, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        wides = [*widths[1:-1], seen * widths[-1]]
        self.up = nn.ModuleList(nn.ConvTranspose2d(wide, narrow, 2, 2) for narrow, wide in zip(widths, wides, strict=False))
        self.decoder = nn.ModuleList(block((1 + seen) * narrow, narrow) for narrow in widths[:-1])
        self.head = nn.Conv2d(width, stem**2, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change, (n, 1, h, w).

        Args:
            before, after: normalised bands, (n, c, h, w), with h and w multiples of stem * 2 ** depth.
        """
        x = torch.cat([before, after])  # (2n, c, h, w)
        if self.stem > 1:
            x = pixel_unshuffle(x, self.stem).contiguous(memory_format=torch.channels_last)
        compared = []
        for level, encode in enumerate(self.encoder):
            x = encode(self.pool(x) if level else x)
            one, other = x.chunk(2)
            difference = (one - other).abs()
            compared.append(difference if self.skips == "difference" else torch.cat([difference, one + other], 1))
        x = compared.pop()
        for up, decode in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = decode(torch.cat([up(x), compared.pop()], 1))
        logits: Tensor = self.head(x)
        return pixel_shuffle(logits, self.stem) if self.stem > 1 else logits


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 × 3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def halo(depth: int, stem: int = 1) -> int:
    """How far, in pixels, an input pixel can be from an output pixel that it changes, for any place of that pixel.

    Found by following one output pixel back through the network's levels: convolutions widen what is needed, transposed
    convolutions of stride 2 halve it, pooling doubles it.
    """
    return max(_reach(pixel, depth, stem) for pixel in range(stem * 2**depth))


def _reach(pixel: int, depth: int, stem: int) -> int:
    first = last = pixel // stem
    for _ in range(depth):
        first, last = (first - _BLOCK_REACH) // 2, (last + _BLOCK_REACH) // 2
    first, last = first - _BLOCK_REACH, last + _BLOCK_REACH
    for _ in range(depth):
        first, last = 2 * first - _BLOCK_REACH, 2 * last + 1 + _BLOCK_REACH
    return max(pixel - stem * first, stem * last + stem - 1 - pixel)
