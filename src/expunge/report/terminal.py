"""The tables of a result document in a terminal, 80 columns wide; plain text where it is not a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console, OverflowMethod
from rich.table import Table as Grid
from rich.text import Text

from expunge.report import audit_text, earlier_requests_text
from expunge.report.attacks import tabulate_attacks as listing_of
from expunge.report.audit_schema import AuditSection
from expunge.report.document import RequestSection, read_document
from expunge.report.table import Table, TableLine, build_table

COLUMNS = (
    *("ua", "ra", "ta", "mia", "avg_gap"),
    *("generated_ua", "generated_entropy", "generated_accuracy", "feature_fid_real", "feature_fid_original"),
    "seconds",
)
"""The metrics that fit, of classifiers and of generated images; all others are in the HTML report."""
MAX_HEADING_LETTERS = 8
"""Letters of a heading that stays on one line."""
WIDTH = 80


def print_tables(document: Mapping[str, Any], console: Console) -> None:
    """Print one table per request: original and retrained on top, then the methods, the closest first.

    Args:
        document: The result document (schema 2).
        console: Where to print; lines are at most 80 columns, and without color and frames if it is no terminal.

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    for request in read_document(document).requests:
        table = build_table(request).select_columns(*COLUMNS)
        console.print(_build_grid(request, table, console), width=min(WIDTH, console.width))
        console.print(
            _make_text(_describe_footer(request, table), console), width=min(WIDTH, console.width), style="dim"
        )
        for sentence in _describe_outcomes(request):
            console.print(_make_text(sentence, console), width=min(WIDTH, console.width))
        if earlier_text := earlier_requests_text.describe_earlier_requests(request):
            message = f"{earlier_requests_text.describe_returned(request).strip()} {earlier_text}".strip()
            console.print(_make_text(message, console), width=min(WIDTH, console.width))
        if request.fit_warning:
            console.print(_make_text(f"Warning: {request.fit_warning}", console), width=min(WIDTH, console.width))
        if request.audit is not None:
            _print_audit(request.audit, console)
        console.print()


def _describe_outcomes(request: RequestSection) -> list[str]:
    """Return what became of the budget, and what the test data show of a single unlearned model."""
    row = request.methods[0] if len(request.methods) == 1 else None
    held_out = None if row is None else row.held_out
    spent = [] if request.budget is None else [request.budget.summary]
    return [*spent, *([] if held_out is None else [f"On the test data: {held_out.sentence}"])]


def _print_audit(audit: AuditSection, console: Console) -> None:
    """Print what an audit found: its words, the areas of the attacks, and the layers that moved the most."""
    width = min(WIDTH, console.width)
    for fact in audit_text.audit_statements(audit):
        console.print(_make_text(f"{fact.name}: {fact.text}", console), width=width)
    for listing in (listing_of(audit.attacked), audit_text.layer_table(audit)):
        if listing is None:
            continue
        grid = Grid(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, padding=(0, 1))
        for number, head in enumerate(listing.heads):
            grid.add_column(_make_text(head, console), justify="right" if number else "left", no_wrap=number > 0)
        for row in listing.rows:
            grid.add_row(*(_make_text(text, console) for text in row))
        console.print()
        console.print(grid, width=width)


def _make_text(words: str, console: Console, style: str = "") -> Text:
    """Return words as text without control characters, and without ± where the console cannot show it."""
    printable = "".join(letter if letter.isprintable() else " " for letter in words)
    if not console.encoding.lower().startswith("utf"):
        printable = printable.replace("±", "+-").replace("−", "-").replace("–", "-").encode("ascii", "replace").decode()
    return Text(printable, style=style)


def _build_grid(request: RequestSection, table: Table, console: Console) -> Grid:
    frame = box.SIMPLE_HEAD if console.is_terminal else None
    grid = Grid(
        title=_make_text(request.description, console, "bold"),
        title_justify="left",
        box=frame,
        pad_edge=False,
        padding=(0, 1),
    )
    grid.add_column("model", max_width=16, no_wrap=True, overflow="ellipsis" if console.is_terminal else "crop")
    for metric in table.columns:
        head = f"{metric.label} {metric.shown_unit}".strip()
        wide = len(head) > MAX_HEADING_LETTERS
        overflow: OverflowMethod = "fold" if wide else "crop"
        grid.add_column(_make_text(head, console), justify="right", no_wrap=not wide, overflow=overflow)
    for line in table.references:
        grid.add_row(*_make_cells(line, table, console, "dim"), end_section=line is table.references[-1])
    for line in table.methods:
        grid.add_row(*_make_cells(line, table, console, "bold" if line.best else ""))
    return grid


def _make_cells(line: TableLine, table: Table, console: Console, style: str) -> list[Text]:
    """Return a row's texts; only the average gap carries its half-width, the others would not fit."""
    texts = [
        cell.full_text if metric.key == "avg_gap" else cell.text
        for cell, metric in zip(line.cells, table.columns, strict=True)
    ]
    return [_make_text(text, console, style) for text in (line.label, *texts)]


def _describe_footer(request: RequestSection, table: Table) -> str:
    seeds = len(request.measured)
    sure = "One seed: no intervals." if seeds == 1 else f"{seeds} seeds, ± half a 95 % t-interval."
    return f"{sure} {table.floor}".rstrip()
