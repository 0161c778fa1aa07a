"""Copies by chance: where data repeat themselves, what an example holds does not tell which one it is.

In a table of few distinct rows, rows of different people agree. Such copies across parts of a request are no mistake of
the user's, so they are told and not refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from expunge.batch import Examples
from expunge.data import compute_expected_copies, duplicate_fraction, get_ids

MIN_REPEATED_FRACTION = 0.05
"""Data are said to repeat themselves if at least this share of retained examples has another one like it."""
CHANCE_FACTOR = 2.0
"""So many times the expected share is taken for chance; parts of one source differ."""
SIGNIFICANCE_LEVEL = 0.01
"""Copies that are more than chance with this probability or a lesser one are no coincidence."""


def is_coincidence(count: int, examples: Examples, other: Examples, sides: Sequence[Examples]) -> bool:
    """Return whether so many copies are no more than data that repeat themselves have anyway."""
    if not count or duplicate_fraction(sides[0]) < MIN_REPEATED_FRACTION:
        return False
    from scipy.stats import binom

    expected = min(1.0, CHANCE_FACTOR * compute_expected_copies(examples, other, *sides))
    return bool(binom.sf(count - 1, len(examples), expected) > SIGNIFICANCE_LEVEL)


def describe_repetition(retain: Examples) -> str:
    """Return what has to be said of data that repeat themselves."""
    percent, ids = 100 * duplicate_fraction(retain), get_ids(retain)
    hint = "; give the data set ids where rows belong to different people" if ids is None else ""
    return f"The data repeat themselves ({percent:.0f} % of the retained examples hold the same as another one), so \
examples of different parts may agree by chance, and one that is in two parts by mistake goes unnoticed{hint}."
