"""The tables of a result document in LaTeX, for the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from expunge.report import earlier_requests_text
from expunge.report.document import RequestSection, read_document
from expunge.report.table import Table, TableCell, TableLine, build_table, describe_seeds

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "`": r"\char96{}",
    "±": r"\ensuremath{\pm}",
    "−": r"\ensuremath{-}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "–": "--",
    "\u00a0": "~",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it is, on one line; control characters are left out.

    Examples:
        >>> print(escape(r"50 % of \input{x}"))
        50 \% of \textbackslash{}input\{x\}
    """
    line = " ".join(re.split(r"[ \t\r\n\v\f]+", text))
    return "".join(_ESCAPES.get(sign, sign) for sign in line if sign in _ESCAPES or sign.isprintable())


def latex_report(document: Mapping[str, Any]) -> str:
    r"""Return a LaTeX table for each request of a result document; the preamble needs ``\usepackage{booktabs}``."""
    requests = read_document(document).requests
    tables = [latex_table(request, number) for number, request in enumerate(requests, start=1)]
    return "\n\n".join([r"% Needs \usepackage{booktabs} in the preamble.", *tables]) + "\n"


def latex_table(request: RequestSection, number: int) -> str:
    """Return the table of one request: original and retrained, a rule, then the methods, the closest in bold."""
    table = build_table(request)
    groups = [table.references, table.methods]
    bodies = [" \\\\\n".join(_row(line) for line in group) + " \\\\" for group in groups if group]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(_caption(request, table))}}}",
            rf"\label{{tab:request-{number}}}",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            " & ".join(["Model", *_heads(table)]) + r" \\",
            r"\midrule",
            "\n\\midrule\n".join(bodies),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _caption(request: RequestSection, table: Table) -> str:
    spent = "" if request.budget is None else f" {request.budget.summary}"
    before = earlier_requests_text.describe_earlier_requests(request)
    earlier = f" {before}" if before else ""
    return f"{request.description.rstrip('.')}. {describe_seeds(request)} {table.floor}{spent}{earlier}"


def _heads(table: Table) -> list[str]:
    return [
        escape(f"{metric.label} ({metric.shown_unit})" if metric.shown_unit else metric.label)
        for metric in table.columns
    ]


def _row(line: TableLine) -> str:
    label = escape(line.label)
    return " & ".join([rf"\textbf{{{label}}}" if line.best else label, *map(_cell, line.cells)])


def _cell(cell: TableCell) -> str:
    return escape(cell.full_text)
