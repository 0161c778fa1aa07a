"""What was spent and what was forgotten at every control reading, each in a panel over the updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from expunge.formatting import format_number, format_percent
from expunge.report.budget_part import BudgetPart
from expunge.report.budget_words import amount
from expunge.report.drawing import Frame, Key, Point, Scale, Tick, span

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
class Limit:
    """A level line with its name, which stands above or below it."""

    y: float
    text: str
    text_y: float


@dataclass(frozen=True)
class Track:
    """One panel."""

    kind: ClassVar[str] = "track"
    title: str
    description: str
    dots: tuple[Dot, ...]
    curve: str
    limit: Limit | None
    band: tuple[float, float] | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    frame: Frame = FRAME
    note: str = ""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The legend."""
        asked = () if self.band is None else (Key("band", "asked"),)
        return (Key("original", "original"), Key("method", "reading"), Key("best", "handed over"), *asked)


def tracks(budget: BudgetPart) -> tuple[Track, ...]:
    """Return the panels of a budget: what was spent, and each criterion of forgetting that was read."""
    margin, most = budget.criterion.margin, budget.criterion.recognised
    unit = "points" if budget.asked.points is not None else "%" if budget.asked.relative is not None else "own unit"
    paid = [budget.asked.shown(look.spent) for look in budget.looks]
    seen = [None if look.recognised is None else 100 * look.recognised for look in budget.looks]
    aucs = [look.auc for look in budget.looks]
    limit, asked = budget.asked.amount, f"asked: at most {format_percent(most)}"
    drawn = (
        track(budget, f"Spent, {unit}", paid, [0.0, limit], (limit, f"allowed: {amount(budget.asked, limit)}")),
        track(budget, "Forgotten class still recognised, %", seen, [0.0, 100 * most], (100 * most, asked)),
        track(budget, "AUC, forgotten against held-out", aucs, [0.5 - margin, 0.5 + margin], None),
    )
    return tuple(panel for panel in drawn if panel is not None)


def track(
    budget: BudgetPart,
    title: str,
    heights: Sequence[float | None],
    include: Sequence[float],
    limit: tuple[float, str] | None,
) -> Track | None:
    """Return a panel, None where no reading has a value.

    Args:
        budget: The budget.
        title: What is shown.
        heights: Its value at each reading.
        include: Values that the axis must show; the ends of a band where there is no limit.
        limit: A level line and its name.
    """
    known = [(place, height) for place, height in enumerate(heights) if height is not None]
    if not known:
        return None
    steps = [look.step for look in budget.looks]
    x = Scale(0, max(*steps, 1), FRAME.left + PADDING, FRAME.right - PADDING)
    y = Scale(*span([*include, *(height for _, height in known)]), FRAME.bottom, FRAME.top)
    dots = tuple(dot(budget, place, (x(steps[place]), y(height)), height) for place, height in known)
    return Track(
        title,
        f"{len(known)} readings. " + "; ".join(one.tip for one in dots) + ".",
        dots,
        " ".join(f"{one.x:.1f},{one.y:.1f}" for one in dots),
        None if limit is None else level(y, *limit),
        None if limit is not None else (y(max(include)), y(min(include))),
        x.whole_ticks(6),
        y.ticks(5),
    )


def level(y: Scale, value: float, text: str) -> Limit:
    """Return a level line, its name above it where there is room."""
    at = y(value)
    return Limit(at, text, at - 6 if at - FRAME.top > 20 else at + 15)


def dot(budget: BudgetPart, place: int, at: Point, height: float) -> Dot:
    """Return the mark of a reading."""
    role = "best" if place == budget.chosen else "original" if place == 0 else "method"
    handed = ", handed over" if place == budget.chosen else ""
    return Dot(role, *at, f"update {budget.looks[place].step}: {format_number(height)}{handed}")
