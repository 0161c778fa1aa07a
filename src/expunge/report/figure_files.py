"""The figures of a report as files of their own: SVG, and PNG where the extra is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from expunge.errors import MissingExtraError, printable
from expunge.report.budget_figure import Track, tracks
from expunge.report.classes import Classes, classes
from expunge.report.document import Request, read_document
from expunge.report.drawing import Key
from expunge.report.gaps import Gaps, gaps
from expunge.report.pages import pages, resolved, source
from expunge.report.scatter import Scatter, scatters
from expunge.report.telemetry import Panel, telemetry

Figure = Scatter | Gaps | Classes | Track | Panel

TITLE, LINE, LETTER, MARGIN = 34, 18, 6.6, 18
"""Pixels: height of the title, of a line of the legend, width of a letter there, room on both sides."""
ZOOM = 2
"""Pixels of a PNG for each of the drawing."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg_figures(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures of a result document, each the text of an SVG file, by name.

    They are drawn in the light theme, with title and legend, and name no font or file from elsewhere. The names, such
    as ``request-1-gaps``, hold nothing of the document.

    Args:
        document: The result document (schema 1).

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    requests = read_document(document).requests
    return {
        f"request-{number}-{name}": svg(figure, title)
        for number, request in enumerate(requests, start=1)
        for name, title, figure in named(request)
    }


def named(request: Request) -> Iterator[tuple[str, str, Figure]]:
    """Yield name, title and drawing of each figure of a request."""
    for number, panel in enumerate(scatters(request)):
        yield ("trade-off", "trade-off-close-up")[number], panel.title, panel
    for name, figure in (("gaps", gaps(request)), ("classes", classes(request))):
        if figure is not None:
            yield name, figure.title, figure
    for number, track in enumerate(() if request.budget is None else tracks(request.budget), start=1):
        yield f"budget-{number}", track.title, track
    for place, strip in enumerate(telemetry(request), start=1):
        for number, one in enumerate(strip.panels, start=1):
            yield f"steps-{place}-{number}", f"{strip.label}: {one.title}", one


def svg(figure: Figure, title: str) -> str:
    """Return a figure as the text of an SVG file."""
    keys, lines = legend(figure.keys, figure.frame.wide)
    style = resolved(source("figure.css"), source("report.css"))
    letters = int((figure.frame.wide - MARGIN) / (LETTER + 1))
    text = (
        pages()
        .get_template("figure.svg")
        .render(
            figure=figure,
            whole=title,
            title=title if len(title) <= letters else f"{title[: letters - 1]}…",
            style=style,
            keys=keys,
            head=TITLE + LINE * lines,
        )
    )
    return re.sub(r"\n\s*\n+", "\n", printable(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))).lstrip()


def legend(keys: tuple[Key, ...], wide: float) -> tuple[list[tuple[Key, float, float]], int]:
    """Return each line of a legend with its place, and how many lines of text they fill."""
    placed, x, lines = [], float(MARGIN), int(bool(keys))
    for key in keys:
        room = 11 + LETTER * len(key.text) + MARGIN
        if x + room > wide and x > MARGIN:
            x, lines = float(MARGIN), lines + 1
        placed.append((key, round(x, 1), float(TITLE + LINE * lines - 14)))
        x += room
    return placed, lines


def png(text: str) -> bytes:
    """Return an SVG figure as PNG, twice its size.

    Args:
        text: What ``svg_figures`` gives.

    Raises:
        MissingExtraError: If resvg is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise MissingExtraError("figures as PNG", "resvg_py", "png") from error
    return bytes(svg_to_bytes(svg_string=text, zoom=ZOOM))
