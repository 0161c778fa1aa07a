"""ToleranceSchedule: what a rule with a tolerance per step may spend, so that a whole run keeps one budget."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import SurgeryError
from expunge.surgery.step import Progress


@dataclass(frozen=True)
class ToleranceSchedule:
    """Spread what is left of a budget evenly over the updates that are left.

    Formula: ε_t = max(0, τ − spent)/((T − t) η_t), T − t the updates left, this one included. A tolerance ε permits a
    rise of η·ε in an update, so a rule that spends all of it ends at τ. Once overspent ε is 0: it is never a demand.

    Args:
        budget: τ ≥ 0 for the whole run, in the unit of L_r.

    Raises:
        SurgeryError: If the budget is negative.

    Examples:
        >>> ToleranceSchedule(0.5).tolerance_at(0.25, Progress(step=6, total=10), 0.5)
        0.125
    """

    budget: float

    def __post_init__(self) -> None:
        """Refuse a negative budget."""
        if self.budget < 0:
            raise SurgeryError("a budget ≥ 0", f"{self.budget}", "0 permits no rise at all")

    def tolerance_at(self, increase: float, progress: Progress, lr: float) -> float:
        """Return ε_t; 0 where the rate is 0 and nothing moves.

        Args:
            increase: L_r(θ_t) − L_r(θ₀).
            progress: Which update of how many.
            lr: η_t.
        """
        return float(
            spread_tolerance(torch.tensor(self.budget - increase, dtype=torch.float64), progress, torch.tensor(lr))
        )


def spread_tolerance(remaining: Tensor, progress: Progress, lr: Tensor) -> Tensor:
    """Return max(0, remaining)/(updates left · η); 0 where η is 0."""
    tolerance = remaining.clamp(min=0.0) / (max(1, progress.total - progress.step) * lr)
    return torch.where(lr > 0, tolerance, torch.zeros_like(tolerance))
