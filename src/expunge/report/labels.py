"""Names beside marks, placed so that none covers another name or a mark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from expunge.report.drawing import Point

FONT_SIZE = 12.0
"""Height of a name in pixels."""
LETTER_WIDTH = 0.6
"""Width of an average letter, as a share of the height; on the wide side."""
MARKER_RADIUS = 6.0
"""Half the room that a mark takes."""


@dataclass(frozen=True)
class Box:
    """A rectangle, from its left and upper edge to its right and lower one."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the two have a point in common, edges apart."""
        is_beside = self.right <= other.left or other.right <= self.left
        return not (is_beside or self.bottom <= other.top or other.bottom <= self.top)

    def contains(self, other: Box) -> bool:
        """Return whether the other lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom

    @property
    def middle(self) -> Point:
        """The center."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True)
class Label:
    """A placed name: its box, and the line that leads to its mark where it is too far to be understood without."""

    text: str
    box: Box
    line: tuple[float, float, float, float] | None


def marker_box(at: Point) -> Box:
    """Return the room that a mark takes."""
    return Box(at[0] - MARKER_RADIUS, at[1] - MARKER_RADIUS, at[0] + MARKER_RADIUS, at[1] + MARKER_RADIUS)


def place_labels(points: Sequence[Point], names: Sequence[str], frame: Box, marks: Sequence[Point] = ()) -> list[Label]:
    """Return a label for each point, as near as it fits: greedily, on growing rings of candidate places.

    Args:
        points: Where the marks are.
        names: Their names.
        frame: What the labels must not leave.
        marks: Other marks that must not be covered.
    """
    occupied = [marker_box(point) for point in (*points, *marks)]
    labels = []
    for point, name in zip(points, names, strict=True):
        label = _first_free(point, name, frame, occupied)
        occupied.append(label.box)
        labels.append(label)
    return labels


def _first_free(point: Point, name: str, frame: Box, occupied: Sequence[Box]) -> Label:
    boxes = [_box(point, name, radius, turn) for radius in range(10, 240, 7) for turn in range(16)]
    inside = [box for box in boxes if frame.contains(box)]
    free = next((box for box in inside if not any(box.overlaps(other) for other in occupied)), None)
    box = free or (inside or boxes)[0]
    return Label(name, box, _line(point, box))


def _box(point: Point, name: str, radius: float, turn: int) -> Box:
    """Return the box of a name whose nearest edge is at ``radius``; right first, then left, then the rest."""
    steps = (0, 8, 12, 4, 14, 2, 10, 6, 15, 1, 9, 7, 13, 11, 3, 5)
    angle = steps[turn] * math.pi / 8
    wide, high = LETTER_WIDTH * FONT_SIZE * len(name), FONT_SIZE
    x = point[0] + math.cos(angle) * (radius + wide / 2)
    y = point[1] + math.sin(angle) * (radius + high / 2)
    return Box(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)


def _line(point: Point, box: Box) -> tuple[float, float, float, float] | None:
    near = min(max(point[0], box.left), box.right), min(max(point[1], box.top), box.bottom)
    far = math.dist(point, near)
    if far <= 13:
        return None
    fraction = (MARKER_RADIUS - 1) / far
    start = point[0] + fraction * (near[0] - point[0]), point[1] + fraction * (near[1] - point[1])
    return round(start[0], 1), round(start[1], 1), round(near[0], 1), round(near[1], 1)
