"""The diffusion demo: on the committed models, shortened."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reader_files import real_data
from small_diffusion import MODELS, diffusers
from typer.testing import CliRunner

from expunge.api.generative.image_comparison import SamplingConfig
from expunge.cli import app
from expunge.demo import base_models, diffusion_plan
from expunge.demo.diffusion import run_diffusion_demo
from expunge.tasks.classification.training import TrainSettings
from expunge.tasks.diffusion.training import DiffusionTrainSettings

RECORD = Path(__file__).parents[2] / "docs" / "results" / "diffusion-base.json"
SHORT = replace(
    diffusion_plan.DIGITS,
    num_retained=64,
    settings={"epochs": 1, "batch_size": 32, "lr": 1e-3},
    sampling=SamplingConfig(forgotten=10, remaining=135, steps=3),
)


def test_every_method_has_a_row_a_history_and_a_model(tmp_path):
    diffusers()
    folder = run_diffusion_demo(plan=SHORT, models_dir=MODELS, out=tmp_path / "demo", threads=1)
    request = json.loads((folder / "result.json").read_text())["requests"][0]
    assert [row["key"] for row in request["rows"]] == ["original", *diffusion_plan.METHODS]
    assert len(request["grids"][0]["rows"]) == 1 + len(diffusion_plan.METHODS)
    updates = {key: len((folder / key / "history.jsonl").read_text().splitlines()) for key in diffusion_plan.METHODS}
    assert set(updates.values()) == {2}, "the same number of updates for all"
    assert all((folder / key / "unlearned" / "unet").is_dir() for key in diffusion_plan.METHODS)
    figures = {row["key"]: {name: score["mean"] for name, score in row["scores"].items()} for row in request["rows"]}
    assert len({tuple(scores.values()) for scores in figures.values()}) == len(figures), "no method is another"


@pytest.mark.parametrize(("plan", "forgotten"), [(diffusion_plan.DIGITS, 3), (diffusion_plan.FASHION, 0)])
def test_the_committed_model_draws_what_it_is_asked_for(plan, forgotten):
    diffusers()
    folder = None if plan is diffusion_plan.DIGITS else real_data("FashionMNIST")
    case = diffusion_plan.load_case(plan, folder, models_dir=MODELS)
    asked = torch.arange(20) % 10
    shown = SamplingConfig(steps=12).sample_images(case.original, asked)
    answers = case.classifier(shown.images)
    assert (answers.classes == asked.numpy()).mean() >= 0.85
    assert case.split.forget.targets.unique().tolist() == [forgotten]


def test_the_committed_judge_is_as_right_as_its_record_says():
    diffusers()
    record = json.loads(RECORD.read_text())["digits"]["judge"]
    case = diffusion_plan.load_case(diffusion_plan.DIGITS, models_dir=MODELS)
    found = (case.classifier(case.real.images).classes == case.real.labels.numpy()).mean()
    assert found == pytest.approx(record["test_accuracy"], abs=1e-6)


def test_a_base_model_is_trained_once_and_kept(tmp_path, monkeypatch):
    diffusers()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(base_models, "MODEL_TRAINING", {"digits": DiffusionTrainSettings(updates=3)})
    monkeypatch.setattr(base_models, "CLASSIFIER_TRAINING", {"digits": TrainSettings(epochs=1)})
    source = diffusion_plan.read_source(diffusion_plan.DIGITS)
    scale = source.train.scale
    folder = base_models.find_base_models("digits", source)
    assert folder == tmp_path / "expunge" / "demo" / "digits"
    assert source.train.scale == scale, "the data are as they were"
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert len([path for path in written if path.suffix == ".safetensors"]) == 2
    case = diffusion_plan.load_case(diffusion_plan.DIGITS)
    assert len(case.classifier(case.real.images).classes) == 360
    assert written == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_without_data_the_cure_is_said(tmp_path, monkeypatch):
    diffusers()
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    found = CliRunner().invoke(app, ["demo", "--task", "diffusion", "--out", str(tmp_path / "demo")])
    assert found.exit_code == 2
    assert "--data-dir" in found.output
    assert not (tmp_path / "demo").exists()
