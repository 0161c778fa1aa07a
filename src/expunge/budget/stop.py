"""When to stop forgetting: never beyond what held-out examples look like."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from expunge.budget.certificate import checked_level, truths
from expunge.budget.levels import level_of
from expunge.errors import ConfigError
from expunge.metrics import Interval, strata

Verdict = Literal["equivalent", "remembered", "over-forgotten", "undecided"]


class Equivalence(NamedTuple):
    """What one look found.

    Args:
        verdict: ``equivalent`` where the interval lies inside .5 ± m; ``remembered`` where it lies above .5 and reaches
            beyond the margin, ``over-forgotten`` where it lies below; ``undecided`` else.
        auc: Of telling forgotten from held-out examples.
        interval: Of the AUC, at the level of this look.
        margin: m.
    """

    verdict: Verdict
    auc: float
    interval: Interval
    margin: float


def equivalence(
    forgotten: Any,
    others: Any,
    margin: float = 0.05,
    delta: float = 0.05,
    look: int = 1,
    *,
    classes: tuple[Any, Any] = (None, None),
) -> Equivalence:
    """Test whether forgotten examples look like held-out ones of the same classes: two one-sided tests on the AUC.

    The AUC of one number per example (the loss, the confidence) must be shown to lie within .5 ± m. That it does not
    differ significantly from .5 would not be enough: with few examples nothing does. Too few to show it even at an AUC
    of exactly .5 are undecided. The rule is about the average example and one score; it is no bound on an attack on a
    single one. The level is spent over the looks, δ_k = δ/(k(k + 1)); the interval is DeLong's within classes at
    1 − 2δ_k, below 30 examples on a side an exact one.

    Args:
        forgotten: Scores of the forgotten examples, larger meaning more like a member.
        others: Scores of held-out examples of the same classes.
        margin: m in (0, .5). Default .05.
        delta: δ over all looks. Default .05.
        look: k, which look this is, from 1.
        classes: Class of each forgotten and of each held-out example. Default: all are of one class.

    Raises:
        ConfigError: If the margin or δ is out of range.
        DataError: If one side is empty or has a NaN.

    Examples:
        >>> scores = np.arange(2000.0)
        >>> equivalence(scores[::2], scores[1::2]).verdict, equivalence(scores[:9], scores[:9]).verdict
        ('equivalent', 'undecided')
    """
    if not 0 < margin < 0.5:
        raise ConfigError("a margin between 0 and .5", f"{margin}", "use .05")
    level = level_of(look, delta)
    sides = strata(forgotten, others, *classes)
    interval = sides.interval(level)
    decided = least_margin(*sides.sizes, level) <= margin
    return Equivalence(verdict_of(interval, margin, decided), sides.auc, interval, margin)


def verdict_of(interval: Interval, margin: float, decided: bool) -> Verdict:
    """Return what an interval of the AUC says."""
    if decided and 0.5 - margin < interval.low and interval.high < 0.5 + margin:
        return "equivalent"
    if interval.low > 0.5 and interval.high > 0.5 + margin:
        return "remembered"
    if interval.high < 0.5 and interval.low < 0.5 - margin:
        return "over-forgotten"
    return "undecided"


def least_margin(forgotten: int, others: int, delta: float) -> float:
    """Return the least margin that so many examples can show: z_{1−δ}·√((n + m + 1)/(12nm)), at an AUC of exactly .5.

    Examples:
        >>> round(least_margin(1000, 1000, 0.05), 4)
        0.0212
    """
    from scipy.stats import norm

    spread = (forgotten + others + 1) / (12 * forgotten * others)
    return float(norm.ppf(1 - checked_level(delta)) * np.sqrt(spread))


def unrecognised(right: Any, at_most: float = 0.005) -> bool:
    """Return whether held-out examples of a forgotten class or concept are no longer recognised.

    Args:
        right: Whether each is still given the forgotten class, ``(n,)`` bool.
        at_most: Largest share. Default .005.

    Raises:
        DataError: If there is none.

    Examples:
        >>> unrecognised([False] * 300 + [True])
        True
    """
    return float(truths(right).mean()) <= at_most
