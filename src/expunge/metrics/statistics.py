"""From values per seed to a mean with its interval, and the exact interval of a share that was counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import isfinite, sqrt
from typing import Any, TypeVar

import numpy as np

from expunge.errors import DataError
from expunge.metrics.arrays import Interval

Model = TypeVar("Model")


@dataclass(frozen=True)
class Summary:
    """Values of one score over seeds, their mean and the half-width of its interval.

    Args:
        values: One per seed; None where the score could not be stated.
        mean: Of the stated values; None if there are none.
        half_width: Half-width of the 95 % t-interval of the mean; None for fewer than two values.
    """

    values: tuple[float | None, ...]
    mean: float | None
    half_width: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the form of the result document."""
        return {"values": list(self.values), "mean": self.mean, "half_width": self.half_width}


def summarize(values: Sequence[float | None], level: float = 0.95) -> Summary:
    """Return the mean of the values with its Student-t interval: t_{n−1} · s / √n to both sides.

    Args:
        values: One per seed; None and what is not finite are kept as None and left out of the mean.
        level: Coverage of the interval.

    Examples:
        >>> summarize([1.0, 2.0, 3.0])
        Summary(values=(1.0, 2.0, 3.0), mean=2.0, half_width=2.484137711...)
        >>> summarize([4.0])
        Summary(values=(4.0,), mean=4.0, half_width=None)
    """
    clean = tuple(float(value) if value is not None and isfinite(value) else None for value in values)
    known = [value for value in clean if value is not None]
    if not known:
        return Summary(clean, None, None)
    return Summary(clean, float(np.mean(known)), compute_half_width(known, level))


def compute_half_width(values: Sequence[float], level: float) -> float | None:
    """Return the half-width of the t-interval of the mean; None for fewer than two values."""
    from scipy.stats import t

    count = len(values)
    if count < 2:
        return None
    return float(t.ppf((1 + level) / 2, count - 1) * np.std(values, ddof=1) / sqrt(count))


def noise_floor(splits: Sequence[Sequence[Model]], gap: Callable[[Model, Model], float | None]) -> Summary | None:
    """Return the gap between models that were retrained on the same split: what no method can be told apart within.

    The gap of a split is the mean over its ordered pairs; the interval is over splits, since the pairs of one split
    share models and are not independent.

    Args:
        splits: The retrained models of each split. A split with one model has no pair and is left out.
        gap: Distance of the first from the second; None if it cannot be stated.

    Returns:
        One value per split; None if no split has two models.

    Examples:
        >>> noise_floor([[1.0, 2.0], [5.0, 8.0]], lambda a, b: abs(a - b)).values
        (1.0, 3.0)
    """
    floors = [mean_gap(models, gap) for models in splits if len(models) > 1]
    return summarize(floors) if floors else None


def mean_gap(models: Sequence[Model], gap: Callable[[Model, Model], float | None]) -> float | None:
    """Return the mean gap over ordered pairs of models; None if one cannot be stated."""
    gaps = [gap(first, second) for first, second in permutations(models, 2)]
    known = [value for value in gaps if value is not None]
    return float(np.mean(known)) if len(known) == len(gaps) else None


def clopper_pearson(hits: int, trials: int, level: float = 0.95) -> Interval:
    """Return the exact interval of a probability from a count of independent trials.

    Clopper and Pearson, 1934, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial":
    quantile (1 − level)/2 of Beta(k, n − k + 1) and quantile (1 + level)/2 of Beta(k + 1, n − k). Its coverage is at
    least ``level`` at every probability.

    Args:
        hits: k, from 0 to n.
        trials: n, at least 1.
        level: Least coverage.

    Raises:
        DataError: If the count does not fit the trials.

    Examples:
        >>> low, high = clopper_pearson(500, 500)
        >>> round(low, 4), high
        (0.9926, 1.0)
    """
    from scipy.stats import beta

    if trials < 1 or not 0 <= hits <= trials:
        raise DataError("a count from 0 to at least one trial", f"{hits} of {trials}", "pass the count and the trials")
    low = float(beta.ppf((1 - level) / 2, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf((1 + level) / 2, hits + 1, trials - hits)) if hits < trials else 1.0
    return Interval(low, high)
