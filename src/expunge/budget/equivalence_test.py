"""When to stop forgetting: never beyond what held-out examples look like."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from expunge.budget.alpha_spending import spend_alpha
from expunge.budget.certificate import as_bool_array, validate_level
from expunge.errors import ConfigError
from expunge.metrics import Interval, build_strata

EquivalenceOutcome = Literal["equivalent", "remembered", "over-forgotten", "undecided"]


class EquivalenceResult(NamedTuple):
    """What one look found.

    Args:
        verdict: ``equivalent`` where the interval lies inside .5 ± m; ``remembered`` where it lies above .5 and reaches
            beyond the margin, ``over-forgotten`` where it lies below; ``undecided`` else.
        auc: Of telling forgotten from held-out examples.
        interval: Of the AUC, at the level of this look.
        margin: m.
    """

    verdict: EquivalenceOutcome
    auc: float
    interval: Interval
    margin: float


def run_equivalence_test(
    forgotten: Any,
    held_out: Any,
    margin: float = 0.05,
    delta: float = 0.05,
    look: int = 1,
    *,
    classes: tuple[Any, Any] = (None, None),
) -> EquivalenceResult:
    """Test whether forgotten examples look like held-out ones of the same classes: two one-sided tests on the AUC.

    The AUC of one number per example (the loss, the confidence) must be shown to lie within .5 ± m. That it does not
    differ significantly from .5 would not be enough: with few examples nothing does. Too few to show it even at an AUC
    of exactly .5 are undecided. The rule is about the average example and one score; it is no bound on an attack on a
    single one. The level is spent over the looks, δ_k = δ/(k(k + 1)); the interval is DeLong's within classes at
    1 − 2δ_k, below 30 examples on a side an exact one.

    Args:
        forgotten: Scores of the forgotten examples, larger meaning more like a member.
        held_out: Scores of held-out examples of the same classes.
        margin: m in (0, .5). Default .05.
        delta: δ over all looks. Default .05.
        look: k, which look this is, from 1.
        classes: Class of each forgotten and of each held-out example. Default: all are of one class.

    Raises:
        ConfigError: If the margin or δ is out of range.
        DataError: If one side is empty or has a NaN.

    Examples:
        >>> scores = np.arange(2000.0)
        >>> run_equivalence_test(scores[::2], scores[1::2]).verdict
        'equivalent'
        >>> run_equivalence_test(scores[:9], scores[:9]).verdict
        'undecided'
    """
    if not 0 < margin < 0.5:
        raise ConfigError("a margin between 0 and .5", f"{margin}", "use .05")
    level = spend_alpha(look, delta)
    sides = build_strata(forgotten, held_out, *classes)
    interval = sides.interval(level)
    decided = min_margin(*sides.sizes, level) <= margin
    return EquivalenceResult(decide_outcome(interval, margin, decided), sides.auc, interval, margin)


def decide_outcome(interval: Interval, margin: float, decided: bool) -> EquivalenceOutcome:
    """Return what an interval of the AUC says."""
    if decided and 0.5 - margin < interval.low and interval.high < 0.5 + margin:
        return "equivalent"
    if interval.low > 0.5 and interval.high > 0.5 + margin:
        return "remembered"
    if interval.high < 0.5 and interval.low < 0.5 - margin:
        return "over-forgotten"
    return "undecided"


def min_margin(forgotten: int, held_out: int, delta: float) -> float:
    """Return the least margin that so many examples can show: z_{1−δ}·√((n + m + 1)/(12nm)), at an AUC of exactly .5.

    Examples:
        >>> round(min_margin(1000, 1000, 0.05), 4)
        0.0212
    """
    from scipy.stats import norm

    spread = (forgotten + held_out + 1) / (12 * forgotten * held_out)
    return float(norm.ppf(1 - validate_level(delta)) * np.sqrt(spread))


def is_unrecognized(correct: Any, max_fraction: float = 0.005) -> bool:
    """Return whether held-out examples of a forgotten class or concept are no longer recognized.

    Args:
        correct: Whether each is still given the forgotten class, ``(n,)`` bool.
        max_fraction: Largest share. Default .005.

    Raises:
        DataError: If there is none.

    Examples:
        >>> is_unrecognized([False] * 300 + [True])
        True
    """
    return float(as_bool_array(correct).mean()) <= max_fraction
