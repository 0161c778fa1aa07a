"""Numbers per example that tell members from others: true-label confidence and its logit, loss, two entropies.

All are computed in float64 from log p and log(1 − p), each exact to rounding for p → 0 and p → 1: with z* the largest
logit and S the sum of exp(z_j − z*) over the others, log p* = −log(1 + S) and log(1 − p*) = log S − log(1 + S); every
other p is at most ½, where log(1 − p) loses nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp

from expunge.metrics.arrays import Floats, validate_labels, validate_logits


def log_probabilities(logits: Any) -> tuple[Floats, Floats]:
    """Return log p and log(1 − p) of every class, both ``(n, classes)`` in float64.

    Examples:
        >>> log_p, log_q = log_probabilities([[800.0, 0.0]])
        >>> (log_p[0] + 0.0).tolist(), (log_q[0] + 0.0).tolist()
        ([0.0, -800.0], [-800.0, 0.0])
    """
    rows = validate_logits(logits)
    top = rows.argmax(1)[:, None]
    shifted = rows - np.take_along_axis(rows, top, 1)
    others = shifted.copy()
    np.put_along_axis(others, top, -np.inf, 1)
    log_rest = logsumexp(others, axis=1, keepdims=True)
    log_all = np.log1p(np.exp(log_rest))
    log_p = shifted - log_all
    below = np.exp(np.where(np.isneginf(others), -np.inf, log_p))
    log_q = np.log1p(-below)
    np.put_along_axis(log_q, top, log_rest - log_all, 1)
    return log_p, log_q


def product_with_zero_limit(probability: Floats, logarithm: Floats) -> Floats:
    return np.multiply(probability, logarithm, where=probability > 0, out=np.zeros_like(probability))


def select_labels(values: Floats, targets: Any) -> Floats:
    """Return the value of every example at its own label, ``(n,)``."""
    labels = validate_labels(targets, values.shape)
    return values[np.arange(len(labels)), labels]


def loss(logits: Any, targets: Any) -> Floats:
    """Return the cross entropy −log p_y of every example, in nats.

    Args:
        logits: ``(n, classes)``.
        targets: Labels ``(n,)``.

    Raises:
        DataError: If logits and labels do not fit.

    Examples:
        >>> loss([[0.0, 0.0], [800.0, 0.0]], [0, 1]).round(4).tolist()
        [0.6931, 800.0]
    """
    return -select_labels(log_probabilities(logits)[0], targets)


def confidence(logits: Any, targets: Any) -> Floats:
    """Return the probability p_y that each example's own label is given.

    Args:
        logits: ``(n, classes)``.
        targets: Labels ``(n,)``.

    Raises:
        DataError: If logits and labels do not fit.

    Examples:
        >>> confidence([[0.0, 0.0], [800.0, 0.0]], [0, 0]).tolist()
        [0.5, 1.0]
    """
    return np.asarray(np.exp(-loss(logits, targets)))


def margin(logits: Any, targets: Any) -> Floats:
    """Return the logit-scaled confidence log p_y − log(1 − p_y) of every example, also called margin.

    Carlini et al., "Membership Inference Attacks From First Principles" (arXiv 2112.03570): over models it is nearly
    Gaussian, as no other of these scores is. Equal to the label's logit minus the log-sum-exp of the others.

    Args:
        logits: ``(n, classes)``.
        targets: Labels ``(n,)``.

    Raises:
        DataError: If logits and labels do not fit.

    Examples:
        >>> margin([[3.0, 1.0], [800.0, 0.0]], [0, 1]).tolist()
        [2.0, -800.0]
    """
    log_p, log_q = log_probabilities(logits)
    return select_labels(log_p, targets) - select_labels(log_q, targets)


def entropy(logits: Any) -> Floats:
    """Return the entropy −Σ p_i log p_i of every prediction, in nats.

    Args:
        logits: ``(n, classes)``.

    Raises:
        DataError: If they are not a matrix, or the largest of an example is not finite.

    Examples:
        >>> entropy([[0.0, 0.0]]).round(4).tolist()
        [0.6931]
    """
    log_p, _ = log_probabilities(logits)
    return np.asarray(-product_with_zero_limit(np.exp(log_p), log_p).sum(1))


def compute_modified_entropy(logits: Any, targets: Any) -> Floats:
    """Return the modified entropy of every prediction: 0 when sure and right, large when sure and wrong, in nats.

    Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models" (arXiv 2003.10595):
    −(1 − p_y) log p_y − Σ_{i≠y} p_i log(1 − p_i), with p the predicted probabilities and y the label.

    Args:
        logits: ``(n, classes)``.
        targets: Labels ``(n,)``.

    Raises:
        DataError: If logits and labels do not fit.

    Examples:
        >>> compute_modified_entropy([[0.0, 0.0], [50.0, 0.0], [50.0, 0.0]], [0, 0, 1]).round(4).tolist()
        [0.6931, 0.0, 100.0]

    Differences from public code: several repositories take log p in place of log(1 − p) for the other labels and
    index every row with all labels at once, which makes the score wrong for every example.
    """
    log_p, log_q = log_probabilities(logits)
    other_terms = product_with_zero_limit(np.exp(log_p), log_q)
    label_term = product_with_zero_limit(np.exp(select_labels(log_q, targets)), select_labels(log_p, targets))
    other_terms[np.arange(len(other_terms)), validate_labels(targets, other_terms.shape)] = 0.0
    return np.asarray(-label_term - other_terms.sum(1))
