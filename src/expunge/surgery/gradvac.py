"""GradVac: gradients are turned towards the similarity that they usually have."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.surgery.step import Step
from expunge.surgery.torchjd_surgery import TorchJDSurgery


class GradVac(TorchJDSurgery):
    """Turn a gradient towards the other where their cosine falls below its running mean, then add them.

    Paper: "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual Models"
    (Wang et al., ICLR 2021, arXiv 2010.05874).

    Formula: with φ = cos(g_f, g_r) below the target φ̂,

        g_f′ = g_f + ‖g_f‖ (φ̂ √(1−φ²) − φ √(1−φ̂²)) / (‖g_r‖ √(1−φ̂²)) g_r

    else g_f′ = g_f; g_r′ likewise with a target of its own; d = g_f′ + g_r′; then φ̂ ← (1 − β) φ̂ + β φ, from φ̂ = 0.

    Args:
        beta: β in [0, 1]. Default .5 (TorchJD's).

    Raises:
        MissingExtraError: If TorchJD is not installed.
        SurgeryError: If β is out of its range.

    Examples:
        >>> GradVac(beta=0.1)
        GradVac(beta=0.1)

    Differences from the authors' code: targets of whole gradients, not of each layer; they are buffers, and a step that
    the optimizer skips leaves them as they were.
    """

    aliases: ClassVar[tuple[str, ...]] = ("gradvac",)
    paper: ClassVar[str] = "arXiv 2010.05874"
    target: Tensor

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__("GradVac", beta=beta)
        self.beta = beta
        self.register_buffer("target", torch.zeros(2, 2, dtype=torch.float64))
        self.next_target = self.target

    def solve_weights(self, gram: Tensor) -> Tensor:
        """Return the weights; TorchJD has no public way to its state, so it is put there and taken from there."""
        state = self.function
        state._phi_t = self.target.to("cpu", gram.dtype, copy=True)  # type: ignore[attr-defined]
        state._state_key = (2, gram.dtype)  # type: ignore[attr-defined]
        weights = state(gram)
        self.next_target = state._phi_t  # type: ignore[attr-defined]
        return weights

    def after_step(self, step: Step) -> None:
        """Keep the new targets."""
        self.target.copy_(self.next_target)
