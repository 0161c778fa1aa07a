"""LUR: learning to unlearn while retaining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from expunge.engine import Recipe
from expunge.methods.method import Method
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.surgery import Lookahead


@dataclass(frozen=True, kw_only=True)
class LUR(Method):
    """Train on random labels for D_f, judged after a virtual step of retention (LUR).

    Paper: "Learning to Unlearn while Retaining" (arXiv 2503.06339, ICCV 2025).

    Formula: θ ← θ − η ∇J, J(θ) = L_r(θ) + λ L_f(θ − α ∇L_r(θ)); see ``expunge.surgery.Lookahead``.

    Args:
        alpha: α > 0. Default .1.
        weight: λ > 0. Default 1.
        mode: ``lookahead`` (default), ``exact`` or ``first_order``.
        inner: ``retain`` (default) or ``forget``.
        exclude_true: Never draw the true label. Default false.

    Examples:
        >>> LUR(alpha=0.2).recipe().stages[0].surgery
        Lookahead(alpha=0.2, weight=1.0, mode='lookahead', inner='retain')

    Differences from the paper: no re-initialising warm start.
    """

    aliases: ClassVar[tuple[str, ...]] = ("lookahead",)
    paper: ClassVar[str] = "arXiv 2503.06339"
    label: ClassVar[str] = "LUR"

    alpha: float = 0.1
    weight: float = 1.0
    mode: Literal["lookahead", "exact", "first_order"] = "lookahead"
    inner: Literal["forget", "retain"] = "retain"
    exclude_true: bool = False

    def recipe(self, seed: int = 0) -> Recipe:
        """Return one descent by lookahead."""
        surgery = Lookahead(self.alpha, self.weight, self.mode, self.inner)
        return self.descend(RandomLabel(self.exclude_true, seed), CrossEntropy(), surgery)
