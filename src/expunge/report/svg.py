"""Figures as SVG: inside a page with the page's own colors, and as files of their own in SVG, PNG and PDF."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as Tree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from expunge.report.chart import EXPLAINED, Chart, clean_text, get_plot_style
from expunge.report.document import RequestSection, read_document
from expunge.report.figures import build_budget_charts, build_history_charts, build_request_charts
from expunge.report.ranking import rank_methods
from expunge.report.templating import read_palette
from expunge.report.tradeoff import build_pareto_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE_FORMATS = ("svg", "png", "pdf")
"""What a figure can be written as."""
_NO_METADATA: dict[str, dict[str, Any]] = {
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "png": {"Software": None},
    "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
}
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"


@dataclass(frozen=True)
class PageFigure:
    """A figure in a page: its caption, its ``<svg>`` element, and a note under it."""

    title: str
    svg: Markup
    note: str


def embed(chart: Chart, anchor: str) -> PageFigure:
    """Return a figure for a page: colors are the page's variables, and every id begins with ``anchor``."""
    from matplotlib.figure import Figure

    variables = {color: f"var(--{name})" for name, color in reversed(read_palette().items())}
    root = build_svg(chart.make_axes(Figure), chart.title, anchor)
    for element in root.iter():
        for name in ("fill", "stroke"):
            if name in element.attrib:
                element.set(name, variables.get(element.attrib[name], element.attrib[name]))
        element.attrib.pop("font-family", None)
    for name in ("width", "height"):
        del root.attrib[name]
    return PageFigure(chart.title, Markup(Tree.tostring(root, encoding="unicode")), chart.note)


def build_svg(axes: Axes, title: str, anchor: str) -> Tree.Element:
    """Return the ``<svg>`` element of drawn axes, without style sheet and style attributes, which pages may forbid.

    The words that an artist has become the ``<title>`` of its element; all of them are the description of the whole.
    """
    explained = [artist for artist in axes.get_children() if str(artist.get_gid()).startswith(EXPLAINED)]
    for number, artist in enumerate(explained):
        artist.set_gid(f"{EXPLAINED}-{number}")
    words = {str(artist.get_gid()): str(artist.get_label())[1:] for artist in explained}
    root = Tree.fromstring(_save(axes, "svg"))
    links = {name for element in root.iter() for name in re.findall(r"#([\w-]+)", " ".join(element.attrib.values()))}
    for element in root.iter():
        element.tag, element.text, element.tail = element.tag.rpartition("}")[2], (element.text or "").strip(), "\n"
        for child in [one for one in element if one.tag.rpartition("}")[2] in ("style", "metadata")]:
            element.remove(child)
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        if "d" in element.attrib:
            element.set("d", " ".join(element.attrib["d"].split()))
        for declaration in filter(None, element.attrib.pop("style", "").split("; ")):
            name, _, value = declaration.partition(": ")
            element.set(name, _FONT if name == "font-family" else value)
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if element.get("id") in words:
            element.insert(0, _element("title", words[element.attrib["id"]]))
        if element.get("id") not in links:
            element.attrib.pop("id", None)
        for name in ("id", "href", "clip-path"):
            if name in element.attrib:
                element.set(name, re.sub(r"^(url\(#|#|)", rf"\g<1>{anchor}-", element.attrib[name]))
    root.insert(0, _element("title", clean_text(title, 1000), id=f"{anchor}-title"))
    root.insert(1, _element("desc", f"{'; '.join(words.values())}.", id=f"{anchor}-desc"))
    root.attrib |= {"class": "drawing", "role": "img", "aria-labelledby": f"{anchor}-title {anchor}-desc"}
    return root


def _element(tag: str, text: str, **attributes: str) -> Tree.Element:
    element = Tree.Element(tag, attributes)
    element.text = text
    return element


def svg_figures(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures of a result document, each the text of an SVG file, by name.

    They are drawn in the light theme, with title and legend, and name no font or file from elsewhere. The names, such
    as ``request-1-gaps``, hold nothing of the document.

    Args:
        document: The result document (schema 2).

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    return {name: content.decode() for name, content in render_figures(document, "svg").items()}


def render_figures(document: Mapping[str, Any], file_format: str) -> dict[str, bytes]:
    """Return the content of a file for each figure of a result document, by name without a suffix."""
    return {
        f"request-{number}-{name}": render_chart(chart, file_format, title)
        for number, request in enumerate(read_document(document).requests, start=1)
        for name, title, chart in _iter_charts(request)
    }


def _iter_charts(request: RequestSection) -> Iterator[tuple[str, str, Chart]]:
    for chart in (
        *build_request_charts(request),
        *(() if request.budget is None else build_budget_charts(request.budget)),
    ):
        yield chart.name, chart.title, chart
    for number, row in enumerate(rank_methods(request), start=1):
        for chart in build_history_charts(row):
            yield f"history-{number}-{chart.name}", f"{row.label}: {chart.title}", chart


def render_chart(chart: Chart, file_format: str, title: str, anchor: str = "figure") -> bytes:
    """Return the bytes of a figure that stands alone; the same figure always has the same bytes."""
    from matplotlib.figure import Figure

    axes = chart.make_axes(Figure, title)
    if file_format != "svg":
        return _save(axes, file_format)
    root = build_svg(axes, title, anchor)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    return Tree.tostring(root, encoding="unicode").encode() + b"\n"


def pareto_figure(request: Mapping[str, Any], utility: str = "ta") -> str:
    """Return a sweep as the text of an SVG file: forgetting across, utility upwards, each method's points in a line.

    Args:
        request: An element of the ``requests`` of a comparison.
        utility: ``ta`` or ``ra``.
    """
    chart = build_pareto_chart(request, utility)
    return render_chart(chart, "svg", chart.title).decode()


def _save(axes: Axes, file_format: str) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    figure: Any = axes.get_figure()
    with rc_context(get_plot_style()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format=file_format, metadata=_NO_METADATA[file_format])
    return buffer.getvalue()
