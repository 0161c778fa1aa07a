"""AnchorPreservation: let the prompts to be kept be seen as the original saw them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.objectives.objective import Model
from expunge.objectives.teacher import Teacher, validate_teacher
from expunge.tasks.stable_diffusion.objectives.prompt_objective import PromptObjective


class AnchorPreservation(PromptObjective):
    """Predict for the prompts to be kept what the original predicts (SPM).

    Paper: "One-Dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing Applications" (SPM; Lyu et
    al., CVPR 2024, arXiv 2312.16145), its latent anchoring.

    Formula: mean over examples of ‖ε(x_t, t, c) − ε₀(x_t, t, c)‖² / d, x_t noised latents of retained images, c their
    prompt, ε₀ the original's prediction. It is 0 at the start.

    Raises:
        ObjectiveError: When drawing, without ``prepare``.

    Examples:
        >>> AnchorPreservation()
        AnchorPreservation()

    Differences from the authors' code: the prompts are the given ones; theirs are drawn around random words, nearer to
    the concept more often.
    """

    aliases: ClassVar[tuple[str, ...]] = ("spm_anchor",)
    paper: ClassVar[str] = "SPM, arXiv 2312.16145"

    def __init__(self) -> None:
        self.teacher: Teacher | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Keep a frozen copy of the original."""
        super().prepare(original, data)
        self.teacher = Teacher(original)

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch with ``target``, the original's prediction."""
        noisy = super().sample(batch, epoch, generator)
        return noisy.with_extras(target=validate_teacher(self.teacher)(noisy))

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return the original's prediction."""
        return batch.extras["target"]
