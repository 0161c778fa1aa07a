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

SUBSET = 1000
"""Images of a KID subset, the paper's number; fewer where a set has fewer."""
SHARE = 0.1
"""What a model's distance may exceed the original's by, beside its split-half interval."""


@dataclass(frozen=True, eq=False)
class FeatureFigures:
    """The distances of one model.

    Args:
        real: Fréchet distance to real images, with its split-half interval.
        original: That to the original model's images; for the original, that of its halves. None without them.
        kernel: Kernel distance to real images.
        shares: Precision, recall, density and coverage.
        images: Number of generated images.
    """

    real: SplitHalf
    original: float | None
    kernel: Summary
    shares: dict[str, float]
    images: int


@dataclass(frozen=True, eq=False)
class Yardstick:
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
    def allowed(self) -> float | None:
        """The largest distance to real images that counts as kept; None without an original."""
        return None if self.before is None else allowed(self.before)

    @cached_property
    def before(self) -> SplitHalf | None:
        """The original's distance to real images with its interval; None without an original."""
        return None if self.original is None else self.halves(self.original)

    def halves(self, features: Floats) -> SplitHalf:
        """Return the distance to real images with its interval."""
        return split_half(self.real, features, splits=self.splits, seed=self.seed)

    def measure(self, features: Floats, *, own: bool = False) -> FeatureFigures:
        """Return the distances of a model's features.

        Args:
            features: ``(m, d)``.
            own: Whether they are the original's, whose distance from itself is that of its halves.

        Raises:
            DataError: If there are too few images for the dimensions.
            NotFiniteError: If a feature is not finite.
        """
        size = min(SUBSET, len(self.real), len(features))
        precise, dense = precision_recall(self.real, features), density_coverage(self.real, features)
        shares = {
            "precision": 100.0 * precise.precision,
            "recall": 100.0 * precise.recall,
            "density": dense.density,
            "coverage": 100.0 * dense.coverage,
        }
        kernel = kernel_distance(self.real, features, size=size, seed=self.seed)
        return FeatureFigures(self.halves(features), self.apart(features, own), kernel, shares, len(features))

    def apart(self, features: Floats, own: bool) -> float | None:
        """Return the distance from the original's features."""
        if own:
            return frechet_floor(features, splits=self.splits, seed=self.seed).value
        return None if self.original is None else frechet_distance(self.original, features)

    def scores(self, figures: FeatureFigures, key: str) -> dict[str, float | None]:
        """Return the numbers of the columns that begin with ``key``; those that need an original only with one."""
        found: dict[str, float | None] = {f"{key}_fid_real": figures.real.value}
        if self.before is not None and self.before.value:
            found[f"{key}_fid_excess"] = 100.0 * (figures.real.value / self.before.value - 1.0)
        if figures.original is not None:
            found[f"{key}_fid_original"] = figures.original
        found[f"{key}_kid_real"] = figures.kernel.mean
        return found | {f"{key}_{name}": value for name, value in figures.shares.items()}

    def evidence(self, figures: FeatureFigures) -> dict[str, Any]:
        """Return what stands behind the numbers: intervals, sizes, and the limit of what counts as kept."""
        limit = self.allowed
        return {
            "fid_real_interval": list(figures.real.interval),
            "fid_real_at_half": figures.real.at_half,
            "fid_real_allowed": limit,
            "fid_real_kept": None if limit is None else figures.real.value <= limit,
            "kid_real_half": figures.kernel.half,
            "kid_subsets": len(figures.kernel.values),
            "dimensions": self.real.shape[1],
            "images": {"real": len(self.real), "generated": figures.images},
            "splits": self.splits,
            "seed": self.seed,
        }


def allowed(original: SplitHalf, share: float = SHARE) -> float:
    """Return the largest distance to real images that counts as kept.

    It is the upper end of the original's split-half interval plus a share of the original's distance: what chance in
    the draw of as many images may give, and what is conceded beyond it.

    Args:
        original: The original's distance with its interval.
        share: What is conceded, as a share of the distance. Default .1.

    Examples:
        >>> from expunge.metrics import Interval
        >>> allowed(SplitHalf(2.0, Interval(1.75, 2.25), 2.1, 2500))
        2.45
    """
    return original.interval.high + share * original.value
