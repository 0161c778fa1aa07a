"""An interval of a figure."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """Lower and upper end of an interval."""

    low: float
    high: float
