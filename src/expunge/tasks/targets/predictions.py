"""What a model predicts for examples, and how much of their targets it explains."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.batch import Examples, Predictor, evaluation_mode
from expunge.budget import iterate_batches


@torch.no_grad()
def collect_predictions(predict: Predictor, examples: Examples, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """Return outputs and targets of all examples, ``(n, k)`` float64 on the CPU, in evaluation mode."""
    with evaluation_mode(predict.model):
        pairs = [(predict(batch.inputs), batch.targets) for batch in iterate_batches(predict, examples, batch_size)]
    outputs, targets = (torch.cat([pair[side].double().cpu() for pair in pairs]) for side in (0, 1))
    return outputs, targets


def compute_r2(outputs: Tensor, targets: Tensor) -> float | None:
    """Return R² of predictions, mean over the targets that vary; None where none does.

    Examples:
        >>> import torch
        >>> outputs, targets = torch.tensor([[2.5], [0.0], [2.0], [8.0]]), torch.tensor([[3.0], [-0.5], [2.0], [7.0]])
        >>> round(compute_r2(outputs, targets), 3)
        0.949
    """
    spread = (targets - targets.mean(0)).square().sum(0)
    varies = spread > 0
    if not bool(varies.any()):
        return None
    return float((1 - (outputs - targets).square().sum(0)[varies] / spread[varies]).mean())
