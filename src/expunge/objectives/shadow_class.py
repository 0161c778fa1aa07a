"""ShadowClass: give each forgotten example to the class that the head has been expanded by."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch
from expunge.objectives.objective import Model, Objective


class ShadowClass(Objective):
    """Cross entropy with the last label of the head.

    It is of use while the head has one class more than the labels; see ``expunge.methods.BoundaryExpand``.

    Paper: "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting the Decision Boundary" (Chen et al.,
    CVPR 2023, arXiv 2303.11570): boundary expanding.

    Formula: mean over examples of −log p_C(x), C the last of the head's classes.

    Examples:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 4), torch.tensor([0, 2]), torch.arange(2))
        >>> float(ShadowClass()(lambda inputs: inputs, batch).exp())
        4.0
    """

    paper: ClassVar[str] = "arXiv 2303.11570"

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return the mean cross entropy with the last class."""
        logits = model(batch.inputs)
        return functional.cross_entropy(logits, batch.targets.new_full((len(batch),), logits.shape[1] - 1))
