"""``expunge report`` shows a finished run again."""

import json

import pytest
from typer.testing import CliRunner

from expunge.cli import app

RUN = CliRunner()


def document():
    score = lambda value: {"values": [value], "mean": value, "half": None}  # noqa: E731
    row = {"key": "ft", "label": "FT", "role": "method", "scores": {"ua": score(12.5)}, "per_class": [90.0, None]}
    metric = {"key": "ua", "label": "UA", "unit": "%", "definition": "Errors.", "direction": "match"}
    request = {
        "id": "r",
        "question": "Forget a tenth",
        "kind": "fraction",
        "sizes": {"train": 10, "forget": 1, "retain": 9, "test": 5},
        "classes": ["a", "b"],
        "seeds": [0],
        "reference": False,
        "metrics": [metric],
        "noise_floor": None,
        "rows": [row],
        "examples": [],
    }
    return {
        "schema": 1,
        "kind": "run",
        "title": "A run",
        "created": "2026-01-01T00:00:00+00:00",
        "command": "expunge run",
        "versions": {},
        "hardware": {},
        "disclosure": "None.",
        "requests": [request],
        "holds_data": [],
        "caveats": [],
    }


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document()))
    return path


def test_tables_are_printed_and_the_page_is_written_where_asked(result, tmp_path):
    done = RUN.invoke(app, ["report", str(result), "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert "12.50" in done.output
    assert "Forget a tenth" in (tmp_path / "page.html").read_text()


def test_markdown(result):
    done = RUN.invoke(app, ["report", str(result), "--markdown"])
    assert "| FT | 12.50 |" in done.output


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", '{"schema": 9}', "[" * 100_000])
def test_what_is_no_result_ends_in_one_sentence(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    done = RUN.invoke(app, ["report", str(path)])
    assert done.exit_code == 2
    assert done.stderr.startswith("Expected ")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_named():
    done = RUN.invoke(app, ["report", "nowhere.json"])
    assert done.exit_code == 2
    assert "nowhere.json" in done.stderr
