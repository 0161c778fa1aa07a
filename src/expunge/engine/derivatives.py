"""Derivatives that a step needs beside plain backpropagation."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.engine.compiled import COMPILE_HINT, is_compiled
from expunge.engine.side_batch import StepConfig
from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery import CombineFn, Direction
from expunge.surgery.direction import Scalar


def is_skipped(weight: Scalar) -> bool:
    """Return whether a side with this weight need not be computed."""
    return not isinstance(weight, Tensor) and weight == 0.0


def apply_weight(loss: Tensor, weight: Scalar) -> Tensor:
    """Return the weighted loss; the weight 1 as a number adds no node to the graph."""
    return weight * loss if isinstance(weight, Tensor) or weight != 1.0 else loss


def partial_derivatives(combine: CombineFn, losses: Pair[Tensor]) -> Pair[Scalar]:
    with torch.enable_grad():
        point = losses.map(lambda loss: loss.detach().clone().requires_grad_())
        derivatives = torch.autograd.grad(combine(*point), tuple(point), allow_unused=True)
    return Pair(*(0.0 if derivative is None else derivative for derivative in derivatives))


def check_second_derivatives(config: StepConfig) -> None:
    """Refuse second derivatives where they cannot be had."""
    if is_compiled(config.predict.model):
        raise SurgeryError("a plain pass for second derivatives", "a compiled one", COMPILE_HINT)
    if not config.precision.is_full or config.batch_norm == "joint" or config.ranks.size > 1:
        scaler = "a gradient scaler" if config.precision.scaler else "no gradient scaler"
        actual = f"{config.precision.name}, {scaler}, batch_norm '{config.batch_norm}', ranks {config.ranks.size}"
        hint = "use fp32 without a scaler on one rank, and batch_norm 'frozen' or 'separate'"
        raise SurgeryError("full precision and halves apart for second derivatives", actual, hint)


def hessian_vector_product(loss: Tensor, parameters: list[Tensor], direction: Direction) -> Direction:
    """Return the product of the loss's Hessian with a direction."""
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    used = [(s, v) for s, v in zip(gradients, direction, strict=True) if s is not None and s.requires_grad]
    if not used:
        return Direction(torch.zeros_like(p) for p in parameters)
    inner = torch.stack([(s * v).sum() for s, v in used]).sum()
    products = torch.autograd.grad(inner, parameters, allow_unused=True)
    return Direction(torch.zeros_like(p) if h is None else h for p, h in zip(parameters, products, strict=True))
