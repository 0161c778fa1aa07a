"""Explicit unilateral surgery: project the forget gradient at every update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import Projection


@dataclass(frozen=True, kw_only=True)
class ProjectedRandomLabels(Method):
    """Train on random labels for D_f, each update projected so that the retain loss of its batch does not rise.

    Paper: the explicit form in EUPMU (arXiv 2510.22124).

    Formula: d = g_f + max(0, (−⟨g_f, g_r⟩ − ε)/‖g_r‖²)·g_r; see ``expunge.surgery.Projection``.

    Args:
        tolerance: ε ≥ 0. Default 0.
        exclude_true: Never draw the true label. Default false.

    Examples:
        >>> ProjectedRandomLabels(tolerance=0.1).recipe().stages[0].surgery
        Projection(tolerance=0.10000000149011612)

    Differences from the authors' code (method key ``igs``): both halves have batches of their own and weigh the same,
    there each gradient has the weight of its side's share of a mixed batch; as its surgery says.
    """

    aliases: ClassVar[tuple[str, ...]] = ("explicit", "unilateral")
    paper: ClassVar[str] = "arXiv 2510.22124, explicit form"
    label: ClassVar[str] = "Explicit"

    tolerance: float = 0.0
    exclude_true: bool = False

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one projected descent."""
        return self.make_recipe(RandomLabel(self.exclude_true, seed), CrossEntropy(), Projection(self.tolerance))
