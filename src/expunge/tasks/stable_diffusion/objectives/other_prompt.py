"""OtherPrompt: let a forgotten prompt be what its anchor is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.objectives.objective import Model
from expunge.objectives.teacher import Teacher, validate_teacher
from expunge.tasks.diffusion.objectives.noise_objective import predict_noise_for
from expunge.tasks.stable_diffusion.objectives.prompt_objective import PromptObjective


class OtherPrompt(PromptObjective):
    """Predict for a forgotten prompt the noise that the model predicts for its anchor: pseudo-prompt matching.

    Paper: SalUn (Fan et al., ICLR 2024) and EUPMU (arXiv 2510.22124) for Stable Diffusion.

    Formula: mean over examples of ‖ε(x_t, t, c) − sg ε(x_t, t, c′)‖² / d, x_t noised latents of forgotten images, c
    their prompt, c′ its anchor, sg held constant in differentiation.

    Args:
        frozen: ε(x_t, t, c′) is the original's instead of the present model's. Default false (authors).

    Raises:
        ObjectiveError: In ``prepare``, if a forgotten prompt has no anchor; when drawing, without ``prepare``.
        ModelError: In ``prepare``, if the model has no table of prompts.

    Examples:
        >>> OtherPrompt(frozen=True)
        OtherPrompt(frozen=True)
    """

    aliases: ClassVar[tuple[str, ...]] = ("pseudo_prompt",)
    paper: ClassVar[str] = "SalUn, ICLR 2024; arXiv 2510.22124"

    def __init__(self, frozen: bool = False) -> None:
        self.frozen = frozen
        self.teacher: Teacher | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Look up the anchors, and keep a frozen copy of the original where it is asked for."""
        super().prepare(original, data)
        self.check_anchors(data)
        self.teacher = Teacher(original) if self.frozen else None

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch with ``others``, the anchors (n,), and the frozen target if that is wanted."""
        noisy = super().sample(batch, epoch, generator)
        noisy = noisy.with_extras(others=self.get_anchors(noisy.targets))
        if not self.frozen:
            return noisy
        return noisy.with_extras(
            target=predict_noise_for(validate_teacher(self.teacher).predict, noisy, noisy.extras["others"])
        )

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return what is predicted for the anchor."""
        return batch.extras["target"] if self.frozen else predict_noise_for(model, batch, batch.extras["others"])
