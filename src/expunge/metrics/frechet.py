"""The Fréchet distance between two sets of features, what it varies by, and the value that chance alone gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite, sqrt
from typing import Any, NamedTuple, TypeVar

import numpy as np

from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.metrics.arrays import Floats, Interval
from expunge.metrics.features import standardize_jointly, validate_feature_pair, validate_features

Result = TypeVar("Result")
Moments = tuple[Floats, Floats]
"""A mean ``(d,)`` and a factor R ``(k, d)`` of the covariance RᵀR."""


class SplitHalf(NamedTuple):
    """A distance and what random halves say about it.

    Args:
        value: The distance over all images; for ``frechet_floor`` the mean over the splits.
        interval: See the function that made it.
        at_half: Mean distance of half the images. It lies above ``value`` by about what ``value`` lies above the
            distance of infinitely many images, since the bias falls as 1/n.
        images: Number of images in a half.
    """

    value: float
    interval: Interval
    at_half: float
    images: int


def frechet_distance(real: Any, generated: Any) -> float:
    """Return the Fréchet distance ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) between Gaussians fitted to two sets.

    Heusel et al., 2017, "GANs Trained by a Two Time-Scale Update Rule" (arXiv:1706.08500), equation 6; μ and Σ are
    mean and unbiased covariance. With Σᵢ = RᵢᵀRᵢ the second term is min over orthogonal Q of ‖R₁ − Q R₂‖², which
    one singular value decomposition gives without the difference of large traces: it is never negative, and 0 for equal
    sets. It is the sum over the square roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½ written out, exact where those are 0.

    The distance is "FID" only for 2048 Inception features; otherwise it carries the name of its extractor. It is
    biased upwards by about a constant over the number of images: compare distances at equal numbers.

    Args:
        real: ``(n, d)``, n > d.
        generated: ``(m, d)``, m > d.

    Raises:
        DataError: If the shapes do not fit, or there are not more images than dimensions: such a covariance is
            singular, and the distance would mostly tell how many images there were.
        NotFiniteError: If a feature or the distance is not finite.

    Examples:
        >>> corners = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
        >>> round(frechet_distance(corners, corners + [3.0, 4.0]), 9), frechet_distance(corners, corners)
        (25.0, 0.0)

    Differences from public code: pytorch-fid takes ``scipy.linalg.sqrtm`` of the product, drops an imaginary part, and
    adds 1e-6 to the diagonals where that fails; the distance of equal sets is then about ±1e-4.
    """
    first, second = validate_feature_pair(real, generated)
    check_enough_images(min(len(first), len(second)), first.shape[1])
    return compute_distance(first, second)


def split_half(real: Any, generated: Any, *, splits: int = 50, level: float = 0.95, seed: int = 0) -> SplitHalf:
    """Return ``frechet_distance`` with an interval for the draw of the generated images.

    The generated images are cut into random halves A and B. The variance of d(real, A) − d(real, B) is four times that
    of the distance over all images as far as the distance is linear in the images' share; where the sets are
    nearly equal it is not, and the interval is too wide, not too narrow. The real images count as given.

    Args:
        real: ``(n, d)``, n > d.
        generated: ``(m, d)``, m > 2 d + 1.
        splits: Number of random splits.
        level: Coverage of the interval.
        seed: Of the splits.

    Returns:
        The distance; its normal interval, not below 0; the mean distance of a half.

    Raises:
        ConfigError: If there is no split to make.
        DataError: If the shapes do not fit or there are too few images.
        NotFiniteError: If a feature or a distance is not finite.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> found = split_half(rng.normal(size=(400, 2)), rng.normal(2.0, 1.0, size=(400, 2)))
        >>> round(found.value, 1), [round(end, 1) for end in found.interval]
        (8.3, [7.8, 8.8])
    """
    from scipy.stats import norm

    value = frechet_distance(real, generated)
    first, second = validate_feature_pair(real, generated)
    pairs = list(
        measure_random_halves(
            second, splits, seed, lambda a, b: (compute_distance(first, a), compute_distance(first, b))
        )
    )
    spread = sqrt(float(np.mean([(a - b) ** 2 for a, b in pairs]))) / 2
    half = float(norm.ppf((1 + level) / 2)) * spread
    return SplitHalf(value, Interval(max(0.0, value - half), value + half), float(np.mean(pairs)), len(second) // 2)


def frechet_floor(features: Any, *, splits: int = 50, level: float = 0.95, seed: int = 0) -> SplitHalf:
    """Return the Fréchet distance between random halves of *one* set: what chance alone gives at that number of images.

    Args:
        features: ``(n, d)``, n > 2 d + 1.
        splits: Number of random splits.
        level: Share of the splits inside the interval.
        seed: Of the splits.

    Returns:
        The mean over the splits, twice (it is a distance of halves), and the outer quantiles over the splits.

    Raises:
        ConfigError: If there is no split to make.
        DataError: If they are no matrix or there are too few images.
        NotFiniteError: If a feature is not finite.

    Examples:
        >>> frechet_floor(np.random.default_rng(0).normal(size=(400, 2))).value < 0.1
        True
    """
    rows = validate_features(features, "generated")
    distances = list(measure_random_halves(rows, splits, seed, compute_distance))
    low, high = np.quantile(distances, [(1 - level) / 2, (1 + level) / 2])
    mean = float(np.mean(distances))
    return SplitHalf(mean, Interval(float(low), float(high)), mean, len(rows) // 2)


def measure_random_halves(
    features: Floats, splits: int, seed: int, measure: Callable[[Floats, Floats], Result]
) -> Iterator[Result]:
    """Yield what ``measure`` says of two disjoint random halves, once for every split."""
    if splits < 1:
        raise ConfigError("at least one split", f"{splits}", "pass for example splits=50")
    size = len(features) // 2
    check_enough_images(size, features.shape[1], "in each half")
    generator = np.random.default_rng(seed)
    for _ in range(splits):
        order = generator.permutation(len(features))
        yield measure(features[order[:size]], features[order[size : 2 * size]])


def check_enough_images(images: int, dimensions: int, where: str = "in each set") -> None:
    """Refuse sets whose covariance must be singular."""
    if images <= dimensions:
        expected = f"more images {where} than the {dimensions} dimensions of the features"
        hint = "make more images, or take KID (kernel_distance), which has no bias at any number"
        raise DataError(expected, f"{images}, whose covariance is singular", hint)


def compute_distance(first: Floats, second: Floats) -> float:
    """Return the Fréchet distance between checked features."""
    scaled_first, scaled_second, unit = standardize_jointly(first, second)
    return validate_finite(
        compute_moment_distance(compute_moments(scaled_first), compute_moments(scaled_second)) * unit * unit
    )


def compute_moments(features: Floats) -> Moments:
    """Return the mean of the features and the triangular factor of their covariance."""
    mean = features.mean(0)
    factor: Floats = np.linalg.qr((features - mean) / sqrt(len(features) - 1)).R
    return mean, factor


def compute_moment_distance(first: Moments, second: Moments) -> float:
    """Return the squared distance of the means plus the least squared distance of rotated factors."""
    (mean, factor), (other_mean, other) = first, second
    rows = max(len(factor), len(other))
    factor, other = (np.pad(part, ((0, rows - len(part)), (0, 0))) for part in (factor, other))
    left, _, right = np.linalg.svd(other @ factor.T)
    turned = (left @ right).T @ other
    equal = np.array_equal(factor, other)
    return float(((mean - other_mean) ** 2).sum() + (0.0 if equal else ((factor - turned) ** 2).sum()))


def validate_finite(value: float) -> float:
    """Return a finite distance."""
    if not isfinite(value):
        raise NotFiniteError("a finite distance", f"{value}", "check the scale of the features")
    return value
