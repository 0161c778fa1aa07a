"""``expunge report`` shows a finished run again."""

import json

import pytest
from typer.testing import CliRunner

from expunge.cli import app

RUN = CliRunner()


def document():
    score = lambda value: {"values": [value], "mean": value, "half_width": None}  # noqa: E731
    row = {"key": "ft", "label": "FT", "role": "method", "scores": {"ua": score(12.5)}, "per_class": [90.0, None]}
    metric = {"key": "ua", "label": "UA", "unit": "%", "definition": "Errors.", "direction": "match"}
    request = {
        "id": "r",
        "description": "Forget a tenth",
        "kind": "fraction",
        "sizes": {"train": 10, "forget": 1, "retain": 9, "test": 5},
        "classes": ["a", "b"],
        "seeds": [0],
        "retrained": False,
        "metrics": [metric],
        "noise_floor": None,
        "rows": [row],
        "examples": [],
    }
    return {
        "schema": 2,
        "kind": "run",
        "title": "A run",
        "created": "2026-01-01T00:00:00+00:00",
        "command": "expunge run",
        "versions": {},
        "hardware": {},
        "provenance": "None.",
        "requests": [request],
        "data_still_in": [],
        "limitations": [],
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


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("md", "| FT | 12.50 |"),
        ("tex", "FT & 12.50"),
        ("csv", "r,Forget a tenth,ft,FT,method,ua,UA,%,match,12.5,,0,12.5"),
    ],
)
def test_texts_go_to_the_terminal_or_into_a_file(result, tmp_path, form, words):
    done = RUN.invoke(app, ["report", str(result.parent), "--format", form])
    assert done.exit_code == 0, done.output
    assert words in done.output
    written = RUN.invoke(app, ["report", str(result), "--out", str(tmp_path / f"table.{form}")])
    assert written.exit_code == 0, written.output
    assert (tmp_path / f"table.{form}").read_text() == done.output


def test_a_model_card(result, tmp_path):
    done = RUN.invoke(app, ["report", str(result), "--format", "card", "--out", str(tmp_path / "README.md")])
    assert (done.exit_code, done.output) == (0, "")
    assert (tmp_path / "README.md").read_text().startswith("---\ntags:\n- machine-unlearning\n")


def test_figures_fill_a_folder(result, tmp_path):
    done = RUN.invoke(app, ["report", str(result), "--format", "svg", "--out", str(tmp_path / "figures")])
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["request-1-classes.svg"]


@pytest.mark.parametrize("arguments", [["--format", "svg"], ["--out", "report.doc"], ["--format", "pdf"]])
def test_what_cannot_be_written_is_refused(result, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = RUN.invoke(app, ["report", str(result), *arguments])
    assert done.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


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
