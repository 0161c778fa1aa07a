"""The tables of the quadratic study. Not a script: ``pages.py`` calls it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from expunge.report.numbers import ABSENT, format_metric

Row = Mapping[str, Any]


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is on the left."""
    ruler = [":---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ruler, *rows))


def slowness(factor: float | None) -> str:
    """Return a factor as the rate −ln, in e-folds per thousand updates."""
    if factor is None:
        return ABSENT
    return "unstable" if factor > 1 else format_metric(-1000 * math.log(factor), places=1)


def thousandths(value: float | None) -> str:
    """Return a rise of the loss in thousandths."""
    return ABSENT if value is None else format_metric(1000 * value, places=2)


def rates(document: Row) -> str:
    """Return the table of rates and limits."""
    heads = ["surgery", "condition", "rate, predicted", "rate, measured", "rise, predicted", "rise, measured"]
    heads += ["λ at the end", "late gap / first"]
    rows = [
        [
            row["surgery"],
            str(row["condition"]),
            ("≤ " if row["surgery"].startswith(("as published", "fast")) else "") + slowness(row["predicted"]),
            slowness(row["measured"]),
            ABSENT if (row["predicted"] or 0) > 1 else thousandths(row["limit"]["rise"]),
            thousandths(row["rise"]),
            format_metric(row["multiplier"], places=2),
            f"{row['late_gap'] / row['first_gap']:.0e}",
        ]
        for row in document["rates"]
    ]
    return grid(heads, rows)


def halvings(document: Row) -> str:
    """Return the table of limits over the learning rate."""
    heads = ["η", "explicit, predicted", "explicit, measured", "implicit, predicted", "implicit, measured"]
    rows = []
    for row in document["halvings"]:
        pairs = [row[side][kind] for side in ("explicit", "implicit") for kind in ("predicted", "measured")]
        rows.append([f"{row['rate']:g}", *map(thousandths, pairs)])
    return grid(heads, rows)


def dual_rates(document: Row) -> str:
    """Return the table over the dual rate."""
    heads = ["β‖g_r‖²", "rate, predicted", "rate, measured", "cut off at λ = 0", "rise, predicted", "rise, measured"]
    heads += ["rate without the cut", "rise without the cut"]
    rows = [
        [
            f"{row['share']:g}",
            slowness(row["predicted"]),
            slowness(row["measured"]),
            format_metric(row["cut"], places=2),
            thousandths(row["limit"]["rise"]),
            thousandths(row["rise"]),
            slowness(row["uncut"]["predicted"]),
            thousandths(row["uncut"]["rise"]),
        ]
        for row in document["dual_rates"]
    ]
    return grid(heads, rows)


def tolerances(document: Row) -> str:
    """Return the table of budgets."""
    heads = ["T", "ε", "surgery", "rise, predicted", "rise, measured", "after 2 T", "‖θ − θ*(τ)‖"]
    rows = [
        [
            str(row["updates"]),
            f"{row['tolerance']:g}",
            name,
            thousandths(row[name]["predicted"]),
            thousandths(row[name]["measured"]),
            thousandths(row[name]["after_twice"]),
            format_metric(row[name]["distance"], places=4),
        ]
        for row in document["tolerances"]
        for name in ("explicit", "implicit")
    ]
    return grid(heads, rows)


def noisy(document: Row) -> str:
    """Return the table of leaks and floors, in millionths."""
    heads = ["surgery", "η", "β‖g_r‖²", "leak, predicted", "leak, measured", "gap², predicted", "gap², measured"]
    rows = []
    for row in document["noisy"]:
        name = row["surgery"] if row["surgery"] == "explicit" else f"implicit, {row['surgery']}"
        share = ABSENT if row["surgery"] == "explicit" else f"{row['share']:g}"
        cells = [name, f"{row['rate']:g}", share]
        for kind in ("leak", "gap_squared"):
            found = row[kind]
            cells.append(format_metric(1e6 * found["predicted"], places=2))
            cells.append(
                f"{format_metric(1e6 * found['mean'], places=2)} ± {format_metric(1e6 * found['half_width'], places=2)}"
            )
        rows.append(cells)
    return grid(heads, rows)


QUADRATIC_TABLES = (rates, halvings, dual_rates, tolerances, noisy)
