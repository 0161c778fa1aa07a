"""Average: the running mean of weights over updates, for models that are used by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from expunge.errors import ConfigError


class ModelEMA:
    """An exponential moving average of weights (EMA).

    Formula: a ← b a + (1 − b) θ after each update, b = min(β, (1 + t)/(10 + t)), t the updates before. At first it
    follows the weights closely, so that a short run does not hand over its start.

    Args:
        weights: The weights that are averaged, as they are now.
        decay: β in [0, 1).

    Raises:
        ConfigError: If the decay is not in [0, 1).

    Examples:
        >>> weight = torch.zeros(1)
        >>> average = ModelEMA([weight], decay=0.9)
        >>> average.update([weight.fill_(1.0)])
        >>> round(float(average.averages[0]), 6)
        0.9
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        if not 0 <= decay < 1:
            raise ConfigError("a decay in [0, 1)", f"{decay}", "use .99, which looks back some hundred updates")
        self.decay, self.updates = decay, 0
        self.averages = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def update(self, weights: Sequence[Tensor]) -> None:
        """Take the weights after an update into account; a weight that never moves stays the same to the bit."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.averages, [weight.detach() for weight in weights], 1 - decay)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates in it."""
        return {"pieces": self.averages, "updates": self.updates}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        torch._foreach_copy_(
            self.averages, [p.to(average.device) for p, average in zip(state["pieces"], self.averages, strict=True)]
        )
        self.updates = state["updates"]

    @torch.no_grad()
    def copy_to(self, weights: Sequence[Tensor]) -> None:
        """Put the average in the place of the weights."""
        torch._foreach_copy_(list(weights), self.averages)

    @contextmanager
    def swapped_in(self, weights: Sequence[Tensor]) -> Iterator[None]:
        """Put the average in the place of the weights inside the context."""
        saved = [weight.detach().clone() for weight in weights]
        self.copy_to(weights)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(list(weights), saved)
