"""NoiseMatching: predict the noise in images of a class, as in training."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from expunge.batch import Batch
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective


class NoiseMatching(NoiseObjective):
    """Predict the noise in images of their own class: the retain loss, and the loss of training.

    Paper: "Denoising Diffusion Probabilistic Models" (Ho et al., NeurIPS 2020, arXiv 2006.11239), with labels dropped
    as in "Classifier-Free Diffusion Guidance" (Ho and Salimans, 2022, arXiv 2207.12598).

    Formula: mean over examples of ‖ε − ε(x_t, t, c)‖² / d, x_t = √ᾱ_t x + √(1 − ᾱ_t) ε, t antithetic, c the class, or
    for a share of the examples the null class.

    Args:
        drop: Share of labels that are dropped, in [0, 1); none where the model has no null class. Default .1, usual
            in training: what is unlearned should keep its guidance too.

    Raises:
        ObjectiveError: If the share is out of its range; when drawing, without ``prepare``.

    Examples:
        >>> NoiseMatching(drop=0.0)
        NoiseMatching(drop=0.0)
    """

    aliases: ClassVar[tuple[str, ...]] = ("denoising",)
    paper: ClassVar[str] = "arXiv 2006.11239"

    def __init__(self, drop: float = 0.1) -> None:
        if not 0 <= drop < 1:
            raise ObjectiveError("a share of labels in [0, 1)", f"{drop}", "use .1, or 0 to drop none")
        self.drop = drop

    def sample(self, batch: Batch, epoch: int, generator: torch.Generator) -> Batch:
        """Return the noised batch, some labels dropped."""
        labels = self.forward_process.drop_labels(batch, self.drop, generator)
        return self.forward_process.add_noise(batch, generator, labels=labels)

    def compute_target(self, model: Model, batch: Batch) -> Tensor:
        """Return the noise that was mixed in."""
        return batch.extras["noise"]
