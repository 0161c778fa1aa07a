"""The check of a model before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batch import Batch, evaluation_mode
from expunge.errors import ExpungeError, ModelError, format_exception

MIN_SINGLE_LOGITS = 16
"""Single logits that all lie between 0 and 1 are taken for probabilities from this number on."""


def check_model(model: nn.Module, classes: int, predict: Callable[[Any], Tensor], example_batch: Batch) -> None:
    """Refuse a model that cannot be unlearned as it is, by one forward pass without gradients.

    The modes of the modules and the buffers are as before afterwards.

    Args:
        model: The model.
        classes: Number of classes of the data.
        predict: Reads logits from inputs, usually ``Predictor(model, logits)``.
        example_batch: A few examples, on the model's device.

    Raises:
        ModelError: If no weight is trainable, the examples do not pass through, the result is not a floating-point
            tensor ``(n, classes)`` of logits, or a label is outside it.
    """
    check_trainable(model)
    validate_logits(model, predict, example_batch, classes)
    low, high = int(example_batch.targets.min()), int(example_batch.targets.max())
    if low < 0 or high >= classes:
        actual = f"the label {low if low < 0 else high}"
        raise ModelError(f"labels from 0 to {classes - 1}", actual, "renumber the labels or build a head for them")


def check_trainable(model: nn.Module) -> None:
    """Refuse a model of which no weight may change."""
    if not any(weight.requires_grad for weight in model.parameters()):
        hint = "set requires_grad on the weights that unlearning may change"
        if any("quantized" in type(module).__module__ for module in model.modules()):
            hint = "pass the model as it was before it was quantized"
        raise ModelError("a model with trainable weights", "none that requires a gradient", hint)


def validate_logits(
    model: nn.Module, predict: Callable[[Any], Tensor], batch: Batch, classes: int | None = None
) -> Tensor:
    """Return the logits of a few examples."""
    logits = _compute_logits(model, predict, batch)
    _check_shape(logits, len(batch), classes)
    return logits


def _compute_logits(model: nn.Module, predict: Callable[[Any], Tensor], batch: Batch) -> Tensor:
    try:
        with evaluation_mode(model):
            return predict(batch.inputs)
    except ExpungeError:
        raise
    except Exception as error:  # the user's code may raise anything
        shape = tuple(batch.inputs.shape) if isinstance(batch.inputs, Tensor) else type(batch.inputs).__name__
        raise ModelError(
            f"a model that takes inputs {shape}", format_exception(error), _input_hint(model, batch.inputs)
        ) from error


def _input_hint(model: nn.Module, inputs: Any) -> str:
    """Return what to do about inputs that do not pass; whole numbers may be meant for an embedding."""
    types = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    if isinstance(inputs, Tensor) and inputs.dtype not in (*types, torch.int64, torch.int32):
        kinds = " or ".join(sorted(map(str, types)))
        return f"convert the inputs from {inputs.dtype} to {kinds}" + (
            ", for pictures with x.float() / 255" if inputs.dtype == torch.uint8 else ""
        )
    return "give the model the channels and size of the inputs"


def _check_shape(logits: Any, examples: int, classes: int | None) -> None:
    expected = f"logits of the form ({examples}, {classes or 'classes'}), one per example and class"
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        actual = str(logits.dtype) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(expected, actual, "pass logits=, a function that reads the logits tensor from the output")
    if logits.ndim != 2 or len(logits) != examples or logits.shape[1] != (classes or logits.shape[1]):
        raise ModelError(expected, str(tuple(logits.shape)), "build the model with as many classes as the data have")
    sums = logits.float().sum(1)
    if logits.shape[1] > 1 and bool((logits >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise ModelError(expected, "rows of probabilities that add up to 1", "take the softmax off the model's end")
    is_single = logits.shape[1] == 2 and len(logits) >= MIN_SINGLE_LOGITS and not bool(logits[:, 0].any())
    if is_single and bool(((logits[:, 1] >= 0) & (logits[:, 1] <= 1)).all()):
        raise ModelError("single logits", "probabilities between 0 and 1", "take the sigmoid off the model's end")
