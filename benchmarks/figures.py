"""Figures for the pages of results, as SVG files: the report's own trade-off, and curves with intervals.

Not a script. They are charts of ``expunge.report.figures``, so that pages and reports look alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from expunge.report.chart import Chart, draw_legend
from expunge.report.document import read_request
from expunge.report.svg import render_chart
from expunge.report.tradeoff import SERIES_COLORS, build_tradeoff_chart


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


def trade_off(request: Mapping[str, Any]) -> list[str]:
    """Return the report's trade-off of a request and its close-up, if there is one, each an SVG file's text."""
    section = read_request(request)
    charts = (build_tradeoff_chart(section), build_tradeoff_chart(section, close_up=True))
    return [render_chart(one, "svg", one.title).decode() for one in charts if one is not None]


def chart(axes: Axes, curves: Sequence[Curve]) -> str:
    """Return curves with error bars as the text of an SVG file."""
    drawn = Chart("curves", axes.title, partial(draw, axes=axes, curves=curves), height=250, width=560, right=160)
    return render_chart(drawn, "svg", axes.title).decode()


def draw(ax: Any, *, axes: Axes, curves: Sequence[Curve]) -> None:
    """Draw curves with their intervals; those of many points without."""
    legend = []
    for number, curve in enumerate(curves):
        color = SERIES_COLORS[number % len(SERIES_COLORS)]
        x, y, halves = zip(*curve.points, strict=True)
        few = len(x) <= 12
        (line,) = ax.plot(x, y, "o-" if few else "-", color=color, lw=1.6, ms=5)
        if few:
            ax.errorbar(x, y, [half or 0.0 for half in halves], fmt="none", color=color, elinewidth=1)
        legend.append((curve.name, line))
    ax.set(xlabel=axes.x_name, ylabel=axes.y_name, xscale="log" if axes.x_logarithmic else "linear")
    if axes.x_logarithmic:
        ax.xaxis.set_major_formatter("{x:g}")
    draw_legend(ax, legend, beside=True)
