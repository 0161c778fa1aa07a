"""SoftThreshold: weights return to the original's unless they have moved far enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Predictor, Split
from expunge.errors import ConfigError
from expunge.masks.kth_smallest import kth_smallest
from expunge.masks.static_mask import StaticMask
from expunge.surgery import Direction, Step


class SoftThreshold(StaticMask):
    """Soft-threshold the distance from the original after every update: the soft mask of SalUn.

    Paper: "SalUn: Empowering Machine Unlearning via Gradient-Based Weight Saliency" (Fan et al., ICLR 2024), its soft
    variant: min L(θ) + β ‖θ − θ₀‖₁ by proximal gradient steps.

    Formula: θ ← θ₀ + sign(δ) max(|δ| − τ_t, 0), δ = θ⁺ − θ₀, θ⁺ the weights after the update and τ_t the k-th smallest
    |δ_i| of all P weights, k = ⌊p (1 − (t + 1)/T) P⌋, t the update from 0 of T. So the share p (1 − (t + 1)/T) of the
    weights is the original's, to the bit, and it fades to none.

    Args:
        fraction: p in [0, 1]. Default .5 (SalUn's, for its hard mask and, in its code for diffusion, for this one).

    Raises:
        ConfigError: If the share is out of its range; in the first update, without ``prepare``.

    Examples:
        >>> SoftThreshold(fraction=0.3)
        SoftThreshold(fraction=0.3)

    Differences from the authors' code: progress is counted by updates, where the code for CIFAR counts epochs.
    """

    aliases: ClassVar[tuple[str, ...]] = ("salun_soft", "proximal")
    paper: ClassVar[str] = "SalUn (soft), ICLR 2024"

    def __init__(self, fraction: float = 0.5) -> None:
        super().__init__()
        if not 0 <= fraction <= 1:
            raise ConfigError("a share of weights in [0, 1]", f"{fraction}", "use .5")
        self.fraction = fraction

    def prepare(self, original: Predictor, data: Split) -> None:
        """Keep a copy of the original's weights."""
        self.set_mask(p.detach().clone() for p in original.model.parameters() if p.requires_grad)

    def compute(self, displacement: Direction, step: Step) -> Direction:
        """Let everything pass; ``settle`` does the work."""
        super().compute(displacement, step)
        return Direction(torch.ones_like(piece, dtype=torch.bool) for piece in displacement)

    def after_step(self, weights: Sequence[Tensor], step: Step) -> None:
        """Draw the weights back to the original's."""
        originals = self.get_mask_like(weights)
        gaps = [weight - start for weight, start in zip(weights, originals, strict=True)]
        size = sum(gap.numel() for gap in gaps)
        count = int(self.fraction * (1 - (step.progress.step + 1) / step.progress.total) * size)
        if count < 1:
            return
        threshold = kth_smallest([gap.abs() for gap in gaps], count)
        for weight, start, gap in zip(weights, originals, gaps, strict=True):
            near = gap.abs() <= threshold
            weight.copy_(torch.where(near, start, start + gap - gap.sign() * threshold))

    def __repr__(self) -> str:
        """Return the call that rebuilds the mask."""
        return f"SoftThreshold(fraction={self.fraction})"
