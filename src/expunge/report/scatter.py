"""The trade-off: forgetting across, utility upwards, with a close-up where the models crowd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from expunge.report.document import Request, Row
from expunge.report.drawing import Frame, Key, Scale, Tick, span
from expunge.report.headline import best, from_retrained
from expunge.report.labels import Box, Label, place
from expunge.report.numbers import join, write

FRAME = Frame(wide=480, high=360, left=58, right=468, top=14, bottom=314)
TITLE = "Trade-off of UA and TA"
ROLES = ("original", "retrained", "method", "best")


@dataclass(frozen=True)
class Spot:
    """A model's place in the trade-off."""

    name: str
    role: str
    x: float
    y: float
    x_half: float | None
    y_half: float | None


@dataclass(frozen=True)
class Mark:
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
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]
    window: Box | None
    roles: tuple[str, ...]
    frame: Frame = FRAME
    note: str = ""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The legend."""
        return tuple(Key(role, "smallest gap" if role == "best" else role) for role in self.roles)


@dataclass(frozen=True)
class Plane:
    """What the axes mean."""

    x_name: str
    y_name: str
    spots: tuple[Spot, ...]


def plane(request: Request) -> Plane | None:
    """Return the axes and the models on them; None where fewer than two models can be placed.

    A class request has UA across. Any other request has the distance of UA to the retrained model across, because
    there more errors on forgotten examples are not better; without a reference that axis is UA as well.
    """
    distance = request.kind != "class" and request.reference
    spots = [_spot(request, row, distance) for row in request.rows]
    found = tuple(spot for spot in spots if spot is not None)
    if len(found) < 2:
        return None
    x_name = "|UA − UA of retrained|, points (left is closer)" if distance else "UA, % (errors on forgotten examples)"
    return Plane(x_name, "TA, % (test accuracy)", found)


def _spot(request: Request, row: Row, distance: bool) -> Spot | None:
    winner = best(request)
    role = "best" if winner is row else row.role
    y, across = row.mean("ta"), row.mean("ua")
    half = row.half("ua")
    if distance:
        apart = from_retrained(request, row, "ua")
        across, half = (fmean(apart), None) if apart else (None, None)
    if y is None or across is None:
        return None
    return Spot(row.label, role, across, y, half, row.half("ta"))


def scatters(request: Request) -> tuple[Scatter, ...]:
    """Return the panel of all models and, where most of them crowd in a corner of it, a close-up of that corner."""
    found = plane(request)
    if found is None:
        return ()
    window = crowd(found.spots)
    if window is None:
        return (_panel(found, TITLE, found.spots, None),)
    inside = [spot for spot in found.spots if _within(spot, window)]
    return (
        _panel(found, f"{TITLE}, all models", found.spots, window),
        _panel(found, f"{TITLE}, close-up", inside, None),
    )


def crowd(spots: Sequence[Spot]) -> Box | None:
    """Return the region, in values, of the three fifths of the models nearest to the retrained one, if it is small.

    Small is: under three tenths of the whole range on both axes. Without a retrained model the middle of all stands in.
    """
    target = next((spot for spot in spots if spot.role == "retrained"), None) or _middle(spots)
    others = [spot for spot in spots if spot.role in ("best", "method")]
    (left, right), (low, high) = span([s.x for s in spots], 0), span([s.y for s in spots], 0)

    def far(spot: Spot) -> float:
        return max(abs(spot.x - target.x) / (right - left), abs(spot.y - target.y) / (high - low))

    near = sorted(others, key=far)[: math.ceil(0.6 * len(others))]
    if len(near) < 3 or len(near) == len(spots):
        return None
    x, y = span([target.x, *(s.x for s in near)], 0.15), span([target.y, *(s.y for s in near)], 0.15)
    if x[1] - x[0] > 0.3 * (right - left) or y[1] - y[0] > 0.3 * (high - low):
        return None
    return Box(x[0], y[0], x[1], y[1])


def _middle(spots: Sequence[Spot]) -> Spot:
    xs, ys = sorted(spot.x for spot in spots), sorted(spot.y for spot in spots)
    return Spot("", "", xs[len(xs) // 2], ys[len(ys) // 2], None, None)


def _within(spot: Spot, window: Box) -> bool:
    return window.left <= spot.x <= window.right and window.top <= spot.y <= window.bottom


def _panel(found: Plane, title: str, spots: Sequence[Spot], window: Box | None) -> Scatter:
    x = Scale(*span([spot.x for spot in spots], 0.1), FRAME.left, FRAME.right)
    y = Scale(*span([spot.y for spot in spots], 0.1), FRAME.bottom, FRAME.top)
    named = [spot for spot in spots if window is None or not _within(spot, window)]
    drawn = None if window is None else Box(x(window.left), y(window.bottom), x(window.right), y(window.top))
    inner = Box(FRAME.left, FRAME.top, FRAME.right, FRAME.bottom)
    points, others = [(x(s.x), y(s.y)) for s in named], [(x(s.x), y(s.y)) for s in spots if s not in named]
    return Scatter(
        title,
        _describe(found, spots),
        found.x_name,
        found.y_name,
        x.ticks(6),
        y.ticks(6),
        tuple(_mark(found, spot, x, y) for spot in spots),
        tuple(place(points, [spot.name for spot in named], inner, others)),
        drawn,
        tuple(role for role in ROLES if any(spot.role == role for spot in spots)),
    )


def _mark(found: Plane, spot: Spot, x: Scale, y: Scale) -> Mark:
    lines = []
    if spot.x_half:
        lines.append((x(spot.x - spot.x_half), y(spot.y), x(spot.x + spot.x_half), y(spot.y)))
    if spot.y_half:
        lines.append((x(spot.x), y(spot.y - spot.y_half), x(spot.x), y(spot.y + spot.y_half)))
    across, upwards = (name.split(",")[0] for name in (found.x_name, found.y_name))
    tip = f"{spot.name}: {across} {write(spot.x)}, {upwards} {write(spot.y)}"
    return Mark(spot.role, x(spot.x), y(spot.y), tuple(lines), tip)


def _describe(found: Plane, spots: Sequence[Spot]) -> str:
    places = join([f"{spot.name} at {write(spot.x)} and {write(spot.y)}" for spot in spots])
    return f"Across: {found.x_name}. Upwards: {found.y_name}. {places}."
