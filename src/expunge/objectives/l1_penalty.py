"""L1Penalty: cross entropy with a penalty on the sum of all weights' magnitudes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.cross_entropy import CrossEntropy
from expunge.objectives.objective import Model


class L1Penalty(CrossEntropy):
    """Keep the labels with few weights: the objective of l1-sparse unlearning.

    Paper: "Model Sparsity Can Simplify Machine Unlearning" (Jia et al., NeurIPS 2023, arXiv 2304.04934).

    Formula: mean over examples of −log p_y(x), plus γ_t ‖θ‖₁ with γ_t = γ max(0, 1 − t/T), t the epoch from 0, T the
    epochs over which the penalty fades, θ all trainable weights.

    Args:
        strength: γ ≥ 0. Default 1e-4, which independent users of the authors' code take on CIFAR-10.
        epochs: T; 0 keeps γ_t = γ. Default 0.

    Raises:
        ObjectiveError: If a setting is negative; when called, without ``prepare``.

    Examples:
        >>> L1Penalty(strength=5e-4, epochs=10)
        L1Penalty(strength=0.0005, epochs=10)

    Differences from the authors' code: none known. As there, no weight becomes exactly 0, because the penalty is
    descended by its sub-gradient.
    """

    aliases: ClassVar[tuple[str, ...]] = ("l1", "sparse")
    paper: ClassVar[str] = "l1-sparse, arXiv 2304.04934"
    reads_weights: ClassVar[bool] = True

    def __init__(self, strength: float = 1e-4, epochs: int = 0) -> None:
        if min(strength, epochs) < 0:
            raise ObjectiveError("a strength and epochs ≥ 0", f"{strength} and {epochs}", "change the negative one")
        self.strength, self.epochs = strength, epochs
        self.weights: list[Tensor] = []

    def prepare(self, original: Predictor, data: Split) -> None:
        """Take note of the weights that will be trained: the model's own, not a copy."""
        self.weights = [parameter for parameter in original.model.parameters() if parameter.requires_grad]

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the batch with ``strength``, γ_t once for each example."""
        factor = max(0.0, 1.0 - epoch / self.epochs) if self.epochs else 1.0
        return batch.with_extras(
            strength=torch.full((len(batch),), self.strength * factor, device=batch.targets.device)
        )

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean cross entropy plus the penalty."""
        if not self.weights:
            actual = "none, because prepare has not been called"
            raise ObjectiveError("weights to be penalized", actual, "call prepare(Predictor(model), split) first")
        size = torch.stack([weight.abs().sum() for weight in self.weights]).sum()
        return super().__call__(model, batch) + batch.extras["strength"].mean() * size
