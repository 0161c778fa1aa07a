"""A budget spread over the updates that are left, for rules with a tolerance per step."""

import math

import pytest
import quadratic_problem as theory
import torch

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery import BudgetSchedule, EUPMUSurgery, Progress, Projection, ToleranceSchedule, WeightedSum
from expunge.testing import ToyStep, linear

MADE = theory.problem(3.0)


def run(surgery, updates, rate):
    weights = [torch.tensor(MADE.start)]
    for index in range(updates):
        step = ToyStep(weights, Pair(*MADE.losses()), lr=rate)
        step.progress = Progress(index, updates)
        surgery(step)
        step.descend()
        surgery.after_step(step)
        weights = step.weights
    return MADE.rise(weights[0].numpy())


@pytest.mark.parametrize("rates", [[0.1] * 50, [0.05 * (1 + math.cos(math.pi * t / 50)) for t in range(50)]])
def test_a_rule_that_spends_all_it_may_spends_the_budget(rates):
    schedule, spent = ToleranceSchedule(0.3), 0.0
    for step, rate in enumerate(rates):
        spent += rate * schedule.tolerance_at(spent, Progress(step, 50), rate)
    assert spent == pytest.approx(0.3)


def test_what_was_saved_is_spread_over_the_rest_and_what_was_overspent_is_not_demanded_back():
    schedule = ToleranceSchedule(0.3)
    assert schedule.tolerance_at(0.1, Progress(8, 10), 0.5) == pytest.approx(0.2)
    assert schedule.tolerance_at(0.31, Progress(8, 10), 0.5) == 0.0
    assert schedule.tolerance_at(0.1, Progress(10, 10), 0.5) == pytest.approx(0.4)
    assert schedule.tolerance_at(0.1, Progress(8, 10), 0.0) == 0.0


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_explicit_surgery_ends_at_the_budget_whatever_the_rate(rate):
    """A constant ε = τ/(ηT) is overrun by second-order terms in proportion to the rate; the schedule pays them back."""
    budget, updates = 0.1, 200
    constant = run(Projection(budget / (rate * updates)).double(), updates, rate) - budget
    scheduled = run(BudgetSchedule(tolerance=budget).double(), updates, rate) - budget
    assert abs(scheduled) < 0.006
    assert rate < 0.5 or constant > 5 * abs(scheduled)


@pytest.mark.parametrize("rate", [0.06, 0.2])
def test_implicit_surgery_ends_near_the_budget(rate):
    inner = EUPMUSurgery(dual_rate=2.0, initial_multiplier=2.0)
    assert run(BudgetSchedule(inner, 0.1).double(), 300, rate) == pytest.approx(0.1, abs=0.02)


def weight(surgery, retain_loss, updates=1):
    """The weight that a surgery gives after it has seen a retain loss, for gradients that oppose."""
    for _ in range(updates):
        step = ToyStep([torch.zeros(2)], Pair(linear(torch.ones(2)), linear(-torch.ones(2), retain_loss)))
        step.progress = Progress(0, 10)
        surgery(step)
        surgery.after_step(step)
    return float(surgery.relative_weight())


def test_once_overspent_the_inner_rule_permits_nothing():
    surgery = BudgetSchedule(tolerance=0.1, decay=0.0)
    assert weight(surgery, 1.0) == pytest.approx(1 - 0.1 / (10 * 0.1) / 2)
    weight(surgery, 1.05)
    assert weight(surgery, 1.05) == pytest.approx(1 - 0.05 / (10 * 0.1) / 2)
    weight(surgery, 1.4)
    assert weight(surgery, 1.4) == pytest.approx(1.0)
    surgery.set_measured_increase(0.02)
    assert weight(surgery, 1.4) == pytest.approx(1 - 0.08 / (10 * 0.1) / 2)


def test_momentum_takes_its_share():
    assert weight(BudgetSchedule(tolerance=0.1, momentum=0.9), 1.0) == pytest.approx(1 - 0.1 * 0.1 / (10 * 0.1) / 2)


def test_the_inner_surgery_keeps_its_own_tolerance():
    surgery = BudgetSchedule(Projection(0.25), 0.1)
    weight(surgery, 1.0, updates=3)
    assert float(surgery.state_dict()["surgery.tolerance"]) == 0.25


def test_what_has_no_tolerance_or_a_wrong_setting_is_refused():
    with pytest.raises(SurgeryError, match="found WeightedSum: use projection"):
        BudgetSchedule(WeightedSum())
    for wrong in ({"tolerance": -0.1}, {"momentum": 1.0}, {"decay": 1.0}):
        with pytest.raises(SurgeryError, match=r"in \[0, 1\)"):
            BudgetSchedule(**wrong)
    with pytest.raises(SurgeryError, match="budget ≥ 0"):
        ToleranceSchedule(-0.1)
