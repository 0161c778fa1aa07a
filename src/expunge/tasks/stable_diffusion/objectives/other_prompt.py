"""OtherPrompt: let a forgotten prompt be what its anchor is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model
from expunge.objectives.teacher import Teacher, validate_teacher
from expunge.tasks.diffusion.objectives.noise_objective import predict_noise_for
from expunge.tasks.stable_diffusion.objectives.prompt_objective import PromptObjective


class OtherPrompt(PromptObjective):
    """Predict for a forgotten prompt the noise that the model predicts for its anchor: pseudo-prompt matching.

    Paper: SalUn (Fan et al., ICLR 2024) and EUPMU (arXiv 2510.22124) for Stable Diffusion.

    Formula: w · mean over examples of ‖ε(x_t, t, c) − sg ε(x_t, t, c′)‖² / d, x_t noised latents of forgotten images, c
    their prompt, c′ its anchor, sg held constant in differentiation.

    Args:
        frozen: ε(x_t, t, c′) is the original's instead of the present model's. Default false (authors).
        scale: w > 0. Default 1; EUPMU's authors have 100 for nudity, with the nude images as what is forgotten and "a
            photo of a person wearing clothes" as the anchor. There are no pairs of images: with their surgery it is
            ``custom(objective='other_prompt(scale=100)', mode=mixed, surgery='eupmu_official(form=stable_diffusion,
            dual_rate=10, margin=0.5, retain_scale=0.1)')`` for one epoch.

    Raises:
        ObjectiveError: If the scale is not positive; in ``prepare``, if a forgotten prompt has no anchor; when drawing,
            without ``prepare``.
        ModelError: In ``prepare``, if the model has no table of prompts.

    Examples:
        >>> OtherPrompt(frozen=True)
        OtherPrompt(frozen=True, scale=1.0)

    On images of the anchor (``concept_split(…, pairs=True)``) it is the model-based loss of concept ablation (Kumari et
    al., ICCV 2023, arXiv 2303.13516) without the weight that theirs gives the anchor's own loss.
    """

    aliases: ClassVar[tuple[str, ...]] = ("pseudo_prompt",)
    paper: ClassVar[str] = "SalUn, ICLR 2024; arXiv 2510.22124"

    def __init__(self, frozen: bool = False, scale: float = 1.0) -> None:
        if not scale > 0:
            raise ObjectiveError("a scale > 0", f"{scale}", "use 1")
        self.frozen, self.scale = frozen, scale
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

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the scaled mean squared distance."""
        return self.scale * super().__call__(model, batch)
