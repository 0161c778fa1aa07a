"""The forget request: which examples are to be forgotten, by class, index, id, a random share or a predicate.

Indices that a request names, and those that a predicate is given, are positions in the *root* data set (see
:mod:`expunge.data.examples`); what ``choose`` returns are positions in the examples that it was given.
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
from expunge.data.examples import ids_of, root_indices, root_of
from expunge.data.id_file import read_ids, texts_of_ids
from expunge.data.index_file import read_indices, whole_numbers
from expunge.data.labels import MAX_LABEL
from expunge.data.predicate import Predicate, imported, rows_where
from expunge.errors import RequestError
from expunge.seeds import seeded_generator

_CHUNK = 256


class Request(Protocol):
    """What chooses the examples to forget."""

    kind: ClassVar[str]

    def choose(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the chosen examples, sorted, ``(k,)`` int64."""
        ...

    def sentence(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words, as a noun phrase without any example's index."""
        ...


@dataclass(frozen=True)
class ByClass:
    """All examples of one class.

    Args:
        label: Its number, or its name.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> ByClass("dog").choose(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]), ["cat", "dog"])
        tensor([1, 3])
    """

    label: int | str
    kind: ClassVar[str] = "class"

    def choose(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples of the class.

        Raises:
            RequestError: If there is no class of that name, or it does not occur.
        """
        number = self.number(class_names)
        # A comparison with a number beyond 64 bits is an error of torch.
        found = (examples.targets == (number if 0 <= number <= MAX_LABEL else -1)).nonzero().flatten()
        if not len(found):
            present = examples.targets.bincount().nonzero().flatten().tolist()
            raise RequestError(
                f"a class that occurs in the data ({_listed(present)})",
                f"{self.label!r}, which does not occur",
                "choose one that does",
            )
        return found

    def number(self, class_names: Sequence[str] | None = None) -> int:
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
        cure = f"did you mean {near[0]!r}" if near else "give the name as the data set spells it, or the number"
        raise RequestError(f"the name of a class ({_listed(names)})", f"{self.label!r}", cure)

    def sentence(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        number, names = self.number(class_names), class_names or ()
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
        >>> ByIndices([2, 0]).choose(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]))
        tensor([0, 2])
    """

    indices: Sequence[int] | Tensor | str | Path = field(repr=False, compare=False)
    kind: ClassVar[str] = "indices"

    def choose(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples.

        Raises:
            RequestError: If an index is not a whole number, is named twice, or is not in the data.
        """
        wanted, known = self.numbers(), root_indices(examples)
        _check_range(wanted, len(root_of(examples)))
        _check_repeats(wanted)
        chosen = torch.tensor(wanted, dtype=torch.int64)
        found = torch.isin(known, chosen).nonzero().flatten()
        if len(found) < len(chosen):
            raise RequestError(
                "indices of the part of the data set that is used",
                f"{len(chosen) - len(found):,} of {len(chosen):,} outside it",
                "use the whole data set, or leave these examples out",
            )
        return found

    def numbers(self) -> list[int]:
        """Return the indices as they were given, read from the file if it is one."""
        if isinstance(self.indices, str | Path):
            return read_indices(Path(self.indices))
        return whole_numbers(self.indices)

    def sentence(self, class_names: Sequence[str] | None = None) -> str:
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
        >>> ByIds(["C-17"]).choose(rows)
        tensor([0, 2])
    """

    ids: Sequence[str | int] | str | Path = field(repr=False, compare=False)
    kind: ClassVar[str] = "ids"

    def choose(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples of these ids.

        Raises:
            RequestError: If the data have no ids, or an id does not occur in them; no id is repeated in the message.
        """
        wanted, known = set(self.texts()), ids_of(examples)
        if known is None:
            cure = "give the examples an attribute 'ids', or name the column of them with id_column"
            raise RequestError("data with an id for each example", "none", cure)
        if not wanted:
            raise RequestError("at least one id", "none", "check the list")
        missing = len(wanted.difference(known))
        if missing:
            found, cure = (
                f"{missing:,} of {len(wanted):,} that do not occur",
                "correct the list, or take them out of it",
            )
            raise RequestError("ids that occur in the training data", found, cure)
        return torch.tensor([place for place, one in enumerate(known) if one in wanted], dtype=torch.int64)

    def texts(self) -> list[str]:
        """Return the ids as they were given, read from the file if it is one."""
        return read_ids(Path(self.ids)) if isinstance(self.ids, str | Path) else texts_of_ids(self.ids)

    def sentence(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        count = len(set(self.texts()))
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
        >>> len(ByFraction(0.1, seed=3).choose(examples))
        5
    """

    fraction: float
    seed: int = 0
    kind: ClassVar[str] = "fraction"

    def choose(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
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
        return torch.randperm(len(examples), generator=seeded_generator(self.seed))[:count].sort().values

    def sentence(self, class_names: Sequence[str] | None = None) -> str:
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
        >>> dark.choose(TensorExamples(torch.tensor([[0.1], [0.9]]), [0, 1]))
        tensor([0])
    """

    function: Predicate | str
    kind: ClassVar[str] = "predicate"

    def choose(self, examples: Examples, class_names: Sequence[str] | None = None) -> Tensor:
        """Return the positions of the examples for which the function is true.

        Raises:
            RequestError: If the function cannot be imported, fails, or answers something else than true or false.
        """
        function = imported(self.function) if isinstance(self.function, str) else self.function
        chosen: list[int] = []
        for start in range(0, len(examples), _CHUNK):
            positions = torch.arange(start, min(start + _CHUNK, len(examples)))
            chosen.extend(start + row for row in rows_where(function, examples.batch(positions)))
        return torch.tensor(chosen, dtype=torch.int64)

    def sentence(self, class_names: Sequence[str] | None = None) -> str:
        """Return the request in plain words."""
        name = self.function if isinstance(self.function, str) else getattr(self.function, "__name__", "given")
        return f"all examples that the predicate '{name}' picks"


def _check_range(wanted: Sequence[int], size: int) -> None:
    outside = [index for index in wanted if not 0 <= index < size]
    if outside:
        raise RequestError(
            f"indices from 0 to {size - 1}",
            f"{len(outside):,} outside, the first of them {outside[0]}",
            "count the examples from 0, in the order of the training set",
        )


def _check_repeats(wanted: Sequence[int]) -> None:
    # The message counts and does not name: it may be kept with a failed run, and an index identifies a person's record.
    repeated = sum(count > 1 for count in Counter(wanted).values())
    if repeated:
        raise RequestError("every index once", f"{repeated:,} named more than once", "remove the duplicates")


def _listed(values: Sequence[Any], most: int = 12) -> str:
    shown = ", ".join(map(str, values[:most]))
    return (f"{shown}, … ({len(values):,} in all)" if len(values) > most else shown) or "the data set names none"
