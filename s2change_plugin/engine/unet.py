"""The network: U-Nets that look at a pair in different ways and are heard together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from .bands import TEN_METRE_BANDS
from .reach import depth_on_cells


class UNet(nn.Module):
    """What the U-Nets share: blocks of two 3 × 3 convolutions with batch norm and ReLU, max-pooling, transposed convolutions, skips.

    They work on square cells of pixels: a cell's pixels lie beside each other as channels, and so do the logits that are said of them.
    With cells of 2 × 2 the finest level has a quarter of the places, where a processor is quicker with twice the channels.
    Nothing pools over the whole patch: what a pixel gets depends only on what lies within `reach.halo` of it.

    Source: Ronneberger, Fischer, Brox 2015, "U-Net"; cells: Shi et al. 2016, "Real-time single image and video super-resolution
    using an efficient sub-pixel convolutional neural network".
    """

    def __init__(self, inputs: int, width: int, depth: int, cell: int) -> None:
        """Make it with random weights.

        Args:
            inputs: channels of a pixel.
            width: channels of the first level; each deeper level has twice as many.
            depth: how often resolution is halved.
            cell: side of the cells, pixels; 1 has none.
        """
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        first = inputs * cell**2
        self.width, self.cell = width, cell
        self.encoder = nn.ModuleList(block(before, after) for before, after in zip([first, *widths[:-1]], widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 2, 2) for narrow, wide in zip(widths[:-1], widths[1:], strict=True)
        )
        self.decoder = nn.ModuleList(block(2 * narrow, narrow) for narrow in widths[:-1])
        self.head = nn.Conv2d(width, cell**2, 1)

    def forward(self, before: Tensor, after: Tensor, difference: Tensor) -> Tensor:
        """Logits of change; see `ChangeNet`."""
        levels = self.encoded(pixel_unshuffle(self.view(before, after, difference), self.cell))
        return pixel_shuffle(self.decoded([self.compared(level) for level in levels]), self.cell)

    def view(self, before: Tensor, after: Tensor, difference: Tensor) -> Tensor:
        """What it looks at."""
        return torch.cat([torch.cat(image, 1) for image in self.images(before, after, difference)])

    def images(self, before: Tensor, after: Tensor, difference: Tensor) -> list[list[Tensor]]:
        """What it looks at: the images that it encodes, and of each the channels, in parts."""
        raise NotImplementedError

    def compared(self, level: Tensor) -> Tensor:
        """What a level hands on to the way up, of what it found."""
        return level

    def encoded(self, x: Tensor) -> list[Tensor]:
        """What each level finds, the finest first."""
        levels: list[Tensor] = []
        for encode in self.encoder:
            levels.append(encode(self.pool(levels[-1]) if levels else x))
        return levels

    def decoded(self, levels: list[Tensor]) -> Tensor:
        """Logits of each cell's pixels, (n, cell², h, w), from what each level found."""
        *skips, x = levels
        for up, decode, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            x = decode(torch.cat([up(x), skip], 1))
        logits: Tensor = self.head(x)
        return logits


class SiameseUNet(UNet):
    """Looks at the dates: its encoder sees each by itself, and its skips carry the absolute difference of the two.

    The same weights see both dates, so a swap of the dates gives the same answer.

    Source: Caye Daudt, Le Saux, Boulch 2018, "Fully convolutional Siamese networks for change detection" (FC-Siam-diff).
    """

    def __init__(self, bands: Sequence[str], width: int, depth: int, cell: int) -> None:
        """See `UNet`; bands are those of one date."""
        super().__init__(len(bands), width, depth, cell)

    def images(self, before: Tensor, after: Tensor, difference: Tensor) -> list[list[Tensor]]:
        """Both dates."""
        return [[before], [after]]

    def compared(self, level: Tensor) -> Tensor:
        """How far the dates' features, (2n, c, h, w), lie apart."""
        one, other = level.chunk(2)
        return (one - other).abs()


class TenMetreUNet(SiameseUNet):
    """Looks at the dates in the bands of 10 m alone, which are the sharpest.

    Attributes:
        places: of these bands among those that it is shown.
    """

    def __init__(self, bands: Sequence[str], width: int, depth: int, cell: int) -> None:
        """See `UNet`; bands are those of one date, one of 10 m at least among them."""
        places = [place for place, name in enumerate(bands) if name in TEN_METRE_BANDS]
        super().__init__([bands[place] for place in places], width, depth, cell)
        self.places = places

    def images(self, before: Tensor, after: Tensor, difference: Tensor) -> list[list[Tensor]]:
        """Both dates' bands of 10 m."""
        return [[date[:, place : place + 1] for place in self.places] for date in (before, after)]


class DifferenceUNet(UNet):
    """Looks at the mean of the dates and at how they differ from how unchanged ground does, stacked."""

    def __init__(self, bands: Sequence[str], width: int, depth: int, cell: int) -> None:
        """See `UNet`; bands are those of one date."""
        super().__init__(2 * len(bands), width, depth, cell)

    def images(self, before: Tensor, after: Tensor, difference: Tensor) -> list[list[Tensor]]:
        """One, of mean and difference."""
        return [[(before + after).mul_(0.5), difference]]


# By the names in `card.VIEWS`.
VIEWS: dict[str, type[SiameseUNet | DifferenceUNet]] = {
    "dates": SiameseUNet,
    "ten-metre": TenMetreUNet,
    "difference": DifferenceUNet,
}


class ChangeNet(nn.Module):
    """Networks with a view each, fitted apart; the mean of their logits counts, in which views weigh alike.

    Networks that err in different places are worth more together than one of their common size.

    Attributes:
        shares: of each network in the mean; several of one view share what it weighs.
    """

    def __init__(self, bands: Sequence[str], views: Sequence[str], width: int, depth: int, cells: Sequence[int] = ()) -> None:
        """Make it with random weights.

        Args:
            bands: names of those of each date.
            views: of `VIEWS`, one for each network; one may come more than once.
            width, depth: of a network on pixels; one on cells has so much fewer levels, and more channels, that they end in like places.
            cells: side of the cells that each network works on, pixels, a power of two; none is 1 for all.
        """
        super().__init__()
        self.depth, self.cells = depth, list(cells) or [1] * len(views)
        self.networks = nn.ModuleList(
            VIEWS[view](bands, width * cell, depth_on_cells(depth, cell), cell)
            for view, cell in zip(views, self.cells, strict=True)
        )
        alike = Counter(views)
        self.shares = [1 / (len(alike) * alike[view]) for view in views]

    def forward(self, before: Tensor, after: Tensor, difference: Tensor) -> Tensor:
        """Logits of change, (n, 1, h, w).

        Args:
            before, after, difference: as `appearance.Appearance.shown` gives them, (n, band, h, w), with h and w multiples of
                2 ** depth.
        """
        logits: Tensor = sum(
            share * network(before, after, difference) for share, network in zip(self.shares, self.networks, strict=True)
        )
        return logits


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 × 3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
