"""LUR against analytic Hessians, double backward and its own limits."""

import copy
import itertools
import weakref

import pytest
import torch
from torch import nn

from expunge.engine import Stepper
from expunge.errors import SurgeryError
from expunge.objectives import CrossEntropy, RandomLabel
from expunge.pair import Pair
from expunge.surgery import Direction, LURSurgery
from expunge.testing import ToyStep
from expunge.testing.toy_problem import make_batch, make_network

SIZE = 12
CASES = list(itertools.product(("retain", "forget"), (1.0, 0.4)))


class SmoothPair:
    """L_r = ½x'Ax + .1 Σ sin 2x, L_f = Σ cos(x + b) + .05‖x‖², with gradients and Hessians written out."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        q = torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)
        self.a = q @ q.T / SIZE
        self.b = torch.randn(SIZE, generator=generator, dtype=torch.float64)
        self.x = 0.5 * torch.randn(SIZE, generator=generator, dtype=torch.float64)

    def losses(self):
        retain = lambda p: 0.5 * p[0] @ self.a @ p[0] + 0.1 * (2 * p[0]).sin().sum()  # noqa: E731
        forget = lambda p: (p[0] + self.b).cos().sum() + 0.05 * (p[0] ** 2).sum()  # noqa: E731
        return Pair(forget, retain)

    def gradient(self, of, x):
        return self.a @ x + 0.2 * (2 * x).cos() if of == "retain" else 0.1 * x - (x + self.b).sin()

    def hessian(self, of, x):
        if of == "retain":
            return self.a - torch.diag(0.4 * (2 * x).sin())
        return 0.1 * torch.eye(SIZE, dtype=torch.float64) - torch.diag((x + self.b).cos())


def analytic(pair, alpha, weight, inner):
    outer = "forget" if inner == "retain" else "retain"
    own, other = (1.0, weight) if inner == "retain" else (weight, 1.0)
    g = pair.gradient(inner, pair.x)
    v = pair.gradient(outer, pair.x - alpha * g)
    return own * g + other * (v - alpha * pair.hessian(inner, pair.x) @ v)


def decided(pair, surgery):
    step = ToyStep([pair.x], pair.losses())
    surgery(step)
    return step.decision.pieces[0]


@pytest.mark.parametrize(("inner", "weight"), CASES)
def test_exact_is_the_analytic_gradient(inner, weight):
    pair = SmoothPair()
    found = decided(pair, LURSurgery(0.2, weight, "exact", inner))
    torch.testing.assert_close(found, analytic(pair, 0.2, weight, inner))


@pytest.mark.parametrize(("inner", "weight"), CASES)
def test_halving_alpha_divides_the_lookaheads_error_by_four_and_first_orders_by_two(inner, weight):
    pair = SmoothPair()

    def error(mode, alpha):
        exact = analytic(pair, alpha, weight, inner)
        return float((decided(pair, LURSurgery(alpha, weight, mode, inner)) - exact).norm() / exact.norm())

    assert 3.2 < error("lookahead", 0.02) / error("lookahead", 0.01) < 4.8
    assert 1.8 < error("first_order", 0.02) / error("first_order", 0.01) < 2.2
    assert error("lookahead", 0.01) < error("first_order", 0.01) / 10


def proposed(mode, alpha, gradient_accumulation_steps=1):
    model = make_network(torch.float64)
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    surgery = LURSurgery(alpha, 0.7, mode)
    stepper = Stepper(
        model,
        sgd,
        surgery,
        Pair(RandomLabel(), CrossEntropy()),
        gradient_accumulation_steps=gradient_accumulation_steps,
    )
    before = Direction(p.detach().clone() for p in model.parameters())
    stepper(make_batch(0, torch.float64), make_batch(1, torch.float64))
    return before - Direction(p.detach() for p in model.parameters())


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_on_a_network_the_lookahead_approaches_double_backward(micro_batches):
    errors = [
        float((proposed("lookahead", alpha, micro_batches) - proposed("exact", alpha, micro_batches)).norm())
        for alpha in (0.1, 0.05)
    ]
    assert 3.2 < errors[0] / errors[1] < 4.8


class Counting(ToyStep):
    """Notes at each gradient how many of those before are still held."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.given, self.held = [], []

    def gradient(self, role):
        self.held.append(sum(one() is not None for one in self.given))
        found = super().gradient(role)
        self.given.append(weakref.ref(found.pieces[0]))
        return found


@pytest.mark.parametrize(("inner", "weight"), CASES)
def test_the_lookahead_holds_one_gradient_beside_the_one_that_is_computed(inner, weight):
    pair = SmoothPair()
    step = Counting([pair.x], pair.losses())
    LURSurgery(0.2, weight, inner=inner)(step)
    assert step.held == [0, 1, 1]


def test_weights_buffers_and_generators_are_as_before():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))
    sgd = torch.optim.SGD(model.parameters(), lr=0.0)
    stepper = Stepper(model, sgd, LURSurgery(0.3), Pair(RandomLabel(), CrossEntropy()), batch_norm="separate")
    stepper(make_batch(0), make_batch(1))
    once = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    stepper(make_batch(0), make_batch(1))
    assert torch.equal(generator, torch.get_rng_state())
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, once[name])]
    # the retain batch moves the statistics once in an update; the forget batch is met at shifted weights alone
    assert moved == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert int(model.state_dict()["1.num_batches_tracked"]) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: LURSurgery(0.0),
        lambda: LURSurgery(0.1, -1.0),
        lambda: LURSurgery(mode="second"),
        lambda: LURSurgery(inner="x"),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(SurgeryError, match="Expected"):
        make()
