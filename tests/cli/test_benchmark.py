"""``expunge benchmark`` on the command line: lists, makes, shows failures and summarizes."""

from __future__ import annotations

import json

import pytest
from small_recipes import written
from typer.testing import CliRunner

from expunge.cli import app
from expunge.report.document import read_document

SMALL = {"requests": "[{class: 3}]", "seeds": "[0]"}


@pytest.fixture
def call(tmp_path):
    def call(*arguments: str, **lines: str):
        path = written(tmp_path, ("tune",), **{**SMALL, "methods": "[{name: ft, epochs: 1}]", **lines})
        return CliRunner().invoke(app, ["benchmark", str(path), "--cells-dir", str(tmp_path / "out"), *arguments])

    return call


def test_a_dry_run_lists_and_writes_nothing(call, tmp_path):
    said = call("--dry-run")
    assert said.exit_code == 0
    assert said.stdout.count("missing ") == 6
    assert said.stdout.endswith("tiny: 0 made, 0 failed, 6 missing\n")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_a_run_makes_all_and_the_summary_is_a_result(call, tmp_path):
    assert call().stdout.endswith("tiny: 6 made, 0 failed, 0 missing\n")
    assert call("--dry-run").stdout == "tiny: 6 made, 0 failed, 0 missing\n"
    said = call("--summary", str(tmp_path / "result.json"))
    assert "Forget class 3" in said.stdout
    document = json.loads((tmp_path / "result.json").read_text())
    read_document(document)
    assert document["kind"] == "benchmark"
    assert document["tuning"] == []
    assert [row["role"] for row in document["requests"][0]["rows"]] == ["original", "retrained", "method"]
    assert document["command"] == "expunge benchmark tiny.yaml"
    assert str(tmp_path) not in json.dumps(document)


def test_failures_are_shown_and_change_the_exit_code(call):
    said = call(methods="[{name: ga, epochs: 40, lr: 1.0e+30, max_grad_norm: null}]")
    assert said.exit_code == 1
    assert said.stdout.count("failed") >= 3
    assert "Expected finite" in said.stdout


def test_a_summary_without_cells_and_of_two_recipes_is_refused(call, tmp_path):
    said = call("--summary", str(tmp_path / "result.json"))
    assert said.exit_code == 2
    assert "none: run `expunge benchmark` first" in said.stderr
    said = call(str(tmp_path / "tiny.yaml"), "--summary", str(tmp_path / "result.json"))
    assert said.exit_code == 2
    assert "one recipe for --summary" in said.stderr
