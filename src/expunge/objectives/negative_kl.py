"""NegativeKL: move away from what the original predicts."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from expunge.batch import Batch
from expunge.objectives.distillation import Distillation, kl_divergence
from expunge.objectives.objective import Model


class NegativeKL(Distillation):
    """Predict anything but what the original predicts: the max step of SCRUB.

    Paper: "Towards Unbounded Machine Unlearning" (Kurmanji et al., NeurIPS 2023, arXiv 2302.09880).

    Formula: mean over examples of −τ² KL(p₀(x; τ) ‖ p(x; τ)), see ``Distillation``. It is 0 at the original, with
    slope 0 there, and unbounded below.

    Args:
        temperature: τ > 0. Default 4 (authors, CIFAR-10).

    Examples:
        >>> NegativeKL()
        NegativeKL(temperature=4.0)

    Differences from the authors' code: none known. The very first update has no slope; it is the min steps, the
    momentum and the batch statistics in training mode that leave the original.
    """

    aliases: ClassVar[tuple[str, ...]] = ("anti_distil", "disobey")
    paper: ClassVar[str] = "SCRUB, arXiv 2302.09880"
    can_be_negative: ClassVar[bool] = True

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__(temperature)

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return minus the mean divergence."""
        return -kl_divergence(batch.extras["teacher"], model(batch.inputs), self.temperature)
