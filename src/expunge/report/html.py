"""The report as one HTML file that needs nothing else: no network, no fonts, no scripts from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expunge.formatting import format_count
from expunge.report import audit_words
from expunge.report.attacks import attacks
from expunge.report.audit_part import AuditPart
from expunge.report.budget_figure import Track, tracks
from expunge.report.budget_part import BudgetPart
from expunge.report.budget_words import Fact, Listing, facts, frontier
from expunge.report.classes import Classes, classes
from expunge.report.contact import Sheet, sheet
from expunge.report.document import Request, read_document
from expunge.report.earlier_words import listing as listing_of_earlier
from expunge.report.gaps import Gaps, gaps
from expunge.report.glossary import glossary
from expunge.report.grid import Drawn, grids
from expunge.report.headline import ranked
from expunge.report.links import Links
from expunge.report.pages import pages, source
from expunge.report.scatter import Scatter, scatters
from expunge.report.search_words import Tried, tried
from expunge.report.table import Table, build_table
from expunge.report.telemetry import Strip, telemetry
from expunge.report.words import NOT_SHOWN, Brief, brief


@dataclass(frozen=True)
class Spent:
    """All that the page shows about a budget."""

    sentence: str
    facts: tuple[Fact, ...]
    tracks: tuple[Track, ...]
    frontier: Listing | None
    tried: Tried | None


@dataclass(frozen=True)
class Audited:
    """All that the page shows of an audit."""

    facts: tuple[Fact, ...]
    layers: Listing | None


@dataclass(frozen=True)
class Section:
    """All of one request that the page shows."""

    anchor: str
    request: Request
    brief: Brief
    table: Table
    sizes: str
    figures: tuple[Scatter | Gaps | Classes, ...]
    classes: Classes | None
    telemetry: tuple[Strip, ...]
    sheet: Sheet | None
    grids: tuple[Drawn, ...]
    settings: tuple[tuple[str, str, str], ...]
    spent: Spent | None
    audited: Audited | None
    attacks: Listing | None
    earlier: Listing | None


def section(request: Request, number: int) -> Section:
    """Return everything that the page shows about the request with this number."""
    by_class, distances = classes(request), gaps(request)
    drawn = (*scatters(request), distances, by_class)
    return Section(
        f"request-{number}",
        request,
        brief(request),
        build_table(request),
        sizes(request),
        tuple(figure for figure in drawn if figure is not None),
        by_class,
        telemetry(request),
        sheet(request),
        grids(request),
        tuple((row.label, row.paper, _settings(row.settings)) for row in ranked(request)),
        _spent(request.budget),
        _audited(request.audit),
        attacks(request),
        listing_of_earlier(request),
    )


def sizes(request: Request) -> str:
    """Return how many examples and seeds there are, and whether there is a reference, in one line."""
    given = ((request.sizes.forget, "examples to forget"), (request.sizes.retain, "to keep"))
    counts = ", ".join(
        f"{format_count(number)} {what}"
        for number, what in (*given, (request.sizes.test, "to test on"))
        if number is not None
    )
    seeds = f"seed{'' if len(request.measured) == 1 else 's'} {', '.join(map(str, request.measured))}"
    return f"{counts} · {seeds} · {'compared with retraining' if request.reference else 'no retrained reference'}"


def _spent(budget: BudgetPart | None) -> Spent | None:
    if budget is None:
        return None
    return Spent(budget.sentence, facts(budget), tracks(budget), frontier(budget), tried(budget))


def _audited(audit: AuditPart | None) -> Audited | None:
    if audit is None:
        return None
    return Audited(audit_words.facts(audit), audit_words.layers(audit))


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())


def render(document: Mapping[str, Any]) -> str:
    """Return the report of a result document as one self-contained HTML page.

    Text from the document is data: all of it is escaped, and pictures are let through only as PNG data URLs. The
    page's policy allows its own style sheet and script, by their hashes, and nothing else.

    Args:
        document: The result document (schema 1), as parsed from ``result.json``.

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    checked = read_document(document)
    style, script, terms = source("report.css") + source("figure.css"), source("report.js"), glossary(checked)
    return (
        pages()
        .get_template("report.html")
        .render(
            document=checked,
            sections=[section(request, number) for number, request in enumerate(checked.requests, start=1)],
            terms=terms,
            anchors={term.key: term.anchor for term in terms if term.key},
            links=Links(terms),
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
