"""ConceptErasure: let a forgotten prompt point away from what it was, starting at its anchor."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from expunge.batch import Predictor, Split
from expunge.tasks.diffusion.objectives import NegativeGuidance
from expunge.tasks.stable_diffusion.objectives.prompt_objective import PromptObjective


class ConceptErasure(PromptObjective, NegativeGuidance):
    """Predict for a forgotten prompt what the original would for its anchor under guidance away from the prompt (SPM).

    Paper: "One-Dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing Applications" (SPM; Lyu et
    al., CVPR 2024, arXiv 2312.16145), its erasing loss.

    Formula: mean over examples of ‖ε(x_t, t, c) − [ε₀(x_t, t, c′) − s (ε₀(x_t, t, c) − ε₀(x_t, t, c′))]‖² / d, x_t
    noised latents of forgotten images, c their prompt, c′ its anchor, ε₀ the original's prediction. With the null
    prompt as the anchor it is ``NegativeGuidance``.

    Args:
        strength: s ≥ 0. Default 1 (authors); 0 is ``OtherPrompt(frozen=True)``. EUPMU's authors have 2 for a style or
            an instance, on adapters of rank 1 and with ``anchor_preservation`` on the retain side, under their dual on
            raw losses: ``custom(objective='concept_erasure(strength=2)', retain=anchor_preservation,
            surgery='eupmu_official(form=stable_diffusion, dual_rate=0.3, margin=0.003)')``; that form is inferred.

    Raises:
        ObjectiveError: If the strength is negative; when drawing, without ``prepare``.
        ModelError: In ``prepare``, if the model has no table of prompts.

    Examples:
        >>> ConceptErasure(strength=0.5)
        ConceptErasure(strength=0.5)

    Differences from the authors' code: x_t are noised images of the prompt, theirs are half-way samples of it.
    """

    aliases: ClassVar[tuple[str, ...]] = ("spm_erase",)
    paper: ClassVar[str] = "SPM, arXiv 2312.16145"

    def prepare(self, original: Predictor, data: Split) -> None:
        """Look up the anchors and keep a frozen copy of the original."""
        super().prepare(original, data)
        self.check_anchors(data)

    def neutral_labels(self, labels: Tensor) -> Tensor:
        """Return for each prompt the one that guidance starts from: its anchor."""
        return self.get_anchors(labels)
