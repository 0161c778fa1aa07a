"""Readings: what a model is worth on held-out examples, measured as it would be handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor, evaluation_mode
from expunge.errors import MetricError
from expunge.metrics.arrays import Floats

MetricFn = Callable[[Predictor, Examples], Any]
"""A user's own measure of a model on examples: a number, or one for each example, whose mean is then meant."""


@dataclass(frozen=True)
class EvalResult:
    """What one look at a model found.

    Args:
        loss: Mean of the loss that the model was trained on.
        accuracy: Percent right; None where the model has no classes.
        value: Of the user's metric; None without one.
        correct: Whether each example was right, ``(n,)``; None where the model has no classes.
        step: Updates before it. Default 0.
        failed: Why the metric has no value, where it failed. Default: it did not.
    """

    loss: float
    accuracy: float | None = None
    value: float | None = None
    correct: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    step: int = 0
    failed: str = ""


def evaluate_model(
    predict: Predictor,
    examples: Examples,
    metric: MetricFn | None = None,
    step: int = 0,
    batch_size: int = 256,
) -> EvalResult:
    """Look at a model in evaluation mode, without gradients; it is left as it was found.

    Args:
        predict: The model.
        examples: Held-out ones.
        metric: The user's own measure. Default: none.
        step: Updates before it.
        batch_size: Examples at a time.
    """
    with evaluation_mode(predict.model):
        losses, batches_correct = zip(
            *(compute_batch_loss(predict, part) for part in iterate_batches(predict, examples, batch_size)), strict=True
        )
        value = None if metric is None else float(as_metric_array(metric(predict, examples), len(examples)).mean())
    mean = float(torch.stack(losses).double().sum()) / len(examples)
    correct = [each for each in batches_correct if each is not None]
    if not correct:
        return EvalResult(mean, None, value, None, step)
    flags = torch.cat(correct).cpu().numpy()
    return EvalResult(mean, 100.0 * float(flags.mean()), value, flags, step)


def compute_batch_loss(predict: Predictor, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return the summed loss of a batch and which of its examples are right."""
    if predict.loss_fn is not None:
        return predict.sum_loss(batch), None
    logits = predict(batch.inputs).float()
    return functional.cross_entropy(logits, batch.targets, reduction="sum"), logits.argmax(1) == batch.targets


def evaluate_model_safely(
    predict: Predictor, examples: Examples, metric: MetricFn | None = None, step: int = 0
) -> EvalResult:
    """Return a reading whose ``failed`` tells why a metric has no value: it ends no run that is under way.

    Args:
        predict: The model.
        examples: Held-out ones.
        metric: The user's own measure, checked by ``Budget.measured``. Default: none.
        step: Updates before it.
    """
    try:
        return evaluate_model(predict, examples, metric, step)
    except MetricError as error:
        return replace(
            evaluate_model(predict, examples, None, step), failed=f"expected {error.expected}, but found {error.actual}"
        )


def evaluate_metric(metric: MetricFn, predict: Predictor, examples: Examples) -> Floats:
    """Return what a user's metric measures, one finite number ``(1,)`` or one for each example, ``(n,)``."""
    name = getattr(metric, "__name__", type(metric).__name__)
    tensors = [*predict.model.parameters(), *predict.model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        values = as_metric_array(metric(predict, examples), len(examples))
    except MetricError:
        raise
    except Exception as error:
        hint = "correct the function, which must work for any model and part of the examples"
        raise MetricError(f"a number from the metric '{name}'", _error_line(error), hint) from error
    finally:
        changed = _restore_tensors(tensors, before)
    if changed:
        hint = "let it work on a copy of the model"
        raise MetricError(f"a metric that leaves the model as it is, '{name}'", "changed weights or buffers", hint)
    if not np.isfinite(values).all():
        actual = str(values[~np.isfinite(values)][0])
        hint = "return a finite number for every model, such as 0 where the measure is not defined"
        raise MetricError(f"a finite number from the metric '{name}'", actual, hint)
    return values


def _error_line(error: Exception) -> str:
    """Return an error's type and the first line of its message."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__} ({lines[0].rstrip('. ')})"


def _restore_tensors(tensors: list[Tensor], before: list[Tensor]) -> bool:
    """Give tensors the values that they had, and return whether one had changed; NaN is equal to NaN."""
    changed = [(now, was) for now, was in zip(tensors, before, strict=True) if not _are_equal(now.detach(), was)]
    with torch.no_grad():
        for now, was in changed:
            now.copy_(was)
    return bool(changed)


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Return whether tensors are equal, NaN counted as equal to NaN."""
    return torch.equal(one, other) or (one.is_floating_point() and torch.allclose(one, other, 0.0, 0.0, equal_nan=True))


def as_metric_array(value: Any, count: int) -> Floats:
    """Return what a metric measured: one number ``(1,)``, or one for each example, ``(count,)``."""
    if value is None:
        raise MetricError("a number from the metric", "None", "let the function return its value")
    try:
        on_cpu = value.detach().cpu() if isinstance(value, Tensor) else value
        array = np.asarray(on_cpu, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        hint = "return a number or a tensor of numbers"
        raise MetricError("numbers from the metric", type(value).__name__, hint) from error
    if array.size not in (1, count):
        raise MetricError(
            f"one number from the metric, or one for each of {count:,} examples",
            f"{array.size:,}",
            "return one or the other",
        )
    return array


def compute_losses(predict: Predictor, examples: Examples, batch_size: int = 256) -> Floats:
    """Return the loss of each example in evaluation mode, ``(n,)``; the model is left as it was found."""
    with evaluation_mode(predict.model):
        losses = [predict.losses(part).double().cpu() for part in iterate_batches(predict, examples, batch_size)]
    return torch.cat(losses).numpy()


def iterate_batches(predict: Predictor, examples: Examples, size: int) -> Iterator[Batch]:
    """Yield all examples in order, where the model's weights are."""
    device = next(predict.model.parameters(), torch.empty(0)).device
    for positions in torch.arange(len(examples)).split(size):
        yield examples.batch(positions).to(device)
