"""Resampling: approximate upper bounds on a drop, for losses without a range and measures of a whole set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from expunge.budget.certificate import validate_level
from expunge.errors import DataError
from expunge.metrics.arrays import Floats

NUM_RESAMPLES = 1999
"""Of the bootstrap."""
MAX_BLOCK_COUNTS = 4_000_000
"""Counts that are held at a time."""
MIN_EXAMPLES = 30
"""Examples below which an approximation is none."""


def bootstrap_bound(
    drops: Any, base: Any = 1.0, floor: float = 0.0, delta: float = 0.05, seed: int = 0, resamples: int = NUM_RESAMPLES
) -> float:
    """Return an approximate upper bound on mean drop ÷ mean base: the paired bootstrap-t.

    Source: Efron, "Nonparametric standard errors and confidence intervals" (1981); Hall, "The Bootstrap and Edgeworth
    Expansion" (1992). With r = d̄/max(b̄, floor) of n examples and its standard error s (of d − rb, or of d alone where
    the floor counts; over √n max(b̄, floor)), the same for each resample of the examples, (r*, s*): the bound is
    r − q s, q the δ-quantile of (r* − r)/s*. It follows the skewness of losses, which a t-bound does not. It holds for
    many examples; where few of them carry most of the loss it is missed more often than δ says, for those that are
    not among the examples are not resampled either: no exact bound exists for values without a range (Bahadur and
    Savage, 1956).

    Args:
        drops: d_i, how much worse each example became, ``(n,)``.
        base: b_i, what that is relative to. Default 1.
        floor: Least base. Default 0.
        delta: δ in (0, 1). Default .05.
        seed: Of the resampling. Default 0.
        resamples: B. Default 1,999.

    Raises:
        DataError: If there are fewer than 30 examples, a value is not finite, or the drops do not differ.

    Examples:
        >>> values = np.linspace(-0.5, 0.7, 200)
        >>> round(bootstrap_bound(values), 3)
        0.141
    """
    values = validate_values(drops)
    bases = np.broadcast_to(np.asarray(base, dtype=np.float64), values.shape)
    columns = np.stack([values, bases, values**2, values * bases, bases**2], 1)
    count, level = len(values), validate_level(delta)
    ratio, error = (float(value[0]) for value in compute_ratios(columns.mean(0)[None], floor, count))
    if not np.isfinite(ratio) or not error > 1e-12 * float(np.abs(values).max()) / count:
        raise DataError("drops that differ from example to example", "the same for all", "certify with more examples")
    moments = np.concatenate([part @ columns for part in resample_fractions(count, resamples, seed)])
    resampled_ratios, errors = compute_ratios(moments, floor, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_statistics = np.nan_to_num((resampled_ratios - ratio) / errors, nan=0.0)
    rank = max(1, int(level * (resamples + 1))) - 1
    return float(ratio - np.partition(t_statistics, rank)[rank] * error)


def compute_ratios(moments: Floats, floor: float, count: int) -> tuple[Floats, Floats]:
    """Return mean drop ÷ mean base and its standard error, from rows of the means of d, b, d², db and b²."""
    drop, base, square, both, bases = moments.T
    denominator = np.maximum(base, floor)
    ratio = drop / denominator
    tied = np.where(base >= floor, ratio, 0.0)
    spread = square - 2 * tied * both + tied**2 * bases - (drop - tied * base) ** 2
    return ratio, np.sqrt(np.maximum(spread, 0.0) / count) / denominator


def resample_fractions(count: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each example is in each resample, as shares, some resamples at a time."""
    generator, rows = np.random.default_rng(seed), max(1, MAX_BLOCK_COUNTS // count)
    for first in range(0, resamples, rows):
        num_rows = min(rows, resamples - first)
        drawn = generator.integers(count, size=(num_rows, count)) + count * np.arange(num_rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=num_rows * count).reshape(num_rows, count) / count


def jackknife_bound(full_drop: float, group_drops: Any, delta: float = 0.05) -> float:
    """Return an approximate upper bound on the drop of a measure of a whole set: the grouped jackknife's t-bound.

    Source: Tukey (1958); Shao and Wu, "A general theory for jackknife variance estimation" (1989). With w the drop on
    all examples and w_g that without the g-th of G groups, the pseudo-values p_g = G w − (G − 1) w_g are taken for
    independent: the bound is p̄ + t_{1−δ, G−1} s_p/√G. It holds for many examples and measures that move a little
    where a few examples are left out.

    Args:
        full_drop: w.
        group_drops: w_g, ``(G,)``, of groups of the same size.
        delta: δ in (0, 1). Default .05.

    Raises:
        DataError: If a value is not finite, or leaving out examples changes nothing.

    Examples:
        >>> round(jackknife_bound(0.1, [0.08, 0.09, 0.1, 0.11, 0.12]), 3)
        0.16
    """
    from scipy.stats import t

    drops = np.asarray(group_drops, dtype=np.float64)
    if not (np.isfinite(full_drop) and np.isfinite(drops).all()):
        raise DataError("a finite measure on every part of the examples", "one that is not", "use another metric")
    pseudo = len(drops) * full_drop - (len(drops) - 1) * drops
    if float(np.ptp(pseudo)) == 0:
        raise DataError("a measure that moves where examples are left out", "none", "certify with more examples")
    error = float(pseudo.std(ddof=1)) / len(drops) ** 0.5
    return float(pseudo.mean() + t.ppf(1 - validate_level(delta), len(drops) - 1) * error)


def validate_values(values: Any, examples: int | None = None) -> Floats:
    """Return one finite number for each of enough examples."""
    array = np.asarray(values, dtype=np.float64)
    count = len(np.atleast_1d(array)) if examples is None else examples
    if array.shape != (count,) or count < MIN_EXAMPLES:
        raise DataError(f"at least {MIN_EXAMPLES} examples for an approximate bound", f"{count}", "hold out more")
    if not bool(np.isfinite(array).all()):
        raise DataError("a finite value for each example", "one that is not", "look at the loss of this model")
    return array
