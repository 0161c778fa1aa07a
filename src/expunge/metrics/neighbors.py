"""Whether generated images lie among real ones, and whether all real ones have generated ones nearby."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from expunge.errors import ConfigError, DataError
from expunge.metrics.arrays import Floats
from expunge.metrics.features import standardize_jointly, validate_feature_pair

MAX_BLOCK_DISTANCES = 4_000_000
"""Distances in a block, so that memory stays at some tens of megabytes whatever the number of images."""


class PrecisionRecall(NamedTuple):
    """Shares from 0 to 1."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density is about 1 for equal distributions and may exceed it; coverage is a share."""

    density: float
    coverage: float


def precision_recall(real: Any, generated: Any, *, neighbors: int = 3) -> PrecisionRecall:
    """Return the share of generated images on the real manifold, and of real images on the generated one.

    Kynkäänniemi et al., 2019, "Improved Precision and Recall Metric for Assessing Generative Models"
    (arXiv:1904.06991): a set's manifold is the union of closed balls around its images, each reaching to the k-th
    nearest other image of the set.

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``.
        neighbors: k, smaller than both n and m.

    Raises:
        ConfigError: If k is below 1.
        DataError: If the shapes do not fit or a set has too few images.
        NotFiniteError: If a feature is not finite.

    Examples:
        >>> precision_recall([[0.0], [1.0], [2.0]], [[0.5], [9.0], [9.5]], neighbors=1)
        PrecisionRecall(precision=0.3333333333333333, recall=1.0)
    """
    first, second = validate_image_sets(real, generated, neighbors)
    generated_inside = np.concatenate([inside.any(1) for inside in find_ball_members(first, second, neighbors)])
    real_inside = np.concatenate([inside.any(1) for inside in find_ball_members(second, first, neighbors)])
    return PrecisionRecall(float(generated_inside.mean()), float(real_inside.mean()))


def density_coverage(real: Any, generated: Any, *, neighbors: int = 5) -> DensityCoverage:
    """Return in how many real balls a generated image lies, over k, and the share of real balls that hold one.

    Naeem et al., 2020, "Reliable Fidelity and Diversity Metrics for Generative Models" (arXiv:2002.09797), equations 4
    and 6. One outlying real image, whose ball is large, raises precision but hardly density; coverage, unlike recall,
    builds no balls around generated images, whose outliers would raise it.

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``.
        neighbors: k, smaller than both n and m.

    Raises:
        ConfigError: If k is below 1.
        DataError: If the shapes do not fit or a set has too few images.
        NotFiniteError: If a feature is not finite.

    Examples:
        >>> density_coverage([[0.0], [1.0], [3.0]], [[0.5], [0.5]], neighbors=1)
        DensityCoverage(density=2.0, coverage=0.6666666666666666)

    Differences from the authors' code: balls are closed, as in the paper; their code leaves the border out.
    """
    first, second = validate_image_sets(real, generated, neighbors)
    block_counts = [(inside.sum(1), inside.any(0)) for inside in find_ball_members(first, second, neighbors)]
    counts, covered = zip(*block_counts, strict=True)
    density = float(np.concatenate(counts).mean() / neighbors)
    return DensityCoverage(density, float(np.logical_or.reduce(covered).mean()))


def validate_image_sets(real: Any, generated: Any, neighbors: int) -> tuple[Floats, Floats]:
    """Return both sets in one unit."""
    if neighbors < 1:
        raise ConfigError("at least one neighbor", f"{neighbors}", "pass for example neighbors=3")
    first, second = validate_feature_pair(real, generated)
    min_images = min(len(first), len(second))
    if min_images <= neighbors:
        raise DataError(f"more than {neighbors} images in each set", f"{min_images}", "make more images")
    return standardize_jointly(first, second)[:2]


def find_ball_members(centers: Floats, points: Floats, neighbors: int) -> Iterator[Any]:
    """Yield, for blocks of points, whether each (row) lies in the ball of each center (column)."""
    radii = np.concatenate(
        [np.partition(block, neighbors, 1)[:, neighbors] for block in pairwise_distances(centers, centers)]
    )
    for block in pairwise_distances(points, centers):
        yield block <= radii


def pairwise_distances(points: Floats, centers: Floats) -> Iterator[Floats]:
    """Yield Euclidean distances of blocks of points from all centers, computed from differences: 0 for equal ones."""
    from scipy.spatial.distance import cdist

    rows = max(1, MAX_BLOCK_DISTANCES // len(centers))
    for start in range(0, len(points), rows):
        yield cdist(points[start : start + rows], centers)
