"""Annealed: a forget weight that fades over the run."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.step import Linear, Step
from expunge.surgery.surgery import Surgery


class Annealed(Surgery):
    """Descend α_t·L_f + L_r with a weight that falls along half a cosine.

    Paper: "Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement" (SFR-on; Huang et al., NeurIPS
    2024, arXiv 2409.19732): the schedule of its forget step.

    Formula: d = α_t g_f + g_r, α_t = α (1 + cos(π t/T))/2, t the update from 0 of T in the stage.

    Args:
        forget: α > 0. Default 25 (authors, CIFAR-10, with updates on forget examples alone at every sixth place).

    Raises:
        SurgeryError: If α is not positive.

    Examples:
        >>> Annealed(2.0)
        Annealed(forget=2.0)
    """

    aliases: ClassVar[tuple[str, ...]] = ("cosine_forget",)
    paper: ClassVar[str] = "SFR-on, arXiv 2409.19732"

    def __init__(self, forget: float = 25.0) -> None:
        super().__init__()
        if not forget > 0:
            raise SurgeryError("a weight > 0", f"{forget}", "change it")
        self.forget = forget
        self.relative: Tensor | None = None

    def forward(self, step: Step) -> None:
        """Backpropagate the weighted sum."""
        weight = self.forget * (1 + math.cos(math.pi * step.progress.step / step.progress.total)) / 2
        self.relative = torch.tensor(1 / weight)
        step.backward(Linear(weight, 1.0))

    def applied(self) -> Tensor | None:
        """Return 1/α_t of the last update."""
        return self.relative
