"""ESD: negative guidance away from the forgotten class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe, Pairing
from expunge.methods.method import Method
from expunge.surgery import WeightedSum
from expunge.tasks.diffusion.objectives import NegativeGuidance, NoiseMatching


@dataclass(frozen=True, kw_only=True)
class ESD(Method):
    """Fine-tune the forgotten class away from itself, guided by the original (ESD).

    Paper: "Erasing Concepts from Diffusion Models" (Gandikota et al., ICCV 2023, arXiv 2303.07345).

    Formula: θ ← θ − η (∇L_f + w ∇L_r), L_f negative guidance, see ``NegativeGuidance``, L_r noise matching.

    Args:
        strength: Of the guidance, ≥ 0. Default 1 (authors).
        retain_weight: w ≥ 0. Default 1. The authors have no retain loss: 0.

    Examples:
        >>> ESD(retain_weight=0.0).recipe().stages[0].pairing
        'forget'

    Differences from the authors' code: see the objective; a retain loss by default, as every class shares all weights
    here, while the authors train the cross-attention to the prompt.
    """

    name: ClassVar[str] = "esd"
    aliases: ClassVar[tuple[str, ...]] = ("negative_guidance",)
    paper: ClassVar[str] = "arXiv 2303.07345"
    label: ClassVar[str] = "ESD"
    task: ClassVar[str | None] = "diffusion"

    strength: float = 1.0
    retain_weight: float = 1.0

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent."""
        surgery = WeightedSum(1.0, self.retain_weight)
        mode: Pairing = "paired" if self.retain_weight else "forget"
        return self.make_recipe(NegativeGuidance(self.strength), NoiseMatching(), surgery, mode)
