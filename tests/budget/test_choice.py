"""Which iterate is handed over, and when forgetting ends."""

import numpy as np
import pytest
from scipy.stats import norm

from expunge.budget import (
    Candidate,
    Selection,
    is_unrecognized,
    min_margin,
    pareto_front,
    run_equivalence_test,
    select_checkpoint,
)
from expunge.errors import ConfigError
from expunge.metrics.attacks.membership import rank_scores
from expunge.metrics.bootstrap import bootstrap_curves, compute_areas

RUN = [Candidate(0.0, 0.9), Candidate(0.4, 0.3), Candidate(0.8, 0.1), Candidate(1.4, 0.0), Candidate(2.0, 0.0)]


def test_the_best_iterate_inside_the_budget_is_chosen():
    assert select_checkpoint(RUN, 1.0) == Selection(2, within_budget=True, target_met=False)
    assert select_checkpoint(RUN, 1.5) == Selection(3, within_budget=True, target_met=True)
    assert select_checkpoint(RUN, 9.0) == Selection(3, within_budget=True, target_met=True)


def test_a_cheaper_one_of_equals_and_never_one_for_forgetting_more_than_asked():
    assert select_checkpoint([Candidate(0.9, 0.0), Candidate(0.2, 0.0), Candidate(0.5, -0.3)], 1.0).chosen == 1


def test_what_the_user_prefers_decides_where_both_cannot_be_had():
    assert select_checkpoint(RUN, 1.0, "forgetting") == Selection(3, within_budget=False, target_met=True)
    assert select_checkpoint(RUN[:3], 0.5, "forgetting") == Selection(2, within_budget=False, target_met=False)
    assert select_checkpoint(RUN, 1.5, "forgetting") == Selection(3, within_budget=True, target_met=True)
    assert select_checkpoint(RUN[1:], 0.1) == Selection(0, within_budget=False, target_met=False)


def test_what_cannot_be_measured_is_not_inside():
    assert select_checkpoint([Candidate(float("nan"), 0.0), Candidate(0.5, 0.4)], 1.0).chosen == 1


def test_what_is_missing_may_differ_by_the_slack_between_equals_and_no_more():
    near = [Candidate(0.9, 0.10), Candidate(0.2, 0.12), Candidate(0.1, 0.14), Candidate(0.5, 0.2)]
    assert [select_checkpoint(near, 1.0, slack=slack).chosen for slack in (0.0, 0.01, 0.03, 0.05, 1.0)] == [
        0,
        0,
        1,
        2,
        2,
    ]
    assert select_checkpoint([Candidate(0.9, 0.0), Candidate(0.2, 0.01)], 1.0, slack=0.5) == Selection(
        0, within_budget=True, target_met=True
    )
    assert select_checkpoint(near, 0.5, slack=0.05).chosen == 2


def test_what_is_nearly_reached_is_no_equal_of_what_is_reached():
    outside = [Candidate(2.0, 0.0), Candidate(1.5, 0.004)]
    assert select_checkpoint(outside, 1.0, "forgetting", slack=0.01) == Selection(
        0, within_budget=False, target_met=True
    )


def test_a_cost_below_nothing_is_no_merit_and_the_later_one_of_equals_is_taken():
    assert select_checkpoint([Candidate(-3.0, 0.0), Candidate(-0.1, 0.0), Candidate(0.0, 0.0)], 1.0).chosen == 2
    assert select_checkpoint([Candidate(0.0, 0.0), Candidate(-3.0, 0.0), Candidate(0.1, 0.0)], 1.0).chosen == 1
    assert select_checkpoint([Candidate(0.3, 0.4), Candidate(0.3, 0.4)], 1.0).chosen == 1
    assert select_checkpoint([Candidate(2.0, 0.4), Candidate(2.0, 0.4)], 1.0, "forgetting").chosen == 1


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(ConfigError, match="at least one iterate"):
        select_checkpoint([], 1.0)


def test_the_frontier_holds_what_is_beaten_by_none():
    generator = np.random.default_rng(0)
    points = [Candidate(*generator.integers(0, 12, size=2).tolist()) for _ in range(60)]
    found = pareto_front(points)
    for index, each in enumerate(points):
        beaten = any(o != each and o.spent <= each.spent and o.shortfall <= each.shortfall for o in points)
        assert (each in [points[i] for i in found]) == (not beaten), index
    assert [points[i].spent for i in found] == sorted(points[i].spent for i in found)


def scores(shift, count=1500, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, size=count), generator.normal(size=count)


@pytest.mark.parametrize(
    ("shift", "count", "verdict"),
    [(0.0, 1500, "equivalent"), (1.0, 1500, "remembered"), (-1.0, 1500, "over-forgotten"), (0.12, 300, "undecided")],
)
def test_the_interval_decides(shift, count, verdict):
    found = run_equivalence_test(*scores(shift, count), margin=0.06)
    assert found.verdict == verdict
    assert found.interval.low < found.auc < found.interval.high


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_interval_is_that_of_the_bootstrap(shift):
    members, others = np.round(scores(shift, 400), 1)
    found = run_equivalence_test(members, others, delta=0.1).interval
    ranks = rank_scores(members, others)
    np.testing.assert_allclose(found, bootstrap_curves(*ranks, compute_areas, 4000, 0.9, 0), atol=0.004)


def test_too_few_examples_are_undecided_and_never_equivalent():
    for count in (2, 20, 200):
        same = np.arange(float(count))
        assert run_equivalence_test(same, same).verdict == "undecided"
    assert min_margin(200, 200, 0.025) > 0.05 > min_margin(2000, 2000, 0.025)


def test_later_looks_have_less_of_the_level():
    first, later = (run_equivalence_test(*scores(0.0), look=look).interval for look in (1, 6))
    assert later.low < first.low
    assert first.high < later.high


def test_a_model_at_the_margin_is_seldom_called_equivalent():
    """At an AUC of exactly .5 + m the test errs with probability δ_1 = .1: 40 times in 400, with a deviation of 6."""
    shift = norm.ppf(0.6) * np.sqrt(2)
    wrong = sum(
        run_equivalence_test(*scores(shift, 120, s), margin=0.1, delta=0.2).verdict == "equivalent" for s in range(400)
    )
    assert 15 < wrong < 62


def test_a_share_of_recognized_examples_is_allowed():
    assert is_unrecognized(np.arange(1000) < 5)
    assert not is_unrecognized(np.arange(1000) < 6)


def test_the_margin_is_between_nothing_and_everything():
    with pytest.raises(ConfigError, match=r"margin between 0 and \.5"):
        run_equivalence_test([1.0], [1.0], margin=0.5)
