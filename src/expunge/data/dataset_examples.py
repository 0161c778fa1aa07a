"""The examples of any map-style PyTorch data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.utils.data import IterableDataset, default_collate

from expunge.batch import Batch, map_tensors
from expunge.data.augment import Augment, none
from expunge.data.labels import as_labels, get_label, get_labels, read_item
from expunge.errors import DataError


class DatasetExamples:
    """The examples of any map-style PyTorch data set, read item by item and collated with PyTorch's default.

    Items are pairs ``(input, label)`` or mappings with ``label`` or ``labels``; what remains of a mapping is the input.

    Args:
        dataset: Anything with a length and items by number.
        targets: Labels that replace those of the items. By default the labels are found from the attribute ``targets``
            or ``labels`` where it agrees with the items, and else by one pass over them.

    Raises:
        DataError: If the data set can only be iterated, or an item is not of one of the two forms (with ``targets``,
            any item that can be collated will do).

    Examples:
        >>> import torch
        >>> examples = DatasetExamples([(torch.zeros(2), 1), (torch.ones(2), 0)])
        >>> examples.targets, examples.batch(torch.tensor([1])).inputs
        (tensor([1, 0]), tensor([[1., 1.]]))
    """

    augment: Augment = staticmethod(none)

    def __init__(self, dataset: Any, targets: Any = None) -> None:
        if isinstance(dataset, IterableDataset) or not (
            hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and getattr(dataset, "ndim", None) != 0
        ):
            raise DataError(
                "a map-style data set, with a length and items by number",
                f"{type(dataset).__name__}",
                "pass the data set itself rather than a loader of it, or load an iterable one into a list",
            )
        self.dataset = dataset
        self.ids: Sequence[Any] | None = None
        self._explicit_targets = None if targets is None else as_labels(targets, len(dataset))

    def __len__(self) -> int:
        """Return the number of examples."""
        try:
            return len(self.dataset)
        except Exception as error:  # the user's code may raise anything
            actual = f"{type(error).__name__} ({error})"
            raise DataError("a data set with a length", actual, "mend its __len__") from error

    @cached_property
    def targets(self) -> Tensor:
        """Labels of all examples, ``(n,)`` int64."""
        return get_labels(self.dataset) if self._explicit_targets is None else self._explicit_targets

    def batch(self, indices: Tensor) -> Batch:
        """Return the examples at ``indices``, collated."""
        items = read_item(self.dataset, indices.tolist() or [0])
        labels = (
            self._explicit_targets[indices]
            if self._explicit_targets is not None
            else self._read_labels(items[: len(indices)], indices)
        )
        inputs = collate_inputs([_get_input(item) for item in items])
        if not len(indices):  # the first example was read to learn the form of the inputs
            inputs = map_tensors(inputs, lambda tensor: tensor[:0])
        return Batch(inputs, labels, indices)

    def _read_labels(self, items: list[Any], indices: Tensor) -> Tensor:
        """Return the labels of items; what ``targets`` took from an attribute may be another than what is yielded."""
        labels = as_labels([get_label(item) for item in items], len(items))
        targets = self.__dict__.get("targets")
        if targets is not None and (differing := int((labels != targets[indices]).sum())):
            actual = f"{differing:,} of {len(items):,} items with another"
            hint = "let the items and the attribute 'targets' or 'labels' of the data set agree"
            raise DataError("the same label for an example each time", actual, hint)
        return labels


def _get_input(item: Any) -> Any:
    if isinstance(item, Mapping):
        return {name: value for name, value in item.items() if name not in ("label", "labels")}
    return item[0] if isinstance(item, tuple | list) else item


def _validate_materialized(tensor: Tensor) -> Tensor:
    if tensor.is_meta:
        raise DataError("inputs with data", "a tensor on the device 'meta'", "load them first")
    return tensor


def collate_inputs(inputs: list[Any]) -> Any:
    """Return inputs as one batch."""
    try:
        return map_tensors(default_collate(inputs), _validate_materialized)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            "inputs that PyTorch can stack: tensors, arrays or numbers of one shape",
            f"{type(inputs[0]).__name__} ({str(error).splitlines()[0]})",
            "give the data set a transform that makes tensors of one size",
        ) from error
