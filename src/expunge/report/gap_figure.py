"""The average gap of each method with its interval, on one axis with the noise floor as a band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.report.document import ModelRow, RequestSection
from expunge.report.drawing import Frame, LegendKey, Scale, Tick
from expunge.report.numbers import format_with_half_width
from expunge.report.ranking import rank_methods, smallest_gap_method

ROW_HEIGHT = 26


@dataclass(frozen=True)
class GapBar:
    """A method's line: its dot, its interval (None if unknown) and what it says."""

    name: str
    y: float
    x: float
    interval: tuple[float, float] | None
    best: bool
    tip: str


@dataclass(frozen=True)
class GapFigure:
    """The drawn figure."""

    kind: ClassVar[str] = "gaps"
    title: str
    description: str
    bars: tuple[GapBar, ...]
    band: tuple[float, float, float] | None
    ticks: tuple[Tick, ...]
    logarithmic: bool
    frame: Frame
    note: str = ""

    @property
    def keys(self) -> tuple[LegendKey, ...]:
        """The legend."""
        return () if self.band is None else (LegendKey("band", "noise floor"),)


def build_gap_figure(request: RequestSection) -> GapFigure | None:
    """Return the figure, None where no method has a finite average gap.

    The axis is logarithmic where the largest gap is more than twenty times the smallest.
    """
    rows = [row for row in rank_methods(request) if row.mean("avg_gap") is not None]
    if request.metric("avg_gap") is None or not rows:
        return None
    frame = Frame.of_rows(len(rows), ROW_HEIGHT)
    scale = _scale(request, rows, frame)
    winner = smallest_gap_method(request)
    bars = tuple(_bar(row, 14 + ROW_HEIGHT * (index + 0.5), scale, row is winner) for index, row in enumerate(rows))
    return GapFigure(
        "Average gap to the retrained model",
        "Points, mean over seeds with its interval; smaller is closer. " + "; ".join(bar.tip for bar in bars) + ".",
        bars,
        _band(request, scale),
        scale.ticks(6),
        scale.logarithmic,
        frame,
    )


def _scale(request: RequestSection, rows: list[ModelRow], frame: Frame) -> Scale:
    means = [row.mean("avg_gap") or 0.0 for row in rows]
    floor = request.noise_floor
    values = [*means, floor.mean] if floor is not None and floor.mean is not None else means
    top = max(row_mean + (row.half_width("avg_gap") or 0.0) for row, row_mean in zip(rows, means, strict=True))
    if min(values) > 0 and max(values) > 20 * min(values):
        return Scale(min(values) / 2, max(top, *values) * 1.15, frame.left, frame.right, logarithmic=True)
    return Scale(0.0, max(top, *values, 1e-6) * 1.06, frame.left, frame.right)


def _bar(row: ModelRow, y: float, scale: Scale, winner: bool) -> GapBar:
    mean, half = row.mean("avg_gap") or 0.0, row.half_width("avg_gap")
    interval = None if half is None else (scale(mean - half), scale(mean + half))
    return GapBar(row.label, y, scale(mean), interval, winner, f"{row.label} {format_with_half_width(mean, half)}")


def _band(request: RequestSection, scale: Scale) -> tuple[float, float, float] | None:
    floor = request.noise_floor
    if floor is None or floor.mean is None:
        return None
    half = floor.half_width or 0.0
    return scale(floor.mean - half), scale(floor.mean), scale(floor.mean + half)
