"""Further: gradients on batches that an update does not use, taken aside from its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from expunge.batch import Batch
from expunge.engine.batch_norm import preserve_buffers
from expunge.engine.side_batch import SideBatch, StepConfig
from expunge.pair import Role
from expunge.surgery import Direction

ExtraBatchFn = Callable[[Role, int], Batch | None]
"""Gives the k-th further batch of a side, k from 0, drawn for this update alone; None where there is none."""

MAX_RETRIES = 8
"""Sixteenths of the loss scale that are tried: 2⁻²⁸ of it is less than any scaler falls to."""


def compute_isolated_gradient(config: StepConfig, side: SideBatch) -> tuple[Direction, Tensor]:
    """Return gradient and mean loss of a half; the update's own gradients and all buffers are left as they are.

    Under a gradient scaler an overflow is no reason to leave the batch out, which would favor small gradients: it is
    repeated at a smaller scale.
    """
    scale = config.precision.current_loss_scale()
    gradient, loss = backward_at_scale(config, side, scale)
    for _ in range(0 if scale is None else MAX_RETRIES):
        if all(bool(piece.isfinite().all()) for piece in gradient):
            break
        scale = scale / 16 if scale is not None else None
        gradient, loss = backward_at_scale(config, side, scale)
    return gradient, loss


def backward_at_scale(config: StepConfig, side: SideBatch, scale: Tensor | None) -> tuple[Direction, Tensor]:
    """Return gradient and mean loss, backpropagated at a loss scale."""
    gradients = [parameter.grad for parameter in config.parameters]
    for parameter in config.parameters:
        parameter.grad = None
    try:
        with torch.enable_grad(), preserve_buffers(config.predict.model):
            losses = []
            for index in range(len(side)):
                with config.ranks.sync_context(index == len(side) - 1):
                    losses.append(backpropagate(config, side.micro_batch_loss(index), scale))
        pieces = [torch.zeros_like(p) if p.grad is None else config.ranks.take_grad(p.grad) for p in config.parameters]
    finally:
        for parameter, gradient in zip(config.parameters, gradients, strict=True):
            parameter.grad = gradient
    total = config.ranks.all_reduce(losses[0] if len(losses) == 1 else torch.stack(losses).sum())
    return Direction(pieces) if scale is None else Direction(pieces).mul_(1 / scale), total


def backpropagate(config: StepConfig, loss: Tensor, scale: Tensor | None) -> Tensor:
    """Backpropagate a loss, if it depends on the weights, and return its value."""
    if loss.requires_grad:
        config.ranks.backward(loss if scale is None else loss * scale, config.parameters)
    return loss.detach()
