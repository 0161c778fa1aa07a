"""Budgets in three units, readings, the split of held-out examples, and the rescaled tolerance."""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from expunge.batch import Predictor
from expunge.budget import Budget, EvalResult, ToleranceScaler, evaluate_model, evaluate_model_safely, split_holdout
from expunge.data import TensorExamples
from expunge.errors import ConfigError, DataError, MetricError


def rightness(predict, examples):
    """Whether each example is right."""
    batch = examples.batch(torch.arange(len(examples)))
    return (predict(batch.inputs).argmax(1) == batch.targets).double()


FIRST = EvalResult(loss=0.2, accuracy=90.0, value=0.7)


@pytest.mark.parametrize(
    ("budget", "now", "spent"),
    [
        (Budget(accuracy_points=1.0), EvalResult(0.9, 88.5), 1.5),
        (Budget(accuracy_points=1.0), EvalResult(0.9, 92.0), -2.0),
        (Budget(loss_increase=0.1), EvalResult(0.21, 0.0), 0.05),
        (Budget(loss_increase=0.1, min_base_loss=0.5), EvalResult(0.3), 0.2),
        (Budget(metric=lambda *_: 0.0, max_drop=0.1), EvalResult(0.2, value=0.5), 0.2),
        (Budget(metric=lambda *_: 0.0, max_drop=0.3, higher_is_better=False), EvalResult(0.2, value=0.9), 0.2),
    ],
)
def test_what_was_spent_is_in_the_budgets_own_unit(budget, now, spent):
    assert budget.compute_spent(FIRST, now) == pytest.approx(spent)
    assert budget.is_within(FIRST, now) == (spent <= budget.allowed)
    assert budget.compute_spent(FIRST, FIRST) == 0


def test_the_first_tolerance_is_in_proportion_to_what_is_allowed():
    assert Budget(accuracy_points=2.0).tolerance(FIRST) == pytest.approx(
        2 * Budget(accuracy_points=1.0).tolerance(FIRST)
    )
    relative = Budget(loss_increase=0.1)
    tolerance = relative.tolerance(FIRST)
    assert relative.compute_spent(FIRST, EvalResult(FIRST.loss + tolerance)) == pytest.approx(relative.allowed)


@pytest.mark.parametrize(
    "wrong", [{}, {"accuracy_points": 1, "loss_increase": 1}, {"metric": max}, {"accuracy_points": 1, "max_drop": 1}]
)
def test_a_budget_has_one_unit(wrong):
    with pytest.raises(ConfigError, match="accuracy_points, loss_increase, or metric with max_drop"):
        Budget(**wrong)


def test_what_a_budget_cannot_use_is_refused():
    with pytest.raises(ConfigError, match="accuracy_points to be a finite number ≥ 0, but found -1"):
        Budget(accuracy_points=-1.0)
    with pytest.raises(DataError, match="reading with the accuracy"):
        Budget(accuracy_points=1.0).compute_spent(FIRST, EvalResult(0.1))


METRIC = {"metric": rightness, "max_drop": 0.1}
WRONG_FIELDS = [
    *({"accuracy_points": value} for value in ("1", "abc", [1], 1j, True, math.nan, math.inf, -1, torch.ones(2))),
    *({"loss_increase": value} for value in ("0.1", math.inf, -0.1, False)),
    *({"loss_increase": 0.1, "min_base_loss": value} for value in ("x", math.nan, math.inf, 0.0, True)),
    *({"metric": rightness, "max_drop": value} for value in (math.nan, math.inf, "1", -1)),
    {"metric": 3, "max_drop": 0.1},
    {"metric": "module:function", "max_drop": 0.1},
    *({**METRIC, "bounds": value} for value in ("ab", (0, 1, 2), (1, 0), (0, math.inf), 3)),
    *({**METRIC, "higher_is_better": value} for value in ("no", 1, None)),
]


@pytest.mark.parametrize("fields", WRONG_FIELDS)
def test_every_field_of_a_budget_has_its_type_and_range(fields):
    with pytest.raises(ConfigError, match=r"^Expected .*, but found .*: .*\.$"):
        Budget(**fields)


def test_numbers_of_other_libraries_become_plain_ones():
    assert json.dumps(Budget(accuracy_points=np.float32(1.5)).accuracy_points) == "1.5"
    assert Budget(accuracy_points=np.int64(2)) == Budget(accuracy_points=2)
    assert json.dumps(Budget(accuracy_points=1.0, certify=np.bool_(False)).certify) == "false"


def test_a_reading_is_of_the_model_as_it_is_handed_over_and_leaves_it_so():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    model[1].eval()
    inputs, targets = torch.randn(50, 3), torch.randint(0, 2, (50,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = evaluate_model(
        Predictor(model), TensorExamples(inputs, targets), lambda p, e: len(e) + p.model.training, batch_size=7
    )
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    logits = model.eval()(inputs).detach()
    assert found.loss == pytest.approx(float(functional.cross_entropy(logits, targets)), rel=1e-5)
    assert found.accuracy == pytest.approx(100 * float((logits.argmax(1) == targets).float().mean()))
    assert found.correct.tolist() == (logits.argmax(1) == targets).tolist()
    assert found.value == 50


def test_a_model_with_a_loss_of_its_own_has_no_accuracy():
    predict = Predictor(nn.Linear(3, 2), loss_fn=lambda _, batch: batch.inputs.sum())
    found = evaluate_model(predict, TensorExamples(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64)))
    assert (found.loss, found.accuracy, found.correct) == (3.0, None, None)


LABELS = torch.tensor([0] * 40 + [1] * 21 + [2] * 9 + [3] * 30)[torch.randperm(100, generator=torch.Generator())]


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_halves_are_disjoint_complete_and_stratified(share):
    halves = split_holdout(LABELS, seed=3, certify_fraction=share)
    assert sorted(torch.cat(list(halves)).tolist()) == list(range(100))
    assert abs(len(halves.certify) - 100 * share) <= 1
    for label in range(4):
        of_class = int((label == LABELS).sum())
        assert abs(int((LABELS[halves.certify] == label).sum()) - share * of_class) <= 1


def test_the_split_is_a_function_of_labels_and_seed():
    first, again, other = (split_holdout(LABELS, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.certify, again.certify)
    assert not torch.equal(first.certify, other.certify)


def test_singletons_of_many_classes_are_shared_out():
    assert [len(half) for half in split_holdout(torch.arange(20))] == [10, 10]


def test_what_is_forgotten_is_in_neither_half():
    halves = split_holdout(LABELS, excluded_classes=[0, 3])
    assert set(LABELS[torch.cat(list(halves))].tolist()) == {1, 2}


def test_halves_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="for both halves"):
        split_holdout(torch.tensor([1]))
    with pytest.raises(DataError, match="0 to control and 0 to certify"):
        split_holdout(LABELS, excluded_classes=range(4))
    with pytest.raises(ConfigError, match="share between 0 and 1"):
        split_holdout(LABELS, certify_fraction=1.0)


@pytest.mark.parametrize("price", [3.0, 12.0, 40.0])
def test_the_tolerance_comes_to_what_the_budget_is_worth(price):
    """A model that is driven to its τ each time and loses ``price`` points per nat."""
    rule, allowed = ToleranceScaler(0.05), 1.0
    for _ in range(8):
        rule = rule.update(rule.tolerance, price * rule.tolerance, allowed)
    assert rule.tolerance == pytest.approx(allowed / price, rel=1e-6)


def test_the_slope_follows_a_path_that_bends():
    rule = ToleranceScaler(0.05)
    for _ in range(12):
        rule = rule.update(rule.tolerance, 100 * rule.tolerance**2, 1.0)
    assert 100 * rule.tolerance**2 == pytest.approx(1.0, rel=0.05)


def test_no_reading_changes_the_tolerance_beyond_its_bounds():
    assert ToleranceScaler(0.05).update(0.05, 100.0, 1.0).tolerance == pytest.approx(0.025)
    rule = ToleranceScaler(0.05)
    for _ in range(9):
        rule = rule.update(0.05, -0.3, 1.0)
    assert rule.tolerance == pytest.approx(0.5)


def test_harm_that_the_loss_does_not_see_halves_the_tolerance():
    assert ToleranceScaler(0.05).update(-0.01, 2.0, 1.0).tolerance == pytest.approx(0.025)
    assert ToleranceScaler(0.05).update(0.0, 0.0, 1.0).tolerance == pytest.approx(0.05)


class Misbehaving:
    """Measures that are no finite number, or do what a measure must not do."""

    nan = staticmethod(lambda predict, examples: math.nan)
    infinite = staticmethod(lambda predict, examples: math.inf)
    nothing = staticmethod(lambda predict, examples: None)
    text = staticmethod(lambda predict, examples: "x")
    complex = staticmethod(lambda predict, examples: 1j)
    one_nan = staticmethod(lambda predict, examples: torch.tensor([math.nan] + [0.5] * (len(examples) - 1)))
    wrong_count = staticmethod(lambda predict, examples: torch.zeros(3))
    raising = staticmethod(lambda predict, examples: 1 / 0)
    refusing = staticmethod(lambda predict, examples: Budget())
    zeroing = staticmethod(lambda predict, examples: [w.data.zero_() for w in predict.model.parameters()] and 0.5)
    training = staticmethod(lambda predict, examples: predict.model.train()(torch.randn(9, 3)).mean())


CURES = {
    "nan": "return a finite number for every model, such as 0",
    "infinite": "return a finite number for every model",
    "nothing": "but found None: let the function return its value",
    "text": "return a number or a tensor of numbers",
    "complex": "return a number or a tensor of numbers",
    "one_nan": "found nan: return a finite number",
    "wrong_count": "one for each of 8 examples, but found 3",
    "raising": "found ZeroDivisionError (division by zero): correct the function",
    "refusing": "found ConfigError",
    "zeroing": "changed weights or buffers: let it work on a copy of the model",
    "training": "changed weights or buffers: let it work on a copy of the model",
}


@pytest.mark.parametrize("kind", CURES)
def test_a_metric_that_misbehaves_is_one_sentence_and_leaves_the_model_as_it_was(kind):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    data = TensorExamples(torch.randn(8, 3), torch.zeros(8, dtype=torch.int64))
    budget = Budget(metric=getattr(Misbehaving, kind), max_drop=0.1)
    with pytest.raises(MetricError, match=re.escape(CURES[kind])):
        evaluate_model(Predictor(model), data, budget.metric_fn)
    reading = evaluate_model_safely(Predictor(model), data, budget.metric_fn)
    assert (reading.value, reading.accuracy) == (None, evaluate_model(Predictor(model), data).accuracy)
    assert reading.failed.startswith("expected ")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
