"""Accuracy per class before and after: original, retrained and the method that the words are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.formatting import ABSENT
from expunge.report.document import ModelRow, RequestSection
from expunge.report.drawing import Frame, LegendKey, Scale, Tick
from expunge.report.numbers import format_metric
from expunge.report.ranking import best_method
from expunge.report.schema_base import Number

ROW_HEIGHT, MAX_CLASSES = 24, 24


@dataclass(frozen=True)
class ClassRow:
    """One class: the pixels of its marks, None where a model has no figure."""

    name: str
    y: float
    original: float | None
    retrained: float | None
    after: float | None
    tip: str


@dataclass(frozen=True)
class ClassFigure:
    """The drawn figure, and the figures of every model for the table under it."""

    kind: ClassVar[str] = "classes"
    title: str
    description: str
    method: str
    roles: tuple[str, ...]
    lines: tuple[ClassRow, ...]
    ticks: tuple[Tick, ...]
    frame: Frame
    left_out: int
    names: tuple[str, ...]
    figures: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def keys(self) -> tuple[LegendKey, ...]:
        """The legend."""
        return (*(LegendKey(role, role) for role in self.roles), LegendKey("best", self.method))

    @property
    def note(self) -> str:
        """What is not drawn."""
        if not self.left_out:
            return ""
        return f"The {len(self.lines)} classes that moved most; {self.left_out} more are in the table below."


def _class_accuracy(row: ModelRow | None, index: int) -> Number:
    return row.per_class[index] if row is not None and index < len(row.per_class) else None


def build_class_figure(request: RequestSection) -> ClassFigure | None:
    """Return the figure, None where no method has accuracies per class.

    Of more than 24 classes those are drawn whose accuracy moved most from original to method; the table has them all.
    """
    method = best_method(request)
    if method is None or not method.per_class:
        return None
    names = _class_names(request, max(len(row.per_class) for row in request.rows))
    original = request.row("original")
    known_indices = [
        index for index in range(len(names)) if any(_class_accuracy(row, index) is not None for row in request.rows)
    ]
    indices = _select_most_changed(original, method, known_indices)
    frame = Frame.of_rows(len(indices), ROW_HEIGHT)
    scale = Scale(_axis_start(request), 100.0, frame.left, frame.right)
    lines = tuple(_build_row(request, method, names, index, position, scale) for position, index in enumerate(indices))
    return ClassFigure(
        "Test accuracy per class, %",
        f"Percent, original to {method.label}. " + "; ".join(line.tip for line in lines) + ".",
        method.label,
        tuple(role for role in ("original", "retrained") if request.row(role) is not None),
        lines,
        scale.ticks(6),
        frame,
        len(known_indices) - len(indices),
        names,
        _format_figures(request, len(names)),
    )


def _axis_start(request: RequestSection) -> float:
    """Return where the axis starts: 0, or where all accuracies are high the multiple of ten under the lowest."""
    roles = [request.row("original"), request.row("retrained"), best_method(request)]
    accuracies = [value for row in roles if row is not None for value in row.per_class if value is not None]
    lowest = min(accuracies, default=0.0)
    return 0.0 if lowest < 60 else min(10 * ((lowest - 1) // 10), 90.0)


def _class_names(request: RequestSection, total: int) -> tuple[str, ...]:
    return tuple(request.classes[index] if index < len(request.classes) else str(index) for index in range(total))


def _format_figures(request: RequestSection, total: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    rows = [row for row in request.rows if row.per_class]
    return tuple(
        (row.label, tuple(format_metric(_class_accuracy(row, index), "%", 1) for index in range(total))) for row in rows
    )


def _select_most_changed(original: ModelRow | None, method: ModelRow, indices: list[int]) -> list[int]:
    def negative_change(index: int) -> float:
        before, after = _class_accuracy(original, index), _class_accuracy(method, index)
        return -abs(before - after) if before is not None and after is not None else 0.0

    return sorted(sorted(indices, key=negative_change)[:MAX_CLASSES])


def _build_row(
    request: RequestSection, method: ModelRow, names: tuple[str, ...], index: int, position: int, scale: Scale
) -> ClassRow:
    values = [_class_accuracy(row, index) for row in (request.row("original"), request.row("retrained"), method)]
    before, reference, after = (None if value is None else scale(value) for value in values)
    texts = [f"{word} {format_metric(value)}" for word, value in zip(("from", "retrained", "to"), values, strict=True)]
    tip = f"{names[index]}: " + ", ".join(text for text in texts if ABSENT not in text)
    return ClassRow(names[index], 14 + ROW_HEIGHT * (position + 0.5), before, reference, after, tip)
