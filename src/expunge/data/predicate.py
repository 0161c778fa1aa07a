"""Predicates of a forget request: Python functions that say of each example whether it is to be forgotten."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from expunge.batch import Batch, map_tensors
from expunge.errors import RequestError
from expunge.python_path import import_object

Predicate = Callable[[int, Any, int], bool]
"""Called with an example's index, its input and its label; true where the example is to be forgotten."""


def import_predicate(path: str) -> Predicate:
    """Return the function at ``package.module:name``."""
    target = import_object(path)
    if not callable(target):
        expected = "a predicate as 'package.module:name'"
        raise RequestError(expected, f"'{path}', which is {type(target).__name__}", "name a function")
    function: Predicate = target
    return function


def find_matching_rows(function: Predicate, batch: Batch) -> list[int]:
    """Return the rows of a batch for which the predicate is true."""
    labels, indices = batch.targets.tolist(), batch.indices.tolist()
    return [
        row
        for row, (index, label) in enumerate(zip(indices, labels, strict=True))
        if _evaluate_predicate(function, index, map_tensors(batch.inputs, itemgetter(row)), label)
    ]


def _evaluate_predicate(function: Predicate, index: int, inputs: Any, label: int) -> bool:
    expected, hint = "a predicate function(index, input, label) that answers True or False", "correct the predicate"
    try:
        answer: Any = function(index, inputs, label)
        value = answer.item() if hasattr(answer, "item") else answer
    except Exception as error:  # whatever a user's function raises is a fault of the request
        raise RequestError(expected, f"{type(error).__name__}: {error}", hint) from error
    if not isinstance(value, bool):
        raise RequestError(expected, f"an answer of type {type(answer).__name__}", hint)
    return value
