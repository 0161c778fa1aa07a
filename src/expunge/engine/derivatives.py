"""Derivatives that a step needs beside plain backpropagation."""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.engine.compiled import UNCOMPILED, is_compiled
from expunge.engine.half import Setting
from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery import Combine, Direction
from expunge.surgery.direction import Scale


def skips(weight: Scale) -> bool:
    """Return whether a side with this weight need not be computed."""
    return not isinstance(weight, Tensor) and weight == 0.0


def weighted(loss: Tensor, weight: Scale) -> Tensor:
    """Return the weighted loss; the weight 1 as a number adds no node to the graph."""
    return weight * loss if isinstance(weight, Tensor) or weight != 1.0 else loss


def slopes(combine: Combine, losses: Pair[Tensor]) -> Pair[Scale]:
    """Return the partial derivatives of the combination at the losses."""
    with torch.enable_grad():
        point = losses.map(lambda loss: loss.detach().clone().requires_grad_())
        found = torch.autograd.grad(combine(*point), tuple(point), allow_unused=True)
    return Pair(*(0.0 if slope is None else slope for slope in found))


def refuse_curvature(setting: Setting) -> None:
    """Refuse second derivatives where they cannot be had.

    Raises:
        SurgeryError: In a compiled model, in half precision, under a scaler, with both halves in one pass, or on
            several ranks, whose wrappers do not reduce what is differentiated twice.
    """
    if is_compiled(setting.predict.model):
        raise SurgeryError("a plain pass for second derivatives", "a compiled one", UNCOMPILED)
    if not setting.precision.full or setting.policy == "joint" or setting.ranks.size > 1:
        scaled = "a gradient scaler" if setting.precision.scaler else "no gradient scaler"
        found = f"{setting.precision.format}, {scaled}, normalisation '{setting.policy}', ranks {setting.ranks.size}"
        cure = "use fp32 without a scaler on one rank, and normalisation 'frozen' or 'separate'"
        raise SurgeryError("full precision and halves apart for second derivatives", found, cure)


def hessian_product(loss: Tensor, parameters: list[Tensor], along: Direction) -> Direction:
    """Return the product of the loss's Hessian with a direction."""
    slope = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    used = [(s, v) for s, v in zip(slope, along, strict=True) if s is not None and s.requires_grad]
    if not used:
        return Direction(torch.zeros_like(p) for p in parameters)
    inner = torch.stack([(s * v).sum() for s, v in used]).sum()
    found = torch.autograd.grad(inner, parameters, allow_unused=True)
    return Direction(torch.zeros_like(p) if h is None else h for p, h in zip(parameters, found, strict=True))
