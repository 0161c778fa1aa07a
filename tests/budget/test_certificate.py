"""The utility certificate: exact where it says so, and the numbers that it is made of."""

import json

import numpy as np
import pytest
from certificate_coverage import RESULT, SCENARIOS, exact_misses, study
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, norm

from expunge.budget import (
    certificate_from_counts,
    count_certified,
    min_accuracy_drop,
    spend_alpha,
    tango_bound,
    utility_certificate,
)
from expunge.errors import ConfigError, DataError


def test_the_counts_are_those_of_the_discordant_pairs():
    before = np.array([True, True, True, False, False, True, False])
    after = np.array([True, False, False, True, False, True, False])
    found = utility_certificate(before, after)
    assert (found.examples, found.lost, found.gained) == (7, 2, 1)
    assert found.drop == pytest.approx(before.mean() - after.mean())


@pytest.mark.parametrize(("lost", "gained", "examples"), [(0, 0, 40), (3, 1, 200), (7, 7, 60), (12, 40, 400)])
def test_the_bound_is_made_of_two_tests_that_just_reject(lost, gained, examples):
    """Independent of the beta quantiles: the ends are where the binomial tail is δ/2."""
    delta = 0.1
    upper = brentq(lambda p: binom.cdf(lost, examples, p) - delta / 2, 1e-9, 1 - 1e-9)
    lower = brentq(lambda p: binom.sf(gained - 1, examples, p) - delta / 2, 1e-9, 1 - 1e-9) if gained else 0.0
    assert certificate_from_counts(examples, lost, gained, delta).bound == pytest.approx(upper - lower, abs=1e-8)


def slow_tango(lost, gained, examples, delta):
    """The bound with P(gained) found by maximizing the trinomial likelihood, in place of the closed form."""

    def score(drop):
        def loss(q):
            rest = 1 - 2 * q - drop
            return -(lost * np.log(q + drop) + gained * np.log(q) + (examples - lost - gained) * np.log(rest))

        low, high = max(0.0, -drop) + 1e-12, (1 - drop) / 2 - 1e-12
        q = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
        return lost - gained - examples * drop + norm.ppf(1 - delta) * np.sqrt(examples * (2 * q + drop * (1 - drop)))

    return brentq(score, (lost - gained) / examples + 1e-6, 0.999)


@pytest.mark.parametrize(("lost", "gained", "examples"), [(12, 2, 50), (3, 9, 80), (5, 5, 300)])
def test_tangos_bound_is_that_of_the_likelihood(lost, gained, examples):
    assert tango_bound(lost, gained, examples, 0.025) == pytest.approx(
        slow_tango(lost, gained, examples, 0.025), abs=1e-5
    )


def test_tangos_bound_without_a_discordant_pair_has_a_closed_form():
    square = norm.ppf(0.95) ** 2
    assert tango_bound(0, 0, 100, 0.05) == pytest.approx(square / (100 + square), abs=1e-6)


def test_bounds_lie_between_the_estimate_and_one_and_grow_with_what_is_lost():
    for examples in (1, 5, 30):
        for gained in range(examples + 1):
            found = [certificate_from_counts(examples, lost, gained) for lost in range(examples + 1 - gained)]
            for each in found:
                assert each.drop <= each.approximate <= 1
                assert each.drop <= each.bound <= 1
            for name in ("bound", "approximate"):
                values = [getattr(each, name) for each in found]
                assert values == sorted(values)


@pytest.mark.parametrize("examples", [30, 200, 2000])
def test_the_smallest_drop_is_the_bound_of_a_spotless_result(examples):
    assert min_accuracy_drop(examples) == pytest.approx(certificate_from_counts(examples, 0, 0).bound)
    assert min_accuracy_drop(examples) == pytest.approx(1 - 0.025 ** (1 / examples))


@pytest.mark.parametrize("rates", SCENARIOS)
def test_misses_of_the_exact_bound_are_at_most_delta_by_enumeration(rates):
    for examples in (15, 40):
        for delta in (0.05, 0.2):
            assert exact_misses(examples, *rates, delta) <= delta


def test_the_level_is_spent_where_nothing_is_gained():
    """Just above the smallest drop the one outcome that misses is a spotless one, of probability δ/2."""
    assert exact_misses(40, min_accuracy_drop(40, 0.1) + 1e-9, 0.0, 0.1) == pytest.approx(0.05, abs=1e-6)


def test_coverage_in_a_simulation():
    """1,000 runs a scenario: misses of the exact bound are nowhere significantly above δ."""
    for row in study(runs=1000, sizes=(100,), seed=1)["rows"]:
        assert row["p_value"] > 0.001


def test_the_committed_study_is_of_enough_runs_and_not_significantly_above_delta():
    document = json.loads(RESULT.read_text())
    every = [*document["rows"], document["stream"]]
    assert min(row["runs"] for row in every) >= 1000
    assert min(row["p_value"] for row in every) > 0.05 / len(every)


def test_a_stream_spends_its_level_and_never_more():
    levels = [spend_alpha(k, 0.05) for k in range(1, 5000)]
    assert sum(levels) < 0.05
    assert sum(levels) == pytest.approx(0.05, abs=2e-5)
    assert levels == sorted(levels, reverse=True)


def test_a_fixed_sequence_ends_at_its_first_failure():
    assert count_certified([0.5, 0.1], 0.2) == 0
    assert count_certified([0.1, 0.2, 0.3, 0.1], 0.2) == 2
    assert count_certified([0.1, float("nan"), 0.1], 0.2) == 1
    assert count_certified([0.1], 0.2) == 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="same examples for both models"):
        utility_certificate([True], [True, False])
    with pytest.raises(DataError, match="one truth value"):
        utility_certificate([1.0], [0.0])
    with pytest.raises(DataError, match="3 lost and 2 gained of 4"):
        certificate_from_counts(4, 3, 2)
    with pytest.raises(ConfigError, match="0 < delta < 1"):
        min_accuracy_drop(10, 0.0)
    with pytest.raises(ConfigError, match="counted from 1"):
        spend_alpha(0)
