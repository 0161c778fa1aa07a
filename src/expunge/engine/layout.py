"""Layout: the order in memory that a convolution's weights have while a model is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from expunge.surgery.direction import is_sharded

PAYS = ("cuda",)
"""Devices where it is the default. Processors gain less (docs/results/throughput.md), and keep their bits."""


@contextmanager
def laid_out(model: nn.Module, channels_last: bool | None = None) -> Iterator[None]:
    """Hold the weights of two-dimensional convolutions with channels last inside the context.

    A convolution answers in the format of its weights, so that inputs need no change. Afterwards the values are in the
    very tensors that were there, in their own format: what is saved, handed back or held elsewhere never shows it.

    Args:
        model: The model. Weights that share their memory with others stay as they are.
        channels_last: Whether to do so. Default: on devices where it pays.

    Examples:
        >>> model = nn.Conv2d(2, 3, 3)
        >>> with laid_out(model, True):
        ...     model.weight.stride()
        (18, 1, 6, 2)
        >>> model.weight.stride()
        (18, 9, 3, 1)
    """
    weights = convolutions(model)
    wanted = channels_last if channels_last is not None else any(weight.device.type in PAYS for weight in weights)
    held = [(weight, weight.data) for weight in weights] if wanted else []
    for weight, own in held:
        weight.data = own.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, own in held:
                weight.data = own.copy_(weight.data)


def convolutions(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of two-dimensional convolutions that are contiguous and alone in their memory."""
    found = {
        id(module.weight): module.weight
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and isinstance(module.weight, nn.Parameter)
    }
    return [weight for weight in found.values() if alone(weight)]


def alone(weight: Tensor) -> bool:
    """Return whether a weight is an ordinary contiguous tensor that fills its memory."""
    if is_sharded(weight) or not weight.is_contiguous():
        return False
    return weight.untyped_storage().nbytes() == weight.nbytes


def align(optimizer: Optimizer, *_: Any) -> None:
    """Give gradients and the optimiser's memory the order in memory of their weights.

    A fused step walks through memory: where a gradient has another order than its weight it would pair the wrong
    numbers, on processors without a word. So this is done before each fused step; where all agree, nothing is copied.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.grad = like(weight.grad, weight)
            state = optimizer.state.get(weight, {})
            state.update({name: like(value, weight) for name, value in state.items() if shaped(value, weight)})


def shaped(value: Any, weight: Tensor) -> bool:
    """Return whether a part of an optimiser's memory has a number for each of a weight's."""
    return isinstance(value, Tensor) and value.shape == weight.shape


def like(value: Tensor, weight: Tensor) -> Tensor:
    """Return a tensor in the order in memory of a weight; itself where it has that."""
    return value if value.stride() == weight.stride() else torch.empty_like(weight, dtype=value.dtype).copy_(value)
