"""Objectives against loops over single examples."""

import inspect
import math

import pytest
import torch
from scipy.stats import chisquare
from torch import nn

from expunge import registry
from expunge.batch import Batch, Predictor, Split
from expunge.data import TensorExamples
from expunge.errors import ObjectiveError
from expunge.objectives import CrossEntropy, HoldoutDistillation, NegativeCrossEntropy, RandomLabel, UniformTarget


def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(5, 4).double()


def batch(size=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return Batch(inputs, torch.randint(0, 4, (size,), generator=generator), torch.arange(size) + 100)


def held_out():
    some = batch(40, 3)
    return TensorExamples(some.inputs, some.targets)


def split():
    some = batch()
    examples = TensorExamples(some.inputs, some.targets)
    return Split(examples, examples, 4, held_out())


def softmax(logits):
    weights = [math.exp(value - max(logits)) for value in logits]
    return [weight / sum(weights) for weight in weights]


def by_hand(objective, one):
    """The mean over examples in plain Python."""
    total = 0.0
    labels = objective.sample_labels(one, 4).tolist() if isinstance(objective, RandomLabel) else one.targets.tolist()
    for index, row in enumerate(model()(one.inputs).tolist()):
        p = softmax(row)
        if isinstance(objective, UniformTarget):
            total += sum(0.25 * math.log(0.25 / value) for value in p)
        elif isinstance(objective, HoldoutDistillation):
            teacher = one.extras["teacher"][index].tolist()
            total += sum(t * math.log(t / value) for t, value in zip(teacher, p, strict=True))
        else:
            total -= math.log(p[labels[index]]) * (-1 if isinstance(objective, NegativeCrossEntropy) else 1)
    return total / len(one)


OBJECTIVES = [
    CrossEntropy(),
    NegativeCrossEntropy(),
    UniformTarget(),
    HoldoutDistillation(),
    RandomLabel(),
    RandomLabel(exclude_true=True, seed=3),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_the_mean_over_examples(objective):
    objective.prepare(Predictor(model()), split())
    one = objective.sample(batch(), 2, torch.Generator().manual_seed(4))
    found = objective(Predictor(model()), one)
    assert found.shape == ()
    assert float(found.detach()) == pytest.approx(by_hand(objective, one), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "entry", registry.list_entries("objectives", "classification").values(), ids=lambda entry: entry.name
)
def test_contract(entry):
    """Deterministic given the batch, mean over examples, the batch itself unchanged, ``repr`` rebuilds."""
    objective = entry.target()
    objective.prepare(Predictor(model()), split())
    plain = split().forget.batch(torch.arange(len(split().forget)))
    one = objective.sample(plain, 0, torch.Generator().manual_seed(1))
    assert not plain.extras
    assert all(len(value) == len(one) for value in one.extras.values())
    predict = Predictor(model())
    whole = objective(predict, one)
    assert torch.equal(objective(predict, one), whole)
    parts = sum(objective(predict, part) * len(part) / len(one) for part in one.chunks(4))
    assert objective.couples_examples == (abs(float((parts - whole).detach())) > 1e-12)
    same = objective.sample(plain, 0, torch.Generator().manual_seed(1))
    assert torch.equal(objective(predict, same), whole)
    again = eval(repr(objective), {type(objective).__name__: type(objective)})
    assert repr(again) == repr(objective)


def test_uniform_is_zero_at_the_uniform_prediction_alone():
    zero = UniformTarget()(lambda inputs: torch.full((3, 4), 7.0), batch(3))
    assert float(zero) == pytest.approx(0.0, abs=1e-6)
    assert float(UniformTarget()(lambda inputs: torch.eye(4)[:3], batch(3))) > 0.01


def numbered(indices, labels=None):
    indices = torch.as_tensor(indices)
    return Batch(torch.zeros(len(indices), 1), torch.zeros_like(indices) if labels is None else labels, indices)


def labels_of(objective, some, epoch=0, classes=10):
    return objective.sample_labels(objective.sample(some, epoch, torch.Generator()), classes)


@pytest.mark.parametrize("epoch", [0, 1, 7])
@pytest.mark.parametrize("seed", [0, 1, 2, 2**40 + 5, 2**63 - 1])
def test_random_labels_are_uniform(seed, epoch):
    found = labels_of(RandomLabel(seed=seed), numbered(range(20_000)), epoch)
    assert chisquare(found.bincount(minlength=10).numpy()).pvalue > 1e-4


def test_random_labels_of_neighbors_are_independent():
    """Pairs of neighbors in index, epoch and seed fill the 5 × 5 table evenly."""
    base = labels_of(RandomLabel(), numbered(range(20_000)), 0, 5)
    others = {
        "index": base.roll(1),
        "epoch": labels_of(RandomLabel(), numbered(range(20_000)), 1, 5),
        "seed": labels_of(RandomLabel(seed=1), numbered(range(20_000)), 0, 5),
    }
    for name, other in others.items():
        assert chisquare((5 * base + other).bincount(minlength=25).numpy()).pvalue > 1e-4, name


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_true_label_is_never_drawn_and_the_others_evenly(classes):
    truth = torch.arange(9_000) % classes
    found = labels_of(RandomLabel(exclude_true=True), numbered(range(9_000), truth), 0, classes)
    assert not (found == truth).any()
    assert found.min() >= 0
    assert found.max() < classes
    shift = (found - truth) % classes
    if classes > 2:
        assert chisquare(shift.bincount(minlength=classes)[1:].numpy()).pvalue > 1e-4


def test_random_labels_hold_for_an_epoch_whatever_the_batch():
    objective, everyone = RandomLabel(seed=4), labels_of(RandomLabel(seed=4), numbered(range(50)))
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    for part in order.split(7):
        assert torch.equal(labels_of(objective, numbered(part)), everyone[part])
    assert not torch.equal(labels_of(objective, numbered(range(50)), epoch=1), everyone)
    assert not torch.equal(labels_of(RandomLabel(seed=5), numbered(range(50))), everyone)


def test_seeds_that_differ_high_up_differ():
    some = numbered(range(50))
    assert not torch.equal(labels_of(RandomLabel(seed=1), some), labels_of(RandomLabel(seed=1 + 2**32), some))


def test_random_labels_depend_on_nothing_but_seed_epoch_and_example():
    """Defect: public code draws them differently for data sets of different names, and negates labels as marks."""
    assert list(inspect.signature(RandomLabel).parameters) == ["exclude_true", "seed"]
    first, second = (numbered(range(30), labels) for labels in (torch.zeros(30).long(), torch.ones(30).long()))
    assert torch.equal(labels_of(RandomLabel(), first), labels_of(RandomLabel(), second))
    assert (labels_of(RandomLabel(), first) >= 0).all()


def test_held_out_draws_predictions_of_the_same_class():
    objective, original = HoldoutDistillation(batch_size=7), model()
    objective.prepare(Predictor(original), split())
    table = original(held_out().inputs).softmax(1).float().detach()
    classes, met = held_out().targets, set()
    for seed in range(60):
        some = batch()
        drawn = objective.sample(some, 0, torch.Generator().manual_seed(seed)).extras["teacher"]
        for row, label in zip(drawn, some.targets, strict=True):
            position = int((table - row).abs().sum(1).argmin())
            torch.testing.assert_close(table[position], row)
            assert classes[position] == label
            met.add(position)
    assert met == set(torch.isin(classes, batch().targets).nonzero().flatten().tolist())


def test_held_out_refuses_what_it_cannot_learn_from():
    some = split()
    with pytest.raises(ObjectiveError, match="prepare has not been called"):
        HoldoutDistillation().sample(batch(), 0, torch.Generator())
    with pytest.raises(ObjectiveError, match="held-out examples to learn"):
        HoldoutDistillation().prepare(Predictor(model()), Split(some.forget, some.retain, 4))
    threes = TensorExamples(batch(3).inputs, torch.full((3,), 3))
    with pytest.raises(ObjectiveError, match="of every class"):
        HoldoutDistillation().prepare(Predictor(model()), Split(some.forget, some.retain, 4, threes))
