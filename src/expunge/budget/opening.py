"""Opening: what the certify half says of a budget in any unit, read once for each of two models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np
import torch

from expunge.batch import Examples, Predictor, looking
from expunge.budget.betting import betting_bound, smallest_mean_drop
from expunge.budget.budget import Budget, Unit
from expunge.budget.certificate import Certificate, smallest_drop, utility_certificate
from expunge.budget.reading import losses_of, read
from expunge.budget.resampling import LEAST, bootstrap_bound, checked_values, jackknife_bound
from expunge.data import Subset
from expunge.errors import DataError, ExpungeError
from expunge.metrics.arrays import Floats

GROUPS = 10
"""Parts of the certify half that a metric of the whole set is measured without, one after another."""


REFERENCE_SIZE = 1_000
"""Examples at which a metric's least certifiable drop is worked out; it is in proportion to one over their number."""


@dataclass(frozen=True)
class Witness:
    """What one model is worth on the certify half, as the certificate of its budget needs it.

    Args:
        values: For each example whether it is right, its loss, or its value of the metric, ``(n,)``; the metric of the
            whole set, ``(1,)``, where that is all it gives.
        examples: n.
        without: The metric of the set without each of its groups. Default: none was needed.
    """

    values: Floats
    examples: int
    without: Floats | None = None


def witness(budget: Budget, predict: Predictor, examples: Examples) -> Witness:
    """Read a model on the certify half, in evaluation mode; it is left as it was found.

    Raises:
        ExpungeError: If the metric fails.
    """
    return WITNESSES[budget.unit](budget, predict, examples)


def rights(budget: Budget, predict: Predictor, examples: Examples) -> Witness:
    """Read which examples are right."""
    return Witness(np.asarray(read(predict, examples).right, dtype=np.float64), len(examples))


def losses(budget: Budget, predict: Predictor, examples: Examples) -> Witness:
    """Read the loss of each example."""
    return Witness(losses_of(predict, examples), len(examples))


def measures(budget: Budget, predict: Predictor, examples: Examples) -> Witness:
    """Read the metric; where it is one number, of the set without each of ``GROUPS`` parts too."""
    count = len(examples)
    with looking(predict.model):
        values = budget.measured(predict, examples)
        if len(values) == count or count < LEAST:
            return Witness(values, count)
        every = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        rest = [every[torch.arange(count) % GROUPS != group].sort().values for group in range(GROUPS)]
        without = [float(budget.measured(predict, Subset(examples, part)).mean()) for part in rest]
    return Witness(values, count, np.asarray(without))


WITNESSES: Mapping[Unit, Callable[[Budget, Predictor, Examples], Witness]] = {
    "points": rights,
    "relative loss": losses,
    "own metric": measures,
}


def certificate_for(budget: Budget, before: Witness, after: Witness, delta: float) -> Certificate:
    """Return the bound on what a budget spent, in its unit; of points as a share.

    Points: exact, after Clopper and Pearson. A metric of known ``bounds`` that gives a value for each example: exact,
    by betting. The loss, and a metric without bounds: the paired bootstrap-t, approximate. A metric of a whole set: the
    grouped jackknife, approximate.

    Raises:
        DataError: If nothing can be said.
    """
    if budget.points is not None:
        return utility_certificate(before.values > 0, after.values > 0, delta)
    if budget.relative is not None:
        return mean_certificate(after.values - before.values, delta, before.values, budget.floor)
    worse = 1.0 if budget.higher_is_better else -1.0
    drops = worse * (before.values - after.values)
    if before.without is not None and after.without is not None:
        bound = jackknife_bound(float(drops[0]), worse * (before.without - after.without), delta)
        return Certificate(kind="whole set", examples=before.examples, delta=delta, drop=float(drops[0]), bound=bound)
    if budget.bounds is None:
        return mean_certificate(checked_values(drops, before.examples), delta)
    reach, count = budget.bounds[1] - budget.bounds[0], before.examples
    bound, smallest = betting_bound(drops, reach, delta), smallest_mean_drop(count, reach, delta)
    drop = float(drops.mean())
    return Certificate(kind="bounded mean", examples=count, delta=delta, drop=drop, bound=bound, smallest=smallest)


def mean_certificate(drops: Floats, delta: float, base: Floats | float = 1.0, floor: float = 0.0) -> Certificate:
    """Return the paired bootstrap's bound on mean drop ÷ mean base.

    Raises:
        DataError: If nothing can be said.
    """
    bound = bootstrap_bound(drops, base, floor, delta)
    if not np.isfinite(bound):
        raise DataError("a finite bound", "none: nearly all examples kept their value", "certify with more examples")
    drop = float(drops.mean()) / max(float(np.mean(base)), floor)
    return Certificate(kind="mean", examples=len(drops), delta=delta, drop=drop, bound=bound)


def opened(budget: Budget, seen: Callable[[int], Witness], chosen: int, delta: float) -> tuple[Certificate | None, str]:
    """Open the certify half: return the certificate, or why nothing can be said.

    Whatever a metric raises here has no say over the model that was made.

    Args:
        budget: What was allowed.
        seen: Takes the place of an iterate, 0 for the original, and gives its witness.
        chosen: Place of the iterate that is handed over.
        delta: δ.
    """
    try:
        return certificate_for(budget, seen(0), seen(chosen), delta), ""
    except ExpungeError as error:
        return None, f"expected {error.expected}, but found {error.found}"


def smallest_of(budget: Budget, count: int, delta: float) -> float | None:
    """Return the least drop that so many examples can certify, as the certificate says it; None where none is known.

    Examples:
        >>> round(smallest_of(Budget(points=1.0), 500, 0.05), 4), smallest_of(Budget(relative=0.1), 500, 0.05)
        (0.0074, None)
    """
    if not budget.certify:
        return None
    if budget.points is not None:
        return smallest_drop(count, delta)
    return None if budget.bounds is None else smallest_mean_drop(count, budget.bounds[1] - budget.bounds[0], delta)


def examples_needed(budget: Budget, delta: float) -> int | None:
    """Return how many examples can certify a budget where none of them is lost; None where no number can.

    Of a budget in points it is the least n with 1 − (δ/2)^(1/n) ≤ b; of a metric with bounds nearly so. An approximate
    bound takes ``LEAST`` examples, whatever the budget is.

    Examples:
        >>> examples_needed(Budget(points=1.0), 0.05), examples_needed(Budget(points=0.0), 0.05)
        (368, None)
        >>> examples_needed(Budget(relative=0.1), 0.05)
        30
    """
    allowed = budget.allowed / budget.scale
    if budget.points is None and budget.bounds is None:
        return LEAST
    if allowed <= 0:
        return None
    if budget.points is not None:
        count = max(1, ceil(log(delta / 2) / log1p(-min(allowed, 1 - 1e-12))))
        return count if smallest_drop(count, delta) <= allowed else count + 1
    width = budget.bounds[1] - budget.bounds[0] if budget.bounds is not None else 1.0
    return max(1, ceil(smallest_mean_drop(REFERENCE_SIZE, width, delta) * REFERENCE_SIZE / allowed))
