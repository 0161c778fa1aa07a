"""What a table of a result says about one number, whichever room computes it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Direction = Literal["higher", "lower", "match"]


class Column(NamedTuple):
    """What a table says about one score.

    Args:
        key: The short name in results.
        label: Head of the column.
        unit: Of the number; empty for a pure one.
        definition: What is computed, with every trap stated, and the target.
        direction: Whether to be near the target ("match"), high or low is good.
    """

    key: str
    label: str
    unit: str
    definition: str
    direction: Direction
