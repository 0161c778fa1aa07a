"""The contact sheet: forgotten examples, and what original, retrained and each unlearned model say they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from expunge.report.document import Example, Request

_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
MOST = 32
"""How many examples a sheet shows."""


@dataclass(frozen=True)
class Answer:
    """A prediction, and whether it is the label that was to be forgotten."""

    text: str
    right: bool


@dataclass(frozen=True)
class SheetLine:
    """What one model says about every example, and how often that is the label."""

    name: str
    answers: tuple[Answer, ...]
    right: int
    known: int


@dataclass(frozen=True)
class Sheet:
    """The drawn examples: pictures (None where there is no safe one), labels, and a line for each model."""

    pictures: tuple[str | None, ...]
    labels: tuple[str, ...]
    lines: tuple[SheetLine, ...]
    total: int


def picture(url: str) -> str | None:
    """Return ``url`` if it is a PNG inside the document, None for anything else: nothing else is ever written.

    Examples:
        >>> picture("data:image/png;base64,iVBORw0KGgo="), picture("javascript:alert(1)")
        ('data:image/png;base64,iVBORw0KGgo=', None)
    """
    return url if _PICTURE.fullmatch(url) else None


def sheet(request: Request) -> Sheet | None:
    """Return the contact sheet of a request, None where no examples are shown."""
    shown = request.examples[:MOST]
    if not shown:
        return None
    said: list[tuple[str, list[str | None]]] = [
        ("Original", [example.original for example in shown]),
        ("Retrained", [example.retrained for example in shown]),
    ]
    said += [(row.label, [example.unlearned.get(row.key) for example in shown]) for row in request.methods]
    lines = tuple(
        _line(name, answers, shown) for name, answers in said if any(answer is not None for answer in answers)
    )
    pictures = tuple(picture(example.image) for example in shown)
    return Sheet(pictures, tuple(example.label for example in shown), lines, len(request.examples))


def _line(name: str, answers: list[str | None], shown: tuple[Example, ...]) -> SheetLine:
    known = [(answer, example.label) for answer, example in zip(answers, shown, strict=True)]
    cells = tuple(Answer("–" if answer is None else answer, answer == label) for answer, label in known)
    right = sum(cell.right for cell in cells)
    return SheetLine(name, cells, right, sum(answer is not None for answer in answers))
