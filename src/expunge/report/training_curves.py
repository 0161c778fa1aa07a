"""What each update was like, in small panels: losses, cosine, multiplier, share of the forget gradient removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from expunge.formatting import format_number
from expunge.report.document import ModelRow, RequestSection, StepSection
from expunge.report.drawing import Frame, LegendKey, Point, Scale, Tick, downsample, pad_range
from expunge.report.ranking import rank_methods

FRAME = Frame(wide=250, high=118, left=36, right=200, top=10, bottom=96)
"""Right of the plotted area stand the names of the curves."""


@dataclass(frozen=True)
class Curve:
    """A line of a panel: which quantity, its points for a polyline, and where its name stands."""

    key: str
    name: str
    points: str
    name_y: float


@dataclass(frozen=True)
class CurvePanel:
    """One small figure; ``across`` and ``upwards`` are the ends of its axes."""

    kind: ClassVar[str] = "panel"
    keys: ClassVar[tuple[LegendKey, ...]] = ()
    note: ClassVar[str] = ""
    title: str
    description: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero: float | None
    across: str
    upwards: str
    frame: Frame = FRAME


@dataclass(frozen=True)
class PanelRow:
    """The panels of one method."""

    label: str
    steps: int
    panels: tuple[CurvePanel, ...]


PANEL_SPECS: tuple[tuple[str, tuple[tuple[str, str], ...], tuple[float, ...]], ...] = (
    ("Losses", (("forget_loss", "forget"), ("retain_loss", "retain")), ()),
    ("Cosine of the two gradients", (("cosine", ""),), (-1.0, 1.0)),
    ("Multiplier", (("multiplier", ""),), (0.0,)),
    ("Share of the forget gradient removed", (("projected_fraction", ""),), (0.0, 1.0)),
)
"""Title, quantities with their names, and values that the upright axis must include."""


def build_panel_rows(request: RequestSection) -> tuple[PanelRow, ...]:
    """Return the strip of every method that has a history, in the order of the table."""
    strips = (_build_panel_row(row) for row in rank_methods(request))
    return tuple(strip for strip in strips if strip is not None)


def _build_panel_row(row: ModelRow) -> PanelRow | None:
    panels = [_build_panel(row, title, quantities, include) for title, quantities, include in PANEL_SPECS]
    visible = tuple(panel for panel in panels if panel is not None)
    return PanelRow(row.label, row.history[-1].step + 1, visible) if visible else None


def quantity_points(history: Sequence[StepSection], key: str) -> list[Point]:
    """Return (step, value) of a quantity where it is known."""
    pairs = ((reading.step, getattr(reading, key)) for reading in history)
    return [(float(step), value) for step, value in pairs if value is not None]


def _build_panel(
    row: ModelRow, title: str, quantities: Sequence[tuple[str, str]], include: Sequence[float]
) -> CurvePanel | None:
    series = [(key, name, quantity_points(row.history, key)) for key, name in quantities]
    visible = [(key, name, points) for key, name, points in series if points]
    if not visible:
        return None
    steps = [point[0] for _, _, points in visible for point in points]
    heights = [point[1] for _, _, points in visible for point in points]
    x = Scale(min(steps), max(*steps, min(steps) + 1), FRAME.left, FRAME.right)
    y = Scale(*_axis_range(heights, include), FRAME.bottom, FRAME.top)
    return CurvePanel(
        title,
        f"{row.label}: " + "; ".join(_describe_curve(name or title, points) for _, name, points in visible) + ".",
        tuple(_separate_names([_build_curve(key, name, points, x, y) for key, name, points in visible])),
        x.whole_ticks(5),
        y.ticks(4),
        y(0.0) if y.low < 0 < y.high else None,
        x.ends,
        y.ends,
    )


def _axis_range(heights: Sequence[float], include: Sequence[float]) -> tuple[float, float]:
    if include and min(include) <= min(heights) and max(heights) <= max(include):
        return (min(include), max(include)) if len(include) > 1 else (min(include), min(include) + 1)
    low, high = pad_range([*heights, *include])
    return (low if min(heights) < 0 or not include else max(low, 0.0)), high


def _build_curve(key: str, name: str, points: Sequence[Point], x: Scale, y: Scale) -> Curve:
    polyline = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in downsample(points))
    return Curve(key, name, polyline, y(points[-1][1]))


def _separate_names(curves: list[Curve]) -> list[Curve]:
    """Return the curves with their names at least a line of text apart."""
    ordered = sorted(curves, key=lambda curve: curve.name_y)
    if len(ordered) < 2 or ordered[1].name_y - ordered[0].name_y >= 12:
        return curves
    middle = min(max((ordered[0].name_y + ordered[1].name_y) / 2, FRAME.top + 6), FRAME.bottom - 6)
    heights = {ordered[0].key: middle - 6, ordered[1].key: middle + 6}
    return [Curve(curve.key, curve.name, curve.points, heights[curve.key]) for curve in curves]


def _describe_curve(name: str, points: Sequence[Point]) -> str:
    heights = [value for _, value in points]
    first, last, low, high = map(format_number, (heights[0], heights[-1], min(heights), max(heights)))
    return f"{name} starts at {first} and ends at {last}, between {low} and {high}"
