"""The report as one HTML file that needs nothing else: no network, no fonts, no scripts from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expunge.formatting import format_count
from expunge.report import audit_text
from expunge.report.attacks import attack_table
from expunge.report.audit_schema import AuditSection
from expunge.report.budget_schema import BudgetSection
from expunge.report.budget_text import Statement, TextTable, budget_statements, frontier_table
from expunge.report.document import RequestSection, read_document
from expunge.report.earlier_requests_text import earlier_table as listing_of_earlier
from expunge.report.example_grid import ExampleGrid, example_grid
from expunge.report.figures import (
    build_budget_charts,
    build_history_charts,
    build_request_charts,
    get_class_accuracy,
    list_classes,
)
from expunge.report.glossary import glossary
from expunge.report.image_grid import ImageGridView, build_image_grids
from expunge.report.links import GlossaryLinks
from expunge.report.numbers import format_metric
from expunge.report.ranking import rank_methods
from expunge.report.search_text import SearchTable, search_table
from expunge.report.summary import NOT_SHOWN, RequestSummary, build_summary
from expunge.report.svg import PageFigure, embed
from expunge.report.table import Table, build_table
from expunge.report.templating import get_environment, read_source


@dataclass(frozen=True)
class BudgetView:
    """All that the page shows about a budget."""

    sentence: str
    facts: tuple[Statement, ...]
    figures: list[PageFigure]
    frontier: TextTable | None
    tried: SearchTable | None


@dataclass(frozen=True)
class MethodHistory:
    """What each update of a method was like."""

    label: str
    steps: int
    figures: list[PageFigure]


@dataclass(frozen=True)
class AuditView:
    """All that the page shows of an audit."""

    facts: tuple[Statement, ...]
    layers: TextTable | None


@dataclass(frozen=True)
class RequestView:
    """All of one request that the page shows."""

    anchor: str
    request: RequestSection
    brief: RequestSummary
    table: Table
    sizes: str
    figures: list[PageFigure]
    classes: TextTable | None
    history: list[MethodHistory]
    sheet: ExampleGrid | None
    grids: tuple[ImageGridView, ...]
    settings: tuple[tuple[str, str, str], ...]
    spent: BudgetView | None
    audited: AuditView | None
    attacks: TextTable | None
    earlier: TextTable | None


def build_request_view(request: RequestSection, number: int) -> RequestView:
    """Return everything that the page shows about the request with this number."""
    anchor = f"request-{number}"
    return RequestView(
        anchor,
        request,
        build_summary(request),
        build_table(request),
        describe_sizes(request),
        [embed(chart, f"{anchor}-{chart.name}") for chart in build_request_charts(request)],
        _build_class_table(request),
        _build_history(request, anchor),
        example_grid(request),
        build_image_grids(request),
        tuple((row.label, row.paper, _format_settings(row.settings)) for row in rank_methods(request)),
        _build_budget_view(request.budget, anchor),
        _build_audit_view(request.audit),
        attack_table(request),
        listing_of_earlier(request),
    )


def describe_sizes(request: RequestSection) -> str:
    """Return how many examples and seeds there are, and whether there is a reference, in one line."""
    size_words = ((request.sizes.forget, "examples to forget"), (request.sizes.retain, "to keep"))
    counts = ", ".join(
        f"{format_count(number)} {what}"
        for number, what in (*size_words, (request.sizes.test, "to test on"))
        if number is not None
    )
    seeds = f"seed{'' if len(request.measured) == 1 else 's'} {', '.join(map(str, request.measured))}"
    return f"{counts} · {seeds} · {'compared with retraining' if request.retrained else 'no retrained reference'}"


def _build_class_table(request: RequestSection) -> TextTable | None:
    names = list_classes(request)
    rows = [
        (row.label, *(format_metric(get_class_accuracy(row, index), "%", 1) for index in range(len(names))))
        for row in request.rows
        if row.per_class
    ]
    return TextTable(("Model", *names), tuple(rows), True) if rows else None


def _build_history(request: RequestSection, anchor: str) -> list[MethodHistory]:
    return [
        MethodHistory(
            row.label,
            row.history[-1].step + 1,
            [embed(chart, f"{anchor}-history-{number}-{chart.name}") for chart in charts],
        )
        for number, row in enumerate(rank_methods(request), start=1)
        if (charts := build_history_charts(row))
    ]


def _build_budget_view(budget: BudgetSection | None, anchor: str) -> BudgetView | None:
    if budget is None:
        return None
    figures = [embed(chart, f"{anchor}-{chart.name}") for chart in build_budget_charts(budget)]
    return BudgetView(budget.summary, budget_statements(budget), figures, frontier_table(budget), search_table(budget))


def _build_audit_view(audit: AuditSection | None) -> AuditView | None:
    if audit is None:
        return None
    return AuditView(audit_text.audit_statements(audit), audit_text.layer_table(audit))


def _format_settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def render_html(document: Mapping[str, Any]) -> str:
    """Return the report of a result document as one self-contained HTML page.

    Text from the document is data: all of it is escaped, and pictures are let through only as PNG data URLs. The
    page's policy allows its own style sheet and script, by their hashes, and nothing else.

    Args:
        document: The result document (schema 2), as parsed from ``result.json``.

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    checked = read_document(document)
    style, script, terms = (
        read_source("report.css"),
        read_source("report.js"),
        glossary(checked),
    )
    return (
        get_environment()
        .get_template("report.html")
        .render(
            document=checked,
            sections=[build_request_view(request, number) for number, request in enumerate(checked.requests, start=1)],
            terms=terms,
            anchors={term.key: term.anchor for term in terms if term.key},
            links=GlossaryLinks(terms),
            not_shown=NOT_SHOWN,
            style=style,
            script=script,
            policy=_policy(style, script),
        )
    )


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
