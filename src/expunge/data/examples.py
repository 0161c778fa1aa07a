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
from expunge.data.id_file import column_to_texts
from expunge.data.labels import as_tensor
from expunge.data.tensor_examples import TensorExamples
from expunge.errors import DataError
from expunge.type_checks import check_argument_types


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

    @check_argument_types
    def __init__(self, examples: Examples, positions: Any) -> None:
        indices = validate_positions(positions, len(examples))
        self.root: Examples = get_root(examples)
        self.positions: Tensor = get_root_indices(examples)[indices]

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
        return get_ids(self)

    @property
    def augment(self) -> Augment:
        """What training may do to a batch of inputs of the root."""
        augment: Augment = getattr(self.root, "augment", none)
        return augment

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices`` of the subset."""
        return self.root.batch(self.positions.index_select(0, indices))


def get_root(examples: Examples) -> Examples:
    """Return the whole data set that examples are a part of, or the examples themselves."""
    return examples.root if isinstance(examples, Subset) else examples


def get_root_indices(examples: Examples) -> Tensor:
    """Return for each example its index in the root data set, ``(n,)`` int64.

    Examples:
        >>> get_root_indices(Subset(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]), [3, 1]))
        tensor([3, 1])
    """
    return examples.positions if isinstance(examples, Subset) else torch.arange(len(examples))


def get_ids(examples: Examples) -> list[str] | None:
    """Return the user's id of each example as text; None where the data set has no attribute ``ids``.

    Raises:
        DataError: If there is not one id for each example.

    Examples:
        >>> rows = TensorExamples(torch.rand(3, 2), [0, 1, 0])
        >>> rows.ids = ["ann", "bob", "ann"]
        >>> get_ids(Subset(rows, [1, 2]))
        ['bob', 'ann']
    """
    root = get_root(examples)
    ids = getattr(root, "ids", None)
    if ids is None:
        return None
    texts = column_to_texts(ids, len(root))
    return [texts[position] for position in get_root_indices(examples).tolist()]


def attach_ids(source: Any, examples: Examples) -> Examples:
    """Return examples with the ids of the data set that they were made of, where it has one for each."""
    ids = getattr(source, "ids", None)
    if isinstance(ids, Sized) and not isinstance(ids, (str, bytes)) and len(ids) == len(examples):
        examples.ids = ids  # type: ignore[attr-defined]
    return examples


def as_examples(dataset: Any) -> Examples:
    """Return ``dataset`` as examples.

    Args:
        dataset: Examples already; a pair of arrays, tensors or tables, or a ``TensorDataset`` of two (read without a
            loop); PyTorch's own ``Subset``, whose indices count in the data set beneath; or any map-style data set.

    Raises:
        DataError: If it is none of these.

    Examples:
        >>> data = TensorDataset(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
        >>> as_examples(torch.utils.data.Subset(data, [3])).batch(torch.tensor([0])).indices
        tensor([3])
    """
    # Our own are known by type: asking a data set for its targets may read every item of it.
    if isinstance(dataset, TensorExamples | DatasetExamples | Subset):
        return dataset
    if callable(getattr(dataset, "batch", None)) and hasattr(dataset, "targets"):
        examples: Examples = dataset
        return examples
    if type(dataset) is TorchSubset:
        return Subset(as_examples(dataset.dataset), list(dataset.indices))
    arrays = dataset.tensors if type(dataset) is TensorDataset else dataset
    if isinstance(arrays, tuple) and len(arrays) == 2 and all(map(_is_array, arrays)):
        return attach_ids(dataset, TensorExamples(*arrays))
    if isinstance(dataset, Mapping) and 0 not in dataset:
        hint = "pass a tuple (inputs, labels), or a data set whose items are (input, label)"
        raise DataError("examples", f"a mapping ({type(dataset).__name__})", hint)
    return attach_ids(dataset, DatasetExamples(dataset))


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or (hasattr(value, "__array__") and hasattr(value, "shape"))


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


def validate_positions(positions: Any, size: int) -> Tensor:
    """Return positions as whole numbers of 64 bits."""
    expected, hint = "positions as a list of whole numbers of 64 bits", "list them"
    try:
        tensor = as_tensor(positions)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(expected, type(positions).__name__, hint) from error
    if tensor.numel() == 0:
        tensor = tensor.long().flatten()
    if tensor.dim() != 1 or tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise DataError(expected, f"{tensor.dtype} of shape {tuple(tensor.shape)}", hint)
    if tensor.numel() and (int(tensor.min()) < 0 or int(tensor.max()) >= size):
        actual = f"{int(tensor.min())} to {int(tensor.max())}"
        raise DataError(f"positions from 0 to {size - 1}", actual, "choose positions in range")
    return tensor.long()
