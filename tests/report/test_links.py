"""Words that lead to their definitions."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from budgets import broken, budget, search
from report_pages import Page

from expunge.report import render_html
from expunge.report.document import read_document
from expunge.report.glossary import AUDIT_WORDS, glossary
from expunge.report.links import GLOSSARY_WORDS, METRIC_WORDS, GlossaryLinks

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def terms(document):
    return glossary(read_document(document))


def test_every_number_of_the_table_leads_to_its_own_definition(document):
    text = render_html(document)
    heads = re.findall(r'<th scope="col"><a href="#(term-\d+)">', text)
    body = re.search(r'<tbody class="methods">(.*?)</tbody>', text, re.DOTALL).group(1)
    for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL):
        cells = re.findall(r'<td data-value="([^"]*)">(?:<a class="number" href="#(term-\d+)" tabindex="-1">)?', row)
        assert len(cells) == len(heads)
        assert [link for value, link in cells if value] == [
            head for head, (value, _) in zip(heads, cells, strict=True) if value
        ]


def test_words_of_the_first_screen_lead_to_their_definitions(document):
    names = {term.anchor: term.name for term in terms(document)}
    summary = render_html(document).split('<section class="summary', 1)[1].split("</section>")[0]
    found = {names[anchor] for anchor in re.findall(r'href="#((?:term|word)-\d+)"', summary)}
    assert {"UA", "TA", "RA", "avg gap", "Noise floor", "Seed", "To forget, to keep, to test on"} <= found


def test_no_link_leads_nowhere_and_every_figure_has_one(document):
    document["requests"][0]["budget"] = broken(search=search())
    text = render_html(document)
    page = Page(text)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert len(captions) > 8
    assert [caption for caption in captions if "<a href=" not in caption] == []
    headings = re.findall(r'<table class="dense" data-sortable>\s*<thead><tr>(.*?)</tr>', text, re.DOTALL)
    assert all(heading.count("<a ") >= 2 for heading in headings[1:])


def test_what_a_word_stands_for_is_in_the_glossary(document):
    document["requests"][0]["budget"] = budget()
    known = terms(document)
    assert set(GLOSSARY_WORDS.values()) <= {term.name for term in (*known, *AUDIT_WORDS) if not term.key}
    drawn = json.loads((RESULTS / "diffusion-fashion-mnist.json").read_text(encoding="utf-8"))
    assert set(METRIC_WORDS.values()) <= {term.key for term in (*known, *terms(drawn))}
    assert len({term.anchor for term in known}) == len(known)


def test_without_a_budget_the_words_of_an_audit_lead_to_its_own_entries(document):
    known = [*terms(document), *(replace(term, anchor=term.name) for term in AUDIT_WORDS)]
    assert '<a href="#Drop on fresh examples">Certificate</a>' in str(GlossaryLinks(known)("Certificate"))
    assert '<a href="#Distance of a layer">weights</a>' in str(GlossaryLinks(known)("Which weights moved"))
    document["requests"][0]["budget"] = budget()
    known = [*terms(document), *(replace(term, anchor=term.name) for term in AUDIT_WORDS)]
    assert "#word-" in str(GlossaryLinks(known)("Certificate"))


def test_a_definition_is_linked_once_in_a_text_and_whole_words_only(document):
    links = GlossaryLinks(terms(document))
    assert str(links("UA, UA and the AUCTION")).count("<a ") == 1
    assert str(links("Budget")) == "Budget", "without a budget there is no such entry"
    assert str(links("in 3 seconds")) == "in 3 seconds"


@pytest.mark.parametrize(("definition", "aim"), [("Errors. Target: 0.5.", ""), ("Errors.", "Aim: the value of the")])
def test_a_definition_that_names_its_target_gets_no_second_one(document, definition, aim):
    document["requests"][0]["metrics"][0]["definition"] = definition
    assert terms(document)[0].aim.startswith(aim)
    assert bool(terms(document)[0].aim) == bool(aim)


def test_commands_in_sentences_are_code_and_escaped(document):
    links = GlossaryLinks(terms(document))
    assert links("`expunge <b>` tells") == "<code>expunge &lt;b&gt;</code> tells"
