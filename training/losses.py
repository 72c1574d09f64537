"""What training minimises."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def bce(logits: Tensor, change: Tensor, labelled: Tensor) -> Tensor:
    """Binary cross-entropy, mean over labelled pixels; all (n, 1, h, w), change and labelled 0/1."""
    each = binary_cross_entropy_with_logits(logits, change, reduction="none")
    return (each * labelled).sum() / labelled.sum().clamp(min=1)


def dice(logits: Tensor, change: Tensor, labelled: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of the whole batch, so that patches without change are no special case.

    Source: Milletari, Navab, Ahmadi 2016, "V-Net".
    """
    probability = torch.sigmoid(logits) * labelled
    change = change * labelled
    return 1 - (2 * (probability * change).sum() + 1) / (probability.sum() + change.sum() + 1)


def bce_dice(logits: Tensor, change: Tensor, labelled: Tensor) -> Tensor:
    """The sum of both."""
    return bce(logits, change, labelled) + dice(logits, change, labelled)


LOSSES: dict[str, Loss] = {"bce+dice": bce_dice, "bce": bce, "dice": dice}
