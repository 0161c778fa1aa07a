"""EUPMU-fast: implicit gradient surgery without the extra forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import EUPMUFastSurgery


@dataclass(frozen=True, kw_only=True)
class EUPMUFast(Method):
    """Train as EUPMU does; the multiplier learns from the losses of successive batches (EUPMU-fast).

    Paper: "Efficient Utility-Preserving Machine Unlearning with Implicit Gradient Surgery" (arXiv 2510.22124).

    Formula: θ ← θ − η (∇l_f + w ∇l_r)/(1 + w), l a loss times its share of the
    batch; see ``expunge.surgery.EUPMUFastSurgery`` for the rule of w.

    Args:
        margin: Demanded fall of log l_r per update. Default .01 (authors).
        dual_rate: Adam's rate for w. Default 1 (authors).
        exclude_true: Never draw the true label. Default false (authors).

    Examples:
        >>> EUPMUFast().recipe().stages[0].surgery
        EUPMUFastSurgery(margin=0.01, dual_rate=1.0, decay=0.01, initial_multiplier=1.0)

    Differences from the authors' code: the gradient is clipped after the backward pass, theirs before it; as its
    surgery says.
    """

    name: ClassVar[str] = "eupmu_fast"
    aliases: ClassVar[tuple[str, ...]] = ("implicit_fast",)
    paper: ClassVar[str] = "arXiv 2510.22124"
    label: ClassVar[str] = "EUPMU-fast"

    margin: float = 0.01
    dual_rate: float = 1.0
    exclude_true: bool = False

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent under the fast dual's control."""
        surgery = EUPMUFastSurgery(self.margin, self.dual_rate)
        return self.make_recipe(RandomLabel(self.exclude_true, seed), CrossEntropy(), surgery, "mixed")
