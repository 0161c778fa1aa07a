"""The table of one request in Markdown, and a whole report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from expunge.report import audit_text, earlier_requests_text
from expunge.report.attacks import attack_table
from expunge.report.audit_schema import AuditSection
from expunge.report.budget_schema import BudgetSection
from expunge.report.budget_text import TextTable, budget_statements, frontier_table
from expunge.report.document import RequestSection, ResultDocument, read_document, read_request
from expunge.report.glossary import Term, glossary
from expunge.report.search_text import SearchTable, search_table
from expunge.report.summary import NOT_SHOWN, build_summary
from expunge.report.table import TableLine, build_table, describe_seeds

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
    return "\n".join([*figures_table(checked), *_budget_lines(checked.budget)])


def figures_table(request: RequestSection) -> list[str]:
    """Return the lines of a request's table and of what stands under it, an empty one last."""
    table = build_table(request)
    heads = [
        escape(f"{metric.label} ({metric.shown_unit})" if metric.shown_unit else metric.label)
        for metric in table.columns
    ]
    lines = [
        _format_line(["Model", *heads]),
        _format_line([":---", *["---:"] * len(heads)]),
        *(_format_row(line) for line in (*table.references, *table.methods)),
    ]
    return [*lines, "", escape(f"{describe_seeds(request)} {table.floor}".rstrip()), ""]


def markdown_report(document: Mapping[str, Any]) -> str:
    """Return a whole report in Markdown: the words of the first screen, the tables, the definitions, how it was made.

    Args:
        document: The result document (schema 2).

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    checked = read_document(document)
    parts = [
        f"# {escape(checked.title)}",
        "",
        *(line for request in checked.requests for line in _request_lines(request)),
    ]
    parts += [
        "## What this does not show",
        "",
        *list_limits(),
        "## Definitions",
        "",
        *list_definitions(glossary(checked)),
    ]
    if checked.data_still_in:
        parts += ["## What still holds the forgotten data", "", *map(_format_item, checked.data_still_in), ""]
    return "\n".join([*parts, *_record_lines(checked)]).rstrip() + "\n"


def _request_lines(request: RequestSection) -> list[str]:
    summary = build_summary(request)
    answers = [f"- **{one.question}:** {escape(one.text)}" for one in summary.answers]
    head = [f"## {escape(request.description)}", "", f"**{escape(summary.verdict)}**", "", *answers, ""]
    below = [
        *_attack_lines(request),
        *_earlier_lines(request),
        *_budget_lines(request.budget),
        *_audit_lines(request.audit),
    ]
    return [*head, *figures_table(request), *below]


def _attack_lines(request: RequestSection) -> list[str]:
    table = attack_table(request)
    return [] if table is None else ["Membership attacks, with 95 % bootstrap intervals:", "", *_table_lines(table)]


def _earlier_lines(request: RequestSection) -> list[str]:
    table = earlier_requests_text.earlier_table(request)
    return [] if table is None else ["Accuracy on what earlier requests forgot:", "", *_table_lines(table)]


def _audit_lines(audit: AuditSection | None) -> list[str]:
    if audit is None:
        return []
    items = [_format_item(f"{fact.name}: {fact.text}") for fact in audit_text.audit_statements(audit)]
    layer_changes = audit_text.layer_table(audit)
    return ["**Audit.**", "", *items, "", *([] if layer_changes is None else _table_lines(layer_changes))]


def list_limits() -> list[str]:
    """Return what no report shows, as a list and an empty line."""
    return [*map(_format_item, NOT_SHOWN), ""]


def list_definitions(terms: Iterable[Term]) -> list[str]:
    """Return the definitions as a list and an empty line."""
    return [*(f"- **{escape(term.name)}**: {escape(f'{term.meaning} {term.aim}'.strip())}" for term in terms), ""]


def _format_item(sentence: str) -> str:
    return f"- {escape(sentence)}"


def _record_lines(document: ResultDocument) -> list[str]:
    disclosure = [escape(document.provenance), ""] if document.provenance else []
    fields = {"made": document.created, "command": document.command, **document.versions, **document.hardware}
    items = [_format_item(f"{name}: {value}") for name, value in fields.items() if value]
    return ["## How it was made", "", *disclosure, *map(_format_item, document.limitations), "", *items, ""]


def _budget_lines(budget: BudgetSection | None) -> list[str]:
    if budget is None:
        return []
    items = [f"- {escape(fact.name)}: {escape(fact.text)}" for fact in budget_statements(budget)]
    return [
        f"**Budget.** {escape(budget.summary)}",
        "",
        *items,
        "",
        *_frontier_lines(frontier_table(budget)),
        *_search_lines(search_table(budget)),
    ]


def _frontier_lines(table: TextTable | None) -> list[str]:
    return [] if table is None else ["The frontier that was reached:", "", *_table_lines(table)]


def _search_lines(search: SearchTable | None) -> list[str]:
    return [] if search is None else [escape(search.text), "", *_table_lines(search.trials)]


def _table_lines(table: TextTable) -> list[str]:
    rows = [_format_line([escape(text) for text in row]) for row in (table.heads, *table.rows)]
    return [
        rows[0],
        _format_line([":---" if table.is_named else "---:", *["---:"] * (len(table.heads) - 1)]),
        *rows[1:],
        "",
    ]


def _format_row(line: TableLine) -> str:
    label = escape(line.label)
    return _format_line([f"**{label}**" if line.best else label, *(cell.full_text for cell in line.cells)])


def _format_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
