"""The rules against NumPy, closed forms and each other."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from expunge.errors import ExpungeError, ObjectiveError, SurgeryError
from expunge.pair import Pair
from expunge.surgery import (
    Direction,
    EUPMUFastSurgery,
    EUPMUOfficialSurgery,
    EUPMUSurgery,
    GramianWeighting,
    Projection,
    WeightedSum,
    gramian,
)
from expunge.surgery.dual import DecayedAdam
from expunge.testing import ToyStep, linear, quadratic


def numpy_unilateral(g_f, g_r, tolerance):
    rr = float(g_r @ g_r)
    multiplier = 0.0 if rr == 0 else max(0.0, (-float(g_f @ g_r) - tolerance) / rr)
    return g_f + multiplier * g_r


def decide(surgery, forget, retain):
    step = ToyStep([torch.zeros(len(forget), dtype=torch.float64)], Pair(linear(forget), linear(retain)))
    surgery(step)
    return step.decision.pieces[0]


def gradients(seed, size=50):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("tolerance", [0.0, 0.7])
@pytest.mark.parametrize("seed", range(10))
def test_unilateral_is_the_oracles(seed, tolerance):
    f, r = gradients(seed)
    expected = numpy_unilateral(f.numpy(), r.numpy(), tolerance)
    assert_allclose(decide(Projection(tolerance), f, r).numpy(), expected, rtol=1e-6, atol=1e-9)


def test_unilateral_leaves_a_feasible_gradient_alone():
    f, r = gradients(1)
    r = r if f @ r > 0 else -r
    assert torch.equal(decide(Projection(), f, r), f)
    assert torch.equal(decide(Projection(), f, 0 * r), f)


def test_unilateral_is_the_nearest_feasible_direction():
    f, r = gradients(2)
    r = -r if f @ r > 0 else r
    best = decide(Projection(), f, r)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        other = best + 0.3 * torch.randn(50, generator=generator, dtype=torch.float64)
        other += r * max(0.0, -float(other @ r) / float(r @ r))
        assert (other - f).norm() >= (best - f).norm() - 1e-9


def test_unilateral_is_equivariant():
    f, r = gradients(3, 8)
    q, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    torch.testing.assert_close(decide(Projection(), q @ f, q @ r), q @ decide(Projection(), f, r))


def test_direction_algebra_is_that_of_the_flat_vector():
    f, r = gradients(4, 12)
    split = lambda v: Direction([v[:5], v[5:].view(7, 1)])  # noqa: E731
    flat = lambda d: torch.cat([p.flatten() for p in d])  # noqa: E731
    torch.testing.assert_close(flat(split(f) + 2 * split(r) - -split(f)), 2 * f + 2 * r)
    torch.testing.assert_close(split(f) @ split(r), f @ r)
    torch.testing.assert_close(gramian(split(f), split(r)), torch.stack([f, r]) @ torch.stack([f, r]).T)


def test_inner_product_of_half_precision_is_not_rounded_to_it():
    piece = torch.full((4096,), 0.01, dtype=torch.bfloat16)
    exact = float((piece.double() ** 2).sum())
    assert_allclose(float(Direction([piece]) @ Direction([piece])), exact, rtol=1e-5)


def test_scaling_by_a_double_keeps_the_weights_type():
    piece = Direction([torch.ones(3)]).mul_(torch.tensor(2.0, dtype=torch.float64)).pieces[0]
    assert piece.dtype == torch.float32


def test_fixed_skips_the_side_of_weight_zero():
    f, r = gradients(5)
    assert torch.equal(decide(WeightedSum(1.0, 0.0), f, r), f)
    assert_allclose(decide(WeightedSum(0.25, 1.0), f, r).numpy(), (0.25 * f + r).numpy())


def settle(surgery, steps=400, rate=0.02):
    """Run a surgery on two quadratics with conflicting minima; return the weights."""
    weights = [torch.zeros(2, dtype=torch.float64)]
    losses = Pair(quadratic([2.0, 2.0]), quadratic([0.0, 1.0]))
    for _ in range(steps):
        step = ToyStep(weights, losses, rate)
        surgery(step)
        step.descend()
        weights = step.weights
        surgery.after_step(step)
    return weights[0], losses


def test_implicit_stays_at_the_retain_level_it_started_from():
    """With ε = 0 the retain loss must not rise; the unconstrained mean would raise it from .5 to 1.06."""
    x, losses = settle(EUPMUSurgery(initial_multiplier=0.0))
    assert float(losses.retain([x])) <= 0.5 * 1.03
    assert float(losses.forget([x])) < 4.0


def test_implicit_multiplier_approaches_the_projections():
    """At a point held still the fixed point of λ is (−⟨g_f,g_r⟩ − ε)/‖g_r‖², the explicit rule's."""
    f = torch.tensor([1.0, 0.5], dtype=torch.float64)
    r = torch.tensor([-2.0, 0.5], dtype=torch.float64)
    surgery = EUPMUSurgery(tolerance=0.2, dual_rate=0.1, initial_multiplier=0.0)
    for _ in range(200):
        step = ToyStep([torch.zeros(2, dtype=torch.float64)], Pair(linear(f), linear(r)))
        surgery(step)
        step.descend()
        surgery.after_step(step)
    expected = (-float(f @ r) - 0.2) / float(r @ r)
    assert_allclose(float(surgery.multiplier), expected, rtol=1e-4)


def test_implicit_is_bounded_on_both_ends():
    f, r = torch.ones(2), -torch.ones(2)
    surgery = EUPMUSurgery(dual_rate=100.0, initial_multiplier=0.0, max_multiplier=3.0)
    for forget, bound in ((f, 3.0), (0 * f, 0.0)):
        step = ToyStep([torch.zeros(2)], Pair(linear(forget), linear(r)))
        surgery(step)
        step.descend()
        surgery.after_step(step)
        assert float(surgery.multiplier) == bound


@pytest.mark.parametrize(
    "surgery", [EUPMUSurgery(), EUPMUFastSurgery(), EUPMUOfficialSurgery()], ids=lambda s: type(s).__name__
)
def test_an_empty_retain_half_teaches_the_dual_nothing(surgery):
    before = {name: value.clone() for name, value in surgery.state_dict().items()}
    losses = Pair(linear(torch.ones(2)), lambda pieces: torch.zeros(()))
    step = ToyStep([torch.zeros(2)], losses, sizes=Pair(4.0, 0.0))
    surgery(step)
    step.descend()
    surgery.after_step(step)
    for name, value in surgery.state_dict().items():
        assert torch.equal(value.nan_to_num(-1), before[name].nan_to_num(-1)), name


@pytest.mark.parametrize(("error", "low", "high"), [(0.01, 0.4, 1.6), (0.05, 4.0, 6.0)])
def test_released_dual_settles_at_error_over_decay(error, low, high):
    """Reference: the NumPy recursion of the released rule under noise, without net progress."""
    adam, weight = DecayedAdam(1.0, 0.01), torch.zeros(())
    noise = np.random.default_rng(0).standard_normal(4000) * 0.05
    tail = []
    for index, value in enumerate(noise):
        weight = adam(weight, torch.tensor(value - error), torch.tensor(True))
        tail += [float(weight)] if index > 2000 else []
    assert low < np.mean(tail) < high


def test_decayed_adam_is_torch_adam():
    ours, weight = DecayedAdam(0.3, 0.01), torch.tensor(1.0)
    theirs = torch.nn.Parameter(torch.tensor(1.0))
    adam = torch.optim.Adam([theirs], lr=0.3, weight_decay=0.01)
    for signal in (0.5, -0.2, 0.1, 3.0, -7.0):
        theirs.grad = torch.tensor(signal)
        adam.step()
        weight = ours(weight, torch.tensor(signal), torch.tensor(True))
        assert_allclose(float(weight), theirs.item(), rtol=1e-4)


def test_published_rule_by_hand():
    """One update of the released rule, written out in plain Python."""
    f, r = gradients(6, 5)
    surgery = EUPMUOfficialSurgery("log", margin=0.05, initial_weight=0.7)
    step = ToyStep([torch.zeros(5, dtype=torch.float64)], Pair(linear(f), linear(r, 2.0)), 0.1, Pair(3.0, 1.0))
    surgery(step)
    l_f, l_r = 0.75 * 1.0, 0.25 * 2.0
    expected = 0.75 * f / l_f + 0.7 * 0.25 * r / l_r
    torch.testing.assert_close(step.decision.pieces[0], expected, rtol=1e-6, atol=1e-9)
    # λ is the weight of the mean losses' gradients relative to each other
    assert_allclose(float(surgery.relative_weight()), (0.7 * 0.25 / l_r) / (0.75 / l_f), rtol=1e-6)
    step.descend()
    surgery.after_step(step)
    new = 0.25 * (2.0 - 0.1 * float(r @ expected))
    slope = math.log(l_r) - math.log(new) - 0.05 + 0.01 * 0.7
    assert_allclose(float(surgery.weight), max(0.0, 0.7 - math.copysign(1.0, slope)), rtol=1e-4)


def test_fast_rule_by_hand():
    surgery = EUPMUFastSurgery(margin=0.0, dual_rate=0.5, decay=0.0)
    for level, expected in ((1.0, 1.0), (math.e, 1.5), (1.0, 1.5)):
        step = ToyStep([torch.zeros(2)], Pair(linear(torch.ones(2)), linear(torch.zeros(2), level)))
        surgery(step)
        surgery.after_step(step)
        if level != 1.0 or expected == 1.0:
            assert_allclose(float(surgery.multiplier), expected, rtol=1e-5)
    assert float(surgery.multiplier) < 1.51


@pytest.mark.parametrize(
    "surgery", [EUPMUSurgery(log_loss=True), EUPMUOfficialSurgery("log")], ids=["log", "published"]
)
def test_log_forms_refuse_ascent(surgery):
    with pytest.raises(ObjectiveError, match="losses ≥ 0"):
        surgery.check_losses(Pair(-2.3, 0.1))
    surgery.check_losses(Pair(2.3, 0.1))


def test_raw_form_takes_negative_losses():
    EUPMUSurgery().check_losses(Pair(-2.3, 0.1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Projection(-0.1),
        lambda: WeightedSum(0.0, 0.0),
        lambda: EUPMUSurgery(initial_multiplier=60.0),
        lambda: EUPMUFastSurgery(initial_multiplier=-1.0),
        lambda: EUPMUOfficialSurgery(decay=-1.0),
        lambda: GramianWeighting("nowhere:nothing"),
        lambda: GramianWeighting("math:pi"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(make):
    with pytest.raises(SurgeryError) as caught:
        make()
    assert isinstance(caught.value, ExpungeError)
    assert str(caught.value).startswith("Expected ")


@pytest.mark.parametrize("name", ["PCGrad", "MGDA", "AlignedMTL", "IMTLG", "UPGrad"])
def test_torchjd_weightings_plug_in(name):
    aggregation = pytest.importorskip("torchjd.aggregation", reason="the extra torchjd is not installed")
    f, r = gradients(7)
    expected = getattr(aggregation, name)()(torch.stack([f, r]))
    torch.testing.assert_close(decide(GramianWeighting(f"torchjd:{name}"), f, r), expected, rtol=1e-4, atol=1e-6)
