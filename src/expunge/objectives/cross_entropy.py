"""CrossEntropy: the loss that classifiers are trained with."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch
from expunge.objectives.objective import Model, Objective


class CrossEntropy(Objective):
    """Keep the labels by the cross entropy, the utility loss of classifiers.

    Formula: mean over examples of −log p_y(x), p the softmax of the model's logits, y the label.

    Examples:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 3), torch.tensor([0, 2]), torch.arange(2))
        >>> float(CrossEntropy()(lambda inputs: inputs, batch).exp())  # three equal logits
        3.0
    """

    aliases: ClassVar[tuple[str, ...]] = ("ce",)
    paper: ClassVar[str] = "standard"

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean cross entropy."""
        return functional.cross_entropy(model(batch.inputs), batch.targets)
