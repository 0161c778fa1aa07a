"""Objectives with teachers, penalties and weights against loops in plain Python."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.batch import Batch, Predictor, Split
from expunge.data import TensorExamples
from expunge.engine import Stepper
from expunge.errors import ConfigError, ObjectiveError
from expunge.objectives import (
    AdaptiveAscent,
    CrossEntropy,
    Distillation,
    L1Penalty,
    NegativeCrossEntropy,
    NegativeKL,
    RandomTeacher,
)
from expunge.pair import Pair
from expunge.surgery import WeightedSum


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 4)).double().eval()


def batch(size=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.randint(0, 4, (size,), generator=generator), torch.arange(size))


def split():
    examples = TensorExamples(batch().inputs, batch().targets)
    return Split(examples, examples, 4)


def prepared(objective, original):
    objective.prepare(Predictor(original), split())
    return objective


def value(objective, model, epoch=0):
    one = objective.sample(batch(), epoch, torch.Generator())
    return objective(Predictor(model), one)


def softened(logits, temperature):
    weights = [math.exp(entry / temperature) for entry in logits]
    return [weight / sum(weights) for weight in weights]


def slow_divergence(teacher, student, temperature):
    total = 0.0
    for t, s in zip(teacher(batch().inputs).tolist(), student(batch().inputs).tolist(), strict=True):
        p, q = softened(t, temperature), softened(s, temperature)
        total += temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(batch())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_the_mean_divergence_of_softened_predictions(temperature):
    teacher, student = network(0), network(3)
    expected = slow_divergence(teacher, student, temperature)
    labeled = Distillation(temperature, weight=0.3, ce_weight=0.9)
    ce = functional.cross_entropy(student(batch().inputs), batch().targets).item()
    assert value(prepared(Distillation(temperature), teacher), student).item() == pytest.approx(expected)
    assert value(prepared(NegativeKL(temperature), teacher), student).item() == pytest.approx(-expected)
    assert value(prepared(labeled, teacher), student).item() == pytest.approx(0.3 * expected + 0.9 * ce)


def test_a_teacher_stays_what_it_was():
    model = network()
    objective = prepared(Distillation(), model)
    before = objective.sample(batch(), 0, torch.Generator()).extras["teacher"]
    assert not before.requires_grad
    with torch.no_grad():
        [parameter.mul_(2) for parameter in model.parameters()]
    model.train()(batch().inputs)
    assert torch.equal(objective.sample(batch(), 0, torch.Generator()).extras["teacher"], before)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_an_incompetent_teacher_knows_nothing_of_the_original():
    first, second = network(0), network(5)
    second.train()(batch().inputs)
    state, chance = copy.deepcopy(second.state_dict()), torch.get_rng_state()
    answers = [
        prepared(RandomTeacher(seed=s), m).sample(batch(), 0, torch.Generator()).extras["teacher"]
        for s, m in ((1, first), (1, second), (2, first))
    ]
    assert torch.equal(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])
    assert torch.equal(torch.get_rng_state(), chance)
    for name, entry in second.state_dict().items():
        assert torch.equal(entry, state[name]), name


@pytest.mark.parametrize("objective", [Distillation(), NegativeKL(), RandomTeacher()], ids=repr)
def test_teaching_needs_preparation(objective):
    with pytest.raises(ObjectiveError, match="prepare has not been called"):
        objective.sample(batch(), 0, torch.Generator())


@pytest.mark.parametrize(("epoch", "share"), [(0, 1.0), (4, 0.6), (10, 0.0), (12, 0.0)])
def test_the_penalty_pulls_each_weight_by_the_same_amount_and_fades(epoch, share):
    model = network()
    objective = prepared(L1Penalty(strength=0.02, epochs=10), model)
    pull = torch.autograd.grad(value(objective, model, epoch), list(model.parameters()))
    plain = torch.autograd.grad(value(CrossEntropy(), model), list(model.parameters()))
    for weight, with_, without in zip(model.parameters(), pull, plain, strict=True):
        torch.testing.assert_close(with_ - without, 0.02 * share * weight.sign(), rtol=0, atol=1e-8)


def test_the_penalty_stays_where_it_shall_not_fade():
    model = network()
    first, last = (value(prepared(L1Penalty(0.1), model), model, epoch) for epoch in (0, 100))
    assert first == last > value(CrossEntropy(), model)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_adaptive_ascent_weighs_examples_by_a_power_of_their_loss(power):
    model = network()
    losses = [
        functional.cross_entropy(model(x[None]), y[None]).item()
        for x, y in zip(batch().inputs, batch().targets, strict=True)
    ]
    weights = [loss**-power for loss in losses]
    slopes = [
        torch.autograd.grad(functional.cross_entropy(model(x[None]), y[None]), model[0].weight)[0]
        for x, y in zip(batch().inputs, batch().targets, strict=True)
    ]
    found = value(AdaptiveAscent(power), model)
    expected = -sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
    slope = -sum(w * s for w, s in zip(weights, slopes, strict=True)) / sum(weights)
    assert found.item() == pytest.approx(expected)
    torch.testing.assert_close(torch.autograd.grad(found, model[0].weight)[0], slope)
    if power == 0:
        assert found.item() == pytest.approx(value(NegativeCrossEntropy(), model).item())


def test_objectives_that_weigh_a_batch_refuse_parts_of_it():
    model = network()
    stepper = Stepper(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        WeightedSum(),
        Pair(AdaptiveAscent(), CrossEntropy()),
        gradient_accumulation_steps=2,
    )
    with pytest.raises(ConfigError, match="whole batches for AdaptiveAscent"):
        stepper(batch(), batch())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Distillation(0.0),
        lambda: Distillation(weight=-1.0),
        lambda: L1Penalty(-0.1),
        lambda: AdaptiveAscent(-1.0),
        lambda: NegativeKL(-2.0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(ObjectiveError, match="Expected"):
        make()
