"""GA: climb the loss of the forgotten examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, NegativeCrossEntropy
from expunge.surgery import WeightedSum


@dataclass(frozen=True, kw_only=True)
class GradientAscent(Method):
    """Ascend the cross entropy on the forget set D_f alone (GA).

    Paper: gradient ascent (GA) of Graves et al. (2021) and Thudi et al. (2022).

    Formula: θ ← θ + η ∇CE_f(θ); an epoch is one pass over D_f. Nothing protects the retain loss.

    Args:
        lr: Learning rate. Default 1e-4, as ascent diverges at rates that suit descent.

    Examples:
        >>> GradientAscent().recipe().stages[0].pairing
        'forget'

    Differences from public code: the gradient is clipped.
    """

    aliases: ClassVar[tuple[str, ...]] = ("ga",)
    paper: ClassVar[str] = "Graves et al. 2021; Thudi et al. 2022"
    label: ClassVar[str] = "GA"

    lr: float = 1e-4

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent on minus the forget loss."""
        return self.make_recipe(NegativeCrossEntropy(), CrossEntropy(), WeightedSum(1.0, 0.0), pairing="forget")
