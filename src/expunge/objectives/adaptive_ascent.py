"""AdaptiveAscent: ascend most where the model still remembers."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch
from expunge.errors import ObjectiveError
from expunge.objectives.objective import Model, Objective


class AdaptiveAscent(Objective):
    """Push the labels away, an example with a small loss harder than one with a large loss.

    Paper: "Unified Gradient-Based Machine Unlearning with Remain Geometry Enhancement" (SFR-on; Huang et al., NeurIPS
    2024, arXiv 2409.19732).

    Formula: −Σ_i c_i ℓ_i over the batch, c_i = ℓ_i^−λ / Σ_j ℓ_j^−λ held constant in differentiation, ℓ_i = −log
    p_y(x_i). λ = 0 is plain gradient ascent.

    Args:
        power: λ ≥ 0. Default .5 (authors, CIFAR-10).

    Raises:
        ObjectiveError: If the power is negative.

    Examples:
        >>> import torch
        >>> batch = Batch(torch.tensor([[0.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 0]), torch.arange(2))
        >>> losses = [float(AdaptiveAscent(power)(lambda inputs: inputs, batch)) for power in (0.0, 0.5)]
        >>> losses[0] < losses[1] < 0  # the example with the small loss counts most
        True

    Differences from the authors' code: an offset of 1e-15 is added to ℓ before the power instead of after it.
    """

    aliases: ClassVar[tuple[str, ...]] = ("adaga",)
    paper: ClassVar[str] = "SFR-on, arXiv 2409.19732"
    can_be_negative: ClassVar[bool] = True
    couples_examples: ClassVar[bool] = True

    def __init__(self, power: float = 0.5) -> None:
        if not power >= 0:
            raise ObjectiveError("a power ≥ 0", f"{power}", "change it; 0 is plain ascent")
        self.power = power

    def __call__(self, model: Model, batch: Batch) -> Tensor:
        """Return minus the weighted mean of the cross entropies."""
        losses = functional.cross_entropy(model(batch.inputs), batch.targets, reduction="none")
        weights = (losses.detach() + 1e-15) ** -self.power
        return -(weights / weights.sum() * losses).sum()
