"""Levels: how δ is spent over a stream of requests, and over a list of candidates."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.budget.certificate import validate_level
from expunge.errors import ConfigError


def spend_alpha(opening: int, delta: float = 0.05) -> float:
    """Return δ_k = δ/(k(k + 1)) of the k-th opening over a stream of requests; all of them together add up to δ.

    A stream has no known end, so later openings have less. Each needs fresh examples: those of an earlier opening have
    been seen, and the next request may depend on what they said.

    Args:
        opening: k, from 1.
        delta: δ of the whole stream. Default .05.

    Raises:
        ConfigError: If k is below 1 or δ not between 0 and 1.

    Examples:
        >>> spend_alpha(1), round(sum(spend_alpha(k) for k in range(1, 1000)), 4)
        (0.025, 0.05)
    """
    if opening < 1:
        raise ConfigError("an opening counted from 1", f"{opening}", "count the openings of the stream")
    return validate_level(delta) / (opening * (opening + 1))


def count_certified(bounds: Sequence[float], allowed: float) -> int:
    """Return how many candidates of a list are certified, from its start up to the first that is not.

    One split may certify a list of candidates at δ each without any correction if the list and its order were frozen
    before the split was opened, and if it ends at the first failure: an error needs a first bad candidate to pass.

    Args:
        bounds: Of the candidates, in the frozen order.
        allowed: The largest drop that the budget permits.

    Examples:
        >>> count_certified([0.004, 0.008, 0.02, 0.006], allowed=0.01)
        2
    """
    return next((index for index, bound in enumerate(bounds) if not bound <= allowed), len(bounds))
