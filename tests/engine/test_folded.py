from itertools import cycle, islice, pairwise

import pytest
import torch

from s2change_plugin.engine import folded as folded_module
from s2change_plugin.engine.folded import FoldedNet
from s2change_plugin.engine.reach import halo, margin
from s2change_plugin.engine.unet import ChangeNet

MANY = ("dates", "difference", "dates", "ten-metre", "difference", "dates", "ten-metre")


def network(views: tuple[str, ...], width: int, depth: int, cells: tuple[int, ...] = ()) -> ChangeNet:
    """Random, with batch norms that have seen something."""
    torch.manual_seed(depth)
    whole = ChangeNet(("B03", "B11", "B08"), views, width, depth, cells).double()
    with torch.no_grad():
        for _ in range(2):
            whole(*torch.randn(3, 2, 3, 96, 96, dtype=torch.float64).unbind())
    return whole.eval()


def said(folded: FoldedNet, shown: torch.Tensor, rows: int = 12) -> torch.Tensor:
    """Logits of images (before, after, difference), laid out some rows at a time."""
    images = shown.float() if shown.dtype == torch.bfloat16 else shown
    blocks = ((row, images[:, :, row : row + rows].unbind()) for row in range(0, shown.shape[2], rows))
    found: torch.Tensor = folded(folded.laid_out(blocks, shown.shape[2], shown.dtype))
    return found


@pytest.mark.parametrize("views", [("dates",), ("difference",), ("ten-metre",), MANY])
@pytest.mark.parametrize(
    ("width", "depth", "cells"),
    [
        *((4, 1, ()), (8, 2, ()), (8, 3, ()), (16, 3, ()), (4, 4, ())),
        *((8, 3, (2,)), (4, 2, (2,)), (2, 4, (2,)), (1, 3, (4,)), (8, 3, (1, 2)), (2, 2, (2, 1, 1)), (2, 4, (1, 4, 2))),
    ],
)
# With the larger one rows are computed with a little more margin than is needed.
@pytest.mark.parametrize("steps", [2, 13])
def test_folded_it_says_the_same_of_the_window_inside_the_margin(
    views: tuple[str, ...], width: int, depth: int, cells: tuple[int, ...], steps: int
) -> None:
    cells = tuple(islice(cycle(cells), len(views)))
    whole = network(views, width, depth, cells)
    folded, rim, step = FoldedNet(whole).double(), margin(depth, cells), 2**depth
    assert folded.margin == rim
    shown = torch.randn(3, 3, 2 * rim + 3 * step, 2 * rim + steps * step, dtype=torch.float64)
    with torch.no_grad():
        expected = whole(*(view[None] for view in shown))[0, 0, rim:-rim, rim:-rim]
        found = said(folded, shown)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_a_convolution_and_its_relu_in_one_are_the_same_as_one_after_the_other(
    dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not folded_module._computes_both(dtype):
        pytest.skip(f"this PyTorch does not compute both in one on this processor in {dtype}")
    folded = FoldedNet(network(MANY, 4, 3, (2, 1, 2, 2, 1, 1, 1))).to(dtype)
    shown = torch.randn(3, 3, 2 * folded.margin + 24, 2 * folded.margin + 16, dtype=dtype)
    asked, in_one = [], folded_module._in_one
    monkeypatch.setattr(folded_module, "_in_one", lambda *given: asked.append(given) or in_one(*given))
    with torch.no_grad():
        found = said(folded, shown)
        assert found.shape == (24, 16)
        assert len(asked) == sum(isinstance(layer, folded_module._ConvolutionReLU) for layer in folded.modules()) > 0
        monkeypatch.setattr(folded_module, "_computes_both", lambda _: False)
        torch.testing.assert_close(said(folded, shown), found, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_halving_takes_the_largest_of_four(dtype: torch.dtype) -> None:
    found = torch.randn(2, 3, 8, 12).relu().mul_(torch.tensor([1e-30, 1, 1e30])[:, None, None]).to(dtype)
    found = found.to(memory_format=torch.channels_last)
    expected = torch.nn.functional.max_pool2d(found.float(), 2).to(dtype)
    torch.testing.assert_close(folded_module._halved(found), expected, rtol=0, atol=0)


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_a_pytorch_that_cannot_compute_both_in_one_computes_one_after_the_other(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> torch.Tensor:
        raise error("not here")

    folded, shown = FoldedNet(network(MANY, 8, 2)).float(), torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = said(folded, shown)
        monkeypatch.setattr(folded_module, "_in_one", unable)
        folded_module._computes_both.cache_clear()
        try:
            torch.testing.assert_close(said(folded, shown), expected, rtol=1e-5, atol=1e-5)
        finally:
            folded_module._computes_both.cache_clear()


@pytest.mark.parametrize(
    ("depth", "cells"), [(1, ()), (2, ()), (3, ()), (4, ()), (2, (2, 2)), (3, (2, 2)), (3, (1, 2)), (4, (1, 2))]
)
def test_what_lies_beyond_the_margin_changes_nothing_and_what_lies_within_reach_does(depth: int, cells: tuple[int, ...]) -> None:
    folded = FoldedNet(network(("dates", "difference"), 4, depth, cells)).double()
    rim, step = folded.margin, 2**depth
    shown = torch.randn(3, 3, 4 * rim, 4 * rim, dtype=torch.float64)
    beyond = shown.clone()
    beyond[..., : rim // step * step, :] = 9
    with torch.no_grad():
        found, other = said(folded, shown), said(folded, beyond)
    assert not torch.equal(found[:step], other[:step])
    torch.testing.assert_close(found[rim:], other[rim:], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("depth", "cells"),
    [
        *((depth, ()) for depth in (1, 2, 3, 4, 5)),
        *((depth, cells) for depth in (2, 3, 4, 5) for cells in ((2,), (1, 2))),
        *((depth, cells) for depth in (3, 4, 5) for cells in ((4,), (2, 4))),
    ],
)
def test_the_margin_suffices_and_is_no_more_than_the_halo_rounded_up(depth: int, cells: tuple[int, ...]) -> None:
    step = 2**depth
    assert margin(depth, cells) % step == 0
    assert margin(depth, cells) <= -(-halo(depth, cells) // step) * step


def _rims(width: int, depth: int) -> list[int]:
    rims: list[int] = folded_module._rims(width, margin(depth), depth)
    for level, (rim, below) in enumerate(pairwise(rims)):
        assert 2 * below >= rim
        assert rim - 2 >= (-(-rims[level - 1] // 2) if level else 0)
    assert all(rim <= margin(depth) >> level for level, rim in enumerate(rims))
    return rims


@pytest.mark.parametrize("width", [256, 512, 736, 864, 1024])
def test_rows_have_no_large_prime_factor(width: int) -> None:
    rims = _rims(width, 3)
    assert all(folded_module._is_round((width >> level) + 2 * rim) for level, rim in enumerate(rims[:-1]))
    assert not folded_module._is_round(772)
    assert folded_module._is_round(780)


@pytest.mark.parametrize("width", [5000, 5008])
def test_a_very_wide_window_stays_within_its_patch(width: int) -> None:
    _rims(width, 3)
    whole = network(("dates",), 1, 3).float()
    folded = FoldedNet(whole)
    rim = folded.margin
    shown = torch.randn(3, 3, 2 * rim + 8, 2 * rim + width)
    with torch.no_grad():
        expected = whole(*(view[None] for view in shown))[0, 0, rim:-rim, rim:-rim]
        torch.testing.assert_close(said(folded, shown), expected, rtol=1e-4, atol=1e-5)
