"""The networks that ours is compared with: Caye Daudt's FC-EF and FC-Siam-diff, re-made layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

# Channels of the convolutions on each of the four levels.
_ENCODER = ((16, 16), (32, 32), (64, 64, 64), (128, 128, 128))
_DECODER = ((128, 128, 64), (64, 64, 32), (32, 16), (16,))
_DROPOUT = 0.2


class FullyConvolutional(nn.Module):
    """FC-EF and FC-Siam-diff: U-Nets of four levels, 16 to 128 channels, dropout of whole channels after each convolution.

    FC-EF stacks the dates' bands. FC-Siam-diff encodes each date with the same weights; its skips carry the absolute difference,
    and what goes up from the deepest level is the second date's alone, as in the authors' code. One logit stands for their two classes.

    Source: Caye Daudt, Le Saux, Boulch 2018, "Fully convolutional Siamese networks for change detection"; layers as in the
    authors' unet.py and siamunet_diff.py.
    """

    def __init__(self, bands: int, siamese: bool) -> None:
        """Make it with random weights.

        Args:
            bands: of each date.
            siamese: FC-Siam-diff; else FC-EF.
        """
        super().__init__()
        self.siamese = siamese
        first = bands if siamese else 2 * bands
        self.encoder = nn.ModuleList(
            _layers(inputs, outputs) for inputs, outputs in zip([first, 16, 32, 64], _ENCODER, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1) for channels in (128, 64, 32, 16)
        )
        self.decoder = nn.ModuleList(
            _layers(inputs, outputs) for inputs, outputs in zip([256, 128, 64, 32], _DECODER, strict=True)
        )
        self.head = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, before: Tensor, after: Tensor, difference: Tensor) -> Tensor:
        """Logits of change, (n, 1, h, w), from the dates alone; h and w are multiples of 16."""
        x = torch.cat([before, after], 0 if self.siamese else 1)
        skips = []
        for encode in self.encoder:
            x = encode(x)
            if self.siamese:
                one, other = x.chunk(2)
                skips.append((one - other).abs())
            else:
                skips.append(x)
            x = max_pool2d(x, 2)
        if self.siamese:
            x = x.chunk(2)[1]
        for up, decode in zip(self.up, self.decoder, strict=True):
            x = decode(torch.cat([up(x), skips.pop()], 1))
        logits: Tensor = self.head(x)
        return logits


def _layers(inputs: int, outputs: Sequence[int]) -> nn.Sequential:
    """3 × 3 convolutions, each with batch norm, ReLU and dropout of channels."""
    layers: list[nn.Module] = []
    for before, after in zip([inputs, *outputs[:-1]], outputs, strict=True):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True), nn.Dropout2d(_DROPOUT)]
    return nn.Sequential(*layers)
