"""UtilityLoss: a running estimate of how far the retain loss stands above where it began."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LossIncreaseEstimate(nn.Module):
    """A bias-corrected exponential average of batch losses, corrected now and then by what held-out examples say.

    Formula: m_t = Σ_k β^(t−k) ℓ_k / Σ_k β^(t−k) over the batch losses ℓ_k, rise = m_t − ℓ_1 + c.
    ``set_measured_increase(r)`` sets c so that the rise is r at this moment. Between two anchors only *differences* of
    batch losses count, so that neither the noise of the first batch nor a standing difference between batches in
    training mode and the model as it is handed over remains. What the average lags behind by, about β/(1 − β) updates,
    does.

    Args:
        decay: β in [0, 1). Default .9, about the last 19 batches.

    Examples:
        >>> utility = LossIncreaseEstimate()
        >>> for loss in (0.25, 0.5):
        ...     utility.update(torch.tensor(loss), torch.tensor(True))
        >>> utility.set_measured_increase(0.25)
        >>> float(utility.value())
        0.25
    """

    reference: Tensor
    average: Tensor
    weight: Tensor
    offset: Tensor

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("reference", torch.tensor(float("nan")))
        for name in ("average", "weight", "offset"):
            self.register_buffer(name, torch.zeros(()))

    def update(self, loss: Tensor, active: Tensor) -> None:
        """Let a batch's loss enter; where ``active`` is false nothing changes."""
        loss = loss.detach().to(self.average)
        self.reference = torch.where(active & self.reference.isnan(), loss, self.reference)
        self.average = torch.where(active, self.decay * self.average + (1 - self.decay) * loss, self.average)
        self.weight = torch.where(active, self.decay * self.weight + (1 - self.decay), self.weight)

    def value(self) -> Tensor:
        """Return the estimate, in the unit of the loss; before the first batch what was anchored, 0 at first."""
        change = self.average / self.weight - self.reference
        return torch.where(self.weight > 0, change, torch.zeros_like(change)) + self.offset

    def set_measured_increase(self, increase: float | Tensor) -> None:
        """Take over a rise that was measured on held-out examples at the present weights."""
        self.offset = self.offset + (increase - self.value())
