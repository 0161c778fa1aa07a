"""The figures of the pages of results, by file name: which result they show, and how they are drawn from it.

Not a script: ``pages.py`` draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aims_tables import AIMS_FIGURES
from figures import Axes, Curve, chart, trade_off
from quadratic_figure import QUADRATIC_FIGURES

from expunge.report import pareto_figure

Document = Mapping[str, Any]


def panel(request: int, number: int) -> Callable[[Document], str]:
    """Return what draws one panel of a request's trade-off."""

    def draw(document: Document) -> str:
        panels = trade_off(document["requests"][request])
        return panels[min(number, len(panels) - 1)]

    return draw


def near(request: int, points: float) -> Callable[[Document], str]:
    """Return what draws the trade-off of the models whose test accuracy is within so many points of the retrained."""

    def draw(document: Document) -> str:
        whole = document["requests"][request]
        target = next(row for row in whole["rows"] if row["role"] == "retrained")["scores"]["ta"]["mean"]
        rows = [row for row in whole["rows"] if abs(row["scores"]["ta"]["mean"] - target) <= points]
        return trade_off({**whole, "rows": rows})[0]

    return draw


def cosine_course(kind: str, title: str) -> Callable[[Document], str]:
    """Return what draws the cosine of both gradients by epoch."""

    def draw(document: Document) -> str:
        curves = [
            Curve(
                row["variant"],
                [(float(k + 1), one["mean"], one["half_width"]) for k, one in enumerate(row["cosine_by_epoch"])],
            )
            for row in document["course"]
            if row["kind"] == kind
        ]
        return chart(Axes(title, "epoch", "cosine of both full gradients"), curves)

    return draw


def tolerance(kind: str, title: str) -> Callable[[Document], str]:
    """Return what draws UA and TA over the tolerance, explicit and implicit."""

    def draw(document: Document) -> str:
        curves = []
        for form in ("implicit", "explicit"):
            for name in ("ua", "ta"):
                points = [
                    (max(row["value"], 0.003), row[name]["mean"], row[name]["half_width"])
                    for row in document["rows"]
                    if (row["kind"], row["form"]) == (kind, form) and name in row
                ]
                curves.append(Curve(f"{form}: {name.upper()}", points))
        axes = Axes(title, "tolerance ε (leftmost: 0), logarithmic", "%", x_logarithmic=True)
        return chart(axes, curves)

    return draw


def front(request: int, utility: str) -> Callable[[Document], str]:
    """Return what draws a sweep of knobs."""

    def draw(document: Document) -> str:
        return pareto_figure(document["requests"][request], utility)

    return draw


FIGURES: Mapping[str, tuple[str, Callable[[Document], str]]] = {
    "compare-digits-class.svg": ("compare-digits.json", front(0, "ta")),
    "compare-digits-random.svg": ("compare-digits.json", front(1, "ta")),
    "methods-class.svg": ("methods-fashion-mnist.json", panel(0, 0)),
    "methods-class-close.svg": ("methods-fashion-mnist.json", panel(0, 1)),
    "methods-random.svg": ("methods-fashion-mnist.json", panel(1, 0)),
    "methods-random-close.svg": ("methods-fashion-mnist.json", near(1, 5.0)),
    "lookahead-class.svg": ("claim-lookahead.json", cosine_course("class", "Class 0: do the gradients align?")),
    "lookahead-random.svg": ("claim-lookahead.json", cosine_course("random", "Random 10 %: do the gradients align?")),
    "eupmu-class.svg": ("claim-eupmu.json", tolerance("class", "Class 0: sensitivity to ε")),
    "eupmu-random.svg": ("claim-eupmu.json", tolerance("random", "Random 10 %: sensitivity to ε")),
    **AIMS_FIGURES,
    **QUADRATIC_FIGURES,
}
