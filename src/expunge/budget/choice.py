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
        missing: How far its forgetting is from what was asked, ≥ 0; 0 where it is reached. Smaller is better.
    """

    spent: float
    missing: float


class Choice(NamedTuple):
    """Which iterate is handed over.

    Args:
        chosen: Its place among the candidates.
        kept: Whether it is inside the budget.
        reached: Whether it forgets as asked.
    """

    chosen: int
    kept: bool
    reached: bool


def choose(
    candidates: Sequence[Candidate], allowed: float, prefer: Preference = "budget", slack: float = 0.0
) -> Choice:
    """Return the candidate that forgets most inside the budget, the cheaper one of equals, the later one of these.

    Costs below 0 are no cheaper than 0: a lucky reading is no merit.

    Where none that forgets as asked is inside, ``prefer="forgetting"`` gives the cheapest of those that forget as
    asked, or else the one that forgets most, of those whose cost is known. Where none is inside at all,
    ``prefer="budget"`` gives the cheapest.

    Args:
        candidates: The iterates, the original among them if it may be handed back.
        allowed: What may be spent.
        prefer: ``budget`` (default) or ``forgetting``.
        slack: What is missing may differ by so much between equals, its sampling error. Default 0.

    Raises:
        ConfigError: If there is no candidate.

    Examples:
        >>> choose([Candidate(0.2, 0.5), Candidate(0.9, 0.1), Candidate(1.5, 0.0)], allowed=1.0)
        Choice(chosen=1, kept=True, reached=False)
    """
    if not candidates:
        raise ConfigError("at least one iterate to choose from", "none", "keep the original as the first one")
    inside = [index for index, each in enumerate(candidates) if each.spent <= allowed]
    measured = [index for index, each in enumerate(candidates) if isfinite(each.spent)]
    considered = (measured or [*range(len(candidates))]) if prefer == "forgetting" else inside
    # What is not reached is never as good as what is, however small the difference.
    reached, anyway = ([index for index in side if candidates[index].missing <= 0] for side in (inside, considered))
    pool = reached or anyway or considered
    if pool:
        least = min(max(0.0, candidates[index].missing) for index in pool)
        equals = [index for index in pool if candidates[index].missing <= least + slack]
        best = min(equals, key=lambda index: (max(0.0, candidates[index].spent), -index))
    else:
        best = min(range(len(candidates)), key=lambda index: (candidates[index].spent, candidates[index].missing))
    return Choice(best, candidates[best].spent <= allowed, candidates[best].missing <= 0)


def frontier(candidates: Sequence[Candidate]) -> list[int]:
    """Return which candidates no other one beats in both respects, from the cheapest to the one that forgets most.

    Examples:
        >>> frontier([Candidate(0.2, 0.5), Candidate(0.9, 0.6), Candidate(1.5, 0.0)])
        [0, 2]
    """
    found: list[int] = []
    for index in sorted(range(len(candidates)), key=lambda index: candidates[index]):
        if not found or candidates[index].missing < candidates[found[-1]].missing:
            found.append(index)
    return found
