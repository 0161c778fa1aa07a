"""Opening: what the certify half says of a budget in any unit, read once for each of two models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np
import torch

from expunge.batch import Examples, Predictor, evaluation_mode, sample_indices
from expunge.budget.betting import betting_bound, min_mean_drop
from expunge.budget.budget import Budget, Unit
from expunge.budget.certificate import Certificate, min_accuracy_drop, utility_certificate
from expunge.budget.holdout_evaluation import compute_losses, evaluate_model
from expunge.budget.resampling import MIN_EXAMPLES, bootstrap_bound, jackknife_bound, validate_values
from expunge.data import Subset
from expunge.errors import DataError, ExpungeError
from expunge.metrics.arrays import Floats

JACKKNIFE_GROUPS = 10
"""Parts of the certify half that a metric of the whole set is measured without, one after another."""


REFERENCE_SIZE = 1_000
"""Examples at which a metric's least certifiable drop is worked out; it is in proportion to one over their number."""


@dataclass(frozen=True)
class CertificationSample:
    """What one model is worth on the certify half, as the certificate of its budget needs it.

    Args:
        values: For each example whether it is right, its loss, or its value of the metric, ``(n,)``; the metric of the
            whole set, ``(1,)``, where that is all it gives.
        examples: n.
        without_groups: The metric of the set without each of its groups. Default: none was needed.
    """

    values: Floats
    examples: int
    without_groups: Floats | None = None


def measure_for_certificate(budget: Budget, predict: Predictor, examples: Examples) -> CertificationSample:
    """Read a model on the certify half, in evaluation mode; it is left as it was found.

    Raises:
        ExpungeError: If the metric fails.
    """
    return MEASURES[budget.unit](budget, predict, examples)


def measure_correct(budget: Budget, predict: Predictor, examples: Examples) -> CertificationSample:
    """Read which examples are right."""
    return CertificationSample(np.asarray(evaluate_model(predict, examples).correct, dtype=np.float64), len(examples))


def measure_losses(budget: Budget, predict: Predictor, examples: Examples) -> CertificationSample:
    """Read the loss of each example."""
    return CertificationSample(compute_losses(predict, examples), len(examples))


def measure_metric(budget: Budget, predict: Predictor, examples: Examples) -> CertificationSample:
    """Read the metric; where it is one number, of the set without each of ``JACKKNIFE_GROUPS`` parts too."""
    count = len(examples)
    with evaluation_mode(predict.model):
        values = budget.measure(predict, examples)
        if len(values) == count or count < MIN_EXAMPLES:
            return CertificationSample(values, count)
        order = sample_indices(count, count)
        parts = [
            order[torch.arange(count) % JACKKNIFE_GROUPS != group].sort().values for group in range(JACKKNIFE_GROUPS)
        ]
        without_groups = [float(budget.measure(predict, Subset(examples, part)).mean()) for part in parts]
    return CertificationSample(values, count, np.asarray(without_groups))


MEASURES: Mapping[Unit, Callable[[Budget, Predictor, Examples], CertificationSample]] = {
    "points": measure_correct,
    "relative loss": measure_losses,
    "own metric": measure_metric,
}


def compute_certificate(
    budget: Budget, before: CertificationSample, after: CertificationSample, delta: float
) -> Certificate:
    """Return the bound on what a budget spent, in its unit; of points as a share.

    Points: exact, after Clopper and Pearson. A metric of known ``bounds`` that gives a value for each example: exact,
    by betting. The loss, and a metric without bounds: the paired bootstrap-t, approximate. A metric of a whole set: the
    grouped jackknife, approximate.

    Raises:
        DataError: If nothing can be said.
    """
    if budget.accuracy_points is not None:
        return utility_certificate(before.values > 0, after.values > 0, delta)
    if budget.loss_increase is not None:
        return compute_mean_certificate(after.values - before.values, delta, before.values, budget.min_base_loss)
    sign = 1.0 if budget.higher_is_better else -1.0
    drops = sign * (before.values - after.values)
    if before.without_groups is not None and after.without_groups is not None:
        bound = jackknife_bound(float(drops[0]), sign * (before.without_groups - after.without_groups), delta)
        return Certificate(kind="whole set", examples=before.examples, delta=delta, drop=float(drops[0]), bound=bound)
    if budget.bounds is None:
        return compute_mean_certificate(validate_values(drops, before.examples), delta)
    width, count = budget.bounds[1] - budget.bounds[0], before.examples
    bound, smallest = betting_bound(drops, width, delta), min_mean_drop(count, width, delta)
    drop = float(drops.mean())
    return Certificate(kind="bounded mean", examples=count, delta=delta, drop=drop, bound=bound, smallest=smallest)


def compute_mean_certificate(
    drops: Floats, delta: float, base: Floats | float = 1.0, floor: float = 0.0
) -> Certificate:
    """Return the paired bootstrap's bound on mean drop ÷ mean base."""
    bound = bootstrap_bound(drops, base, floor, delta)
    if not np.isfinite(bound):
        raise DataError("a finite bound", "none: nearly all examples kept their value", "certify with more examples")
    drop = float(drops.mean()) / max(float(np.mean(base)), floor)
    return Certificate(kind="mean", examples=len(drops), delta=delta, drop=drop, bound=bound)


def certify_budget(
    budget: Budget, measure_checkpoint: Callable[[int], CertificationSample], chosen: int, delta: float
) -> tuple[Certificate | None, str]:
    """Open the certify half: return the certificate, or why nothing can be said.

    Whatever a metric raises here has no say over the model that was made.

    Args:
        budget: What was allowed.
        measure_checkpoint: Takes the place of an iterate, 0 for the original, and gives its witness.
        chosen: Place of the iterate that is handed over.
        delta: δ.
    """
    try:
        return compute_certificate(budget, measure_checkpoint(0), measure_checkpoint(chosen), delta), ""
    except ExpungeError as error:
        return None, f"expected {error.expected}, but found {error.actual}"


def min_certifiable_drop(budget: Budget, count: int, delta: float) -> float | None:
    """Return the least drop that so many examples can certify, as the certificate says it; None where none is known.

    Examples:
        >>> round(min_certifiable_drop(Budget(accuracy_points=1.0), 500, 0.05), 4)
        0.0074
        >>> min_certifiable_drop(Budget(loss_increase=0.1), 500, 0.05) is None
        True
    """
    if not budget.certify:
        return None
    if budget.accuracy_points is not None:
        return min_accuracy_drop(count, delta)
    return None if budget.bounds is None else min_mean_drop(count, budget.bounds[1] - budget.bounds[0], delta)


def count_needed_examples(budget: Budget, delta: float) -> int | None:
    """Return how many examples can certify a budget where none of them is lost; None where no number can.

    Of a budget in points it is the least n with 1 − (δ/2)^(1/n) ≤ b; of a metric with bounds nearly so. An approximate
    bound takes ``MIN_EXAMPLES`` examples, whatever the budget is.

    Examples:
        >>> [count_needed_examples(Budget(accuracy_points=points), 0.05) for points in (1.0, 0.0)]
        [368, None]
        >>> count_needed_examples(Budget(loss_increase=0.1), 0.05)
        30
    """
    allowed = budget.allowed / budget.scale
    if budget.accuracy_points is None and budget.bounds is None:
        return MIN_EXAMPLES
    if allowed <= 0:
        return None
    if budget.accuracy_points is not None:
        count = max(1, ceil(log(delta / 2) / log1p(-min(allowed, 1 - 1e-12))))
        return count if min_accuracy_drop(count, delta) <= allowed else count + 1
    width = budget.bounds[1] - budget.bounds[0] if budget.bounds is not None else 1.0
    return max(1, ceil(min_mean_drop(REFERENCE_SIZE, width, delta) * REFERENCE_SIZE / allowed))
