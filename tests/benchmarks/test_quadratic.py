"""The quadratic study: its predictions are right where they can be checked otherwise, and runs agree with them."""

import json
from pathlib import Path

import numpy as np
import pytest
import quadratic
import quadratic_problem as theory
from quadratic_runs import RATE, fitted_factor, run
from scipy.optimize import minimize

from expunge.surgery import EUPMUFastSurgery, EUPMUOfficialSurgery, EUPMUSurgery, Projection

MADE = theory.problem(3.0)
APART = theory.problem(10.0)
"""Here the slowest mode is far enough from the next to be seen alone."""
RESULT = Path(__file__).parents[2] / "docs" / "results" / "eupmu-quadratic.json"


def square(limit):
    return float(limit.retain_slope @ limit.retain_slope)


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_the_solution_is_that_of_a_general_solver(tolerance):
    bound = {"type": "ineq", "fun": lambda theta: tolerance - MADE.rise(theta)}
    found = minimize(MADE.forget, MADE.start, constraints=[bound], method="SLSQP", options={"ftol": 1e-12})
    theta, multiplier = MADE.kkt(tolerance)
    np.testing.assert_allclose(found.x, theta, atol=1e-4)
    np.testing.assert_allclose(MADE.forget_slope(theta), -multiplier * MADE.retain_slope(theta), atol=1e-12)


def test_the_multiplier_of_the_problem_is_two():
    assert [theory.problem(condition).kkt()[1] for condition in (1, 10, 100)] == pytest.approx([2.0] * 3)


def test_the_linear_iteration_has_a_conserved_quantity_and_else_the_eigenvalues_of_gradient_descent():
    limit, dual_rate = theory.implicit_limit(MADE, RATE, 1.3, 1.0), 1.3
    found = np.sort(np.linalg.eigvals(theory.implicit_matrix(limit, RATE, dual_rate)).real)
    slope = limit.retain_slope
    descent = np.linalg.eigvalsh(np.eye(theory.SIZE) - RATE * limit.curvature - dual_rate * np.outer(slope, slope))
    np.testing.assert_allclose(found, np.sort([*descent, 1.0]), atol=1e-9)


def test_the_multiplier_is_what_the_retain_loss_has_risen_by():
    course = run(MADE, EUPMUSurgery(dual_rate=0.7, max_multiplier=1e6), 80)
    assert course.multiplier.min() > 0
    np.testing.assert_allclose(course.multiplier, 1 + 0.7 / RATE * course.rises(), atol=1e-10)


def test_implicit_surgery_comes_to_rest_as_fast_and_where_it_is_predicted():
    course = run(APART, EUPMUSurgery(max_multiplier=1e6), 900)
    limit = theory.implicit_limit(APART, RATE, 1.0, 1.0)
    np.testing.assert_allclose(course.theta[-1], limit.theta, atol=1e-7)
    predicted = np.log(theory.implicit_factor(limit, RATE, 1.0))
    assert np.log(fitted_factor(course.gaps())) == pytest.approx(predicted, rel=0.02)


def test_explicit_surgery_comes_to_rest_as_fast_and_where_it_is_predicted():
    course, rise = run(APART, Projection(), 900), theory.explicit_rise(APART, RATE)
    assert course.rises()[-1] == pytest.approx(rise, rel=0.06)
    predicted = np.log(theory.explicit_factor(theory.explicit_limit(APART, rise), RATE))
    assert np.log(fitted_factor(course.gaps())) == pytest.approx(predicted, rel=0.02)


def test_the_smallest_gap_keeps_the_bound_of_gradient_descent():
    course, limit = run(MADE, EUPMUSurgery(max_multiplier=1e6), 300), theory.implicit_limit(MADE, RATE, 1.0, 1.0)

    def penalty(theta):
        return MADE.forget(theta) + MADE.retain(theta) + MADE.rise(theta) ** 2 / (2 * RATE)

    bound = 2 * (penalty(MADE.start) - penalty(limit.theta)) / (RATE * np.arange(1, 301))
    best = np.minimum.accumulate(course.gaps() ** 2)
    assert np.all(best <= bound)
    assert (best / bound).max() > 0.01


@pytest.mark.parametrize(("share", "settles"), [(1.7, True), (2.1, False)])
def test_beyond_twice_the_inverse_square_of_the_slope_the_rest_is_unstable(share, settles):
    solution, multiplier = MADE.kkt()
    limit = theory.raw_limit(MADE, solution, multiplier)
    dual_rate = share / square(limit)
    moved = theory.Problem(MADE.A, MADE.B, MADE.a, solution + 1e-6 * limit.retain_slope)
    gaps = run(moved, EUPMUSurgery(dual_rate=dual_rate, initial_multiplier=multiplier, max_multiplier=1e6), 40).gaps()
    assert (gaps[-1] < gaps[0]) == settles
    assert (theory.implicit_factor(limit, RATE, dual_rate) < 1) == settles


def test_the_released_forms_rest_at_error_over_decay_whatever_the_level():
    surgery = EUPMUOfficialSurgery("log", dual_rate=0.01, margin=0.02)
    run(MADE, surgery, 2500)
    assert float(surgery.weight) == pytest.approx(2.0, rel=1e-3)
    fast = EUPMUFastSurgery(dual_rate=0.01)
    end = run(MADE, fast, 2500).theta[-1]
    np.testing.assert_allclose(end, MADE.stationary(1.0), atol=1e-4)


def test_noise_leaks_as_predicted_and_not_on_a_fresh_batch(monkeypatch):
    monkeypatch.setattr(quadratic, "SEEDS", range(3))
    monkeypatch.setattr(quadratic, "NOISY", 400)
    monkeypatch.setattr(quadratic, "SETTLED", 50)
    resting = theory.Problem(MADE.A, MADE.B, MADE.a, MADE.kkt()[0])
    rows = [quadratic.compared(resting, kind, RATE, 0.5 * (kind != "explicit")) for kind in quadratic.KINDS]
    for row in rows[:2]:
        assert row["leak"]["mean"] == pytest.approx(row["leak"]["predicted"], rel=0.06)
    assert abs(rows[2]["leak"]["mean"]) < 0.15 * rows[0]["leak"]["predicted"]
    for row in rows:
        assert row["gap_squared"]["mean"] == pytest.approx(row["gap_squared"]["predicted"], rel=0.35)


def test_a_gap_that_bursts_has_no_rate():
    falling = 0.9 ** np.arange(300.0)
    assert fitted_factor(falling) == pytest.approx(0.9)
    assert fitted_factor(np.where(np.arange(300) == 290, 0.5, falling)) is None


def test_committed_rates_and_rests_are_as_predicted():
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rates"]
    exact = [row for row in rows if row["surgery"].startswith(("explicit", "implicit")) and row["measured"]]
    for row in (row for row in exact if row["predicted"] is not None):
        assert np.log(row["measured"]) == pytest.approx(np.log(row["predicted"]), rel=0.02), row["surgery"]
        assert row["rise"] == pytest.approx(row["limit"]["rise"], rel=0.1), row["surgery"]
    bounded = [row for row in rows if row["surgery"].startswith(("as published", "fast")) and row["measured"]]
    assert all(np.log(row["measured"]) >= 1.01 * np.log(row["predicted"]) for row in bounded)
