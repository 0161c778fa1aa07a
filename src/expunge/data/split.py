"""The split of a data set that a request makes, checked before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from expunge.batch import Examples
from expunge.data.request import ByIndices, ForgetRequest
from expunge.errors import RequestError
from expunge.pair import Pair


def split_request(
    examples: Examples, request: ForgetRequest, class_names: Sequence[str] | None = None, retain: Any = None
) -> Pair[Tensor]:
    """Return the positions of the examples to forget and of those to retain.

    Args:
        examples: The training set.
        request: What is to be forgotten.
        class_names: Names of the classes, for a request by name.
        retain: What to retain, as a request or as indices (a list, tensor or file); by default all that is not
            forgotten.

    Returns:
        Two sorted int64 tensors of positions in ``examples``.

    Raises:
        RequestError: If either side is empty, names an example twice or out of range, or the sides overlap.

    Examples:
        >>> from expunge.data import ByClass, TensorExamples
        >>> split_request(TensorExamples(torch.rand(4, 2), [0, 1, 0, 1]), ByClass(1))
        Pair(forget=tensor([1, 3]), retain=tensor([0, 2]))
    """
    size = len(examples)
    forget = _validate_positions(request.select(examples, class_names), size, "forget")
    if len(forget) == size:
        raise RequestError(
            "at least one example to retain", f"a request for all {size}", "to forget everything, delete the model"
        )
    if retain is None:
        retain_mask = torch.ones(size, dtype=torch.bool).index_fill_(0, forget, False)
        return Pair(forget, retain_mask.nonzero().flatten())
    retain_request = retain if hasattr(retain, "kind") else ByIndices(retain)
    return _validate_disjoint(forget, _validate_positions(retain_request.select(examples, class_names), size, "retain"))


def check_labels(examples: Examples, classes: int) -> None:
    """Check that the model's head has an output for every label.

    Args:
        examples: The examples that the model is to be trained or judged on.
        classes: Number of outputs of the head.

    Raises:
        RequestError: If a label is not among ``0 … classes - 1``.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> check_labels(TensorExamples(torch.rand(2, 2), [0, 4]), 5)
    """
    labels = examples.targets.bincount().nonzero().flatten().tolist()
    outside = [label for label in labels if label >= classes]
    if outside:
        raise RequestError(
            f"labels from 0 to {classes - 1}, one for each of the head's {classes} outputs",
            f"{', '.join(map(str, outside[:5]))}",
            "choose a model with a head for every class, or number the classes from 0",
        )


def _validate_positions(positions: Tensor, size: int, side: str) -> Tensor:
    """Return the positions sorted; they may come from a third party's request, so nothing is taken for granted."""
    if positions.dtype != torch.int64 or positions.dim() != 1:
        actual = f"{positions.dtype} of shape {tuple(positions.shape)}"
        raise RequestError(f"positions to {side} as int64 (k,)", actual, "correct the request's select")
    if not len(positions):
        raise RequestError(f"at least one example to {side}", "none", "make a request that picks some")
    ordered = positions.sort().values
    if int(ordered[0]) < 0 or int(ordered[-1]) >= size:
        actual = f"{int(ordered[0])} to {int(ordered[-1])}"
        raise RequestError(f"positions to {side} from 0 to {size - 1}", actual, "count the examples from 0")
    repeated = int((ordered.diff() == 0).sum())
    if repeated:
        raise RequestError(f"every example to {side} once", f"{repeated} repeats", "remove the duplicates")
    return ordered


def _validate_disjoint(forget: Tensor, retain: Tensor) -> Pair[Tensor]:
    shared = int(torch.isin(forget, retain).sum())
    if shared:
        raise RequestError(
            "no example on both sides", f"{shared} to be forgotten and retained", "take them out of the retain side"
        )
    return Pair(forget, retain)
