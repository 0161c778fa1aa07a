"""The noise-aware projection against a general convex solver, closed forms and its limits."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery import Direction, RobustProjection
from expunge.surgery.cone_problem import project_on_cone
from expunge.testing import ToyStep, linear


def unilateral(g_f, g_r, tolerance):
    rr = float(g_r @ g_r)
    return g_f + (0.0 if rr == 0 else max(0.0, (-float(g_f @ g_r) - tolerance) / rr)) * g_r


def solved(g, x, e, kappa, tolerance=0.0, dtype=torch.float64):
    """Our solution, in two pieces."""
    cut = len(g) // 2
    pieces = lambda v: [torch.tensor(v[:cut], dtype=dtype), torch.tensor(v[cut:], dtype=dtype)]  # noqa: E731
    u, multiplier = project_on_cone(
        Direction(pieces(g)), pieces(x), pieces(e), kappa, torch.tensor(tolerance, dtype=dtype)
    )
    return torch.cat(u.pieces).double().numpy(), float(multiplier)


def room(u, x, e, kappa, tolerance):
    """How far inside the cone u is; negative outside."""
    return u @ x - kappa * np.sqrt(((e * u) ** 2).sum()) + tolerance


def problem(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9))
    g = rng.standard_normal(size)
    x = rng.standard_normal(size) * 10 ** rng.uniform(-1, 1) - (0, 1, 3)[seed % 3] * g
    e = np.exp(rng.normal(size=size)) * 10 ** rng.uniform(-1.5, 0.7)
    if seed % 5 == 0:
        e[0] = 0
    return g, x, e, (0.3, 1.28, 2.3)[seed % 3], (0.0, 0.3)[seed % 2], rng


@pytest.mark.parametrize("seed", range(24))
def test_it_is_the_solution_of_a_general_convex_solver(seed):
    g, x, e, kappa, tolerance, rng = problem(seed)
    ours, _ = solved(g, x, e, kappa, tolerance)
    assert room(ours, x, e, kappa, tolerance) >= -1e-7
    within = {"type": "ineq", "fun": lambda u: u @ x - kappa * np.sqrt(((e * u) ** 2).sum() + 1e-18) + tolerance}
    distance = lambda u: 0.5 * ((u - g) ** 2).sum()  # noqa: E731
    starts = (g, 0 * g + 1e-3, rng.standard_normal(len(g)), ours + 1e-3 * rng.standard_normal(len(g)))
    options = {"maxiter": 500, "ftol": 1e-13}
    found = [minimize(distance, start, constraints=within, method="SLSQP", options=options) for start in starts]
    best = min((one for one in found if within["fun"](one.x) > -1e-7), key=lambda one: one.fun)
    assert distance(ours) <= best.fun * (1 + 1e-4) + 1e-7
    assert_allclose(ours, best.x, atol=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_the_solution_has_the_stated_form(seed):
    """u_i = (g_i + λ x̄_i)/(1 + λκe_i²/ρ), ρ = ‖e ⊙ u‖, with equality in the bound where λ > 0 and ρ > 0."""
    g, x, e, kappa, tolerance, _ = problem(seed)
    u, multiplier = solved(g, x, e, kappa, tolerance)
    rho = np.linalg.norm(e * u)
    if multiplier == 0:
        assert_allclose(u, g, rtol=1e-12)
        assert room(g, x, e, kappa, tolerance) >= 0
        return
    if rho > 1e-6:
        assert_allclose(u, (g + multiplier * x) / (1 + multiplier * kappa * e**2 / rho), rtol=1e-3, atol=1e-5)
        assert abs(room(u, x, e, kappa, tolerance)) < 1e-4


def test_where_noise_drowns_everything_nothing_noisy_moves():
    """ε = 0 and ‖(g + λx̄)/e‖ ≤ λκ for some λ: u_i = 0 exactly wherever e_i > 0, projected where e_i = 0."""
    rng = np.random.default_rng(3)
    g, x = rng.standard_normal((2, 40))
    e = np.full(40, 50.0)
    assert np.linalg.norm(g / e) < 1e3 * 1.28
    u, _ = solved(g, x, e, 1.28)
    assert (u == 0).all()
    e[:10] = 0
    x[:10] = np.sign(x[:10] * g[:10]) * x[:10] * -1  # conflict on what is known exactly
    u, _ = solved(g, x, e, 1.28)
    assert (u[10:] == 0).all()
    assert_allclose(u[:10], unilateral(g[:10], x[:10], 0.0), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_solution_scales(scale):
    g, x, e, kappa, tolerance, _ = problem(4)
    plain, multiplier = solved(g, x, e, kappa, tolerance)
    scaled, other = solved(scale * g, x / scale, e / scale, kappa, tolerance, torch.float32)
    assert_allclose(scaled / scale, plain, rtol=1e-3, atol=1e-5)
    assert other == pytest.approx(multiplier * scale**2, rel=1e-3)


def fed(surgery, gradients):
    surgery.moments.count = 0
    for gradient in gradients:
        surgery.moments.add(Direction([gradient.clone()]))
    return surgery


def decide(surgery, forget, retain):
    step = ToyStep([torch.zeros_like(forget)], Pair(linear(forget), linear(retain)))
    surgery(step)
    return step.decision.pieces[0], step


@pytest.mark.parametrize("tolerance", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_without_shrinkage_it_is_unilateral_surgery_on_the_mean(seed, tolerance):
    generator = torch.Generator().manual_seed(seed)
    past = torch.randn(5, 30, generator=generator, dtype=torch.float64)
    forget = torch.randn(30, generator=generator, dtype=torch.float64) - 0.5 * past.mean(0)
    surgery = fed(RobustProjection(delta=0.5, tolerance=tolerance, decay=None), past)
    assert surgery.kappa == 0
    found, _ = decide(surgery, forget, past[0])
    expected = unilateral(forget.numpy(), past.mean(0).numpy(), tolerance)
    assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)
    close, _ = decide(fed(RobustProjection(delta=0.5 - 1e-9, tolerance=tolerance, decay=None), past), forget, past[0])
    assert_allclose(close.numpy(), expected, atol=1e-5)


def test_more_confidence_shrinks_more_and_keeps_more_room():
    generator = torch.Generator().manual_seed(0)
    past = 0.4 + torch.randn(6, 50, generator=generator, dtype=torch.float64)
    forget = torch.randn(50, generator=generator, dtype=torch.float64)
    lengths, slopes = [], []
    for delta in (0.5, 0.3, 0.1, 0.01):
        found, _ = decide(fed(RobustProjection(delta=delta, decay=None), past), forget, past[0])
        lengths.append(float((found - forget).norm()))
        slopes.append(float(found @ past.mean(0)) / float(found.norm() + 1e-300))
    assert lengths == sorted(lengths)
    assert slopes == sorted(slopes)
    assert lengths[-1] > lengths[0]


def test_the_first_two_updates_are_unilateral_on_the_batch_and_skips_teach_nothing():
    generator = torch.Generator().manual_seed(2)
    surgery = RobustProjection()
    for index in range(4):
        forget, retain = torch.randn(2, 20, generator=generator, dtype=torch.float64)
        found, step = decide(surgery, forget, retain)
        assert surgery.moments.count == index
        expected = torch.tensor(unilateral(forget.numpy(), retain.numpy(), 0.0))
        assert torch.allclose(found, expected, atol=1e-6) is (index < 2)
        if index == 0:
            decide(surgery, forget, retain)
            assert surgery.moments.count == 0
        surgery.after_step(step)


@pytest.mark.parametrize("options", [{"delta": 0.0}, {"delta": 0.6}, {"tolerance": -1.0}, {"decay": 1.0}])
def test_bad_settings_are_refused(options):
    with pytest.raises(SurgeryError, match="delta in"):
        RobustProjection(**options)
