"""CosineForgetWeight: a forget weight that fades over the run."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery


class CosineForgetWeight(Surgery):
    """Descend α_t·L_f + L_r with a weight that falls along half a cosine.

    Paper: "Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement" (SFR-on; Huang et al., NeurIPS
    2024, arXiv 2409.19732): the schedule of its forget step.

    Formula: d = α_t g_f + g_r, α_t = α (1 + cos(π t/T))/2, t the update from 0 of T in the stage.

    Args:
        forget_weight: α > 0. Default 25 (authors, CIFAR-10, where every sixth update is on forget examples alone).

    Raises:
        SurgeryError: If α is not positive.

    Examples:
        >>> CosineForgetWeight(2.0)
        CosineForgetWeight(forget_weight=2.0)
    """

    aliases: ClassVar[tuple[str, ...]] = ("cosine_forget", "annealed")
    paper: ClassVar[str] = "SFR-on, arXiv 2409.19732"

    def __init__(self, forget_weight: float = 25.0) -> None:
        super().__init__()
        if not forget_weight > 0:
            raise SurgeryError("a weight > 0", f"{forget_weight}", "change it")
        self.forget_weight = forget_weight
        self.relative: Tensor | None = None

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted sum."""
        weight = self.forget_weight * (1 + math.cos(math.pi * step.progress.step / step.progress.total)) / 2
        self.relative = torch.tensor(1 / weight)
        step.backward(LinearCombination(weight, 1.0))

    def relative_weight(self) -> Tensor | None:
        """Return 1/α_t of the last update."""
        return self.relative
