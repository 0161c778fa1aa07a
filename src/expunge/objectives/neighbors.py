"""Nearest neighbors by cosine, and the votes of their labels."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from expunge.errors import DataError, MissingExtraError

BLOCK_SIZE = 2**24
"""Similarities that are held at a time: 64 MB in float32."""


def nearest_neighbors(queries: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the cosines and the positions of the ``count`` nearest keys of each query, both ``(n, count)``.

    Exact: every query is compared with every key, in blocks of bounded memory, on the device of the keys. A query
    against a million keys of 256 numbers is half a billion multiplications.

    Examples:
        >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> cosine, at = nearest_neighbors(torch.tensor([[2.0, 0.1]]), keys, 2)
        >>> at.tolist()
        [[0, 2]]
    """
    if not len(keys):
        raise DataError("at least one key", "none", "check the retained examples")
    count, unit = min(count, len(keys)), functional.normalize(keys, dim=1)
    rows = max(1, BLOCK_SIZE // len(keys))
    parts = [(functional.normalize(block, dim=1) @ unit.T).topk(count, dim=1) for block in queries.split(rows)]
    if not parts:
        return queries.new_empty(0, count), torch.empty(0, count, dtype=torch.int64, device=queries.device)
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def approximate_neighbors(queries: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return what ``nearest`` does, searched by faiss among the lists nearest to each query, on the CPU.

    Paper: "The Faiss library" (Douze et al., 2024, arXiv 2401.08281): an inverted file of about √m lists, of which an
    eighth is looked through. For more keys than exact search is patient with.
    """
    if not len(keys):
        raise DataError("at least one key", "none", "check the retained examples")
    library, count = import_faiss(), min(count, len(keys))
    unit = functional.normalize(keys, dim=1).float().cpu().contiguous().numpy()
    lists = max(1, int(len(keys) ** 0.5) // 4)
    quantizer = library.IndexFlatIP(unit.shape[1])
    index = library.IndexIVFFlat(quantizer, unit.shape[1], lists, library.METRIC_INNER_PRODUCT)
    index.train(unit)
    index.add(unit)
    index.nprobe = max(1, lists // 8)
    unit_queries = functional.normalize(queries, dim=1).float().cpu().contiguous().numpy()
    cosine, positions = index.search(unit_queries, count)
    results = torch.from_numpy(cosine).to(queries), torch.from_numpy(positions).to(queries.device)
    return results[0].masked_fill(results[1] < 0, -torch.inf), results[1].clamp(min=0)


def import_faiss() -> Any:
    """Return the module ``faiss``."""
    try:
        return import_module("faiss")
    except ModuleNotFoundError as error:
        raise MissingExtraError("approximate neighbors", "faiss-cpu", "faiss") from error


def vote_distribution(cosine: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Return the distribution over classes that neighbors vote for, ``(n, classes)``.

    Formula: q_c = Σ_j w_j 1[y_j = c], w = softmax(cosine / T) over the neighbors j.

    Examples:
        >>> vote_distribution(torch.tensor([[0.9, 0.9]]), torch.tensor([[0, 2]]), 3, 0.05)
        tensor([[0.5000, 0.0000, 0.5000]])
    """
    weights = torch.softmax(cosine / temperature, 1)
    return cosine.new_zeros(len(cosine), classes).scatter_add_(1, labels, weights)
