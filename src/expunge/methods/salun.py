"""SalUn: random labels, moving only the weights that matter to the forgotten examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.masks import Saliency
from expunge.methods.random_labels import RandomLabels
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class SalUn(RandomLabels):
    """Train on random labels (RL) and move only the weights that matter most to the forget set (SalUn).

    Paper: "SalUn: Empowering Machine Unlearning via Gradient-Based Weight Saliency" (Fan et al., ICLR 2024).

    Formula: θ ← θ + m ⊙ (θ⁺ − θ), θ⁺ the optimizer's step on w CE_f(ỹ) + CE_r, m the weights with the largest share
    p of |∇CE_f(θ₀)|.

    Args:
        mask_fraction: p in (0, 1]. Default .5 (authors).

    Examples:
        >>> SalUn(mask_fraction=0.3).recipe().stages[0].mask
        Saliency(fraction=0.3)

    Differences from the authors' code: weight decay and momentum cannot move masked weights (theirs until 2026-02); D_f
    and D_r are met in pairs of batches, as in ``RandomLabels``.
    """

    name: ClassVar[str] = "salun"
    aliases: ClassVar[tuple[str, ...]] = ("saliency_unlearning",)
    paper: ClassVar[str] = "Fan et al., ICLR 2024"
    label: ClassVar[str] = "SalUn"

    mask_fraction: float = 0.5

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one masked descent on the sum."""
        objective = RandomLabel(self.exclude_true, seed)
        return self.make_recipe(
            objective, CrossEntropy(), WeightedSum(self.weight, 1.0), mask=Saliency(self.mask_fraction)
        )
