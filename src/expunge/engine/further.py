"""Further: gradients on batches that an update does not use, taken aside from its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from expunge.batch import Batch
from expunge.engine.half import Half, Setting
from expunge.engine.normalisation import untouched_buffers
from expunge.pair import Role
from expunge.surgery import Direction

Further = Callable[[Role, int], Batch | None]
"""Gives the k-th further batch of a side, k from 0, drawn for this update alone; None where there is none."""

TRIES = 8
"""Sixteenths of the loss scale that are tried: 2⁻²⁸ of it is less than any scaler falls to."""


def gradient_aside(setting: Setting, half: Half) -> tuple[Direction, Tensor]:
    """Return gradient and mean loss of a half; the update's own gradients and all buffers are left as they are.

    Under a gradient scaler an overflow is no reason to leave the batch out, which would favour small gradients: it is
    repeated at a smaller scale.
    """
    scale = setting.precision.factor()
    gradient, loss = attempt(setting, half, scale)
    for _ in range(0 if scale is None else TRIES):
        if all(bool(piece.isfinite().all()) for piece in gradient):
            break
        scale = scale / 16 if scale is not None else None
        gradient, loss = attempt(setting, half, scale)
    return gradient, loss


def attempt(setting: Setting, half: Half, scale: Tensor | None) -> tuple[Direction, Tensor]:
    """Return gradient and mean loss, backpropagated at a loss scale."""
    held = [parameter.grad for parameter in setting.parameters]
    for parameter in setting.parameters:
        parameter.grad = None
    try:
        with torch.enable_grad(), untouched_buffers(setting.predict.model):
            losses = []
            for index in range(len(half)):
                with setting.ranks.reducing(index == len(half) - 1):
                    losses.append(backpropagated(setting, half.part(index), scale))
        pieces = [torch.zeros_like(p) if p.grad is None else setting.ranks.taken(p.grad) for p in setting.parameters]
    finally:
        for parameter, gradient in zip(setting.parameters, held, strict=True):
            parameter.grad = gradient
    total = setting.ranks.total(losses[0] if len(losses) == 1 else torch.stack(losses).sum())
    return Direction(pieces) if scale is None else Direction(pieces).mul_(1 / scale), total


def backpropagated(setting: Setting, loss: Tensor, scale: Tensor | None) -> Tensor:
    """Backpropagate a loss, if it depends on the weights, and return its value."""
    if loss.requires_grad:
        setting.ranks.backward(loss if scale is None else loss * scale, setting.parameters)
    return loss.detach()
