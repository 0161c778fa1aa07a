"""The base of the objectives of diffusion models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch, Predictor, Split
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model, Objective
from expunge.tasks.diffusion.forward_process import ForwardProcess, get_forward_process


class NoiseObjective(Objective, ABC):
    """A mean over examples of ‖ε* − ε(x_t, t, c)‖² / d, d the numbers of an image; which ε* is the objective's.

    Timesteps (antithetic), noise and labels are drawn into the batch: ``sample`` turns images into the network's
    inputs.
    """

    task: ClassVar[str] = "diffusion"
    _forward_process: ForwardProcess | None = None

    def prepare(self, original: Predictor, data: Split) -> None:
        """Take note of the noise schedule."""
        self._forward_process = get_forward_process(original.model)

    @property
    def forward_process(self) -> ForwardProcess:
        """The forward process.

        Raises:
            ObjectiveError: Before ``prepare``.
        """
        if self._forward_process is None:
            actual = "none, because prepare has not been called"
            raise ObjectiveError("a noise schedule", actual, "call prepare(Predictor(model), split) first")
        return self._forward_process

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch."""
        return self.forward_process.add_noise(batch, generator)

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean squared distance of the prediction from its target."""
        # The target first: a pass without gradients holds least while no activations are kept for the other.
        target = self.compute_target(model, batch)
        gap = model(batch.inputs) - target
        return (gap.float() if gap.dtype.itemsize < 4 else gap).square().mean()

    @abstractmethod
    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return ε*, ``(n, channels, height, width)``, a constant in differentiation."""


def predict_noise_for(model: Model, batch: Batch, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return model({**batch.inputs, "class_labels": labels})
