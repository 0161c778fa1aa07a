"""KID, precision and recall, density and coverage against loops; the exact interval against the binomial."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from expunge.errors import ConfigError, DataError, NotFiniteError
from expunge.metrics import clopper_pearson, density_coverage, kernel_distance, neighbors, precision_recall


def draw(seed, images, dimensions=3, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(shift, scale, size=(images, dimensions))


def kernel(one, other):
    return (sum(a * b for a, b in zip(one, other, strict=True)) / len(one) + 1) ** 3


def by_loops(first, second):
    def different(rows):
        pairs = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    mixed = [kernel(a, b) for a in first for b in second]
    return different(first) + different(second) - 2 * sum(mixed) / len(mixed)


def test_kernel_distance_is_the_mean_over_pairs():
    first, second = draw(1, 12), draw(2, 12, shift=0.5)
    assert kernel_distance(first, second, size=12).mean == pytest.approx(by_loops(first, second), rel=1e-10)
    assert kernel_distance(first, second, size=12).half_width is None


def test_subsets_do_not_overlap():
    first, second = draw(1, 13), draw(2, 20, shift=0.5)
    found = kernel_distance(first, second, size=4, seed=7)
    assert len(found.values) == 3
    rng = np.random.default_rng(7)
    ours, theirs = rng.permutation(13)[:12], rng.permutation(20)[:12]
    for at, value in enumerate(found.values):
        part = slice(4 * at, 4 * at + 4)
        assert value == pytest.approx(by_loops(first[ours[part]], second[theirs[part]]), rel=1e-9)


def test_kernel_distance_has_no_bias_where_the_frechet_distance_has_one():
    found = [kernel_distance(draw(s, 20), draw(1000 + s, 20), size=20).mean for s in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)
    assert min(found) < 0


def test_its_interval_covers_the_distance_of_the_distributions():
    """One dimension, N(0, 1) against N(1, 1): with k = (xy + 1)³ the discrepancy is Σ c_j (E x^j − E y^j)²."""
    ours, theirs = [0.0, 1.0, 0.0], [1.0, 2.0, 4.0]
    truth = sum(c * (a - b) ** 2 for c, a, b in zip([3, 3, 1], ours, theirs, strict=True))
    covered = 0
    for seed in range(60):
        found = kernel_distance(draw(seed, 300, 1), draw(500 + seed, 300, 1, shift=1.0), size=30)
        covered += abs(found.mean - truth) <= found.half_width
    assert covered >= 49


def test_kernel_distance_refuses_what_it_cannot_use():
    with pytest.raises(DataError, match="at least 1000 images in each set, but found 12"):
        kernel_distance(draw(1, 12), draw(2, 2000))
    with pytest.raises(ConfigError, match="at least 2 images"):
        kernel_distance(draw(1, 12), draw(2, 12), size=1)
    with pytest.raises(NotFiniteError, match="finite kernels"):
        kernel_distance(draw(1, 12) * 1e120, draw(2, 12), size=12)


def reach(rows, k):
    return [sorted(np.linalg.norm(a - b) for j, b in enumerate(rows) if i != j)[k - 1] for i, a in enumerate(rows)]


def lies(points, centers, k):
    radii = reach(centers, k)
    return [[np.linalg.norm(p - c) <= r for c, r in zip(centers, radii, strict=True)] for p in points]


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("scale", [1e-160, 1.0, 1e160])
def test_manifolds_are_those_of_the_loops(k, scale, monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_BLOCK_DISTANCES", 70)
    real, generated = draw(1, 30), draw(2, 23, shift=0.6, scale=0.7)
    inside, outside = np.array(lies(generated, real, k)), np.array(lies(real, generated, k))
    found = precision_recall(real * scale, generated * scale, neighbors=k)
    assert found == pytest.approx((inside.any(1).mean(), outside.any(1).mean()))
    dense = density_coverage(real * scale, generated * scale, neighbors=k)
    assert dense == pytest.approx((inside.sum() / (k * 23), inside.any(0).mean()))
    assert 0 < found.precision < 1
    assert 0 < dense.coverage < 1


def test_equal_sets_are_precise_and_complete_even_with_duplicates():
    real = np.repeat(draw(3, 10), 4, axis=0)
    assert precision_recall(real, real[::-1]) == (1.0, 1.0)
    assert density_coverage(real, real).coverage == 1.0


def test_one_mode_of_two_is_precise_but_not_complete():
    real = np.vstack([draw(1, 60), draw(2, 60, shift=50.0)])
    found = precision_recall(real, draw(3, 120))
    assert found.precision > 0.8
    assert found.recall < 0.55
    assert density_coverage(real, draw(3, 120)).coverage < 0.55


def test_a_far_outlier_raises_precision_but_not_density():
    generated = draw(1, 100, shift=6.0, scale=0.3)
    real = np.vstack([draw(2, 100), [[12.0, 12.0, 12.0]]])
    assert precision_recall(real, generated).precision == 1.0
    assert density_coverage(real, generated).density == pytest.approx(1 / 5)


def test_equal_distributions_have_density_about_one():
    assert density_coverage(draw(1, 800), draw(2, 800)).density == pytest.approx(1, abs=0.1)


def test_too_few_images_for_the_neighbors_are_refused():
    with pytest.raises(DataError, match="more than 3 images in each set, but found 3"):
        precision_recall(draw(1, 3), draw(2, 10))
    with pytest.raises(ConfigError, match="at least one neighbor"):
        density_coverage(draw(1, 3), draw(2, 10), neighbors=0)


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (3, 20), (20, 20), (490, 500)])
def test_ends_of_the_exact_interval_leave_a_fortieth_in_each_tail(hits, trials):
    low, high = clopper_pearson(hits, trials)
    assert (low, high) == pytest.approx(tuple(1 - e for e in reversed(clopper_pearson(trials - hits, trials))))
    if hits:
        assert binom.sf(hits - 1, trials, low) == pytest.approx(0.025)
    else:
        assert low == 0.0
    if hits < trials:
        assert binom.cdf(hits, trials, high) == pytest.approx(0.025)


def test_a_count_that_does_not_fit_is_refused():
    for hits, trials in [(0, 0), (5, 4), (-1, 4)]:
        with pytest.raises(DataError, match="a count from 0"):
            clopper_pearson(hits, trials)
