"""What metrics of many models take: one number per model and example, read from logits where those are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.errors import DataError
from expunge.metrics.arrays import Floats
from expunge.metrics.scores import margin

MIN_MODELS = 2
"""Models on each side, at least: one has no distribution."""


def model_scores(outputs: Any, targets: Any = None) -> Floats:
    """Return the scores of many models, ``(models, examples)`` in float64.

    Args:
        outputs: Scores ``(models, examples)``, taken as they are, or logits ``(models, examples, classes)``, of which
            the margin log p_y − log(1 − p_y) is taken.
        targets: Labels ``(examples,)``, needed with logits.

    Raises:
        DataError: If they have another form, there are fewer than two models or no examples, or a score is not finite.

    Examples:
        >>> model_scores([[[3.0, 1.0]], [[0.0, 1.0]]], [0]).tolist()
        [[2.0], [-1.0]]
    """
    array = np.asarray(outputs, dtype=np.float64)
    if array.ndim == 3:
        if targets is None:
            raise DataError("labels with logits of many models", "none", "pass targets=, or scores in place of logits")
        array = np.stack([margin(rows, targets) for rows in array]) if len(array) else array[:, :, 0]
    if array.ndim != 2 or len(array) < MIN_MODELS or not array.shape[1]:
        expected = "scores (models, examples) or logits (models, examples, classes) of at least two models"
        raise DataError(expected, f"shape {np.shape(outputs)}", "stack the outputs of the models, one model per row")
    if not np.isfinite(array).all():
        raise DataError("finite scores of every model", "NaN or infinity", "leave out models that diverged")
    return array


def validate_model_scores(unlearned: Any, retrained: Any, targets: Any = None) -> tuple[Floats, Floats]:
    """Return the scores of unlearned and of retrained models on the same examples.

    Raises:
        DataError: If one side does not fit, or the numbers of examples differ.
    """
    ours, theirs = model_scores(unlearned, targets), model_scores(retrained, targets)
    if ours.shape[1] != theirs.shape[1]:
        actual = f"{ours.shape[1]} and {theirs.shape[1]}"
        raise DataError("both sides on the same examples", actual, "collect both on the same examples in one order")
    return ours, theirs
