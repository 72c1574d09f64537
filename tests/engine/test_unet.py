import pytest
import torch

from s2change_plugin.engine import card
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.unet import VIEWS, ChangeNet

BOTH = ("dates", "difference")


def network(depth: int, views: tuple[str, ...] = BOTH, cells: tuple[int, ...] = ()) -> ChangeNet:
    torch.manual_seed(depth)
    return ChangeNet(("B03", "B11", "B08"), views, 4, depth, cells).double().eval()


@pytest.mark.parametrize(
    ("depth", "cells"), [(1, ()), (2, ()), (3, ()), (4, ()), (2, (2,)), (3, (2,)), (4, (2,)), (3, (4,)), (3, (1, 2)), (3, (4, 2))]
)
@pytest.mark.parametrize("view", list(VIEWS))
def test_the_halo_is_exact(depth: int, cells: tuple[int, ...], view: str) -> None:
    """With all weights positive nothing cancels: the farthest input that changes any output lies at the halo."""
    net = ChangeNet(["B02"], [view] * max(1, len(cells)), 1, depth, cells).double().eval()
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    reach, step = halo(depth, cells), 2**depth
    size = (2 * reach // step + 3) * step
    image = torch.zeros(1, 1, step, size, dtype=torch.float64)
    farthest = 0
    with torch.no_grad():
        calm = net(image, image, image)
        for col in range(size // 2 - step // 2, size // 2 + step // 2):
            touched = image.clone()
            # All rows, so that what is pooled is a column.
            touched[..., col] = 1e6
            moved = (net(touched, image, image) != calm).any(2).flatten().nonzero()
            farthest = max(farthest, int((moved - col).abs().max()))
    assert farthest == reach


@pytest.mark.parametrize("cells", [(), (2, 2), (1, 2)])
def test_a_window_with_its_halo_gives_what_the_whole_gives(cells: tuple[int, ...]) -> None:
    net, reach = network(2, cells=cells), 8 * -(-halo(2, cells) // 8)
    images = torch.randn(3, 1, 3, 224, 240, dtype=torch.float64)
    with torch.no_grad():
        whole = net(*images)
        part = net(*(image[..., 80 - reach : 144 + reach, 88 - reach : 152 + reach] for image in images))
    torch.testing.assert_close(part[..., reach:-reach, reach:-reach], whole[..., 80:144, 88:152], rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", [1, 2])
def test_dates_may_be_swapped_where_they_are_looked_at_by_themselves(cell: int) -> None:
    net = network(3, ("dates",), (cell,))
    before, after, difference = torch.randn(3, 2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(before, after, difference), net(after, before, -difference), rtol=0, atol=1e-12)


def test_views_are_heard_alike_however_many_networks_they_have() -> None:
    net = network(2, (*BOTH, "difference"))
    images = torch.randn(3, 2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        each = [one(*images) for one in net.networks]
        torch.testing.assert_close(net(*images), each[0] / 2 + (each[1] + each[2]) / 4)
    assert not torch.allclose(each[1], each[2])


def test_a_view_depends_on_nothing_else() -> None:
    before, after, difference = torch.randn(3, 1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        dates, apart = network(2, ("dates",)), network(2, ("difference",))
        assert torch.equal(dates(before, after, difference), dates(before, after, difference + 1))
        assert torch.allclose(apart(before, after, difference), apart(before + 1, after - 1, difference))
        assert not torch.allclose(apart(before, after, difference), apart(before, after, difference + 1))


@pytest.mark.parametrize("cell", [1, 2])
def test_the_view_of_ten_metres_sees_no_other_band(cell: int) -> None:
    before, after, difference = torch.randn(3, 1, 3, 32, 32, dtype=torch.float64)
    net = network(2, ("ten-metre",), (cell,))
    other = before.clone()
    with torch.no_grad():
        other[:, 1] += 1
        assert torch.equal(net(other, after, difference + 1), net(before, after, difference))
        other[:, 2] += 1
        assert not torch.allclose(net(other, after, difference), net(before, after, difference))


def test_every_view_that_a_card_may_name_can_be_built() -> None:
    assert tuple(VIEWS) == card.VIEWS


def test_what_is_said_of_a_pixel_of_a_cell_lies_at_its_place() -> None:
    """A network that hands its finest level through: what it sees of a pixel is what it says there."""
    net = ChangeNet(["B02"], ["dates"], 2, 2, [2]).double().eval()
    (unet,) = net.networks
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        for block in (unet.encoder[0], unet.decoder[0]):
            for at in (0, 3):
                for place in range(4):
                    # The way up has what came from below before the skip.
                    block[at].weight[place, block[at].in_channels - 4 + place, 1, 1] = 1
                torch.nn.init.ones_(block[at + 1].weight)
                block[at + 1].eps = 0
        unet.head.weight[:] = torch.eye(4, dtype=torch.float64)[..., None, None]
        before, after = torch.rand(2, 1, 1, 8, 12, dtype=torch.float64)
        torch.testing.assert_close(net(before, after, before), (before - after).abs())


@pytest.mark.parametrize("cell", [1, 2])
def test_logits_have_the_size_of_the_input(cell: int) -> None:
    assert network(3, cells=(cell, 1))(*torch.randn(3, 2, 3, 48, 32, dtype=torch.float64)).shape == (2, 1, 48, 32)
