"""The average gap of each method with its interval, on one axis with the noise floor as a band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.report.document import Request, Row
from expunge.report.drawing import Frame, Key, Scale, Tick
from expunge.report.headline import best, ranked
from expunge.report.numbers import write_with_half

STEP = 26


@dataclass(frozen=True)
class Bar:
    """A method's line: its dot, its interval (None if unknown) and what it says."""

    name: str
    y: float
    x: float
    interval: tuple[float, float] | None
    best: bool
    tip: str


@dataclass(frozen=True)
class Gaps:
    """The drawn figure."""

    kind: ClassVar[str] = "gaps"
    title: str
    description: str
    bars: tuple[Bar, ...]
    band: tuple[float, float, float] | None
    ticks: tuple[Tick, ...]
    logarithmic: bool
    frame: Frame
    note: str = ""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The legend."""
        return () if self.band is None else (Key("band", "noise floor"),)


def gaps(request: Request) -> Gaps | None:
    """Return the figure, None where no method has a finite average gap.

    The axis is logarithmic where the largest gap is more than twenty times the smallest.
    """
    rows = [row for row in ranked(request) if row.mean("avg_gap") is not None]
    if request.metric("avg_gap") is None or not rows:
        return None
    frame = Frame.of_rows(len(rows), STEP)
    scale = _scale(request, rows, frame)
    winner = best(request)
    bars = tuple(_bar(row, 14 + STEP * (index + 0.5), scale, row is winner) for index, row in enumerate(rows))
    return Gaps(
        "Average gap to the retrained model",
        "Points, mean over seeds with its interval; smaller is closer. " + "; ".join(bar.tip for bar in bars) + ".",
        bars,
        _band(request, scale),
        scale.ticks(6),
        scale.logarithmic,
        frame,
    )


def _scale(request: Request, rows: list[Row], frame: Frame) -> Scale:
    means = [row.mean("avg_gap") or 0.0 for row in rows]
    floor = request.noise_floor
    values = [*means, floor.mean] if floor is not None and floor.mean is not None else means
    top = max(row_mean + (row.half("avg_gap") or 0.0) for row, row_mean in zip(rows, means, strict=True))
    if min(values) > 0 and max(values) > 20 * min(values):
        return Scale(min(values) / 2, max(top, *values) * 1.15, frame.left, frame.right, logarithmic=True)
    return Scale(0.0, max(top, *values, 1e-6) * 1.06, frame.left, frame.right)


def _bar(row: Row, y: float, scale: Scale, winner: bool) -> Bar:
    mean, half = row.mean("avg_gap") or 0.0, row.half("avg_gap")
    interval = None if half is None else (scale(mean - half), scale(mean + half))
    return Bar(row.label, y, scale(mean), interval, winner, f"{row.label} {write_with_half(mean, half)}")


def _band(request: Request, scale: Scale) -> tuple[float, float, float] | None:
    floor = request.noise_floor
    if floor is None or floor.mean is None:
        return None
    half = floor.half or 0.0
    return scale(floor.mean - half), scale(floor.mean), scale(floor.mean + half)
