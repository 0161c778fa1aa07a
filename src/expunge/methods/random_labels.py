"""RL: random labels for what is forgotten, true ones for what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class RandomLabels(Method):
    """Train on random labels for the forget set D_f and on the true ones for the retain set D_r (RL).

    Paper: random labeling (RL), Golatkar et al. (2020).

    Formula: θ ← θ − η (w ∇CE_f(ỹ) + ∇CE_r), ỹ uniform over all classes and redrawn every epoch.

    Args:
        weight: w > 0. Default 1.
        exclude_true: Never draw the true label. Default false.

    Examples:
        >>> RandomLabels().recipe().stages[0].objectives.forget
        RandomLabel(exclude_true=False, seed=0)

    Differences from public code: both halves have a batch of their own at every update, where public code trains on
    D_f and then on D_r, or on a shuffle of both. With equal batches D_f is passed n_r/n_f times in an epoch, and each
    side has weight 1 in place of its share; a smaller ``forget_batch_size`` brings both nearer to public code.
    """

    aliases: ClassVar[tuple[str, ...]] = ("rl",)
    paper: ClassVar[str] = "Golatkar et al. 2020"
    label: ClassVar[str] = "RL"

    weight: float = 1.0
    exclude_true: bool = False

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent on the sum."""
        return self.make_recipe(RandomLabel(self.exclude_true, seed), CrossEntropy(), WeightedSum(self.weight, 1.0))
