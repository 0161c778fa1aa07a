"""Fixed: two constant weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.step import Linear, Step
from expunge.surgery.surgery import Surgery


class Fixed(Surgery):
    """Descend w·L_f + λ·L_r with constant weights, as most unlearning methods do.

    GA is (1, 0) with ascent, FT (0, 1), RL (1, 1) with random labels, NegGrad+ (w, 1) with ascent.

    Formula: d = w·g_f + λ·g_r, with g_f, g_r the gradients of the mean forget and retain losses.

    Args:
        forget: w ≥ 0, no unit. Default 1.
        multiplier: λ ≥ 0, no unit. Default 1. A controller may set the buffer later, unless it was built as 0: a side
            built with weight 0 is never evaluated.

    Raises:
        SurgeryError: If a weight is negative, or both are 0.

    Examples:
        >>> Fixed(forget=0.5)
        Fixed(forget=0.5, multiplier=1.0)
    """

    aliases: ClassVar[tuple[str, ...]] = ("linear", "scalarization")
    paper: ClassVar[str] = "linear scalarisation; GA, FT, RL and NegGrad+ are cases of it"
    multiplier: Tensor

    def __init__(self, forget: float = 1.0, multiplier: float = 1.0) -> None:
        super().__init__()
        if min(forget, multiplier) < 0 or forget + multiplier == 0:
            raise SurgeryError("weights ≥ 0 that are not both 0", f"{forget} and {multiplier}", "change them")
        self.forget = forget
        self.evaluates_retain = multiplier != 0
        self.register_buffer("multiplier", torch.tensor(float(multiplier)))

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted sum."""
        step.backward(Linear(self.forget, self.multiplier if self.evaluates_retain else 0.0))

    def applied(self) -> Tensor | None:
        """Return λ/w, the weight of g_r relative to g_f; None where g_f has none."""
        return self.multiplier / self.forget if self.forget else None
