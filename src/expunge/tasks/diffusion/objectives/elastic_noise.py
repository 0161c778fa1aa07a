"""ElasticNoise: noise matching, with weights held where they matter to it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.data import Subset
from expunge.errors import ObjectiveError
from expunge.masks.fisher_ratio import fisher_diagonal
from expunge.objectives.objective import Model
from expunge.surgery import Direction
from expunge.tasks.diffusion.objectives.noise_matching import NoiseMatching


class ElasticNoise(NoiseMatching):
    """Noise matching with elastic weight consolidation: the retain half of Selective Amnesia.

    Paper: "Selective Amnesia: A Continual Learning Approach to Forgetting in Deep Generative Models" (Heng and Soh,
    NeurIPS 2023, arXiv 2305.10120); the penalty is that of Kirkpatrick et al. (2017).

    Formula: L_r + λ/2 Σ_i F_i (θ_i − θ₀_i)², L_r as in ``NoiseMatching``, θ₀ the original's weights, F the diagonal of
    the Fisher information of its noise-matching loss on retained images, see ``expunge.masks.fisher_ratio``.

    Args:
        strength: λ ≥ 0. Default 10 (authors, CIFAR-10).
        samples: Retained images of which F is computed, one backward pass each. Default 256.
        drop: See ``NoiseMatching``. Default .1.

    Raises:
        ObjectiveError: If a setting is out of its range; when called, without ``prepare``.

    Examples:
        >>> ElasticNoise(strength=5.0)
        ElasticNoise(strength=5.0, samples=256, drop=0.1)

    Differences from the authors' code: images of the other classes are the given ones, there the model's own samples;
    the loss is a mean over the numbers of an image, there a sum, so that λ is not comparable (reconstruction).
    """

    aliases: ClassVar[tuple[str, ...]] = ("ewc",)
    paper: ClassVar[str] = "Selective Amnesia, arXiv 2305.10120"
    reads_weights: ClassVar[bool] = True

    def __init__(self, strength: float = 10.0, samples: int = 256, drop: float = 0.1) -> None:
        super().__init__(drop)
        if not strength >= 0 or samples < 1:
            raise ObjectiveError("a strength ≥ 0 and samples ≥ 1", f"{strength} and {samples}", "change them")
        self.strength, self.samples = strength, samples
        self.weights: list[Tensor] = []

    def prepare(self, original: Predictor, data: Split) -> None:
        """Compute the Fisher information; take note of the weights that will be trained and of where they start."""
        super().prepare(original, data)
        order = torch.randperm(len(data.retain), generator=torch.Generator().manual_seed(0))
        self.fisher: Direction = fisher_diagonal(original, Subset(data.retain, order[: self.samples]))
        self.weights = [weight for weight in original.model.parameters() if weight.requires_grad]
        self.initial_weights = [weight.detach().clone() for weight in self.weights]

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean squared distance plus the penalty."""
        if not self.weights:
            actual = "none, because prepare has not been called"
            raise ObjectiveError("weights to be held", actual, "call prepare(Predictor(model), split) first")
        pieces = zip(self.fisher, self.weights, self.initial_weights, strict=True)
        penalty = torch.stack(
            [(information * (weight - start).square()).sum() for information, weight, start in pieces]
        ).sum()
        return super().__call__(model, batch) + self.strength / 2 * penalty
