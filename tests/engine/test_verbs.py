"""What a step lends: losses, curvature, shifted weights, fresh examples."""

import pytest
import torch
from small_networks import (
    POLICIES,
    assert_same_buffers,
    batch,
    buffers,
    ce,
    flat,
    gradients,
    mlp,
    noisy,
    normalized,
    stepper,
    weights,
)
from torch import nn
from torch.func import functional_call, hessian

from expunge.engine import seeded_rng
from expunge.errors import SurgeryError
from expunge.objectives import CrossEntropy, Objective
from expunge.pair import Pair
from expunge.surgery import Direction, EUPMUSurgery, Projection, WeightedSum


def lent(model, forget=None, retain=None, probe=None, progress=None, **options):
    return stepper(model, WeightedSum(), **options).make_step(
        forget or batch(0), retain or batch(1), probe, progress, True
    )


def direction(model, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return Direction(torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in model.parameters())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch.func's own
@pytest.mark.parametrize("parts", [1, 3])
def test_curvature_is_torch_func_times_the_direction(parts):
    model, some = mlp(), batch(1)
    named = dict(model.named_parameters())
    along = direction(model)

    def loss(parameters):
        return nn.functional.cross_entropy(functional_call(model, parameters, (some.inputs,)), some.targets)

    blocks = hessian(loss)({name: value.detach() for name, value in named.items()})
    vector = dict(zip(named, along, strict=True))
    expected = [
        sum(torch.tensordot(blocks[row][column], vector[column], vector[column].dim()) for column in named)
        for row in named
    ]
    found = lent(model, retain=some, gradient_accumulation_steps=parts).hessian_vector_product("retain", along)
    torch.testing.assert_close(flat(found), flat(expected), rtol=0, atol=1e-12)


class Bowl(Objective):
    """½ xᵀAx for the weights x, whatever the batch."""

    A = torch.tensor([[2.0, -1.0], [-1.0, 3.0]], dtype=torch.float64)

    def __call__(self, model, batch):
        x = model(batch.inputs).flatten()
        return 0.5 * x @ self.A @ x


class Point(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def forward(self, inputs):
        return self.x


def test_curvature_of_a_quadratic_is_its_matrix():
    step = lent(Point(), objectives=Pair(Bowl(), Bowl()))
    v = torch.tensor([0.3, -0.7], dtype=torch.float64)
    torch.testing.assert_close(step.hessian_vector_product("forget", Direction([v])).pieces[0], Bowl.A @ v)
    torch.testing.assert_close(step.gradient("forget").pieces[0], Bowl.A @ torch.tensor([1.0, 2.0]).double())


@pytest.mark.parametrize(
    "options",
    [{"precision": "bf16"}, {"batch_norm": "joint"}, {"scaler": torch.amp.GradScaler("cpu")}],
    ids=["bf16", "joint", "scaler"],
)
def test_curvature_is_refused_where_it_would_be_wrong(options):
    model = mlp(torch.float32)
    step = lent(model, batch(0, dtype=torch.float32), batch(1, dtype=torch.float32), **options)
    with pytest.raises(SurgeryError, match=r"Expected full precision .*: use fp32 without a scaler"):
        step.hessian_vector_product("retain", direction(model))


def test_curvature_leaves_gradients_and_statistics():
    model = normalized()
    step = lent(model, batch_norm="separate")
    before = buffers(model)
    step.hessian_vector_product("retain", direction(model))
    assert_same_buffers(model, before)
    assert all(p.grad is None for p in model.parameters())


def test_shifted_weights_come_back_to_the_bit():
    model = mlp(torch.float32)
    before, by = weights(model), direction(model)
    step = lent(model, batch(0, dtype=torch.float32), batch(1, dtype=torch.float32))
    at_home = step.loss("retain")
    with step.perturbed(by):
        assert torch.equal(weights(model), before + flat(by))
        away = step.loss("retain")
        with step.perturbed(by * 0.5):
            further = step.loss("retain")
            assert torch.equal(weights(model), before + flat(by) + flat(by * 0.5))
        assert torch.equal(weights(model), before + flat(by))
        assert step.loss("retain") is away
    assert torch.equal(weights(model), before)
    assert step.loss("retain") is at_home
    assert len({float(at_home), float(away), float(further)}) == 3


def test_a_shift_may_be_a_multiple_of_a_direction():
    model = mlp()
    before, by = weights(model), direction(model)
    kept = flat(by)
    with lent(model).perturbed(by, alpha=-0.25):
        torch.testing.assert_close(weights(model), before - 0.25 * kept, rtol=0, atol=1e-15)
    assert torch.equal(weights(model), before)
    assert torch.equal(flat(by), kept)


def test_shifted_weights_come_back_after_a_failure():
    model = mlp()
    before, step = weights(model), lent(model)
    with pytest.raises(ZeroDivisionError), step.perturbed(direction(model)), step.perturbed(direction(model)):
        raise ZeroDivisionError
    assert torch.equal(weights(model), before)
    misfit = Direction([*direction(model).pieces[:-1], torch.ones(7)])
    with pytest.raises(RuntimeError), step.perturbed(misfit):
        pass
    assert torch.equal(weights(model), before)


def test_gradients_at_shifted_weights():
    """Central differences of a shifted loss are the gradient; a shifted gradient is that of a moved copy."""
    model, moved, by = mlp(), mlp(), direction(mlp()) * 0.1
    step = lent(model)
    with torch.no_grad():
        torch._foreach_add_(list(moved.parameters()), by.pieces)
    with step.perturbed(by):
        found = step.gradient("forget")
    torch.testing.assert_close(flat(found), flat(gradients(moved, ce(moved, batch(0)))), rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
def test_looking_leaves_statistics_and_modes_alone(policy):
    model = normalized()
    step = lent(model, probe=lambda: batch(5), batch_norm=policy)
    before, modes = buffers(model), [module.training for module in model.modules()]
    step.loss("forget")
    step.loss("retain", independent=True)
    with step.perturbed(direction(model)):
        step.loss("retain")
        step.gradient("forget")
        step.gradient("retain")
    assert_same_buffers(model, before)
    assert [module.training for module in model.modules()] == modes


class Restless(nn.Module):
    """Puts another tensor in the place of its buffer at each pass in training mode."""

    def __init__(self):
        super().__init__()
        self.inner = mlp()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, inputs):
        if self.training:
            self.passes = self.passes + 1
        return self.inner(inputs)


def test_buffers_that_are_replaced_come_back_too():
    model = Restless()
    lent(model).loss("retain")
    assert float(model.passes) == 0


def test_the_same_batch_meets_the_same_dropout():
    model = noisy()
    step = lent(model)
    losses = step.backward(lambda forget, retain: forget + retain)
    assert torch.equal(losses.retain, step.loss("retain"))
    step.stepped = True
    assert torch.equal(step.loss("retain"), losses.retain)
    with step.perturbed(direction(model) * 0.0):
        assert torch.equal(step.loss("retain"), losses.retain)


def test_sides_and_updates_meet_different_dropout():
    model = noisy()
    step = stepper(model, WeightedSum())
    first = step.make_step(batch(0), batch(0), lambda: batch(0), None, False)
    step.updates = 1
    second = step.make_step(batch(0), batch(0), None, None, False)
    found = [first.loss("forget"), first.loss("retain"), first.loss("retain", independent=True), second.loss("forget")]
    assert len({float(loss) for loss in found}) == 4


def test_replayed_restores_after_a_failure():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), seeded_rng(3, torch.device("cpu")):
        divmod(torch.rand(3).numel(), 0)
    assert torch.equal(torch.get_rng_state(), before)


class Counted(CrossEntropy):
    def __init__(self):
        self.calls = 0

    def __call__(self, model, batch):
        self.calls += 1
        return super().__call__(model, batch)


@pytest.mark.parametrize(
    ("make", "probed", "passes"),
    [(WeightedSum, True, 1), (Projection, True, 1), (EUPMUSurgery, True, 3), (EUPMUSurgery, False, 2)],
    ids=["fixed", "unilateral", "implicit", "implicit without a probe"],
)
def test_what_is_known_is_not_computed_again(make, probed, passes):
    """Passes of the retain half: its own, and those of the measurement before and after the move."""
    objectives = Pair(Counted(), Counted())
    step = stepper(mlp(), make(), objectives=objectives)
    probe = (lambda: batch(9)) if probed else None
    step(batch(0), batch(1), probe)
    objectives.forget.calls = objectives.retain.calls = 0
    step(batch(0), batch(1), probe)
    assert (objectives.forget.calls, objectives.retain.calls) == (1, passes)


def test_fresh_losses_are_those_of_the_probe():
    model = mlp()
    step = lent(model, probe=lambda: batch(9, 7))
    torch.testing.assert_close(step.loss("retain", independent=True), ce(model, batch(9, 7)).detach())
    torch.testing.assert_close(step.loss("retain"), ce(model, batch(1)).detach())


def test_implicit_learns_from_the_probe():
    """λ₁ = max(0, λ₀ − β((L(θ₀) − L(θ₁))/η + ε)) with L on the probe, by hand."""
    model, surgery = mlp(), EUPMUSurgery(tolerance=0.05, dual_rate=0.3, initial_multiplier=0.5)
    step = stepper(model, surgery, lambda p: torch.optim.SGD(p, lr=0.2))
    before = ce(model, batch(9)).detach()
    step(batch(0), batch(1), lambda: batch(9))
    slack = (before - ce(model, batch(9)).detach()) / 0.2 + 0.05
    expected = max(0.0, 0.5 - 0.3 * float(slack))
    assert 0 < expected != 0.5
    torch.testing.assert_close(float(surgery.multiplier), expected, rtol=1e-5, atol=1e-6)
