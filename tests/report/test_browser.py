"""The page in a real browser: what a reader sees, with the pointer, with the keyboard, on paper and without scripts."""

from __future__ import annotations

import json

import pytest
from browser import WHY_NOT, Browser
from budgets import budget, search
from contrast import contrast
from report_pages import poison

from expunge.report import render_html

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
WIDTHS = [400, 1600]
TEXTS = """[...document.querySelectorAll("body *")].filter(e => e.getClientRects().length && !e.closest("[hidden]") &&
  [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
  const grounds = [];
  for (let one = e; one; one = one.parentElement) grounds.push(getComputedStyle(one).backgroundColor);
  const style = getComputedStyle(e);
  const ink = e.closest("svg") ? style.fill : style.color;
  return [ink, grounds.find(g => g !== "rgba(0, 0, 0, 0)") ?? "none", e.tagName + "." + e.getAttribute("class")];
})"""

SMALL = """[...document.querySelectorAll("figure svg text")].filter(text => {
  const drawing = text.ownerSVGElement;
  const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
  return parseFloat(getComputedStyle(text).fontSize) * scale < 9;
}).map(text => text.textContent)"""
COVERED = """[...document.querySelectorAll("figure svg")].flatMap(drawing => {
  const texts = [...drawing.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
  return texts.flatMap(([word, a], at) => texts.slice(at + 1).filter(([_, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4
  ).map(([other]) => `${word} / ${other}`));
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def page(browser, tmp_path):
    def shown(document, **options):
        path = tmp_path / "report.html"
        path.write_text(render_html(document), encoding="utf-8")
        browser.open(path, **options)
        return browser

    return shown


@pytest.fixture(params=["with reference", "without reference", "with budget"])
def each(request, document, bare):
    if request.param == "with budget":
        document["requests"][0]["budget"] = budget(search=search())
        return bare(document)
    return document if request.param == "with reference" else bare(document)


def names(browser):
    return browser.ask("[...document.querySelectorAll('tbody.methods th')].map(head => head.firstChild.data.trim())")


def direction(browser, column):
    return browser.ask(f"document.querySelectorAll('table.figures thead th')[{column}].getAttribute('aria-sort')")


def test_it_loads_without_a_complaint_and_fetches_nothing(page, each):
    shown = page(each)
    assert shown.complaints() == []
    assert [url for url in shown.fetched() if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows(page, each, width):
    each["command"] = each["title"] = each["requests"][0]["description"] = "x" * 500
    each["requests"][0]["classes"] = ["y" * 90, "z" * 90]
    shown = page(each, width=width)
    shown.ask("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert shown.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_first_screen_has_every_answer(page, each):
    shown = page(each, width=1600, height=1000)
    ends = shown.ask(
        "[...document.querySelectorAll('.summary dd, .limits li')].map(e => e.getBoundingClientRect().bottom)"
    )
    assert len(ends) >= 7
    assert max(ends) <= 1000


def test_columns_are_sorted_by_pointer(page, document):
    shown = page(document)
    assert names(shown) == ["EUPMU", "GA"]
    click = "document.querySelectorAll('table.figures thead th')[1].querySelector('button').click()"
    shown.ask(click)
    assert (names(shown), direction(shown, 1)) == (["GA", "EUPMU"], "ascending")
    shown.ask(click)
    assert (names(shown), direction(shown, 1)) == (["EUPMU", "GA"], "descending")
    shown.ask("document.querySelectorAll('table.figures thead th')[0].querySelector('button').click()")
    assert (direction(shown, 0), direction(shown, 1)) == ("ascending", None)


def test_columns_are_sorted_by_keyboard(page, document):
    shown = page(document)
    shown.ask("document.querySelector('table.figures thead th a').focus()")
    shown.press("Tab", 9)
    assert shown.ask("document.activeElement.getAttribute('aria-label')") == "Sort by UA %"
    shown.press("Enter", 13, "\r")
    assert (names(shown), direction(shown, 1)) == (["GA", "EUPMU"], "ascending")


def test_rows_without_a_figure_stand_last_both_ways(page, document):
    rows = document["requests"][0]["rows"]
    rows.append({**rows[3], "key": "lost", "label": "LOST", "scores": {"ta": {"values": [None], "mean": None}}})
    shown = page(document)
    for _ in range(2):
        shown.ask("document.querySelectorAll('table.figures thead th')[3].querySelector('button').click()")
        assert names(shown)[-1] == "LOST"


def test_small_tables_are_sorted_as_numbers(page, document, bare):
    document["requests"][0]["budget"] = budget(search=search())
    shown = page(bare(document))
    table = "[...document.querySelectorAll('table.dense')].at(-1)"
    shown.ask(f"{table}.querySelector('thead button').click()")
    rates = shown.ask(f"[...{table}.tBodies[0].rows].map(row => Number(row.cells[0].textContent))")
    assert rates == sorted(rates)
    assert len(rates) == 5


def test_everything_with_a_link_or_a_value_is_reached_by_tab(page, document):
    shown = page(document)
    shown.ask(
        "window.wanted = [...document.querySelectorAll('a[href], button, summary, .scroll')]"
        ".filter(e => e.tabIndex >= 0 && e.checkVisibility()); window.met = new Set(); 0"
    )
    for _ in range(shown.ask("window.wanted.length") + 1):
        shown.press("Tab", 9)
        shown.ask("window.met.add(document.activeElement); 0")
    assert shown.ask("window.wanted.filter(e => !window.met.has(e)).map(e => e.outerHTML.slice(0, 80))") == []


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_reaches_wcag_aa(page, each, dark):
    shown = page(each, dark=dark)
    found = {tuple(one) for one in shown.ask(TEXTS)}
    assert len({ground for _, ground, _ in found}) > 2
    assert len({ink for ink, _, _ in found}) > 3
    low = [(contrast(ink, ground), who) for ink, ground, who in found if contrast(ink, ground) < 4.5]
    assert low == []


def test_dark_and_light_differ(page, document):
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page(document, dark=True).ask(ground) != page(document).ask(ground)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_class_called_like_a_script_is_shown_and_runs_nothing(page, document, scripts):
    hostile = "<script>alert(1)</script>"
    request = document["requests"][0]
    request["classes"] = [hostile, "<img src=x onerror=alert(2)>"]
    request["description"] = request["rows"][3]["label"] = f"Forget {hostile}"
    shown = page(document, scripts=scripts)
    shown.ask("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert not any(event.get("method") == "Page.javascriptDialogOpening" for event in shown.events)
    assert shown.complaints() == []
    assert shown.ask("document.querySelectorAll('script').length") == 1
    assert shown.ask("document.body.innerText").count(hostile) > 3


def test_a_poisoned_document_runs_nothing(page, document):
    shown = page(poison(document))
    assert shown.complaints() == []
    assert shown.ask("document.querySelectorAll('img, script').length") == 1


def test_marks_have_the_colors_of_the_theme_and_say_their_values(page, document):
    mark = "[...document.querySelectorAll('svg.drawing g')].find(g => g.querySelector(':scope > title'))"
    fills = []
    for dark in (False, True):
        shown = page(document, dark=dark)
        fills.append(shown.ask(f"getComputedStyle({mark}.querySelector('use')).stroke"))
        assert shown.ask(f"{mark}.querySelector('title').textContent") == "ORIGINAL: UA 0.33, TA 98.00"
    assert fills == ["rgb(87, 92, 99)", "rgb(166, 171, 177)"]


@pytest.mark.parametrize("width", [390, 1600])
def test_no_text_of_a_figure_covers_another_or_is_too_small(page, document, width):
    shown = page(document, width=width)
    assert shown.ask(SMALL) == []
    assert shown.ask(COVERED) == []


def test_without_scripts_all_figures_and_words_are_there(page, document):
    shown = page(document, scripts=False)
    assert shown.ask("document.querySelectorAll('svg.drawing title').length") > 8
    assert shown.ask("document.querySelectorAll('button').length") == 0
    assert shown.ask("document.body.innerText.includes('99.00')")


def test_a_foreign_script_does_not_run(browser, document, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(
        render_html(document).replace("</body>", "<script>document.title = 'taken'</script></body>"), "utf-8"
    )
    browser.open(path)
    assert "Content Security Policy" in json.dumps(browser.complaints())
    assert browser.ask("document.title") == "A title"


def test_on_paper_nothing_is_cut_off_or_folded(page, document):
    shown = page(document, width=794, media="print", dark=True)
    shown.ask("dispatchEvent(new Event('beforeprint'))")
    assert shown.ask("[...document.querySelectorAll('details')].every(details => details.open)")
    assert shown.ask("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert shown.ask("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 251)"
    assert shown.ask("[...document.querySelectorAll('th button, nav')].some(one => one.checkVisibility())") is False
    shown.ask("dispatchEvent(new Event('afterprint'))")
    assert shown.ask("[...document.querySelectorAll('details')].some(details => details.open)") is False
