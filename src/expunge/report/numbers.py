"""How numbers are written in reports."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.formatting import ABSENT


def count_decimals(value: float, unit: str) -> int:
    """Return how many decimals a number of this unit and size gets.

    Examples:
        >>> count_decimals(99.5, "%"), count_decimals(0.51, ""), count_decimals(123.4, "s"), count_decimals(4.2, "s")
        (2, 3, 0, 2)
    """
    if unit in ("%", "points"):
        return 2
    if unit in ("s", "seconds"):
        return 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return 3 if abs(value) < 10 else 1


def format_metric(value: float | None, unit: str = "%", places: int | None = None) -> str:
    """Return a number as text without its unit, with a true minus sign.

    Examples:
        >>> format_metric(99.456), format_metric(-0.001), format_metric(None)
        ('99.46', '0.00', '–')
        >>> format_metric(-3.5), format_metric(12345.6, "s")
        ('−3.50', '12,346')
    """
    if value is None:
        return ABSENT
    places = count_decimals(value, unit) if places is None else places
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if round(value, places) == 0 else text.replace("-", "−")


def format_with_half_width(value: float | None, half_width: float | None, unit: str = "%") -> str:
    """Return ``value ± half``, or the value alone where no interval is known.

    Examples:
        >>> format_with_half_width(1.5, 0.25), format_with_half_width(1.5, None), format_with_half_width(None, None)
        ('1.50 ± 0.25', '1.50', '–')
    """
    if value is None or half_width is None:
        return format_metric(value, unit)
    places = count_decimals(value, unit)
    return f"{format_metric(value, unit, places)} ± {format_metric(half_width, unit, places)}"


def add_nbsp(text: str) -> str:
    """Return text with ± and units tied to their numbers, so that no line ends between them.

    Examples:
        >>> add_nbsp("1.5 ± 0.2 %") == "1.5\u00a0±\u00a00.2\u00a0%"
        True
    """
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def compute_paired_distances(these: Sequence[float | None], those: Sequence[float | None]) -> list[float]:
    """Return |a − b| for each seed that both have, nothing where the two do not have the same seeds.

    Examples:
        >>> compute_paired_distances([1.0, 5.0], [2.0, 2.0]), compute_paired_distances([1.0], [1.0, 2.0])
        ([1.0, 3.0], [])
    """
    if len(these) != len(those):
        return []
    return [abs(a - b) for a, b in zip(these, those, strict=True) if a is not None and b is not None]


def join_words(words: Sequence[str]) -> str:
    """Return an enumeration.

    Examples:
        >>> join_words(["UA", "RA", "TA"]), join_words(["UA"])
        ('UA, RA and TA', 'UA')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
