"""Selective Amnesia: a surrogate for the forgotten class, elastic weights for the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.surgery import WeightedSum
from expunge.tasks.diffusion.objectives import ElasticNoise, SurrogateNoise


@dataclass(frozen=True, kw_only=True)
class SelectiveAmnesia(Method):
    """Train the forgotten class towards meaningless images, weights held where others need them (SA).

    Paper: "Selective Amnesia: A Continual Learning Approach to Forgetting in Deep Generative Models" (Heng and Soh,
    NeurIPS 2023, arXiv 2305.10120).

    Formula: θ ← θ − η ∇(L_f + L_r + λ/2 Σ_i F_i (θ_i − θ₀_i)²), see ``SurrogateNoise`` and ``ElasticNoise``.

    Args:
        strength: λ ≥ 0. Default 10.
        samples: Retained images of which F is computed. Default 256.

    Examples:
        >>> SelectiveAmnesia(strength=5.0).recipe().stages[0].objectives.forget
        SurrogateNoise()

    Differences from the authors' code: see the objectives.
    """

    aliases: ClassVar[tuple[str, ...]] = ("sa",)
    paper: ClassVar[str] = "arXiv 2305.10120"
    label: ClassVar[str] = "SA"
    task: ClassVar[str | None] = "diffusion"

    strength: float = 10.0
    samples: int = 256

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent."""
        return self.make_recipe(SurrogateNoise(), ElasticNoise(self.strength, self.samples), WeightedSum(1.0, 1.0))
