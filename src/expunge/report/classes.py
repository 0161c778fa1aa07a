"""Accuracy per class before and after: original, retrained and the method that the words are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.formatting import ABSENT
from expunge.report.document import Request, Row
from expunge.report.drawing import Frame, Key, Scale, Tick
from expunge.report.headline import leader
from expunge.report.numbers import write
from expunge.report.part import Number

STEP, MOST = 24, 24


@dataclass(frozen=True)
class ClassLine:
    """One class: the pixels of its marks, None where a model has no figure."""

    name: str
    y: float
    original: float | None
    retrained: float | None
    after: float | None
    tip: str


@dataclass(frozen=True)
class Classes:
    """The drawn figure, and the figures of every model for the table under it."""

    kind: ClassVar[str] = "classes"
    title: str
    description: str
    method: str
    roles: tuple[str, ...]
    lines: tuple[ClassLine, ...]
    ticks: tuple[Tick, ...]
    frame: Frame
    left_out: int
    names: tuple[str, ...]
    figures: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        """The legend."""
        return (*(Key(role, role) for role in self.roles), Key("best", self.method))

    @property
    def note(self) -> str:
        """What is not drawn."""
        if not self.left_out:
            return ""
        return f"The {len(self.lines)} classes that moved most; {self.left_out} more are in the table below."


def _at(row: Row | None, index: int) -> Number:
    return row.per_class[index] if row is not None and index < len(row.per_class) else None


def classes(request: Request) -> Classes | None:
    """Return the figure, None where no method has accuracies per class.

    Of more than 24 classes those are drawn whose accuracy moved most from original to method; the table has them all.
    """
    method = leader(request)
    if method is None or not method.per_class:
        return None
    names = _names(request, max(len(row.per_class) for row in request.rows))
    original = request.row("original")
    known = [index for index in range(len(names)) if any(_at(row, index) is not None for row in request.rows)]
    shown = _most_moved(original, method, known)
    frame = Frame.of_rows(len(shown), STEP)
    scale = Scale(_foot(request), 100.0, frame.left, frame.right)
    lines = tuple(_line(request, method, names, index, place, scale) for place, index in enumerate(shown))
    return Classes(
        "Test accuracy per class, %",
        f"Percent, original to {method.label}. " + "; ".join(line.tip for line in lines) + ".",
        method.label,
        tuple(role for role in ("original", "retrained") if request.row(role) is not None),
        lines,
        scale.ticks(6),
        frame,
        len(known) - len(shown),
        names,
        _figures(request, len(names)),
    )


def _foot(request: Request) -> float:
    """Return where the axis starts: 0, or where all accuracies are high the multiple of ten under the lowest."""
    roles = [request.row("original"), request.row("retrained"), leader(request)]
    known = [value for row in roles if row is not None for value in row.per_class if value is not None]
    lowest = min(known, default=0.0)
    return 0.0 if lowest < 60 else min(10 * ((lowest - 1) // 10), 90.0)


def _names(request: Request, total: int) -> tuple[str, ...]:
    return tuple(request.classes[index] if index < len(request.classes) else str(index) for index in range(total))


def _figures(request: Request, total: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    rows = [row for row in request.rows if row.per_class]
    return tuple((row.label, tuple(write(_at(row, index), "%", 1) for index in range(total))) for row in rows)


def _most_moved(original: Row | None, method: Row, known: list[int]) -> list[int]:
    def moved(index: int) -> float:
        before, after = _at(original, index), _at(method, index)
        return -abs(before - after) if before is not None and after is not None else 0.0

    return sorted(sorted(known, key=moved)[:MOST])


def _line(request: Request, method: Row, names: tuple[str, ...], index: int, place: int, scale: Scale) -> ClassLine:
    values = [_at(row, index) for row in (request.row("original"), request.row("retrained"), method)]
    before, reference, after = (None if value is None else scale(value) for value in values)
    told = [f"{word} {write(value)}" for word, value in zip(("from", "retrained", "to"), values, strict=True)]
    tip = f"{names[index]}: " + ", ".join(text for text in told if ABSENT not in text)
    return ClassLine(names[index], 14 + STEP * (place + 0.5), before, reference, after, tip)
