"""The interval of a share that was counted."""

from __future__ import annotations

from expunge.errors import DataError
from expunge.metrics.interval import Interval


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
