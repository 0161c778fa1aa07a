"""NegGrad+: descend on what is kept, ascend on what is forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, NegativeCrossEntropy
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class NegGradPlus(Method):
    """Descend the cross entropy on D_r and ascend, with a small weight, that on D_f (NegGrad+).

    Paper: NegGrad+ in "Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023).

    Formula: θ ← θ − η (∇CE_r − w ∇CE_f), an epoch is one pass over D_r. The paper writes a·CE_r − (1 − a)·CE_f:
    w = (1 − a)/a and the learning rate times a.

    Args:
        weight: w ≥ 0. Default .05, a = .95, the lower end of the authors' search.

    Examples:
        >>> NegGradPlus(weight=0.1).recipe().stages[0].surgery
        WeightedSum(forget_weight=0.1, retain_weight=1.0)

    Differences from public code: the forget set is reshuffled for each pass, there the batches of the first pass come
    again; the gradient is clipped.
    """

    name: ClassVar[str] = "neggrad_plus"
    aliases: ClassVar[tuple[str, ...]] = ("neggrad+",)
    paper: ClassVar[str] = "Kurmanji et al. 2023"
    label: ClassVar[str] = "NegGrad+"

    weight: float = 0.05

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent on the difference."""
        return self.make_recipe(NegativeCrossEntropy(), CrossEntropy(), WeightedSum(self.weight, 1.0))
