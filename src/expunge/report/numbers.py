"""How numbers are written in reports."""

from __future__ import annotations

from collections.abc import Sequence

ABSENT = "–"


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
        >>> write(99.456), write(-0.001), write(None), write(-3.5)
        ('99.46', '0.00', '–', '−3.50')
    """
    if value is None:
        return ABSENT
    places = decimals(value, unit) if places is None else places
    text = f"{value:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


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


def count(value: int | None) -> str:
    """Return a count with thousands apart by a thin space.

    Examples:
        >>> count(12345).replace("\u202f", " ")
        '12 345'
    """
    return ABSENT if value is None else f"{value:,}".replace(",", "\u202f")


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


def short(value: float | None) -> str:
    """Return a number with three digits, all of them where it is large, and a true minus sign.

    Examples:
        >>> short(0.12345), short(-67234.0)
        ('0.123', '−67234')
    """
    if value is None:
        return ABSENT
    return (f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")
