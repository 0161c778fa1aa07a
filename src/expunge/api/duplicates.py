"""Copies in the data of a request file: they are left out and said, since nobody can edit a reader's data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from expunge.api.coincidence import is_coincidence, repetition_sentence
from expunge.batch import Examples
from expunge.data import Subset, copies, remembered_hashes, repeats
from expunge.errors import RequestError
from expunge.pair import Pair

if TYPE_CHECKING:
    from expunge.api.reading import Parts


def without_copies(parts: Parts) -> Parts:
    """Return the data of a request without copies: what could not be forgotten, or would not measure what is new.

    Left out are retained examples that hold the same as forgotten ones, held-out examples that repeat or are in the
    training data, and test examples that repeat, are held out or are in the training data. Where the data repeat
    themselves anyway, copies are kept and told of.

    Args:
        parts: The data.

    Raises:
        RequestError: If nothing is left of a part.
    """
    test, held = parts.source.test, parts.holdout
    with remembered_hashes():
        forget, retain = parts.sides
        coincide = [is_coincidence(int(copies(forget, retain).sum()), forget, retain, (retain, forget))]
        kept = (
            parts.positions.retain if coincide[0] else parts.positions.retain[np.flatnonzero(~copies(retain, forget))]
        )
        holdout = None if held is None else _without(held, parts.sides, parts.sides, coincide)
        others = [*parts.sides, *([] if holdout is None else [holdout])]
        tested = _without(test, others, parts.sides, coincide)
    sizes = {
        "retained": (len(retain), len(kept)),
        "held-out": (0, 0) if held is None or holdout is None else (len(held), len(holdout)),
        "test": (len(test), len(tested)),
    }
    said = (*_sentences(sizes), *([repetition_sentence(retain)] if any(coincide) else []))
    if not said:
        return parts
    return parts._replace(
        source=parts.source if len(tested) == len(test) else replace(parts.source, test=_same_or(test, tested)),
        holdout=held if held is None or holdout is None else _same_or(held, holdout),
        positions=Pair(parts.positions.forget, kept),
        left_out=replace(parts.left_out, copies=said),
    )


def _without(examples: Examples, others: Sequence[Examples], sides: Pair[Subset], coincide: list[bool]) -> Subset:
    """Return held-out or test examples once, without copies in others; all where the data repeat themselves as much.

    Args:
        examples: They.
        others: Of the training data, and held-out ones.
        sides: The examples to forget and to retain.
        coincide: Whether copies are a coincidence is added here.
    """
    marks = [(repeats(examples), examples), *((copies(examples, other), other) for other in others)]
    chance = [is_coincidence(int(mask.sum()), examples, other, (sides.retain, sides.forget)) for mask, other in marks]
    coincide.extend(chance)
    dropped = [mask for (mask, _), natural in zip(marks, chance, strict=True) if not natural]
    return Subset(examples, np.flatnonzero(~np.any([np.zeros(len(examples), bool), *dropped], axis=0)))


def _same_or(whole: Examples, part: Subset) -> Examples:
    return whole if len(part) == len(whole) else part


def _sentences(sizes: dict[str, tuple[int, int]]) -> Iterator[str]:
    """Yield a sentence on each part of which something is left out."""
    of_what = {"retained": "forgotten", "held-out": "training or other held-out", "test": "training or held-out"}
    for part, (before, after) in sizes.items():
        if before and not after:
            found = f"{before:,} {part} examples that all hold the same as {of_what[part]} examples"
            raise RequestError(f"{part} examples that are no copies", found, "give the examples ids, or other data")
        if after < before:
            count = before - after
            hold, are = ("holds", "is") if count == 1 else ("hold", "are")
            yield f"Of {before:,} {part} examples {count:,} {hold} the same as {of_what[part]} ones and {are} left out."
