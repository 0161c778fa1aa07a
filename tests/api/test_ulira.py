"""U-LiRA from end to end: shadow models that train, unlearn and are asked, once each."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import expunge
from expunge.api.audits import shadow_study
from expunge.api.audits.shadow_study import ShadowStudy, unlearn_one
from expunge.api.audits.ulira import audit_ulira, score_study
from expunge.batch import Predictor
from expunge.data import Subset, TensorExamples
from expunge.errors import ConfigError, RequestError
from expunge.metrics import collect_outputs
from expunge.shadows import ShadowStore, ShadowTraining
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.weights import load_weights

SETTINGS = TrainSettings(epochs=15, batch_size=10, lr=0.1, weight_decay=0.0)
UNLEARNING = {"method": "ft", "epochs": 1, "lr": 0.001, "batch_size": 20}


def network():
    return nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 3))


def noise(count=60, seed=0):
    """Labels at random: what a model knows of them, it knows by heart."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 20, generator=generator)
    return TensorExamples(inputs, torch.randint(0, 3, (count,), generator=generator))


def study(cache=None, models=8, **changes):
    store = None if cache is None else ShadowStore(cache)
    training = ShadowTraining(network, noise(), SETTINGS, parallelism="loop", store=store)
    return ShadowStudy(training, torch.arange(20, 44), noise(30, 1), num_models=models, **changes)


@pytest.fixture(scope="module")
def audited():
    """One audit with everything in it."""
    return score_study(study(models=12), UNLEARNING, reference=True)


def test_the_plan_is_balanced_and_every_model_has_its_own_half():
    plan = study()
    assert torch.equal(plan.membership.sum(0), torch.full((24,), 4))
    for row, shadow, reference in zip(plan.membership, plan.shadows, plan.references, strict=True):
        assert torch.equal(shadow.positions, torch.cat([plan.retained, plan.candidates[row]]).sort().values)
        assert torch.equal(reference.positions, plan.retained)
    assert len({shadow.seed for shadow in plan.shadows + plan.references}) == 16
    assert not torch.isin(plan.retained, plan.candidates).any()


def test_the_original_leaks_the_retrained_does_not_and_fine_tuning_hardly_helps(audited):
    original, unlearned, retrained = (audited.attack(state) for state in ("original", "unlearned", "retrained"))
    assert original.auc > 0.8
    assert unlearned.auc == pytest.approx(original.auc, abs=0.1)
    assert retrained.auc_interval.low < 0.5 < retrained.auc_interval.high
    assert original.interval.low > 0.6


def test_unlearning_is_what_unlearn_does_to_each_shadow_model_with_its_own_seed(tmp_path):
    plan = study(tmp_path)
    answers = plan.collect_unlearned_outputs(UNLEARNING)
    shadow, examples = plan.shadows[3], plan.training.examples
    torch.manual_seed(shadow.seed)
    model = network()
    train_classifier(model, Subset(examples, shadow.positions), replace(SETTINGS, seed=shadow.seed))
    expected = expunge.unlearn(
        model,
        forget=Subset(examples, plan.candidates[plan.membership[3]]),
        retain=Subset(examples, plan.retained),
        seed=shadow.seed,
        **UNLEARNING,
    )
    logits = collect_outputs(Predictor(expected.model), Subset(examples, plan.candidates)).logits
    torch.testing.assert_close(answers.candidates[3], logits, rtol=1e-6, atol=1e-6)
    retained = collect_outputs(Predictor(expected.model), Subset(examples, plan.retained))
    right = (retained.logits.argmax(1) == retained.targets).float().mean()
    assert answers.retain_accuracy[3] == pytest.approx(100 * float(right))


def counted(monkeypatch):
    """Count the runs of unlearning."""
    calls = []

    def counting(plan, model, number, options):
        calls.append(number)
        return unlearn_one(plan, model, number, options)

    monkeypatch.setattr(shadow_study, "unlearn_one", counting)
    return calls


def test_every_model_unlearns_once_and_a_stopped_audit_goes_on(tmp_path, monkeypatch):
    calls = counted(monkeypatch)

    def stop(what, ready, every):
        if (what, ready) == ("unlearned models", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_study(study(tmp_path, 6), UNLEARNING, on_done=stop)
    first = score_study(study(tmp_path, 6), UNLEARNING)
    assert calls == list(range(6))
    again = score_study(study(tmp_path, 6), UNLEARNING)
    assert calls == list(range(6))
    assert again.document() == first.document()
    score_study(study(tmp_path, 6), {**UNLEARNING, "lr": 0.002})
    assert calls == list(range(6)) * 2


def test_everything_that_determines_an_answer_is_in_its_name(tmp_path):
    plan = study(tmp_path)
    shadow, made = plan.shadows[0], {"unlearned": {"method": "'ft'"}}
    names = {
        plan.cache_key(shadow, made),
        plan.cache_key(plan.shadows[1], made),
        plan.cache_key(shadow, {"unlearned": {"method": "'rl'"}}),
        plan.cache_key(shadow, {"unlearned": False}),
        replace(plan, test=noise(30, 2)).cache_key(shadow, made),
        replace(plan, holdout=noise(30, 3)).cache_key(shadow, made),
        replace(plan, candidates=plan.candidates.flip(0)).cache_key(shadow, made),
        replace(plan, training=replace(plan.training, settings=replace(SETTINGS, lr=0.2))).cache_key(shadow, made),
        replace(plan, training=replace(plan.training, examples=noise(60, 4))).cache_key(shadow, made),
    }
    assert len(names) == 9


@pytest.mark.slow
def test_several_processes_give_the_answers_of_one(tmp_path):
    plan = study(models=6)
    alone = plan.collect_unlearned_outputs(UNLEARNING)
    together = replace(plan, training=replace(plan.training, store=ShadowStore(tmp_path))).collect_unlearned_outputs(
        UNLEARNING, jobs=2
    )
    torch.testing.assert_close(alone.candidates, together.candidates)
    assert len([*(tmp_path / "answers").glob("*.safetensors")]) == 6


def test_a_network_that_no_other_process_can_make_is_refused():
    plan = study(models=6)
    with pytest.raises(ConfigError, match="made by functions of a module"):
        replace(plan, training=replace(plan.training, model_factory=lambda: network())).collect_unlearned_outputs(
            UNLEARNING, jobs=2
        )
    with pytest.raises(ConfigError, match="at least 6 shadow models, but found 4"):
        study(models=4)
    with pytest.raises(ConfigError, match="at least 1 job"):
        plan.collect_unlearned_outputs(UNLEARNING, jobs=0)


def test_what_is_saved_can_be_read_by_others(tmp_path, audited):
    found = audited
    found.save(tmp_path / "audit")
    tensors = load_weights(tmp_path / "audit" / "outputs.safetensors")
    for state, answers in found.outputs.items():
        assert torch.equal(tensors[f"{state}.candidates"], answers.candidates)
        assert tensors[f"{state}.test"].shape == (12, 30, 3)
    assert torch.equal(tensors["inside"], found.membership)
    document = json.loads((tmp_path / "audit" / "ulira.json").read_text())
    attack = document["states"]["unlearned"]["attack"]
    assert attack["auc"] == found.attack().auc
    assert attack["interval"][0] <= attack["balanced_accuracy"] <= attack["interval"][1]
    assert document["candidates"] == 24
    assert document["unlearning"]["method"] == "ft"
    assert "positions" not in (tmp_path / "audit" / "ulira.json").read_text()


def test_forgotten_answers_are_those_of_the_models_that_knew_the_candidate(audited):
    found = audited
    each = found.select_member_logits()
    assert each.shape == (6, 24, 3)
    for place in range(24):
        models = found.membership[:, place].nonzero().flatten().tolist()
        expected = torch.stack([found.outputs["unlearned"].candidates[model, place] for model in models])
        assert torch.equal(each[:, place], expected)


def test_forgetting_a_whole_class_leaves_its_test_examples_out():
    examples = noise()
    gone = (examples.targets == 1).nonzero().flatten()
    plan = ShadowStudy(
        ShadowTraining(network, examples, SETTINGS, parallelism="loop"), gone, noise(30, 1), num_models=6
    )
    answers, test = plan.collect_shadow_outputs(), noise(30, 1)
    kept = test.targets != 1
    right = (answers.test[0].argmax(1) == test.targets)[kept].float().mean()
    assert answers.test_accuracy[0] == pytest.approx(100 * float(right))


def test_the_verb_takes_the_users_own_things():
    train, test = noise(), noise(30, 1)
    found = audit_ulira(
        ShadowTraining(partial(nn.Linear, 20, 3), (train.inputs, train.targets), replace(SETTINGS, epochs=2)),
        test=(test.inputs, test.targets),
        candidates=np.arange(10),
        num_shadow_models=6,
        **UNLEARNING,
    )
    assert expunge.audit_ulira is audit_ulira
    assert found.attack(resamples=10).models == 6
    with pytest.raises(ConfigError, match=r"original, unlearned, but found no retrained models: .*reference=True"):
        found.attack("retrained")


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([0, 60], "candidates from 0 to 59"),
        ([-1, 3], "candidates from 0 to 59"),
        ([1, 1], "every candidate once"),
        (range(60), "examples to retain"),
    ],
)
def test_wrong_candidates_are_refused(candidates, message):
    with pytest.raises(RequestError, match=message):
        ShadowStudy(ShadowTraining(network, noise(), SETTINGS), torch.as_tensor(list(candidates)), noise(30, 1))
