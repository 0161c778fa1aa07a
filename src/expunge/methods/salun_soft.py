"""SalUn-soft: random labels, with most weights drawn back to the original's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe
from expunge.masks import SoftThreshold
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import UnionMean


@dataclass(frozen=True, kw_only=True)
class SalUnSoft(Method):
    """Train on random labels for D_f, the weights drawn back to the original's (SalUn-soft).

    Paper: "SalUn: Empowering Machine Unlearning via Gradient-Based Weight Saliency" (Fan et al., ICLR 2024), its soft
    variant.

    Formula: optimizer's steps on the mean cross entropy over the shuffled union of D_f with random labels and D_r, each
    followed by the thresholding of ``expunge.masks.SoftThreshold``.

    Args:
        fraction: p in [0, 1]. Default .5.
        exclude_true: Never draw the true label. Default false.

    Examples:
        >>> SalUnSoft(fraction=0.3).recipe().stages[0].mask
        SoftThreshold(fraction=0.3)

    Differences from the authors' code: the weights are drawn back to the original's, as the formula says, there to
    those at the start of each epoch; random labels are drawn once an epoch by (seed, epoch, example); progress is
    counted by updates.
    """

    name: ClassVar[str] = "salun_soft"
    aliases: ClassVar[tuple[str, ...]] = ("rl_proximal",)
    paper: ClassVar[str] = "Fan et al., ICLR 2024, soft variant"
    label: ClassVar[str] = "SalUn-soft"

    fraction: float = 0.5
    exclude_true: bool = False

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent with proximal steps."""
        objective = RandomLabel(self.exclude_true, seed)
        return self.make_recipe(
            objective, CrossEntropy(), UnionMean(), pairing="mixed", mask=SoftThreshold(self.fraction)
        )
