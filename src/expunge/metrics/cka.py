"""Linear CKA: how alike two networks' features of the same examples are, layer by layer, whatever rotation and scale.

The estimate is unbiased in every batch, so that batches can be added up: the usual, biased one grows as batches shrink
and calls unrelated features alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from expunge.batch import Batch, Predictor, device_of, sample_indices
from expunge.errors import ConfigError, DataError
from expunge.metrics.arrays import Floats, to_float_array
from expunge.metrics.inference import preserving_state
from expunge.metrics.metric import Metric
from expunge.metrics.outputs import SPLIT_PARTS, ModelOutputs, ModelUnderTest, SplitPart, check_choice

MIN_CKA_EXAMPLES = 4
"""Examples in a batch, at least: the unbiased estimate divides by n − 3."""


def estimate_hsic(first: Any, second: Any) -> float:
    """Return the unbiased estimate of the Hilbert–Schmidt independence criterion of two Gram matrices.

    Song et al., "Feature Selection via Dependence Maximization" (2012): with K and L without their diagonals,
    (tr KL + 1ᵀK1·1ᵀL1 / ((n − 1)(n − 2)) − 2·1ᵀKL1 / (n − 2)) / (n(n − 3)).

    Examples:
        >>> round(estimate_hsic(np.eye(5), np.eye(5)), 9)
        0.0
    """
    k, left = zero_diagonal(first), zero_diagonal(second)
    if k.shape != left.shape:
        raise DataError(
            "two Gram matrices of one size", f"{k.shape} and {left.shape}", "use the same examples for both"
        )
    n, sums, others = len(k), k.sum(0), left.sum(0)
    cross = (k * left).sum() + sums.sum() * others.sum() / ((n - 1) * (n - 2)) - 2 * (sums @ others) / (n - 2)
    return float(cross / (n * (n - 3)))


def zero_diagonal(gram: Any) -> Floats:
    """Return a Gram matrix in float64 with zeros on its diagonal."""
    array = np.array(gram, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) < MIN_CKA_EXAMPLES:
        raise DataError(
            f"a Gram matrix of at least {MIN_CKA_EXAMPLES} examples", f"shape {array.shape}", "use larger batches"
        )
    np.fill_diagonal(array, 0.0)
    return array


def batch_terms(first: Any, second: Any) -> Floats:
    """Return the three terms of a batch that ``alignment`` adds up: HSIC of both, of the first, of the second."""
    sides = ((first, second), (first, first), (second, second))
    return np.array([estimate_hsic(one, other) for one, other in sides])


def compute_cka(terms: Iterable[Floats]) -> float | None:
    """Return linear CKA from the terms of all batches: Σ HSIC(K, L) / √(Σ HSIC(K, K) · Σ HSIC(L, L)).

    Nguyen, Raghu and Kornblith, "Do Wide and Deep Networks Learn the Same Things?" (arXiv 2010.15327).

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(8, 3))
        >>> round(compute_cka([batch_terms(x @ x.T, 4 * x @ x.T)]), 9)
        1.0
    """
    both, first, second = np.sum(list(terms), axis=0)
    if min(first, second) <= 0:
        return None
    return float(np.clip(both / np.sqrt(first * second), -1.0, 1.0))


def linear_cka(first: Any, second: Any, *, batch_size: int | None = None) -> float | None:
    """Return linear CKA of two networks' features of the same examples, unbiased, so that it does not grow with width.

    Kornblith et al., "Similarity of Neural Network Representations Revisited" (arXiv 1905.00414), in the form of
    ``alignment``.

    Args:
        first: Features ``(n, …)``, all after the first dimension taken together; n ≥ 4.
        second: Features ``(n, …)`` of the other network; of any width.
        batch_size: Examples in a batch; those left over in a batch of fewer than 4 are dropped. Default: all at once.

    Raises:
        DataError: If the numbers of examples differ, or are below 4.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(40, 3))
        >>> turned = 5 * x[:, [1, 2, 0]] - 3
        >>> round(linear_cka(x, turned), 9), round(linear_cka(x, turned, batch_size=16), 9)
        (1.0, 1.0)
    """
    one, other = to_float_array(first, "features"), to_float_array(second, "features")
    if min(one.ndim, other.ndim) < 1 or len(one) != len(other) or len(one) < MIN_CKA_EXAMPLES:
        actual = f"shapes {one.shape} and {other.shape}"
        raise DataError(
            f"features of the same examples, at least {MIN_CKA_EXAMPLES}", actual, "collect both on the same examples"
        )
    step = batch_size or len(one)
    parts = [slice(start, start + step) for start in range(0, len(one), step)]
    return compute_cka(
        batch_terms(*(_compute_gram(torch.from_numpy(side[part])) for side in (one, other)))
        for part in parts
        if len(one[part]) >= MIN_CKA_EXAMPLES
    )


LayerProfile = dict[str, float | None]
"""Name of a layer → linear CKA of two networks there; None where one of them says the same of every example."""


def find_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that have a matrix of weights and no layers inside, by name."""
    return {name: module for name, module in model.named_modules() if is_layer(module)}


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is a layer of its own: convolutions and linear maps are, containers and norms are not."""
    has_matrix = any(weight.ndim >= 2 for weight in module.parameters(recurse=False))
    return has_matrix and not any(True for _ in module.children())


def _compute_gram(output: Tensor) -> Floats:
    """Return the products of all pairs of examples, ``(n, n)``; centered, which HSIC does not see but rounding does."""
    flat = output.detach().reshape(len(output), -1)
    centered = flat - flat.mean(0)
    gram: Floats = (centered @ centered.T).double().cpu().numpy()
    return gram


@contextmanager
def recording_grams(model: nn.Module, grams: dict[str, Floats]) -> Iterator[None]:
    """Write the products of every layer's output into ``grams`` inside the context."""

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim > 1 and output.is_floating_point():
            grams[name] = _compute_gram(output.float())

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
        predict(batch.to(device_of(predict.model)).inputs)
    return grams


def compute_cka_profile(
    first: ModelUnderTest, second: ModelUnderTest, part: SplitPart, count: int, batch_size: int, seed: int
) -> LayerProfile:
    """Return linear CKA of two networks at every layer that both have, from batches of some examples."""
    examples = first.examples(part)
    batches = sample_indices(len(examples), count, seed).sort().values.split(min(batch_size, count))
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


LAYER_BATCH_SIZE = 128
"""Examples whose features are held at a time."""
Reference = Literal["retrained", "original"]
_ALIKE = {
    "retrained": (
        "1, but two retrained models differ too: compare with their own value",
        "retrained one",
        "mean over convolutions and linear layers; two networks that started alike are alike by that alone, and on "
        "examples of one class there is little to be alike in.",
        "of the retrained model",
    ),
    "original": (
        "the value of the retrained model",
        "one before unlearning",
        "mean over convolutions and linear layers; near 1, only the last layers forgot.",
        "before unlearning",
    ),
}


class FeatureAlignment(Metric):
    """Measure how alike features are to those of another network, mean over layers (linear CKA).

    Args:
        reference: The ``retrained`` model or the ``original`` before unlearning.
        part: Whose examples: forget, retain or test (of all classes).
        examples: How many of them at most, drawn at random.
        seed: Of the choice.

    Raises:
        ConfigError: If reference or part is another word.
    """

    def __init__(
        self,
        reference: Reference = "retrained",
        part: SplitPart = "forget",
        examples: int = 512,
        seed: int = 0,
    ) -> None:
        check_choice(reference, _ALIKE)
        check_choice(part, SPLIT_PARTS)
        target, what, trap, whose = _ALIKE[reference]
        suffix = "" if part == "forget" else part
        super().__init__(
            _average_layers,
            "_".join(filter(None, ("cka", "original" if reference == "original" else "", suffix))),
            f"CKA to {reference}" + (f" ({part})" if suffix else ""),
            target,
            f"Linear CKA between the features of the model and of the {what} on {part} examples, unbiased in every "
            f"batch, {trap}",
            direction="higher" if reference == "retrained" else "match",
            name=f"{reference}_alignment",
            summary=f"Measure how alike features are to those {whose}, mean over layers (linear CKA).",
            settings={"reference": reference, "part": part, "examples": examples, "seed": seed},
            needs=frozenset({reference, "network"}),
            evidence=lambda *models, **settings: {"layers": dict(_compare_layers(*models, **settings))},
        )


def _average_layers(model: ModelOutputs, retrained: ModelOutputs | None, **settings: Any) -> float | None:
    values = [value for value in _compare_layers(model, retrained, **settings).values() if value is not None]
    return float(np.mean(values)) if values else None


def _compare_layers(
    model: ModelOutputs,
    retrained: ModelOutputs | None,
    *,
    reference: Reference,
    part: SplitPart,
    examples: int,
    seed: int,
) -> LayerProfile:
    """Return the value of every layer that both networks have, from the input to the output."""
    compared = model.original if reference == "original" else retrained
    if compared is None or compared.model_under_test is None or model.model_under_test is None:
        return {}
    sides = model.model_under_test, compared.model_under_test
    key = (_compare_layers, compared, part, examples, seed)
    return model.get_cached(key, lambda: compute_cka_profile(*sides, part, examples, LAYER_BATCH_SIZE, seed))
