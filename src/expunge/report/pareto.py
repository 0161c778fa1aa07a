"""A sweep of knobs as a table: every point with its intervals, and the front of all methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expunge.report.markdown import escape as plain
from expunge.report.numbers import format_metric, format_with_half_width

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
    return format_score(score, "")


def format_score(score: Mapping[str, Any], unit: str = "%") -> str:
    """Return a mean with its half-width; a dash where there is none."""
    return format_with_half_width(score["mean"], score["half_width"], unit)
