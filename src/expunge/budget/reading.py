"""Readings: what a model is worth on held-out examples, measured as it would be handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor, looking
from expunge.errors import DataError
from expunge.metrics.arrays import Floats

Measure = Callable[[Predictor, Examples], Any]
"""A user's own measure of a model on examples: a number, or one for each example, whose mean is then meant."""


@dataclass(frozen=True)
class Reading:
    """What one look at a model found.

    Args:
        loss: Mean of the loss that the model was trained on.
        accuracy: Percent right; None where the model has no classes.
        value: Of the user's metric; None without one.
        right: Whether each example was right, ``(n,)``; None where the model has no classes.
        step: Updates before it. Default 0.
    """

    loss: float
    accuracy: float | None = None
    value: float | None = None
    right: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    step: int = 0


def read(
    predict: Predictor,
    examples: Examples,
    metric: Measure | None = None,
    step: int = 0,
    batch: int = 256,
) -> Reading:
    """Look at a model in evaluation mode, without gradients; it is left as it was found.

    Args:
        predict: The model.
        examples: Held-out ones.
        metric: The user's own measure. Default: none.
        step: Updates before it.
        batch: Examples at a time.
    """
    with looking(predict.model):
        losses, right = zip(*(looked(predict, part) for part in parts(predict, examples, batch)), strict=True)
        value = None if metric is None else float(numbers(metric(predict, examples), len(examples)).mean())
    mean = float(torch.stack(losses).double().sum()) / len(examples)
    known = [each for each in right if each is not None]
    if not known:
        return Reading(mean, None, value, None, step)
    flags = torch.cat(known).cpu().numpy()
    return Reading(mean, 100.0 * float(flags.mean()), value, flags, step)


def looked(predict: Predictor, part: Batch) -> tuple[Tensor, Tensor | None]:
    """Return the summed loss of a batch and which of its examples are right."""
    if predict.own_loss is not None:
        return predict.summed_loss(part), None
    logits = predict(part.inputs).float()
    return functional.cross_entropy(logits, part.targets, reduction="sum"), logits.argmax(1) == part.targets


def numbers(measured: Any, count: int) -> Floats:
    """Return what a metric measured: one number ``(1,)``, or one for each example, ``(count,)``.

    Raises:
        DataError: If it is neither.
    """
    try:
        found = measured.detach().cpu() if isinstance(measured, Tensor) else measured
        array = np.asarray(found, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        cure = "return a number or a tensor of numbers"
        raise DataError("numbers from the metric", type(measured).__name__, cure) from error
    if array.size not in (1, count):
        raise DataError(f"one number from the metric, or one for each of {count} examples", f"{array.size}", "mend it")
    return array


def losses_of(predict: Predictor, examples: Examples, batch: int = 256) -> Floats:
    """Return the loss of each example in evaluation mode, ``(n,)``; the model is left as it was found."""
    with looking(predict.model):
        found = [predict.losses(part).double().cpu() for part in parts(predict, examples, batch)]
    return torch.cat(found).numpy()


def parts(predict: Predictor, examples: Examples, size: int) -> Iterator[Batch]:
    """Yield all examples in order, where the model's weights are."""
    device = next(predict.model.parameters(), torch.empty(0)).device
    for positions in torch.arange(len(examples)).split(size):
        yield examples.batch(positions).to(device)
