"""SurrogateNoise: let the forgotten class be noise."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch
from expunge.objectives.objective import Model
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective


class SurrogateNoise(NoiseObjective):
    """Learn meaningless images for the forgotten class: the surrogate of Selective Amnesia.

    Paper: "Selective Amnesia: A Continual Learning Approach to Forgetting in Deep Generative Models" (Heng and Soh,
    NeurIPS 2023, arXiv 2305.10120).

    Formula: mean over examples of ‖ε − ε(x_t, t, c)‖² / d with x_t = √ᾱ_t q + √(1 − ᾱ_t) ε, q uniform in [−1, 1] in the
    place of the image, drawn once per update.

    Examples:
        >>> SurrogateNoise()
        SurrogateNoise()

    Differences from the authors' code: none known; their other half is ``ElasticNoise``.
    """

    aliases: ClassVar[tuple[str, ...]] = ("surrogate",)
    paper: ClassVar[str] = "Selective Amnesia, arXiv 2305.10120"

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch of noised surrogates."""
        form, kind = batch.inputs.shape[1:], batch.inputs.dtype
        images = 2 * batch.draw_local(lambda count: torch.rand(count, *form, generator=generator, dtype=kind)) - 1
        return self.forward_process.add_noise(batch, generator, images=images.to(batch.inputs.device))

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return the noise that was mixed in."""
        return batch.extras["noise"]
