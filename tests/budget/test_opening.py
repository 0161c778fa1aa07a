"""What the certify half says of a budget, unit by unit."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.batch import Predictor
from expunge.budget import (
    Budget,
    betting_bound,
    bootstrap_bound,
    certify_budget,
    compute_certificate,
    jackknife_bound,
    measure_for_certificate,
    min_certifiable_drop,
    min_mean_drop,
    utility_certificate,
)
from expunge.data import Subset, TensorExamples
from expunge.errors import ConfigError, DataError

COUNT = 120


@pytest.fixture(scope="module")
def pair():
    """Two models that differ a little, and examples."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, 5, generator=generator)
    examples = TensorExamples(inputs, (inputs[:, 0] > 0).long())
    models = []
    for noise in (0.6, 0.9):
        model = nn.Linear(5, 2)
        with torch.no_grad():
            model.weight.copy_(noise * torch.randn(2, 5, generator=generator))
            model.weight[1, 0] += 2
            model.bias.zero_()
        models.append(Predictor(model))
    return *models, examples


def whole(examples):
    return examples.batch(torch.arange(len(examples)))


def confidence(predict, examples):
    """The probability of the true class, of each example."""
    batch = whole(examples)
    return predict(batch.inputs).softmax(1).gather(1, batch.targets[:, None]).squeeze(1)


def recall(predict, examples):
    """Of class 1: a number that is no mean over examples."""
    batch = whole(examples)
    found = predict(batch.inputs).argmax(1)[batch.targets == 1]
    return float((found == 1).double().mean())


def certified(budget, pair):
    before, after, examples = pair
    return compute_certificate(
        budget,
        measure_for_certificate(budget, before, examples),
        measure_for_certificate(budget, after, examples),
        0.05,
    )


def test_points_are_bounded_by_their_counts(pair):
    before, after, examples = pair
    batch = whole(examples)
    right = [(model(batch.inputs).argmax(1) == batch.targets).numpy() for model in (before, after)]
    found = certified(Budget(accuracy_points=5.0), pair)
    assert found == utility_certificate(*right)
    assert found.exact
    assert found.as_dict()["kind"] == "accuracy"


def test_a_loss_is_bounded_by_its_paired_bootstrap(pair):
    before, after, examples = pair
    batch = whole(examples)
    first, now = (
        functional.cross_entropy(model(batch.inputs), batch.targets, reduction="none").detach().double().numpy()
        for model in (before, after)
    )
    found = certified(Budget(loss_increase=0.1), pair)
    assert found.drop == pytest.approx(now.mean() / first.mean() - 1, rel=1e-5)
    assert found.bound == pytest.approx(bootstrap_bound(now - first, first, 0.05), rel=1e-4)
    assert found.drop < found.bound
    assert (found.kind, found.exact, found.smallest, found.examples) == ("mean", False, None, COUNT)


@pytest.mark.parametrize("higher", [True, False])
def test_a_metric_of_known_range_is_bounded_exactly(pair, higher):
    before, after, examples = pair
    budget = Budget(metric=confidence, max_drop=0.1, bounds=(0, 1), higher_is_better=higher)
    drops = (confidence(before, examples) - confidence(after, examples)).detach().double().numpy()
    found = certified(budget, pair)
    assert (found.kind, found.exact) == ("bounded mean", True)
    assert found.bound == pytest.approx(betting_bound(drops if higher else -drops))
    assert found.drop == pytest.approx(drops.mean() if higher else -drops.mean())
    assert found.smallest == min_mean_drop(COUNT)


def test_without_its_range_the_same_metric_is_bounded_approximately(pair):
    before, after, examples = pair
    drops = (confidence(before, examples) - confidence(after, examples)).detach().double().numpy()
    found = certified(Budget(metric=confidence, max_drop=0.1), pair)
    assert (found.kind, found.exact) == ("mean", False)
    assert found.bound == pytest.approx(bootstrap_bound(drops))


def test_a_metric_of_a_whole_set_is_measured_without_each_tenth(pair):
    before, after, examples = pair
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    parts = [Subset(examples, order[torch.arange(COUNT) % 10 != group]) for group in range(10)]
    without = [recall(before, part) - recall(after, part) for part in parts]
    drop = recall(before, examples) - recall(after, examples)
    found = certified(Budget(metric=recall, max_drop=0.1), pair)
    assert (found.kind, found.exact, found.drop) == ("whole set", False, pytest.approx(drop))
    assert found.bound == pytest.approx(jackknife_bound(drop, without))


def test_a_model_is_left_as_it_was_found(pair):
    before, _, examples = pair
    before.model.train()
    for budget in (Budget(loss_increase=0.1), Budget(metric=recall, max_drop=0.1)):
        measure_for_certificate(budget, before, examples)
        assert before.model.training


def test_what_cannot_be_said_is_told_and_costs_no_model(pair):
    before, after, examples = pair

    def told(budget, examples=examples, second=after):
        return certify_budget(
            budget, lambda place: measure_for_certificate(budget, second if place else before, examples), 3, 0.05
        )

    few = Subset(examples, torch.arange(20))
    for metric in (recall, confidence):
        found, why = told(Budget(metric=metric, max_drop=0.1), few)
        assert (found, why) == (None, "expected at least 30 examples for an approximate bound, but found 20")
    assert told(Budget(loss_increase=0.1), second=before)[1].endswith("found the same for all")
    assert told(Budget(metric=lambda *_: 0.5, max_drop=0.1))[1].endswith("where examples are left out, but found none")

    def picky(predict, examples):
        return {COUNT: 1.0}[len(examples)]

    assert told(Budget(metric=picky, max_drop=0.1)) == (
        None,
        "expected a number from the metric 'picky', but found KeyError (108)",
    )
    assert told(Budget(accuracy_points=5.0))[1] == ""


def test_a_metric_has_to_keep_to_what_was_said_of_it(pair):
    before, _, examples = pair
    with pytest.raises(DataError, match="one value for each example from a metric with bounds"):
        Budget(metric=recall, max_drop=0.1, bounds=(0, 1)).measure(before, examples)
    with pytest.raises(DataError, match=r"values of the metric from 0 to 0\.1, but found"):
        Budget(metric=confidence, max_drop=0.1, bounds=(0, 0.1)).measure(before, examples)
    with pytest.raises(DataError, match="one for each of 120 examples, but found 2"):
        Budget(metric=lambda *_: [1.0, 2.0], max_drop=0.1).measure(before, examples)
    with pytest.raises(DataError, match="numbers from the metric"):
        Budget(metric=lambda *_: "much", max_drop=0.1).measure(before, examples)
    for bounds in ((1, 0), (0, float("inf")), (0, float("nan")), (0, 1, 2), "many", 3):
        with pytest.raises(ConfigError, match="the lower one first"):
            Budget(metric=recall, max_drop=0.1, bounds=bounds)
    with pytest.raises(ConfigError, match="no metric"):
        Budget(accuracy_points=1.0, bounds=(0, 1))


def test_the_smallest_drop_is_known_where_the_bound_is_exact():
    assert min_certifiable_drop(Budget(metric=confidence, max_drop=0.1, bounds=(-1, 3)), 200, 0.05) == min_mean_drop(
        200, 4.0
    )
    assert min_certifiable_drop(Budget(metric=confidence, max_drop=0.1), 200, 0.05) is None
    assert np.isclose(min_certifiable_drop(Budget(accuracy_points=1.0), 200, 0.05), 1 - 0.025 ** (1 / 200))
