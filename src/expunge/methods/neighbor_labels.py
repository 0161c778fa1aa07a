"""Neighbor labels: the labels of retained neighbors, under a controller of the whole run's utility loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge import objectives
from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy
from expunge.surgery import PIController


@dataclass(frozen=True, kw_only=True)
class NeighborLabels(Method):
    """Train D_f on what its retained neighbors vote for; a controller holds L_r(θ) ≤ L_r(θ₀) + τ over the whole run.

    The composition is ours [ours], meant for single examples of classes that stay: the votes know which of them a
    retrained model would get wrong. For whole classes use ``random_labels_with_budget``.

    Formula: θ ← θ − η (∇L_f + λ∇L_r)/(1 + λ), L_f of ``expunge.objectives.NeighborLabel``, λ from the estimated
    rise of L_r; see ``expunge.surgery.PIController``.

    Args:
        tolerance: τ ≥ 0, how far the mean retain loss may rise in all (nats). Default .05.
        min_multiplier: λ_min in [0, 1], the weight that the retain loss keeps while there is room. Default .3, a
            precaution: a budget is measured on held-out examples and does not see what retained ones lose. On digits
            these lost nothing with 0, .3 and 1 (docs/research/gains.md).
        layer: Dotted name of the module whose features are compared. Default: chosen on held-out examples.
        num_neighbors: How many vote. Default: chosen.
        temperature: How sharply they vote. Default: chosen.

    Examples:
        >>> NeighborLabels(tolerance=0.125).recipe().stages[0].surgery.tolerance
        tensor(0.1250)
    """

    paper: ClassVar[str] = "ours"
    label: ClassVar[str] = "Neighbor labels"

    tolerance: float = 0.05
    min_multiplier: float = 0.3
    layer: str | None = None
    num_neighbors: int | None = None
    temperature: float | None = None

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one controlled descent."""
        votes = objectives.NeighborLabel(self.layer, self.num_neighbors, self.temperature)
        return self.make_recipe(votes, CrossEntropy(), PIController(self.tolerance, min_multiplier=self.min_multiplier))
