"""NegativeCrossEntropy: climb the loss that training descended."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from expunge.batch import Batch
from expunge.objectives.cross_entropy import CrossEntropy
from expunge.objectives.objective import Model


class NegativeCrossEntropy(CrossEntropy):
    """Push the labels away by minus the cross entropy.

    Paper: gradient ascent (GA) of Graves et al. (2021) and Thudi et al. (2022), and the forget half of NegGrad+
    (Kurmanji et al., 2023).

    Formula: mean over examples of log p_y(x). It is negative and unbounded below, so it needs few steps, small ones,
    and a surgery that does not take logarithms of it.

    Examples:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 4), torch.tensor([0, 2]), torch.arange(2))
        >>> float((-NegativeCrossEntropy()(lambda inputs: inputs, batch)).exp())
        4.0
    """

    aliases: ClassVar[tuple[str, ...]] = ("gradient_ascent", "ga", "ascent")
    paper: ClassVar[str] = "Graves et al. 2021; Thudi et al. 2022"
    can_be_negative: ClassVar[bool] = True

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return minus the mean cross entropy."""
        return -super().__call__(model, batch)
