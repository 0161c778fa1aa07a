"""Data sets that are read by lists of indices: tensors in memory, any map-style data set, and parts of either.

An example's index is its position in the *root* data set, whichever part of it one reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset, default_collate
from torch.utils.data import Subset as TorchSubset

from expunge.batch import Batch, Examples, on_tensors
from expunge.data.augment import Augment, none
from expunge.data.labels import as_labels, as_tensor, label_of, labels_of
from expunge.errors import DataError


@dataclass(frozen=True)
class Affine:
    """Normalisation of each channel: ``(value - mean) / std``, with values between 0 and 1.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel, greater than 0.

    Examples:
        >>> Affine((0.5,), (0.25,))(torch.ones(1, 1, 1, 2))
        tensor([[[[2., 2.]]]])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, values: Tensor) -> Tensor:
        """Return the normalised values; channels are dimension 1."""
        shape = (1, -1) + (1,) * (values.dim() - 2)
        return values.sub(values.new_tensor(self.mean).view(shape)).div_(values.new_tensor(self.std).view(shape))


class TensorExamples:
    """Examples that are all in memory.

    Args:
        inputs: A tensor ``(n, ...)`` or a mapping of such tensors. Tensors of uint8 are images: they stay bytes in
            memory and become float32 between 0 and 1 when they are read.
        targets: Labels, ``(n,)``, whole numbers.
        names: Names of the classes, if they have any.
        augment: What training may do to a batch of inputs; ``batch`` never does it.
        scale: Normalisation applied to what is read.

    Raises:
        DataError: If labels are not whole numbers or their count is not that of the inputs.

    Examples:
        >>> examples = TensorExamples(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), [0, 1, 0])
        >>> examples.batch(torch.tensor([2])).inputs.unique()
        tensor([1.])
    """

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        names: Sequence[str] | None = None,
        augment: Augment | None = None,
        *,
        scale: Affine | None = None,
    ) -> None:
        self.inputs = _as_tensors(inputs)
        self.targets = as_labels(targets, _count(self.inputs))
        self.names = None if names is None else tuple(names)
        self.augment: Augment = augment or none
        self.scale = scale

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.targets)

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, normalised but never augmented."""
        inputs = on_tensors(self.inputs, lambda tensor: self._ready(tensor.index_select(0, indices)))
        return Batch(inputs, self.targets.index_select(0, indices), indices)

    def _ready(self, values: Tensor) -> Tensor:
        if values.dtype == torch.uint8:
            values = values.float().div_(255)
        return self.scale(values) if self.scale is not None and values.is_floating_point() else values


class DatasetExamples:
    """The examples of any map-style PyTorch data set, read item by item and collated with PyTorch's default.

    Items are pairs ``(input, label)`` or mappings with ``label`` or ``labels``; what remains of a mapping is the input.

    Args:
        dataset: Anything with a length and items by number.
        targets: Labels that replace those of the items. By default the labels are found from the attribute ``targets``
            or ``labels`` where it agrees with the items, and else by one pass over them.

    Raises:
        DataError: If the data set can only be iterated, or an item is not of one of the two forms.

    Examples:
        >>> examples = DatasetExamples([(torch.zeros(2), 1), (torch.ones(2), 0)])
        >>> examples.targets, examples.batch(torch.tensor([1])).inputs
        (tensor([1, 0]), tensor([[1., 1.]]))
    """

    augment: Augment = staticmethod(none)

    def __init__(self, dataset: Any, targets: Any = None) -> None:
        if isinstance(dataset, IterableDataset) or not (
            hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        ):
            raise DataError(
                "a map-style data set, with a length and items by number",
                f"{type(dataset).__name__}",
                "pass the data set itself rather than a loader of it, or load an iterable one into a list",
            )
        self.dataset = dataset
        self._given = None if targets is None else as_labels(targets, len(dataset))

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.dataset)

    @cached_property
    def targets(self) -> Tensor:
        """Labels of all examples, ``(n,)`` int64."""
        return labels_of(self.dataset) if self._given is None else self._given

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, collated."""
        wanted = indices.tolist()
        read = getattr(self.dataset, "__getitems__", None)
        items = read(wanted) if read else [self.dataset[index] for index in wanted]
        labels = [label_of(item) for item in items] if self._given is None else self._given[indices]
        return Batch(_collated([_input_of(item) for item in items]), as_labels(labels, len(wanted)), indices)


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

    def __init__(self, examples: Examples, positions: Any) -> None:
        chosen = _checked(positions, len(examples))
        self.root: Examples = examples.root if isinstance(examples, Subset) else examples
        self.positions: Tensor = root_indices(examples)[chosen]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.positions)

    @property
    def targets(self) -> Tensor:
        """Labels of the subset's examples, ``(n,)`` int64."""
        return self.root.targets[self.positions]

    @property
    def augment(self) -> Augment:
        """What training may do to a batch of inputs of the root."""
        found: Augment = getattr(self.root, "augment", none)
        return found

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices`` of the subset."""
        return self.root.batch(self.positions.index_select(0, indices))


def root_indices(examples: Examples) -> Tensor:
    """Return for each example its index in the root data set, ``(n,)`` int64.

    Examples:
        >>> root_indices(Subset(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]), [3, 1]))
        tensor([3, 1])
    """
    return examples.positions if isinstance(examples, Subset) else torch.arange(len(examples))


def as_examples(thing: Any) -> Examples:
    """Return ``thing`` as examples.

    Args:
        thing: Examples already; a pair of arrays or a ``TensorDataset`` of two (read without a loop); PyTorch's own
            ``Subset``, whose indices count in the data set beneath; or any map-style data set.

    Raises:
        DataError: If it is none of these.

    Examples:
        >>> data = TensorDataset(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
        >>> as_examples(torch.utils.data.Subset(data, [3])).batch(torch.tensor([0])).indices
        tensor([3])
    """
    if callable(getattr(thing, "batch", None)) and hasattr(thing, "targets"):
        found: Examples = thing
        return found
    if type(thing) is TorchSubset:
        return Subset(as_examples(thing.dataset), list(thing.indices))
    arrays = thing.tensors if type(thing) is TensorDataset else thing
    if isinstance(arrays, tuple) and len(arrays) == 2 and all(isinstance(a, Tensor | np.ndarray) for a in arrays):
        return TensorExamples(*arrays)
    return DatasetExamples(thing)


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


def _as_tensors(inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {name: as_tensor(value) for name, value in inputs.items()}
    return as_tensor(inputs)


def _count(inputs: Any) -> int:
    counts = {len(tensor) for tensor in (inputs.values() if isinstance(inputs, Mapping) else [inputs])}
    if len(counts) != 1:
        raise DataError("inputs of one length", f"lengths {sorted(counts)}", "give every example every input")
    return counts.pop()


def _checked(positions: Any, size: int) -> Tensor:
    found = as_tensor(positions)
    if found.numel() == 0:
        found = found.long().flatten()
    if found.dim() != 1 or found.is_floating_point() or found.dtype == torch.bool:
        raise DataError(
            "positions as a list of whole numbers", f"{found.dtype} of shape {tuple(found.shape)}", "list them"
        )
    if found.numel() and (int(found.min()) < 0 or int(found.max()) >= size):
        raise DataError(
            f"positions from 0 to {size - 1}", f"{int(found.min())} to {int(found.max())}", "choose positions in range"
        )
    return found.long()


def _input_of(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {name: value for name, value in item.items() if name not in ("label", "labels")}
    return item[0]


def _collated(inputs: list[Any]) -> Any:
    try:
        return default_collate(inputs)
    except (TypeError, RuntimeError) as error:
        raise DataError(
            "inputs that PyTorch can stack: tensors, arrays or numbers of one shape",
            f"{type(inputs[0]).__name__} ({str(error).splitlines()[0]})",
            "give the data set a transform that makes tensors of one size",
        ) from error
