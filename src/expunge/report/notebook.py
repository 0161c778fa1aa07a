"""A result in a notebook's cell and in a console: a few lines, a table and a figure, from the result document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from expunge.report.chart import Chart
from expunge.report.document import RequestSection, read_document
from expunge.report.figures import build_history_charts
from expunge.report.ranking import best_method
from expunge.report.summary import build_summary
from expunge.report.svg import render_chart
from expunge.report.table import build_table
from expunge.report.templating import get_environment
from expunge.report.tradeoff import build_tradeoff_chart


def render_cell(document: Mapping[str, Any]) -> str:
    """Return a result as HTML for a notebook's cell: what was found, the table, and one figure.

    The figure is the trade-off, without measured models the losses. All text is escaped.

    Args:
        document: The result document (schema 2).

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    request = read_document(document).requests[0]
    chart = _choose_chart(request)
    svg = "" if chart is None else render_chart(chart, "svg", chart.title, _make_anchor(document)).decode()
    template = get_environment().get_template("cell.html")
    return template.render(request=request, brief=build_summary(request), table=build_table(request), svg=svg)


def summarize(document: Mapping[str, Any]) -> str:
    """Return a measured result in five lines: the request, the verdict, forgetting, cost, and how sure that is.

    Args:
        document: The result document (schema 2).

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    request = read_document(document).requests[0]
    brief = build_summary(request)
    answers = {answer.question: answer.text for answer in brief.answers}
    names = {"Forgotten": "Was it forgotten", "Cost": "What it cost", "Certainty": "How sure is this"}
    lines = [f"{name}: {answers[question]}" for name, question in names.items()]
    return "\n".join([request.description, f"Verdict: {brief.verdict}.", *lines])


def _choose_chart(request: RequestSection) -> Chart | None:
    row = best_method(request)
    return build_tradeoff_chart(request) or next(iter([] if row is None else build_history_charts(row)), None)


def _make_anchor(document: Mapping[str, Any]) -> str:
    """Return what the ids of a figure begin with: cells of one notebook are one page."""
    return f"expunge-{hashlib.sha256(repr(document).encode()).hexdigest()[:8]}"
