"""How numbers are written in reports."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.formatting import ABSENT


def decimals(value: float, unit: str) -> int:
    """Return how many decimals a number of this unit and size gets.

    Examples:
        >>> decimals(99.5, "%"), decimals(0.51, ""), decimals(123.4, "s"), decimals(4.2, "s")
        (2, 3, 0, 2)
    """
    if unit in ("%", "points"):
        return 2
    if unit in ("s", "seconds"):
        return 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return 3 if abs(value) < 10 else 1


def write(value: float | None, unit: str = "%", places: int | None = None) -> str:
    """Return a number as text without its unit, with a true minus sign.

    Examples:
        >>> write(99.456), write(-0.001), write(None), write(-3.5), write(12345.6, "s")
        ('99.46', '0.00', '–', '−3.50', '12,346')
    """
    if value is None:
        return ABSENT
    places = decimals(value, unit) if places is None else places
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if round(value, places) == 0 else text.replace("-", "−")


def write_with_half(value: float | None, half: float | None, unit: str = "%") -> str:
    """Return ``value ± half``, or the value alone where no interval is known.

    Examples:
        >>> write_with_half(1.5, 0.25), write_with_half(1.5, None), write_with_half(None, None)
        ('1.50 ± 0.25', '1.50', '–')
    """
    if value is None or half is None:
        return write(value, unit)
    places = decimals(value, unit)
    return f"{write(value, unit, places)} ± {write(half, unit, places)}"


def tie(text: str) -> str:
    """Return text with ± and units tied to their numbers, so that no line ends between them.

    Examples:
        >>> tie("1.5 ± 0.2 %") == "1.5\u00a0±\u00a00.2\u00a0%"
        True
    """
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def distances(these: Sequence[float | None], those: Sequence[float | None]) -> list[float]:
    """Return |a − b| for each seed that both have, nothing where the two do not have the same seeds.

    Examples:
        >>> distances([1.0, 5.0], [2.0, 2.0]), distances([1.0], [1.0, 2.0])
        ([1.0, 3.0], [])
    """
    if len(these) != len(those):
        return []
    return [abs(a - b) for a, b in zip(these, those, strict=True) if a is not None and b is not None]


def join(words: Sequence[str]) -> str:
    """Return an enumeration.

    Examples:
        >>> join(["UA", "RA", "TA"]), join(["UA"])
        ('UA, RA and TA', 'UA')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
