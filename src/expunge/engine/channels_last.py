"""Layout: the order in memory that a convolution's weights have while a model is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from expunge.surgery.direction import is_sharded

CHANNELS_LAST_DEVICES = ("cuda",)
"""Devices where it is the default. Processors gain less (docs/results/throughput.md), and keep their bits."""


@contextmanager
def channels_last_memory(model: nn.Module, channels_last: bool | None = None) -> Iterator[None]:
    """Hold the weights of two-dimensional convolutions with channels last inside the context.

    A convolution answers in the format of its weights, so that inputs need no change. Afterwards the values are in the
    very tensors that were there, in their own format: what is saved, handed back or held elsewhere never shows it.

    Examples:
        >>> model = nn.Conv2d(2, 3, 3)
        >>> with channels_last_memory(model, True):
        ...     model.weight.stride()
        (18, 1, 6, 2)
        >>> model.weight.stride()
        (18, 9, 3, 1)
    """
    weights = convolution_weights(model)
    active = (
        channels_last
        if channels_last is not None
        else any(weight.device.type in CHANNELS_LAST_DEVICES for weight in weights)
    )
    originals = [(weight, weight.data) for weight in weights] if active else []
    for weight, data in originals:
        weight.data = data.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, data in originals:
                weight.data = data.copy_(weight.data)


def convolution_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of two-dimensional convolutions that are contiguous and alone in their memory."""
    by_id = {
        id(module.weight): module.weight
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and isinstance(module.weight, nn.Parameter)
    }
    return [weight for weight in by_id.values() if owns_storage(weight)]


def owns_storage(weight: Tensor) -> bool:
    """Return whether a weight is an ordinary contiguous tensor that fills its memory."""
    if is_sharded(weight) or not weight.is_contiguous():
        return False
    return weight.untyped_storage().nbytes() == weight.nbytes


def align_strides(optimizer: Optimizer, *_: Any) -> None:
    """Give gradients and the optimizer's memory the order in memory of their weights.

    A fused step walks through memory: where a gradient has another order than its weight it would pair the wrong
    numbers, on processors without a word. So this is done before each fused step; where all agree, nothing is copied.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                weight.grad = match_strides(weight.grad, weight)
            state = optimizer.state.get(weight, {})
            state.update(
                {name: match_strides(value, weight) for name, value in state.items() if has_weight_shape(value, weight)}
            )


def has_weight_shape(value: Any, weight: Tensor) -> bool:
    """Return whether a part of an optimizer's memory has a number for each of a weight's."""
    return isinstance(value, Tensor) and value.shape == weight.shape


def match_strides(value: Tensor, weight: Tensor) -> Tensor:
    """Return a tensor in the order in memory of a weight; itself where it has that."""
    return value if value.stride() == weight.stride() else torch.empty_like(weight, dtype=value.dtype).copy_(value)
