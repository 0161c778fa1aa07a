"""Made things on disk by the hash of everything that determines them, each file whole or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import expunge
from expunge.batch import Examples, map_tensors
from expunge.errors import CheckpointError
from expunge.weights import atomic_write, load_weights, save_weights

HASH_BATCH_SIZE = 512
"""Examples that are read at once where data are hashed."""


class ShadowStore:
    """A folder of tensors by name, with a JSON file beside each that says how they came about.

    Args:
        folder: Where; made when something is kept.

    Examples:
        >>> import tempfile
        >>> store = ShadowStore(Path(tempfile.mkdtemp()))
        >>> _ = store.save("ab", {"x": torch.ones(2)}, {"seconds": 1.0})
        >>> store.has("ab"), store.load("ab")["x"], store.load_metadata("ab")
        (True, tensor([1., 1.]), {'seconds': 1.0})
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the file of the tensors with this name."""
        return self.folder / f"{name}.safetensors"

    def has(self, name: str) -> bool:
        """Return whether the tensors are there; the file comes last, so that what it says is there too."""
        return self.path(name).is_file()

    def save(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Write tensors and what is to be told of them.

        Raises:
            CheckpointError: If the disk refuses.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            actual = f"'{self.folder}' ({error.strerror or type(error).__name__})"
            raise CheckpointError("a cache folder that can be made", actual, "name another") from error
        with atomic_write(self.path(name).with_suffix(".json"), overwrite=True) as temporary:
            temporary.write_text(json.dumps(metadata, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        save_weights(tensors, self.path(name), overwrite=True)

    def load(self, name: str) -> dict[str, Tensor]:
        """Return the tensors.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        return load_weights(self.path(name))

    def load_metadata(self, name: str) -> dict[str, Any]:
        """Return what is told of the tensors; nothing where that file was taken away or damaged."""
        try:
            metadata = json.loads(self.path(name).with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return metadata if isinstance(metadata, dict) else {}


def hash_values(*parts: Any) -> str:
    """Return 32 hex digits of SHA-256 over plain values and the versions that a computation depends on.

    Args:
        parts: Texts, numbers, and lists and mappings of them.

    Examples:
        >>> hash_values({"a": 1, "b": 2}) == hash_values({"b": 2, "a": 1}), len(hash_values())
        (True, 32)
    """
    versions = {"expunge": expunge.__version__, "torch": torch.__version__.split("+")[0]}
    text = json.dumps([*parts, versions], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def hash_examples(examples: Examples) -> str:
    """Return SHA-256, in hex, over all inputs and labels in order."""
    digest = hashlib.sha256(len(examples).to_bytes(8, "little"))
    for indices in torch.arange(len(examples)).split(HASH_BATCH_SIZE):
        batch = examples.batch(indices)
        map_tensors([batch.inputs, batch.targets], lambda tensor: update_hash(digest, tensor))
    return digest.hexdigest()


def hash_model(model: nn.Module) -> str:
    """Return SHA-256, in hex, over a network's layers as it prints them, and its weights and buffers by name."""
    digest = hashlib.sha256(repr(model).encode())
    for name, value in sorted({**dict(model.named_parameters()), **dict(model.named_buffers())}.items()):
        digest.update(f"{name} {value.requires_grad}".encode())
        update_hash(digest, value.detach())
    return digest.hexdigest()


def hash_positions(positions: Tensor) -> str:
    """Return SHA-256, in hex, over positions in their order."""
    return hashlib.sha256(positions.cpu().numpy().astype("<i8").tobytes()).hexdigest()


def update_hash(digest: Any, tensor: Tensor) -> Tensor:
    """Add the type, shape and bytes of a tensor to a hash, and return it."""
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return tensor
