"""After which updates the control half is evaluated, and how the history shows that."""

from __future__ import annotations

import math
from collections.abc import Sequence

from expunge.budget import ControlEvaluation
from expunge.engine import HistoryRow

MAX_EVALUATIONS = 10
"""Evaluations on the control half in a run, at most, evenly spaced; the last one after the last update."""


def schedule_evaluations(total: int, num_evaluations: int = MAX_EVALUATIONS) -> set[int]:
    """Return after how many updates there are evaluations.

    Examples:
        >>> sorted(schedule_evaluations(4)), sorted(schedule_evaluations(25))
        ([1, 2, 3, 4], [2, 5, 8, 10, 12, 15, 18, 20, 22, 25])
    """
    return {round(total * number / num_evaluations) for number in range(1, num_evaluations + 1)} - {0}


def merge_evaluations(history: list[HistoryRow], evaluations: Sequence[ControlEvaluation]) -> list[HistoryRow]:
    """Return the history with each evaluation in the row of the update before it."""
    by_step = {evaluation.step - 1: evaluation for evaluation in evaluations}
    return [row | to_history_row(by_step[row["step"]]) if row["step"] in by_step else row for row in history]


def to_history_row(evaluation: ControlEvaluation) -> HistoryRow:
    """Return what the history shows of an evaluation; what is not finite is None, as JSON has no NaN."""
    values = {
        "held_out_loss": evaluation.loss,
        "held_out_accuracy": evaluation.accuracy,
        "spent": evaluation.spent,
        "tolerance": evaluation.tolerance,
        "shortfall": evaluation.shortfall,
    }
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
