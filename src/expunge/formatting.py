"""How numbers are written for people, everywhere: thousands apart, no exponents, a true minus sign; and classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ABSENT = "–"
MIN_SHOWN_NUMBER = 1e-4
"""A number nearer to 0 is not written out."""
MIN_SHOWN_PERCENT = 0.01


def format_count(value: int | None) -> str:
    """Return a count with commas between thousands.

    Examples:
        >>> format_count(12345), format_count(None)
        ('12,345', '–')
    """
    return ABSENT if value is None else f"{value:,}"


def format_number(value: float | None) -> str:
    """Return a number with three digits, all of its whole ones where it is large.

    Examples:
        >>> format_number(0.12345), format_number(-67234.0), format_number(3.7e-7), format_number(-0.0)
        ('0.123', '−67,234', '< 0.0001', '0')
    """
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    if 0 < abs(value) < MIN_SHOWN_NUMBER:
        return f"< {MIN_SHOWN_NUMBER:g}" if value > 0 else f"> −{MIN_SHOWN_NUMBER:g}"
    # From 999.5 on, three digits would be written with an exponent.
    text = f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
    return text.replace("-", "−")


def format_percent(fraction: float | None) -> str:
    """Return a share in percent, with its sign.

    Examples:
        >>> format_percent(0.1234), format_percent(3.7e-9), format_percent(12.0), format_percent(0.0)
        ('12.3 %', '< 0.01 %', '1,200 %', '0 %')
    """
    if fraction is not None and 0 < abs(100 * fraction) < MIN_SHOWN_PERCENT:
        return f"< {MIN_SHOWN_PERCENT:g} %" if fraction > 0 else f"> −{MIN_SHOWN_PERCENT:g} %"
    return f"{format_number(None if fraction is None else 100 * fraction)} %"


def format_examples(count: int) -> str:
    """Return how many examples there are, in words.

    Examples:
        >>> format_examples(1), format_examples(1900)
        ('1 example', '1,900 examples')
    """
    return f"{count:,} example{'' if count == 1 else 's'}"


def list_class_names(labels: Iterable[int], class_names: Sequence[str] = ()) -> list[str]:
    """Return the names of classes, their numbers where they have none.

    Examples:
        >>> list_class_names([1, 2], ["cat", "dog"])
        ['dog', '2']
    """
    return [class_names[label] if label < len(class_names) else str(label) for label in labels]


def format_classes(labels: Iterable[int], class_names: Sequence[str] = ()) -> str:
    """Return classes in words, by their names where they have some.

    Examples:
        >>> format_classes([1], ["cat", "dog"]), format_classes([0, 1, 2], ["cat", "dog"])
        ('class dog', 'classes cat, dog and 2')
    """
    *all_but_last, last = list_class_names(labels, class_names)
    return f"classes {', '.join(all_but_last)} and {last}" if all_but_last else f"class {last}"
