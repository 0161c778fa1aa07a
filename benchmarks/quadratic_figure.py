"""The figures of the quadratic study: KKT gaps beside their predicted slopes, and what noise makes of the bound.

Not a script: ``pages.py`` draws them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from figures import Axes, Curve, chart

from expunge.metrics.statistics import summarize

SHOWN = ("explicit", "implicit, β = 1 (default)", "as published, w_lr = 1", "fast, w_lr = 1")
EVERY = 20


def gaps(document: Mapping[str, Any]) -> str:
    """Return the KKT gap over updates at condition number 10; dots are predictions."""
    rows = {row["surgery"]: row for row in document["rates"] if row["condition"] == 10}
    curves = []
    for name in SHOWN:
        points = [(float(EVERY * at), gap) for at, gap in enumerate(rows[name]["curve"])]
        points = [(at, math.log10(gap)) for at, gap in points if gap > 1e-12]
        curves.append(Curve(name.removesuffix(" (default)"), [(at, gap, None) for at, gap in points]))
        if name.startswith(("explicit", "implicit")):
            first, factor = points[10], rows[name]["predicted"]
            dots = [at for at, _ in points[10::4]][:12]
            line = [(at, first[1] + (at - first[0]) * math.log10(factor), None) for at in dots]
            curves.append(Curve(f"{name.split(',')[0]}, predicted", line))
    return chart(Axes("Full data: the KKT gap", "updates", "log₁₀ ‖g_f + λ g_r‖"), curves)


def drifts(document: Mapping[str, Any]) -> str:
    """Return the rise of L_r under noise, mean and 95 % interval over seeds; straight lines are predictions."""
    updates, curves = document["noise"]["updates"], []
    for row in document["noisy"]:
        if row["rate"] != document["rate"] or row["share"] not in (0.0, 0.5):
            continue
        columns = list(zip(*row["curves"], strict=True))
        found = [summarize([1e3 * value for value in column]) for column in columns]
        name = row["surgery"] if row["surgery"] == "explicit" else f"implicit, {row['surgery']}"
        curves.append(
            Curve(name, [(at * updates / 10, one.mean or 0.0, one.half_width) for at, one in enumerate(found)])
        )
        curves.append(
            Curve(
                f"{row['surgery']}, predicted",
                [(0.0, 0.0, None), (updates, 1e3 * updates * row["leak"]["predicted"], None)],
            )
        )
    return chart(Axes("Noisy gradients, from the solution", "updates", "rise of L_r, thousandths"), curves)


QUADRATIC_FIGURES = {
    "eupmu-quadratic-gap.svg": ("eupmu-quadratic.json", gaps),
    "eupmu-quadratic-noise.svg": ("eupmu-quadratic.json", drifts),
}
