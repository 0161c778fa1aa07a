"""Features inside a network: what its layers say of some examples, as Gram matrices of one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batch import Batch, Predictor
from expunge.errors import ConfigError
from expunge.evaluation.inference import get_device, preserving_state
from expunge.evaluation.outputs import ModelUnderTest, SplitPart
from expunge.metrics.arrays import Floats
from expunge.metrics.cka import MIN_CKA_EXAMPLES, batch_terms, compute_cka

LayerProfile = dict[str, float | None]
"""Name of a layer → linear CKA of two networks there; None where one of them says the same of every example."""


def find_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that have a matrix of weights and no layers inside, by name."""
    return {name: module for name, module in model.named_modules() if is_layer(module)}


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is a layer of its own: convolutions and linear maps are, containers and norms are not."""
    has_matrix = any(weight.ndim >= 2 for weight in module.parameters(recurse=False))
    return has_matrix and not any(True for _ in module.children())


def compute_gram(output: Tensor) -> Floats:
    """Return the products of all pairs of examples' centered features, ``(n, n)``; no features leave the device."""
    flat = output.detach().flatten(1).float()
    centered = flat - flat.mean(0)
    gram: Floats = (centered @ centered.T).double().cpu().numpy()
    return gram


@contextmanager
def recording_grams(model: nn.Module, grams: dict[str, Floats]) -> Iterator[None]:
    """Write the products of every layer's output into ``grams`` inside the context."""

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim > 1 and output.is_floating_point():
            grams[name] = compute_gram(output)

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in find_layers(model).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def compute_batch_grams(predict: Predictor, batch: Batch) -> dict[str, Floats]:
    """Return the products of every layer that a model used on a batch; the model is left as it was."""
    grams: dict[str, Floats] = {}
    with preserving_state(predict.model), recording_grams(predict.model, grams):
        predict(batch.to(get_device(predict.model)).inputs)
    return grams


def sample_indices(total: int, count: int, seed: int) -> Tensor:
    """Return the indices of ``count`` random examples out of ``total``, in order; all where there are not more."""
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]
    return chosen.sort().values


def compute_cka_profile(
    first: ModelUnderTest, second: ModelUnderTest, part: SplitPart, count: int, batch_size: int, seed: int
) -> LayerProfile:
    """Return linear CKA of two networks at every layer that both have, from batches of some examples.

    Args:
        first: A model with the examples.
        second: A model to compare it with.
        part: Whose examples.
        count: How many of them at most.
        batch_size: Examples in one forward pass, whose features are held at a time.
        seed: Of the choice.

    Raises:
        ConfigError: If the two have no layer in common.
        DataError: If there are fewer than four examples.
    """
    examples = first.examples(part)
    batches = torch.split(sample_indices(len(examples), count, seed), min(batch_size, count))
    terms: dict[str, list[Floats]] = {}
    for indices in batches:
        if len(indices) >= MIN_CKA_EXAMPLES or len(batches) == 1:
            batch = examples.batch(indices)
            add_terms(terms, compute_batch_grams(first.predict, batch), compute_batch_grams(second.predict, batch))
    if not terms:
        raise ConfigError("two networks with layers of the same names", "none", "compare models of one architecture")
    return {name: compute_cka(layer_terms) for name, layer_terms in terms.items()}


def add_terms(terms: dict[str, list[Floats]], one: Mapping[str, Floats], other: Mapping[str, Floats]) -> None:
    """Add the terms of one batch at every layer that both networks used."""
    for name in one:
        if name in other:
            terms.setdefault(name, []).append(batch_terms(one[name], other[name]))
