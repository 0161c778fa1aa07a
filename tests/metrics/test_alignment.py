from itertools import permutations

import numpy as np
import pytest

from expunge.errors import DataError
from expunge.metrics import linear_cka
from expunge.metrics.cka import estimate_hsic

RNG = np.random.default_rng(0)


def test_hsic_is_the_average_over_all_groups_of_distinct_examples():
    """The definition as a U-statistic: pairs, disjoint pairs, and pairs that share one example."""
    k, left = (x @ x.T for x in RNG.normal(size=(2, 7, 3)))
    pairs = np.mean([k[i, j] * left[i, j] for i, j in permutations(range(7), 2)])
    apart = np.mean([k[i, j] * left[q, r] for i, j, q, r in permutations(range(7), 4)])
    sharing = np.mean([k[i, j] * left[i, q] for i, j, q in permutations(range(7), 3)])
    assert estimate_hsic(k, left) == pytest.approx(pairs + apart - 2 * sharing)


def test_features_are_alike_up_to_rotation_scale_and_offset():
    features = RNG.normal(size=(50, 6))
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert linear_cka(features, 3 * features @ turn + 5, batch_size=16) == pytest.approx(1.0)
    assert linear_cka(features, features * np.array([9, 1, 1, 1, 1, 1])) < 0.99


def test_unrelated_features_have_none_however_wide_and_however_small_the_batch():
    found = [linear_cka(*RNG.normal(size=(2, 240, 400)), batch_size=batch) for batch in (240, 24, 8)]
    assert max(map(abs, found)) < 0.05


def test_the_usual_estimate_would_call_them_alike():
    x, y = (side - side.mean(0) for side in RNG.normal(size=(2, 24, 400)))
    biased = np.linalg.norm(x.T @ y) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert biased > 0.9
    assert abs(linear_cka(x, y)) < 0.2


def test_many_examples_have_the_usual_value_and_batches_estimate_it():
    x = RNG.normal(size=(2000, 4))
    y = x @ RNG.normal(size=(4, 5)) + RNG.normal(size=(2000, 5))
    a, b = x - x.mean(0), y - y.mean(0)
    usual = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert linear_cka(x, y) == pytest.approx(usual, abs=0.005)
    assert linear_cka(x, y, batch_size=50) == pytest.approx(usual, abs=0.02)


def test_a_network_that_says_the_same_of_everything_has_no_alignment():
    assert linear_cka(np.ones((8, 3)), RNG.normal(size=(8, 3))) is None


def test_a_remainder_that_is_too_small_is_dropped_and_too_few_examples_are_refused():
    x, y = RNG.normal(size=(2, 18, 3))
    assert linear_cka(x, y, batch_size=16) == linear_cka(x[:16], y[:16])
    with pytest.raises(DataError, match="at least 4"):
        linear_cka(x[:3], y[:3])
    with pytest.raises(DataError, match="same examples"):
        linear_cka(x, y[:9])
    with pytest.raises(DataError, match="one size"):
        estimate_hsic(np.eye(5), np.eye(6))
