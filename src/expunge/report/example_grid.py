"""The contact sheet: forgotten examples, and what original, retrained and each unlearned model say they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from expunge.report.document import Example, RequestSection

_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
MAX_EXAMPLES = 32
"""How many examples a sheet shows."""


@dataclass(frozen=True)
class Prediction:
    """A prediction, and whether it is the label that was to be forgotten."""

    text: str
    right: bool


@dataclass(frozen=True)
class ExampleGridRow:
    """What one model says about every example, and how often that is the label."""

    name: str
    answers: tuple[Prediction, ...]
    right: int
    known: int


@dataclass(frozen=True)
class ExampleGrid:
    """The drawn examples: pictures (None where there is no safe one), labels, and a line for each model."""

    pictures: tuple[str | None, ...]
    labels: tuple[str, ...]
    lines: tuple[ExampleGridRow, ...]
    total: int


def safe_data_url(url: str) -> str | None:
    """Return ``url`` if it is a PNG inside the document, None for anything else: nothing else is ever written.

    Examples:
        >>> safe_data_url("data:image/png;base64,iVBORw0KGgo="), safe_data_url("javascript:alert(1)")
        ('data:image/png;base64,iVBORw0KGgo=', None)
    """
    return url if _PICTURE.fullmatch(url) else None


def example_grid(request: RequestSection) -> ExampleGrid | None:
    """Return the contact sheet of a request, None where no examples are shown."""
    examples = request.examples[:MAX_EXAMPLES]
    if not examples:
        return None
    predictions: list[tuple[str, list[str | None]]] = [
        ("Original", [example.original for example in examples]),
        ("Retrained", [example.retrained for example in examples]),
    ]
    predictions += [(row.label, [example.unlearned.get(row.key) for example in examples]) for row in request.methods]
    lines = tuple(
        _build_row(name, answers, examples)
        for name, answers in predictions
        if any(answer is not None for answer in answers)
    )
    pictures = tuple(safe_data_url(example.image) for example in examples)
    return ExampleGrid(pictures, tuple(example.label for example in examples), lines, len(request.examples))


def _build_row(name: str, answers: list[str | None], examples: tuple[Example, ...]) -> ExampleGridRow:
    labeled = [(answer, example.label) for answer, example in zip(answers, examples, strict=True)]
    cells = tuple(Prediction("–" if answer is None else answer, answer == label) for answer, label in labeled)
    right = sum(cell.right for cell in cells)
    return ExampleGridRow(name, cells, right, sum(answer is not None for answer in answers))
