"""What was spent and what was forgotten at every control reading, each in a panel over the updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from expunge.formatting import format_number, format_percent
from expunge.report.budget_schema import BudgetSection
from expunge.report.budget_text import format_amount
from expunge.report.drawing import Frame, LegendKey, Point, Scale, Tick, pad_range

FRAME = Frame(wide=480, high=230, left=56, right=464, top=14, bottom=184)
PADDING = 8


@dataclass(frozen=True)
class Dot:
    """A reading: its role (``original``, ``method``, or ``best`` where it is handed over), its place, what it says."""

    role: str
    x: float
    y: float
    tip: str


@dataclass(frozen=True)
class LimitLine:
    """A level line with its name, which stands above or below it."""

    y: float
    text: str
    text_y: float


@dataclass(frozen=True)
class BudgetPanel:
    """One panel."""

    kind: ClassVar[str] = "track"
    title: str
    description: str
    dots: tuple[Dot, ...]
    curve: str
    limit: LimitLine | None
    band: tuple[float, float] | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    frame: Frame = FRAME
    note: str = ""

    @property
    def keys(self) -> tuple[LegendKey, ...]:
        """The legend."""
        band_keys = () if self.band is None else (LegendKey("band", "asked"),)
        return (
            LegendKey("original", "original"),
            LegendKey("method", "reading"),
            LegendKey("best", "handed over"),
            *band_keys,
        )


def budget_panels(budget: BudgetSection) -> tuple[BudgetPanel, ...]:
    """Return the panels of a budget: what was spent, and each criterion of forgetting that was read."""
    margin, max_recognized = budget.criterion.margin, budget.criterion.max_recognized
    unit = (
        "points"
        if budget.limit.accuracy_points is not None
        else "%"
        if budget.limit.loss_increase is not None
        else "own unit"
    )
    spent_values = [budget.limit.to_display(look.spent) for look in budget.evaluations]
    recognized_values = [None if look.recognized is None else 100 * look.recognized for look in budget.evaluations]
    aucs = [look.auc for look in budget.evaluations]
    limit, recognition_label = budget.limit.amount, f"asked: at most {format_percent(max_recognized)}"
    panels = (
        build_panel(
            budget,
            f"Spent, {unit}",
            spent_values,
            [0.0, limit],
            (limit, f"allowed: {format_amount(budget.limit, limit)}"),
        ),
        build_panel(
            budget,
            "Forgotten class still recognized, %",
            recognized_values,
            [0.0, 100 * max_recognized],
            (100 * max_recognized, recognition_label),
        ),
        build_panel(budget, "AUC, forgotten against held-out", aucs, [0.5 - margin, 0.5 + margin], None),
    )
    return tuple(panel for panel in panels if panel is not None)


def build_panel(
    budget: BudgetSection,
    title: str,
    values: Sequence[float | None],
    include: Sequence[float],
    limit: tuple[float, str] | None,
) -> BudgetPanel | None:
    """Return a panel, None where no reading has a value.

    Args:
        budget: The budget.
        title: What is shown.
        values: Its value at each reading.
        include: Values that the axis must show; the ends of a band where there is no limit.
        limit: A level line and its name.
    """
    points = [(index, height) for index, height in enumerate(values) if height is not None]
    if not points:
        return None
    steps = [look.step for look in budget.evaluations]
    x = Scale(0, max(*steps, 1), FRAME.left + PADDING, FRAME.right - PADDING)
    y = Scale(*pad_range([*include, *(height for _, height in points)]), FRAME.bottom, FRAME.top)
    dots = tuple(build_dot(budget, index, (x(steps[index]), y(height)), height) for index, height in points)
    return BudgetPanel(
        title,
        f"{len(points)} readings. " + "; ".join(one.tip for one in dots) + ".",
        dots,
        " ".join(f"{one.x:.1f},{one.y:.1f}" for one in dots),
        None if limit is None else build_limit_line(y, *limit),
        None if limit is not None else (y(max(include)), y(min(include))),
        x.whole_ticks(6),
        y.ticks(5),
    )


def build_limit_line(y: Scale, value: float, text: str) -> LimitLine:
    """Return a level line, its name above it where there is room."""
    line_y = y(value)
    return LimitLine(line_y, text, line_y - 6 if line_y - FRAME.top > 20 else line_y + 15)


def build_dot(budget: BudgetSection, index: int, at: Point, height: float) -> Dot:
    """Return the mark of a reading."""
    role = "best" if index == budget.chosen else "original" if index == 0 else "method"
    suffix = ", handed over" if index == budget.chosen else ""
    return Dot(role, *at, f"update {budget.evaluations[index].step}: {format_number(height)}{suffix}")
