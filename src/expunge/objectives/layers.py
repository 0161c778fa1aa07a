"""The inner layers of a network, and what they make of examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from expunge.batch import Batch, Examples, Predictor, device_of
from expunge.errors import ModelError

BATCH_SIZE = 256
MAX_LAYERS = 12
"""Layers that are tried, evenly spaced from the first to the last."""


def inner_layers(predict: Predictor, examples: Examples) -> list[str]:
    """Return the names of a network's layers in the order in which they finish, at most ``MAX_LAYERS``.

    They are the modules that are called once with a batch, return feature maps or tokens, and have parts or a matrix of
    weights. Where a network has none of these, every module that returns maps; where none does, all but the last that
    return a row for each example; and in a network without parts the inputs themselves, named ``""``.
    """
    batch = examples.batch(torch.arange(min(2, len(examples))))
    outputs = record_outputs(predict, batch)
    called_once = {name: axes for name, axes in outputs if [other for other, _ in outputs].count(name) == 1}
    modules = dict(predict.model.named_modules())
    maps = [name for name, axes in called_once.items() if axes >= 3]
    layers = [name for name in maps if has_weights(modules[name])] or maps or list(called_once)[:-1] or [""]
    spaced = torch.linspace(0, len(layers) - 1, min(MAX_LAYERS, len(layers))).round().long().unique().tolist()
    return [layers[index] for index in spaced]


def has_weights(module: nn.Module) -> bool:
    """Return whether a module has parts, or a matrix of weights of its own."""
    matrix = any(weight.ndim >= 2 for weight in module.parameters(recurse=False))
    return matrix or next(module.children(), None) is not None


@torch.no_grad()
def record_outputs(predict: Predictor, batch: Batch) -> list[tuple[str, int]]:
    """Return the modules that answer a batch with a row for each example, and the axes of what they return."""
    outputs: list[tuple[str, int]] = []
    names = {module: name for name, module in predict.model.named_modules() if name}

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim >= 2 and len(output) == len(batch):
            outputs.append((names[module], output.ndim))

    with forward_hooks(list(names), note):
        predict(batch.to(device_of(predict.model)).inputs)
    return outputs


def features(
    predict: Predictor, examples: Examples, layer: str, positions: Tensor | None = None, pool: int = 2
) -> Tensor:
    """Return what a layer makes of examples, ``(n, d)`` float32, on the model's device.

    Feature maps are averaged over a grid of ``pool`` × ``pool`` cells, tokens over their positions.

    Args:
        predict: The model, in evaluation mode.
        examples: The examples.
        layer: Dotted name of a module; empty for the inputs themselves.
        positions: Of the examples that are looked at. Default: all.
        pool: Cells of the grid in each direction. Default 2.

    Raises:
        ModelError: If there is no such layer, or it returns no row for each example.
    """
    return all_features(predict, examples, [layer], positions, pool)[layer]


@torch.no_grad()
def all_features(
    predict: Predictor, examples: Examples, layers: Sequence[str], positions: Tensor | None = None, pool: int = 2
) -> dict[str, Tensor]:
    """Return what each of some layers makes of examples, from one pass; see ``features``."""
    modules, pooled = dict(predict.model.named_modules()), dict[str, list[Tensor]]()
    for layer in layers:
        if layer not in modules:
            raise ModelError("the name of a layer of the model", f"'{layer}'", "see model.named_modules()")
    names = {modules[layer]: layer for layer in layers}
    newest: dict[str, object] = {}

    def note(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        newest[names[module]] = output if names[module] else inputs[0]

    with forward_hooks(list(names), note):
        for part in (torch.arange(len(examples)) if positions is None else positions).split(BATCH_SIZE):
            predict(examples.batch(part).to(device_of(predict.model)).inputs)
            for layer in layers:
                pooled.setdefault(layer, []).append(pool_features(newest[layer], len(part), layer, pool))
    return {layer: torch.cat(parts) for layer, parts in pooled.items()}


def pool_features(output: object, count: int, layer: str, pool: int) -> Tensor:
    """Return a layer's output as one row of numbers for each example."""
    if not isinstance(output, Tensor) or len(output) != count or output.ndim < 2:
        actual = f"{tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"a row for each of {count} examples from '{layer}'", actual, "name another layer")
    if output.ndim == 4:
        return functional.adaptive_avg_pool2d(output.float(), pool).flatten(1)
    return output.float().mean(1) if output.ndim == 3 else output.float().flatten(1)


@contextmanager
def forward_hooks(modules: list[nn.Module], note: object) -> Iterator[None]:
    """Call ``note`` with module, inputs and output whenever one of the modules has been called."""
    handles = [module.register_forward_hook(note) for module in modules]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
