"""Labels of data sets: how they are found, and that they are whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.errors import DataError

_SPOTS = 8


def as_tensor(values: Any) -> Tensor:
    """Return a tensor of the values, sharing their memory where that is safe (a read-only array is copied).

    Examples:
        >>> as_tensor([1, 2])
        tensor([1, 2])
    """
    return torch.as_tensor(values.copy() if isinstance(values, np.ndarray) and not values.flags.writeable else values)


def as_labels(values: Any, count: int) -> Tensor:
    """Return labels as an int64 tensor of one dimension.

    Args:
        values: A tensor, array or list of whole numbers.
        count: How many there must be.

    Raises:
        DataError: If they are not whole numbers, not one per example, or negative.

    Examples:
        >>> as_labels([2, 0], 2)
        tensor([2, 0])
    """
    try:
        found = as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refused(f"{type(values).__name__} that is not an array of numbers") from error
    if found.numel() == 0:
        found = found.long()
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise _refused(f"values of type {found.dtype}")
    if found.shape != (count,):
        raise _refused(f"shape {tuple(found.shape)} for {count} examples")
    labels = found.long()
    if count and int(labels.min()) < 0:
        raise _refused(f"the label {int(labels.min())}")
    return labels


def label_of(item: Any) -> int:
    """Return the label of one item of a data set: ``(input, label)``, or a mapping with ``label`` or ``labels``.

    Raises:
        DataError: If the item has neither form, or its label is no whole number.

    Examples:
        >>> label_of(("picture", 3)), label_of({"pixels": 0, "label": torch.tensor(2)})
        (3, 2)
    """
    if isinstance(item, Mapping):
        value = item.get("label", item.get("labels")) if not {"label", "labels"} <= item.keys() else None
    else:
        value = item[1] if isinstance(item, tuple | list) and len(item) == 2 else None
    if not _is_whole(value):
        raise DataError(
            "items (input, label), or mappings with 'label' or 'labels', the label a whole number",
            _described(item),
            "wrap the data set so that its items have one of these forms",
        )
    return int(value)


def labels_of(dataset: Any) -> Tensor:
    """Return the labels of a map-style data set, from its attribute where it can be trusted, else from its items.

    An attribute is trusted if it has the right length and agrees with a few items: a data set with a transform of its
    targets keeps the untransformed ones in the attribute.

    Raises:
        DataError: If an item has no label.

    Examples:
        >>> labels_of([("a", 1), ("b", 0)])
        tensor([1, 0])
    """
    count = len(dataset)
    for name in ("targets", "labels"):
        labels = _attribute(dataset, name, count)
        if labels is not None and all(label_of(dataset[spot]) == int(labels[spot]) for spot in _spots(count)):
            return labels
    return as_labels([label_of(dataset[index]) for index in range(count)], count)


def _attribute(dataset: Any, name: str, count: int) -> Tensor | None:
    try:
        return as_labels(getattr(dataset, name), count)
    except (AttributeError, DataError):
        return None


def _spots(count: int) -> set[int]:
    """Return a few positions spread evenly from the first to the last."""
    return {spot * (count - 1) // (_SPOTS - 1) for spot in range(_SPOTS)} if count else set()


def _is_whole(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_floating_point() and value.dtype != torch.bool
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _described(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"a mapping with {', '.join(sorted(map(str, item)))}"
    return f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple | list) else type(item).__name__


def _refused(found: str) -> DataError:
    return DataError("one label per example, whole numbers from 0", found, "number the classes from 0")
