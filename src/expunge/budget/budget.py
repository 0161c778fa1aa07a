"""Budget: what unlearning may cost, in the user's own unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from expunge.batch import Examples, Predictor
from expunge.budget.reading import Reading
from expunge.errors import ConfigError, DataError

Measure = Callable[[Predictor, Examples], float]

NATS_PER_SHARE = 5.0
"""A first guess of how far the mean loss rises where all examples are lost: one point is taken for .05 nats."""
UNKNOWN = 0.05
"""Where a user's metric says nothing of losses: the first τ, in nats."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much worse the model may become on held-out retain data, in exactly one of three units.

    Args:
        points: Accuracy points that may be lost, ≥ 0.
        relative: Share of the held-out loss by which it may rise, ≥ 0; of ``floor`` where the loss is lower.
        metric: The user's own measure of a model in evaluation mode on examples; with ``drop``.
        drop: How much worse the metric may become, in its own unit, ≥ 0.
        higher_is_better: Direction of the metric. Default true.
        floor: Least loss that ``relative`` refers to, in nats. Default .05: every share of a loss of nearly 0 is
            nothing.

    Raises:
        ConfigError: If not exactly one unit is given, or one is negative.

    Examples:
        >>> budget = Budget(points=1.0)
        >>> first, now = Reading(loss=0.25, accuracy=92.0), Reading(loss=0.28, accuracy=91.5)
        >>> budget.tolerance(first), budget.spent(first, now), budget.kept(first, now)
        (0.05, 0.5, True)
    """

    points: float | None = None
    relative: float | None = None
    metric: Measure | None = None
    drop: float | None = None
    higher_is_better: bool = True
    floor: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what is not one budget."""
        given = [name for name in ("points", "relative", "metric") if getattr(self, name) is not None]
        if len(given) != 1 or (self.metric is None) != (self.drop is None):
            found = ", ".join([*given, *(["drop"] if self.drop is not None else [])]) or "none"
            raise ConfigError("points, relative, or metric with drop", found, "write for example Budget(points=1.0)")
        if not self.allowed >= 0 or not self.floor > 0:
            raise ConfigError("a budget ≥ 0 and a floor > 0", f"{self.allowed} and {self.floor}", "change it")

    @property
    def allowed(self) -> float:
        """What may be spent, in the budget's own unit."""
        return next(float(value) for value in (self.points, self.relative, self.drop) if value is not None)

    def tolerance(self, first: Reading) -> float:
        """Return the first τ for the mean retain loss, in nats; ``Rescaled`` corrects it at each reading.

        A relative budget is τ itself, never rescaled. Points are taken for .05 nats each, a metric's drop for .05.

        Args:
            first: Of the original.
        """
        if self.relative is not None:
            return self.relative * max(first.loss, self.floor)
        return NATS_PER_SHARE * self.points / 100 if self.points is not None else UNKNOWN

    def spent(self, first: Reading, now: Reading) -> float:
        """Return how much worse a model has become, in the budget's own unit; negative where it is better."""
        if self.relative is not None:
            return (now.loss - first.loss) / max(first.loss, self.floor)
        if self.points is not None:
            return stated(first.accuracy, "accuracy") - stated(now.accuracy, "accuracy")
        fall = stated(first.value, "metric") - stated(now.value, "metric")
        return fall if self.higher_is_better else -fall

    def kept(self, first: Reading, now: Reading) -> bool:
        """Return whether no more was spent than is allowed; false where it cannot be told."""
        return self.spent(first, now) <= self.allowed


def stated(value: float | None, what: str) -> float:
    """Return a value that a budget needs.

    Raises:
        DataError: If a reading lacks it.
    """
    if value is None:
        raise DataError(f"a reading with the {what}", "one without", "use a budget that this family of models has")
    return value
