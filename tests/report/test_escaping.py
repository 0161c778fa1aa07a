"""Names from data are shown as they are and never become markup, in whatever form a report takes."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as Tree

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_pages import HOSTILE, Page

from expunge.errors import escape_controls
from expunge.report import render_html, svg_figures
from expunge.report.document import read_document
from expunge.report.glossary import Term, glossary
from expunge.report.links import GlossaryLinks

TOKENS = [
    "<",
    ">",
    "&",
    '"',
    "'",
    "</svg>",
    "</title>",
    "</script>",
    "<!--",
    "]]>",
    "{{ 7 * 7 }}",
    "&lt;",
    "\x00",
    "\u202e",
]
TOKENS += ["UA", "budget", "noiſe floor", "|", "`", "\\", "$", "_", "\n", "\r", HOSTILE]
names = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(TOKENS), max_size=6).map("".join))
relaxed = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def named(document, classes, label):
    changed = copy.deepcopy(document)
    request = changed["requests"][0]
    request["classes"], request["rows"][3]["label"], request["description"] = classes, label, label
    other = f"{classes[0]}!"
    request["examples"][0] |= {"label": classes[0], "original": classes[0], "retrained": other}
    request["examples"][0]["unlearned"] = {"ga": classes[0], "eupmu": other}
    return changed


def squeezed(text):
    """The text without what HTML and XML do not keep: kinds of white space, and characters that are none."""
    return "".join(letter for letter in text if letter.isprintable() and not letter.isspace() and letter != "\ufffd")


def tags(page):
    """The tags of a page, without the links that words make, and without lines and lines of text in figures."""
    return [
        tag
        for tag, attrs in page.tags
        if tag not in ("path", "g", "text") and not re.match("#(term|word)-", attrs.get("href", ""))
    ]


@given(classes=st.lists(names, min_size=2, max_size=2), label=names)
@relaxed
def test_names_change_no_tag_of_the_page_and_are_all_to_be_read(short, classes, label):
    plain, page = Page(render_html(short)), Page(render_html(named(short, classes, label)))
    assert tags(page) == tags(plain)
    text = squeezed("".join(page.text))
    assert all(squeezed(name) in text for name in (*classes, label))


def elements(text):
    """Which kinds of elements there are: where a name stands decides whether a line leads to it."""
    return {one.tag for one in Tree.fromstring(text).iter()}


@given(classes=st.lists(names, min_size=2, max_size=2), label=names)
@relaxed
def test_names_change_no_element_of_a_figure_that_stands_alone(short, classes, label):
    plain, found = svg_figures(short), svg_figures(named(short, classes, label))
    assert {name: elements(text) for name, text in found.items()} == {
        name: elements(text) for name, text in plain.items()
    }
    said = squeezed("".join(Tree.fromstring(found["request-1-classes"]).itertext()))
    assert all(squeezed(name) in said for name in classes if escape_controls(name) == name)


@given(text=names, label=names)
@relaxed
def test_linked_text_reads_as_before_and_code_loses_its_backticks(short, text, label):
    terms = [*glossary(read_document(short)), Term("hostile", label, "", "", "term-99")]
    page = Page(str(GlossaryLinks(terms)(text)))
    assert squeezed("".join(page.text)) == squeezed(re.sub("`([^`]+)`", r"\1", text))
    assert {tag for tag, _ in page.tags} <= {"a", "code"}
    assert set(page.links) <= {f"#{term.anchor}" for term in terms}
