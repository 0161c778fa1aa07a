"""The table of one request in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from expunge.report.budget_part import BudgetPart
from expunge.report.budget_words import Listing, facts, frontier
from expunge.report.document import read_request
from expunge.report.search_words import Tried, tried
from expunge.report.table import Line, build_table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line.

    Examples:
        >>> print(escape("a|b <i>"))
        a\|b \<i\>
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown_table(request: Mapping[str, Any]) -> str:
    """Return the table of a request: original, retrained, then the methods, the closest first and in bold.

    What became of a budget, where there is one, stands below it.

    Args:
        request: An element of a result document's ``requests``.

    Raises:
        DataError: If it lacks something that a table needs.
    """
    checked = read_request(request)
    table = build_table(checked)
    heads = [
        escape(f"{metric.label} ({metric.shown_unit})" if metric.shown_unit else metric.label)
        for metric in table.columns
    ]
    lines = [
        _line(["Model", *heads]),
        _line([":---", *["---:"] * len(heads)]),
        *(_row(line) for line in (*table.references, *table.methods)),
    ]
    seeds = len(checked.seeds)
    sure = "One seed, so no intervals." if seeds == 1 else f"{seeds} seeds; ± is half a 95 % t-interval over seeds."
    return "\n".join([*lines, "", f"{sure} {table.floor}", "", *_budget(checked.budget)])


def _budget(budget: BudgetPart | None) -> list[str]:
    if budget is None:
        return []
    told = [f"- {escape(fact.name)}: {escape(fact.text)}" for fact in facts(budget)]
    return [
        f"**Budget.** {escape(budget.sentence)}",
        "",
        *told,
        "",
        *_frontier(frontier(budget)),
        *_tried(tried(budget)),
    ]


def _frontier(found: Listing | None) -> list[str]:
    return [] if found is None else ["The frontier that was reached:", "", *_listing(found)]


def _tried(found: Tried | None) -> list[str]:
    return [] if found is None else [escape(found.text), "", *_listing(found.trials)]


def _listing(found: Listing) -> list[str]:
    rows = [_line([escape(text) for text in row]) for row in (found.heads, *found.rows)]
    return [rows[0], _line(["---:"] * len(found.heads)), *rows[1:], ""]


def _row(line: Line) -> str:
    label = escape(line.label)
    return _line([f"**{label}**" if line.best else label, *(cell.whole for cell in line.cells)])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
