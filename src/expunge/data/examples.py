"""Parts of data sets, and whatever can be read as examples.

An example's index is its position in the *root* data set, whichever part of it one reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset as TorchSubset
from torch.utils.data import TensorDataset

from expunge.batch import Batch, Examples
from expunge.data.augment import Augment, none
from expunge.data.dataset_examples import DatasetExamples
from expunge.data.id_file import texts_of_column
from expunge.data.labels import as_tensor
from expunge.data.tensor_examples import TensorExamples
from expunge.errors import DataError
from expunge.kinds import kinds_checked


class Subset:
    """Some of the examples of another data set; ``Batch.indices`` stay positions in the root data set.

    Args:
        examples: The data set, itself a subset perhaps.
        positions: Which of *its* examples, in the order in which they are wanted.

    Raises:
        DataError: If a position is not a whole number or out of range.

    Examples:
        >>> part = Subset(TensorExamples(torch.rand(9, 2), torch.arange(9)), [3, 5, 8])
        >>> Subset(part, [2, 0]).batch(torch.tensor([0])).indices
        tensor([8])
    """

    @kinds_checked
    def __init__(self, examples: Examples, positions: Any) -> None:
        chosen = checked_positions(positions, len(examples))
        self.root: Examples = root_of(examples)
        self.positions: Tensor = root_indices(examples)[chosen]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.positions)

    @property
    def targets(self) -> Tensor:
        """Labels of the subset's examples, ``(n,)`` int64."""
        return self.root.targets[self.positions]

    @property
    def ids(self) -> list[str] | None:
        """The user's id of each example as text; None where the data set has none."""
        return ids_of(self)

    @property
    def augment(self) -> Augment:
        """What training may do to a batch of inputs of the root."""
        found: Augment = getattr(self.root, "augment", none)
        return found

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices`` of the subset."""
        return self.root.batch(self.positions.index_select(0, indices))


def root_of(examples: Examples) -> Examples:
    """Return the whole data set that examples are a part of, or the examples themselves."""
    return examples.root if isinstance(examples, Subset) else examples


def root_indices(examples: Examples) -> Tensor:
    """Return for each example its index in the root data set, ``(n,)`` int64.

    Examples:
        >>> root_indices(Subset(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]), [3, 1]))
        tensor([3, 1])
    """
    return examples.positions if isinstance(examples, Subset) else torch.arange(len(examples))


def ids_of(examples: Examples) -> list[str] | None:
    """Return the user's id of each example as text; None where the data set has no attribute ``ids``.

    Raises:
        DataError: If there is not one id for each example.

    Examples:
        >>> rows = TensorExamples(torch.rand(3, 2), [0, 1, 0])
        >>> rows.ids = ["ann", "bob", "ann"]
        >>> ids_of(Subset(rows, [1, 2]))
        ['bob', 'ann']
    """
    root = root_of(examples)
    ids = getattr(root, "ids", None)
    if ids is None:
        return None
    texts = texts_of_column(ids, len(root))
    return [texts[place] for place in root_indices(examples).tolist()]


def with_ids_of(thing: Any, made: Examples) -> Examples:
    """Return examples with the ids of the data set that they were made of, where it has one for each."""
    ids = getattr(thing, "ids", None)
    if isinstance(ids, Sized) and not isinstance(ids, (str, bytes)) and len(ids) == len(made):
        made.ids = ids  # type: ignore[attr-defined]
    return made


def as_examples(thing: Any) -> Examples:
    """Return ``thing`` as examples.

    Args:
        thing: Examples already; a pair of arrays, tensors or tables, or a ``TensorDataset`` of two (read without a
            loop); PyTorch's own ``Subset``, whose indices count in the data set beneath; or any map-style data set.

    Raises:
        DataError: If it is none of these.

    Examples:
        >>> data = TensorDataset(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
        >>> as_examples(torch.utils.data.Subset(data, [3])).batch(torch.tensor([0])).indices
        tensor([3])
    """
    # Our own are known by type: asking a data set for its targets may read every item of it.
    if isinstance(thing, TensorExamples | DatasetExamples | Subset):
        return thing
    if callable(getattr(thing, "batch", None)) and hasattr(thing, "targets"):
        found: Examples = thing
        return found
    if type(thing) is TorchSubset:
        return Subset(as_examples(thing.dataset), list(thing.indices))
    arrays = thing.tensors if type(thing) is TensorDataset else thing
    if isinstance(arrays, tuple) and len(arrays) == 2 and all(map(_is_array, arrays)):
        return with_ids_of(thing, TensorExamples(*arrays))
    if isinstance(thing, Mapping) and 0 not in thing:
        cure = "pass a tuple (inputs, labels), or a data set whose items are (input, label)"
        raise DataError("examples", f"a mapping ({type(thing).__name__})", cure)
    return with_ids_of(thing, DatasetExamples(thing))


def _is_array(thing: Any) -> bool:
    return isinstance(thing, Tensor) or (hasattr(thing, "__array__") and hasattr(thing, "shape"))


def num_classes(examples: Examples) -> int:
    """Return the number of classes: the greatest label plus one.

    Raises:
        DataError: If there is no example.

    Examples:
        >>> num_classes(TensorExamples(torch.rand(3, 2), [0, 4, 1]))
        5
    """
    if not len(examples):
        raise DataError("at least one example", "none", "check the data set")
    return int(examples.targets.max()) + 1


def checked_positions(positions: Any, size: int) -> Tensor:
    """Return positions as whole numbers of 64 bits.

    Args:
        positions: As somebody passed them.
        size: Of the examples that they are positions in.

    Raises:
        DataError: If they are something else, or out of range.
    """
    expected, cure = "positions as a list of whole numbers of 64 bits", "list them"
    try:
        found = as_tensor(positions)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(expected, type(positions).__name__, cure) from error
    if found.numel() == 0:
        found = found.long().flatten()
    if found.dim() != 1 or found.is_floating_point() or found.dtype == torch.bool:
        raise DataError(expected, f"{found.dtype} of shape {tuple(found.shape)}", cure)
    if found.numel() and (int(found.min()) < 0 or int(found.max()) >= size):
        raise DataError(
            f"positions from 0 to {size - 1}", f"{int(found.min())} to {int(found.max())}", "choose positions in range"
        )
    return found.long()
