"""Metrics that ask the model itself: features and relearning."""

import copy

import pytest
import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.data import TensorExamples
from expunge.errors import ConfigError
from expunge.metrics import (
    FeatureAlignment,
    Relearning,
    accuracy,
    collect_evidence,
    collect_model_outputs,
    evaluate_outputs,
    linear_cka,
)
from expunge.metrics.cka import compute_cka_profile, find_layers

INPUTS = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(90) % 3
INPUTS[torch.arange(90), LABELS] += 3.0
FORGET = TensorExamples(INPUTS[LABELS == 2], LABELS[LABELS == 2])
RETAIN = TensorExamples(INPUTS[LABELS != 2], LABELS[LABELS != 2])
EVERYTHING = TensorExamples(INPUTS, LABELS)
SPLIT = Split(FORGET, RETAIN, 3)


def network(seed, *, norm=True):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inner = [nn.BatchNorm1d(8)] if norm else []
        return nn.Sequential(nn.Linear(6, 8), *inner, nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def trained(model, examples, steps=150):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model.train()(examples.inputs), examples.targets).backward()
            optimizer.step()
    return model.eval()


def asked(model):
    return collect_model_outputs(Predictor(model), SPLIT, EVERYTHING, keep_model=True)


@pytest.fixture(scope="module")
def models():
    original, retrained = trained(network(0), EVERYTHING), trained(network(5), RETAIN)
    before = asked(original)
    hidden = copy.deepcopy(original)
    with torch.no_grad():
        hidden[-1].bias[2] -= 20.0
    sides = {"original": original, "retrained": retrained, "hidden": hidden}
    return {name: asked(model).with_original(before) for name, model in sides.items()}


def test_alignment_of_a_layer_is_that_of_its_features(models):
    one, other = models["original"].model_under_test, models["retrained"].model_under_test
    found = compute_cka_profile(one, other, "test", 90, 32, 0)
    assert list(found) == ["0", "4"] == list(find_layers(one.predict.model))
    with torch.no_grad():
        for name, upto in (("0", 1), ("4", 5)):
            sides = [side.predict.model[:upto](INPUTS).numpy() for side in (one, other)]
            assert found[name] == pytest.approx(linear_cka(*sides, batch_size=32), abs=1e-5)


def test_a_model_is_wholly_alike_to_itself_and_less_to_another(models):
    original, retrained = models["original"], models["retrained"]
    assert FeatureAlignment()(original, original) == pytest.approx(1.0)
    assert FeatureAlignment("original")(original) == pytest.approx(1.0)
    assert FeatureAlignment("retrained", "test")(original, retrained) < 0.99
    assert FeatureAlignment("original", "test")(retrained) == pytest.approx(
        FeatureAlignment("retrained", "test")(retrained, original)
    )


def test_forgetting_in_the_last_layer_alone_is_seen(models):
    """The features of a network whose head was bent are those of the original: CKA says so, UA does not."""
    hidden = models["hidden"]
    assert evaluate_outputs(hidden, metrics=["ua"]) == {"ua": 100.0}
    assert FeatureAlignment("original")(hidden) == pytest.approx(1.0)
    told = collect_evidence(hidden, metrics=["cka_original"])["cka_original"]["layers"]
    assert told == pytest.approx({"0": 1.0, "4": 1.0})


def test_alignment_on_other_examples_has_a_name_of_its_own():
    plain, retain = FeatureAlignment(), FeatureAlignment("retrained", "retain")
    assert (plain.key, retain.key) == ("cka", "cka_retain")
    assert "retain examples" in retain.column().definition
    assert retain.column().label != plain.column().label


def test_networks_without_a_common_layer_are_refused(models):
    stranger = asked(nn.Sequential(nn.Sequential(nn.Linear(6, 3))))
    with pytest.raises(ConfigError, match="one architecture"):
        FeatureAlignment()(stranger, models["retrained"])


def slow_relearn(model, taught, judged, goal, rate, momentum, steps):
    """Momentum by hand on one copy, the accuracy counted by hand."""
    pupil = copy.deepcopy(model).eval()
    weights = list(pupil.parameters())
    speeds = [torch.zeros_like(weight) for weight in weights]
    for step in range(steps + 1):
        with torch.no_grad():
            right = 100 * float((pupil(INPUTS[judged]).argmax(1) == LABELS[judged]).double().mean())
        if right >= goal:
            return step
        loss = nn.functional.cross_entropy(pupil(INPUTS[taught]), LABELS[taught])
        slopes = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, speed, slope in zip(weights, speeds, slopes, strict=True):
                speed.mul_(momentum).add_(slope)
                weight.sub_(rate * speed)
    return None


@pytest.mark.parametrize("name", ["hidden", "retrained"])
def test_relearn_steps_are_those_of_a_loop_by_hand(models, name):
    forgotten = torch.arange(90)[LABELS == 2]
    metric = Relearning(examples=30)
    slow = slow_relearn(models[name].model_under_test.predict.model, forgotten, forgotten, 95.0, 0.01, 0.9, 100)
    assert metric(models[name]) == slow
    assert slow > 0


def test_hidden_knowledge_comes_back_faster_than_a_retrained_model_learns(models):
    hidden, retrained = models["hidden"], models["retrained"]
    ratio = Relearning("ratio")(hidden, retrained)
    assert ratio == Relearning()(hidden) / Relearning()(retrained) < 1
    assert Relearning("ratio")(retrained, retrained) == 1.0
    assert Relearning()(models["original"]) == 0.0
    assert Relearning("ratio")(hidden, models["original"]) is None


def test_the_curve_begins_with_what_the_model_knows_and_ends_at_the_goal(models):
    told = collect_evidence(models["hidden"], metrics=["relearn"])["relearn"]
    before = models["original"].forget
    assert told["goal"] == pytest.approx(0.95 * accuracy(before.logits, before.targets))
    assert told["accuracy"][0] == 0.0
    assert told["accuracy"][-1] >= told["goal"] > max(told["accuracy"][:-1])


def test_what_is_not_relearned_in_time_is_absent_with_the_whole_curve(models):
    metric = Relearning(steps=2, lr=1e-9)
    assert metric(models["hidden"]) is None
    assert len(metric.collect_evidence(models["hidden"], None)["accuracy"]) == 3
    assert "2 updates" in metric.column().definition
    with pytest.raises(ConfigError, match="margin"):
        Relearning(margin=1.0)


def test_nothing_of_the_user_is_touched(models):
    """Weights, buffers, gradients, modes, flags and random state are as before, and frozen weights are taught too."""
    model = models["hidden"].model_under_test.predict.model.train().requires_grad_(False)
    try:
        subject = asked(model).with_original(models["original"])
        state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        scores = evaluate_outputs(subject, models["retrained"], ["cka", "cka_original", "relearn"])
        assert scores["relearn"] == Relearning()(models["hidden"])
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert torch.equal(random, torch.get_rng_state())
        assert all(weight.grad is None and not weight.requires_grad for weight in model.parameters())
        assert all(module.training for module in model.modules())
        assert not any(module._forward_hooks for module in model.modules())
    finally:
        model.eval().requires_grad_(True)


def test_outputs_alone_cannot_answer_and_missing_references_are_left_out(models):
    bare = collect_model_outputs(models["hidden"].model_under_test.predict, SPLIT, EVERYTHING)
    with pytest.raises(ConfigError, match="the model itself"):
        FeatureAlignment()(bare, bare)
    assert evaluate_outputs(bare, metrics=["relearn", "cka", "ua"]).keys() == {"ua"}
    with pytest.raises(ConfigError, match="before unlearning"):
        Relearning()(bare)


def test_two_retrained_models_are_as_hard_to_teach_as_each_other():
    """Networks that never saw the forget class learn it alike: the ratio is near 1."""
    before = asked(trained(network(0, norm=False), EVERYTHING))
    first, second = (asked(trained(network(seed, norm=False), RETAIN)).with_original(before) for seed in (7, 8))
    assert 0.3 < Relearning("ratio")(first, second) < 3.0
