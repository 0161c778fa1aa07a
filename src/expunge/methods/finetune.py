"""FT: go on training on the retain set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class FineTune(Method):
    """Fine-tune on the retain set D_r alone and trust that the rest is forgotten (FT).

    Paper: the fine-tuning baseline (FT) of Golatkar et al. (2020) and Warnecke et al. (2021).

    Formula: θ ← θ − η ∇L_r(θ), L_r the cross entropy on D_r; an epoch is one pass over D_r.

    Examples:
        >>> FineTune().recipe().stages[0].pairing
        'retain'

    Differences from public code: the gradient is clipped; statistics are the run's policy's, there each batch's.
    """

    aliases: ClassVar[tuple[str, ...]] = ("ft",)
    paper: ClassVar[str] = "Warnecke et al. 2021"
    label: ClassVar[str] = "FT"

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent on the retain loss."""
        return self.make_recipe(CrossEntropy(), CrossEntropy(), WeightedSum(0.0, 1.0), pairing="retain")
