import pytest
import torch

from training.baselines import FullyConvolutional
from training.fit import FitOptions, flops_per_pixel, new_network


@pytest.mark.parametrize(("architecture", "bands", "published"), [("fc-ef", 13, 1_350_000), ("fc-siam-diff", 13, 1_350_000)])
def test_they_have_as_many_weights_as_published(architecture: str, bands: int, published: int) -> None:
    """The authors' networks of 13 bands have 1.35 million."""
    network = FullyConvolutional(bands, siamese=architecture == "fc-siam-diff")
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize("architecture", ["fc-ef", "fc-siam-diff"])
def test_logits_have_the_size_of_the_input(architecture: str) -> None:
    options = FitOptions(architecture=architecture, bands=("B02", "B03"))
    network = new_network(options).eval()
    images = torch.randn(3, 1, 2, 32, 48)
    with torch.no_grad():
        assert network(*images).shape == (1, 1, 32, 48)
    assert options.alignment == 16
    assert flops_per_pixel(options) > 10_000


def test_equal_dates_leave_the_siamese_skips_empty() -> None:
    """What is left of two equal dates comes up from the second date alone."""
    torch.manual_seed(0)
    network = FullyConvolutional(2, siamese=True).eval()
    seen = []
    for decode in network.decoder:
        decode.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        network(image, image, image)
    assert all(one[:, one.shape[1] // 2 :].abs().max() == 0 for one in seen)
    assert all(one[:, : one.shape[1] // 2].abs().max() > 0 for one in seen)
