"""The trade-off: forgetting across, utility upwards, with a close-up where the models crowd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from expunge.report.document import ModelRow, RequestSection
from expunge.report.drawing import Frame, LegendKey, Scale, Tick, pad_range
from expunge.report.labels import Box, Label, place_labels
from expunge.report.numbers import format_metric, join_words
from expunge.report.ranking import distances_to_retrained, smallest_gap_method

FRAME = Frame(wide=480, high=360, left=58, right=468, top=14, bottom=314)
TITLE = "Trade-off of UA and TA"
ROLES = ("original", "retrained", "method", "best")


@dataclass(frozen=True)
class ModelPoint:
    """A model's place in the trade-off."""

    name: str
    role: str
    x: float
    y: float
    x_half: float | None
    y_half: float | None


@dataclass(frozen=True)
class ScatterMark:
    """A spot in pixels, with its interval lines and a sentence for who points at it."""

    role: str
    x: float
    y: float
    lines: tuple[tuple[float, float, float, float], ...]
    tip: str


@dataclass(frozen=True)
class Scatter:
    """One drawn panel."""

    kind: ClassVar[str] = "scatter"
    title: str
    description: str
    x_name: str
    y_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[ScatterMark, ...]
    labels: tuple[Label, ...]
    window: Box | None
    roles: tuple[str, ...]
    frame: Frame = FRAME
    note: str = ""

    @property
    def keys(self) -> tuple[LegendKey, ...]:
        """The legend."""
        return tuple(LegendKey(role, "smallest gap" if role == "best" else role) for role in self.roles)


@dataclass(frozen=True)
class PlotData:
    """What the axes mean."""

    x_name: str
    y_name: str
    points: tuple[ModelPoint, ...]


def build_plot_data(request: RequestSection) -> PlotData | None:
    """Return the axes and the models on them; None where fewer than two models can be placed.

    A class request has UA across. Any other request has the distance of UA to the retrained model across, because
    there more errors on forgotten examples are not better; without a reference that axis is UA as well.
    """
    distance = request.kind != "class" and request.retrained
    spots = [_model_point(request, row, distance) for row in request.rows]
    points = tuple(spot for spot in spots if spot is not None)
    if len(points) < 2:
        return None
    x_name = "|UA − UA of retrained|, points (left is closer)" if distance else "UA, % (errors on forgotten examples)"
    return PlotData(x_name, "TA, % (test accuracy)", points)


def _model_point(request: RequestSection, row: ModelRow, distance: bool) -> ModelPoint | None:
    winner = smallest_gap_method(request)
    role = "best" if winner is row else row.role
    y, x = row.mean("ta"), row.mean("ua")
    half = row.half_width("ua")
    if distance:
        distances = distances_to_retrained(request, row, "ua")
        x, half = (fmean(distances), None) if distances else (None, None)
    if y is None or x is None:
        return None
    return ModelPoint(row.label, role, x, y, half, row.half_width("ta"))


def scatter_panels(request: RequestSection) -> tuple[Scatter, ...]:
    """Return the panel of all models and, where most of them crowd in a corner of it, a close-up of that corner."""
    data = build_plot_data(request)
    if data is None:
        return ()
    window = zoom_region(data.points)
    if window is None:
        return (_build_panel(data, TITLE, data.points, None),)
    inside = [spot for spot in data.points if _within(spot, window)]
    return (
        _build_panel(data, f"{TITLE}, all models", data.points, window),
        _build_panel(data, f"{TITLE}, close-up", inside, None),
    )


def zoom_region(points: Sequence[ModelPoint]) -> Box | None:
    """Return the region, in values, of the three fifths of the models nearest to the retrained one, if it is small.

    Small is: under three tenths of the whole range on both axes. Without a retrained model the middle of all stands in.
    """
    target = next((spot for spot in points if spot.role == "retrained"), None) or _median_point(points)
    others = [spot for spot in points if spot.role in ("best", "method")]
    (left, right), (low, high) = pad_range([s.x for s in points], 0), pad_range([s.y for s in points], 0)

    def far(spot: ModelPoint) -> float:
        return max(abs(spot.x - target.x) / (right - left), abs(spot.y - target.y) / (high - low))

    nearest = sorted(others, key=far)[: math.ceil(0.6 * len(others))]
    if len(nearest) < 3 or len(nearest) == len(points):
        return None
    x, y = (
        pad_range([target.x, *(s.x for s in nearest)], 0.15),
        pad_range([target.y, *(s.y for s in nearest)], 0.15),
    )
    if x[1] - x[0] > 0.3 * (right - left) or y[1] - y[0] > 0.3 * (high - low):
        return None
    return Box(x[0], y[0], x[1], y[1])


def _median_point(points: Sequence[ModelPoint]) -> ModelPoint:
    xs, ys = sorted(spot.x for spot in points), sorted(spot.y for spot in points)
    return ModelPoint("", "", xs[len(xs) // 2], ys[len(ys) // 2], None, None)


def _within(spot: ModelPoint, window: Box) -> bool:
    return window.left <= spot.x <= window.right and window.top <= spot.y <= window.bottom


def _build_panel(data: PlotData, title: str, spots: Sequence[ModelPoint], window: Box | None) -> Scatter:
    x = Scale(*pad_range([spot.x for spot in spots], 0.1), FRAME.left, FRAME.right)
    y = Scale(*pad_range([spot.y for spot in spots], 0.1), FRAME.bottom, FRAME.top)
    labeled = [spot for spot in spots if window is None or not _within(spot, window)]
    window_box = None if window is None else Box(x(window.left), y(window.bottom), x(window.right), y(window.top))
    inner = Box(FRAME.left, FRAME.top, FRAME.right, FRAME.bottom)
    points, others = [(x(s.x), y(s.y)) for s in labeled], [(x(s.x), y(s.y)) for s in spots if s not in labeled]
    return Scatter(
        title,
        _describe(data, spots),
        data.x_name,
        data.y_name,
        x.ticks(6),
        y.ticks(6),
        tuple(_build_mark(data, spot, x, y) for spot in spots),
        tuple(place_labels(points, [spot.name for spot in labeled], inner, others)),
        window_box,
        tuple(role for role in ROLES if any(spot.role == role for spot in spots)),
    )


def _build_mark(data: PlotData, spot: ModelPoint, x: Scale, y: Scale) -> ScatterMark:
    lines = []
    if spot.x_half:
        lines.append((x(spot.x - spot.x_half), y(spot.y), x(spot.x + spot.x_half), y(spot.y)))
    if spot.y_half:
        lines.append((x(spot.x), y(spot.y - spot.y_half), x(spot.x), y(spot.y + spot.y_half)))
    across, upwards = (name.split(",")[0] for name in (data.x_name, data.y_name))
    tip = f"{spot.name}: {across} {format_metric(spot.x)}, {upwards} {format_metric(spot.y)}"
    return ScatterMark(spot.role, x(spot.x), y(spot.y), tuple(lines), tip)


def _describe(data: PlotData, spots: Sequence[ModelPoint]) -> str:
    places = join_words([f"{spot.name} at {format_metric(spot.x)} and {format_metric(spot.y)}" for spot in spots])
    return f"Across: {data.x_name}. Upwards: {data.y_name}. {places}."
