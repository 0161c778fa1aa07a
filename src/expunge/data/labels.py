"""Labels of data sets: how they are found, and that they are whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.errors import DataError, ExpungeError

_NUM_PROBES = 8
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

    Examples:
        >>> as_labels([2, 0], 2)
        tensor([2, 0])
    """
    try:
        tensor = as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _label_error(f"{type(values).__name__} that is not an array of numbers") from error
    if tensor.numel() == 0:
        tensor = tensor.long()
    if tensor.is_meta:
        raise _label_error("a tensor without data, on the device 'meta'")
    if tensor.layout != torch.strided or not (_is_integer_type(tensor) or _is_binary(tensor)):
        raise _label_error(f"values of type {tensor.dtype if tensor.layout == torch.strided else tensor.layout}")
    if tensor.shape == (count, 1):
        tensor = tensor.flatten()
    if tensor.shape != (count,):
        raise _label_error(f"shape {tuple(tensor.shape)} for {count} examples")
    labels = tensor.long()
    if count and (int(labels.min()) < 0 or int(labels.max()) > MAX_LABEL):
        outside = next(label for label in (labels.min(), labels.max()) if not 0 <= label <= MAX_LABEL)
        raise _label_error(f"the label {tensor[labels == outside][0].item()}")
    return labels


def get_label(item: Any) -> int:
    """Return the label of one item of a data set: ``(input, label)``, or a mapping with ``label`` or ``labels``.

    Examples:
        >>> get_label(("picture", 3)), get_label({"pixels": 0, "label": torch.tensor(2)})
        (3, 2)
    """
    if isinstance(item, Mapping):
        value = item.get("label", item.get("labels")) if not {"label", "labels"} <= item.keys() else None
    else:
        value = item[1] if isinstance(item, tuple | list) and len(item) == 2 else None
    if value is None:
        expected = "items (input, label), or mappings with 'label' or 'labels'"
        raise DataError(expected, _describe_item(item), "wrap the data set so that its items have one of these forms")
    if not _is_integer(value):
        shape = f" and shape {tuple(value.shape)}" if getattr(value, "shape", ()) else ""
        kind = f"a label of type {getattr(value, 'dtype', type(value).__name__)}{shape}"
        raise DataError("items whose label is a whole number", kind, "return int(label), classes numbered from 0")
    return int(value.item() if isinstance(value, np.ndarray) else value)


def get_labels(dataset: Any) -> Tensor:
    """Return the labels of a map-style data set, from its attribute where it can be trusted, else from its items.

    An attribute is trusted if it has the right length and agrees with a few items: a data set with a transform of its
    targets keeps the untransformed ones in the attribute.

    Examples:
        >>> get_labels([("a", 1), ("b", 0)])
        tensor([1, 0])
    """
    count = len(dataset)
    for name in ("targets", "labels"):
        labels = _labels_from_attribute(dataset, name, count)
        if labels is not None and all(
            get_label(read_item(dataset, spot)) == int(labels[spot]) for spot in _probe_positions(count)
        ):
            return labels
    return as_labels([get_label(read_item(dataset, index)) for index in range(count)], count)


def read_item(dataset: Any, index: Any) -> Any:
    """Return one item of a user's data set, or a list of them if ``index`` is a list."""
    try:
        if not isinstance(index, list):
            return dataset[index]
        read = getattr(dataset, "__getitems__", None)
        items = list(read(index)) if read else [dataset[each] for each in index]
    except ExpungeError:
        raise
    except Exception as error:
        actual = f"{type(error).__name__} ({error})"
        raise DataError(
            "items that can be read by number", actual, "mend the data set; it must run by itself"
        ) from error
    if len(items) != len(index):
        hint = "let __getitems__ return an item for each number"
        raise DataError(f"{len(index)} items from the data set", f"{len(items)}", hint)
    return items


def _labels_from_attribute(dataset: Any, name: str, count: int) -> Tensor | None:
    try:
        return as_labels(getattr(dataset, name), count)
    except (AttributeError, DataError):
        return None


def _probe_positions(count: int) -> set[int]:
    """Return a few positions spread evenly from the first to the last."""
    return {spot * (count - 1) // (_NUM_PROBES - 1) for spot in range(_NUM_PROBES)} if count else set()


def _is_integer(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_meta and (_is_integer_type(value) or _is_binary(value))
    if isinstance(value, np.ndarray | np.generic):
        return value.size == 1 and (value.dtype.kind in "iu" or (value.dtype.kind in "bf" and value.item() in (0, 1)))
    return hasattr(value, "__index__") or (isinstance(value, float) and value in (0, 1))


def _is_binary(values: Tensor) -> bool:
    return not values.is_complex() and bool(((values == 0) | (values == 1)).all())


def _is_integer_type(values: Tensor) -> bool:
    return not values.is_floating_point() and not values.is_complex() and values.dtype != torch.bool


def _describe_item(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"a mapping with {', '.join(sorted(map(str, item)))}"
    return f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple | list) else type(item).__name__


def _label_error(actual: str) -> DataError:
    return DataError("one label per example, whole numbers from 0", actual, "number the classes from 0")
