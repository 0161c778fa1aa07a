"""NegativeGuidance: let the forgotten class point away from what it was."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model
from expunge.objectives.teacher import Teacher, validate_teacher
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective, predict_noise_for


class NegativeGuidance(NoiseObjective):
    """Predict for the forgotten class what the original would under guidance away from it (ESD).

    Paper: "Erasing Concepts from Diffusion Models" (ESD; Gandikota et al., ICCV 2023, arXiv 2303.07345), here for
    classes instead of prompts.

    Formula: mean over examples of ‖ε(x_t, t, c) − [ε₀(x_t, t, ∅) − η (ε₀(x_t, t, c) − ε₀(x_t, t, ∅))]‖² / d, ε₀ the
    original's prediction, ∅ the null class.

    Args:
        strength: η ≥ 0. Default 1 (authors).

    Raises:
        ObjectiveError: If the strength is negative; when drawing, without ``prepare``.
        ModelError: When drawing, if the model has no null class.

    Examples:
        >>> NegativeGuidance(strength=0.5)
        NegativeGuidance(strength=0.5)

    Differences from the authors' code: x_t are noised forgotten images; the authors, who have prompts and no images,
    sample them from the model.
    """

    aliases: ClassVar[tuple[str, ...]] = ("esd",)
    paper: ClassVar[str] = "ESD, arXiv 2303.07345"

    def __init__(self, strength: float = 1.0) -> None:
        if not strength >= 0:
            raise ObjectiveError("a strength ≥ 0", f"{strength}", "use 1")
        self.strength = strength
        self.teacher: Teacher | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Keep a frozen copy of the original."""
        super().prepare(original, data)
        self.teacher = Teacher(original)

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch with ``target``, the original's prediction under negative guidance."""
        noisy, teacher = super().sample(batch, epoch, generator), validate_teacher(self.teacher)
        neutral_noise = predict_noise_for(teacher.predict, noisy, self.neutral_labels(noisy.targets))
        return noisy.with_extras(target=neutral_noise - self.strength * (teacher(noisy) - neutral_noise))

    def neutral_labels(self, labels: Tensor) -> Tensor:
        """Return for each label the one that guidance starts from: the null class."""
        return self.forward_process.null_labels(labels)

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return the original's prediction under negative guidance."""
        return batch.extras["target"]
