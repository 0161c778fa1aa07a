"""Named surgeries against their papers' formulas on explicit vectors, without TorchJD."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

from expunge.errors import MissingExtraError, ObjectiveError, SurgeryError
from expunge.pair import Pair
from expunge.surgery import FAMO, MGDA, AlignedMTL, CAGrad, GradVac, NashMTL, PCGrad, UPGrad
from expunge.testing import ToyStep, linear

SOLVERS = all(find_spec(name) for name in ("cvxpy", "clarabel", "ecos"))
needs_solvers = pytest.mark.skipif(not SOLVERS, reason="cvxpy, clarabel and ecos are not installed")
STATELESS = {"pcgrad": PCGrad, "mgda": MGDA, "aligned_mtl": AlignedMTL, "upgrad": UPGrad}


def vectors(seed, conflict=True):
    """Two vectors of different lengths at an obtuse or acute angle."""
    generator = np.random.default_rng(seed)
    forget, retain = generator.normal(size=(2, 6)) * np.array([[1.0], [3.0]])
    aligned = forget @ retain > 0
    return forget, -retain if aligned == conflict else retain


def decided(surgery, forget, retain):
    step = ToyStep([torch.zeros(6).double()], Pair(linear(torch.tensor(forget)), linear(torch.tensor(retain))))
    surgery(step)
    surgery.after_step(step)
    return step.decision.pieces[0].numpy()


CASES = pytest.mark.parametrize(("seed", "conflict"), [(seed, conflict) for seed in range(4) for conflict in (0, 1)])


@CASES
def test_pcgrad_subtracts_each_conflicting_projection(seed, conflict):
    f, r = vectors(seed, conflict)
    inner = min(0.0, f @ r)
    expected = f - inner * r / (r @ r) + r - inner * f / (f @ f)
    np.testing.assert_allclose(decided(PCGrad(), f, r), expected)


@CASES
def test_mgda_is_the_point_of_the_segment_nearest_to_zero(seed, conflict):
    f, r = vectors(seed, conflict)
    best = minimize_scalar(lambda w: np.sum((w * f + (1 - w) * r) ** 2), bounds=(0, 1), method="bounded")
    found = decided(MGDA(), f, r)
    np.testing.assert_allclose(found @ found, best.fun, rtol=1e-5)


@CASES
def test_upgrad_averages_projections_on_the_cone_without_conflict(seed, conflict):
    f, r = vectors(seed, conflict)
    half_spaces = [{"type": "ineq", "fun": lambda d, g=g: g @ d, "jac": lambda d, g=g: g} for g in (f, r)]
    projections = [
        minimize(
            lambda d, g=g: np.sum((d - g) ** 2),
            g,
            jac=lambda d, g=g: 2 * (d - g),
            constraints=half_spaces,
            method="SLSQP",
            options={"ftol": 1e-14},
        ).x
        for g in (f, r)
    ]
    found = decided(UPGrad(), f, r)
    # TorchJD adds 1e-4 to the diagonal of the normalized Gram matrix.
    np.testing.assert_allclose(found, sum(projections) / 2, atol=5e-3 * np.linalg.norm(r))
    assert min(found @ f, found @ r) > -1e-3 * (r @ r)


@CASES
def test_aligned_mtl_averages_the_nearest_orthogonal_system(seed, conflict):
    f, r = vectors(seed, conflict)
    left, values, right = np.linalg.svd(np.stack([f, r]), full_matrices=False)
    np.testing.assert_allclose(decided(AlignedMTL(), f, r), (values.min() * left @ right).mean(0))


def test_gradvac_turns_gradients_to_their_running_similarity():
    surgery, target = GradVac(beta=0.3), np.zeros(2)
    for seed in range(5):
        pair, total = vectors(seed, seed % 3 != 0), 0.0
        for index, (own, other) in enumerate((pair, pair[::-1])):
            cosine, goal = own @ other / np.linalg.norm(own) / np.linalg.norm(other), target[index]
            total = total + own
            if cosine < goal:
                turn = goal * math.sqrt(1 - cosine**2) - cosine * math.sqrt(1 - goal**2)
                turn *= np.linalg.norm(own) / (np.linalg.norm(other) * math.sqrt(1 - goal**2))
                turned = own + turn * other
                total = total + turn * other
                assert turned @ other / np.linalg.norm(turned) / np.linalg.norm(other) == pytest.approx(goal)
            target[index] = 0.7 * goal + 0.3 * cosine
        np.testing.assert_allclose(decided(surgery, *pair), total, rtol=1e-6)
        assert [surgery.target[0, 1].item(), surgery.target[1, 0].item()] == pytest.approx(list(target))


def test_famo_weighs_logarithms_and_learns_by_adam():
    surgery, logits = FAMO(lr=0.1, decay=0.01), torch.zeros(2)
    first, second = torch.zeros(2), torch.zeros(2)
    f, r = (torch.tensor(side, dtype=torch.float32) for side in vectors(0))
    weights = torch.zeros(6)
    for count in range(1, 6):
        step = ToyStep([weights], Pair(linear(f, 6.0), linear(r, 9.0)), lr=0.01)
        before = torch.stack([step.loss("forget"), step.loss("retain")])
        surgery(step)
        share = logits.softmax(0) / (before + 1e-8)
        expected = (share[0] * f + share[1] * r) / share.sum()
        torch.testing.assert_close(step.decision.pieces[0], expected)
        assert surgery.relative_weight().item() == pytest.approx(float(share[1] / share[0]), rel=1e-5)
        step.descend()
        surgery.after_step(step)
        weights = step.weights[0]
        after = torch.stack([step.loss("forget"), step.loss("retain")])
        delta, z = (before + 1e-8).log() - (after + 1e-8).log(), logits.softmax(0)
        slope = z * (delta - (z * delta).sum()) + 0.01 * logits
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        logits = logits - 0.1 * (first / (1 - 0.9**count)) / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
        torch.testing.assert_close(surgery.logits, logits, rtol=1e-4, atol=1e-6)


def test_famo_refuses_losses_without_a_logarithm():
    with pytest.raises(ObjectiveError, match="losses ≥ 0 for a logarithm"):
        FAMO().check_losses(Pair(-0.1, 2.0))


def test_famo_descends_a_lone_half_as_it_is():
    f, r = vectors(0)
    step = ToyStep(
        [torch.zeros(6).double()], Pair(linear(0 * torch.tensor(f), 0.0), linear(torch.tensor(r))), sizes=Pair(0.0, 3.0)
    )
    surgery = FAMO()
    before = {name: value.clone() for name, value in surgery.state_dict().items()}
    surgery(step)
    surgery.after_step(step)
    np.testing.assert_allclose(step.decision.pieces[0].numpy(), r)
    assert all(torch.equal(before[name], value) for name, value in surgery.state_dict().items())


@pytest.mark.parametrize("make", STATELESS.values(), ids=STATELESS)
def test_the_global_generator_is_left_alone(make):
    before = torch.get_rng_state()
    decided(make(), *vectors(0))
    assert torch.equal(torch.get_rng_state(), before)


@needs_solvers
@CASES
def test_cagrad_raises_the_smaller_gain_in_a_ball_around_the_mean(seed, conflict):
    f, r = vectors(seed, conflict)
    middle = (f + r) / 2
    radius = 0.4 * np.linalg.norm(middle)
    found = decided(CAGrad(), f, r)
    assert np.linalg.norm(found - middle) <= radius * 1.001
    angles = np.linspace(0, 2 * np.pi, 20_001)
    along, across = np.linalg.qr(np.stack([f, r]).T)[0].T
    tries = middle + radius * (np.cos(angles)[:, None] * along + np.sin(angles)[:, None] * across)
    assert min(found @ f, found @ r) == pytest.approx(np.minimum(tries @ f, tries @ r).max(), rel=1e-3)


@needs_solvers
@CASES
def test_nash_mtl_solves_the_bargaining_equation(seed, conflict):
    f, r = vectors(seed, conflict)
    surgery = NashMTL(max_norm=0.0, max_iterations=100)
    decided(surgery, f, r)
    gram = np.array([[f @ f, f @ r], [f @ r, r @ r]])
    weights = surgery.previous.numpy()
    np.testing.assert_allclose(weights * (gram @ weights), 1.0, rtol=0.02)


@pytest.mark.skipif(SOLVERS, reason="cvxpy is installed")
@pytest.mark.parametrize("make", [CAGrad, NashMTL])
def test_missing_solvers_are_named_at_construction(make):
    with pytest.raises(MissingExtraError, match=r"expunge\[torchjd-solvers\]"):
        make()


@pytest.mark.parametrize("make", [lambda: GradVac(beta=1.5), lambda: FAMO(lr=-1.0), lambda: FAMO(decay=-1.0)])
def test_bad_settings_are_refused(make):
    with pytest.raises(SurgeryError, match="settings that TorchJD"):
        make()
