from __future__ import annotations

import io

import pytest
from rich.console import Console

from expunge.errors import DataError
from expunge.report import markdown_table, print_tables, read_document
from expunge.report.attacks import attack_table
from expunge.report.document import read_request
from expunge.report.html import render_html
from expunge.report.numbers import ABSENT


def printed(document, **options):
    file = io.StringIO()
    print_tables(document, Console(file=file, **options))
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [80, 200])
def test_no_line_is_wider_than_80_columns(document, terminal, width):
    rows = document["requests"][0]["rows"]
    rows[2]["label"] = "A method with a very long name indeed"
    for row in rows:
        row["scores"]["mia"] = {"values": [100.0], "mean": 100.0, "half_width": 12.5}
        row["scores"]["seconds"] = {"values": [12345.0], "mean": 12345.0, "half_width": 10.0}
        row["scores"]["avg_gap"] = {"values": [10.0], "mean": 100.25, "half_width": 10.25}
    text = printed(document, force_terminal=terminal, width=width, color_system=None)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for figure in ("100.00", "12,345", "100.25 ± 10.25", "A method"):
        assert figure in text


def test_original_and_retrained_stand_on_top_and_methods_by_gap(document):
    text = printed(document)
    places = [text.index(f"\n{name}") for name in ("ORIGINAL", "RETRAINED", "EUPMU", "GA")]
    assert places == sorted(places)


def test_plain_output_has_no_escapes_and_data_is_never_markup(document):
    document["requests"][0]["rows"][2]["label"] = "[red]x[/] \x1b[31m"
    text = printed(document)
    assert "\x1b" not in text
    assert "[red]x[/]" in text


def test_ascii_consoles_get_ascii(document):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_tables(document, Console(file=file))
    file.flush()
    assert "0.40 +- 0.10" in file.buffer.getvalue().decode("ascii")


def test_columns_without_figures_are_absent(document, bare):
    assert "avg gap" in printed(document)
    text = printed(bare(document))
    assert "avg gap" not in text
    assert "MIA" not in text
    assert "no ranking" in text


def test_a_single_method_without_a_reference_is_not_ranked(document, bare):
    one = bare(document)
    one["requests"][0]["rows"] = [row for row in one["requests"][0]["rows"] if row["key"] != "ga"]
    assert [row["role"] for row in one["requests"][0]["rows"]].count("method") == 1
    for text in (printed(one), markdown_table(one["requests"][0])):
        assert "no intervals" in text or "t-interval" in text
        assert "ranking" not in text


def test_markdown_has_the_same_figures_in_the_same_order(document):
    lines = markdown_table(document["requests"][0]).splitlines()
    assert lines[0] == "| Model | UA (%) | RA (%) | TA (%) | avg gap (points) | AUC | seconds |"
    assert {line.count("|") for line in lines[:6]} == {8}
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["ORIGINAL", "RETRAINED", "**EUPMU**", "GA"]
    assert "| 0.40 ± 0.10 |" in lines[4]
    assert lines[-1].startswith("3 seeds; ± is half")


def test_markdown_escapes_what_would_break_the_table(document):
    document["requests"][0]["rows"][2]["label"] = "a|b\n<i>`"
    lines = markdown_table(document["requests"][0]).splitlines()
    assert lines[5].startswith(r"| a\|b \<i\>\` |")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 7}, "schema 7"),
        ({"schema": None}, "schema None"),
        ({"requests": []}, "at requests"),
        ({"title": 3}, "at title"),
    ],
)
def test_other_documents_are_refused_in_one_sentence(document, change, words):
    with pytest.raises(DataError, match=words) as caught:
        read_document({**document, **change})
    assert str(caught.value).startswith("Expected a result document of schema 2, but found")
    assert "\n" not in str(caught.value)


def test_a_claimed_reference_that_is_not_there_is_refused(document):
    document["requests"][0]["retrained"] = False
    with pytest.raises(DataError, match="'retrained' must be true exactly where"):
        read_document(document)


def test_something_that_is_no_mapping_is_refused():
    with pytest.raises(DataError, match="a list"):
        read_document([])


ATTACK = {"score": "loss", "auc": 0.6, "low": 0.52, "high": 0.68, "distance": 0.1}
RECALL = {"fpr": 0.01, "tpr": 0.034, "low": 0.02, "high": 0.05}


def test_the_floor_of_every_distance_is_a_line_below_the_references(document):
    request = document["requests"][0]
    assert "Noise floor |" not in markdown_table(request)
    request["noise_floors"] = {"avg_gap": {"values": [0.5, 0.7], "mean": 0.6, "half_width": 0.2}}
    lines = markdown_table(request).splitlines()
    heads, floor = ([cell.strip() for cell in lines[row].strip("|").split("|")] for row in (0, 4))
    assert floor[0] == "Noise floor"
    stated = {head: cell for head, cell in zip(heads, floor, strict=True) if cell != ABSENT}
    assert stated["avg gap (points)"].startswith("0.60 ± 0.20")
    assert len(stated) == 2


def test_attacks_behind_the_figures_are_told_with_their_intervals(document):
    request = document["requests"][0]
    assert attack_table(read_request(request)) is None
    request["rows"][2]["evidence"] = [{"seed": 0, "attacks": [ATTACK | {"recalls": [RECALL]}], "cka": {"layers": {}}}]
    request["rows"][3]["evidence"] = [{"seed": 0, "attacks": [ATTACK]}]
    found = attack_table(read_request(request))
    assert found.heads == ("Attack", "GA", "EUPMU")
    assert found.rows == (
        ("AUC, loss", ".600 (.520–.680)", ".600 (.520–.680)"),
        ("|AUC − .5|, loss", ".100", ".100"),
        ("TPR @ 1 %, loss", "3.4 % (2.0–5.0)", ABSENT),
    )
    assert ".600 (.520–.680)" in render_html(document)


def test_what_has_no_figures_is_said_under_every_table(document):
    lost = [{"row": "ga", "seed": seed, "what": "missing", "sentence": "it was not made yet"} for seed in (1, 2)]
    lost.append({"row": "eupmu", "seed": 0, "what": "ZeroDivisionError", "sentence": "Expected <b>, but found [x]."})
    for form in (printed, lambda made: markdown_table(made["requests"][0]), lambda made: render_html(made)):
        assert "Without figures" not in form(document)
    document["requests"][0]["incomplete"] = lost
    told = "Without figures, and means over the other seeds: GA at seeds 1, 2 (it was not made yet); EUPMU at seed 0"
    assert told in " ".join(printed(document).split())
    assert "(expected <b>, but found [x])" in " ".join(printed(document).split())
    assert told in markdown_table(document["requests"][0])
    assert r"\<b\>" in markdown_table(document["requests"][0])
    page = " ".join(render_html(document).replace("\xa0", " ").split())
    assert "Without figures" in page
    assert "expected <b>" not in page


def test_seeds_at_which_nothing_was_made_are_not_counted(document):
    rows = document["requests"][0]["rows"]
    lost = [
        {"row": row["key"], "seed": seed, "what": "missing", "sentence": "it was not made yet"}
        for row in rows
        for seed in (1, 2)
    ]
    document["requests"][0]["incomplete"] = lost
    table = markdown_table(document["requests"][0])
    assert "One seed, so no intervals." in table
    assert "every row at seeds 1, 2" in table
    document["requests"][0]["incomplete"] = lost[1:]
    assert "2 seeds" in markdown_table(document["requests"][0])
