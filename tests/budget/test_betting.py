"""The betting bound: what it is made of, and that it is missed as rarely as it says."""

import numpy as np
import pytest

from expunge.budget import betting_bound, certificate_from_counts, min_mean_drop
from expunge.budget.betting import MAX_BET, compute_betting_bounds
from expunge.errors import ConfigError, DataError


def slow_capital(values, mean, delta):
    """The most that somebody had on the way who bet that the mean is below ``mean``, one example after another."""
    capital, most, seen, total, spread = 1.0, 0.0, 0, 0.5, 0.25
    for value in values:
        stake = np.sqrt(2 * np.log(1 / delta) / (len(values) * spread / (seen + 1)))
        capital *= 1 - min(stake, MAX_BET / (1 - mean)) * (value - mean)
        most, seen, total = max(most, capital), seen + 1, total + value
        spread += (value - total / (seen + 1)) ** 2
    return most


@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_the_bound_is_where_the_capital_is_just_large_enough(delta):
    drops = np.random.default_rng(3).uniform(-0.4, 0.7, 60)
    bound = float(compute_betting_bounds(drops[None], 1.0, delta)[0])
    values = (drops + 1) / 2
    for shift, won in ((1e-6, True), (-1e-6, False)):
        assert bool(slow_capital(values, (bound + 1) / 2 + shift, delta) >= 1 / delta) is won


def test_the_bound_lies_above_the_estimate_and_knows_its_unit():
    drops = np.random.default_rng(0).uniform(-0.2, 0.3, 300)
    bound = betting_bound(drops)
    assert drops.mean() < bound < 0.3
    assert betting_bound(7 * drops, width=7.0) == pytest.approx(7 * bound)
    assert betting_bound(drops, delta=0.2) < bound < betting_bound(drops, delta=0.001)
    assert betting_bound(drops) == bound, "the order is drawn, and always the same"
    assert betting_bound(np.ones(300)) == 1.0


@pytest.mark.parametrize("examples", [50, 500])
def test_the_smallest_drop_is_the_bound_where_nothing_changed(examples):
    assert min_mean_drop(examples) == pytest.approx(betting_bound(np.zeros(examples)))
    assert min_mean_drop(examples, width=0.2) == pytest.approx(0.2 * min_mean_drop(examples))
    assert np.log(20) / examples < min_mean_drop(examples) < 1.3 * np.log(20) / examples


def test_it_is_about_as_close_as_the_bound_for_counts():
    drops = np.repeat([1.0, -1.0, 0.0], [15, 3, 482])
    assert betting_bound(drops) == pytest.approx(certificate_from_counts(500, 15, 3).bound, rel=0.15)


@pytest.mark.parametrize("law", ["rare", "spread", "both ways"])
def test_misses_are_at_most_delta(law):
    """A thousand runs each: even where one example in forty loses everything and most samples of 40 see few of them."""
    generator, shape = np.random.default_rng(5), (1000, 40)
    drops, mean = {
        "rare": (generator.random(shape) < 0.07, 0.07),
        "spread": (generator.uniform(-0.5, 0.7, shape), 0.1),
        "both ways": (generator.choice([1.0, -1.0, 0.0], p=[0.3, 0.1, 0.6], size=shape), 0.2),
    }[law]
    misses = int((compute_betting_bounds(np.asarray(drops, dtype=float), 1.0, 0.1) < mean).sum())
    assert misses <= 100 + 3 * np.sqrt(90)


def test_what_has_no_range_is_refused():
    with pytest.raises(DataError, match="a drop of at most 1 for each example, but found 1"):
        betting_bound([0.0, 1.5])
    with pytest.raises(DataError, match="a drop of at most 1"):
        betting_bound([0.0, float("nan")])
    with pytest.raises(DataError, match="found shape"):
        betting_bound([])
    with pytest.raises(ConfigError, match="positive, finite width"):
        betting_bound([0.0], width=0.0)
