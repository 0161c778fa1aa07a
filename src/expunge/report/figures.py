"""The figures of a report: gaps, accuracies per class, the course of a run and of its budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from expunge.formatting import format_number, format_percent
from expunge.report.budget_schema import BudgetSection
from expunge.report.budget_text import format_amount
from expunge.report.chart import (
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
from expunge.report.document import ModelRow, RequestSection
from expunge.report.numbers import format_metric, format_with_half_width
from expunge.report.ranking import best_method, rank_methods, smallest_gap_method
from expunge.report.templating import read_palette
from expunge.report.tradeoff import build_tradeoff_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CLASSES = 24
"""How many classes are drawn; the table beside the figure has all."""
MAX_CURVE_POINTS = 300
"""How many points of a curve are drawn."""
HISTORY_QUANTITIES: dict[str, tuple[str, dict[str, str], tuple[float, ...]]] = {
    "losses": ("Losses", {"forget_loss": "forget", "retain_loss": "retain"}, ()),
    "cosine": ("Cosine of the two gradients", {"cosine": ""}, (-1.0, 1.0)),
    "multiplier": ("Multiplier", {"multiplier": ""}, (0.0,)),
    "projected_fraction": ("Share of the forget gradient removed", {"projected_fraction": ""}, (0.0, 1.0)),
}
"""Quantity → title, its curves with their names, and values that the upright axis shows."""
BUDGET_QUANTITIES = ("spent", "recognized", "auc")


def build_request_charts(request: RequestSection) -> list[Chart]:
    """Return the figures that compare the models of a request."""
    charts = [
        build_tradeoff_chart(request),
        build_tradeoff_chart(request, close_up=True),
        build_gap_chart(request),
        build_class_chart(request),
    ]
    return [chart for chart in charts if chart is not None]


def _name_rows(axes: Axes, names: Sequence[str], bold: int | None = None) -> None:
    """Write a name at the left of each row, the first at the top."""
    axes.set_yticks(range(len(names)), [clean_text(name, 16) for name in names], parse_math=False)
    axes.tick_params(axis="y", labelcolor=read_palette()["ink"])
    if bold is not None:
        axes.get_yticklabels()[bold].set_fontweight("bold")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def build_gap_chart(request: RequestSection) -> Chart | None:
    """Return the average gap of each method with its interval and the noise floor as a band."""
    rows = [row for row in rank_methods(request) if row.mean("avg_gap") is not None]
    if request.metric("avg_gap") is None or not rows:
        return None
    draw = partial(_draw_gaps, request=request, rows=rows)
    return Chart("gaps", "Average gap to the retrained model", draw, 26 * len(rows) + 6, left=112)


def _draw_gaps(axes: Axes, *, request: RequestSection, rows: Sequence[ModelRow]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    color, winner = read_palette(), smallest_gap_method(request)
    means = [row.mean("avg_gap") or 0.0 for row in rows]
    halves = [row.half_width("avg_gap") or 0.0 for row in rows]
    floor = request.noise_floor.mean if request.noise_floor is not None else None
    values = [*means, *([] if floor is None else [floor])]
    top = max(mean + half for mean, half in zip(means, halves, strict=True))
    is_logarithmic = min(values) > 0 and max(values) > 20 * min(values)
    axes.set_xscale("log" if is_logarithmic else "linear")
    axes.set_xlim(min(values) / 2 if is_logarithmic else 0.0, max(top, *values, 1e-6) * 1.1)
    if is_logarithmic:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if floor is not None:
        half = (request.noise_floor.half_width if request.noise_floor is not None else None) or 0.0
        band = axes.axvspan(floor - half, floor + half, color=color["band"], zorder=0)
        axes.axvline(floor, color=color["mute"], lw=1, zorder=1)
        tip = f"noise floor {format_with_half_width(floor, half or None)}"
        draw_legend(axes, [("noise floor", explain(band, tip))])
    for number, row in enumerate(rows):
        is_best, mean = row is winner, means[number]
        draw_interval(axes, (mean, number), (halves[number], 0.0), is_best)
        tip = f"{row.label} {format_with_half_width(mean, row.half_width('avg_gap'))}"
        draw_mark(axes, "best" if is_best else "method", mean, number, tip)
    _name_rows(axes, [row.label for row in rows], rows.index(winner) if winner in rows else None)
    axes.set_xlabel(f"points{', logarithmic axis' if is_logarithmic else ''} (left is closer)")


def get_class_accuracy(row: ModelRow | None, index: int) -> float | None:
    """Return a model's test accuracy on the class with this index; None where it is unknown."""
    return row.per_class[index] if row is not None and index < len(row.per_class) else None


def list_classes(request: RequestSection) -> list[str]:
    """Return the name of every class that a model has an accuracy for, its number by default."""
    total = max((len(row.per_class) for row in request.rows), default=0)
    return [request.classes[index] if index < len(request.classes) else str(index) for index in range(total)]


def build_class_chart(request: RequestSection) -> Chart | None:
    """Return the accuracy per class of original, retrained and the method with the smallest gap.

    Of more than 24 classes those are drawn whose accuracy moved most; the table beside it has them all.
    """
    method = best_method(request)
    if method is None or not method.per_class:
        return None
    models = {"original": request.row("original"), "retrained": request.row("retrained"), "best": method}
    known = [
        index
        for index in range(len(list_classes(request)))
        if any(get_class_accuracy(row, index) is not None for row in request.rows)
    ]

    def change(index: int) -> float:
        before, after = get_class_accuracy(models["original"], index), get_class_accuracy(method, index)
        return abs(before - after) if before is not None and after is not None else 0.0

    indices = sorted(sorted(known, key=change, reverse=True)[:MAX_CLASSES])
    left_out = len(known) - len(indices)
    note = f"The {len(indices)} classes that moved most; {left_out} more are in the table below." if left_out else ""
    draw = partial(_draw_classes, request=request, models=models, indices=indices)
    return Chart("classes", "Test accuracy per class, %", draw, 24 * len(indices) + 6, left=112, note=note)


def _draw_classes(
    axes: Axes, *, request: RequestSection, models: Mapping[str, ModelRow | None], indices: Sequence[int]
) -> None:
    from matplotlib.ticker import MaxNLocator

    names, legend = list_classes(request), {}
    words = {"original": "from", "retrained": "retrained", "best": "to"}
    for place, index in enumerate(indices):
        values = {role: get_class_accuracy(row, index) for role, row in models.items()}
        known = {role: value for role, value in values.items() if value is not None}
        tip = f"{names[index]}: {', '.join(f'{words[role]} {format_metric(value)}' for role, value in known.items())}"
        if "original" in known and "best" in known:
            ends = [known["original"], known["best"]]
            axes.plot(ends, [place, place], color=read_palette()["accent"], lw=1.5, alpha=0.55, zorder=2)
        for role, value in known.items():
            legend[role] = draw_mark(axes, role, value, place, tip)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    drawn = [value for row in models.values() if row for value in row.per_class if value is not None]
    low = min(drawn, default=0.0)
    axes.set_xlim(0.0 if low < 60 else min(10 * ((low - 1) // 10), 90.0), 100.0)
    method = models["best"]
    labels = {"best": "unlearned" if method is None else method.label}
    draw_legend(axes, [(labels.get(role, role), legend[role]) for role in ROLES if role in legend])
    _name_rows(axes, [names[index] for index in indices])
    axes.set_xlabel("test accuracy, %")


def thin_curve(points: Sequence[Point], limit: int = MAX_CURVE_POINTS) -> list[Point]:
    """Return at most ``limit`` of the points: the first, the last, and the lowest and highest of equal pieces.

    Examples:
        >>> kept = thin_curve([(float(x), 1000.0 if x == 777 else 0.0) for x in range(5000)])
        >>> len(kept) <= 300, (777.0, 1000.0) in kept
        (True, True)
    """
    if len(points) <= limit:
        return list(points)
    size = math.ceil(2 * len(points) / (limit - 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        piece = range(start, min(start + size, len(points)))
        kept |= {min(piece, key=lambda at: points[at][1]), max(piece, key=lambda at: points[at][1])}
    return [points[at] for at in sorted(kept)]


def build_history_charts(row: ModelRow) -> list[Chart]:
    """Return a small figure for every quantity that a method's history has."""
    return [
        chart
        for quantity in HISTORY_QUANTITIES
        if (chart := build_history_chart(row, quantity, small=True)) is not None
    ]


def build_history_chart(row: ModelRow, quantity: str, *, small: bool = False) -> Chart | None:
    """Return a quantity of a method over its updates; None where it has none."""
    title, names, include = HISTORY_QUANTITIES[quantity]
    curves = {
        key: [(float(step.step), getattr(step, key)) for step in row.history if getattr(step, key) is not None]
        for key in names
    }
    curves = {key: points for key, points in curves.items() if points}
    if not curves:
        return None
    x_label = "" if small else "updates"
    draw = partial(_draw_history, curves=curves, names=names, title=title, include=include, x_label=x_label)
    right = 52 if len(names) > 1 else 14
    size: dict[str, Any] = {"height": 88, "width": 270, "below": 20} if small else {"height": 180, "width": 440}
    return Chart(quantity, title, draw, left=40, right=right, above=8, **size)


def _draw_history(
    axes: Axes,
    *,
    curves: Mapping[str, Sequence[Point]],
    names: Mapping[str, str],
    title: str,
    include: Sequence[float],
    x_label: str,
) -> None:
    from matplotlib.ticker import MaxNLocator

    palette = read_palette()
    heights = [value for points in curves.values() for _, value in points]
    if include and min(include) <= min(heights) and max(heights) <= max(include):
        axes.set_ylim(min(include), max(include) if len(include) > 1 else min(include) + 1)
    else:
        set_range(axes.set_ylim, [*heights, *include], 0.06)
    if min(heights) < 0 < max(heights):
        axes.axhline(0.0, color=palette["mute"], lw=1, zorder=1)
    ends: list[Any] = []
    for key, points in curves.items():
        color = palette[key.removesuffix("_loss")] if key.endswith("_loss") else palette["ink"]
        values = [value for _, value in points]
        first, last, low, high = map(format_number, (values[0], values[-1], min(values), max(values)))
        tip = f"{names[key] or title} starts at {first} and ends at {last}, between {low} and {high}"
        (line,) = axes.plot(*zip(*thin_curve(points), strict=True), color=color, lw=1.2, zorder=3)
        explain(line, tip)
        if names[key]:
            style: dict[str, Any] = {"color": color, "va": "center", "textcoords": ("axes fraction", "data")}
            ends.append(axes.annotate(names[key], points[-1], (1.03, points[-1][1]), fontsize=10, **style))
    _separate_names(axes, ends)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.grid(False, axis="x")
    axes.set_xlabel(x_label)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _separate_names(axes: Axes, ends: Sequence[Any]) -> None:
    """Move the names of curves apart, and into the figure, where they would cover one another."""
    low, high = axes.get_ylim()
    line = 0.16 * (high - low)
    at = high
    for text in sorted(ends, key=lambda text: -float(text.xyann[1])):
        at = min(at, max(float(text.xyann[1]), low + line * 0.4))
        text.xyann = (text.xyann[0], at)
        at -= line
    if ends and at + line < low:
        for text in ends:
            text.xyann = (text.xyann[0], text.xyann[1] + low - at - line)


def build_budget_charts(budget: BudgetSection) -> list[Chart]:
    """Return what was spent and each criterion of forgetting that was read, over the updates."""
    return [chart for quantity in BUDGET_QUANTITIES if (chart := build_budget_chart(budget, quantity)) is not None]


def build_budget_chart(budget: BudgetSection, quantity: str) -> Chart | None:
    """Return one quantity of the control readings; None where no reading has it."""
    asked, most, margin = budget.limit, budget.criterion.max_recognized, budget.criterion.margin
    limit: tuple[float, str] | None = None
    if quantity == "spent":
        unit = "points" if asked.accuracy_points is not None else "%" if asked.loss_increase is not None else "own unit"
        title, values = f"Spent, {unit}", [asked.to_display(look.spent) for look in budget.evaluations]
        include, limit = [0.0, asked.amount], (asked.amount, f"allowed: {format_amount(asked, asked.amount)}")
    elif quantity == "recognized":
        title = "Forgotten class still recognized, %"
        values = [None if look.recognized is None else 100 * look.recognized for look in budget.evaluations]
        include, limit = [0.0, 100 * most], (100 * most, f"asked: at most {format_percent(most)}")
    else:
        title, values = "AUC, forgotten against held-out", [look.auc for look in budget.evaluations]
        include = [0.5 - margin, 0.5 + margin]
    known = {at: value for at, value in enumerate(values) if value is not None}
    if not known:
        return None
    draw = partial(_draw_budget, budget=budget, values=known, include=include, limit=limit)
    return Chart(f"budget-{quantity}", title, draw, 170)


def _draw_budget(
    axes: Axes,
    *,
    budget: BudgetSection,
    values: Mapping[int, float],
    include: Sequence[float],
    limit: tuple[float, str] | None,
) -> None:
    from matplotlib.ticker import MaxNLocator

    color, legend = read_palette(), {}
    steps = {at: budget.evaluations[at].step for at in values}
    axes.set_xlim(-0.02 * max(1, *steps.values()), 1.02 * max(1, *steps.values()))
    set_range(axes.set_ylim, [*include, *values.values()], 0.1)
    axes.plot(list(steps.values()), list(values.values()), color=color["ink"], lw=1.1, zorder=2)
    names = {"original": "original", "method": "reading", "best": "handed over"}
    for at, value in values.items():
        role = "best" if at == budget.chosen else "original" if at == 0 else "method"
        tip = f"update {steps[at]}: {format_number(value)}{', handed over' if role == 'best' else ''}"
        legend[names[role]] = draw_mark(axes, role, steps[at], value, tip)
    entries = [(name, legend[name]) for name in names.values() if name in legend]
    if limit is None:
        entries.append(("asked", axes.axhspan(min(include), max(include), color=color["band"], zorder=0)))
    else:
        axes.axhline(limit[0], color=color["forget"], lw=1.4, ls=(0, (4, 3)), zorder=1)
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        align: dict[str, Any] = {"ha": "right", "color": color["ink"], "fontsize": 10, "parse_math": False}
        axes.annotate(clean_text(limit[1], 48), (1.0, limit[0]), (0, 5), **place, **align)
    draw_legend(axes, entries)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(False, axis="x")
    axes.set_xlabel("updates")
