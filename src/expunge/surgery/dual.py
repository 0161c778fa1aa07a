"""Dual variables: how a multiplier learns from the slack of its constraint, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DecayedAdam(nn.Module):
    """Adam with L2 decay on one scalar, as the authors of EUPMU release it; all of it in buffers.

    Formula: g = signal + γ·w;  m ← .9 m + .1 g;  v ← .999 v + .001 g²;  w ← w − r · m̂ / (√v̂ + 1e-8), with m̂, v̂
    corrected for their start at 0. ``torch.optim.Adam`` is the same rule, but keeps its memory outside ``state_dict``.

    Args:
        lr: r > 0.
        decay: γ ≥ 0. It bounds w: with a constant signal −e the weight settles at e/γ.
    """

    first: Tensor
    second: Tensor
    count: Tensor

    def __init__(self, lr: float, decay: float) -> None:
        super().__init__()
        self.lr, self.decay = lr, decay
        for name in ("first", "second", "count"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, weight: Tensor, signal: Tensor, active: Tensor) -> Tensor:
        """Return the next weight; where ``active`` is false nothing changes."""
        moved, memory = self.propose(weight, signal)
        for name, value in memory.items():
            setattr(self, name, torch.where(active, value, getattr(self, name)))
        return torch.where(active, moved, weight)

    def propose(self, weight: Tensor, signal: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weight after a step and the memory that it would leave, without taking it."""
        slope = signal.to(weight) + self.decay * weight
        count = self.count + 1
        first, second = 0.9 * self.first + 0.1 * slope, 0.999 * self.second + 0.001 * slope**2
        step = self.lr * (first / (1 - 0.9**count)) / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
        return weight - step, {"count": count, "first": first, "second": second}


class ProjectedAdam(DecayedAdam):
    """Adam on one scalar, projected on an interval without wind-up.

    Formula: w ← min(w_max, max(0, w − r · m̂ / (√v̂ + 1e-8))), the moments as in ``DecayedAdam`` with γ = 0. Where the
    projection cuts the step, m ← 0: else the momentum of the steps that were cut would hold the weight at its bound
    after the signal has turned.

    Args:
        lr: r > 0.
        max_value: w_max.
    """

    def __init__(self, lr: float, max_value: float) -> None:
        super().__init__(lr, 0.0)
        self.max_value = max_value

    def forward(self, weight: Tensor, signal: Tensor, active: Tensor) -> Tensor:
        """Return the next weight; where ``active`` is false nothing changes."""
        unclamped = super().forward(weight, signal, active)
        clamped = torch.where(active, unclamped.clamp(0.0, self.max_value), weight)
        self.first = torch.where(unclamped == clamped, self.first, torch.zeros_like(self.first))
        return clamped


def take_projected_step(weight: Tensor, signal: Tensor, lr: float, max_value: float, active: Tensor) -> Tensor:
    """Return clamp(w − r·signal, 0, highest), or w where ``active`` is false: descent projected on an interval.

    The projection is also the anti-wind-up: at either end the weight keeps no memory of how far it wished to go.
    """
    return torch.where(active, (weight - lr * signal.to(weight)).clamp(0.0, max_value), weight)
