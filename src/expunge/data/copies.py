"""Copies: examples that hold the same as others, in one data set or in two, whatever objects they are read through."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.batch import Examples
from expunge.data.examples import Subset, root_of
from expunge.data.identity import (
    Hashes,
    example_hashes,
    id_hashes,
    is_repeatable,
    pair_hashes,
    storage_form,
    yielded_hashes,
)
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
            by_id = _has_ids(examples, other)
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
    marks = _marks(examples, _has_ids(examples))
    mask = np.ones(len(marks), bool)
    mask[np.unique(marks, return_index=True)[1]] = False
    return mask


def repeated_share(examples: Examples) -> float:
    """Return the share of examples that have another one like them, whatever their ids.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> repeated_share(TensorExamples(torch.tensor([[1.0], [2.0], [1.0], [3.0]]), [0, 0, 0, 0]))
        0.5
    """
    counts = np.unique(_marks(examples, by_id=False), return_counts=True)[1]
    return float(counts[counts > 1].sum() / max(len(examples), 1))


def share_by_chance(examples: Examples, other: Examples, *references: Examples) -> float:
    """Return the share of examples expected to have a copy in others, where no example is in both.

    Of each label, by the first reference that has it: an example that m of n further ones agree with has a copy among k
    others with probability 1 − (1 − m/n)^k.

    Args:
        examples: Where the copies are looked for.
        other: What they are copies of.
        references: Examples of the same source, such as the retained ones.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> coins = TensorExamples(torch.tensor([[0.0], [1.0]] * 50), [0] * 100)
        >>> round(share_by_chance(Subset(coins, range(10)), Subset(coins, range(2)), coins), 2)
        0.74
        >>> rows = TensorExamples(torch.arange(100.0)[:, None], [0] * 100)
        >>> share_by_chance(Subset(rows, range(10)), rows, rows)
        0.0
    """
    by_id = _has_ids(examples, other, *references)
    marks = [_marks(reference, by_id) for reference in references]
    expected = 0.0
    for label, count in zip(*(part.tolist() for part in examples.targets.unique(return_counts=True)), strict=True):
        of_label = ((reference.targets == label).cpu().numpy() for reference in references)
        alike = next((own[chosen] for own, chosen in zip(marks, of_label, strict=True) if chosen.any()), None)
        if alike is not None and len(alike) > 1:
            held = np.unique(alike, return_counts=True)[1]
            missed = (1 - (held - 1) / (len(alike) - 1)) ** int(torch.sum(other.targets == label))
            expected += count * float((held * (1 - missed)).sum()) / len(alike)
    return expected / max(len(examples), 1)


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


def _has_ids(*parts: Examples) -> bool:
    return all(getattr(root_of(part), "ids", None) is not None for part in parts)


def _comparable(first: Examples, second: Examples) -> bool:
    """Return whether content tells copies; of two data sets that yield something else each time it does not."""
    return root_of(first) is root_of(second) or (is_repeatable(first) and is_repeatable(second))


def _marks(examples: Examples, by_id: bool, *, stored: bool = True) -> Hashes:
    key = _key()
    marks = (example_hashes if stored else yielded_hashes)(examples, key)
    ids = id_hashes(examples, key) if by_id else None
    return marks if ids is None else pair_hashes(marks, ids)


def _key() -> bytes:
    """Return the installation's key if there is one: the hashes stay in memory, so that none is made for them."""
    with suppress(ExpungeError):
        return key_at_hand() or bytes(32)
    return bytes(32)
