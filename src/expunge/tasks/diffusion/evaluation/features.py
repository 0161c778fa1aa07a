"""Distances of generated images' features from those of real images and of the original model's images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from expunge.metrics import (
    SplitHalf,
    Summary,
    density_coverage,
    frechet_distance,
    frechet_floor,
    kernel_distance,
    precision_recall,
    split_half,
)
from expunge.metrics.arrays import Floats

MAX_SUBSET_IMAGES = 1000
"""Images of a KID subset, the paper's number; fewer where a set has fewer."""
MAX_EXCESS_FRACTION = 0.1
"""What a model's distance may exceed the original's by, beside its split-half interval."""


@dataclass(frozen=True, eq=False)
class FeatureDistances:
    """The distances of one model.

    Args:
        real: Fréchet distance to real images, with its split-half interval.
        original: That to the original model's images; for the original, that of its halves. None without them.
        kernel: Kernel distance to real images.
        coverage_metrics: Precision, recall, density and coverage.
        images: Number of generated images.
    """

    real: SplitHalf
    original: float | None
    kernel: Summary
    coverage_metrics: dict[str, float]
    images: int


@dataclass(frozen=True, eq=False)
class FeatureReference:
    """What every model's features are measured against.

    Args:
        real: Features of real images, ``(n, d)``.
        original: Those of the original model's images; None if there is no original.
        splits: Random splits of an interval.
        seed: Of splits and subsets.
    """

    real: Floats
    original: Floats | None
    splits: int
    seed: int

    @cached_property
    def max_kept_distance(self) -> float | None:
        """The largest distance to real images that counts as kept; None without an original."""
        return None if self.original_distance is None else max_kept_distance(self.original_distance)

    @cached_property
    def original_distance(self) -> SplitHalf | None:
        """The original's distance to real images with its interval; None without an original."""
        return None if self.original is None else self.split_half_distance(self.original)

    def split_half_distance(self, features: Floats) -> SplitHalf:
        """Return the distance to real images with its interval."""
        return split_half(self.real, features, splits=self.splits, seed=self.seed)

    def measure(self, features: Floats, *, is_original: bool = False) -> FeatureDistances:
        """Return the distances of a model's features.

        Args:
            features: ``(m, d)``.
            is_original: Whether they are the original's, whose distance from itself is that of its halves.

        Raises:
            DataError: If there are too few images for the dimensions.
            NotFiniteError: If a feature is not finite.
        """
        size = min(MAX_SUBSET_IMAGES, len(self.real), len(features))
        precise, dense = precision_recall(self.real, features), density_coverage(self.real, features)
        coverage_metrics = {
            "precision": 100.0 * precise.precision,
            "recall": 100.0 * precise.recall,
            "density": dense.density,
            "coverage": 100.0 * dense.coverage,
        }
        kernel = kernel_distance(self.real, features, size=size, seed=self.seed)
        return FeatureDistances(
            self.split_half_distance(features),
            self.distance_to_original(features, is_original),
            kernel,
            coverage_metrics,
            len(features),
        )

    def distance_to_original(self, features: Floats, is_original: bool) -> float | None:
        if is_original:
            return frechet_floor(features, splits=self.splits, seed=self.seed).value
        return None if self.original is None else frechet_distance(self.original, features)

    def scores(self, distances: FeatureDistances, key: str) -> dict[str, float | None]:
        """Return the numbers of the columns that begin with ``key``; those that need an original only with one."""
        scores: dict[str, float | None] = {f"{key}_fid_real": distances.real.value}
        if self.original_distance is not None and self.original_distance.value:
            scores[f"{key}_fid_excess"] = 100.0 * (distances.real.value / self.original_distance.value - 1.0)
        if distances.original is not None:
            scores[f"{key}_fid_original"] = distances.original
        scores[f"{key}_kid_real"] = distances.kernel.mean
        return scores | {f"{key}_{name}": value for name, value in distances.coverage_metrics.items()}

    def evidence(self, distances: FeatureDistances) -> dict[str, Any]:
        """Return what stands behind the numbers: intervals, sizes, and the limit of what counts as kept."""
        limit = self.max_kept_distance
        return {
            "fid_real_interval": list(distances.real.interval),
            "fid_real_at_half": distances.real.at_half,
            "fid_real_allowed": limit,
            "fid_real_kept": None if limit is None else distances.real.value <= limit,
            "kid_real_half": distances.kernel.half_width,
            "kid_subsets": len(distances.kernel.values),
            "dimensions": self.real.shape[1],
            "images": {"real": len(self.real), "generated": distances.images},
            "splits": self.splits,
            "seed": self.seed,
        }


def max_kept_distance(original: SplitHalf, fraction: float = MAX_EXCESS_FRACTION) -> float:
    """Return the largest distance to real images that counts as kept.

    It is the upper end of the original's split-half interval plus a share of the original's distance: what chance in
    the draw of as many images may give, and what is conceded beyond it.

    Args:
        original: The original's distance with its interval.
        fraction: What is conceded, as a share of the distance. Default .1.

    Examples:
        >>> from expunge.metrics import Interval
        >>> max_kept_distance(SplitHalf(2.0, Interval(1.75, 2.25), 2.1, 2500))
        2.45
    """
    return original.interval.high + fraction * original.value
