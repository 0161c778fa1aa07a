"""Accuracy in percent, over all examples and per class."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.metrics.arrays import validate_labels, validate_logits


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
