"""Accuracy in percent, over all examples and per class, and the metrics UA, RA and TA."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.metrics.arrays import validate_labels, validate_logits
from expunge.metrics.metric import Metric
from expunge.metrics.outputs import ModelOutputs, SplitPart


def accuracy(logits: Any, targets: Any) -> float | None:
    """Return the share of examples whose largest logit is that of their label; None if there are no examples.

    Args:
        logits: ``(n, classes)``; of equal logits the first counts.
        targets: Labels ``(n,)``.

    Returns:
        Percent, from 0 to 100.

    Raises:
        DataError: If logits and labels do not fit.

    Examples:
        >>> accuracy([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]], [0, 1, 0, 0])
        75.0
    """
    rows = validate_logits(logits)
    labels = validate_labels(targets, rows.shape)
    return 100.0 * float(np.mean(rows.argmax(1) == labels)) if labels.size else None


def per_class_accuracy(logits: Any, targets: Any) -> list[float | None]:
    """Return the accuracy among the examples of each class; None for a class of which there are none.

    Args:
        logits: ``(n, classes)``.
        targets: Labels ``(n,)``.

    Returns:
        Percent for each class of the head.

    Raises:
        DataError: If logits and labels do not fit.

    Examples:
        >>> per_class_accuracy([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [1.0, 0.0, 0.0]], [0, 1, 1])
        [100.0, 50.0, None]
    """
    rows = validate_logits(logits)
    labels = validate_labels(targets, rows.shape)
    classes = rows.shape[1]
    counts = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[rows.argmax(1) == labels], minlength=classes)
    return [100.0 * float(hit) / float(count) if count else None for hit, count in zip(right, counts, strict=True)]


def measure_part(model: ModelOutputs, part: SplitPart) -> float | None:
    """Return the accuracy on a part in percent."""
    side = model.part(part)
    return accuracy(side.logits, side.targets)


def _measure_error(model: ModelOutputs, retrained: ModelOutputs | None) -> float | None:
    right = measure_part(model, "forget")
    return None if right is None else 100.0 - right


UNLEARNING_ACCURACY = Metric(
    _measure_error,
    "ua",
    "UA",
    "the value of the retrained model: 100 for a forgotten class, about the test error for random examples",
    "100 minus the accuracy on the forget examples, in eval mode and with the test transform; some public code prints "
    "the forget accuracy itself under this name.",
    unit="%",
    name="unlearning_accuracy",
    summary="Measure the error on the forget examples, 100 − accuracy (UA).",
)
RETAIN_ACCURACY = Metric(
    lambda model, _: measure_part(model, "retain"),
    "ra",
    "RA",
    "the value of the retrained model",
    "Accuracy on the retain examples, in eval mode and with the test transform, not the augmented one.",
    unit="%",
    name="retain_accuracy",
    summary="Measure the accuracy on the retain examples (RA).",
)
TEST_ACCURACY = Metric(
    lambda model, _: measure_part(model, "test"),
    "ta",
    "TA",
    "the value of the retrained model",
    "Accuracy on the test examples, without those of classes of which nothing is retained: with them a forgotten class "
    "would count as lost utility.",
    unit="%",
    name="test_accuracy",
    summary="Measure the accuracy on the test examples, without a forgotten class (TA).",
)
