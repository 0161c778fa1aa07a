"""Linear CKA: how alike two networks' features of the same examples are, whatever their rotation and scale.

The estimate is unbiased in every batch, so that batches can be added up: the usual, biased one grows as batches shrink
and calls unrelated features alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from expunge.errors import DataError
from expunge.metrics.arrays import Floats

MIN_CKA_EXAMPLES = 4
"""Examples in a batch, at least: the unbiased estimate divides by n − 3."""


def estimate_hsic(first: Any, second: Any) -> float:
    """Return the unbiased estimate of the Hilbert–Schmidt independence criterion of two Gram matrices.

    Song et al., "Feature Selection via Dependence Maximization" (2012): with K and L without their diagonals,
    (tr KL + 1ᵀK1·1ᵀL1 / ((n − 1)(n − 2)) − 2·1ᵀKL1 / (n − 2)) / (n(n − 3)).

    Args:
        first: K, symmetric ``(n, n)``, n ≥ 4.
        second: L, symmetric ``(n, n)``.

    Raises:
        DataError: If they are not two square matrices of one size of at least 4.

    Examples:
        >>> round(estimate_hsic(np.eye(5), np.eye(5)), 9)
        0.0
    """
    k, left = zero_diagonal(first), zero_diagonal(second)
    if k.shape != left.shape:
        raise DataError(
            "two Gram matrices of one size", f"{k.shape} and {left.shape}", "use the same examples for both"
        )
    n, sums, others = len(k), k.sum(0), left.sum(0)
    cross = (k * left).sum() + sums.sum() * others.sum() / ((n - 1) * (n - 2)) - 2 * (sums @ others) / (n - 2)
    return float(cross / (n * (n - 3)))


def zero_diagonal(gram: Any) -> Floats:
    """Return a Gram matrix in float64 with zeros on its diagonal.

    Raises:
        DataError: If it is not square, or smaller than 4.
    """
    array = np.array(gram, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) < MIN_CKA_EXAMPLES:
        raise DataError(
            f"a Gram matrix of at least {MIN_CKA_EXAMPLES} examples", f"shape {array.shape}", "use larger batches"
        )
    np.fill_diagonal(array, 0.0)
    return array


def batch_terms(first: Any, second: Any) -> Floats:
    """Return the three terms of a batch that ``alignment`` adds up: HSIC of both, of the first, of the second.

    Args:
        first: Gram matrix of the first network's features, ``(n, n)``.
        second: Gram matrix of the second network's features of the same examples, ``(n, n)``.

    Raises:
        DataError: If the matrices do not fit, or have fewer than four examples.
    """
    sides = ((first, second), (first, first), (second, second))
    return np.array([estimate_hsic(one, other) for one, other in sides])


def compute_cka(terms: Iterable[Floats]) -> float | None:
    """Return linear CKA from the terms of all batches: Σ HSIC(K, L) / √(Σ HSIC(K, K) · Σ HSIC(L, L)).

    Nguyen, Raghu and Kornblith, "Do Wide and Deep Networks Learn the Same Things?" (arXiv 2010.15327).

    Args:
        terms: What ``batch_terms`` gave of each batch.

    Returns:
        At most 1, about 0 for unrelated features, of few examples also a little below; None where one of the two
        networks gives every example the same features.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(8, 3))
        >>> round(compute_cka([batch_terms(x @ x.T, 4 * x @ x.T)]), 9)
        1.0
    """
    both, first, second = np.sum(list(terms), axis=0)
    if min(first, second) <= 0:
        return None
    return float(np.clip(both / np.sqrt(first * second), -1.0, 1.0))


def linear_cka(first: Any, second: Any, *, batch_size: int | None = None) -> float | None:
    """Return linear CKA of two networks' features of the same examples, unbiased, so that it does not grow with width.

    Kornblith et al., "Similarity of Neural Network Representations Revisited" (arXiv 1905.00414), in the form of
    ``alignment``.

    Args:
        first: Features ``(n, …)``, all after the first dimension taken together; n ≥ 4.
        second: Features ``(n, …)`` of the other network; of any width.
        batch_size: Examples in a batch; those left over in a batch of fewer than 4 are dropped. Default: all at once.

    Raises:
        DataError: If the numbers of examples differ, or are below 4.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> turned = 5 * x[:, [1, 2, 0]] - 3
        >>> round(linear_cka(x, turned), 9), round(linear_cka(x, turned, batch_size=16), 9)
        (1.0, 1.0)
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(one) != len(other) or len(one) < MIN_CKA_EXAMPLES:
        actual = f"{len(one)} and {len(other)}"
        raise DataError(
            f"features of the same examples, at least {MIN_CKA_EXAMPLES}", actual, "collect both on the same examples"
        )
    step = batch_size or len(one)
    parts = [slice(start, start + step) for start in range(0, len(one), step)]
    return compute_cka(
        batch_terms(compute_gram(one[part]), compute_gram(other[part]))
        for part in parts
        if len(one[part]) >= MIN_CKA_EXAMPLES
    )


def compute_gram(features: Floats) -> Floats:
    """Return the products of all pairs of examples, ``(n, n)``; centered, which HSIC does not see but rounding does."""
    flat = features.reshape(len(features), -1)
    centered = flat - flat.mean(0)
    return np.asarray(centered @ centered.T)
