"""Keyed hashes of what a run read and wrote: they tell whether two things are the same, and nothing else."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from expunge.errors import CheckpointError
from expunge.weights import unwrap_state

BLOCK_BYTES = 2**20


def hmac_digest(key: bytes, purpose: str, parts: Iterable[bytes]) -> str:
    """Return HMAC-SHA256, in hex, over the lengths and bytes of several parts.

    Examples:
        >>> hmac_digest(bytes(32), "text", [b"ab", b"c"]) == hmac_digest(bytes(32), "text", [b"a", b"bc"])
        False
    """
    mac = hmac.new(key, f"expunge {purpose}\0".encode(), "sha256")
    for one in parts:
        mac.update(len(one).to_bytes(8, "big"))
        mac.update(one)
    return mac.hexdigest()


def file_digest(path: Path, key: bytes) -> str:
    mac = hmac.new(key, b"expunge file\0", "sha256")
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            mac.update(block)
    return mac.hexdigest()


def weights_digest(path: Path, key: bytes) -> str:
    """Return the keyed hash of a weights file, or of all safetensors files in a model's folder with their names."""
    if not path.is_dir():
        return file_digest(path, key)
    files = sorted(path.rglob("*.safetensors"), key=lambda file: file.relative_to(path).as_posix())
    if not files:
        raise CheckpointError(f"safetensors files in '{path}'", "none", "save the model as safetensors")
    named = (f"{file.relative_to(path).as_posix()} {file_digest(file, key)}".encode() for file in files)
    return hmac_digest(key, "folder", named)


def state_digest(model: nn.Module, key: bytes) -> str:
    """Return the keyed hash of a model that is in no file: names, types, shapes and bytes of its state."""
    return tensors_digest(unwrap_state(model), key)


def tensors_digest(state: Mapping[str, Tensor], key: bytes) -> str:
    """Return the keyed hash of a model's state."""
    return hmac_digest(key, "state", iterate_state_bytes(state))


def iterate_state_bytes(state: Mapping[str, Tensor]) -> Iterator[bytes]:
    """Yield what makes up a model's state, by name."""
    for name, value in sorted(state.items()):
        yield f"{name} {value.dtype} {tuple(value.shape)}".encode()
        yield tensor_bytes(value)


def tensor_bytes(value: Tensor) -> bytes:
    """Return a tensor's numbers as they are in memory, in the order of its dimensions."""
    flat = value.detach().cpu().contiguous().reshape(-1)
    viewed: bytes = flat.view(torch.uint8).numpy().tobytes()
    return viewed
