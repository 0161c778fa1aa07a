"""Distances between the predictive distributions of two models on the same examples, one number per example."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.errors import DataError
from expunge.metrics.arrays import Floats
from expunge.metrics.scores import log_probabilities, product_with_zero_limit


def log_probs_pair(first: Any, second: Any) -> tuple[Floats, Floats]:
    """Return the log probabilities of two models.

    Raises:
        DataError: If they are not of the same shape.
    """
    log_p, log_q = log_probabilities(first)[0], log_probabilities(second)[0]
    if log_p.shape != log_q.shape:
        actual = f"{log_p.shape} and {log_q.shape}"
        raise DataError("logits of two models on the same examples", actual, "collect both on the same examples")
    return log_p, log_q


def kullback_leibler(first: Any, second: Any) -> Floats:
    """Return KL(p ‖ q) = Σ p_i (log p_i − log q_i) of every example, in nats.

    Args:
        first: Logits of p, ``(n, classes)``; the reference.
        second: Logits of q, ``(n, classes)``.

    Returns:
        At least 0; infinite where q excludes what p allows.

    Raises:
        DataError: If the logits are not two matrices of one shape.

    Examples:
        >>> kullback_leibler([[0.0, 0.0]], [[1.0, 0.0]]).round(4).tolist()
        [0.1201]
    """
    log_p, log_q = log_probs_pair(first, second)
    return np.maximum(relative_entropy(log_p, log_q), 0.0)


def jensen_shannon(first: Any, second: Any) -> Floats:
    """Return ½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2 of every example, in nats.

    Args:
        first: Logits of p, ``(n, classes)``.
        second: Logits of q, ``(n, classes)``.

    Returns:
        From 0 for equal predictions to log 2 for disjoint ones.

    Raises:
        DataError: If the logits are not two matrices of one shape.

    Examples:
        >>> jensen_shannon([[90.0, 0.0]], [[0.0, 90.0]]).round(4).tolist()
        [0.6931]
    """
    log_p, log_q = log_probs_pair(first, second)
    return np.maximum(0.5 * divergence_from_mixture(log_p, log_q) + 0.5 * divergence_from_mixture(log_q, log_p), 0.0)


def l2_distance(first: Any, second: Any) -> Floats:
    """Return the Euclidean distance of the two probability vectors of every example.

    Args:
        first: Logits of p, ``(n, classes)``.
        second: Logits of q, ``(n, classes)``.

    Returns:
        From 0 to √2.

    Raises:
        DataError: If the logits are not two matrices of one shape.

    Examples:
        >>> l2_distance([[90.0, 0.0]], [[0.0, 90.0]]).round(4).tolist()
        [1.4142]
    """
    log_p, log_q = log_probs_pair(first, second)
    return np.asarray(np.linalg.norm(np.exp(log_p) - np.exp(log_q), axis=1), dtype=np.float64)


def divergence_from_mixture(log_p: Floats, log_q: Floats) -> Floats:
    """Return KL(p ‖ (p + q) / 2) of every row from log p − log m = log 2 − log(1 + q / p), exactly 0 for p = q."""
    is_finite = np.isfinite(log_p)
    odds = np.subtract(log_q, log_p, where=is_finite, out=np.zeros_like(log_p))
    return np.asarray(product_with_zero_limit(np.exp(log_p), np.log(2.0) - np.logaddexp(0.0, odds)).sum(1))


def relative_entropy(log_p: Floats, log_q: Floats) -> Floats:
    """Return Σ p (log p − log q) of every row; classes with p = 0 add nothing."""
    is_finite = np.isfinite(log_p)
    ratio = np.subtract(log_p, log_q, where=is_finite, out=np.zeros_like(log_p))
    return np.asarray(product_with_zero_limit(np.exp(log_p), ratio).sum(1))
