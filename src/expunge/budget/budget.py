"""Budget: what unlearning may cost, in the user's own unit."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any, Literal

import numpy as np

from expunge.batch import Examples, Predictor
from expunge.budget.holdout_evaluation import EvalResult, MetricFn, evaluate_metric
from expunge.errors import ConfigError, DataError, MetricError
from expunge.metrics.arrays import Floats

Unit = Literal["points", "relative loss", "own metric"]

NATS_PER_UNIT_ACCURACY = 5.0
"""A first guess of how far the mean loss rises where all examples are lost: one point is taken for .05 nats."""
DEFAULT_TOLERANCE = 0.05
"""Where a user's metric says nothing of losses: the first τ, in nats; without classes in shares of the loss."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much worse the model may become on held-out retain data, in exactly one of three units.

    Args:
        accuracy_points: Accuracy points that may be lost, ≥ 0.
        loss_increase: Share of the held-out loss by which it may rise, ≥ 0; of ``min_base_loss`` where the loss is
            lower.
        metric: The user's own measure of a model in evaluation mode on examples, a number or one for each example,
            whose mean is then meant; with ``max_drop``.
        max_drop: How much worse the metric may become, in its own unit, ≥ 0.
        higher_is_better: Direction of the metric. Default true.
        bounds: Between what the metric's value of a single example lies, where it gives one for each: what an exact
            certificate of it needs. Default: unknown.
        min_base_loss: Least loss that ``loss_increase`` refers to, in nats. Default .05: every share of a loss of
            nearly 0 is nothing.
        certify: Whether half of the held-out examples is put aside for a certificate. Default true; where false all of
            them steer, for those who have too few to certify anything.

    Raises:
        ConfigError: If not exactly one unit is given, or a field is of a wrong type, not finite, or negative.

    Examples:
        >>> budget = Budget(accuracy_points=1.0)
        >>> first, now = EvalResult(loss=0.25, accuracy=92.0), EvalResult(loss=0.28, accuracy=91.5)
        >>> budget.tolerance(first), budget.compute_spent(first, now), budget.is_within(first, now)
        (0.05, 0.5, True)
    """

    accuracy_points: float | None = None
    loss_increase: float | None = None
    metric: MetricFn | None = None
    max_drop: float | None = None
    higher_is_better: bool = True
    bounds: tuple[float, float] | None = None
    min_base_loss: float = 0.05
    certify: bool = True

    def __post_init__(self) -> None:
        """Refuse what is not one budget."""
        units = [name for name in ("accuracy_points", "loss_increase", "metric") if getattr(self, name) is not None]
        if len(units) != 1 or (self.metric is None) != (self.max_drop is None):
            actual = ", ".join([*units, *(["max_drop"] if self.max_drop is not None else [])]) or "none"
            raise ConfigError(
                "accuracy_points, loss_increase, or metric with max_drop",
                actual,
                "write for example Budget(accuracy_points=1.0)",
            )
        for name in ("accuracy_points", "loss_increase", "max_drop", "min_base_loss"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _validate_amount(name, getattr(self, name)))
        if self.metric is not None and not callable(self.metric):
            hint = "pass a function of a predictor and examples"
            raise ConfigError("metric to be a function", format_value(self.metric), hint)
        for name in ("higher_is_better", "certify"):
            object.__setattr__(self, name, _validate_switch(name, getattr(self, name)))
        if self.bounds is not None:
            object.__setattr__(self, "bounds", validate_bounds(self.bounds, self.metric))

    @property
    def unit(self) -> Unit:
        """In what it is counted."""
        if self.accuracy_points is not None:
            return "points"
        return "relative loss" if self.loss_increase is not None else "own metric"

    @property
    def scale(self) -> float:
        """What a share is multiplied by to be in its unit: a hundred for points, which are percent."""
        return 1.0 if self.accuracy_points is None else 100.0

    @property
    def metric_fn(self) -> MetricFn | None:
        """The metric, whose values are checked; None where there is none."""
        return None if self.metric is None else self.measure

    def measure(self, predict: Predictor, examples: Examples) -> Floats:
        """Return what the metric says, a number ``(1,)`` or one for each example.

        Raises:
            MetricError: If that is neither, not finite or outside of the bounds, or the metric raises an error or
                changes the model, whose weights are then put back.
        """
        if self.metric is None:
            raise DataError("a metric to measure by", "a budget without one", "read loss and accuracy instead")
        values = evaluate_metric(self.metric, predict, examples)
        if self.bounds is None:
            return values
        if len(values) < len(examples):
            hint = "return a tensor of them, or leave bounds out"
            raise MetricError("one value for each example from a metric with bounds", "a single number", hint)
        low, high = self.bounds
        if not bool(((values >= low) & (values <= high)).all()):
            actual = f"{values.min():g} to {values.max():g}"
            raise MetricError(f"values of the metric from {low:g} to {high:g}", actual, "correct the bounds")
        return values

    @property
    def allowed(self) -> float:
        """What may be spent, in the budget's own unit."""
        return next(
            float(value) for value in (self.accuracy_points, self.loss_increase, self.max_drop) if value is not None
        )

    def tolerance(self, baseline: EvalResult) -> float:
        """Return the first τ for the mean retain loss, in nats; ``ToleranceScaler`` corrects it at each reading.

        A relative budget is τ itself, never rescaled. Points are taken for .05 nats each, a metric's drop for .05 nats
        of a classifier, and for a twentieth of the loss of other models.

        Args:
            baseline: Of the original.
        """
        if self.loss_increase is not None:
            return self.loss_increase * max(baseline.loss, self.min_base_loss)
        if self.accuracy_points is not None:
            return NATS_PER_UNIT_ACCURACY * self.accuracy_points / 100
        return DEFAULT_TOLERANCE if baseline.accuracy is not None else DEFAULT_TOLERANCE * baseline.loss

    def compute_spent(self, baseline: EvalResult, current: EvalResult) -> float:
        """Return how much worse a model has become, in the budget's own unit; negative where it is better."""
        if self.loss_increase is not None:
            return (current.loss - baseline.loss) / max(baseline.loss, self.min_base_loss)
        if self.accuracy_points is not None:
            return require_value(baseline.accuracy, "accuracy") - require_value(current.accuracy, "accuracy")
        fall = require_value(baseline.value, "metric") - require_value(current.value, "metric")
        return fall if self.higher_is_better else -fall

    def is_within(self, baseline: EvalResult, current: EvalResult) -> bool:
        """Return whether no more was spent than is allowed; false where it cannot be told."""
        return self.compute_spent(baseline, current) <= self.allowed


def _is_finite(value: Real) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _validate_amount(name: str, value: Any) -> float:
    """Return a field of a budget as a plain number."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and _is_finite(value)
    lower_bound = "> 0" if name == "min_base_loss" else "≥ 0"
    if not is_number or not (value > 0 if name == "min_base_loss" else value >= 0):
        hint = "leave it out for .05" if name == "min_base_loss" else f"write for example {_EXAMPLES[name]}"
        raise ConfigError(f"{name} to be a finite number {lower_bound}", format_value(value), hint)
    return value if type(value) in (int, float) else float(value)


_EXAMPLES = {
    "accuracy_points": "Budget(accuracy_points=1.0)",
    "loss_increase": "Budget(loss_increase=0.1)",
    "max_drop": "max_drop=0.01",
}
"""How each amount is written."""


def _validate_switch(name: str, value: Any) -> bool:
    """Return a field that is true or false, NumPy's truth values as Python's."""
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name} to be True or False", format_value(value), "choose one of them")
    return bool(value)


def format_value(value: Any) -> str:
    """Return a wrong value as an error shows it: plain ones as they are written, others by their type.

    Examples:
        >>> format_value("abc"), format_value([1]), format_value(float("inf"))
        ("'abc'", 'a list', 'inf')
    """
    plain = isinstance(value, (str, int, float, complex))
    return repr(value) if plain else f"a {type(value).__name__}"


def validate_bounds(bounds: tuple[float, float], metric: MetricFn | None) -> tuple[float, float]:
    """Return the bounds of a metric as two numbers."""
    try:
        low, high = (float(bound) for bound in bounds)
        is_valid = -float("inf") < low < high < float("inf")
    except (TypeError, ValueError):
        is_valid = False
    if metric is None or not is_valid:
        actual = "no metric" if metric is None else f"{bounds!r}"
        raise ConfigError("a metric with bounds that are two finite numbers, the lower one first", actual, "correct it")
    return low, high


def require_value(value: float | None, what: str) -> float:
    """Return a value that a budget needs."""
    if value is None:
        raise DataError(f"a reading with the {what}", "one without", "use a budget that this family of models has")
    return value
