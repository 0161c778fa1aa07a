"""What every metric takes: logits with labels, or a row of numbers, checked and in float64; and an interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from expunge.errors import DataError
from expunge.paths import describe_value

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Interval(NamedTuple):
    """Lower and upper end of an interval."""

    low: float
    high: float


def to_float_array(values: Any, name: str) -> Floats:
    """Return values as an array of float64."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        expected, hint = f"an array of numbers for the {name}", "pass a tensor, an array or a list of numbers"
        raise DataError(expected, describe_value(values), hint) from error


def validate_logits(logits: Any) -> Floats:
    """Return logits ``(n, classes)`` in float64."""
    array = to_float_array(logits, "logits")
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError("logits of shape (examples, classes)", f"shape {array.shape}", "pass one row per example")
    if array.size and not np.isfinite(array.max(1)).all():
        raise DataError("a finite largest logit per example", "NaN or infinity", "check whether the model diverged")
    return array


def validate_labels(targets: Any, shape: tuple[int, ...]) -> Integers:
    """Return labels ``(n,)`` in int64 that fit logits of ``shape`` ``(n, classes)``."""
    labels = np.asarray(targets)
    if labels.shape != shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        actual = f"shape {labels.shape} of {labels.dtype}"
        raise DataError(f"one integer label for each of {shape[0]} examples", actual, "pass the targets of the logits")
    if labels.size and not 0 <= labels.min() <= labels.max() < shape[1]:
        actual = f"labels from {labels.min()} to {labels.max()}"
        raise DataError(f"labels from 0 to {shape[1] - 1}", actual, "use a model with a logit for every class")
    return labels.astype(np.int64)


def validate_scores(scores: Any, name: str) -> Floats:
    """Return one number per example ``(n,)`` in float64; infinities are allowed, they have a rank."""
    array = to_float_array(scores, name)
    if array.ndim != 1 or array.size == 0 or np.isnan(array).any():
        actual = "NaN among them" if array.ndim == 1 and array.size else f"shape {array.shape}"
        raise DataError(f"at least one number per example for the {name}", actual, "pass one score per example")
    return array
