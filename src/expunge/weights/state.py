"""A state on disk: nested plain values and tensors in one safetensors file, with a digest that tells it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expunge.errors import CheckpointError
from expunge.weights.file import build_damage_error
from expunge.weights.load import load_weights, read_metadata
from expunge.weights.save import find_dim_orders, save_weights

TREE_KEY, DIGEST_KEY = "expunge.state", "expunge.sha256"
TYPE_KEY = "$"


def save_state(state: Mapping[str, Any], path: Path) -> Path:
    """Write a state to one file, whole or not at all, replacing what is there.

    Tensors go into the body of a safetensors file, everything else as JSON into its header, with SHA-256 over both.
    Nothing in it is ever executed when it is read.

    Args:
        state: Mappings, lists, tuples, text, numbers, None, tensors and arrays, nested in any way.
        path: The file to write; its folder exists.

    Raises:
        CheckpointError: If the state holds something else, or the disk refuses.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_state(save_state({"moments": {0: torch.ones(2)}, "done": (3, 1)}, Path(folder) / "a.safetensors"))
        {'moments': {0: tensor([1., 1.])}, 'done': (3, 1)}
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(to_plain(state, tensors))
    return save_weights(tensors, path, {TREE_KEY: tree, DIGEST_KEY: compute_digest(tree, tensors)}, overwrite=True)


def load_state(path: Path) -> dict[str, Any]:
    """Return the state that a file holds, its tensors on the CPU.

    Raises:
        CheckpointError: If the file is missing, cut off, altered or no state.
    """
    tensors, metadata = load_weights(path), read_metadata(path)
    if metadata.get(DIGEST_KEY) != compute_digest(metadata.get(TREE_KEY, ""), tensors):
        raise build_damage_error(path, "that its contents do not have the digest in its header")
    try:
        state = from_plain(json.loads(metadata[TREE_KEY]), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise build_damage_error(path, "a header that is no state") from error
    if not isinstance(state, dict):
        raise build_damage_error(path, "a header that is no state")
    return state


def compute_digest(tree: str, tensors: Mapping[str, Tensor]) -> str:
    """Return SHA-256, in hex, over the text and over names, types, shapes, layouts and bytes of the tensors."""
    hasher, orders = hashlib.sha256(tree.encode()), dict(sorted(find_dim_orders(tensors).items()))
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        hasher.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} {orders}".encode())
        hasher.update(flat.view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def to_plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON can hold it, its tensors put aside under a number."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Tensor, np.ndarray)):
        name = str(len(tensors))
        tensors[name] = value if isinstance(value, Tensor) else torch.from_numpy(value.copy())
        return {TYPE_KEY: "tensor" if isinstance(value, Tensor) else "array", "of": name}
    if isinstance(value, Mapping):
        return {TYPE_KEY: "map", "of": [[to_plain(k, tensors), to_plain(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {TYPE_KEY: "tuple", "of": [to_plain(item, tensors) for item in value]}
    if isinstance(value, list):
        return [to_plain(item, tensors) for item in value]
    actual = f"a {type(value).__name__}"
    raise CheckpointError("plain values and tensors to save", actual, "return nothing else from state_dict")


def from_plain(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [from_plain(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    inner = value["of"]
    kinds: dict[str, Callable[[], Any]] = {
        "tensor": lambda: tensors[inner],
        "array": lambda: tensors[inner].numpy(),
        "map": lambda: {from_plain(k, tensors): from_plain(v, tensors) for k, v in inner},
        "tuple": lambda: tuple(from_plain(item, tensors) for item in inner),
    }
    return kinds[value[TYPE_KEY]]()
