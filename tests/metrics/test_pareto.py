"""Fronts and areas against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.metrics import hypervolume, pareto_front

coordinates = st.integers(-3, 12).map(float)
many = st.lists(st.tuples(coordinates, coordinates), max_size=8)


@given(many)
def test_the_front_is_what_nobody_beats(points):
    def beaten(one):
        return any(a >= one[0] and b >= one[1] and (a, b) != one for a, b in points)

    assert sorted(pareto_front(points)) == [place for place, one in enumerate(points) if not beaten(one)]


@given(many)
def test_the_area_is_that_of_the_unit_squares_below_a_point(points):
    """Whole coordinates, so that counting squares is exact."""
    squares = sum(any(x + 1 <= a and y + 1 <= b for a, b in points) for x in range(12) for y in range(12))
    assert hypervolume(points, (0.0, 0.0)) == squares
    assert hypervolume(points, (0.0, 0.0), (2.0, 5.0)) == pytest.approx(squares / 10)


@given(many, st.tuples(coordinates, coordinates))
def test_another_point_never_takes_area_away(points, more):
    whole = hypervolume(points, (0.0, 0.0))
    assert hypervolume([*points, more], (0.0, 0.0)) >= whole
    assert hypervolume(points[::-1], (0.0, 0.0)) == whole


def test_the_area_agrees_with_random_darts():
    points = [(0.2, 0.9), (0.5, 0.7), (0.9, 0.1), (0.4, 0.4)]
    darts = np.random.default_rng(0).random((200_000, 2))
    hit = np.any([(darts < point).all(1) for point in points], axis=0).mean()
    assert hypervolume(points, (0.0, 0.0)) == pytest.approx(hit, abs=0.005)


def test_what_does_not_reach_the_reference_counts_nothing():
    assert hypervolume([(1.0, -1.0), (-1.0, 5.0), (0.0, 0.0)], (0.0, 0.0)) == 0.0
    assert hypervolume([], (0.0, 0.0)) == 0.0
