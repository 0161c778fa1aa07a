"""The pair: the forget thing and the retain thing, wherever two of a kind travel together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")
S = TypeVar("S")

Role = Literal["forget", "retain"]
ROLES: tuple[Role, Role] = ("forget", "retain")


class Pair(NamedTuple, Generic[T]):
    """Two things of one type, the first for forgetting and the second for retaining.

    Examples:
        >>> Pair(1, 2).map(lambda n: 10 * n)
        Pair(forget=10, retain=20)
        >>> Pair(1, 2).of("retain")
        2
    """

    forget: T
    retain: T

    def of(self, role: Role) -> T:
        """Return the thing that belongs to ``role``."""
        return self.forget if role == "forget" else self.retain

    def map(self, function: Callable[[T], S]) -> Pair[S]:
        """Return the pair of ``function`` applied to both."""
        return Pair(function(self.forget), function(self.retain))
