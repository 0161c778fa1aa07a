"""Percentile bootstrap intervals of recalls, members and non-members resampled apart, and of plain means.

A curve needs no more of a resample than how often each distinct score was drawn, so whole blocks of ROC curves are
cumulative sums of count matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from expunge.metrics.arrays import Floats, Integers, Interval, validate_scores
from expunge.metrics.attacks.membership import has_enough_negatives, rank_scores
from expunge.metrics.attacks.stratified import effective_size
from expunge.metrics.statistics import clopper_pearson

BLOCK = 2_000_000
"""Numbers in a block of curves, so that memory stays at some tens of megabytes whatever the data."""


@dataclass(frozen=True)
class Recall:
    """Share of members found at a false positive rate, from 0 to 1, with its 95 % bootstrap interval."""

    fpr: float
    tpr: float
    interval: Interval


def tpr_interval(
    members: Any,
    others: Any,
    fpr: float,
    *,
    weights: Any = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Return a bootstrap interval of ``tpr_at_fpr``, no narrower than the members alone allow; None where that is None.

    A bootstrap of members that all lie above the threshold has no width; the exact interval of their count has.

    Args:
        members: Scores of examples trained on, ``(n_in,)``, larger meaning more like a member.
        others: Scores of examples never seen, ``(n_out,)``.
        fpr: Largest false positive rate, in (0, 1).
        weights: Of the others, such as those under which their mix of classes is that of the members. Default: alike.
        resamples: Number of bootstrap samples.
        level: Nominal coverage.
        seed: Of the resampling.

    Raises:
        ConfigError: If ``fpr`` is not between 0 and 1.
        DataError: If one of them is empty or has a NaN.

    Examples:
        >>> low, high = tpr_interval([0.95, 0.95], [i / 100 for i in range(90)], 0.2)
        >>> round(low, 3), high
        (0.158, 1.0)
    """
    inside, outside = rank_scores(members, others)
    if not has_enough_negatives(len(outside) if weights is None else effective_size(weights), fpr):
        return None
    interval = bootstrap_curves(
        inside, outside, lambda wrong, right: tpr_at(wrong, right, fpr), resamples, level, seed, weights
    )
    if interval.low < interval.high:
        return interval
    exact = clopper_pearson(round(interval.low * len(inside)), len(inside), level)
    return Interval(min(interval.low, exact.low), max(interval.high, exact.high))


def mean_interval(
    values: Any,
    *,
    bounds: tuple[float, float] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a bootstrap interval of the mean of one number per example.

    Args:
        values: ``(n,)``.
        bounds: Between what they can lie. With them an interval has a width even where all values are the same, as
            the exact one of n coins that all came up heads. Default: unknown.
        resamples: Number of bootstrap samples.
        level: Nominal coverage.
        seed: Of the resampling.

    Raises:
        DataError: If there are none, or one is NaN.

    Examples:
        >>> mean_interval([0.5, 0.5])
        Interval(low=0.5, high=0.5)
    """
    interval = statistic_interval(values, lambda drawn: drawn.mean(axis=1), resamples, level, seed)
    if bounds is None or interval.low < interval.high:
        return interval
    # Values that were not drawn may have a share of 1 − δ^(1/n) and lie at either bound.
    drawn_fraction = ((1 - level) / 2) ** (1 / len(validate_scores(values, "interval")))
    low, high = (drawn_fraction * interval.low + (1 - drawn_fraction) * end for end in bounds)
    return Interval(low, high)


def quantile_interval(
    values: Any, quantile: float, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return a bootstrap interval of a quantile of one number per example.

    Args:
        values: ``(n,)``.
        quantile: From 0 to 1.
        resamples: Number of bootstrap samples.
        level: Nominal coverage.
        seed: Of the resampling.

    Raises:
        DataError: If there are none, or one is NaN.

    Examples:
        >>> quantile_interval([0.5, 0.5], 0.95)
        Interval(low=0.5, high=0.5)
    """
    statistic = lambda drawn: np.quantile(drawn, quantile, axis=1)  # noqa: E731
    return statistic_interval(values, statistic, resamples, level, seed)


def statistic_interval(
    values: Any, statistic: Callable[[Floats], Any], resamples: int, level: float, seed: int
) -> Interval:
    """Return the interval between the outer quantiles of a statistic of resampled rows of examples."""
    scores = validate_scores(values, "interval")
    generator, rows = np.random.default_rng(seed), max(1, BLOCK // len(scores))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    estimates = [statistic(scores[generator.integers(0, len(scores), (size, len(scores)))]) for size in sizes]
    return percentile_interval(np.concatenate(estimates), level)


def percentile_interval(estimates: Floats, level: float) -> Interval:
    """Return the interval between the outer quantiles."""
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def compute_areas(false_rates: Floats, true_rates: Floats) -> Floats:
    """Return the area under each curve by trapezoids, which counts ties a half."""
    return np.asarray(np.trapezoid(true_rates, false_rates, axis=1))


def tpr_at(false_rates: Floats, true_rates: Floats, fpr: float) -> Floats:
    """Return the largest true positive rate of each curve whose false positive rate is at most ``fpr``."""
    return np.asarray(np.where(false_rates <= fpr, true_rates, 0.0).max(axis=1))


def bootstrap_curves(
    members: Integers,
    others: Integers,
    statistic: Callable[[Floats, Floats], Floats],
    resamples: int,
    level: float,
    seed: int,
    weights: Any = None,
) -> Interval:
    """Return the interval between the outer quantiles of a statistic of resampled ROC curves."""
    generator = np.random.default_rng(seed)
    blocks = resample_curves(members, others, resamples, generator, weights)
    estimates = [statistic(false_rates, true_rates) for false_rates, true_rates in blocks]
    return percentile_interval(np.concatenate(estimates), level)


def resample_curves(
    members: Integers, others: Integers, resamples: int, generator: np.random.Generator, weights: Any = None
) -> Iterator[tuple[Floats, Floats]]:
    """Yield false and true positive rates of resampled curves in blocks, each ``(b, levels + 1)`` from 0 up to 1."""
    width = 1 + int(max(members.max(), others.max()))
    rows = max(1, BLOCK // width)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        yield resample_rates(others, width, count, generator, weights), resample_rates(members, width, count, generator)


def resample_rates(
    ranks: Integers, width: int, count: int, generator: np.random.Generator, weights: Any = None
) -> Floats:
    """Return the share of each resample at or above every level, from the top level down, after a leading 0."""
    chosen = generator.integers(0, len(ranks), (count, len(ranks)))
    positions = (ranks[chosen] + width * np.arange(count)[:, None]).ravel()
    each = None if weights is None else np.asarray(weights, dtype=np.float64)[chosen].ravel()
    counts = np.bincount(positions, each, minlength=count * width).reshape(count, width)
    total = len(ranks) if each is None else np.maximum(counts.sum(axis=1), 1e-300)[:, None]
    return np.pad(np.cumsum(counts[:, ::-1], axis=1), ((0, 0), (1, 0))) / total
