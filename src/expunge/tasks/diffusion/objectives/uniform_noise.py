"""UniformNoise: predict noise of the wrong distribution for the forgotten class."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch
from expunge.objectives.objective import Model
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective


class UniformNoise(NoiseObjective):
    """Predict for the forgotten class numbers that have nothing to do with the image.

    Paper: "EraseDiff: Erasing Data Influence in Diffusion Models" (Wu et al., 2024, arXiv 2401.05779), its target.

    Formula: mean over examples of ‖u − ε(x_t, t, c)‖² / d, u uniform in [0, 1], drawn once per update.

    Examples:
        >>> UniformNoise()
        UniformNoise()

    Differences from the authors' code: which surgery weighs it against the retain loss is another part's choice.
    """

    aliases: ClassVar[tuple[str, ...]] = ("erasediff",)
    paper: ClassVar[str] = "arXiv 2401.05779"

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch with ``target``, the numbers to be predicted."""
        noisy = super().sample(batch, epoch, generator)
        noise = noisy.extras["noise"]
        form, kind = noise.shape[1:], noise.dtype
        uniform = batch.draw_local(lambda count: torch.rand(count, *form, generator=generator, dtype=kind))
        return noisy.with_extras(target=uniform.to(noise.device))

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return the numbers."""
        return batch.extras["target"]
