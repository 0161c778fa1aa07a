"""The base of the objectives of diffusion models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model, Objective
from expunge.tasks.diffusion.noising import Noising, noising_of


class NoiseObjective(Objective, ABC):
    """A mean over examples of ‖ε* − ε(x_t, t, c)‖² / d, d the numbers of an image; which ε* is the objective's.

    Timesteps (antithetic), noise and labels are drawn into the batch: ``draw`` turns images into the network's inputs.
    """

    task: ClassVar[str] = "diffusion"
    forward: Noising | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Take note of the noise schedule."""
        self.forward = noising_of(original.model)

    @property
    def noising(self) -> Noising:
        """The forward process.

        Raises:
            ObjectiveError: Before ``prepare``.
        """
        if self.forward is None:
            found = "none, because prepare has not been called"
            raise ObjectiveError("a noise schedule", found, "call prepare(Predictor(model), split) first")
        return self.forward

    def draw(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch."""
        return self.noising.noised(batch, generator)

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean squared distance of the prediction from its target."""
        # The target first: a pass without gradients holds least while no activations are kept for the other.
        target = self.target(model, batch)
        gap = model(batch.inputs) - target
        return (gap.float() if gap.dtype.itemsize < 4 else gap).square().mean()

    @abstractmethod
    def target(self, model: Model, batch: Batch) -> Tensor:
        """Return ε*, ``(n, channels, height, width)``, a constant in differentiation."""


def noise_elsewhere(model: Model, batch: Batch, labels: Tensor) -> Tensor:
    """Return the noise that a model predicts in a noised batch under other labels, a constant in differentiation."""
    with torch.no_grad():
        return model({**batch.inputs, "class_labels": labels})
