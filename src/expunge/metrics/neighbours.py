"""Whether generated images lie among real ones, and whether all real ones have generated ones nearby."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from expunge.errors import ConfigError, DataError
from expunge.metrics.arrays import Floats
from expunge.metrics.features import both_features, in_one_unit

BLOCK = 4_000_000
"""Distances in a block, so that memory stays at some tens of megabytes whatever the number of images."""


class PrecisionRecall(NamedTuple):
    """Shares from 0 to 1."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density is about 1 for equal distributions and may exceed it; coverage is a share."""

    density: float
    coverage: float


def precision_recall(real: Any, generated: Any, *, neighbours: int = 3) -> PrecisionRecall:
    """Return the share of generated images on the real manifold, and of real images on the generated one.

    Kynkäänniemi et al., 2019, "Improved Precision and Recall Metric for Assessing Generative Models"
    (arXiv:1904.06991): a set's manifold is the union of closed balls around its images, each reaching to the k-th
    nearest other image of the set.

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``.
        neighbours: k, smaller than both n and m.

    Raises:
        ConfigError: If k is below 1.
        DataError: If the shapes do not fit or a set has too few images.
        NotFiniteError: If a feature is not finite.

    Examples:
        >>> precision_recall([[0.0], [1.0], [2.0]], [[0.5], [9.0], [9.5]], neighbours=1)
        PrecisionRecall(precision=0.3333333333333333, recall=1.0)
    """
    first, second = comparable(real, generated, neighbours)
    precise = np.concatenate([inside.any(1) for inside in balls(first, second, neighbours)])
    recalled = np.concatenate([inside.any(1) for inside in balls(second, first, neighbours)])
    return PrecisionRecall(float(precise.mean()), float(recalled.mean()))


def density_coverage(real: Any, generated: Any, *, neighbours: int = 5) -> DensityCoverage:
    """Return in how many real balls a generated image lies, over k, and the share of real balls that hold one.

    Naeem et al., 2020, "Reliable Fidelity and Diversity Metrics for Generative Models" (arXiv:2002.09797), equations 4
    and 6. One outlying real image, whose ball is large, raises precision but hardly density; coverage, unlike recall,
    builds no balls around generated images, whose outliers would raise it.

    Args:
        real: ``(n, d)``.
        generated: ``(m, d)``.
        neighbours: k, smaller than both n and m.

    Raises:
        ConfigError: If k is below 1.
        DataError: If the shapes do not fit or a set has too few images.
        NotFiniteError: If a feature is not finite.

    Examples:
        >>> density_coverage([[0.0], [1.0], [3.0]], [[0.5], [0.5]], neighbours=1)
        DensityCoverage(density=2.0, coverage=0.6666666666666666)

    Differences from the authors' code: balls are closed, as in the paper; their code leaves the border out.
    """
    first, second = comparable(real, generated, neighbours)
    found = [(inside.sum(1), inside.any(0)) for inside in balls(first, second, neighbours)]
    counts, covered = zip(*found, strict=True)
    density = float(np.concatenate(counts).mean() / neighbours)
    return DensityCoverage(density, float(np.logical_or.reduce(covered).mean()))


def comparable(real: Any, generated: Any, neighbours: int) -> tuple[Floats, Floats]:
    """Return both sets in one unit.

    Raises:
        ConfigError: If there is no neighbour to look for.
        DataError: If the shapes do not fit or a set has too few images.
    """
    if neighbours < 1:
        raise ConfigError("at least one neighbour", f"{neighbours}", "pass for example neighbours=3")
    first, second = both_features(real, generated)
    fewest = min(len(first), len(second))
    if fewest <= neighbours:
        raise DataError(f"more than {neighbours} images in each set", f"{fewest}", "make more images")
    return in_one_unit(first, second)[:2]


def balls(centres: Floats, points: Floats, neighbours: int) -> Iterator[Any]:
    """Yield, for blocks of points, whether each (row) lies in the ball of each centre (column)."""
    reach = np.concatenate([np.partition(block, neighbours, 1)[:, neighbours] for block in apart(centres, centres)])
    for block in apart(points, centres):
        yield block <= reach


def apart(points: Floats, centres: Floats) -> Iterator[Floats]:
    """Yield Euclidean distances of blocks of points from all centres, computed from differences: 0 for equal ones."""
    from scipy.spatial.distance import cdist

    rows = max(1, BLOCK // len(centres))
    for start in range(0, len(points), rows):
        yield cdist(points[start : start + rows], centres)
