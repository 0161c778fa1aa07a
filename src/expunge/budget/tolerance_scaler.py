"""Rescaled: the tolerance in nats that a budget in another unit amounts to, corrected at each reading."""

from __future__ import annotations

from dataclasses import dataclass, replace

DECAY = 0.5
"""What a reading counts for at the next one: the slope of a path that bends is that of its recent part."""
MAX_STEP_FACTOR = 2.0
"""Largest factor by which a reading may change τ: one noisy reading must not open the gate."""
MAX_SCALE = 10.0
"""Largest factor by which all readings may raise τ above its start."""
MIN_INCREASE = 1e-3
"""Rises below so many nats tell nothing of a slope."""


@dataclass(frozen=True)
class ToleranceScaler:
    """Learns how much a nat of held-out loss costs in the budget's own unit, and sets τ so that the budget is met.

    Formula: slope = Σ w_k r_k c_k / Σ w_k r_k², with r_k the rise of the held-out loss and c_k what was spent at the
    k-th reading, weights w_k halved at every further reading; τ ← allowed/slope, within a factor 2 of what it was and
    never above ten times its start.

    Where it fails: the line runs through the origin, so a metric that jumps (accuracy on few examples, a threshold) is
    followed late; where the loss rises and nothing is spent, τ doubles at each reading until the factor of ten, though
    what comes next may be steeper; where too much is spent and the loss does not rise, the loss does not see the
    harm and no τ can prevent it: τ is halved, and only the choice of iterate and the certificate protect the budget.

    Args:
        tolerance: τ now, in nats.
        start: τ at first. Default: the tolerance.
        cross: Σ w_k r_k c_k.
        square: Σ w_k r_k².

    Examples:
        >>> rule = ToleranceScaler(0.05).update(increase=0.04, spent=0.5, allowed=1.0)
        >>> round(rule.tolerance, 3)
        0.08
    """

    tolerance: float
    start: float | None = None
    cross: float = 0.0
    square: float = 0.0

    def update(self, increase: float, spent: float, allowed: float) -> ToleranceScaler:
        """Return the rule after a reading.

        Args:
            increase: Of the held-out loss above the original's, in nats.
            spent: In the budget's own unit.
            allowed: In the same.
        """
        start = self.tolerance if self.start is None else self.start
        if increase < MIN_INCREASE:
            # A loss that stands still while the metric falls cannot steer it; one that has not moved says nothing.
            return replace(self, start=start, tolerance=self.tolerance / (MAX_STEP_FACTOR if spent > allowed else 1.0))
        cross, square = DECAY * self.cross + increase * spent, DECAY * self.square + increase**2
        target = allowed * square / cross if cross > 0 else MAX_SCALE * start
        low, high = self.tolerance / MAX_STEP_FACTOR, min(self.tolerance * MAX_STEP_FACTOR, MAX_SCALE * start)
        return ToleranceScaler(min(max(target, low), max(high, low)), start, cross, square)
