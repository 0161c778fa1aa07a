"""Trade-offs of two goods: which points no other beats in both, and how much of the plane they dominate."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Return the positions of the points that no other one beats, in the order of the first good.

    A point is beaten by another that is at least as good in both and better in one. More is better in both.

    Args:
        points: (first, second) of each.

    Examples:
        >>> pareto_front([(0.0, 3.0), (1.0, 1.0), (2.0, 2.0), (2.0, 1.0)])
        [0, 2]
    """
    order = sorted(range(len(points)), key=lambda place: points[place], reverse=True)
    front: list[int] = []
    for index in order:
        best = points[front[-1]] if front else None
        if best is None or points[index][1] > best[1] or points[index] == best:
            front.append(index)
    return front[::-1]


def hypervolume(points: Sequence[Point], reference: Point, scale: Point = (1.0, 1.0)) -> float:
    """Return the area that points dominate above a reference point, by the exact sum over their front.

    Zitzler and Thiele, "Multiobjective optimization using evolutionary algorithms", 1998. Formula: with the front
    ordered by falling first good, HV = Σ (x_i − r_x) (y_i − y_{i−1}) / (s_x s_y), y_0 = r_y, over the points above the
    reference r in both; s are the scales.

    Args:
        points: (first, second) of each; more is better in both.
        reference: Below it nothing counts.
        scale: The units of both axes.

    Examples:
        >>> hypervolume([(2.0, 1.0), (1.0, 2.0), (0.5, 0.5)], (0.0, 0.0))
        3.0
    """
    above = [point for point in points if point[0] > reference[0] and point[1] > reference[1]]
    area, floor = 0.0, reference[1]
    for index in reversed(pareto_front(above)):
        x, y = above[index]
        area += (x - reference[0]) * (y - floor)
        floor = y
    return area / (scale[0] * scale[1])
