"""A sweep of knobs as a table and as a figure: every point with its intervals, and the front of all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from expunge.report.drawing import Scale, pad_range
from expunge.report.markdown import escape as plain
from expunge.report.numbers import format_metric, format_with_half_width

COLORS = ("#0a5a94", "#ad4208", "#4c7a34", "#7a4a94", "#8a6d00", "#575c63", "#b03060", "#00857a", "#3a3fb0", "#7d5a3c")
STYLE = """<style>
svg { background: #fdfdfb } text { font-family: system-ui, sans-serif; fill: #1b1d20; font-size: 12px }
.tick { font-size: 11px; fill: #575c63 } .title { font-size: 13px; font-weight: 600 }
.grid { stroke: #e8e8e3 } .axis { stroke: #7b8087 } .front { fill: none; stroke: #1b1d20; stroke-dasharray: 5 3 }
</style>"""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 450, 34, 350
UTILITY_LABELS = {"ra": "RA", "ta": "TA"}
ComparisonRequest = Mapping[str, Any]


def pareto_table(request: ComparisonRequest) -> str:
    """Return the table of a sweep in Markdown: points on a front in bold, areas with intervals, and what they refer to.

    Args:
        request: An element of the ``requests`` of a comparison.
    """
    forgetting_label = plain(request["axes"]["forgetting"])
    heads = ["Method", "knob", forgetting_label, "RA, %", "TA, %", "area (RA)", "area (TA)"]
    lines = [f"| {' | '.join(heads)} |", f"| :--- | :--- |{' ---: |' * 5}"]
    for role, label in (("original", "Original"), ("retrained", "Retrain")):
        lines.append(format_row([label, "–", *point_cells(request["models"][role]), "", ""]))
    for row in request["rows"]:
        for index, point in enumerate(row["points"]):
            name = f"**{plain(row['label'])}**" if point["front"] else plain(row["label"])
            areas = [area_cell(row["hypervolume"][one]) if index == 0 else "" for one in UTILITY_LABELS]
            lines.append(format_row([name, f"{plain(row['knob'])} {point['value']:g}", *point_cells(point), *areas]))
    return "\n".join([*lines, "", *list_remarks(request)])


def list_remarks(request: ComparisonRequest) -> list[str]:
    """Return what the table refers to, in words, and the cells that have no figures."""
    seeds, (x, y), (wide, high) = len(request["seeds"]), request["reference_point"], request["scales"]
    sure = "One seed, so no intervals." if seeds == 1 else f"{seeds} paired seeds; ± is half a 95 % t-interval."
    summary = (
        f"{sure} In bold: points that no other mean beats in forgetting and in RA or TA. Area: hypervolume above the "
        f"reference point ({format_metric(x)}, {format_metric(y)}), in units of {format_metric(wide)} × "
        f"{format_metric(high)}, by seed."
    )
    missing = [
        f"- {plain(cell['row'])}, seed {cell['seed']}: {plain(cell['sentence'])}" for cell in request["incomplete"]
    ]
    return [summary, *(["", "Without figures:", "", *missing] if missing else [])]


def format_row(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def point_cells(point: Mapping[str, Any]) -> list[str]:
    """Return the cells of a point: forgetting, RA and TA."""
    return [format_score(point[name]) for name in ("forgetting", *UTILITY_LABELS)]


def area_cell(score: Mapping[str, Any]) -> str:
    """Return the cell of an area."""
    return format_score(score, "")


def format_score(score: Mapping[str, Any], unit: str = "%") -> str:
    """Return a mean with its half-width; a dash where there is none."""
    return format_with_half_width(score["mean"], score["half_width"], unit)


def pareto_figure(request: ComparisonRequest, utility: str = "ta") -> str:
    """Return a sweep as the text of an SVG file: forgetting across, utility upwards, each method's points in a line.

    Args:
        request: An element of the ``requests`` of a comparison.
        utility: ``ta`` or ``ra``.
    """
    rows = [(row, plottable_points(row["points"], utility)) for row in request["rows"]]
    models = {role: plottable_points([point], utility) for role, point in request["models"].items()}
    every = [point for _, points in rows for point in points] + [one for points in models.values() for one in points]
    x = Scale(*axis_limits(every, "forgetting"), LEFT, RIGHT)
    y = Scale(*axis_limits(every, utility), BOTTOM, TOP)
    title = f"{request['description']}: forgetting against {UTILITY_LABELS[utility]}"
    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(title)}</text>', *draw_axes(x, y, request, utility)]
    front = sorted(
        ((p["forgetting"]["mean"], p[utility]["mean"]) for _, points in rows for p in points if utility in p["front"])
    )
    parts.append(f'<path class="front" d="{path_data(front, x, y)}"/>' if len(front) > 1 else "")
    for number, (row, points) in enumerate(rows):
        color = COLORS[number % len(COLORS)]
        parts += draw_curve(row, points, utility, color, x, y)
        parts += legend_entry(row["label"], color, TOP + 12 + 19 * number)
    for number, (role, points) in enumerate(models.items(), start=len(rows)):
        parts += draw_model(points, utility, role, x, y)
        parts += model_legend_entry(role, TOP + 12 + 19 * number)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{STYLE}'
    return "\n".join([head, f"<title>{escape(title)}</title>", *filter(None, parts), "</svg>"]) + "\n"


def plottable_points(points: Sequence[Mapping[str, Any]], utility: str) -> list[Mapping[str, Any]]:
    """Return the points that have a place."""
    return [one for one in points if one["forgetting"]["mean"] is not None and one[utility]["mean"] is not None]


def axis_limits(points: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    """Return the ends of an axis: all means, and intervals as far as they stay near them."""
    means = [one[name]["mean"] for one in points] or [0.0]
    return pad_range(means, 0.08)


def draw_axes(x: Scale, y: Scale, request: ComparisonRequest, utility: str) -> list[str]:
    """Return grid, ticks and names of both axes."""
    parts = []
    for tick in x.ticks(6):
        parts.append(f'<line class="grid" x1="{tick.at}" x2="{tick.at}" y1="{TOP}" y2="{BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{tick.at}" y="{BOTTOM + 17}" text-anchor="middle">{tick.text}</text>')
    for tick in y.ticks(6):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{tick.at}" y2="{tick.at}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{tick.at + 4}" text-anchor="end">{tick.text}</text>')
    parts.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP} L{LEFT} {BOTTOM} L{RIGHT} {BOTTOM}"/>')
    names = escape(request["axes"]["forgetting"]), f"{UTILITY_LABELS[utility]}, %"
    parts.append(
        f'<text class="tick" x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{names[0]}</text>'
    )
    turned = f'transform="translate(15 {(TOP + BOTTOM) / 2}) rotate(-90)"'
    return [*parts, f'<text class="tick" {turned} text-anchor="middle">{names[1]}</text>']


def path_data(places: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """Return the path of a line through places."""
    return " ".join(f"{'L' if number else 'M'}{x(a)} {y(b)}" for number, (a, b) in enumerate(places))


def draw_curve(
    row: Mapping[str, Any], points: Sequence[Mapping[str, Any]], utility: str, color: str, x: Scale, y: Scale
) -> list[str]:
    """Return a method's points in the order of its knob, with intervals and words for who points at them."""
    places = [(one["forgetting"]["mean"], one[utility]["mean"]) for one in points]
    parts = [f'<path d="{path_data(places, x, y)}" fill="none" stroke="{color}" stroke-opacity=".45"/>']
    for one in points:
        tip = f"{row['label']}, {row['knob']} {one['value']:g}: {format_score(one['forgetting'])}; "
        tip = escape(f"{tip}{UTILITY_LABELS[utility]} {format_score(one[utility])}")
        parts += draw_intervals(one, utility, color, x, y)
        at = f'cx="{x(one["forgetting"]["mean"])}" cy="{y(one[utility]["mean"])}"'
        parts.append(f'<circle {at} r="3.5" fill="{color}"><title>{tip}</title></circle>')
    return parts


def draw_intervals(one: Mapping[str, Any], utility: str, color: str, x: Scale, y: Scale) -> list[str]:
    """Return the intervals of a point; they end at the border of the figure."""
    a, b = one["forgetting"], one[utility]
    stroke, parts = f'stroke="{color}" stroke-opacity=".55"', []
    if a["half_width"]:
        ends = x(a["mean"] - a["half_width"]), x(a["mean"] + a["half_width"])
        parts.append(f'<line x1="{ends[0]}" x2="{ends[1]}" y1="{y(b["mean"])}" y2="{y(b["mean"])}" {stroke}/>')
    if b["half_width"]:
        ends = y(b["mean"] - b["half_width"]), y(b["mean"] + b["half_width"])
        parts.append(f'<line x1="{x(a["mean"])}" x2="{x(a["mean"])}" y1="{ends[0]}" y2="{ends[1]}" {stroke}/>')
    return parts


def draw_model(points: Sequence[Mapping[str, Any]], utility: str, role: str, x: Scale, y: Scale) -> list[str]:
    """Return the original as a square, the retrained model as a diamond."""
    parts = []
    for one in points:
        parts += draw_intervals(one, utility, "#7b8087", x, y)
        parts.append(draw_marker(role, x(one["forgetting"]["mean"]), y(one[utility]["mean"])))
    return parts


def draw_marker(role: str, x: float, y: float) -> str:
    """Return the mark of a model that no method made."""
    turn = f' transform="rotate(45 {x} {y})"' if role == "retrained" else ""
    return f'<rect x="{x - 4.5}" y="{y - 4.5}" width="9" height="9" fill="#1b1d20"{turn}/>'


def legend_entry(name: str, color: str, at: float) -> list[str]:
    """Return one line of the legend."""
    left = RIGHT + 16
    mark = f'<circle cx="{left + 6}" cy="{at}" r="3.5" fill="{color}"/>'
    return [mark, f'<text class="tick" x="{left + 18}" y="{at + 4}">{escape(name)}</text>']


def model_legend_entry(role: str, at: float) -> list[str]:
    """Return the line of the legend of a model that no method made."""
    name = {"original": "Original", "retrained": "Retrain"}[role]
    return [draw_marker(role, RIGHT + 22, at), f'<text class="tick" x="{RIGHT + 34}" y="{at + 4}">{name}</text>']
