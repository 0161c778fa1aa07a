"""The multiplier under projected Adam, against a slow oracle, and what the projection must not leave behind."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from expunge.errors import SurgeryError
from expunge.pair import Pair
from expunge.surgery import EUPMUSurgery
from expunge.surgery.dual import ProjectedAdam
from expunge.testing import ToyStep, linear, quadratic

YES, NO = torch.tensor(True), torch.tensor(False)


def slow_adam(weight, signals, rate, highest):
    """Each moment as a sum over the whole past; a cut forgets all that came before it, and the count goes on."""
    path, since = [weight], 0
    for t in range(1, len(signals) + 1):
        mean = sum(0.1 * 0.9 ** (t - 1 - k) * signals[k] for k in range(since, t)) / (1 - 0.9**t)
        square = sum(0.001 * 0.999 ** (t - 1 - k) * signals[k] ** 2 for k in range(t)) / (1 - 0.999**t)
        wished = path[-1] - rate * mean / (np.sqrt(square) + 1e-8)
        path.append(min(highest, max(0.0, wished)))
        since = t if path[-1] != wished else since
    return path[1:]


def learnt(rule, weight, signals):
    path = []
    for signal in signals:
        weight = rule(weight, torch.tensor(signal), YES)
        path.append(float(weight))
    return path


@pytest.mark.parametrize("seed", range(4))
def test_projected_adam_is_the_oracles(seed):
    generator = np.random.default_rng(seed)
    signals = generator.standard_normal(120) + np.repeat(generator.choice([-1.5, 0.0, 1.5], 12), 10)
    path = learnt(ProjectedAdam(0.5, 2.0).double(), torch.tensor(1.0, dtype=torch.float64), signals)
    assert {0.0, 2.0} <= set(path), "the path should meet both bounds"
    assert_allclose(path, slow_adam(1.0, signals, 0.5, 2.0), rtol=1e-6, atol=1e-9)


def test_between_the_bounds_it_is_torch_adam():
    theirs = torch.nn.Parameter(torch.tensor(5.0))
    adam, ours, weight = torch.optim.Adam([theirs], lr=0.3), ProjectedAdam(0.3, 50.0), torch.tensor(5.0)
    for signal in (0.5, -0.2, 0.1, 3.0, -7.0):
        theirs.grad = torch.tensor(signal)
        adam.step()
        weight = ours(weight, torch.tensor(signal), YES)
        assert_allclose(float(weight), theirs.item(), rtol=1e-5)


@pytest.mark.parametrize(("outward", "bound"), [(1.0, 0.0), (-1.0, 3.0)])
def test_it_does_not_wind_up(outward, bound):
    """However long and hard it was pushed out, the first signal the other way brings it back."""
    for scale, pushes in ((1.0, 200), (1.0, 2000), (50.0, 200)):
        rule = ProjectedAdam(0.4, 3.0)
        path = learnt(rule, torch.tensor(1.5), [outward * scale] * pushes)
        assert path[-1] == bound
        assert float(rule.first) == 0
        back = abs(learnt(rule, torch.tensor(bound), [-outward * scale])[0] - bound)
        assert_allclose(back, 0.1 * 0.4, rtol=1e-3)


def test_an_inactive_update_changes_nothing():
    rule, weight = ProjectedAdam(0.4, 3.0), torch.tensor(1.5)
    weight = rule(weight, torch.tensor(0.7), YES)
    before = copy.deepcopy(rule.state_dict())
    for signal in (5.0, float("nan"), float("inf")):
        assert torch.equal(rule(weight, torch.tensor(signal), NO), weight)
    for name, value in rule.state_dict().items():
        assert torch.equal(value, before[name]), name


def linear_step(rate=0.1, sizes=Pair(1.0, 1.0)):  # noqa: B008
    f, r = torch.tensor([1.0, 0.5]), torch.tensor([-2.0, 0.5])
    return ToyStep([torch.zeros(2)], Pair(linear(f), linear(r)), rate, sizes)


def update(surgery, step):
    surgery(step)
    step.descend()
    surgery.after_step(step)


@pytest.mark.parametrize("quiet", [{"rate": 0.0}, {"sizes": Pair(1.0, 0.0)}], ids=["rate 0", "no retain half"])
def test_an_update_without_evidence_teaches_nothing(quiet):
    surgery = EUPMUSurgery(dual="adam")
    update(surgery, linear_step())
    before = copy.deepcopy(surgery.state_dict())
    assert float(before["adam.count"]) == 1
    update(surgery, linear_step(**quiet))
    surgery(linear_step())  # and the optimizer skips it: no follow_up
    for name, value in surgery.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_state_goes_round():
    first = EUPMUSurgery(dual="adam", dual_rate=0.3)
    for _ in range(5):
        update(first, linear_step())
    second = EUPMUSurgery(dual="adam", dual_rate=0.3)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for surgery in (first, second):
        update(surgery, linear_step())
    assert torch.equal(first.multiplier, second.multiplier)
    fresh = EUPMUSurgery(dual="adam", dual_rate=0.3)
    fresh.multiplier.copy_(first.multiplier)
    update(first, linear_step())
    update(fresh, linear_step())
    assert not torch.equal(first.multiplier, fresh.multiplier), "the moments matter"
    assert set(EUPMUSurgery().state_dict()) == {"tolerance", "multiplier"}, "descent has no moments"


def test_the_rule_follows_the_measured_change():
    """EUPMUSurgery hands Adam δ = (L_r(θ) − L_r(θ⁺))/η + ε; here by hand for losses with constant gradients."""
    f, r = np.array([1.0, 0.5]), np.array([-2.0, 0.5])
    surgery = EUPMUSurgery(0.2, 0.1, dual="adam")
    signals, expected = [], [1.0]
    for _ in range(8):
        signals.append(float(r @ (f + expected[-1] * r)) + 0.2)
        expected = [1.0, *slow_adam(1.0, signals, 0.1, 50.0)]
        update(surgery, linear_step())
        assert_allclose(float(surgery.multiplier), expected[-1], rtol=1e-4)


def test_it_settles_where_descent_does():
    """The fixed point is the constraint's, whatever the path: (−⟨g_f,g_r⟩ − ε)/‖g_r‖²."""
    surgery = EUPMUSurgery(0.2, 0.03, initial_multiplier=0.0, dual="adam")
    for _ in range(400):
        update(surgery, linear_step())
    assert_allclose(float(surgery.multiplier), (1.75 - 0.2) / 4.25, rtol=1e-2)


def test_the_steps_do_not_depend_on_the_unit_of_the_loss():
    """What Adam is for: with descent the same dual rate is 1,000 times as slow on losses a thousandth as large."""
    found = {}
    for dual in ("adam", "descent"):
        for unit in (1.0, 1e-3):
            surgery = EUPMUSurgery(0.0, 0.1, initial_multiplier=0.0, dual=dual)
            losses = Pair(linear(unit * torch.ones(2)), linear(-unit * torch.ones(2)))
            for _ in range(3):
                update(surgery, ToyStep([torch.zeros(2)], losses))
            found[dual, unit] = float(surgery.multiplier)
    assert_allclose(found["adam", 1e-3], found["adam", 1.0], rtol=0.05)
    assert found["descent", 1e-3] < 1e-3 * found["descent", 1.0]


def test_it_keeps_the_retain_loss():
    weights, losses = [torch.zeros(2)], Pair(quadratic([2.0, 2.0]), quadratic([0.0, 1.0]))
    surgery = EUPMUSurgery(initial_multiplier=0.0, dual_rate=0.1, dual="adam")
    for _ in range(400):
        step = ToyStep(weights, losses, 0.02)
        update(surgery, step)
        weights = step.weights
    assert float(losses.retain(weights)) <= 0.5 * 1.03
    assert float(losses.forget(weights)) < 2.0


def test_another_dual_is_refused():
    with pytest.raises(SurgeryError, match="descent, adam, but found 'newton'"):
        EUPMUSurgery(dual="newton")
