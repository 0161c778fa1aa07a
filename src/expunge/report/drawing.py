"""The geometry that all figures share: scales, ticks, thinning of long curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expunge.report.numbers import format_metric

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The size of a figure in pixels, and where in it the plotted area begins and ends."""

    wide: float
    high: float
    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def of_rows(cls, count: int, step: float) -> Frame:
        """Return the frame of a figure that has a line of text for each of ``count`` rows, names on the left."""
        bottom = 14 + step * count
        return cls(480, bottom + 46, 112, 464, 8, bottom)

    @property
    def middle(self) -> Point:
        """The center of the plotted area."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True)
class LegendKey:
    """A line of a legend: how marks of a role look, and what they are."""

    role: str
    text: str


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where it is, in pixels, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic map from values to pixels.

    Args:
        low: The value at ``start``.
        high: The value at ``end``, larger than ``low``.
        start: Pixel of ``low``.
        end: Pixel of ``high``; smaller than ``start`` on an upright axis.
        logarithmic: Whether equal ratios are equal lengths; ``low`` must then be positive.

    Examples:
        >>> Scale(0, 10, 100, 0)(2.5)
        75.0
        >>> round(Scale(1, 100, 0, 10, logarithmic=True)(10), 6)
        5.0
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``; values outside are drawn at the border."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            fraction = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            fraction = (value - self.low) / (self.high - self.low)
        return round(self.start + fraction * (self.end - self.start), 2)

    @property
    def ends(self) -> str:
        """The ends in values and in pixels, from which a script takes a pixel back to its value."""
        return f"{self.low:.6g} {self.high:.6g} {self.start:g} {self.end:g}"

    def ticks(self, max_ticks: int = 6) -> tuple[Tick, ...]:
        """Return at most ``max_ticks`` round ticks."""
        values = (
            log_ticks(self.low, self.high, max_ticks)
            if self.logarithmic
            else nice_ticks(self.low, self.high, max_ticks)
        )
        return tuple(Tick(self(value), text) for value, text in values)

    def whole_ticks(self, max_ticks: int = 6) -> tuple[Tick, ...]:
        """Return at most ``max_ticks`` round ticks, those at whole numbers alone: for counts.

        Examples:
            >>> [tick.text for tick in Scale(0, 1, 0, 100).whole_ticks()], len(Scale(0, 1, 0, 100).ticks())
            (['0', '1'], 6)
        """
        values = nice_ticks(self.low, self.high, max_ticks)
        return tuple(Tick(self(value), text.partition(".")[0]) for value, text in values if value == int(value))


def nice_ticks(low: float, high: float, max_ticks: int) -> list[tuple[float, str]]:
    """Return multiples of 1, 2 or 5 times a power of ten between two values, with their texts.

    Examples:
        >>> [text for _, text in nice_ticks(-0.2, 1.05, 4)]
        ['0.0', '0.5', '1.0']
    """
    power = math.floor(math.log10((high - low) / max_ticks))
    sizes = [(factor, exponent) for exponent in (power, power + 1) for factor in (1, 2, 5)]
    factor, exponent = next(
        size for size in sizes if _count_multiples(low, high, size[0] * 10.0 ** size[1]) <= max_ticks
    )
    step = factor * 10.0**exponent
    first = math.ceil(low / step - 1e-9)
    return [
        (index * step, format_tick(index * step, exponent))
        for index in range(first, first + _count_multiples(low, high, step))
    ]


def _count_multiples(low: float, high: float, step: float) -> int:
    return math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1


def log_ticks(low: float, high: float, max_ticks: int) -> list[tuple[float, str]]:
    """Return 1, 2 and 5 times powers of ten between two positive values, or powers of ten alone where those are many.

    Examples:
        >>> [text for _, text in log_ticks(0.5, 30, 8)]
        ['0.5', '1', '2', '5', '10', '20']
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        inside = [value for value in values if low <= value * 1.000001 and value <= high * 1.000001]
        if len(inside) <= max_ticks:
            break
    stride = math.ceil(len(inside) / max_ticks) or 1
    return [(value, format_tick(value, math.floor(math.log10(value)))) for value in inside[::stride]]


def format_tick(value: float, exponent: int) -> str:
    """Return a tick's text: as many decimals as a step of this power of ten needs, thousands as k.

    Examples:
        >>> format_tick(0.30000000000000004, -1), format_tick(-20.0, 1)
        ('0.3', '−20')
        >>> format_tick(150000.0, 4), format_tick(99.982, -3)
        ('150k', '99.982')
    """
    if abs(value) >= 10_000 and exponent >= 3:
        return f"{value / 1000:.0f}k".replace("-", "−")
    return format_metric(value, places=max(0, -exponent))


def pad_range(values: Iterable[float], margin: float = 0.06) -> tuple[float, float]:
    """Return the range of values with a margin on both sides; a single value gets room around it.

    Examples:
        >>> pad_range([0.0, 10.0], margin=0.1), pad_range([3.0])
        ((-1.0, 11.0), (2.5, 3.5))
    """
    items = list(values)
    low, high = min(items), max(items)
    if high - low <= 1e-9 * max(1.0, abs(high)):
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def downsample(points: Sequence[Point], limit: int = 300) -> list[Point]:
    """Return at most ``limit`` of the points, in their order, such that no peak is lost.

    The interior is cut into equal buckets; each gives its lowest and its highest point. First and last always stay.

    Args:
        points: (x, y), ordered by x.
        limit: The most points to keep, at least 4.

    Examples:
        >>> kept = downsample([(float(x), 1000.0 if x == 777 else 0.0) for x in range(5000)])
        >>> len(kept) <= 300, (777.0, 1000.0) in kept
        (True, True)
    """
    if len(points) <= limit:
        return list(points)
    inner, buckets = range(1, len(points) - 1), (limit - 2) // 2
    indices = {0, len(points) - 1}
    for bucket in range(buckets):
        part = inner[len(inner) * bucket // buckets : len(inner) * (bucket + 1) // buckets]
        indices.add(min(part, key=lambda index: points[index][1]))
        indices.add(max(part, key=lambda index: points[index][1]))
    return [points[index] for index in sorted(indices)]
