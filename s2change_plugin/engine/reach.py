"""How far the networks look: arithmetic on their levels, for which PyTorch is not needed."""

from __future__ import annotations

from collections.abc import Iterable

# Two 3 × 3 convolutions reach this far on each side.
BLOCK_REACH = 2


def halo(depth: int, cells: Iterable[int] = ()) -> int:
    """How far, in pixels, an input pixel can be from an output pixel that it changes, for any place of that pixel.

    Found by following one output cell back through the network's levels: convolutions widen what is needed, transposed
    convolutions of stride 2 halve it, pooling doubles it. Of a cell, the pixels on its other side are the farthest.

    Args:
        depth: of the networks, on pixels.
        cells: side of the cells that each works on, pixels; none is 1 for all.
    """
    each = [(cell, depth_on_cells(depth, cell)) for cell in set(cells) or {1}]
    return max(cell * max(_reach(place, own) for place in range(2**own)) + cell - 1 for cell, own in each)


def depth_on_cells(depth: int, cell: int) -> int:
    """How often a network on cells halves its resolution, to come to the places of one of that depth on pixels."""
    return depth - (cell.bit_length() - 1)


def needs(depth: int) -> list[int]:
    """Margin, in a level's own cells, that what a level gives must have; the finest first, the deepest last."""
    found = [0]
    for _ in range(depth):
        found.append(-(-(found[-1] + BLOCK_REACH) // 2))
    return found


def margin(depth: int, cells: Iterable[int] = ()) -> int:
    """Margin, in pixels, of a window that starts and ends at multiples of 2 ** depth pixels: a multiple of it too.

    Less than the `halo`, which holds for windows that start anywhere; arguments as there.
    """
    return max(cell * _cells_beyond(depth_on_cells(depth, cell)) for cell in set(cells) or {1})


def _cells_beyond(depth: int) -> int:
    """The margin of one network in its own cells."""
    wanted = needs(depth)[-1] + BLOCK_REACH
    for _ in range(depth):
        wanted = 2 * wanted + BLOCK_REACH
    step: int = 2**depth
    return -(-wanted // step) * step


def _reach(place: int, depth: int) -> int:
    first = last = place
    for _ in range(depth):
        first, last = (first - BLOCK_REACH) // 2, (last + BLOCK_REACH) // 2
    first, last = first - BLOCK_REACH, last + BLOCK_REACH
    for _ in range(depth):
        first, last = 2 * first - BLOCK_REACH, 2 * last + 1 + BLOCK_REACH
    return max(place - first, last - place)
