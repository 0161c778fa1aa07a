"""The forget request: which examples are to be forgotten, by class, index, id, a random share or a predicate.

Indices that a request names, and those that a predicate is given, are positions in the *root* data set (see
:mod:`expunge.data.examples`); what ``select`` returns are positions in the examples that it was given.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from expunge.batch import Examples
from expunge.data.examples import get_ids, get_root, get_root_indices
from expunge.data.id_file import ids_to_texts, read_ids
from expunge.data.index_file import read_indices, to_int_list
from expunge.data.labels import MAX_LABEL
from expunge.data.predicate import Predicate, find_matching_rows, import_predicate
from expunge.data.target_examples import find_members, list_groups
from expunge.errors import RequestError
from expunge.seeds import make_generator

_CHUNK_SIZE = 256


class ForgetRequest(Protocol):
    """What chooses the examples to forget."""

    kind: ClassVar[str]

    def select(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the chosen examples, sorted, ``(k,)`` int64."""
        ...

    def describe(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words, as a noun phrase without any example's index."""
        ...


@dataclass(frozen=True)
class ByClass:
    """All examples of one class.

    Args:
        label: Its number, or its name.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> ByClass("dog").select(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]), ["cat", "dog"])
        tensor([1, 3])
    """

    label: int | str
    kind: ClassVar[str] = "class"

    def select(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples of the class.

        Raises:
            RequestError: If there is no class of that name, or it does not occur.
        """
        number = self.class_index(class_names)
        # A comparison with a number beyond 64 bits is an error of torch.
        positions = find_members(examples, [number if 0 <= number <= MAX_LABEL else -1]).nonzero().flatten()
        if not len(positions):
            present = list_groups(examples)
            raise RequestError(
                f"a class that occurs in the data ({_join_values(present)})",
                f"{self.label!r}, which does not occur",
                "choose one that does",
            )
        return positions

    def class_index(self, class_names: Sequence[str] | None = None) -> int:
        """Return the number of the class.

        Raises:
            RequestError: If there is no class of that name.
        """
        if isinstance(self.label, int) and not isinstance(self.label, bool):
            return self.label
        names = list(class_names or ())
        if self.label in names:
            return names.index(self.label)
        if isinstance(self.label, str) and self.label.isdecimal() and len(self.label) <= 18:
            return int(self.label)
        near = difflib.get_close_matches(str(self.label), names, n=1)
        hint = f"did you mean {near[0]!r}" if near else "give the name as the data set spells it, or the number"
        raise RequestError(f"the name of a class ({_join_values(names)})", f"{self.label!r}", hint)

    def describe(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        number, names = self.class_index(class_names), class_names or ()
        named = 0 <= number < len(names)
        return "all examples of " + (f"the class '{names[number]}'" if named else f"class {number}")


@dataclass(frozen=True)
class ByIndices:
    """The examples at given indices.

    Args:
        indices: Whole numbers, each once, counted from 0 in the root data set; or the path of an index file (text with
            one number per line and ``#`` comments, a ``.json`` list, or an integer ``.npy`` array).

    Examples:
        >>> from expunge.data import TensorExamples
        >>> ByIndices([2, 0]).select(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]))
        tensor([0, 2])
    """

    indices: Sequence[int] | Tensor | str | Path = field(repr=False, compare=False)
    kind: ClassVar[str] = "indices"

    def select(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples.

        Raises:
            RequestError: If an index is not a whole number, is named twice, or is not in the data.
        """
        requested, indices = self.load_indices(), get_root_indices(examples)
        _check_range(requested, len(get_root(examples)))
        _check_unique(requested)
        chosen = torch.tensor(requested, dtype=torch.int64)
        positions = torch.isin(indices, chosen).nonzero().flatten()
        if len(positions) < len(chosen):
            raise RequestError(
                "indices of the part of the data set that is used",
                f"{len(chosen) - len(positions):,} of {len(chosen):,} outside it",
                "use the whole data set, or leave these examples out",
            )
        return positions

    def load_indices(self) -> list[int]:
        """Return the indices as they were given, read from the file if it is one."""
        if isinstance(self.indices, str | Path):
            return read_indices(Path(self.indices))
        return to_int_list(self.indices)

    def describe(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        return "examples that were listed one by one"


@dataclass(frozen=True)
class ByIds:
    """All examples of given ids, such as those of some customers; the data have an id for each example.

    Args:
        ids: Texts or whole numbers, compared as text; or the path of a file of them (text with one per line, or a
            ``.json`` list). An id that is named twice counts once.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> rows = TensorExamples(torch.rand(4, 2), [0, 1, 0, 1])
        >>> rows.ids = ["C-17", "C-25", "C-17", "C-40"]
        >>> ByIds(["C-17"]).select(rows)
        tensor([0, 2])
    """

    ids: Sequence[str | int] | str | Path = field(repr=False, compare=False)
    kind: ClassVar[str] = "ids"

    def select(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples of these ids.

        Raises:
            RequestError: If the data have no ids, or an id does not occur in them; no id is repeated in the message.
        """
        requested, ids = set(self.load_ids()), get_ids(examples)
        if ids is None:
            hint = "give the examples an attribute 'ids', or name the column of them with id_column"
            raise RequestError("data with an id for each example", "none", hint)
        if not requested:
            raise RequestError("at least one id", "none", "check the list")
        missing = len(requested.difference(ids))
        if missing:
            actual, hint = (
                f"{missing:,} of {len(requested):,} that do not occur",
                "correct the list, or take them out of it",
            )
            raise RequestError("ids that occur in the training data", actual, hint)
        return torch.tensor([position for position, one in enumerate(ids) if one in requested], dtype=torch.int64)

    def load_ids(self) -> list[str]:
        """Return the ids as they were given, read from the file if it is one."""
        return read_ids(Path(self.ids)) if isinstance(self.ids, str | Path) else ids_to_texts(self.ids)

    def describe(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        count = len(set(self.load_ids()))
        return f"all examples of {count:,} ids" if count != 1 else "all examples of one id"


@dataclass(frozen=True)
class ByFraction:
    """A random share of the examples, drawn uniformly without replacement.

    Args:
        fraction: The share, greater than 0 and less than 1; the count is rounded to the nearest whole number.
        seed: Seed of the draw, which uses a generator of its own.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> examples = TensorExamples(torch.rand(50, 2), torch.arange(50))
        >>> len(ByFraction(0.1, seed=3).select(examples))
        5
    """

    fraction: float
    seed: int = 0
    kind: ClassVar[str] = "fraction"

    def select(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples drawn.

        Raises:
            RequestError: If the fraction is not between 0 and 1, or rounds to no example.
        """
        if isinstance(self.fraction, bool) or not isinstance(self.fraction, Real) or not 0 < self.fraction < 1:
            raise RequestError("a fraction greater than 0 and less than 1", f"{self.fraction}", "write 0.1 for 10 %")
        count = round(self.fraction * len(examples))
        if count == 0:
            raise RequestError(
                "a fraction that comes to at least one example",
                f"{self.fraction} of {len(examples):,} examples",
                "raise the fraction",
            )
        return torch.randperm(len(examples), generator=make_generator(self.seed))[:count].sort().values

    def describe(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        return f"a random {100 * self.fraction:g} % of the examples (seed {self.seed})"


@dataclass(frozen=True)
class ByPredicate:
    """The examples for which a Python function says so.

    Args:
        function: ``function(index, input, label) -> bool``, or where to import it from, ``"package.module:name"``.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> dark = ByPredicate(lambda index, image, label: image.mean() < 0.5)
        >>> dark.select(TensorExamples(torch.tensor([[0.1], [0.9]]), [0, 1]))
        tensor([0])
    """

    function: Predicate | str
    kind: ClassVar[str] = "predicate"

    def select(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples for which the function is true.

        Raises:
            RequestError: If the function cannot be imported, fails, or answers something else than true or false.
        """
        function = import_predicate(self.function) if isinstance(self.function, str) else self.function
        chosen: list[int] = []
        for start in range(0, len(examples), _CHUNK_SIZE):
            positions = torch.arange(start, min(start + _CHUNK_SIZE, len(examples)))
            chosen.extend(start + row for row in find_matching_rows(function, examples.batch(positions)))
        return torch.tensor(chosen, dtype=torch.int64)

    def describe(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        name = self.function if isinstance(self.function, str) else getattr(self.function, "__name__", "given")
        return f"all examples that the predicate '{name}' picks"


def _check_range(requested: Sequence[int], size: int) -> None:
    outside = [index for index in requested if not 0 <= index < size]
    if outside:
        raise RequestError(
            f"indices from 0 to {size - 1}",
            f"{len(outside):,} outside, the first of them {outside[0]}",
            "count the examples from 0, in the order of the training set",
        )


def _check_unique(requested: Sequence[int]) -> None:
    # The message counts and does not name: it may be kept with a failed run, and an index identifies a person's record.
    repeated = sum(count > 1 for count in Counter(requested).values())
    if repeated:
        raise RequestError("every index once", f"{repeated:,} named more than once", "remove the duplicates")


def _join_values(values: Sequence[Any], max_shown: int = 12) -> str:
    text = ", ".join(map(str, values[:max_shown]))
    return (f"{text}, … ({len(values):,} in all)" if len(values) > max_shown else text) or "the data set names none"
