"""The table of one request in Markdown, and a whole report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from expunge.report import audit_words, earlier_words
from expunge.report.attacks import attacks
from expunge.report.audit_part import AuditPart
from expunge.report.budget_part import BudgetPart
from expunge.report.budget_words import Listing, facts, frontier
from expunge.report.document import Document, Request, read_document, read_request
from expunge.report.glossary import Term, glossary
from expunge.report.search_words import Tried, tried
from expunge.report.table import Line, build_table, seeds_sentence
from expunge.report.words import NOT_SHOWN, brief

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line.

    Examples:
        >>> print(escape("a|b <i>"))
        a\|b \<i\>
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown_table(request: Mapping[str, Any]) -> str:
    """Return the table of a request: original, retrained, then the methods, the closest first and in bold.

    What became of a budget, where there is one, stands below it.

    Args:
        request: An element of a result document's ``requests``.

    Raises:
        DataError: If it lacks something that a table needs.
    """
    checked = read_request(request)
    return "\n".join([*figures_table(checked), *_budget(checked.budget)])


def figures_table(request: Request) -> list[str]:
    """Return the lines of a request's table and of what stands under it, an empty one last."""
    table = build_table(request)
    heads = [
        escape(f"{metric.label} ({metric.shown_unit})" if metric.shown_unit else metric.label)
        for metric in table.columns
    ]
    lines = [
        _line(["Model", *heads]),
        _line([":---", *["---:"] * len(heads)]),
        *(_row(line) for line in (*table.references, *table.methods)),
    ]
    return [*lines, "", escape(f"{seeds_sentence(request)} {table.floor}".rstrip()), ""]


def markdown_report(document: Mapping[str, Any]) -> str:
    """Return a whole report in Markdown: the words of the first screen, the tables, the definitions, how it was made.

    Args:
        document: The result document (schema 1).

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    checked = read_document(document)
    parts = [f"# {escape(checked.title)}", "", *(line for request in checked.requests for line in _request(request))]
    parts += ["## What this does not show", "", *limits(), "## Definitions", "", *definitions(glossary(checked))]
    if checked.holds_data:
        parts += ["## What still holds the forgotten data", "", *map(_item, checked.holds_data), ""]
    return "\n".join([*parts, *_record(checked)]).rstrip() + "\n"


def _request(request: Request) -> list[str]:
    told = brief(request)
    answers = [f"- **{one.question}:** {escape(one.text)}" for one in told.answers]
    head = [f"## {escape(request.question)}", "", f"**{escape(told.verdict)}**", "", *answers, ""]
    below = [*_attacks(request), *_earlier(request), *_budget(request.budget), *_audit(request.audit)]
    return [*head, *figures_table(request), *below]


def _attacks(request: Request) -> list[str]:
    found = attacks(request)
    return [] if found is None else ["Membership attacks, with 95 % bootstrap intervals:", "", *_listing(found)]


def _earlier(request: Request) -> list[str]:
    found = earlier_words.listing(request)
    return [] if found is None else ["Accuracy on what earlier requests forgot:", "", *_listing(found)]


def _audit(audit: AuditPart | None) -> list[str]:
    if audit is None:
        return []
    told = [_item(f"{fact.name}: {fact.text}") for fact in audit_words.facts(audit)]
    moved = audit_words.layers(audit)
    return ["**Audit.**", "", *told, "", *([] if moved is None else _listing(moved))]


def limits() -> list[str]:
    """Return what no report shows, as a list and an empty line."""
    return [*map(_item, NOT_SHOWN), ""]


def definitions(terms: Iterable[Term]) -> list[str]:
    """Return the definitions as a list and an empty line."""
    return [*(f"- **{escape(term.name)}**: {escape(f'{term.meaning} {term.aim}'.strip())}" for term in terms), ""]


def _item(sentence: str) -> str:
    return f"- {escape(sentence)}"


def _record(document: Document) -> list[str]:
    told = [escape(document.disclosure), ""] if document.disclosure else []
    made = {"made": document.created, "command": document.command, **document.versions, **document.hardware}
    given = [_item(f"{name}: {value}") for name, value in made.items() if value]
    return ["## How it was made", "", *told, *map(_item, document.caveats), "", *given, ""]


def _budget(budget: BudgetPart | None) -> list[str]:
    if budget is None:
        return []
    told = [f"- {escape(fact.name)}: {escape(fact.text)}" for fact in facts(budget)]
    return [
        f"**Budget.** {escape(budget.sentence)}",
        "",
        *told,
        "",
        *_frontier(frontier(budget)),
        *_tried(tried(budget)),
    ]


def _frontier(found: Listing | None) -> list[str]:
    return [] if found is None else ["The frontier that was reached:", "", *_listing(found)]


def _tried(found: Tried | None) -> list[str]:
    return [] if found is None else [escape(found.text), "", *_listing(found.trials)]


def _listing(found: Listing) -> list[str]:
    rows = [_line([escape(text) for text in row]) for row in (found.heads, *found.rows)]
    return [rows[0], _line([":---" if found.is_named else "---:", *["---:"] * (len(found.heads) - 1)]), *rows[1:], ""]


def _row(line: Line) -> str:
    label = escape(line.label)
    return _line([f"**{label}**" if line.best else label, *(cell.whole for cell in line.cells)])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
