"""Figures for the pages of results, as SVG files: the report's own scatter, and curves with intervals.

Not a script. The geometry is the report's (``expunge.report.drawing``), so that pages and reports look alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from expunge.report.document import read_request
from expunge.report.drawing import Scale, pad_range
from expunge.report.figure_files import render_svg
from expunge.report.scatter import scatter_panels

COLOURS = ("#0a5a94", "#ad4208", "#4c7a34", "#7a4a94", "#8a6d00", "#575c63", "#b03060", "#00857a")
STYLE = """<style>
svg { background: #fdfdfb } text { font-family: system-ui, sans-serif; fill: #1b1d20 }
.tick { font-size: 11px; fill: #575c63 } .axis-name { font-size: 12px; fill: #575c63 }
.title { font-size: 13px; font-weight: 600 } .grid { stroke: #e8e8e3 } .axis { stroke: #7b8087 }
</style>"""


@dataclass(frozen=True)
class Curve:
    """A named line: (x, y, half an interval or None), ordered by x."""

    name: str
    points: Sequence[tuple[float, float, float | None]]


@dataclass(frozen=True)
class Axes:
    """What a figure of curves shows."""

    title: str
    x_name: str
    y_name: str
    x_logarithmic: bool = False
    y_logarithmic: bool = False


def trade_off(request: Mapping[str, Any]) -> list[str]:
    """Return the report's trade-off panels of a request, each an SVG file's text."""
    return [render_svg(panel, panel.title) for panel in scatter_panels(read_request(request))]


def chart(axes: Axes, curves: Sequence[Curve]) -> str:
    """Return curves with error bars as the text of an SVG file."""
    wide, left, right, top = 560, 64, 400, 34
    bottom, high = 300, 344
    xs = [x for curve in curves for x, _, _ in curve.points]
    ys = [y + side * (half or 0) for curve in curves for _, y, half in curve.points for side in (-1, 1)]
    if axes.y_logarithmic:
        ys = [y for curve in curves for _, y, _ in curve.points]
    x = Scale(*ends(xs, axes.x_logarithmic), left, right, axes.x_logarithmic)
    y = Scale(*ends(ys, axes.y_logarithmic), bottom, top, axes.y_logarithmic)
    parts = [f'<text class="title" x="{left}" y="18">{escape(axes.title)}</text>']
    for tick in x.ticks(6):
        parts.append(f'<line class="grid" x1="{tick.at}" x2="{tick.at}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{tick.at}" y="{bottom + 17}" text-anchor="middle">{tick.text}</text>')
    for tick in y.ticks(6):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{tick.at}" y2="{tick.at}"/>')
        parts.append(f'<text class="tick" x="{left - 7}" y="{tick.at + 4}" text-anchor="end">{tick.text}</text>')
    parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<line class="axis" x1="{left}" x2="{left}" y1="{top}" y2="{bottom}"/>')
    middle = (left + right) / 2, (top + bottom) / 2
    parts.append(
        f'<text class="axis-name" x="{middle[0]}" y="{high - 8}" text-anchor="middle">{escape(axes.x_name)}</text>'
    )
    turned = f'transform="translate(15 {middle[1]}) rotate(-90)"'
    parts.append(f'<text class="axis-name" {turned} text-anchor="middle">{escape(axes.y_name)}</text>')
    for number, curve in enumerate(curves):
        parts += drawn(curve, COLOURS[number % len(COLOURS)], x, y)
        parts += key(curve.name, COLOURS[number % len(COLOURS)], right + 16, top + 12 + 20 * number)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img">{STYLE}'
    return "\n".join([head, f"<title>{escape(axes.title)}</title>", *parts, "</svg>"]) + "\n"


def ends(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    """Return the ends of an axis."""
    if not logarithmic:
        return pad_range(values)
    low, high = min(values), max(values)
    return (low / 1.2, high * 1.2) if high / low < 1e9 else (high / 1e9, high * 1.2)


def drawn(curve: Curve, colour: str, x: Scale, y: Scale) -> list[str]:
    """Return one curve with its points and intervals."""
    path = " ".join(f"{'M' if number == 0 else 'L'}{x(a)} {y(b)}" for number, (a, b, _) in enumerate(curve.points))
    parts = [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>']
    for a, b, half in curve.points if len(curve.points) <= 12 else []:
        parts.append(f'<circle cx="{x(a)}" cy="{y(b)}" r="3" fill="{colour}"/>')
        if half:
            parts.append(f'<line x1="{x(a)}" x2="{x(a)}" y1="{y(b - half)}" y2="{y(b + half)}" stroke="{colour}"/>')
    return parts


def key(name: str, colour: str, left: float, at: float) -> list[str]:
    """Return one line of the legend."""
    mark = f'<line x1="{left}" x2="{left + 16}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2.5"/>'
    return [mark, f'<text class="tick" x="{left + 22}" y="{at + 4}">{escape(name)}</text>']
