"""Control characters of files, names and messages: in no form of a report, and on no terminal."""

import copy
import json
from pathlib import Path

import pytest
from rich.table import Table
from typer.testing import CliRunner
from whole_results import whole_result

from expunge.cli import app
from expunge.cli.echo import echo
from expunge.report import render_text, save_report
from expunge.report.model_card import _strip_markup
from expunge.screen import SafeConsole

TITLE = "\x1b]0;pwn\x07\x1b[2J\x9b2J\u202etxt"
OBEYED = ("\x1b", "\x07", "\x9b", "\u202e")


def documents():
    """The whole result with one text after the other spoilt, by its place."""
    good = whole_result()
    request = good["requests"][0]
    for name in ("title", "command", "provenance"):
        yield name, {**copy.deepcopy(good), name: TITLE}
    yield "limitations", {**copy.deepcopy(good), "limitations": [TITLE]}
    yield "versions", {**copy.deepcopy(good), "versions": {"torch": TITLE}}
    yield "description", {**good, "requests": [{**request, "description": TITLE}]}
    yield "classes", {**good, "requests": [{**request, "classes": [TITLE] * len(request["classes"])}]}
    rows = [{**row, "label": TITLE, "settings": {TITLE: TITLE}} for row in request["rows"]]
    yield "rows", {**good, "requests": [{**request, "rows": rows}]}
    metrics = [{**metric, "label": TITLE, "definition": TITLE} for metric in request["metrics"]]
    yield "metrics", {**good, "requests": [{**request, "metrics": metrics}]}


DOCUMENTS = dict(documents())


@pytest.mark.parametrize("place", DOCUMENTS)
def test_no_form_of_a_report_has_control_characters(place, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(DOCUMENTS[place]))
    for form in ("md", "tex", "csv", "html"):
        text = render_text(DOCUMENTS[place], form)
        assert not [sign for sign in OBEYED if sign in text], form
        assert CliRunner().invoke(app, ["report", str(path), "--format", form]).stdout.rstrip() == text.rstrip()
    shown = CliRunner().invoke(app, ["report", str(path)])
    assert shown.exit_code == 0
    assert not [sign for sign in OBEYED if sign in shown.output]


def test_figures_have_none(tmp_path):
    save_report(DOCUMENTS["rows"], tmp_path, "svg")
    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert texts
    assert not [sign for sign in OBEYED for text in texts if sign in text]


def test_the_screen_shows_words_of_others_without_their_control_characters(capsys):
    screen, table = SafeConsole(), Table(title=TITLE)
    table.add_column(TITLE)
    table.add_row("[link=http://x]y[/link]" + TITLE)
    for one in (TITLE, table, "[/] :smile:"):
        screen.print(one)
    echo(TITLE)
    found = capsys.readouterr().out
    assert not [sign for sign in OBEYED if sign in found]
    assert "[/] :smile:" in found
    assert "\\x1b]0;pwn" in found


@pytest.mark.parametrize("words", [[TITLE], ["run", TITLE], ["report", TITLE], [f"--{TITLE}"], ["run", "a", TITLE]])
def test_messages_about_arguments_have_none(words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert not [sign for sign in OBEYED if sign in done.output]


def test_names_of_files_have_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(f"{TITLE}.yaml").write_text("model: [")
    done = CliRunner().invoke(app, ["run", f"{TITLE}.yaml"])
    assert (done.exit_code, [sign for sign in OBEYED if sign in done.output]) == (2, [])


def test_metadata_of_a_card_have_no_signs_of_pages():
    assert _strip_markup("<script>[x](y)") == "script(x)(y)"
