import pytest
import torch

from s2change_plugin.engine import card
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.unet import VIEWS, ChangeNet

BOTH = ("dates", "difference")


def network(depth: int, views: tuple[str, ...] = BOTH) -> ChangeNet:
    torch.manual_seed(depth)
    return ChangeNet(("B03", "B11", "B08"), views, width=4, depth=depth).double().eval()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("view", list(VIEWS))
def test_the_halo_is_exact(depth: int, view: str) -> None:
    """With all weights positive nothing cancels: the farthest input that changes any output lies at the halo."""
    net = ChangeNet(["B02"], [view], width=1, depth=depth).double().eval()
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    reach, step = halo(depth), 2**depth
    size = (2 * reach // step + 3) * step
    image = torch.zeros(1, 1, 8, size, dtype=torch.float64).repeat(1, 1, step, 1)
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


def test_a_window_with_its_halo_gives_what_the_whole_gives() -> None:
    net, reach = network(2), 8 * -(-halo(2) // 8)
    images = torch.randn(3, 1, 3, 192, 208, dtype=torch.float64)
    with torch.no_grad():
        whole = net(*images)
        part = net(*(image[..., 64 - reach : 128 + reach, 72 - reach : 136 + reach] for image in images))
    torch.testing.assert_close(part[..., reach:-reach, reach:-reach], whole[..., 64:128, 72:136], rtol=0, atol=1e-10)


def test_dates_may_be_swapped_where_they_are_looked_at_by_themselves() -> None:
    net = network(3, ("dates",))
    before, after, difference = torch.randn(3, 2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(before, after, difference), net(after, before, -difference), rtol=0, atol=1e-12)


def test_networks_are_heard_alike() -> None:
    net = network(2, (*BOTH, "difference"))
    images = torch.randn(3, 2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        each = [one(*images) for one in net.networks]
        torch.testing.assert_close(net(*images), torch.stack(each).mean(0))
    assert not torch.allclose(each[1], each[2])


def test_a_view_depends_on_nothing_else() -> None:
    before, after, difference = torch.randn(3, 1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        dates, apart = network(2, ("dates",)), network(2, ("difference",))
        assert torch.equal(dates(before, after, difference), dates(before, after, difference + 1))
        assert torch.allclose(apart(before, after, difference), apart(before + 1, after - 1, difference))
        assert not torch.allclose(apart(before, after, difference), apart(before, after, difference + 1))


def test_the_view_of_ten_metres_sees_no_other_band() -> None:
    before, after, difference = torch.randn(3, 1, 3, 32, 32, dtype=torch.float64)
    net = network(2, ("ten-metre",))
    other = before.clone()
    with torch.no_grad():
        other[:, 1] += 1
        assert torch.equal(net(other, after, difference + 1), net(before, after, difference))
        other[:, 2] += 1
        assert not torch.allclose(net(other, after, difference), net(before, after, difference))


def test_every_view_that_a_card_may_name_can_be_built() -> None:
    assert tuple(VIEWS) == card.VIEWS


def test_logits_have_the_size_of_the_input() -> None:
    assert network(3)(*torch.randn(3, 2, 3, 48, 32, dtype=torch.float64)).shape == (2, 1, 48, 32)
