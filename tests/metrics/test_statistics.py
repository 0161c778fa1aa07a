from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from expunge.errors import DataError
from expunge.metrics import average_gap, noise_floor, summarize, tug_of_war


def test_interval_is_that_of_scipy():
    values = [3.1, 2.7, 4.4, 3.9]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = summarize(values)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert (summarize([2.0]).mean, summarize([2.0]).half_width) == (2.0, None)
    assert (summarize([]).mean, summarize([None]).mean) == (None, None)


def test_missing_values_keep_their_place_and_are_left_out():
    found = summarize([1.0, None, 3.0, float("nan"), float("inf")])
    assert found.values == (1.0, None, 3.0, None, None)
    assert (found.mean, found.half_width) == (summarize([1.0, 3.0]).mean, summarize([1.0, 3.0]).half_width)


def test_noise_floor_is_the_mean_over_pairs_with_the_interval_over_splits():
    splits = [[1.0, 2.0, 4.0], [5.0, 8.0], [7.0]]
    expected = [np.mean([abs(a - b) for a, b in combinations(models, 2)]) for models in splits[:2]]
    found = noise_floor(splits, lambda a, b: abs(a - b))
    assert found.values == pytest.approx(expected)
    assert found.half_width == pytest.approx(summarize(expected).half_width)
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
