"""SPM: erase a concept, preserve the anchors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.engine import MethodRecipe, Pairing
from expunge.methods.method import Method
from expunge.surgery import WeightedSum
from expunge.tasks.stable_diffusion.objectives import AnchorPreservation, ConceptErasure


@dataclass(frozen=True, kw_only=True)
class SPM(Method):
    """Let a prompt point away from itself, as the original would guide it, and keep the others as they were (SPM).

    The authors train a rank-1 adapter of all layers: ``model.set_trainable("lora", layers="all")`` beforehand.

    Paper: "One-Dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing Applications" (Lyu et al.,
    CVPR 2024, arXiv 2312.16145).

    Formula: θ ← θ − η (∇L_f + w ∇L_r), L_f as in ``ConceptErasure``, L_r as in ``AnchorPreservation``.

    Args:
        strength: Of the guidance, ≥ 0. Default 1 (authors).
        retain_weight: w ≥ 0. Default 1.

    Examples:
        >>> SPM().recipe().stages[0].objectives
        Pair(forget=ConceptErasure(strength=1.0), retain=AnchorPreservation())

    Differences from the authors' code: see the objectives; the strength of an adapter is one number for all prompts,
    theirs depends on how near a prompt is to the concept.
    """

    name: ClassVar[str] = "spm"
    paper: ClassVar[str] = "arXiv 2312.16145"
    label: ClassVar[str] = "SPM"
    task: ClassVar[str | None] = "stable_diffusion"

    strength: float = 1.0
    retain_weight: float = 1.0

    def recipe(self, seed: int = 0) -> MethodRecipe:
        """Return one descent."""
        mode: Pairing = "paired" if self.retain_weight else "forget"
        surgery = WeightedSum(1.0, self.retain_weight)
        return self.make_recipe(ConceptErasure(self.strength), AnchorPreservation(), surgery, mode)
