"""Copies: examples that hold the same as others, in one data set or in two, whatever objects they are read through."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.batch import Examples
from expunge.data.examples import Subset, get_root
from expunge.data.hashing import (
    Hashes,
    hash_example_ids,
    hash_examples,
    hash_yielded_examples,
    is_repeatable,
    pair_hashes,
    storage_format,
)
from expunge.errors import ExpungeError
from expunge.key import load_key_if_present

BoolArray = NDArray[np.bool_]


def find_copies(examples: Examples, *others: Examples) -> BoolArray:
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
        >>> find_copies(rows, Subset(TensorExamples(torch.tensor([[3.0]]), [0]), [0])).tolist()
        [False, False, True]
    """
    mask = np.zeros(len(examples), bool)
    for other in others:
        if _are_comparable(examples, other):
            with_ids = _has_ids(examples, other)
            # What is stored as bytes on one side and as floats on the other can be the same to the model.
            same_storage = storage_format(examples) == storage_format(other)
            mask |= np.isin(
                _hash_examples(examples, with_ids, stored=same_storage),
                _hash_examples(other, with_ids, stored=same_storage),
            )
    return mask


def find_duplicates(examples: Examples) -> BoolArray:
    """Return which examples are there already, under a smaller position, ``(n,)``.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> find_duplicates(TensorExamples(torch.tensor([[1.0], [2.0], [1.0]]), [0, 0, 0])).tolist()
        [False, False, True]
    """
    hashes = _hash_examples(examples, _has_ids(examples))
    mask = np.ones(len(hashes), bool)
    mask[np.unique(hashes, return_index=True)[1]] = False
    return mask


def duplicate_fraction(examples: Examples) -> float:
    """Return the share of examples that have another one like them, whatever their ids.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> duplicate_fraction(TensorExamples(torch.tensor([[1.0], [2.0], [1.0], [3.0]]), [0, 0, 0, 0]))
        0.5
    """
    counts = np.unique(_hash_examples(examples, with_ids=False), return_counts=True)[1]
    return float(counts[counts > 1].sum() / max(len(examples), 1))


def compute_expected_copies(examples: Examples, other: Examples, *references: Examples) -> float:
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
        >>> round(compute_expected_copies(Subset(coins, range(10)), Subset(coins, range(2)), coins), 2)
        0.74
        >>> rows = TensorExamples(torch.arange(100.0)[:, None], [0] * 100)
        >>> compute_expected_copies(Subset(rows, range(10)), rows, rows)
        0.0
    """
    with_ids = _has_ids(examples, other, *references)
    reference_hashes = [_hash_examples(reference, with_ids) for reference in references]
    expected = 0.0
    for label, count in zip(*(part.tolist() for part in examples.targets.unique(return_counts=True)), strict=True):
        of_label = ((reference.targets == label).cpu().numpy() for reference in references)
        label_hashes = next(
            (own[chosen] for own, chosen in zip(reference_hashes, of_label, strict=True) if chosen.any()), None
        )
        if label_hashes is not None and len(label_hashes) > 1:
            repetitions = np.unique(label_hashes, return_counts=True)[1]
            miss_probabilities = (1 - (repetitions - 1) / (len(label_hashes) - 1)) ** int(
                torch.sum(other.targets == label)
            )
            expected += count * float((repetitions * (1 - miss_probabilities)).sum()) / len(label_hashes)
    return expected / max(len(examples), 1)


def drop_duplicates(examples: Examples, *others: Examples) -> Subset:
    """Return each example once, without those that are in the others too.

    Args:
        examples: Examples, from ``as_examples`` perhaps.
        others: Examples whose copies are left out.

    Examples:
        >>> import torch
        >>> from expunge.data import TensorExamples
        >>> rows = TensorExamples(torch.tensor([[1.0], [2.0], [1.0]]), [0, 0, 0])
        >>> len(drop_duplicates(rows)), len(drop_duplicates(rows, Subset(rows, [0])))
        (2, 1)
    """
    return Subset(examples, np.flatnonzero(~(find_duplicates(examples) | find_copies(examples, *others))))


def _has_ids(*parts: Examples) -> bool:
    return all(getattr(get_root(part), "ids", None) is not None for part in parts)


def _are_comparable(first: Examples, second: Examples) -> bool:
    """Return whether content tells copies; of two data sets that yield something else each time it does not."""
    return get_root(first) is get_root(second) or (is_repeatable(first) and is_repeatable(second))


def _hash_examples(examples: Examples, with_ids: bool, *, stored: bool = True) -> Hashes:
    key = _load_key_or_zeros()
    hashes = (hash_examples if stored else hash_yielded_examples)(examples, key)
    ids = hash_example_ids(examples, key) if with_ids else None
    return hashes if ids is None else pair_hashes(hashes, ids)


def _load_key_or_zeros() -> bytes:
    """Return the installation's key if there is one: the hashes stay in memory, so that none is made for them."""
    with suppress(ExpungeError):
        return load_key_if_present() or bytes(32)
    return bytes(32)
