"""What distances between sets of images take: matrices of features, checked, shifted and scaled together."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.errors import DataError, NotFiniteError
from expunge.metrics.arrays import Floats, to_float_array


def validate_features(features: Any, name: str) -> Floats:
    """Return features ``(n, d)`` in float64."""
    array = to_float_array(features, f"{name} features")
    if array.ndim != 2 or 0 in array.shape:
        expected = f"{name} features of shape (images, dimensions)"
        raise DataError(expected, f"shape {array.shape}", "pass one row per image")
    broken = int((~np.isfinite(array)).any(1).sum())
    if broken:
        actual = f"NaN or infinity in {broken:,} of {len(array):,}"
        raise NotFiniteError(f"finite {name} features", actual, "check whether the model that made the images diverged")
    return array


def validate_feature_pair(real: Any, generated: Any) -> tuple[Floats, Floats]:
    """Return the features of two sets of images."""
    first, second = validate_features(real, "real"), validate_features(generated, "generated")
    if first.shape[1] != second.shape[1]:
        actual = f"{first.shape[1]} and {second.shape[1]} dimensions"
        raise DataError("features of one extractor", actual, "extract both with the same network and layer")
    return first, second


def standardize_jointly(first: Floats, second: Floats) -> tuple[Floats, Floats, float]:
    """Return both sets around their common middle, in the unit of the largest deviation, and that unit.

    Distances are then free of overflow and of what a common offset costs in precision.
    """
    middle = first.mean(0) / 2 + second.mean(0) / 2
    first, second = first - middle, second - middle
    unit = float(max(np.abs(first).max(), np.abs(second).max())) or 1.0
    return first / unit, second / unit, unit
