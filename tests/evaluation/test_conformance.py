"""The shipped contracts hold for every metric, and catch metrics that break them."""

import pytest
import torch

from expunge.evaluation import EnsembleMetric, Metric
from expunge.metrics import Interval
from expunge.registry import list_entries
from expunge.testing import ContractError, check_ensemble_metric, check_metric
from expunge.testing.metrics import check_description

EVERY = list(list_entries("metrics").values())


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.name)
def test_every_metric_keeps_the_contracts(entry):
    check_description(entry.target)
    if issubclass(entry.target, EnsembleMetric):
        check_ensemble_metric(entry.target)
    elif issubclass(entry.target, Metric):
        check_metric(entry.target)


class Good(Metric):
    label, target, definition = "good", "0", "Mean logit."

    def compute(self, model, retrained):
        return float(model.forget.logits.double().mean())


class Silent(Good):
    def column(self):
        return super().column()._replace(definition="Something.")


class Fickle(Good):
    calls = 0

    def compute(self, model, retrained):
        Fickle.calls += 1
        return float(Fickle.calls)


class Whole(Good):
    def compute(self, model, retrained):
        return 3


class Ordered(Good):
    def compute(self, model, retrained):
        return float(model.forget.logits[0, 0])


class Backwards(Good):
    needs_retrained, direction = True, "higher"

    def compute(self, model, retrained):
        return float((model.forget.logits - retrained.forget.logits).abs().mean())


class Greedy(Good):
    needs_network = True

    def compute(self, model, retrained):
        with torch.no_grad():
            next(model.model_under_test.predict.model.parameters()).add_(1.0)
        return 0.0


class Lucky(Good):
    def compute(self, model, retrained):
        return 0.0 * float(torch.rand(1))


def test_a_metric_that_keeps_them_passes():
    check_metric(Good)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Silent, "the target in it"),
        (Fickle, "same number"),
        (Whole, "a float"),
        (Ordered, "order"),
        (Backwards, "no better value"),
        (Greedy, "unchanged"),
        (Lucky, "random state"),
    ],
)
def test_a_metric_that_breaks_one_is_caught(broken, said):
    with pytest.raises(ContractError, match=said):
        check_metric(broken)


class Blind(EnsembleMetric):
    label, target, definition, direction = "blind", "0", "Nothing.", "lower"

    def compute(self, unlearned, retrained):
        return 0.0, Interval(0.0, 0.0)


def test_a_metric_of_many_models_that_sees_nothing_is_caught():
    with pytest.raises(ContractError, match="worse value"):
        check_ensemble_metric(Blind)
