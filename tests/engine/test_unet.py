import pytest
import torch

from s2change_plugin.engine.unet import SiameseUNet, halo


def network(depth: int) -> SiameseUNet:
    torch.manual_seed(depth)
    return SiameseUNet(3, width=4, depth=depth).double().eval()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_halo_is_exact(depth: int) -> None:
    """With all weights positive nothing cancels: the farthest input that changes any output lies at the halo."""
    net = SiameseUNet(1, width=1, depth=depth).double().eval()
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    reach, step = halo(depth), 2**depth
    size = (2 * reach // step + 3) * step
    image = torch.zeros(1, 1, 8, size, dtype=torch.float64).repeat(1, 1, step, 1)
    farthest = 0
    with torch.no_grad():
        calm = net(image, image)
        for col in range(size // 2 - step // 2, size // 2 + step // 2):
            touched = image.clone()
            # All rows, so that what is pooled is a column.
            touched[..., col] = 1e6
            moved = (net(touched, image) != calm).any(2).flatten().nonzero()
            farthest = max(farthest, int((moved - col).abs().max()))
    assert farthest == reach


def test_a_window_with_its_halo_gives_what_the_whole_gives() -> None:
    net, reach = network(2), 8 * -(-halo(2) // 8)
    before, after = torch.randn(2, 1, 3, 160, 176, dtype=torch.float64)
    with torch.no_grad():
        whole = net(before, after)
        part = net(*(image[..., 40 - reach : 104 + reach, 48 - reach : 112 + reach] for image in (before, after)))
    torch.testing.assert_close(part[..., reach:-reach, reach:-reach], whole[..., 40:104, 48:112], rtol=0, atol=1e-10)


def test_dates_may_be_swapped() -> None:
    net = network(3)
    before, after = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(before, after), net(after, before), rtol=0, atol=1e-12)


def test_logits_have_the_size_of_the_input() -> None:
    assert network(4)(*torch.randn(2, 2, 3, 48, 32, dtype=torch.float64)).shape == (2, 1, 48, 32)
