from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from expunge.errors import DataError
from expunge.metrics import average_gap, noise_floor, paired_differences, summarise, tug_of_war


def test_interval_is_that_of_scipy():
    values = [3.1, 2.7, 4.4, 3.9]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = summarise(values)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert (summarise([2.0]).mean, summarise([2.0]).half) == (2.0, None)
    assert (summarise([]).mean, summarise([None]).mean) == (None, None)


def test_missing_values_keep_their_place_and_are_left_out():
    found = summarise([1.0, None, 3.0, float("nan"), float("inf")])
    assert found.values == (1.0, None, 3.0, None, None)
    assert (found.mean, found.half) == (summarise([1.0, 3.0]).mean, summarise([1.0, 3.0]).half)


def test_paired_differences_lose_what_the_seeds_share():
    shared = np.array([10.0, 50.0, 90.0])
    found = paired_differences(list(shared + np.array([1.0, 2.0, 3.0])), list(shared))
    assert found.mean == pytest.approx(2.0)
    assert found.half == pytest.approx(summarise([1.0, 2.0, 3.0]).half)
    assert paired_differences([1.0, None], [0.0, 1.0]).values == (1.0, None)
    with pytest.raises(DataError):
        paired_differences([1.0], [1.0, 2.0])


def test_noise_floor_is_the_mean_over_pairs_with_the_interval_over_splits():
    splits = [[1.0, 2.0, 4.0], [5.0, 8.0], [7.0]]
    expected = [np.mean([abs(a - b) for a, b in combinations(models, 2)]) for models in splits[:2]]
    found = noise_floor(splits, lambda a, b: abs(a - b))
    assert found.values == pytest.approx(expected)
    assert found.half == pytest.approx(summarise(expected).half)
    assert noise_floor([[1.0]], lambda a, b: abs(a - b)) is None


def test_noise_floor_of_an_asymmetric_gap_looks_both_ways():
    assert noise_floor([[0.0, 2.0]], lambda a, b: max(a - b, 0.0)).mean == 1.0


def test_gap_and_tug_of_war_against_direct_formulas():
    ours, theirs = [12.0, 98.0, 91.0, 20.0], [6.0, 100.0, 94.0, 13.0]
    assert average_gap(ours, theirs) == pytest.approx((6 + 2 + 3 + 7) / 4)
    assert tug_of_war(ours[:3], theirs[:3]) == pytest.approx(0.94 * 0.98 * 0.97)
    assert average_gap(ours, ours) == 0
    assert tug_of_war(ours, ours) == 1
    with pytest.raises(DataError):
        average_gap(ours, theirs[:3])
