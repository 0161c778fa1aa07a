"""BS: shrink the region of what is forgotten into its neighbors'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, NearestWrongLabel
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class BoundaryShrink(Method):
    """Train D_f alone towards the labels beyond its nearest decision boundaries (BS).

    Paper: "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting the Decision Boundary" (Chen et al.,
    CVPR 2023, arXiv 2303.11570).

    Formula: θ ← θ − η ∇CE_f(ỹ), ỹ the nearest wrong label, see ``expunge.objectives.NearestWrongLabel``; an epoch is
    one pass over D_f. Nothing protects the retain loss. The paper forgets whole classes; others apply it to any D_f.

    Args:
        bound: b > 0. Default .1 (authors).
        epochs: Default 10 (this and the following: authors).
        lr: Default 1e-5.
        weight_decay: Default 0.
        max_grad_norm: Default none.

    Raises:
        ObjectiveError: When carried out, if the inputs are not tensors of real numbers.

    Examples:
        >>> BoundaryShrink().recipe().stages[0].objectives.forget
        NearestWrongLabel(bound=0.1)

    Differences from the authors' code: see the objective.
    """

    aliases: ClassVar[tuple[str, ...]] = ("bs",)
    paper: ClassVar[str] = "Chen et al., CVPR 2023"
    label: ClassVar[str] = "BS"

    bound: float = 0.1
    epochs: int = 10
    lr: float = 1e-5
    weight_decay: float = 0.0
    max_grad_norm: float | None = None

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent on the forget set."""
        return self.make_recipe(NearestWrongLabel(self.bound), CrossEntropy(), WeightedSum(1.0, 0.0), pairing="forget")
