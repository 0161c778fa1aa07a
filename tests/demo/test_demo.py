"""The demo: a small plan from end to end, and the whole of it among the slow tests."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from expunge.cli import app
from expunge.demo import plan, run_demo
from expunge.errors import ConfigError
from expunge.registry import list_entries

METHODS = ("fine_tune", "eupmu")


@pytest.fixture(autouse=True)
def key_file(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_KEY_FILE", str(tmp_path / "key"))


@pytest.fixture
def small(monkeypatch):
    """Two methods, few passes."""
    monkeypatch.setattr(plan, "METHODS", METHODS)
    monkeypatch.setattr(plan, "NUM_TRAIN_IMAGES", 120)
    monkeypatch.setattr(plan, "TRAIN_SETTINGS", {"epochs": 2, "batch_size": 32, "lr": 0.05})
    monkeypatch.setattr(plan, "COMMON_SETTINGS", {"epochs": 1, "batch_size": 64, "forget_batch_size": 32})


def test_a_small_demo(small, tmp_path):
    threads = torch.get_num_threads()
    out = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "--fast", "--out", str(out), "--threads", "1"])
    assert result.exit_code == 0, result.output
    assert torch.get_num_threads() == threads
    told = json.loads((out / "result.json").read_text())
    assert (told["kind"], told["command"]) == ("demo", "expunge demo --seeds 1")
    assert [part["description"] for part in told["requests"]] == list(plan.REQUESTS.values())
    for part in told["requests"]:
        assert [row["key"] for row in part["rows"]] == ["original", "retrain", *METHODS]
        assert [row["role"] for row in part["rows"]] == ["original", "retrained", "method", "method"]
        assert part["noise_floor"]["values"]
        assert all(row["scores"]["seconds"]["mean"] > 0 for row in part["rows"])
        assert all(picture["unlearned"].keys() == set(METHODS) for picture in part["examples"])
        assert part["sizes"]["forget"] + part["sizes"]["retain"] == 120
    for kind in plan.REQUESTS:
        place, rows = out / f"{kind}-0", told["requests"][list(plan.REQUESTS).index(kind)]["rows"]
        assert json.loads((place / "manifest.json").read_text())["sizes"]["all"] == 120
        for method, row in zip(METHODS, rows[2:], strict=True):
            lines = (place / f"{method}.history.jsonl").read_text().splitlines()
            assert [json.loads(line) for line in lines] == row["history"]
            assert load_file(place / f"{method}.safetensors").keys() == load_file(out / "original-0.safetensors").keys()
    assert b"data:image/png" in (out / "report.html").read_bytes()
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    assert "report.html" in result.stdout


def test_a_method_that_diverges_keeps_its_row(small, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "METHODS", ("gradient_ascent",))
    wild = {**plan.COMMON_SETTINGS, "lr": 1e30, "max_grad_norm": None, "epochs": 3}
    monkeypatch.setattr(plan, "get_method_settings", lambda method, kind: wild)
    place = run_demo(fast=True, out=tmp_path / "demo")
    for part in json.loads((place / "result.json").read_text())["requests"]:
        row = part["rows"][-1]
        assert (row["key"], row["scores"], row["settings"]["lr"]) == ("gradient_ascent", {}, 1e30)
        assert not (place / part["id"]).exists()
    assert not list(place.glob("*/gradient_ascent.safetensors"))


def test_seeds_are_paired_and_the_first_is_shown(small, tmp_path):
    place = run_demo(seeds=2, out=tmp_path / "demo")
    for part in json.loads((place / "result.json").read_text())["requests"]:
        assert part["seeds"] == [0, 1]
        assert all(len(row["scores"]["ua"]["values"]) == 2 for row in part["rows"])
        assert len(part["noise_floor"]["values"]) == 2


def test_no_seed_is_refused_before_the_folder_is_made(tmp_path):
    with pytest.raises(ConfigError, match="at least one seed"):
        run_demo(seeds=0, out=tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_the_plan_names_methods_and_settings_that_there_are():
    known = list_entries("methods")
    for kind in plan.REQUESTS:
        for method in plan.METHODS:
            made = known[method].target(**plan.get_method_settings(method, kind))
            assert made.lr == plan.LEARNING_RATES[method][kind]


@pytest.mark.slow
def test_the_whole_demo(tmp_path):
    place = run_demo(out=tmp_path / "demo")
    for part in json.loads((place / "result.json").read_text())["requests"]:
        assert part["seeds"] == [0, 1, 2]
        assert [row["key"] for row in part["rows"]] == ["original", "retrain", *plan.METHODS]
        original, _, *methods = part["rows"]
        best = min(row["scores"]["avg_gap"]["mean"] for row in methods if "avg_gap" in row["scores"])
        assert best < original["scores"]["avg_gap"]["mean"]
