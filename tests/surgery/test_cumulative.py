"""The controller of the cumulative constraint: what linear algebra predicts of it, and what it does."""

import numpy as np
import pytest
import quadratic_problem as theory
import torch
from torch import nn

from expunge.engine import Stepper
from expunge.errors import SurgeryError
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import PIController, Progress
from expunge.testing import ToyStep, linear

SCALE = 0.1
TOLERANCE = 0.04
START = 0.06
"""L_r(θ₀), so that s = L_r(θ₀) + τ = .1 and ρ = 1."""


def matrix(a, kappa, proportional, integral, decay):
    """The linear iteration on (rise of L_r, its average, I): what the docstring's polynomial is that of."""
    gain = 1 - decay
    moved = [1 - a, -kappa * proportional, -kappa]
    return np.array([moved, [gain, decay, 0.0], [integral * gain, integral * decay, 1.0]])


def stable(a, kappa, proportional, integral, decay):
    w = (1 - a) * decay + (1 - decay) * kappa * proportional
    return w < 1 and kappa * integral < (1 - w) * (a + kappa * proportional)


def polynomial(a, kappa, proportional, integral, decay):
    base = np.poly([1 - a, decay, 1.0])
    return base + (1 - decay) * kappa * np.array([0, 0, proportional + integral, -proportional])


def draws(count):
    generator = np.random.default_rng(0)
    for _ in range(count):
        a, decay = generator.uniform(0, 2), generator.choice([0.0, generator.uniform(0, 0.99)])
        yield a, 10 ** generator.uniform(-4, 0.5), 10 ** generator.uniform(-1, 2), 10 ** generator.uniform(-3, 1), decay


def test_the_iteration_has_the_polynomial_of_the_docstring():
    for setting in draws(50):
        np.testing.assert_allclose(np.poly(matrix(*setting)), polynomial(*setting), rtol=1e-9, atol=1e-9)


def test_the_region_of_stability_is_that_of_the_roots():
    found = {True: 0, False: 0}
    for setting in draws(2000):
        radius = np.abs(np.roots(polynomial(*setting))).max()
        if abs(radius - 1) > 1e-6:
            assert stable(*setting) == (radius < 1), setting
            found[stable(*setting)] += 1
    assert min(found.values()) > 300


def test_the_defaults_are_stable_at_every_smaller_rate():
    """Both losses of one curvature: a = x, κ = 2x/(1 + λ*), x = rate · curvature."""
    settings = PIController()
    gains = settings.kp, settings.ki, settings.decay
    assert settings.ki < (1 - settings.decay) * settings.kp
    for multiplier, limit in ((0.5, 0.18), (1.0, 0.8), (3.0, 1.9), (20.0, 1.9)):
        rates = np.geomspace(1e-6, limit, 100)
        assert all(stable(x, 2 * x / (1 + multiplier), *gains) for x in rates), multiplier
    assert not stable(0.2, 2 * 0.2 / 1.5, *gains)


def isotropic(multiplier):
    """Two losses of curvature 1 whose front is a segment; L_r has its minimum, 0, at 0. Returns both and θ*."""
    solution = torch.tensor([0.6, 0.8], dtype=torch.float64) * np.sqrt(2 * (START + TOLERANCE))
    center = solution * (1 + multiplier)
    return Pair(lambda w: 0.5 * ((w[0] - center) ** 2).sum(), lambda w: 0.5 * (w[0] ** 2).sum()), solution


def at_rest(surgery, multiplier):
    """Set a surgery as it stands after a long run in the solution."""
    surgery.double().tolerance.fill_(TOLERANCE)
    surgery.increase_estimate.reference.fill_(START)
    surgery.increase_estimate.weight.fill_(1.0)
    surgery.increase_estimate.average.fill_(START + TOLERANCE)
    surgery.memory.fill_(multiplier)
    surgery.multiplier.fill_(multiplier)
    return surgery


def descended(surgery, losses, theta, rate, updates):
    """Run plain descent; return L_r before each update and the weights at the end."""
    weights, course = [theta.clone()], []
    for index in range(updates):
        step = ToyStep(weights, losses, lr=rate)
        step.progress = Progress(index, updates)
        course.append(float(losses.retain(weights)))
        surgery(step)
        step.descend()
        surgery.after_step(step)
        weights = step.weights
    return np.array(course), weights[0]


@pytest.mark.parametrize("rate", [0.003, 0.03, 0.2])
@pytest.mark.parametrize("multiplier", [1.0, 5.0])
def test_a_small_disturbance_takes_the_predicted_course(rate, multiplier):
    losses, solution = isotropic(multiplier)
    surgery = at_rest(PIController(TOLERANCE), multiplier)
    course, _ = descended(surgery, losses, solution * (1 + 1e-5), rate, 120)
    measured = (course - START - TOLERANCE) / SCALE
    iteration = rate, 2 * rate / (1 + multiplier), surgery.kp, surgery.ki, surgery.decay
    state, predicted = np.array([measured[0], 0.0, 0.0]), []
    for _ in course:
        predicted.append(state[0])
        state = matrix(*iteration) @ state
    np.testing.assert_allclose(measured, predicted, atol=1e-3 * abs(measured).max())


@pytest.mark.parametrize(("proportional", "settles"), [(10.0, True), (40.0, False)])
def test_beyond_the_predicted_limit_the_rest_is_unstable(proportional, settles):
    rate, multiplier = 0.1, 1.0
    assert stable(rate, 2 * rate / (1 + multiplier), proportional, 0.2, 0.9) == settles
    losses, solution = isotropic(multiplier)
    surgery = at_rest(PIController(TOLERANCE, proportional), multiplier)
    course, _ = descended(surgery, losses, solution * (1 + 1e-6), rate, 800)
    late = np.abs(course[-100:] / (START + TOLERANCE) - 1).max()
    assert late < 1e-9 if settles else 1e-2 < late < 3


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
@pytest.mark.parametrize("rate", [0.02, 0.06, 0.2])
def test_one_setting_comes_to_the_constrained_solution_at_every_rate(rate, tolerance):
    made = theory.problem(3.0)
    solution, multiplier = made.kkt(tolerance)
    surgery = PIController(tolerance).double()
    course, end = descended(surgery, Pair(*made.losses()), torch.tensor(made.start), rate, round(30 / rate) + 100)
    rises = course - course[0]
    assert rises[-1] == pytest.approx(tolerance, abs=2e-3)
    assert rises.max() < tolerance + 0.03
    np.testing.assert_allclose(end.numpy(), solution, atol=0.02)
    assert float(surgery.multiplier) == pytest.approx(multiplier, rel=0.05)


def noisy(seed, every):
    """The mean of the rise over a run's second half, with noisy batches and an anchor at every so many updates."""
    made, generator = theory.problem(3.0), torch.Generator().manual_seed(seed)
    losses, surgery, weights, late = Pair(*made.losses()), PIController(0.1).double(), [torch.tensor(made.start)], []
    for index in range(400):
        noise = 0.05 * float(torch.randn((), generator=generator))
        step = ToyStep(weights, Pair(losses.forget, lambda w, n=noise: losses.retain(w) + n), lr=0.1)
        surgery(step)
        step.descend()
        surgery.after_step(step)
        weights, rise = step.weights, made.rise(step.weights[0].numpy())
        late += [rise] if index >= 200 else []
        if index % every == every - 1:
            surgery.set_measured_increase(rise)
    return np.mean(late)


def test_anchors_remove_what_the_first_noisy_batch_left():
    """Unanchored, the noise of the first batch, .05, stays in the estimate; an anchor has that of 19 batches, .011."""
    anchored, free = (np.array([noisy(seed, every) for seed in range(3)]) - 0.1 for every in (40, 1000))
    assert abs(anchored.mean()) < 0.015
    assert np.abs(anchored).mean() < 0.5 * np.abs(free).mean()


def told(surgery, *losses, size=1.0):
    """Let a surgery hear of retain losses without moving anything."""
    for loss in losses:
        step = ToyStep([torch.zeros(2)], Pair(linear(torch.ones(2)), linear(torch.ones(2), loss)))
        step.sizes = Pair(torch.tensor(1.0), torch.tensor(size))
        surgery(step)
        surgery.after_step(step)
    return surgery


def test_the_multiplier_begins_at_its_start_and_answers_the_first_rise():
    surgery = PIController(0.3, ki=0.0, initial_multiplier=2.0, decay=0.0)
    assert float(told(surgery, 0.2).multiplier) == pytest.approx(2.0, rel=1e-5)
    assert float(told(surgery, 0.25).multiplier) == pytest.approx(2.0 + 10 * 0.05 / 0.5, rel=1e-5)


def test_the_loss_is_relative_to_that_of_the_start_or_the_floor():
    for begun, scale in ((0.2, 0.25), (0.0, 0.06)):
        surgery = PIController(0.05, ki=0.0, initial_multiplier=0.0, decay=0.0, min_scale=0.06)
        told(surgery, begun, begun + 0.1)
        assert float(surgery.multiplier) == pytest.approx(10 * 0.1 / scale, rel=1e-5)


def test_nothing_winds_up_at_either_bound():
    surgery = told(PIController(0.0, initial_multiplier=0.0, decay=0.0, max_multiplier=5.0), 0.1)
    told(surgery, *[0.5] * 300)
    assert float(surgery.multiplier) == 5.0
    assert float(surgery.memory) <= 5.0
    assert float(told(surgery, 0.1).multiplier) <= float(surgery.memory) + 1e-6
    surgery.memory.fill_(3.0)
    told(surgery, *[-1.0] * 300)
    assert float(surgery.multiplier) == 0.0
    assert float(surgery.memory) == pytest.approx(3.0)
    assert float(told(surgery, 0.1).multiplier) == pytest.approx(3.0)


def test_a_batch_without_retain_examples_teaches_nothing():
    surgery = told(PIController(), 0.2, 0.4)
    before = {name: value.clone() for name, value in surgery.state_dict().items()}
    told(surgery, 9.0, size=0.0)
    assert all(torch.equal(value, before[name]) for name, value in surgery.state_dict().items())


def test_an_anchor_replaces_the_estimate_and_later_batches_move_it():
    surgery = told(PIController(0.1), *[0.2] * 5)
    surgery.set_measured_increase(0.5)
    assert float(surgery.estimate_increase()) == pytest.approx(0.5)
    before = float(surgery.multiplier)
    assert float(told(surgery, 0.2).multiplier) > before + 10
    assert float(surgery.estimate_increase()) == pytest.approx(0.5, abs=1e-6)
    assert float(told(surgery, *[0.3] * 200).estimate_increase()) == pytest.approx(0.6, abs=1e-4)


def test_what_was_spent_before_the_run_counts():
    surgery = PIController(0.1)
    surgery.set_measured_increase(0.07)
    assert float(told(surgery, 0.4, 0.4).estimate_increase()) == pytest.approx(0.07, abs=1e-6)


class Counted(nn.Linear):
    calls = 0

    def forward(self, inputs):
        self.calls += 1
        return super().forward(inputs)


def test_an_update_passes_each_half_through_the_network_once():
    model = Counted(4, 3)
    objectives = Pair(RandomLabel(True), CrossEntropy())
    step = Stepper(model, torch.optim.SGD(model.parameters(), lr=0.1), PIController(), objectives)
    batch = (torch.ones(8, 4), torch.arange(8) % 3)
    step(batch, batch)
    model.calls = 0
    for _ in range(3):
        step(batch, batch)
    assert model.calls == 6


@pytest.mark.parametrize(
    "setting", [{"tolerance": -1}, {"initial_multiplier": 60}, {"decay": 1.0}, {"min_scale": 0.0}, {"ki": -0.1}]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SurgeryError, match="initial_multiplier ≤ max_multiplier, decay < 1"):
        PIController(**setting)
