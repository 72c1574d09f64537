"""Fit one network to labelled cities by a fixed schedule: nothing is chosen while it runs, so nothing has to be held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from s2change_plugin.engine.model import precision_on
from s2change_plugin.engine.outputs import to_levels
from s2change_plugin.engine.unet import ChangeNet
from s2change_plugin.engine.validity import Codes

from .baselines import FullyConvolutional
from .files import write_whole
from .losses import LOSSES, bce
from .options import OPTIMIZERS, FitOptions
from .sampling import Ground, batch, padded

# The fewest with which anything was measured out of fold (EXPERIMENTS 4); after 100 the average still holds the beginning (3).
_FEW_STEPS = 600


@dataclass(frozen=True)
class Epoch:
    """What came of one walk over the cities.

    Attributes:
        number: from 1.
        loss: mean over its steps.
        network: the moving average of the weights so far, in evaluation mode; it goes on changing.
    """

    number: int
    loss: float
    network: Any


Progress = Callable[[Sequence[int], str], Iterable[int]]


def fit(
    cities: Sequence[Ground],
    options: FitOptions,
    teachers: Sequence[nn.Module] = (),
    start: Mapping[str, Tensor] = MappingProxyType({}),
) -> Any:
    """Fit every network by itself; the moving average of its weights at the end of the schedule is the result.

    Args:
        cities: as `laid_out` gives them.
        options: how.
        teachers: networks as this gives them. Those of a view that they have learn from them, the others from the labels.
        start: weights of the whole to begin with; none is random ones.

    Returns:
        the networks as one, in evaluation mode.
    """
    whole = new_network(options)
    if start:
        whole.load_state_dict(start)
    for index, network in enumerate(parts_of(whole)):
        *_, last = fitting(cities, options, network, index, alike(network, teachers))
        network.load_state_dict(last.network.state_dict())
    return whole.eval()


def fitting(
    cities: Sequence[Ground],
    options: FitOptions,
    network: nn.Module,
    index: int = 0,
    teachers: Sequence[nn.Module] = (),
    checkpoint: Path | None = None,
    progress: Progress = lambda steps, _: steps,
) -> Iterator[Epoch]:
    """Fit one network, epoch by epoch.

    Source of learning from others: Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network"; that both see the
    very same patch: Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent".

    Args:
        cities: as `laid_out` gives them.
        options: how.
        network: to begin with; changed in place.
        index: of the network among its like; others see other patches.
        teachers: networks in evaluation mode. What their mean says of a patch is learned by cross-entropy instead of its labels,
            which then say only where patches are cut and what counts; none leaves the labels.
        checkpoint: file that is written after each epoch, and from which an interrupted fit goes on to the same result.
        progress: walks the steps of an epoch, given a label.
    """
    ground = [padded(city, options.patch) for city in cities]
    changed = [np.flatnonzero(one.change == 1) for one in ground]
    steps, epochs = steps_per_epoch(sum(city.change.size for city in cities), options), options.epochs_of(index)
    network.train()
    decay: Any = get_ema_multi_avg_fn
    average = AveragedModel(network, multi_avg_fn=decay(options.ema), use_buffers=True)
    averaged: Any = average.module
    optimizer = OPTIMIZERS[options.optimizer](network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    # Adam's momentum goes down and up against the rate; Muon's is fixed.
    cycled = options.optimizer == "adam"
    schedule = OneCycleLR(optimizer, options.learning_rate, epochs * steps, pct_start=0.15, cycle_momentum=cycled)
    parts = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    for epoch in range(_restore(checkpoint, parts), epochs):
        # By the epoch's number, so that an interruption changes nothing.
        random = np.random.default_rng([options.seed, index, epoch])
        torch.manual_seed(int(random.integers(2**31)))
        losses = []
        for _ in progress(range(steps), f"epoch {epoch + 1}/{epochs}"):
            images, change, labelled = batch(ground, changed, options, random)
            with quick():
                logits = network(*images)
            loss = (
                bce(logits.float(), agreed(teachers, images), labelled)
                if teachers
                else LOSSES[options.loss](logits.float(), change, labelled)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            losses.append(loss.item())
        yield Epoch(epoch + 1, float(np.mean(losses)), averaged.eval())
        if checkpoint:
            save_state(checkpoint, {**{name: part.state_dict() for name, part in parts.items()}, "epoch": epoch + 1})


def agreed(networks: Sequence[nn.Module], images: Sequence[Tensor]) -> Tensor:
    """The probability of change that the mean of networks' logits gives, (n, 1, h, w)."""
    with torch.no_grad(), quick():
        return torch.sigmoid(torch.stack([one(*images).float() for one in networks]).mean(0))


def alike(network: nn.Module, wholes: Sequence[nn.Module]) -> list[nn.Module]:
    """The parts of networks that look at the pair as this one does."""
    return [one for whole in wholes for one in parts_of(whole) if type(one) is type(network)]


def steps_per_epoch(pixels: float, options: FitOptions) -> int:
    """As many as draw patches that cover so many pixels of cities once."""
    return max(1, round(pixels / options.patch**2 / options.batch))


def few_steps(pixels: float, options: FitOptions) -> str | None:
    """A sentence where a network that begins with random weights will hardly have learned from so many pixels; None where it will."""
    epochs = min(options.epochs_of(index) for index in range(len(options.views)))
    made = epochs * steps_per_epoch(pixels, options)
    if made >= _FEW_STEPS:
        return None
    return (
        f"These cities are so small that {epochs} epochs make {made} steps, in which a network that begins with random weights hardly learns: "
        f"take {math.ceil(epochs * _FEW_STEPS / made)} epochs, label more ground, or begin with a model that is there."
    )


def quick() -> torch.autocast:
    """bfloat16 on processors that compute in it, as in use."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision_on("cpu") == "bfloat16")


def new_network(options: FitOptions) -> Any:
    """The networks as one, with random weights that the seed decides."""
    torch.manual_seed(options.seed)
    network: nn.Module
    if options.architecture == "two-date-unets":
        network = ChangeNet(options.bands, options.views, options.width, options.depth, options.view_cells)
    else:
        network = FullyConvolutional(len(options.bands), siamese=options.architecture == "fc-siam-diff")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def parts_of(network: nn.Module) -> list[nn.Module]:
    """What is fitted apart."""
    return list(network.networks) if isinstance(network, ChangeNet) else [network]


def flops_per_pixel(options: FitOptions) -> float:
    """Of a prediction: two per multiply-add, both dates, no halo."""
    side = 4 * options.alignment
    image = torch.zeros(1, len(options.bands), side, side)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        new_network(options).eval()(image, image, image)
    return float(counter.get_total_flops() / side**2 * options.turns)


def predict(network: nn.Module, city: Ground, options: FitOptions) -> Codes:
    """Probability of change of a whole city as it is stored: uint8 (row, col), 0–250, 255 where not seen.

    It is as the engine has it, to the city's edge: beyond lies what is not seen, as far as the network looks.

    Args:
        network: as `fit` gives it.
        city: as `laid_out` gives it.
        options: it was fitted with.
    """
    step, rim = options.alignment, options.margin
    height, width = city.change.shape
    images = np.pad(city.images, [(0, 0), *((rim, rim + -length % step) for length in (height, width)), (0, 0)])
    shown = [torch.from_numpy(image)[None].permute(0, 3, 1, 2) for image in images]
    with torch.inference_mode(), quick():
        logits = turned_average(network, shown, options.turns)[0, 0, rim : rim + height, rim : rim + width]
    return to_levels(torch.sigmoid(logits).numpy(), np.asarray(~city.seen, np.uint8))


def turned_average(network: nn.Module, images: Sequence[Tensor], turns: int) -> Tensor:
    """Logits averaged over what the network says of 1, 2 (as it is and upside down) or all 4 quarter turns."""
    each = []
    for turn in range(0, 4, 4 // turns):
        turned = (image.rot90(turn, (2, 3)).contiguous(memory_format=torch.channels_last) for image in images)
        each.append(network(*turned).float().rot90(-turn, (2, 3)))
    return torch.stack(each).mean(0)


def averaged_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The moving average of the weights in a checkpoint of `fitting`, as a network's own."""
    average = torch.load(checkpoint, weights_only=True)["average"]
    return {name.removeprefix("module."): tensor for name, tensor in average.items() if name.startswith("module.")}


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write it in one step, so that an interruption leaves the last one whole."""
    # PyTorch itself would say nothing of use of a full disk.
    written = BytesIO()
    torch.save(state, written)
    write_whole(path, written.getvalue())


def _restore(checkpoint: Path | None, parts: dict[str, Any]) -> int:
    """The epochs that are done."""
    if checkpoint is None or not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["epoch"])
