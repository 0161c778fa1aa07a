import numpy as np
import pytest

from expunge.errors import ConfigError, DataError
from expunge.metrics import (
    Ensemble,
    EnsembleMetric,
    ForgettingQuality,
    MarginDivergence,
    Outputs,
    evaluate_outputs,
    forgetting_quality,
    klom,
)
from expunge.registry import list_entries

EVERY = [entry for entry in list_entries("metrics").values() if isinstance(entry.target, EnsembleMetric)]
RNG = np.random.default_rng(0)


def test_the_registry_knows_them_by_name_and_alias():
    assert {"forgetting_quality", "margin_divergence"} <= {entry.name for entry in EVERY}
    assert "klom" in {alias for entry in EVERY for alias in entry.aliases}


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.name)
def test_near_models_are_better_than_far_ones_and_worse_than_the_same(entry):
    metric, retrained = entry.target, Ensemble(RNG.normal(size=(40, 30)))
    same, near, far = (
        metric(Ensemble(scores), retrained).value
        for scores in (retrained.scores, RNG.normal(size=(40, 30)), RNG.normal(3.0, 1.0, (40, 30)))
    )
    assert (same > near > far) if metric.direction == "higher" else (same < near < far)


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.name)
def test_twice_as_many_retrained_models_give_the_control(entry):
    metric, ours, theirs = entry.target, Ensemble(RNG.normal(1, 1, (10, 20))), Ensemble(RNG.normal(size=(20, 20)))
    reference, control = theirs.split_halves()
    found, given = metric(ours, theirs), metric(ours, reference, control)
    assert found == given
    assert (found.unlearned, found.retrained) == (10, 10)
    assert found.control == metric(control, reference).value
    assert metric(ours, reference).control is None
    assert found.interval.low <= found.value <= found.interval.high


def test_an_ensemble_of_outputs_has_their_margins_and_mean_accuracies(class_request):
    models = [class_request(seed) for seed in range(3)]
    ensemble = Ensemble.from_models(models, "test")
    logits = np.stack([model.test.logits.numpy() for model in models])
    np.testing.assert_array_equal(ensemble.scores, Ensemble.from_outputs(logits, models[0].test.targets.numpy()).scores)
    scores = [evaluate_outputs(model, metrics=["ra", "ta"]) for model in models]
    assert ensemble.retain_accuracy == pytest.approx(np.mean([one["ra"] for one in scores]))
    assert ensemble.test_accuracy == pytest.approx(np.mean([one["ta"] for one in scores]))


def test_lost_utility_lowers_forgetting_quality_in_proportion(random_request):
    ours, theirs = ([random_request(seed + first) for seed in range(6)] for first in (0, 50))
    one, other = Ensemble.from_models(ours), Ensemble.from_models(theirs)
    plain = forgetting_quality(one.scores, other.scores).score
    expected = plain * one.retain_accuracy / other.retain_accuracy * one.test_accuracy / other.test_accuracy
    assert ForgettingQuality()(one, other).value == pytest.approx(expected)
    assert MarginDivergence()(one, other).value == pytest.approx(np.quantile(klom(one.scores, other.scores), 0.95))


def test_models_of_different_splits_are_refused(random_request):
    first, second = random_request(0), random_request(1)
    second.forget.targets[:] = second.forget.targets.roll(1)
    with pytest.raises(DataError, match="same examples"):
        Ensemble.from_models([first, second])
    with pytest.raises(DataError, match="two models"):
        Ensemble.from_models([first])
    with pytest.raises(DataError, match="two models"):
        Ensemble.from_models([])
    with pytest.raises(ConfigError, match="forget, retain, test"):
        Ensemble.from_models([first, first], "train")
    assert isinstance(first.forget, Outputs)


def test_they_are_no_metrics_of_one_model(random_request):
    with pytest.raises(ConfigError, match="MarginDivergence"):
        evaluate_outputs(random_request(0), metrics=["klom"])
