import torch
from torch import nn

from training.muon import Muon, orthogonalised


def test_all_singular_values_come_close_to_one() -> None:
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(12, 12))[0], torch.linalg.qr(torch.randn(40, 12))[0]
    matrix = left @ torch.diag(torch.logspace(0, -1.5, 12)) @ right.T
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_a_convolutions_step_has_one_size_whatever_its_gradients() -> None:
    steps = []
    for scale in (1.0, 1e-4):
        torch.manual_seed(0)
        layer = nn.Conv2d(8, 16, 3)
        before = layer.weight.detach().clone()
        layer.weight.grad = scale * torch.randn_like(layer.weight)
        Muon([layer.weight], 0.1, 0).step()
        steps.append((layer.weight.detach() - before).square().mean().sqrt())
    assert abs(steps[0] / steps[1] - 1) < 0.01
    # 0.2 × the rate, where all directions have the same share.
    assert 0.012 < steps[0] < 0.028


def test_it_fits_what_adam_fits() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 1, 1))
    image = torch.randn(8, 3, 12, 12)
    wanted = nn.functional.conv2d(image, torch.randn(1, 3, 3, 3)).abs()
    optimizer = Muon(network.parameters(), 0.01, 0.01)
    losses = []
    for _ in range(200):
        loss = (network(image) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
