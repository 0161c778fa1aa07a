"""Betting: an exact upper bound on a mean drop of values whose range is known, from paired examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.budget.certificate import validate_level
from expunge.errors import ConfigError, DataError
from expunge.metrics.arrays import Floats

MAX_BET = 0.9
"""c, the share of its capital that a bet may put at risk: at 1 a single example could end it."""
BISECTION_STEPS = 50
"""Of the interval in which the bound lies."""


def betting_bound(drops: Any, width: float = 1.0, delta: float = 0.05, seed: int = 0) -> float:
    """Return an upper bound on the mean of paired drops that is missed with probability δ at most, whatever their law.

    Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS-B 2024, arXiv
    2010.09686), the one-sided half of their hedged capital. With x_i = (d_i + R)/2R in [0, 1] in an order drawn by
    ``seed``, somebody who bets that their mean is below m has after t examples the capital
    K_t(m) = Π_{i ≤ t} (1 − λ_i(m)(x_i − m)), which is a supermartingale where the mean is m or more. So K_t(m) ≥ 1/δ
    for any t has probability δ at most (Ville), and the bound is the least m at which that happens. The stakes are
    λ_i(m) = min(√(2 ln(1/δ)/(n s²_{i−1})), c/(1 − m)), with s²_i = (¼ + Σ_{j ≤ i} (x_j − x̄_j)²)/(i + 1) and
    x̄_i = (½ + Σ_{j ≤ i} x_j)/(i + 1): they know nothing but the examples before. K_t(m) grows with m, so that the bound
    is found by halving an interval; what is returned is its upper end.

    Of empirical Bernstein (Maurer and Pontil, 2009), the other bound of this kind, it costs a fifth where no drop is
    seen. How often it is missed: docs/results/certificate-coverage.md.

    Args:
        drops: d_i, one for each example, in [−R, R].
        width: R, the width of the range of a single value. Default 1.
        delta: δ in (0, 1). Default .05.
        seed: Of the order. Default 0.

    Raises:
        ConfigError: If δ or the range makes no sense.
        DataError: If there is no drop, or one outside of its range.

    Examples:
        >>> round(betting_bound([0.0] * 480 + [0.5] * 20), 3)
        0.034
    """
    values = validate_drops(drops, width)
    order = np.random.default_rng(seed).permutation(len(values))
    return float(compute_betting_bounds(values[order][None], width, delta)[0])


def min_mean_drop(examples: int, width: float = 1.0, delta: float = 0.05) -> float:
    """Return what n examples say where none of them changed: the least drop to plan for, about R ln(1/δ)/(cn).

    Examples:
        >>> round(min_mean_drop(500), 4)
        0.0069
    """
    return betting_bound(np.zeros(examples), width, delta)


def compute_betting_bounds(drops: Floats, width: float, delta: float) -> Floats:
    """Return the bound for each row of drops, ``(rows, n)``, in the order in which they are bet on."""
    scaled, level = (drops / width + 1) / 2, np.log(1 / validate_level(delta))
    stake = bet_sizes(scaled, level)
    low, high = np.zeros(len(scaled)), np.ones(len(scaled))
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        exceeded = max_log_wealth(scaled, stake, middle) >= level
        low, high = np.where(exceeded, low, middle), np.where(exceeded, middle, high)
    return np.asarray(width * (2 * high - 1))


def bet_sizes(values: Floats, level: float) -> Floats:
    """Return √(2 ln(1/δ)/(n s²)) of the examples before each one."""
    rows, count = values.shape
    seen = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(values, 1)) / (seen + 1)
    spreads = (0.25 + np.cumsum((values - means) ** 2, 1)) / (seen + 1)
    before = np.concatenate([np.full((rows, 1), 0.25), spreads[:, :-1]], 1)
    return np.asarray(np.sqrt(2 * level / (count * before)))


def max_log_wealth(values: Floats, stake: Floats, mean: Floats) -> Floats:
    """Return the largest logarithm of the capital on the way, for each row."""
    at = mean[:, None]
    with np.errstate(divide="ignore"):
        bold = np.minimum(stake, MAX_BET / (1 - at))
    return np.asarray(np.cumsum(np.log1p(-bold * (values - at)), 1).max(1))


def validate_drops(drops: Any, width: float) -> Floats:
    """Return drops that lie within their range."""
    if not 0 < width < np.inf:
        raise ConfigError("a range of positive, finite width", f"{width}", "name the bounds of a single value")
    values = np.asarray(drops, dtype=np.float64)
    # Rounding of the last digit is no drop outside of the range.
    if values.ndim != 1 or not values.size or not bool((np.abs(values) <= width * (1 + 1e-9)).all()):
        actual = (
            f"shape {values.shape}" if values.ndim != 1 or not values.size else f"{np.abs(values).max():g} among them"
        )
        raise DataError(
            f"a drop of at most {width:g} for each example", actual, "name bounds that hold for every value"
        )
    return np.asarray(np.clip(values, -width, width))
