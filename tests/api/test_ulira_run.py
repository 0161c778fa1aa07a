"""``expunge ulira``: the request's own network, training, examples and method, and a folder that can be purged."""

import json

import pytest
import torch
from small_requests import config, own, written
from typer.testing import CliRunner

from expunge.api.audits import ulira_run
from expunge.api.audits.ulira_run import build_study, ulira_request
from expunge.api.purge import purge
from expunge.cli import app
from expunge.errors import ConfigError

TRAIN = "{epochs: 2, batch_size: 20, lr: 0.1, schedule: cosine}"
METHOD = "{name: rl, epochs: 1, lr: 0.02, batch_size: 16}"


def request(folder, **changes):
    return config(folder, **own(method=METHOD, train=TRAIN, seed="3", **changes))


def test_the_study_is_the_requests(folder):
    asked = build_study(request(folder, retrained_model="retrain", holdout="0.4"), 8, folder / "cache", None)
    study = asked.study
    assert sorted(study.candidates.tolist()) == list(range(1, 60, 3))
    assert (len(study.retained), len(study.test), len(study.holdout)) == (40, 18, 12)
    assert (study.num_models, study.seed, asked.reference) == (8, 3, True)
    assert (study.training.settings.schedule, study.training.settings.batch_size) == ("cosine", 20)
    assert asked.options["method"].lr == 0.02
    assert asked.options["config"].batch_norm == "frozen"
    assert not (folder / "cache").exists()


def test_the_command_audits_says_so_and_goes_on(folder, monkeypatch):
    request(folder, retrained_model="retrain")
    done = CliRunner().invoke(app, ["ulira", "request.yaml", "--num-shadow-models", "6"])
    assert done.exit_code == 0, done.output
    for word in ("before unlearning", "after unlearning", "never trained", "run/ulira"):
        assert word.split()[0] in done.output
    document = json.loads((folder / "run" / "ulira" / "ulira.json").read_text())
    assert list(document["states"]) == ["original", "unlearned", "retrained"]
    assert len([*(folder / "run" / "ulira" / "cache").glob("*.safetensors")]) == 12

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("expunge.shadows.train.train_group", never)
    monkeypatch.setattr("expunge.api.audits.shadow_study.unlearn_one", never)
    again = CliRunner().invoke(app, ["ulira", "request.yaml", "--num-shadow-models", "6"])
    assert again.exit_code == 0, again.output
    figures = json.loads((folder / "run" / "ulira" / "ulira.json").read_text())
    assert figures["states"] == document["states"]


def test_a_purge_removes_the_models_and_leaves_the_figures(folder):
    found = ulira_request(request(folder), num_shadow_models=6)
    assert found.outputs.keys() == {"original", "unlearned"}
    before = written(folder / "run")
    done = purge(folder / "run")
    assert "the shadow models of the audit" in done.removed
    assert written(folder / "run") == {name: before[name] for name in ("ulira/outputs.safetensors", "ulira/ulira.json")}
    assert purge(folder / "run").removed == ()


def test_auto_and_a_budget_are_handed_on(folder):
    asked = build_study(
        config(folder, **own(method="auto", train=TRAIN, budget="60", holdout="0.6", time_limit="30s")), 6, folder, None
    )
    assert asked.options["method"] == "auto"
    assert asked.options["time_limit"] == "30s"
    assert asked.options["budget"].accuracy_points == 60


@pytest.mark.parametrize(
    ("changes", "shadows", "message"),
    [
        ({"train": None, "checkpoint": "original.safetensors"}, 6, "the section 'train'"),
        ({}, 4, "at least 6 shadow models"),
        ({}, 7, "an even number of shadow models"),
        ({"method": "{name: rl, epochs: -1}"}, 6, "epochs"),
        ({"forget": "{class: 9}"}, 6, "class"),
    ],
)
def test_bad_requests_end_before_anything_is_trained(folder, changes, shadows, message):
    asked = config(folder, **{**own(method=METHOD, train=TRAIN), **changes})
    before = written(folder)
    with pytest.raises(ConfigError if "class" not in changes.get("forget", "") else Exception, match=message):
        ulira_request(asked, num_shadow_models=shadows)
    assert written(folder) == before


def test_requests_to_other_models_are_refused(folder, monkeypatch):
    monkeypatch.setattr(type(ulira_run.get_task("classification")), "is_classifier", False)
    with pytest.raises(ConfigError, match="the request of a classifier"):
        ulira_request(request(folder))


def test_the_networks_of_a_request_start_from_seeds_of_their_own(folder):
    changes = {"model": "{name: small_cnn, options: {width: 3}}", "data": "{name: digits}"}
    study = build_study(request(folder, **changes), 6, folder, None).study
    first, second = (study.training.make_model(shadow) for shadow in study.shadows[:2])
    assert not torch.equal(first.conv1.weight, second.conv1.weight)
