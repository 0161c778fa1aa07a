"""The hand-over: which iterate is returned, and what could have been had."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Literal, NamedTuple

from expunge.errors import ConfigError

Preference = Literal["budget", "forgetting"]


class Candidate(NamedTuple):
    """An iterate on the control split.

    Args:
        spent: In the budget's own unit.
        shortfall: How far its forgetting is from what was asked, ≥ 0; 0 where it is reached. Smaller is better.
    """

    spent: float
    shortfall: float


class Selection(NamedTuple):
    """Which iterate is handed over.

    Args:
        chosen: Its place among the candidates.
        within_budget: Whether it is inside the budget.
        target_met: Whether it forgets as asked.
    """

    chosen: int
    within_budget: bool
    target_met: bool


def select_checkpoint(
    candidates: Sequence[Candidate], allowed: float, priority: Preference = "budget", slack: float = 0.0
) -> Selection:
    """Return the candidate that forgets most inside the budget, the cheaper one of equals, the later one of these.

    Costs below 0 are no cheaper than 0: a lucky reading is no merit.

    Where none that forgets as asked is inside, ``priority="forgetting"`` gives the cheapest of those that forget as
    asked, or else the one that forgets most, of those whose cost is known. Where none is inside at all,
    ``priority="budget"`` gives the cheapest.

    Args:
        candidates: The iterates, the original among them if it may be handed back.
        allowed: What may be spent.
        priority: ``budget`` (default) or ``forgetting``.
        slack: What is missing may differ by so much between equals, its sampling error. Default 0.

    Raises:
        ConfigError: If there is no candidate.

    Examples:
        >>> select_checkpoint([Candidate(0.2, 0.5), Candidate(0.9, 0.1), Candidate(1.5, 0.0)], allowed=1.0)
        Selection(chosen=1, within_budget=True, target_met=False)
    """
    if not candidates:
        raise ConfigError("at least one iterate to choose from", "none", "keep the original as the first one")
    inside = [index for index, each in enumerate(candidates) if each.spent <= allowed]
    measured = [index for index, each in enumerate(candidates) if isfinite(each.spent)]
    considered = (measured or [*range(len(candidates))]) if priority == "forgetting" else inside
    # What is not reached is never as good as what is, however small the difference.
    reached, anyway = ([index for index in side if candidates[index].shortfall <= 0] for side in (inside, considered))
    pool = reached or anyway or considered
    if pool:
        min_shortfall = min(max(0.0, candidates[index].shortfall) for index in pool)
        equals = [index for index in pool if candidates[index].shortfall <= min_shortfall + slack]
        best = min(equals, key=lambda index: (max(0.0, candidates[index].spent), -index))
    else:
        best = min(range(len(candidates)), key=lambda index: (candidates[index].spent, candidates[index].shortfall))
    return Selection(best, candidates[best].spent <= allowed, candidates[best].shortfall <= 0)


def pareto_front(candidates: Sequence[Candidate]) -> list[int]:
    """Return which candidates no other one beats in both respects, from the cheapest to the one that forgets most.

    Examples:
        >>> pareto_front([Candidate(0.2, 0.5), Candidate(0.9, 0.6), Candidate(1.5, 0.0)])
        [0, 2]
    """
    front: list[int] = []
    for index in sorted(range(len(candidates)), key=lambda index: candidates[index]):
        if not front or candidates[index].shortfall < candidates[front[-1]].shortfall:
            front.append(index)
    return front
