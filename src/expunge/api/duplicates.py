"""Copies in the data of a request file: they are left out and said, since nobody can edit a reader's data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from expunge.api.coincidence import describe_repetition, is_coincidence
from expunge.batch import Examples
from expunge.data import Subset, find_copies, find_duplicates, hash_cache
from expunge.errors import RequestError
from expunge.pair import Pair

if TYPE_CHECKING:
    from expunge.api.loading import RequestData


def exclude_duplicates(parts: RequestData) -> RequestData:
    """Return the data of a request without copies: what could not be forgotten, or would not measure what is new.

    Left out are retained examples that hold the same as forgotten ones, held-out examples that repeat or are in the
    training data, and test examples that repeat, are held out or are in the training data. Where the data repeat
    themselves anyway, copies are kept and told of.
    """
    test, original_holdout = parts.source.test, parts.holdout
    with hash_cache():
        forget, retain = parts.sides
        coincide = [is_coincidence(int(find_copies(forget, retain).sum()), forget, retain, (retain, forget))]
        retained_positions = (
            parts.positions.retain
            if coincide[0]
            else parts.positions.retain[np.flatnonzero(~find_copies(retain, forget))]
        )
        holdout = (
            None if original_holdout is None else _exclude_copies(original_holdout, parts.sides, parts.sides, coincide)
        )
        others = [*parts.sides, *([] if holdout is None else [holdout])]
        tested = _exclude_copies(test, others, parts.sides, coincide)
    sizes = {
        "retained": (len(retain), len(retained_positions)),
        "held-out": (0, 0) if original_holdout is None or holdout is None else (len(original_holdout), len(holdout)),
        "test": (len(test), len(tested)),
    }
    sentences = (*_describe_excluded(sizes), *([describe_repetition(retain)] if any(coincide) else []))
    if not sentences:
        return parts
    return parts._replace(
        source=parts.source
        if len(tested) == len(test)
        else replace(parts.source, test=_original_unless_smaller(test, tested)),
        holdout=original_holdout
        if original_holdout is None or holdout is None
        else _original_unless_smaller(original_holdout, holdout),
        positions=Pair(parts.positions.forget, retained_positions),
        left_out=replace(parts.left_out, copies=sentences),
    )


def _exclude_copies(
    examples: Examples, others: Sequence[Examples], sides: Pair[Subset], coincide: list[bool]
) -> Subset:
    """Return held-out or test examples once, without copies in others; all where the data repeat themselves as much."""
    marks = [(find_duplicates(examples), examples), *((find_copies(examples, other), other) for other in others)]
    chance = [is_coincidence(int(mask.sum()), examples, other, (sides.retain, sides.forget)) for mask, other in marks]
    coincide.extend(chance)
    dropped = [mask for (mask, _), natural in zip(marks, chance, strict=True) if not natural]
    return Subset(examples, np.flatnonzero(~np.any([np.zeros(len(examples), bool), *dropped], axis=0)))


def _original_unless_smaller(examples: Examples, part: Subset) -> Examples:
    return examples if len(part) == len(examples) else part


def _describe_excluded(sizes: dict[str, tuple[int, int]]) -> Iterator[str]:
    """Yield a sentence on each part of which something is left out."""
    of_what = {"retained": "forgotten", "held-out": "training or other held-out", "test": "training or held-out"}
    for part, (before, after) in sizes.items():
        if before and not after:
            actual = f"{before:,} {part} examples that all hold the same as {of_what[part]} examples"
            raise RequestError(f"{part} examples that are no copies", actual, "give the examples ids, or other data")
        if after < before:
            count = before - after
            hold, are = ("holds", "is") if count == 1 else ("hold", "are")
            yield f"Of {before:,} {part} examples {count:,} {hold} the same as {of_what[part]} ones and {are} left out."
