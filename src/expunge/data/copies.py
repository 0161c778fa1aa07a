"""Copies: examples that hold the same as others, in one data set or in two, whatever objects they are read through."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from expunge.batch import Examples
from expunge.data.examples import Subset
from expunge.data.identity import Hashes, example_hashes, id_hashes, is_repeatable, storage_form, yielded_hashes
from expunge.errors import ExpungeError
from expunge.key import key_at_hand

Mask = NDArray[np.bool_]


def copies(examples: Examples, *others: Examples) -> Mask:
    """Return which examples are in any of the others too, ``(n,)``.

    Two examples are copies if they hold the same inputs and label, as they are stored or, where the two sides are
    stored differently, as their data sets yield them. Where both data sets have ``ids``, these have to be
    the same too: rows of different people may agree.

    Args:
        examples: Where the copies are looked for.
        others: What they are copies of.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> rows = TensorExamples(torch.tensor([[1.0], [2.0], [3.0]]), [0, 0, 0])
        >>> copies(rows, Subset(TensorExamples(torch.tensor([[3.0]]), [0]), [0])).tolist()
        [False, False, True]
    """
    mask = np.zeros(len(examples), bool)
    for other in others:
        if _comparable(examples, other):
            by_id = all(getattr(_root(part), "ids", None) is not None for part in (examples, other))
            # What is stored as bytes on one side and as floats on the other can be the same to the model.
            alike = storage_form(examples) == storage_form(other)
            mask |= np.isin(_marks(examples, by_id, stored=alike), _marks(other, by_id, stored=alike))
    return mask


def repeats(examples: Examples) -> Mask:
    """Return which examples are there already, under a smaller position, ``(n,)``.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> repeats(TensorExamples(torch.tensor([[1.0], [2.0], [1.0]]), [0, 0, 0])).tolist()
        [False, False, True]
    """
    marks = _marks(examples, getattr(_root(examples), "ids", None) is not None)
    mask = np.ones(len(marks), bool)
    mask[np.unique(marks, return_index=True)[1]] = False
    return mask


def distinct(examples: Examples, *others: Examples) -> Subset:
    """Return each example once, without those that are in the others too.

    Args:
        examples: Examples, from ``as_examples`` perhaps.
        others: Examples whose copies are left out.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> rows = TensorExamples(torch.tensor([[1.0], [2.0], [1.0]]), [0, 0, 0])
        >>> len(distinct(rows)), len(distinct(rows, Subset(rows, [0])))
        (2, 1)
    """
    return Subset(examples, np.flatnonzero(~(repeats(examples) | copies(examples, *others))))


def _root(examples: Examples) -> Examples:
    return examples.root if isinstance(examples, Subset) else examples


def _comparable(first: Examples, second: Examples) -> bool:
    """Return whether content tells copies; of two data sets that yield something else each time it does not."""
    return _root(first) is _root(second) or (is_repeatable(first) and is_repeatable(second))


def _marks(examples: Examples, by_id: bool, *, stored: bool = True) -> Hashes:
    key = _key()
    marks = (example_hashes if stored else yielded_hashes)(examples, key)
    ids = id_hashes(examples, key) if by_id else None
    if ids is None:
        return marks
    both = np.stack([marks, ids], axis=1).tobytes()
    return np.frombuffer(both, f"S{2 * marks.dtype.itemsize}")


def _key() -> bytes:
    """Return the installation's key if there is one: the hashes stay in memory, so that none is made for them."""
    with suppress(ExpungeError):
        return key_at_hand() or bytes(32)
    return bytes(32)
