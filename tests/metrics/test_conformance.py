"""The shipped contracts hold for every metric, and catch metrics that break them."""

import pytest
import torch

from expunge.metrics import EnsembleMetric, Interval, Metric
from expunge.registry import list_entries
from expunge.testing import ContractError, check_ensemble_metric, check_metric
from expunge.testing.metrics import check_description

EVERY = list(list_entries("metrics").values())


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.name)
def test_every_metric_keeps_the_contracts(entry):
    check_description(entry.target)
    if isinstance(entry.target, EnsembleMetric):
        check_ensemble_metric(entry.target)
    elif isinstance(entry.target, Metric):
        check_metric(entry.target)


def metric(compute, **spec):
    return Metric(compute, "own", "own", "0", "Mean logit.", **spec)


class Silent(Metric):
    def column(self):
        return super().column()._replace(definition="Something.")


def mean_logit(model, retrained):
    return float(model.forget.logits.double().mean())


def changing(model, retrained, calls=[0]):  # noqa: B006
    calls[0] += 1
    return float(calls[0])


def difference(model, retrained):
    return float((model.forget.logits - retrained.forget.logits).abs().mean())


def greedy(model, retrained):
    with torch.no_grad():
        next(model.model_under_test.predict.model.parameters()).add_(1.0)
    return 0.0


def test_a_metric_that_keeps_them_passes():
    check_metric(metric(mean_logit))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Silent(mean_logit, "own", "own", "0", "Mean logit."), "the target in it"),
        (metric(changing), "same number"),
        (metric(lambda model, retrained: 3), "a float"),
        (metric(lambda model, retrained: float(model.forget.logits[0, 0])), "order"),
        (metric(difference, needs=frozenset({"retrained"}), direction="higher"), "no better value"),
        (metric(greedy, needs=frozenset({"network"})), "unchanged"),
        (metric(lambda model, retrained: 0.0 * float(torch.rand(1))), "random state"),
    ],
)
def test_a_metric_that_breaks_one_is_caught(broken, said):
    with pytest.raises(ContractError, match=said):
        check_metric(broken)


def test_a_metric_of_many_models_that_sees_nothing_is_caught():
    blind = EnsembleMetric(lambda ours, theirs: (0.0, Interval(0.0, 0.0)), "b", "b", "0", "Nothing.", direction="lower")
    with pytest.raises(ContractError, match="worse value"):
        check_ensemble_metric(blind)
