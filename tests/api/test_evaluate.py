"""``evaluate``: figures with and without a reference, and nothing changed by looking."""

from __future__ import annotations

import pytest
import torch
from small_requests import assert_same, classifier, everything, sides

import expunge
from expunge.data import TensorExamples
from expunge.errors import ConfigError, ModelError, RequestError
from expunge.metrics import Outputs

REFERENCED = {"avg_gap", "tow", "js_forget", "kl_forget"}


def test_set() -> TensorExamples:
    inputs = torch.randn(45, 6, generator=torch.Generator().manual_seed(8))
    return TensorExamples(inputs, torch.arange(45) % 3)


test_set.__test__ = False


@pytest.fixture(scope="module")
def result():
    first, second = sides()
    return expunge.unlearn(classifier(), forget=first, retain=second, method="rl", epochs=1, batch_size=16)


def test_without_a_retrained_model_its_figures_are_absent(result):
    figures = expunge.evaluate(result, test=test_set())
    assert REFERENCED.isdisjoint(figures.scores)
    part = figures.document["requests"][0]
    assert part["retrained"] is False
    assert [row["role"] for row in part["rows"]] == ["original", "method"]
    assert part["rows"][1]["label"] == "RL"
    assert part["rows"][1]["history"] == result.history
    assert figures.scores["seconds"] == result.seconds


def test_with_a_retrained_model_the_gap_is_measured(result):
    reference = classifier()
    figures = expunge.evaluate(result, test=test_set(), retrained=reference)
    assert figures.scores.keys() >= REFERENCED
    rows = figures.document["requests"][0]["rows"]
    assert [row["role"] for row in rows] == ["original", "retrained", "method"]
    same = expunge.evaluate(reference, forget=sides()[0], retain=sides()[1], test=test_set(), retrained=reference)
    assert same.scores["avg_gap"] == 0.0


def test_accuracies_are_those_counted_by_hand(result):
    scores = expunge.evaluate(result, test=test_set()).scores

    def share(examples):
        with torch.no_grad():
            right = result.model(examples.inputs).argmax(1) == examples.targets
        return 100 * right.double().mean().item()

    first, second = sides()
    assert scores["ua"] == pytest.approx(100 - share(first))
    assert scores["ra"] == pytest.approx(share(second))
    assert scores["ta"] == pytest.approx(share(test_set()))


def test_looking_changes_no_model(result):
    models = [classifier(), classifier().requires_grad_(False), result.model]
    before = [everything(model) for model in models]
    first, second = sides()
    expunge.evaluate(models[1], forget=first, retain=second, test=test_set(), original=models[0], retrained=models[2])
    for model, look in zip(models, before, strict=True):
        assert_same(look, everything(model))


def test_a_report_shows_no_inputs_unless_asked(tmp_path):
    pictures = [TensorExamples(torch.rand(12, 1, 8, 8), torch.arange(12) % 3) for _ in range(3)]
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    parts = dict(zip(("forget", "retain", "test"), pictures, strict=True))
    plain = expunge.evaluate(model, **parts)
    shown = expunge.evaluate(model, **parts, show_examples=True)
    assert plain.document["requests"][0]["examples"] == []
    assert len(shown.document["requests"][0]["examples"]) == 12
    assert any("shows pictures" in line for line in shown.document["data_still_in"])
    assert not any("shows pictures" in line for line in plain.document["data_still_in"])
    page = plain.report(tmp_path / "report.html").read_text()
    assert page.startswith("<!")
    assert "| Unlearned |" in plain.markdown().replace("**", "")


def test_what_does_not_fit_is_refused(result):
    first, second = sides()
    model, test = classifier(), test_set()
    with pytest.raises(RequestError, match="forget and retain, but found neither: pass both, or the result"):
        expunge.evaluate(model, test=test)
    with pytest.raises(RequestError, match="forget alone"):
        expunge.evaluate(result, forget=first, test=test)
    with pytest.raises(ConfigError, match="3 class names, but found 2"):
        expunge.evaluate(result, test=test, class_names=["a", "b"])
    with pytest.raises(RequestError, match="labels from 0 to 2"):
        expunge.evaluate(result, test=TensorExamples(torch.zeros(3, 6), [0, 1, 3]))
    pictures = TensorExamples(torch.zeros(4, 5), [0, 1, 2, 0])
    with pytest.raises(ModelError, match="takes inputs"):
        expunge.evaluate(model, forget=pictures, retain=second, test=test)


def test_a_class_request_leaves_the_class_out_of_the_test_accuracy():
    inputs, targets = torch.randn(60, 6), torch.arange(60) % 3
    gone = targets == 1
    forget, retain = TensorExamples(inputs[gone], targets[gone]), TensorExamples(inputs[~gone], targets[~gone])
    model, test = classifier(), test_set()
    scores = expunge.evaluate(model, forget=forget, retain=retain, test=test).scores
    with torch.no_grad():
        outputs = Outputs(model.eval()(test.inputs), test.targets).without(torch.tensor([1]))
    right = (outputs.logits.argmax(1) == outputs.targets).double().mean().item()
    assert scores["ta"] == pytest.approx(100 * right)


def test_costly_metrics_are_measured_where_they_are_asked_for(result):
    usual = expunge.evaluate(result, test=test_set())
    asked = expunge.evaluate(
        result, test=test_set(), retrained=classifier(), extra_metrics=["cka", "cka_original", "relearn"]
    )
    assert {"cka", "cka_original"} <= asked.scores.keys() - usual.scores.keys()
    part = asked.document["requests"][0]
    assert {"cka", "cka_original"} <= {metric["key"] for metric in part["metrics"]}
    shown = {row["key"]: row["evidence"][0] for row in part["rows"]}
    assert shown["original"]["cka_original"]["layers"].keys() == shown["unlearned"]["cka"]["layers"].keys()
    assert shown["unlearned"]["relearn"]["accuracy"]
    assert asked.scores["ua"] == usual.scores["ua"]


def test_metrics_that_need_a_model_that_is_not_given_are_refused_at_once(result):
    first, second = sides()
    with pytest.raises(ConfigError, match="retrained model for 'cka'"):
        expunge.evaluate(result, test=test_set(), extra_metrics=["cka"])
    with pytest.raises(ConfigError, match="before unlearning for 'relearn'"):
        expunge.evaluate(classifier(), forget=first, retain=second, test=test_set(), extra_metrics=["relearn"])
    with pytest.raises(ConfigError, match="many models"):
        expunge.evaluate(result, test=test_set(), extra_metrics=["klom"])


def test_several_retrained_models_give_the_noise_floor_of_every_distance(result):
    models = [classifier(), result.model]
    part = expunge.evaluate(result, test=test_set(), retrained=models).document["requests"][0]
    alone = expunge.evaluate(result, test=test_set(), retrained=models[0]).document["requests"][0]
    assert part["noise_floors"].keys() == REFERENCED
    assert part["noise_floor"] == part["noise_floors"]["avg_gap"]
    assert [row["role"] for row in part["rows"]] == ["original", "retrained", "method"]
    assert part["rows"][2]["scores"] == alone["rows"][2]["scores"]
    assert (alone["noise_floor"], alone.get("noise_floors")) == (None, None)


def test_every_attack_stands_behind_the_figures_with_its_interval(result):
    part = expunge.evaluate(result, test=test_set()).document["requests"][0]
    row = part["rows"][-1]
    attacks = {attack["score"]: attack for attack in row["evidence"][0]["attacks"]}
    assert attacks.keys() == {"loss", "confidence", "entropy", "modified_entropy"}
    assert attacks["loss"]["auc"] == row["scores"]["auc"]["mean"]
    for attack in attacks.values():
        assert attack["low"] <= attack["auc"] <= attack["high"]
        assert attack["distance"] == abs(attack["auc"] - 0.5)
        assert attack["recalls"] == []


def test_the_verdict_is_a_field_a_sentence_and_a_headline(result, tmp_path):
    found = expunge.evaluate(result, test=test_set())
    part, count = found.document["requests"][0], len(result.split.forget)
    assert found.verdict == part["verdict"] == part["rows"][-1]["evidence"][0]["held_out"]["verdict"]
    assert found.verdict in ("undecided", "still distinguishable")
    assert found.sentence == part["rows"][-1]["evidence"][0]["held_out"]["sentence"]
    text = found.report(tmp_path / "report.md").read_text(encoding="utf-8")
    assert found.sentence.split("(")[0].strip() in text
    head = f"Cannot be decided with {count} examples" if found.verdict == "undecided" else "Still distinguishable"
    assert f"**{head}" in text


def test_cost_stands_beside_that_of_retraining(result):
    sides = {"forget": result.split.forget, "retain": result.split.retain}
    retrained = expunge.unlearn(classifier(), **sides, method="retrain", epochs=1)
    scores = expunge.evaluate(result, test=test_set(), retrained=retrained).scores
    assert scores["speedup"] == pytest.approx(retrained.seconds / result.seconds)
    assert "speedup" not in expunge.evaluate(result, test=test_set(), retrained=retrained.model).scores
    if result.peak_memory is not None:
        assert scores["peak_memory"] == result.peak_memory / 2**20
    assert "speedup" not in expunge.evaluate(result, test=test_set()).scores
