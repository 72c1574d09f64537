"""The network: a Siamese U-Net that looks at both dates alike and decodes their difference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Two 3 × 3 convolutions reach this far on each side.
_BLOCK_REACH = 2


class SiameseUNet(nn.Module):
    """U-Net whose encoder sees each date by itself and whose skips carry the absolute difference of the two.

    Encoder: blocks of two 3 × 3 convolutions with batch norm and ReLU, and max-pooling. Decoder: transposed convolutions
    and skip connections. The same weights see both dates, so a swap of the dates gives the same answer. Nothing pools over
    the whole patch: what a pixel gets depends only on what lies within `halo` of it.

    Source: Caye Daudt, Le Saux, Boulch 2018, "Fully convolutional Siamese networks for change detection" (FC-Siam-diff);
    Ronneberger et al. 2015 for the U-Net.
    """

    def __init__(self, bands: int, width: int = 16, depth: int = 4) -> None:
        """Make it with random weights.

        Args:
            bands: of each date.
            width: channels of the first level; each deeper level has twice as many.
            depth: how often resolution is halved.
        """
        super().__init__()
        self.depth = depth
        widths = [width * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(block(before, after) for before, after in zip([bands, *widths[:-1]], widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(wide, narrow, 2, 2) for narrow, wide in zip(widths, widths[1:], strict=False))
        self.decoder = nn.ModuleList(block(2 * narrow, narrow) for narrow in widths[:-1])
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits of change, (n, 1, h, w).

        Args:
            before, after: normalised bands, (n, c, h, w), with h and w multiples of 2 ** depth.
        """
        x = torch.cat([before, after])  # (2n, c, h, w)
        differences = []
        for level, encode in enumerate(self.encoder):
            x = encode(self.pool(x) if level else x)
            one, other = x.chunk(2)
            differences.append((one - other).abs())
        x = differences.pop()
        for up, decode in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = decode(torch.cat([up(x), differences.pop()], 1))
        logits: Tensor = self.head(x)
        return logits


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 × 3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def halo(depth: int) -> int:
    """How far, in pixels, an input pixel can be from an output pixel that it changes, for any place of that pixel.

    Found by following one output pixel back through the network's levels: convolutions widen what is needed, transposed
    convolutions of stride 2 halve it, pooling doubles it.
    """
    return max(_reach(pixel, depth) for pixel in range(2**depth))


def _reach(pixel: int, depth: int) -> int:
    first = last = pixel
    for _ in range(depth):
        first, last = (first - _BLOCK_REACH) // 2, (last + _BLOCK_REACH) // 2
    first, last = first - _BLOCK_REACH, last + _BLOCK_REACH
    for _ in range(depth):
        first, last = 2 * first - _BLOCK_REACH, 2 * last + 1 + _BLOCK_REACH
    return max(pixel - first, last - pixel)
