"""Forward passes that users' models allow: one example under batch normalization, checkpointing, sparse gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.utils.checkpoint as checkpointing
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from expunge.errors import ConfigError, ModelError

TOO_FEW_VALUES_MESSAGES = ("Expected more than 1 value per channel", "Expected more than 1 spatial element")
"""How torch begins what it says of normalization over a single value."""


@contextmanager
def forward_pass(model: nn.Module, sparse: Sequence[nn.Module], inputs: Any) -> Iterator[None]:
    """Let a model be called in the body as the engine needs it, and leave its modules as they were.

    - A batch-normalization layer in training mode that meets one value per channel uses its running statistics.
    - Re-entrant activation checkpointing is done without re-entering, which allows ``torch.autograd.grad``.
    - The gradients of embeddings are dense.
    """
    with ExitStack() as stack:
        if sparse:
            stack.enter_context(dense_gradients(sparse))
        if model.training and count_examples(inputs) == 1:
            stack.enter_context(running_statistics_for_single(model))
        stack.enter_context(without_reentering())
        try:
            yield
        except ValueError as error:
            if not str(error).startswith(TOO_FEW_VALUES_MESSAGES):
                raise
            hint = "give the layer running statistics, or choose a batch size that leaves no batch of one example"
            actual = "a single one for a layer without running statistics"
            raise ModelError("several values per channel for normalization by the batch", actual, hint) from error


def copy_model(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares nothing with it, its weights leaves of any graph.

    The copy of a scripted or traced module begins as a part of the graph of the original.
    """
    copied = copy.deepcopy(model)
    if all(weight.is_leaf for weight in copied.parameters()):
        return copied
    with torch.no_grad():
        copied = copy.deepcopy(model)
    for weight, before in zip(copied.parameters(), model.parameters(), strict=True):
        weight.requires_grad_(before.requires_grad)
    return copied


def check_grad_enabled() -> None:
    """Refuse to change weights where torch records nothing that gradients could be computed from."""
    if torch.is_inference_mode_enabled():
        hint = "make the call outside of the context or function with torch.inference_mode"
        raise ConfigError("a call that may compute gradients", "one in torch.inference_mode", hint)


def count_examples(inputs: Any) -> int:
    """Return the number of examples in a model's inputs; 0 where there is no tensor."""
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.dim() else 0
    parts = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, list | tuple) else ()
    return next((count for count in map(count_examples, parts) if count), 0)


def sparse_embeddings(model: nn.Module) -> list[nn.Module]:
    modules = model.modules() if isinstance(model, nn.Module) else ()
    return [module for module in modules if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse]


@contextmanager
def dense_gradients(embeddings: Sequence[nn.Module]) -> Iterator[None]:
    """Let embeddings have dense gradients in the body: rules and masks compute with all coordinates."""
    for module in embeddings:
        module.sparse = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in embeddings:
            module.sparse = True  # type: ignore[assignment]


@contextmanager
def running_statistics_for_single(model: nn.Module) -> Iterator[None]:
    """Let batch-normalization layers that meet one value per channel use their running statistics in the body."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    layers = [layer for layer in layers if layer.running_mean is not None]
    hooks = [layer.register_forward_pre_hook(_freeze_for_single) for layer in layers]
    hooks += [layer.register_forward_hook(_thaw) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            layer.training = True


def _freeze_for_single(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    values = inputs[0] if inputs else None
    layer.training = not (isinstance(values, Tensor) and values.dim() > 1 and values.numel() == values.shape[1])


def _thaw(layer: nn.Module, _inputs: tuple[Any, ...], _output: Any) -> None:
    layer.training = True


class _NotReentrant:
    """Stands in for ``torch.utils.checkpoint.CheckpointFunction``; its results are the same bits."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *inputs: Any) -> Any:
        """Run the function as ``checkpoint(use_reentrant=False)`` does, functions checkpointed inside it too."""

        def run(*values: Any) -> Any:
            with without_reentering():
                return function(*values)

        return checkpointing.checkpoint(run, *inputs, use_reentrant=False, preserve_rng_state=preserve_rng_state)


@contextmanager
def without_reentering() -> Iterator[None]:
    """Let ``checkpoint(use_reentrant=True)`` not re-enter in the body.

    A re-entrant checkpoint allows neither gradients of chosen weights nor second derivatives, and silently gives none
    to a block whose inputs need none.
    """
    before = checkpointing.CheckpointFunction
    checkpointing.CheckpointFunction = _NotReentrant  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        checkpointing.CheckpointFunction = before  # type: ignore[misc]
