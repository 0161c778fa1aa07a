"""Forgetting across, utility upwards: the models of a request, and the points of a sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from expunge.report.chart import (
    FONT_SIZE,
    ROLES,
    Chart,
    Point,
    clean_text,
    draw_interval,
    draw_legend,
    draw_mark,
    explain,
    set_range,
)
from expunge.report.document import RequestSection
from expunge.report.numbers import format_metric, format_with_half_width
from expunge.report.ranking import distances_to_retrained, smallest_gap_method
from expunge.report.templating import read_palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES_COLORS = (
    *("#0a5a94", "#ad4208", "#4c7a34", "#7a4a94", "#8a6d00"),
    *("#575c63", "#b03060", "#00857a", "#3a3fb0", "#7d5a3c"),
)
"""Colors of the methods of a sweep."""
_LETTER_WIDTH = 6.6


@dataclass(frozen=True)
class _Model:
    """A model's place in the trade-off."""

    name: str
    role: str
    x: float
    y: float
    half: Point


def _place_models(request: RequestSection) -> tuple[str, list[_Model]]:
    """Return the name of the level axis, and the models that have a place.

    A class request has UA across. Any other request has the distance of UA to the retrained model across, because
    there more errors on forgotten examples are not better; without a reference that axis is UA as well.
    """
    distance, winner, models = request.kind != "class" and request.retrained, smallest_gap_method(request), []
    for row in request.rows:
        distances = distances_to_retrained(request, row, "ua")
        x = (fmean(distances) if distances else None) if distance else row.mean("ua")
        y, half = row.mean("ta"), None if distance else row.half_width("ua")
        if x is not None and y is not None:
            role = "best" if row is winner else row.role
            models.append(_Model(row.label, role, x, y, (half or 0.0, row.half_width("ta") or 0.0)))
    label = "|UA − UA of retrained|, points (left is closer)" if distance else "UA, % (errors on forgotten examples)"
    return label, models


def _find_crowd(models: Sequence[_Model]) -> list[_Model]:
    """Return the three fifths of the methods nearest to the retrained model, with it, if they fill a small part."""
    target = next((one for one in models if one.role == "retrained"), None)
    others = [one for one in models if one.role in ("best", "method")]
    if target is None:
        return []

    def span(values: Sequence[float]) -> float:
        return max(values) - min(values)

    wide, high = span([one.x for one in models]) or 1.0, span([one.y for one in models]) or 1.0
    others.sort(key=lambda one: max(abs(one.x - target.x) / wide, abs(one.y - target.y) / high))
    crowd = [target, *others[: math.ceil(0.6 * len(others))]]
    is_small = span([one.x for one in crowd]) <= 0.25 * wide and span([one.y for one in crowd]) <= 0.25 * high
    return crowd if is_small and 4 <= len(crowd) < len(models) else []


def build_tradeoff_chart(request: RequestSection, *, close_up: bool = False) -> Chart | None:
    """Return forgetting across and test accuracy upwards, of all models or of those near the retrained one."""
    x_label, models = _place_models(request)
    crowd = _find_crowd(models)
    shown = crowd if close_up else models
    if len(shown) < 2:
        return None
    title = "Trade-off of UA and TA" + (", close-up" if close_up else ", all models" if crowd else "")
    unnamed = () if close_up else crowd
    draw = partial(_draw_tradeoff, models=shown, unnamed=unnamed, x_label=x_label)
    return Chart("trade-off-close-up" if close_up else "trade-off", title, draw, 280)


def _draw_tradeoff(axes: Axes, *, models: Sequence[_Model], unnamed: Sequence[_Model], x_label: str) -> None:
    set_range(axes.set_xlim, [one.x for one in models], 0.1)
    set_range(axes.set_ylim, [one.y for one in models], 0.1)
    across, legend = x_label.split(",")[0], {}
    for one in models:
        draw_interval(axes, (one.x, one.y), one.half, one.role == "best")
    for one in models:
        tip = f"{one.name}: {across} {format_metric(one.x)}, TA {format_metric(one.y)}"
        legend[one.role] = draw_mark(axes, one.role, one.x, one.y, tip)
    draw_legend(axes, [({"best": "smallest gap"}.get(role, role), legend[role]) for role in ROLES if role in legend])
    if x_label.startswith("|"):
        axes.set_xlim(left=-0.03 * axes.get_xlim()[1])
    axes.set_xlabel(x_label)
    axes.set_ylabel("TA, % (test accuracy)")
    _name_points(axes, [(one.x, one.y) for one in models], ["" if one in unnamed else one.name for one in models])


def _name_points(axes: Axes, points: Sequence[Point], names: Sequence[str]) -> None:
    """Write names beside points, each where it covers no mark and no other name, as far as there is such a place."""
    scale = 72 / axes.figure.dpi
    places = [(x * scale, y * scale) for x, y in axes.transData.transform(points)]
    frame = [side * scale for side in axes.get_window_extent().extents]
    taken: list[Sequence[float]] = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for (x, y), point, name in zip(places, points, names, strict=True):
        text = clean_text(name, 24)
        wide, high = _LETTER_WIDTH * len(text) / 2 + 2, FONT_SIZE / 2 + 2

        def box(offset: Point, x: float = x, y: float = y, wide: float = wide, high: float = high) -> Sequence[float]:
            return x + offset[0] - wide, y + offset[1] - high, x + offset[0] + wide, y + offset[1] + high

        offsets = [
            (math.cos(angle) * (wide + 10 + 12 * ring), math.sin(angle) * (high + 8 + 12 * ring))
            for ring in range(16)
            for angle in (math.pi * part / 8 for part in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11))
        ]
        best = min(offsets, key=lambda offset: _measure_overlap(box(offset), taken, frame))
        if text:
            taken.append(box(best))
            is_far = math.hypot(best[0] / (wide + 22), best[1] / (high + 22)) > 1
            line = {"arrowstyle": "-", "color": read_palette()["mute"], "lw": 0.75, "shrinkB": 5} if is_far else None
            options: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False, "zorder": 5}
            axes.annotate(text, point, best, textcoords="offset points", arrowprops=line, **options)


def _measure_overlap(box: Sequence[float], taken: Sequence[Sequence[float]], frame: Sequence[float]) -> float:
    """Return how much of a box lies on others or outside the frame."""
    left, bottom, right, top = box
    area = sum(
        max(0.0, min(right, other[2]) - max(left, other[0])) * max(0.0, min(top, other[3]) - max(bottom, other[1]))
        for other in taken
    )
    outside = max(0.0, frame[0] - left) + max(0.0, right - frame[2])
    return area + 100 * (outside + max(0.0, frame[1] - bottom) + max(0.0, top - frame[3]))


def build_pareto_chart(request: Mapping[str, Any], utility: str = "ta") -> Chart:
    """Return a sweep: forgetting across, utility upwards, each method's points in a line, the front dashed."""
    title = f"{request['description']}: forgetting against {utility.upper()}"
    height = max(280.0, 19.0 * (len(request["rows"]) + 3))
    draw = partial(_draw_pareto, request=request, utility=utility)
    return Chart(f"{request['id']}-{utility}", title, draw, height, width=640, right=190)


def _draw_pareto(axes: Axes, *, request: Mapping[str, Any], utility: str) -> None:
    def place_points(points: Sequence[Mapping[str, Any]]) -> list[tuple[Point, Mapping[str, Any]]]:
        pairs = [((point["forgetting"]["mean"], point[utility]["mean"]), point) for point in points]
        return [(place, point) for place, point in pairs if None not in place]

    def describe(point: Mapping[str, Any]) -> str:
        names = {"forgetting": "forgetting", utility: utility.upper()}
        scores = {name: (point[key]["mean"], point[key]["half_width"]) for key, name in names.items()}
        return ", ".join(f"{name} {format_with_half_width(*score)}" for name, score in scores.items())

    legend: dict[str, Any] = {}
    curves = [(row, place_points(row["points"])) for row in request["rows"]]
    models = {role: place_points([point]) for role, point in request["models"].items()}
    places = [place for _, points in curves for place, _ in points] + [p for m in models.values() for p, _ in m]
    if places:
        set_range(axes.set_xlim, [x for x, _ in places], 0.08)
        set_range(axes.set_ylim, [y for _, y in places], 0.08)
    for number, (row, points) in enumerate(curves):
        color, label = SERIES_COLORS[number % len(SERIES_COLORS)], row["label"]
        axes.plot([x for (x, _), _ in points], [y for (_, y), _ in points], color=color, alpha=0.45, zorder=2)
        for (x, y), point in points:
            errors = {"xerr": point["forgetting"]["half_width"], "yerr": point[utility]["half_width"]}
            axes.errorbar([x], [y], **errors, color=color, elinewidth=1, alpha=0.5, zorder=2)
            (legend[label],) = axes.plot([x], [y], "o", color=color, ms=6, zorder=3)
            explain(legend[label], f"{label}, {row['knob']} {point['value']:g}: {describe(point)}")
    for role, points in models.items():
        for (x, y), point in points:
            legend[role] = draw_mark(axes, role, x, y, f"{role}: {describe(point)}")
    front = sorted(place for _, points in curves for place, point in points if utility in point["front"])
    if len(front) > 1:
        (legend["front"],) = axes.plot(*zip(*front, strict=True), color=read_palette()["ink"], lw=1, ls=(0, (5, 3)))
    draw_legend(axes, list(legend.items()), beside=True)
    axes.set_xlabel(clean_text(request["axes"]["forgetting"], 80), parse_math=False)
    axes.set_ylabel(f"{utility.upper()}, %")
