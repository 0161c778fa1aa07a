"""The kernel distance (KID) between two sets of features: without bias, and with an interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.metrics.arrays import Floats
from expunge.metrics.features import validate_feature_pair
from expunge.metrics.statistics import Summary, summarize


def kernel_distance(real: Any, generated: Any, *, size: int = 1000, level: float = 0.95, seed: int = 0) -> Summary:
    """Return the squared maximum mean discrepancy with the kernel (x·y / d + 1)³, over disjoint random subsets.

    Bińkowski et al., 2018, "Demystifying MMD GANs" (arXiv:1801.01401), section 4: the mean of k over pairs of
    different real images, plus that over pairs of different generated ones, minus twice that over mixed pairs. It has
    no bias at any number of images, so it may be below 0. Subsets do not overlap: their values are independent, and
    a t-interval of their mean holds (block tests: Zaremba et al., 2013, arXiv:1307.1954).

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``.
        size: Images of each set in a subset; at least 2. Of both sets ``min(n, m) // size`` subsets are used.
        level: Coverage of the interval.
        seed: Of the subsets.

    Returns:
        The value of each subset, their mean, and half the width of its interval, None for one subset.

    Raises:
        ConfigError: If the size is below 2.
        DataError: If the shapes do not fit or a set has less than one subset.
        NotFiniteError: If a feature or a kernel is not finite.

    Examples:
        >>> kernel_distance([[0.0], [2.0]], [[1.0], [1.0]], size=2).values
        (-19.0,)

    Differences from public code: torch-fidelity and torchmetrics draw 100 overlapping subsets and give their standard
    deviation, which is no interval of the mean; they name the result KID for Inception features only.
    """
    if size < 2:
        raise ConfigError("subsets of at least 2 images", f"{size}", "pass for example size=1000")
    first, second = validate_feature_pair(real, generated)
    count = min(len(first), len(second)) // size
    if not count:
        actual = f"{min(len(first), len(second))}"
        raise DataError(f"at least {size} images in each set", actual, "make more images or pass a smaller size=")
    generator = np.random.default_rng(seed)
    firsts, seconds = (rows[generator.permutation(len(rows))[: count * size]] for rows in (first, second))
    pairs = zip(np.split(firsts, count), np.split(seconds, count), strict=True)
    return summarize([compute_discrepancy(ours, theirs) for ours, theirs in pairs], level)


def compute_discrepancy(first: Floats, second: Floats) -> float:
    """Return the unbiased estimate from one pair of subsets."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = mean_off_diagonal(polynomial_kernel(first, first)) + mean_off_diagonal(
            polynomial_kernel(second, second)
        )
        value -= 2 * float(polynomial_kernel(first, second).mean())
    if not np.isfinite(value):
        hint = "check the scale of the features; the kernel takes their third power"
        raise NotFiniteError("finite kernels", f"{value}", hint)
    return value


def polynomial_kernel(first: Floats, second: Floats) -> Floats:
    """Return (x·y / d + 1)³ for every pair."""
    return np.asarray((first @ second.T / first.shape[1] + 1.0) ** 3)


def mean_off_diagonal(kernels: Floats) -> float:
    """Return the mean over pairs of different images."""
    count = len(kernels)
    return float((kernels.sum() - np.trace(kernels)) / (count * (count - 1)))
