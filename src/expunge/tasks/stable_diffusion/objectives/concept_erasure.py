"""ConceptErasure: let a forgotten prompt point away from what it was, starting at its anchor."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model
from expunge.objectives.teacher import Teacher, required
from expunge.tasks.stable_diffusion.objectives.prompt_objective import PromptObjective, noise_elsewhere


class ConceptErasure(PromptObjective):
    """Predict for a forgotten prompt what the original would for its anchor under guidance away from the prompt (SPM).

    Paper: "One-Dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing Applications" (SPM; Lyu et
    al., CVPR 2024, arXiv 2312.16145), its erasing loss.

    Formula: mean over examples of ‖ε(x_t, t, c) − [ε₀(x_t, t, c′) − s (ε₀(x_t, t, c) − ε₀(x_t, t, c′))]‖² / d, x_t
    noised latents of forgotten images, c their prompt, c′ its anchor, ε₀ the original's prediction. With the null
    prompt as the anchor it is ``NegativeGuidance``.

    Args:
        strength: s ≥ 0. Default 1 (authors); 0 is ``OtherPrompt(frozen=True)``.

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

    def __init__(self, strength: float = 1.0) -> None:
        if not strength >= 0:
            raise ObjectiveError("a strength ≥ 0", f"{strength}", "use 1")
        self.strength = strength
        self.teacher: Teacher | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Look up the anchors and keep a frozen copy of the original."""
        super().prepare(original, data)
        self.refuse_without_anchors(data)
        self.teacher = Teacher(original)

    def draw(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch with ``target``, the original's prediction under guidance."""
        noisy, teacher = super().draw(batch, epoch, generator), required(self.teacher)
        asked = teacher(noisy)
        neutral = noise_elsewhere(teacher.predict, noisy, self.anchored(noisy.targets))
        return noisy.with_drawn(target=neutral - self.strength * (asked - neutral))

    def target(self, model: Model, batch: Batch) -> Tensor:
        """Return the original's prediction under guidance."""
        return batch.drawn["target"]
