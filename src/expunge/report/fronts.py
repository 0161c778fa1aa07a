"""A sweep of knobs as a table and as a figure: every point with its intervals, and the front of all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from expunge.report.drawing import Scale, span
from expunge.report.markdown import escape as plain
from expunge.report.numbers import write, write_with_half

COLOURS = ("#0a5a94", "#ad4208", "#4c7a34", "#7a4a94", "#8a6d00", "#575c63", "#b03060", "#00857a", "#3a3fb0", "#7d5a3c")
STYLE = """<style>
svg { background: #fdfdfb } text { font-family: system-ui, sans-serif; fill: #1b1d20; font-size: 12px }
.tick { font-size: 11px; fill: #575c63 } .title { font-size: 13px; font-weight: 600 }
.grid { stroke: #e8e8e3 } .axis { stroke: #7b8087 } .front { fill: none; stroke: #1b1d20; stroke-dasharray: 5 3 }
</style>"""
WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 450, 34, 350
NAMES = {"ra": "RA", "ta": "TA"}
Request = Mapping[str, Any]


def fronts_table(request: Request) -> str:
    """Return the table of a sweep in Markdown: points on a front in bold, areas with intervals, and what they refer to.

    Args:
        request: An element of the ``requests`` of a comparison.
    """
    across = plain(request["axes"]["forgetting"])
    heads = ["Method", "knob", across, "RA, %", "TA, %", "area (RA)", "area (TA)"]
    lines = [f"| {' | '.join(heads)} |", f"| :--- | :--- |{' ---: |' * 5}"]
    for role, label in (("original", "Original"), ("retrained", "Retrain")):
        lines.append(line([label, "–", *figures(request["models"][role]), "", ""]))
    for row in request["rows"]:
        for place, point in enumerate(row["points"]):
            name = f"**{plain(row['label'])}**" if point["front"] else plain(row["label"])
            areas = [area(row["hypervolume"][one]) if place == 0 else "" for one in NAMES]
            lines.append(line([name, f"{plain(row['knob'])} {point['value']:g}", *figures(point), *areas]))
    return "\n".join([*lines, "", *remarks(request)])


def remarks(request: Request) -> list[str]:
    """Return what the table refers to, in words, and the cells that have no figures."""
    seeds, (x, y), (wide, high) = len(request["seeds"]), request["reference_point"], request["scales"]
    sure = "One seed, so no intervals." if seeds == 1 else f"{seeds} paired seeds; ± is half a 95 % t-interval."
    told = (
        f"{sure} In bold: points that no other mean beats in forgetting and in RA or TA. Area: hypervolume above the "
        f"reference point ({write(x)}, {write(y)}), in units of {write(wide)} × {write(high)}, by seed."
    )
    lost = [f"- {plain(cell['row'])}, seed {cell['seed']}: {plain(cell['sentence'])}" for cell in request["incomplete"]]
    return [told, *(["", "Without figures:", "", *lost] if lost else [])]


def line(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def figures(point: Mapping[str, Any]) -> list[str]:
    """Return the cells of a point: forgetting, RA and TA."""
    return [with_half(point[name]) for name in ("forgetting", *NAMES)]


def area(score: Mapping[str, Any]) -> str:
    """Return the cell of an area."""
    return with_half(score, "")


def with_half(score: Mapping[str, Any], unit: str = "%") -> str:
    """Return a mean with its half-width; a dash where there is none."""
    return write_with_half(score["mean"], score["half"], unit)


def front_figure(request: Request, utility: str = "ta") -> str:
    """Return a sweep as the text of an SVG file: forgetting across, utility upwards, each method's points in a line.

    Args:
        request: An element of the ``requests`` of a comparison.
        utility: ``ta`` or ``ra``.
    """
    rows = [(row, stated(row["points"], utility)) for row in request["rows"]]
    models = {role: stated([point], utility) for role, point in request["models"].items()}
    every = [point for _, points in rows for point in points] + [one for points in models.values() for one in points]
    x = Scale(*reach(every, "forgetting"), LEFT, RIGHT)
    y = Scale(*reach(every, utility), BOTTOM, TOP)
    title = f"{request['question']}: forgetting against {NAMES[utility]}"
    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(title)}</text>', *axes(x, y, request, utility)]
    best = sorted(
        ((p["forgetting"]["mean"], p[utility]["mean"]) for _, points in rows for p in points if utility in p["front"])
    )
    parts.append(f'<path class="front" d="{path(best, x, y)}"/>' if len(best) > 1 else "")
    for number, (row, points) in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        parts += curve(row, points, utility, colour, x, y)
        parts += key(row["label"], colour, TOP + 12 + 19 * number)
    for number, (role, points) in enumerate(models.items(), start=len(rows)):
        parts += model(points, utility, role, x, y)
        parts += mark_key(role, TOP + 12 + 19 * number)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" role="img">{STYLE}'
    return "\n".join([head, f"<title>{escape(title)}</title>", *filter(None, parts), "</svg>"]) + "\n"


def stated(points: Sequence[Mapping[str, Any]], utility: str) -> list[Mapping[str, Any]]:
    """Return the points that have a place."""
    return [one for one in points if one["forgetting"]["mean"] is not None and one[utility]["mean"] is not None]


def reach(points: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float]:
    """Return the ends of an axis: all means, and intervals as far as they stay near them."""
    means = [one[name]["mean"] for one in points] or [0.0]
    return span(means, 0.08)


def axes(x: Scale, y: Scale, request: Request, utility: str) -> list[str]:
    """Return grid, ticks and names of both axes."""
    parts = []
    for tick in x.ticks(6):
        parts.append(f'<line class="grid" x1="{tick.at}" x2="{tick.at}" y1="{TOP}" y2="{BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{tick.at}" y="{BOTTOM + 17}" text-anchor="middle">{tick.text}</text>')
    for tick in y.ticks(6):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{tick.at}" y2="{tick.at}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{tick.at + 4}" text-anchor="end">{tick.text}</text>')
    parts.append(f'<path class="axis" fill="none" d="M{LEFT} {TOP} L{LEFT} {BOTTOM} L{RIGHT} {BOTTOM}"/>')
    names = escape(request["axes"]["forgetting"]), f"{NAMES[utility]}, %"
    parts.append(f'<text class="tick" x="{(LEFT + RIGHT) / 2}" y="{HIGH - 10}" text-anchor="middle">{names[0]}</text>')
    turned = f'transform="translate(15 {(TOP + BOTTOM) / 2}) rotate(-90)"'
    return [*parts, f'<text class="tick" {turned} text-anchor="middle">{names[1]}</text>']


def path(places: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """Return the path of a line through places."""
    return " ".join(f"{'L' if number else 'M'}{x(a)} {y(b)}" for number, (a, b) in enumerate(places))


def curve(
    row: Mapping[str, Any], points: Sequence[Mapping[str, Any]], utility: str, colour: str, x: Scale, y: Scale
) -> list[str]:
    """Return a method's points in the order of its knob, with intervals and words for who points at them."""
    places = [(one["forgetting"]["mean"], one[utility]["mean"]) for one in points]
    parts = [f'<path d="{path(places, x, y)}" fill="none" stroke="{colour}" stroke-opacity=".45"/>']
    for one in points:
        tip = f"{row['label']}, {row['knob']} {one['value']:g}: {with_half(one['forgetting'])}; "
        tip = escape(f"{tip}{NAMES[utility]} {with_half(one[utility])}")
        parts += bars(one, utility, colour, x, y)
        at = f'cx="{x(one["forgetting"]["mean"])}" cy="{y(one[utility]["mean"])}"'
        parts.append(f'<circle {at} r="3.5" fill="{colour}"><title>{tip}</title></circle>')
    return parts


def bars(one: Mapping[str, Any], utility: str, colour: str, x: Scale, y: Scale) -> list[str]:
    """Return the intervals of a point; they end at the border of the figure."""
    a, b = one["forgetting"], one[utility]
    stroke, parts = f'stroke="{colour}" stroke-opacity=".55"', []
    if a["half"]:
        ends = x(a["mean"] - a["half"]), x(a["mean"] + a["half"])
        parts.append(f'<line x1="{ends[0]}" x2="{ends[1]}" y1="{y(b["mean"])}" y2="{y(b["mean"])}" {stroke}/>')
    if b["half"]:
        ends = y(b["mean"] - b["half"]), y(b["mean"] + b["half"])
        parts.append(f'<line x1="{x(a["mean"])}" x2="{x(a["mean"])}" y1="{ends[0]}" y2="{ends[1]}" {stroke}/>')
    return parts


def model(points: Sequence[Mapping[str, Any]], utility: str, role: str, x: Scale, y: Scale) -> list[str]:
    """Return the original as a square, the retrained model as a diamond."""
    parts = []
    for one in points:
        parts += bars(one, utility, "#7b8087", x, y)
        parts.append(shape(role, x(one["forgetting"]["mean"]), y(one[utility]["mean"])))
    return parts


def shape(role: str, x: float, y: float) -> str:
    """Return the mark of a model that no method made."""
    turn = f' transform="rotate(45 {x} {y})"' if role == "retrained" else ""
    return f'<rect x="{x - 4.5}" y="{y - 4.5}" width="9" height="9" fill="#1b1d20"{turn}/>'


def key(name: str, colour: str, at: float) -> list[str]:
    """Return one line of the legend."""
    left = RIGHT + 16
    mark = f'<circle cx="{left + 6}" cy="{at}" r="3.5" fill="{colour}"/>'
    return [mark, f'<text class="tick" x="{left + 18}" y="{at + 4}">{escape(name)}</text>']


def mark_key(role: str, at: float) -> list[str]:
    """Return the line of the legend of a model that no method made."""
    name = {"original": "Original", "retrained": "Retrain"}[role]
    return [shape(role, RIGHT + 22, at), f'<text class="tick" x="{RIGHT + 34}" y="{at + 4}">{name}</text>']
