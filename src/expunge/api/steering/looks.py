"""Looks: after which updates of a run there are control readings, and how its history shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from expunge.budget import Look
from expunge.engine import Row

LOOKS = 10
"""Control readings of a run, at most, evenly spaced; the last one after the last update."""


def due(total: int, looks: int = LOOKS) -> set[int]:
    """Return after how many updates there are readings.

    Examples:
        >>> sorted(due(4)), sorted(due(25))
        ([1, 2, 3, 4], [2, 5, 8, 10, 12, 15, 18, 20, 22, 25])
    """
    return {round(total * number / looks) for number in range(1, looks + 1)} - {0}


def with_readings(history: list[Row], looks: Sequence[Look]) -> list[Row]:
    """Return the history with each control reading in the row of the update before it."""
    found = {look.step - 1: look for look in looks}
    return [row | columns(found[row["step"]]) if row["step"] in found else row for row in history]


def columns(look: Look) -> Row:
    """Return what the history shows of a reading; what is not finite is None, as JSON has no NaN."""
    values = {
        "held_out_loss": look.loss,
        "held_out_accuracy": look.accuracy,
        "spent": look.spent,
        "tolerance": look.tolerance,
        "missing": look.missing,
    }
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
