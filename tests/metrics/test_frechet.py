"""The Fréchet distance against matrix square roots and closed forms, and its intervals against new draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.metrics import frechet_distance, frechet_floor, split_half


def draw(seed, images, dimensions, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(images, dimensions)) @ rng.normal(size=(dimensions, dimensions)) + shift


def by_matrix_root(first, second):
    ours, theirs = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    means = ((first.mean(0) - second.mean(0)) ** 2).sum()
    return means + np.trace(ours + theirs) - 2 * np.trace(np.real(sqrtm(ours @ theirs)))


@pytest.mark.parametrize(("images", "others", "dimensions"), [(40, 60, 3), (200, 90, 12), (25, 25, 24)])
def test_distance_is_the_one_of_the_matrix_square_root(images, others, dimensions):
    first, second = draw(1, images, dimensions), draw(2, others, dimensions, shift=0.7)
    assert frechet_distance(first, second) == pytest.approx(by_matrix_root(first, second), rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second), rel=1e-12)


def test_distance_of_a_shift_is_its_square_and_of_a_stretch_that_of_the_deviations():
    features = draw(5, 100, 6)
    assert frechet_distance(features, features + 2.0) == pytest.approx(6 * 4.0, rel=1e-12)
    deviations = features.std(0, ddof=1)
    middle = features.mean(0)
    stretched = middle + 1.5 * (features - middle)
    assert frechet_distance(features, stretched) == pytest.approx(0.25 * (deviations**2).sum(), rel=1e-10)


def test_equal_sets_are_at_distance_nought_whatever_their_order_and_offset():
    features = draw(6, 50, 8)
    assert frechet_distance(features, features.copy()) == 0.0
    shuffled = features[np.random.default_rng(0).permutation(50)]
    assert 0.0 <= frechet_distance(features, shuffled) < 1e-24 * np.trace(np.cov(features, rowvar=False)) * 1e4
    assert frechet_distance(features + 1e6, features[::-1] + 1e6) < 1e-9


@pytest.mark.parametrize("scale", [1e-120, 1e-6, 1e9, 1e140])
def test_distance_grows_with_the_square_of_the_scale(scale):
    first, second = draw(7, 60, 4), draw(8, 60, 4, shift=0.5)
    expected = frechet_distance(first, second)
    assert frechet_distance(first * scale, second * scale) / scale / scale == pytest.approx(expected, rel=1e-9)


def test_directions_that_no_image_uses_cost_nothing():
    first, second = draw(9, 60, 4), draw(10, 60, 4, shift=0.5)
    wide = [np.hstack([part, np.zeros((60, 3)), part[:, :1]]) for part in (first, second)]
    weights = [np.sqrt(2), 1, 1, 1]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(first * weights, second * weights), rel=1e-12)


def test_too_few_images_are_refused_with_the_reason():
    with pytest.raises(DataError, match=r"more images in each set than the 5 dimensions.*found 5, whose covariance"):
        frechet_distance(draw(1, 5, 5), draw(2, 50, 5))
    with pytest.raises(DataError, match="in each half"):
        split_half(draw(1, 50, 5), draw(2, 11, 5))
    assert frechet_distance(draw(1, 6, 5), draw(2, 50, 5)) > 0


def test_what_is_no_set_of_features_is_refused():
    good = draw(1, 20, 3)
    with pytest.raises(DataError, match="3 and 2 dimensions"):
        frechet_distance(good, good[:, :2])
    with pytest.raises(DataError, match="real features of shape"):
        frechet_distance(good[0], good)
    broken = good.copy()
    broken[[2, 5], 1] = np.nan, np.inf
    with pytest.raises(NotFiniteError, match="generated features, but found NaN or infinity in 2 of 20"):
        frechet_distance(good, broken)
    with pytest.raises(NotFiniteError, match="finite distance"):
        frechet_distance(good * 1e200, good * 2e200)
    with pytest.raises(ConfigError, match="at least one split"):
        split_half(good, good, splits=0)


def test_the_interval_is_as_wide_as_new_draws_vary():
    real = np.random.default_rng(0).normal(size=(500, 3))
    draws = [np.random.default_rng(seed).normal(0.8, 1.3, size=(400, 3)) for seed in range(1, 61)]
    found = [split_half(real, generated, splits=20) for generated in draws]
    spread = np.std([one.value for one in found], ddof=1)
    widths = np.mean([(one.interval.high - one.interval.low) / 2 for one in found])
    assert widths == pytest.approx(1.96 * spread, rel=0.25)


def test_near_equality_the_interval_is_too_wide_and_not_too_narrow():
    real = np.random.default_rng(0).normal(size=(2000, 3))
    found = [split_half(real, np.random.default_rng(s).normal(size=(200, 3)), splits=20) for s in range(1, 41)]
    spread = np.std([one.value for one in found], ddof=1)
    assert np.mean([(one.interval.high - one.interval.low) / 2 for one in found]) > 1.5 * spread
    assert min(one.interval.low for one in found) >= 0


def test_bias_falls_as_one_over_the_number_of_images():
    real = np.random.default_rng(0).normal(size=(20_000, 4))
    found = [split_half(real, np.random.default_rng(s).normal(size=(400, 4)), splits=5) for s in range(1, 21)]
    assert np.mean([one.at_half for one in found]) / np.mean([one.value for one in found]) == pytest.approx(2, rel=0.2)


def test_the_floor_is_the_distance_of_two_new_draws():
    floors = [frechet_floor(np.random.default_rng(seed).normal(size=(400, 3)), splits=10) for seed in range(20)]
    pairs = [np.random.default_rng(100 + seed).normal(size=(2, 200, 3)) for seed in range(60)]
    expected = np.mean([frechet_distance(*pair) for pair in pairs])
    assert np.mean([one.value for one in floors]) == pytest.approx(expected, rel=0.25)
    assert all(one.interval.low <= one.value <= one.interval.high for one in floors)
    assert floors[0].images == 200


def test_splits_are_those_of_the_seed():
    first, second = draw(1, 60, 3), draw(2, 61, 3)
    assert split_half(first, second, seed=4) == split_half(first, second, seed=4)
    assert split_half(first, second, seed=4) != split_half(first, second, seed=5)
