"""The optimizer: orthogonalised momentum for the convolutions, Adam for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Quintic iteration that drives all singular values towards 1 (Jordan et al. 2024).
_QUINTIC, _ITERATIONS = (3.4445, -4.7750, 2.0315), 4
_MOMENTUM, _SQUARES, _TINY = 0.9, 0.99, 1e-8
# Size of an orthogonalised step that goes with Adam's at one learning rate (Liu et al. 2025, "Muon is scalable").
_STEP = 0.2


class Muon(Optimizer):
    """Muon for kernels of 3 × 3, each taken as the matrix (first axis, all others); Adam for norms and smaller kernels: our up-sampling and head.

    PyTorch's own Muon takes matrices alone, so a network would have to be written for it.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; momentum as there (Nesterov).
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        """Take parameters; decay is on the convolutions alone."""
        super().__init__(list(params), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state.update(first=torch.zeros_like(parameter), second=torch.zeros_like(parameter), count=0)
                state["count"] += 1
                if parameter.ndim == 4 and parameter.shape[2] > 2:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(group["lr"] * _muon(parameter.grad, state))
                else:
                    parameter.sub_(group["lr"] * _adam(parameter.grad, state))


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with all its singular values moved to about 1 (0.7 to 1.2): (rows, cols) with rows at most cols.

    Source: Jordan et al. 2024, Newton–Schulz iteration with a quintic.
    """
    a, b, c = _QUINTIC
    x: Tensor = matrix / (matrix.norm() + _TINY)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x


def _muon(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    momentum: Tensor = state["first"].mul_(_MOMENTUM).add_(gradient)
    matrix = gradient.add(momentum, alpha=_MOMENTUM).reshape(len(gradient), -1)
    tall = matrix.shape[0] > matrix.shape[1]
    step = orthogonalised(matrix.T if tall else matrix)
    return (step.T if tall else step).reshape(gradient.shape) * (_STEP * math.sqrt(max(matrix.shape)))


def _adam(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    first: Tensor = state["first"].lerp_(gradient, 1 - _MOMENTUM) / (1 - _MOMENTUM ** state["count"])
    second: Tensor = state["second"].lerp_(gradient * gradient, 1 - _SQUARES) / (1 - _SQUARES ** state["count"])
    return first / (second.sqrt() + _TINY)
