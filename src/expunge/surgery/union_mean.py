"""UnionMean: the mean loss over both halves of the batch together."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.surgery.step import LinearCombination, Step
from expunge.surgery.surgery import Surgery


class UnionMean(Surgery):
    """Weigh each half by its number of examples, as one loader over D_f ∪ D_r does.

    Formula: d = (n_f g_f + n_r g_r)/(n_f + n_r), with g_f, g_r the gradients of the mean losses over the n_f forget
    and n_r retain examples of the batch.

    Examples:
        >>> UnionMean()
        UnionMean()
    """

    aliases: ClassVar[tuple[str, ...]] = ("union", "pooled")
    paper: ClassVar[str] = "the mean over the union of both halves"

    def __init__(self) -> None:
        super().__init__()
        self.relative: Tensor | None = None

    def forward(self, step: Step) -> None:
        """Backpropagate the mean loss of the union."""
        forget, retain = step.sizes
        self.relative = torch.where(forget > 0, retain / forget.clamp(min=1), torch.nan)
        step.backward(LinearCombination(forget / (forget + retain), retain / (forget + retain)))

    def relative_weight(self) -> Tensor | None:
        """Return n_r/n_f of the last update."""
        return self.relative
