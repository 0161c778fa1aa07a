"""Explicit surgeries: two gradients, their 2×2 Gram matrix, two weights."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from expunge.surgery.direction import gramian
from expunge.surgery.step import Step
from expunge.surgery.surgery import Surgery


class GramianSurgery(Surgery, ABC):
    """Base of surgeries that combine g_f and g_r by weights that depend on their Gram matrix alone.

    Such a rule is equivariant: d(Qg_f, Qg_r) = Q·d(g_f, g_r) for every orthogonal Q. It takes one forward and one
    backward pass on each half batch, the same arithmetic as plain fine-tuning on both, and keeps one gradient more.
    """

    last_weight: Tensor | None = None

    @abstractmethod
    def weights(self, gram: Tensor) -> Tensor:
        """Return the weights (w_f, w_r), shape (2,), from the Gram matrix, shape (2, 2)."""

    def forward(self, step: Step) -> None:
        """Propose w_f·g_f + w_r·g_r, built in place so that no third gradient is held."""
        forget, retain = step.gradient("forget"), step.gradient("retain")
        weights = self.weights(gramian(forget, retain))
        self.last_weight = (weights[1] / weights[0]).detach()
        step.set_direction(forget.mul_(weights[0]).add_(retain.mul_(weights[1])))

    def relative_weight(self) -> Tensor | None:
        """Return w_r/w_f of the last decision."""
        return self.last_weight
