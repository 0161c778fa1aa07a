"""WeightedSum: two constant weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery


class WeightedSum(Surgery):
    """Descend w·L_f + λ·L_r with constant weights, as most unlearning methods do.

    GA is (1, 0) with ascent, FT (0, 1), RL (1, 1) with random labels, NegGrad+ (w, 1) with ascent.

    Formula: d = w·g_f + λ·g_r, with g_f, g_r the gradients of the mean forget and retain losses.

    Args:
        forget_weight: w ≥ 0, no unit. Default 1.
        retain_weight: λ ≥ 0, no unit. Default 1. A controller may set the buffer later, unless it was built as 0: a
            side built with weight 0 is never evaluated.

    Raises:
        SurgeryError: If a weight is negative, or both are 0.

    Examples:
        >>> WeightedSum(forget_weight=0.5)
        WeightedSum(forget_weight=0.5, retain_weight=1.0)
    """

    aliases: ClassVar[tuple[str, ...]] = ("linear", "scalarization", "fixed")
    paper: ClassVar[str] = "linear scalarisation; GA, FT, RL and NegGrad+ are cases of it"
    retain_weight: Tensor

    def __init__(self, forget_weight: float = 1.0, retain_weight: float = 1.0) -> None:
        super().__init__()
        if min(forget_weight, retain_weight) < 0 or forget_weight + retain_weight == 0:
            raise SurgeryError("weights ≥ 0 that are not both 0", f"{forget_weight} and {retain_weight}", "change them")
        self.forget_weight = forget_weight
        self.evaluates_retain = retain_weight != 0
        self.register_buffer("retain_weight", torch.tensor(float(retain_weight)))

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted sum."""
        step.backward(LinearCombination(self.forget_weight, self.retain_weight if self.evaluates_retain else 0.0))

    def relative_weight(self) -> Tensor | None:
        """Return λ/w, the weight of g_r relative to g_f; None where g_f has none."""
        return self.retain_weight / self.forget_weight if self.forget_weight else None
