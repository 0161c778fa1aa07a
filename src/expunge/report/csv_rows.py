"""The figures of a result document as comma-separated values: one line for each request, model and metric."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from expunge.report.document import Remembered, Request, read_document
from expunge.report.earlier_words import PARTS, name_of

HEADS = (
    *("request", "question", "model", "label", "role", "metric", "metric_label", "unit", "direction"),
    *("mean", "half_width", "seeds", "values"),
)
_FORMULA = ("=", "+", "-", "@", "\t")


def csv_report(document: Mapping[str, Any]) -> str:
    """Return every figure of a result document as comma-separated values with a line of headings.

    Numbers have all their digits, as they stand in the document; ``half_width`` is that of the 95 % t-interval over
    seeds, and ``seeds`` and ``values`` list, apart by semicolons, each seed and its value. What is not known is empty.
    A text that a spreadsheet would take for a formula gets an apostrophe before it.

    Args:
        document: The result document (schema 1).

    Raises:
        DataError: If the document has another schema or lacks something.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADS)
    for request in read_document(document).requests:
        writer.writerows(_rows(request))
    return text.getvalue()


def _rows(request: Request) -> Iterator[list[str]]:
    asked = [harmless(request.id), harmless(request.question)]
    seeds = ";".join(map(str, request.seeds))
    for row in request.rows:
        model = [harmless(row.key), harmless(row.label), row.role]
        for metric in request.columns:
            score = row.scores.get(metric.key)
            if score is not None:
                names = [harmless(metric.key), harmless(metric.label), harmless(metric.unit), metric.direction]
                yield [*asked, *model, *names, _digits(score.mean), _digits(score.half), seeds, _list(score.values)]
        yield from (_earlier(asked, model, row.role, one, seeds) for one in _remembered(request))


def _remembered(request: Request) -> Iterator[tuple[str, str, Remembered]]:
    for one in request.earlier:
        number = "excluded" if one.entry is None else f"entry_{one.entry}"
        for part, found in one.parts.items():
            called = f"{PARTS[part]} of {name_of(one, request.classes)}"
            yield f"earlier_{number}_{part}", harmless(f"Accuracy, {called}"), found


def _earlier(asked: list[str], model: list[str], role: str, one: tuple[str, str, Remembered], seeds: str) -> list[str]:
    key, label, found = one
    value = _digits(found.accuracy.get(role))
    return [*asked, *model, key, label, "%", "lower", value, "", seeds, value]


def harmless(text: str) -> str:
    r"""Return text on one line that no spreadsheet takes for a formula.

    Examples:
        >>> harmless("=1+1"), harmless("two\nlines")
        ("'=1+1", 'two lines')
    """
    line = re.sub(r"[\r\n]+", " ", text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def _digits(value: float | None) -> str:
    return "" if value is None else repr(value)


def _list(values: Sequence[float | None]) -> str:
    return ";".join(map(_digits, values))
