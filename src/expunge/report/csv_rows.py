"""The figures of a result document as comma-separated values: one line for each request, model and metric."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from expunge.report.document import EarlierAccuracy, RequestSection, read_document
from expunge.report.earlier_requests_text import PART_LABELS, format_name

COLUMNS = (
    *("request", "description", "model", "label", "role", "metric", "metric_label", "unit", "direction"),
    *("mean", "half_width", "seeds", "values"),
)
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t")


def csv_report(document: Mapping[str, Any]) -> str:
    """Return every figure of a result document as comma-separated values with a line of headings.

    Numbers have all their digits, as they stand in the document; ``half_width`` is that of the 95 % t-interval over
    seeds, and ``seeds`` and ``values`` list, apart by semicolons, each seed and its value. What is not known is empty.
    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for request in read_document(document).requests:
        writer.writerows(_rows(request))
    return text.getvalue()


def _rows(request: RequestSection) -> Iterator[list[str]]:
    request_cells = [escape_formula(request.id), escape_formula(request.description)]
    seeds = ";".join(map(str, request.seeds))
    for row in request.rows:
        model_cells = [escape_formula(row.key), escape_formula(row.label), row.role]
        for metric in request.columns:
            score = row.scores.get(metric.key)
            if score is not None:
                names = [
                    escape_formula(metric.key),
                    escape_formula(metric.label),
                    escape_formula(metric.unit),
                    metric.direction,
                ]
                yield [
                    *request_cells,
                    *model_cells,
                    *names,
                    _format_full(score.mean),
                    _format_full(score.half_width),
                    seeds,
                    _join_values(score.values),
                ]
        yield from (_earlier_row(request_cells, model_cells, row.role, one, seeds) for one in _iter_earlier(request))


def _iter_earlier(request: RequestSection) -> Iterator[tuple[str, str, EarlierAccuracy]]:
    for one in request.earlier:
        number = "excluded" if one.entry is None else f"entry_{one.entry}"
        for part, accuracies in one.parts.items():
            called = f"{PART_LABELS[part]} of {format_name(one, request.classes)}"
            yield f"earlier_{number}_{part}", escape_formula(f"Accuracy, {called}"), accuracies


def _earlier_row(
    request_cells: list[str], model_cells: list[str], role: str, one: tuple[str, str, EarlierAccuracy], seeds: str
) -> list[str]:
    key, label, accuracies = one
    value = _format_full(accuracies.accuracy.get(role))
    return [*request_cells, *model_cells, key, label, "%", "lower", value, "", seeds, value]


def escape_formula(text: str) -> str:
    r"""Return text on one line that no spreadsheet takes for a formula.

    Examples:
        >>> escape_formula("=1+1"), escape_formula("two\nlines")
        ("'=1+1", 'two lines')
    """
    line = re.sub(r"[\r\n]+", " ", text)
    return f"'{line}" if line.startswith(_FORMULA_PREFIXES) else line


def _format_full(value: float | None) -> str:
    return "" if value is None else repr(value)


def _join_values(values: Sequence[float | None]) -> str:
    return ";".join(map(_format_full, values))
