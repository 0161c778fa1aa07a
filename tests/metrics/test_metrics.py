import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from expunge.errors import ConfigError, DataError
from expunge.metrics import (
    AVERAGE_GAP,
    UNLEARNING_ACCURACY,
    MembershipAUC,
    MembershipInference,
    Metric,
    ModelOutputs,
    Outputs,
    TruePositiveRate,
    attack_auc,
    collect_evidence,
    compute_noise_floor,
    evaluate_outputs,
    membership_audit,
    svc_mia,
)
from expunge.metrics.attacks.membership import SCORE_NAMES, compute_member_score
from expunge.metrics.evaluate import compare_with_held_out
from expunge.registry import find_component, list_entries

REGISTERED = list(list_entries("metrics").values())
OF_ONE_MODEL = [entry for entry in REGISTERED if isinstance(entry.target, Metric)]
EVERY = [entry for entry in OF_ONE_MODEL if "network" not in entry.target.needs]


def percent_right(part):
    return 100 * float((part.logits.argmax(1) == part.targets).float().mean())


def test_the_registry_lists_every_metric_under_both_names():
    expected = {"ua", "ra", "ta", "mia", "avg_gap", "auc", "tow", "js_forget", "kl_forget", "tpr_at_1_percent"}
    assert expected <= {alias for entry in REGISTERED for alias in entry.aliases}
    assert {"unlearning_accuracy", "average_gap", "forget_divergence"} <= {entry.name for entry in REGISTERED}
    assert find_component("metrics", "mia-efficacy") is find_component("metrics", "mia") == MembershipInference()
    assert all(entry.summary for entry in REGISTERED)


def test_no_two_metrics_share_a_name():
    names = [name for entry in REGISTERED for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", REGISTERED, ids=lambda entry: entry.name)
def test_every_metric_describes_itself(entry):
    metric = entry.target
    column = metric.column()
    assert column.direction in ("higher", "lower", "match")
    assert column.label
    assert column.definition.startswith(metric.definition[:10])
    assert metric.target in column.definition
    assert metric.key in (entry.name, *entry.aliases)


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.name)
def test_identical_models_are_at_the_target_of_every_distance(entry, random_request, class_request):
    for request in (random_request, class_request):
        metric, model, twin = entry.target, request(3), request(3)
        assert metric(model, twin) == metric(model, model)
        if "retrained" in metric.needs:
            assert metric(model, twin) == {"lower": 0.0, "higher": 1.0}[metric.direction]


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.name)
def test_distances_grow_with_the_difference_and_need_the_retrained_model(entry, random_request):
    metric = entry.target
    if "retrained" not in metric.needs:
        return
    near, far = (metric(random_request(0, sharpness=sharp), random_request(0)) for sharp in (1.8, -3.0))
    assert near < far if metric.direction == "lower" else near > far
    with pytest.raises(ConfigError, match="retrained"):
        metric(random_request(0))


def test_accuracies_count_what_they_say(class_request):
    model = class_request(1)
    scores = evaluate_outputs(model, metrics=["ua", "ra", "ta"])
    assert scores["ua"] == pytest.approx(100 - percent_right(model.forget))
    assert scores["ra"] == pytest.approx(percent_right(model.retain))
    assert scores["ta"] == pytest.approx(percent_right(model.held_out.without(torch.tensor([3]))))


def test_forgetting_a_class_does_not_lower_its_test_accuracy(class_request):
    model = class_request(1, sharpness=30.0)
    model.held_out.logits[model.held_out.targets == 3] *= -1
    assert evaluate_outputs(model, metrics=["ta"]) == {"ta": 100.0}


def test_average_gap_is_the_mean_over_the_four(random_request):
    model, retrained = random_request(0, sharpness=1.0), random_request(50)
    names = ["ua", "ra", "ta", "mia"]
    ours, theirs = (evaluate_outputs(each, metrics=names) for each in (model, retrained))
    expected = np.mean([abs(ours[name] - theirs[name]) for name in names])
    assert evaluate_outputs(model, retrained)["avg_gap"] == pytest.approx(expected)


def test_mia_of_a_class_request_knows_no_non_members_of_the_forgotten_class(class_request):
    model = class_request(2)
    sides = [softmax(part.logits.double().numpy(), axis=1) for part in (model.retain, model.test, model.forget)]
    labels = [part.targets.numpy() for part in (model.retain, model.test, model.forget)]
    direct = svc_mia(*(p[np.arange(len(y)), y] for p, y in zip(sides, labels, strict=True)), seed=0)
    assert MembershipInference()(model) == direct
    assert MembershipInference()(ModelOutputs(model.forget, model.retain, model.test)) == direct


@pytest.mark.parametrize("part", ["forget", "retain", "test"])
def test_divergences_look_at_their_own_part_and_from_the_retrained_model(part, class_request):
    model, retrained = class_request(0, sharpness=1.0), class_request(9)
    p, q = (softmax(getattr(each, part).logits.double().numpy(), axis=1) for each in (retrained, model))
    found = evaluate_outputs(model, retrained, [f"js_{part}", f"kl_{part}", f"l2_{part}"])
    assert found[f"js_{part}"] == pytest.approx(np.mean(jensenshannon(p, q, axis=1) ** 2))
    assert found[f"kl_{part}"] == pytest.approx(np.mean((p * np.log(p / q)).sum(1)))
    assert found[f"l2_{part}"] == pytest.approx(np.mean(np.sqrt(((p - q) ** 2).sum(1))))


def test_metrics_that_need_the_retrained_model_are_absent_without_it(random_request):
    model = random_request(0)
    alone, beside = evaluate_outputs(model), evaluate_outputs(model, random_request(1))
    assert set(beside) - set(alone) == {"avg_gap", "tow", "js_forget", "kl_forget"}
    assert all(alone[name] == beside[name] for name in alone)


def test_a_model_is_not_compared_with_one_of_another_split(random_request):
    """As many examples, but others: nothing but the labels can tell."""
    retrained = random_request(1)
    other = Outputs(retrained.forget.logits, retrained.forget.targets.roll(1))
    with pytest.raises(DataError, match="own split"):
        evaluate_outputs(random_request(0), ModelOutputs(other, retrained.retain, retrained.held_out), ["tow"])


def test_what_needs_no_retrained_model_is_computed_once(random_request):
    calls = []

    def count(model, retrained):
        calls.append(model)
        return float("nan")

    model = random_request(0)
    assert [Metric(count, "n", "n", "0", "Counts.")(model) for _ in range(2)] == [None, None]
    assert len(calls) == 1
    assert MembershipInference(seed=1) != MembershipInference(seed=2)
    assert MembershipInference(seed=1) == MembershipInference(seed=1)


@pytest.mark.parametrize("score", SCORE_NAMES)
def test_auc_is_one_half_without_and_one_with_membership_in_the_score(score, random_request):
    model = random_request(0)
    same = ModelOutputs(model.held_out, model.retain, model.held_out)
    assert MembershipAUC(score)(same) == pytest.approx(0.5, abs=1e-12)
    sure = Outputs(40 * torch.eye(4)[model.forget.targets], model.forget.targets)
    assert MembershipAUC(score)(ModelOutputs(sure, model.retain, model.held_out)) == 1.0


def test_auc_of_a_class_request_is_against_that_class_only(class_request):
    model = class_request(2)
    alike = model.held_out.only(torch.tensor([3]))
    score = [softmax(part.logits.numpy(), axis=1)[:, 3] for part in (model.forget, alike)]
    expected = roc_auc_score(np.repeat([1, 0], [30, 15]), np.concatenate(score))
    assert MembershipAUC("confidence")(model) == pytest.approx(expected)
    assert MembershipAUC()(model) == pytest.approx(expected)


def test_the_mix_of_classes_is_no_membership():
    """A model that saw none of them: class 1 is hard, and most forgotten examples are of it."""
    generator = torch.Generator().manual_seed(0)

    def outputs(easy, hard):
        labels = torch.tensor([0] * easy + [1] * hard)
        logits = torch.randn(len(labels), 2, generator=generator)
        logits[labels == 0, 0] += 3.0
        return Outputs(logits, labels)

    model = ModelOutputs(outputs(40, 360), outputs(400, 400), outputs(400, 400))
    pooled = attack_auc(*(compute_member_score(side, "loss") for side in (model.forget, model.held_out)))
    assert pooled < 0.35
    assert MembershipAUC()(model) == pytest.approx(0.5, abs=0.06)
    first = membership_audit(model, resamples=10)[0]
    assert first.interval.low < 0.5 < first.interval.high
    assert compare_with_held_out(model).verdict == "undecided"


def test_a_verdict_of_the_figures_is_that_of_the_controller(random_request, class_request):
    few = random_request(0)
    assert compare_with_held_out(few).verdict == "undecided"
    assert compare_with_held_out(few).examples == 40
    assert collect_evidence(few)["held_out"]["verdict"] == "undecided"
    sure = Outputs(40 * torch.eye(4)[few.forget.targets], few.forget.targets)
    assert compare_with_held_out(ModelOutputs(sure, few.retain, few.held_out)).verdict == "still distinguishable"
    kept = class_request(0)
    assert compare_with_held_out(kept).verdict == "still distinguishable"
    assert compare_with_held_out(kept).recognized > 0.5


def test_scores_without_the_examples_they_need_are_none(class_request):
    model = class_request(0)
    only_others = ModelOutputs(model.forget, model.retain, model.test)
    only_forgotten = ModelOutputs(model.forget, model.retain, model.test_same_classes)
    assert evaluate_outputs(only_others, metrics=["auc", "tpr_at_1_percent"]) == {
        "auc": None,
        "tpr_at_1_percent": None,
    }
    found = evaluate_outputs(only_forgotten, only_forgotten, metrics=["ta", "mia", "avg_gap", "tow", "js_test"])
    assert set(found.values()) == {None}


def test_recall_at_one_percent_is_stated_from_a_thousand_held_out_examples():
    labels = torch.zeros(1000, dtype=torch.int64)
    logits = torch.stack([torch.linspace(0, 1, 1000), torch.zeros(1000)], 1)
    outputs = ModelOutputs(Outputs(logits + 0.5 * torch.eye(2)[0], labels), *(2 * [Outputs(logits, labels)]))
    assert TruePositiveRate(0.01)(outputs) == pytest.approx(51.0, abs=0.11)
    fewer = ModelOutputs(outputs.forget, outputs.retain, Outputs(logits[:999], labels[:999]))
    assert TruePositiveRate(0.01)(fewer) is None


def test_the_audit_judges_every_score_and_leaves_out_what_it_cannot_carry(random_request):
    model = random_request(0)
    audit = membership_audit(model, fprs=(0.2, 0.01), resamples=200)
    assert [attack.score for attack in audit] == list(SCORE_NAMES)
    for attack in audit:
        assert attack.auc == MembershipAUC(attack.score)(model)
        assert attack.interval.low <= attack.auc <= attack.interval.high
        assert attack.advantage == abs(attack.auc - 0.5)
        assert [recall.fpr for recall in attack.recalls] == [0.2]
        assert attack.recalls[0].interval.low <= attack.recalls[0].tpr <= attack.recalls[0].interval.high


def test_the_audit_needs_held_out_examples_of_the_class(class_request):
    model = class_request(0)
    with pytest.raises(DataError, match="forgotten classes"):
        membership_audit(ModelOutputs(model.forget, model.retain, model.test))


def test_unknown_names_are_refused(random_request):
    with pytest.raises(ConfigError, match="did you mean 'auc'"):
        evaluate_outputs(random_request(0), metrics=["auk"])
    with pytest.raises(ConfigError, match="modified_entropy"):
        MembershipAUC("confidense")(random_request(0))


def test_the_noise_floor_is_the_gap_between_retrained_models(random_request):
    splits = [[random_request(seed), random_request(seed + 1)] for seed in (0, 20)]
    found = compute_noise_floor(splits)
    assert found.values == pytest.approx([AVERAGE_GAP(first, second) for first, second in splits])
    assert found.half_width is not None
    assert compute_noise_floor([splits[0], splits[1][:1]]).half_width is None
    assert compute_noise_floor([[splits[0][0]]]) is None


def test_ua_is_not_the_forget_accuracy(random_request):
    right = random_request(0, sharpness=50.0)
    assert UNLEARNING_ACCURACY(right) == 0.0
