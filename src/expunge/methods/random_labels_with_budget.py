"""Budgeted: random labels without the true one, under a controller of the whole run's utility loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import PIController


@dataclass(frozen=True, kw_only=True)
class RandomLabelsWithBudget(Method):
    """Train on wrong labels for D_f; a controller holds L_r(θ) ≤ L_r(θ₀) + τ over the whole run.

    The composition is ours [ours], meant for whole classes: for single examples random labels know nothing of which of
    them a retrained model would still get right.

    Formula: θ ← θ − η (∇L_f + λ∇L_r)/(1 + λ), λ from the estimated rise of L_r; see ``expunge.surgery.PIController``.

    Args:
        tolerance: τ ≥ 0, how far the mean retain loss may rise in all (nats). Default .05.
        min_multiplier: λ_min in [0, 1], the weight that the retain loss keeps while there is room. Default .3, a
            precaution: a budget is measured on held-out examples and does not see what retained ones lose. On digits
            these lost nothing with 0, .3 and 1 under ``neighbor_labels`` (docs/research/gains.md).
        exclude_true: Never draw the true label. Default true.

    Examples:
        >>> RandomLabelsWithBudget(tolerance=0.125).recipe().stages[0].surgery.tolerance
        tensor(0.1250)
    """

    aliases: ClassVar[tuple[str, ...]] = ("cumulative",)
    paper: ClassVar[str] = "ours"
    label: ClassVar[str] = "Budgeted"

    tolerance: float = 0.05
    min_multiplier: float = 0.3
    exclude_true: bool = True

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one controlled descent."""
        return self.make_recipe(
            RandomLabel(self.exclude_true, seed),
            CrossEntropy(),
            PIController(self.tolerance, min_multiplier=self.min_multiplier),
        )
