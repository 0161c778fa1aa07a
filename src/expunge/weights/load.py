"""Reading weights: into a ``state_dict``, or into a model after everything has been compared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from expunge.errors import CheckpointError
from expunge.weights.file import check_is_safetensors, damaged, first_line
from expunge.weights.header import read_header
from expunge.weights.save import DIM_ORDER


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file into a ``state_dict`` on the CPU.

    Args:
        path: The file.

    Returns:
        Key → tensor, with the dtypes, shapes and order of dimensions that were saved.

    Raises:
        CheckpointError: If the file is missing, pickled or damaged.
    """
    source = Path(path)
    check_is_safetensors(source)
    with _reading(source) as file:
        notes = file.metadata() or {}
        return {name: _as_saved(file.get_tensor(name), notes.get(DIM_ORDER + name)) for name in file.keys()}  # noqa: SIM118


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the text that ``save_weights`` was given to keep in the header.

    Raises:
        CheckpointError: If the file is missing, pickled or damaged.
    """
    source = Path(path)
    check_is_safetensors(source)
    with _reading(source) as file:
        notes = file.metadata() or {}
    return {key: text for key, text in notes.items() if key != "format" and not key.startswith(DIM_ORDER)}


def load_into(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Copy the weights of a safetensors file into a model of the same architecture.

    Every key, shape and dtype is compared before the first weight is touched. A key may be absent from the file if it
    is another name of a tensor that is there: ``safetensors.torch.save_model`` writes tied weights once.

    Args:
        model: The model; its own device and order of dimensions stay.
        path: The file.

    Raises:
        CheckpointError: If the file cannot be read or does not fit the model; the model is untouched.
    """
    state = load_weights(path)
    own = {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)}
    state |= {name: state[twin] for name, twin in _tied(own, state)}
    _refuse_difference(path, "keys", [f"'{name}' is missing" for name in own if name not in state])
    _refuse_difference(path, "keys", [f"'{name}' is unexpected" for name in state if name not in own])
    _refuse_difference(path, "shapes and types", list(_mismatches(own, state)))
    model.load_state_dict(state)


def check_header(path: str | os.PathLike[str]) -> None:
    """Refuse a safetensors file whose header does not fit it; no tensor is read.

    Raises:
        CheckpointError: If the file is missing, pickled or damaged.
    """
    check_is_safetensors(path)
    try:
        read_header(Path(path))
    except (OSError, ValueError) as error:
        raise damaged(Path(path), first_line(error)) from error


@contextmanager
def _reading(source: Path) -> Iterator[Any]:
    """Open a file that has passed ``check_is_safetensors``; what is wrong with its header becomes one sentence."""
    try:
        read_header(source)
        with safe_open(source, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise damaged(source, first_line(error)) from error


def _as_saved(tensor: Tensor, order: str | None) -> Tensor:
    """Return the tensor with its noted order of dimensions in memory."""
    if order is None:
        return tensor
    dims = [int(dim) for dim in order.split(",")]
    if sorted(dims) != list(range(tensor.dim())):
        raise ValueError(f"a noted order of dimensions that does not fit: {order}")
    back = [dims.index(dim) for dim in range(tensor.dim())]
    return tensor.permute(dims).contiguous().permute(back)


def _tied(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return, for each key of the model that the file lacks, the key in it that names the same tensor."""

    def place(tensor: Tensor) -> tuple[Any, ...]:
        return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype

    there = {place(tensor): name for name, tensor in own.items() if name in state and tensor.data_ptr()}
    return [(name, there[place(own[name])]) for name in own if name not in state and place(own[name]) in there]


def _mismatches(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield what differs; a dtype may differ if the model's holds every value of the file's."""
    for name, tensor in own.items():
        theirs = state[name]
        exact = torch.promote_types(theirs.dtype, tensor.dtype) == tensor.dtype
        if theirs.shape != tensor.shape or not exact or theirs.is_floating_point() != tensor.is_floating_point():
            yield f"'{name}' is {_form(theirs)} where the model has {_form(tensor)}"


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _refuse_difference(path: str | os.PathLike[str], what: str, found: Iterable[str]) -> None:
    found = list(found)
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        cure = "build the model that was saved (same architecture, classes and channels)"
        raise CheckpointError(f"'{path}' to have the {what} of the model", ", ".join(found[:3]) + more, cure)
