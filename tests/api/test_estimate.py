"""A reference on a share of the data: what it is trained on, what it costs, and what is said of both."""

from __future__ import annotations

import json

import pytest
import torch
from rich.console import Console
from small_requests import config, write_request
from typer.testing import CliRunner

from expunge.api import model_job
from expunge.api.estimating import RetrainEstimate, estimate_retrain, merge_sides, subsample
from expunge.api.folder import FolderMode
from expunge.api.job import prepare_job
from expunge.cli import app
from expunge.data import get_root_indices
from expunge.errors import ConfigError
from expunge.report.document import read_document

TRAIN = "{epochs: 2, batch_size: 20, lr: 0.1}"


@pytest.fixture
def asked(folder):
    return config(folder, train=TRAIN, checkpoint=None, forget="{fraction: 0.2}")


def test_original_and_references_share_the_examples_that_the_request_leaves(asked):
    job = prepare_job(asked, None, FolderMode(), Console(quiet=True))
    split = subsample(job, 0.5)
    sides = [get_root_indices(part) for part in (split.forget, split.retain)]
    for part, whole in zip(sides, (job.split.forget, job.split.retain), strict=True):
        assert set(part.tolist()) < set(get_root_indices(whole).tolist())
        labels = whole.targets.bincount(minlength=10)
        counts = job.source.train.root.targets[part].bincount(minlength=10)
        assert torch.equal(counts, (labels * 0.5).ceil().long())
    assert torch.equal(get_root_indices(merge_sides(split)), torch.cat(sides).sort().values)
    again = [get_root_indices(part) for part in (subsample(job, 0.5).forget, subsample(job, 0.5).retain)]
    assert all(map(torch.equal, sides, again))


def test_the_result_tells_scores_cost_and_what_they_are_not(asked, monkeypatch):
    seen = []
    real = model_job.train_model

    def watched(model, examples, given, *rest):
        seen.append((len(examples), given.seed))
        return real(model, examples, given, *rest)

    monkeypatch.setattr(model_job, "train_model", watched)
    place = estimate_retrain(asked, fraction=0.5)
    assert place == asked.out.with_name("run-estimate")
    document = json.loads((place / "result.json").read_text())
    read_document(document)
    part = document["requests"][0]
    assert [row["role"] for row in part["rows"]] == ["original", "retrained", "method"]
    assert part["noise_floor"]["mean"] >= 0
    sizes, told = part["sizes"], part["estimate"]
    assert seen == [(sizes["train"], 0), (sizes["retain"], 10_000), (sizes["retain"], 20_000)]
    assert told["examples"] == sizes["retain"] < told["all_examples"] == 96
    assert told["extrapolated_seconds"] == pytest.approx(told["seconds"] * 96 / sizes["retain"])
    assert part["rows"][1]["scores"]["seconds"]["mean"] == told["seconds"]
    assert any("extrapolation" in caveat for caveat in document["limitations"])
    assert any("50 % of the training examples" in caveat for caveat in document["limitations"])
    assert "extrapolation" in (place / "report.html").read_text()
    assert not list(place.glob("*.safetensors"))


def test_a_measured_cost_and_a_guess_are_kept_apart():
    words = RetrainEstimate(0.1, 100, 1000, 2.0).sentence
    assert words.index("took 2 s") < words.index("would take about 20 s, which is an extrapolation")


def test_what_cannot_be_estimated_is_refused(folder, asked):
    with pytest.raises(ConfigError, match="the section 'train'"):
        estimate_retrain(config(folder))
    for share in (0.0, 1.0, -2.0):
        with pytest.raises(ConfigError, match="a share between 0 and 1"):
            estimate_retrain(asked, fraction=share)


def test_the_command_says_both(folder):
    path = write_request(folder, train=TRAIN, checkpoint=None)
    said = CliRunner().invoke(app, ["estimate-retrain", str(path), "--fraction", "0.5", "--out", str(folder / "guess")])
    assert said.exit_code == 0, said.output
    assert "Retraining on 54 of 108 retained examples" in " ".join(said.stdout.split())
    assert (folder / "guess" / "result.json").is_file()
