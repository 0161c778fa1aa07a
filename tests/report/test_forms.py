"""A report in other forms: Markdown, LaTeX, comma-separated values, and a model card."""

from __future__ import annotations

import copy
import csv
import io
import re

import pytest
import yaml
from budgets import budget, search
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_pages import HOSTILE

from expunge.errors import ConfigError, DataError, escape_controls
from expunge.report import FORMATS, markdown_report, markdown_table, render_html, render_text, save_report, svg_figures
from expunge.report.csv_rows import COLUMNS, escape_formula
from expunge.report.formats import TEXT_FORMATS
from expunge.report.latex import escape

relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAME = "Forget Ada_Lovelace & 50 % of $x"


@pytest.fixture
def one(document, bare):
    """A document with one method, as a run leaves it."""
    document["requests"][0]["rows"].pop(2)
    document["requests"][0]["description"] = NAME
    document["requests"][0]["classes"] = ["Ada_Lovelace", "one"]
    document["requests"][0]["budget"] = budget(search=search())
    return bare(document)


def latex_rows(text):
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    lines = [line.removesuffix(" \\\\") for line in body.splitlines() if "&" in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


def plain(cell):
    """What LaTeX prints for a cell of a table."""
    cell = re.sub(r"\\(?:textbf|ensuremath)\{([^{}]*)\}", r"\1", re.sub(r"\\ensuremath\{\\pm\}", "±", cell))
    return cell.replace("\\%", "%").replace("--", "–")


def test_latex_has_the_figures_of_the_markdown_table(document):
    found = latex_rows(render_text(document, "tex"))
    lines = [line for line in markdown_table(document["requests"][0]).splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [list(map(plain, row)) for row in found] == [
        [cell.strip("*") for cell in row] for number, row in enumerate(table) if number != 1
    ]
    assert len(found) == 5


def test_latex_uses_the_rules_of_booktabs_and_closes_what_it_opens(document):
    document["requests"].append({**document["requests"][0], "id": "again"})
    text = render_text(document, "tex")
    for rule, times in (("toprule", 2), ("midrule", 4), ("bottomrule", 2), ("hline", 0)):
        assert text.count(f"\\{rule}\n") == times
    assert re.findall(r"\\begin\{(\w+)\}", text) == ["table", "tabular"] * 2
    assert re.findall(r"\\end\{(\w+)\}", text) == ["tabular", "table"] * 2
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == 2
    assert "|" not in re.search(r"\\begin\{tabular\}\{(.*?)\}", text)[1]


@given(text=st.one_of(st.text(max_size=40), st.text(alphabet='\\{}%$#&_~^<>|"` ab\n', max_size=40)))
@relaxed
def test_latex_text_can_neither_command_nor_comment_nor_leave_its_group(text):
    safe = escape(text)
    left = re.sub(r"\\(?:text\w+|char\d+)\{\}|\\ensuremath\{(?:\\\w+|-)\}|\\[&%$#_{},]", "", safe)
    assert not set(left) & set('\\{}%$#&_^<>|"`')
    assert "\n" not in safe


@given(text=st.text(alphabet="\\{}%$#&_^<>|ab", max_size=30))
@relaxed
def test_latex_text_is_printed_as_it_was(text):
    names = {"backslash": "\\", "asciicircum": "^", "less": "<", "greater": ">", "bar": "|"}
    pieces = re.split(r"(\\text\w+\{\})", escape(text))
    read = "".join(
        names[piece[5:-2]] if piece.startswith("\\text") else re.sub(r"\\([&%$#_{}])", r"\1", piece) for piece in pieces
    )
    assert read == text


def test_csv_has_every_figure_with_all_its_digits(document):
    document["requests"][0]["rows"][3]["scores"]["ta"]["mean"] = 97.123456789
    rows = list(csv.DictReader(io.StringIO(render_text(document, "csv"))))
    assert tuple(rows[0]) == COLUMNS
    scores = {row["key"]: row["scores"] for row in document["requests"][0]["rows"]}
    assert len(rows) == sum(map(len, scores.values()))
    for row in rows:
        score = scores[row["model"]][row["metric"]]
        assert float(row["mean"]) == score["mean"]
        assert row["half_width"] == ("" if score["half_width"] is None else repr(score["half_width"]))
        assert list(map(float, row["values"].split(";"))) == score["values"]
        assert row["seeds"] == "0;1;2"


@given(text=st.text(max_size=20).filter(lambda text: "\0" not in text))
@relaxed
def test_csv_text_is_no_formula_and_comes_back(short, text):
    changed = copy.deepcopy(short)
    changed["requests"][0]["description"] = text
    rows = list(csv.reader(io.StringIO(render_text(changed, "csv"), newline="")))
    assert len(rows) == len(list(csv.reader(io.StringIO(render_text(short, "csv")))))
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert rows[1][1] == escape_controls(escape_formula(text))
    assert not rows[1][1].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert escape_controls(text) != text or rows[1][1].removeprefix("'").split() == text.removeprefix("'").split()


def test_markdown_says_what_the_page_says(one):
    text = markdown_report(one)
    for words in ("**Was the budget kept:** The budget of 1 point was kept", "No figure here supports", "Small data."):
        assert words in text
    assert text.count("\n## ") == 5
    assert "| EUPMU | 99.00 ± 0.30 |" in text
    assert "- **UA**: What UA is." in text
    assert "- command: expunge run request.yaml" in text


@pytest.mark.parametrize("form", ["md", "card"])
def test_markdown_lets_no_markup_through(one, form):
    request = one["requests"][0]
    request["rows"][1]["label"] = request["description"] = HOSTILE
    text = re.split(r"(?m)^# ", render_text(one, form), maxsplit=1)[1]
    assert not re.search(r"(?<!\\)<", text)
    assert "\\<script\\>" in text


def test_a_card_has_metadata_that_hosts_read_and_every_figure(one):
    _, front, text = render_text(one, "card").split("---\n", 2)
    data = yaml.safe_load(front)
    assert "machine-unlearning" in data["tags"]
    (result,) = data["model-index"][0]["results"]
    given = {metric["type"]: metric["value"] for metric in result["metrics"]}
    scores = one["requests"][0]["rows"][-1]["scores"]
    assert given == {key: score["mean"] for key, score in scores.items()}
    assert text.startswith("\n# An unlearned model\n")
    assert "no retrained reference" in text
    assert "Nothing here certifies" in text
    assert "The budget of 1 point was kept" in text


def test_a_host_s_own_library_reads_the_card(one):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(render_text(one, "card"))
    assert card.data.model_name == "Unlearned by EUPMU"
    assert {found.metric_type for found in card.data.eval_results} == set(one["requests"][0]["rows"][-1]["scores"])


def test_a_card_does_not_name_what_was_to_be_forgotten(one):
    text = render_text(one, "card")
    assert "Ada" not in text
    assert "request.yaml" not in text
    assert "all examples of a class" in text
    assert "120 of 1,200" in text


def test_a_card_is_about_one_model(document):
    with pytest.raises(ConfigError, match="one unlearned model, but found 2 of them"):
        render_text(document, "card")


def test_the_suffix_or_the_form_says_what_is_written(one, tmp_path):
    for name, form in (("a.html", "html"), ("b.MD", "md"), ("c.tex", "tex"), ("d.csv", "csv")):
        assert save_report(one, tmp_path / "new" / name) == tmp_path / "new" / name
        assert (tmp_path / "new" / name).read_bytes().decode() == render_text(one, form)
    assert save_report(one, tmp_path / "README.md", "card").read_text(encoding="utf-8") == render_text(one, "card")
    assert render_text(one, "html") == render_html(one)


def test_figures_are_written_into_a_folder(one, tmp_path):
    folder = save_report(one, tmp_path / "figures", "svg")
    found = {path.stem: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert found == svg_figures(one)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_what_is_no_document_writes_nothing(document, tmp_path, form):
    with pytest.raises(DataError):
        save_report({**document, "schema": 7}, tmp_path / "there", form)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_form_is_refused(one, tmp_path):
    with pytest.raises(ConfigError, match="one of html, md, tex, csv, card"):
        save_report(one, tmp_path / "x.html", "doc")
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        save_report(one, tmp_path / "x")
    assert set(TEXT_FORMATS) < set(FORMATS)
