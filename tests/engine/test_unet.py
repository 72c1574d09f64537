import pytest
import torch

from s2change_plugin.engine.unet import SiameseUNet, halo


def network(depth: int, stem: int = 1, skips: str = "difference") -> SiameseUNet:
    torch.manual_seed(depth)
    return SiameseUNet(3, width=4, depth=depth, stem=stem, skips=skips).double().eval()


@pytest.mark.parametrize(("depth", "stem"), [(1, 1), (2, 1), (3, 1), (4, 1), (1, 2), (2, 2), (3, 2), (1, 3)])
def test_the_halo_is_exact(depth: int, stem: int) -> None:
    """With all weights positive nothing cancels: the farthest input that changes any output lies at the halo."""
    net = SiameseUNet(1, width=1, depth=depth, stem=stem).double().eval()
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    reach, step = halo(depth, stem), stem * 2**depth
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


@pytest.mark.parametrize(("stem", "skips"), [(1, "difference"), (2, "difference"), (2, "both")])
def test_a_window_with_its_halo_gives_what_the_whole_gives(stem: int, skips: str) -> None:
    net, reach = network(2, stem, skips), 8 * -(-halo(2, stem) // 8)
    before, after = torch.randn(2, 1, 3, 192, 208, dtype=torch.float64)
    with torch.no_grad():
        whole = net(before, after)
        part = net(*(image[..., 64 - reach : 128 + reach, 72 - reach : 136 + reach] for image in (before, after)))
    torch.testing.assert_close(part[..., reach:-reach, reach:-reach], whole[..., 64:128, 72:136], rtol=0, atol=1e-10)


@pytest.mark.parametrize("skips", ["difference", "both"])
def test_dates_may_be_swapped(skips: str) -> None:
    net = network(3, skips=skips)
    before, after = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(net(before, after), net(after, before), rtol=0, atol=1e-12)


def test_logits_have_the_size_of_the_input() -> None:
    for stem in (1, 2):
        assert network(3, stem)(*torch.randn(2, 2, 3, 48, 32, dtype=torch.float64)).shape == (2, 1, 48, 32)
