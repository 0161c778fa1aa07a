"""The report as one HTML file that needs nothing else: no network, no fonts, no scripts from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from expunge.report import audit_words
from expunge.report.audit_part import AuditPart
from expunge.report.budget_figure import Track, tracks
from expunge.report.budget_part import BudgetPart
from expunge.report.budget_words import Fact, Listing, facts, frontier
from expunge.report.classes import Classes, classes
from expunge.report.contact import Sheet, sheet
from expunge.report.document import Document, Request, read_document
from expunge.report.gaps import Gaps, gaps
from expunge.report.glossary import glossary
from expunge.report.grid import Drawn, grids
from expunge.report.headline import ranked
from expunge.report.numbers import count, tie
from expunge.report.scatter import Scatter, scatters
from expunge.report.search_words import Tried, tried
from expunge.report.table import Table, build_table
from expunge.report.telemetry import Strip, telemetry
from expunge.report.words import NOT_SHOWN, Brief, brief
from expunge.weights import replacing


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
    attacks: Listing | None
    layers: Listing | None


@dataclass(frozen=True)
class Section:
    """All of one request that the page shows."""

    anchor: str
    request: Request
    brief: Brief
    table: Table
    scatters: tuple[Scatter, ...]
    gaps: Gaps | None
    classes: Classes | None
    telemetry: tuple[Strip, ...]
    sheet: Sheet | None
    grids: tuple[Drawn, ...]
    settings: tuple[tuple[str, str, str], ...]
    spent: Spent | None
    audited: Audited | None


def section(request: Request, number: int) -> Section:
    """Return everything that the page shows about the request with this number."""
    return Section(
        f"request-{number}",
        request,
        brief(request),
        build_table(request),
        scatters(request),
        gaps(request),
        classes(request),
        telemetry(request),
        sheet(request),
        grids(request),
        tuple((row.label, row.paper, _settings(row.settings)) for row in ranked(request)),
        _spent(request.budget),
        _audited(request.audit),
    )


def _spent(budget: BudgetPart | None) -> Spent | None:
    if budget is None:
        return None
    return Spent(budget.sentence, facts(budget), tracks(budget), frontier(budget), tried(budget))


def _audited(audit: AuditPart | None) -> Audited | None:
    if audit is None:
        return None
    return Audited(audit_words.facts(audit), audit_words.attacks(audit), audit_words.layers(audit))


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
    pages = Environment(
        loader=PackageLoader("expunge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(count=count, tie=tie)
    style, script = _source(pages, "report.css"), _source(pages, "report.js")
    return pages.get_template("report.html").render(
        document=checked,
        sections=[section(request, number) for number, request in enumerate(checked.requests, start=1)],
        terms=glossary(checked),
        anchors=_anchors(checked),
        not_shown=NOT_SHOWN,
        style=style,
        script=script,
        policy=_policy(style, script),
    )


def _source(pages: Environment, name: str) -> Markup:
    """Return a file of this package as it is; never anything from a document."""
    loader = pages.loader
    return Markup("" if loader is None else loader.get_source(pages, name)[0])


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _anchors(document: Document) -> dict[str, str]:
    """Return metric key → anchor of its definition, free of any character of the key itself."""
    keys = dict.fromkeys(metric.key for request in document.requests for metric in request.columns)
    return {key: f"term-{number}" for number, key in enumerate(keys, start=1)}


def write_report(document: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the report to ``path``, whole or not at all, and return the path.

    Args:
        document: The result document (schema 1).
        path: The HTML file; its folder is made if there is none, an older file is replaced.

    Raises:
        DataError: If the document has another schema or lacks something; ``path`` is then left as it was.
        CheckpointError: If the file cannot be written.
    """
    page, target = render(document), Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, overwrite=True) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return target
