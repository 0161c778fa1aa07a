"""Labels of data sets: how they are found, and that they are whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.errors import DataError, ExpungeError

_SPOTS = 8
MAX_LABEL = 2**24
"""Labels are counted in tables that are as long as the greatest of them."""


def as_tensor(values: Any) -> Tensor:
    """Return a tensor of the values, sharing their memory where that is safe.

    An array is copied if it is read-only, backward or in the byte order of other machines. Tables and their columns are
    taken by place, whatever their rows are numbered with.

    Examples:
        >>> as_tensor(np.arange(3, dtype=">i4")[::-1])
        tensor([2, 1, 0], dtype=torch.int32)
    """
    if hasattr(values, "__array__") and not isinstance(values, Tensor):
        values = np.asanyarray(values)
        values = values.astype(values.dtype.newbyteorder("="), copy=not values.flags.writeable)
        values = values.copy() if any(stride < 0 for stride in values.strides) else values
    return torch.as_tensor(values)


def as_labels(values: Any, count: int) -> Tensor:
    """Return labels as an int64 tensor of one dimension.

    Args:
        values: A tensor, array or list of whole numbers, ``(count,)`` or ``(count, 1)``.
        count: How many there must be.

    Raises:
        DataError: If they are not whole numbers, not one per example, negative, or greater than 2²⁴.

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
    if found.is_meta:
        raise _refused("a tensor without data, on the device 'meta'")
    if found.layout != torch.strided or not _is_integer_type(found):
        raise _refused(f"values of type {found.dtype if found.layout == torch.strided else found.layout}")
    if found.shape == (count, 1):
        found = found.flatten()
    if found.shape != (count,):
        raise _refused(f"shape {tuple(found.shape)} for {count} examples")
    labels = found.long()
    if count and (int(labels.min()) < 0 or int(labels.max()) > MAX_LABEL):
        outside = next(label for label in (labels.min(), labels.max()) if not 0 <= label <= MAX_LABEL)
        raise _refused(f"the label {found[labels == outside][0].item()}")
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
    if value is None:
        expected = "items (input, label), or mappings with 'label' or 'labels'"
        raise DataError(expected, _described(item), "wrap the data set so that its items have one of these forms")
    if not _is_whole(value):
        shape = f" and shape {tuple(value.shape)}" if getattr(value, "shape", ()) else ""
        kind = f"a label of type {getattr(value, 'dtype', type(value).__name__)}{shape}"
        raise DataError("items whose label is a whole number", kind, "return int(label), classes numbered from 0")
    return int(value.item() if isinstance(value, np.ndarray) else value)


def labels_of(dataset: Any) -> Tensor:
    """Return the labels of a map-style data set, from its attribute where it can be trusted, else from its items.

    An attribute is trusted if it has the right length and agrees with a few items: a data set with a transform of its
    targets keeps the untransformed ones in the attribute.

    Raises:
        DataError: If an item cannot be read or has no label.

    Examples:
        >>> labels_of([("a", 1), ("b", 0)])
        tensor([1, 0])
    """
    count = len(dataset)
    for name in ("targets", "labels"):
        labels = _attribute(dataset, name, count)
        if labels is not None and all(
            label_of(read_item(dataset, spot)) == int(labels[spot]) for spot in _spots(count)
        ):
            return labels
    return as_labels([label_of(read_item(dataset, index)) for index in range(count)], count)


def read_item(dataset: Any, index: Any) -> Any:
    """Return one item of a user's data set, or a list of them if ``index`` is a list.

    Raises:
        DataError: If the data set raises an error.
    """
    try:
        if not isinstance(index, list):
            return dataset[index]
        read = getattr(dataset, "__getitems__", None)
        items = list(read(index)) if read else [dataset[each] for each in index]
    except ExpungeError:
        raise
    except Exception as error:
        found = f"{type(error).__name__} ({error})"
        raise DataError(
            "items that can be read by number", found, "mend the data set; it must run by itself"
        ) from error
    if len(items) != len(index):
        cure = "let __getitems__ return an item for each number"
        raise DataError(f"{len(index)} items from the data set", f"{len(items)}", cure)
    return items


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
        return value.numel() == 1 and _is_integer_type(value) and not value.is_meta
    if isinstance(value, np.ndarray | np.generic):
        return value.size == 1 and value.dtype.kind in "iu"
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _is_integer_type(values: Tensor) -> bool:
    return not values.is_floating_point() and not values.is_complex() and values.dtype != torch.bool


def _described(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"a mapping with {', '.join(sorted(map(str, item)))}"
    return f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple | list) else type(item).__name__


def _refused(found: str) -> DataError:
    return DataError("one label per example, whole numbers from 0", found, "number the classes from 0")
