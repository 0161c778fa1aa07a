"""The figures of a report as files of their own: SVG, and PNG where the extra is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from expunge.errors import MissingExtraError, escape_controls
from expunge.report.budget_figure import BudgetPanel, budget_panels
from expunge.report.class_figure import ClassFigure, build_class_figure
from expunge.report.document import RequestSection, read_document
from expunge.report.drawing import LegendKey
from expunge.report.gap_figure import GapFigure, build_gap_figure
from expunge.report.scatter import Scatter, scatter_panels
from expunge.report.templating import get_environment, read_source, resolve_variables
from expunge.report.training_curves import CurvePanel, build_panel_rows

Figure = Scatter | GapFigure | ClassFigure | BudgetPanel | CurvePanel

TITLE_HEIGHT, LINE_HEIGHT, LETTER_WIDTH, MARGIN = 34, 18, 6.6, 18
"""Pixels: height of the title, of a line of the legend, width of a letter there, room on both sides."""
PNG_SCALE = 2
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
        f"request-{number}-{name}": render_svg(figure, title)
        for number, request in enumerate(requests, start=1)
        for name, title, figure in iter_figures(request)
    }


def iter_figures(request: RequestSection) -> Iterator[tuple[str, str, Figure]]:
    """Yield name, title and drawing of each figure of a request."""
    for number, panel in enumerate(scatter_panels(request)):
        yield ("trade-off", "trade-off-close-up")[number], panel.title, panel
    for name, figure in (("gaps", build_gap_figure(request)), ("classes", build_class_figure(request))):
        if figure is not None:
            yield name, figure.title, figure
    for number, track in enumerate(() if request.budget is None else budget_panels(request.budget), start=1):
        yield f"budget-{number}", track.title, track
    for row_number, strip in enumerate(build_panel_rows(request), start=1):
        for number, one in enumerate(strip.panels, start=1):
            yield f"steps-{row_number}-{number}", f"{strip.label}: {one.title}", one


def render_svg(figure: Figure, title: str) -> str:
    """Return a figure as the text of an SVG file."""
    keys, lines = place_legend(figure.keys, figure.frame.wide)
    style = resolve_variables(read_source("figure.css"), read_source("report.css"))
    letters = int((figure.frame.wide - MARGIN) / (LETTER_WIDTH + 1))
    text = (
        get_environment()
        .get_template("figure.svg")
        .render(
            figure=figure,
            whole=title,
            title=title if len(title) <= letters else f"{title[: letters - 1]}…",
            style=style,
            keys=keys,
            head=TITLE_HEIGHT + LINE_HEIGHT * lines,
        )
    )
    return re.sub(r"\n\s*\n+", "\n", escape_controls(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))).lstrip()


def place_legend(keys: tuple[LegendKey, ...], width: float) -> tuple[list[tuple[LegendKey, float, float]], int]:
    """Return each line of a legend with its place, and how many lines of text they fill."""
    placed, x, lines = [], float(MARGIN), int(bool(keys))
    for key in keys:
        key_width = 11 + LETTER_WIDTH * len(key.text) + MARGIN
        if x + key_width > width and x > MARGIN:
            x, lines = float(MARGIN), lines + 1
        placed.append((key, round(x, 1), float(TITLE_HEIGHT + LINE_HEIGHT * lines - 14)))
        x += key_width
    return placed, lines


def render_png(text: str) -> bytes:
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
    return bytes(svg_to_bytes(svg_string=text, zoom=PNG_SCALE))
