"""How far the networks look: arithmetic on their levels, for which PyTorch is not needed."""

from __future__ import annotations

# Two 3 × 3 convolutions reach this far on each side.
BLOCK_REACH = 2


def halo(depth: int, cell: int = 1) -> int:
    """How far, in pixels, an input pixel can be from an output pixel that it changes, for any place of that pixel.

    Found by following one output cell back through the network's levels: convolutions widen what is needed, transposed
    convolutions of stride 2 halve it, pooling doubles it. Of a cell, the pixels on its other side are the farthest.

    Args:
        depth: of the network.
        cell: side of the cells that it works on, pixels.
    """
    return cell * max(_reach(place, depth) for place in range(2**depth)) + cell - 1


def needs(depth: int) -> list[int]:
    """Margin, in a level's own cells, that what a level gives must have; the finest first, the deepest last."""
    found = [0]
    for _ in range(depth):
        found.append(-(-(found[-1] + BLOCK_REACH) // 2))
    return found


def margin(depth: int) -> int:
    """Margin, in cells, of a window that starts and ends at multiples of 2 ** depth cells: a multiple of it too.

    Less than the `halo`, which holds for windows that start anywhere.
    """
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
