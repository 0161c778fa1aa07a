"""Approximate bounds: the formulas by slow paths, and what they refuse to say."""

import numpy as np
import pytest
from coverage_of_means import losses, sets
from scipy.stats import t

from expunge.budget import bootstrap_bound, jackknife_bound
from expunge.budget.resampling import compute_ratios, resample_fractions
from expunge.errors import DataError


def test_the_bootstrap_is_that_of_resampled_examples():
    """Each resample written out, its ratio and its standard error computed from the examples in it."""
    generator = np.random.default_rng(1)
    before, drops = generator.gamma(2, 0.2, 80), generator.normal(0.05, 0.2, 80)

    def ratio(chosen):
        base = before[chosen].mean()
        found = drops[chosen].mean() / base
        return found, (drops[chosen] - found * before[chosen]).std() / np.sqrt(80) / base

    first, error = ratio(np.arange(80))
    counts = np.concatenate([np.rint(80 * part) for part in resample_fractions(80, 199, seed=0)]).astype(int)
    off = sorted((each - first) / own for each, own in (ratio(np.repeat(np.arange(80), row)) for row in counts))
    assert bootstrap_bound(drops, before, resamples=199, delta=0.05) == pytest.approx(first - off[9] * error)


def test_resamples_are_as_large_as_the_data_in_blocks_of_any_size(monkeypatch):
    whole = np.concatenate(list(resample_fractions(50, 30, seed=2)))
    monkeypatch.setattr("expunge.budget.resampling.MAX_BLOCK_COUNTS", 200)
    parts = list(resample_fractions(50, 30, seed=2))
    assert len(parts) == 8
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_allclose(whole.sum(1), 1.0)


def test_a_floor_takes_the_place_of_a_smaller_base():
    drops, base = np.linspace(-0.1, 0.3, 60), np.full(60, 0.01)
    assert bootstrap_bound(drops, base, floor=0.5) == pytest.approx(bootstrap_bound(drops / 0.5))
    moments = np.stack([drops, base, drops**2, drops * base, base**2], 1).mean(0)[None]
    ratio, error = compute_ratios(moments, 0.5, 60)
    assert float(ratio[0]) == pytest.approx(drops.mean() / 0.5)
    assert float(error[0]) == pytest.approx(drops.std() / 0.5 / np.sqrt(60))


def test_the_jackknife_of_a_mean_is_the_t_bound_of_group_means():
    values = np.random.default_rng(0).normal(0.1, 1.0, 200)
    groups = values.reshape(10, 20)
    without = [np.delete(groups, group, 0).mean() for group in range(10)]
    means = groups.mean(1)
    expected = means.mean() + t.ppf(0.95, 9) * means.std(ddof=1) / np.sqrt(10)
    assert jackknife_bound(values.mean(), without) == pytest.approx(expected)


def test_coverage_in_a_simulation():
    """They are approximate: misses of a thousand runs lie near δ for laws that are not extreme."""
    generator = np.random.default_rng(7)
    rows = [*losses(generator, 300, (200,)), *sets(generator, 1000, (400,))]
    found = {row["what"]: row["misses"] / row["runs"] for row in rows}
    assert all(share < 0.12 for name, share in found.items() if not name.startswith("1 % of the examples")), found


def test_where_nothing_can_be_said_they_say_so():
    with pytest.raises(DataError, match="at least 30 examples for an approximate bound, but found 29"):
        bootstrap_bound(np.arange(29.0))
    with pytest.raises(DataError, match="the same for all"):
        bootstrap_bound(np.zeros(100))
    with pytest.raises(DataError, match="the same for all"):
        bootstrap_bound(np.full(100, 0.3))
    with pytest.raises(DataError, match="one that is not"):
        bootstrap_bound([float("inf"), *range(60)])
    with pytest.raises(DataError, match="finite measure"):
        jackknife_bound(0.1, [0.1, float("nan")])
    with pytest.raises(DataError, match="a measure that moves"):
        jackknife_bound(0.1, [0.1] * 10)
