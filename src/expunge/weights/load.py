"""Reading weights: into a ``state_dict``, or into a model after everything has been compared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from expunge.errors import CheckpointError
from expunge.type_checks import check_argument_types
from expunge.weights.file import build_damage_error, check_is_safetensors, first_line
from expunge.weights.header import read_header
from expunge.weights.names import match_names, unwrap_names, unwrap_state
from expunge.weights.save import DIM_ORDER_PREFIX

_HINT = "build the model that was saved (same architecture, classes and channels)"


@check_argument_types
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
    with _safetensors_file(source) as file:
        metadata = file.metadata() or {}
        return {
            name: _restore_dim_order(file.get_tensor(name), metadata.get(DIM_ORDER_PREFIX + name))
            for name in file.keys()  # noqa: SIM118
        }


@check_argument_types
def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the text that ``save_weights`` was given to keep in the header.

    Raises:
        CheckpointError: If the file is missing, pickled or damaged.
    """
    source = Path(path)
    check_is_safetensors(source)
    with _safetensors_file(source) as file:
        metadata = file.metadata() or {}
    return {key: text for key, text in metadata.items() if key != "format" and not key.startswith(DIM_ORDER_PREFIX)}


@check_argument_types
def load_into(model: nn.Module, path: str | os.PathLike[str]) -> str:
    """Copy the weights of a safetensors file into a model of the same architecture.

    Every key, shape and dtype is compared before the first weight is touched. A key may be absent from the file if it
    is another name of a tensor that is there: ``safetensors.torch.save_model`` writes tied weights once. Names count
    as those of the model inside its wrappers; a prefix that all keys of the file share (``module.``, ``_orig_mod.``,
    ``model.``) is taken off where they fit without it.

    Args:
        model: The model; its own device and order of dimensions stay.
        path: The file.

    Returns:
        The prefix that was taken off; empty where the keys fit as they are.

    Raises:
        CheckpointError: If the file cannot be read or does not fit the model; the model is untouched.
    """
    full_state = model.state_dict()
    names = unwrap_names(model, full_state)
    model_tensors = {plain: full_state[name] for name, plain in names.items() if isinstance(full_state[name], Tensor)}
    state, prefix = match_names(load_weights(path), model_tensors)
    state |= {name: state[twin] for name, twin in _find_tied(model_tensors, state)}
    _check_keys(path, prefix, list(model_tensors), list(state))
    mismatches = list(_find_mismatches(model_tensors, state))
    if mismatches:
        raise CheckpointError(f"'{path}' to have the shapes and types of the model", _format_some(mismatches), _HINT)
    model.load_state_dict({name: state.get(names.get(name, ""), value) for name, value in full_state.items()})
    return prefix


def load_matching(model: nn.Module, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the weights of a file under the names of a model, as ``load_into`` would take them.

    Raises:
        CheckpointError: If the file is missing, pickled or damaged.
    """
    return match_names(load_weights(path), unwrap_state(model))[0]


@check_argument_types
def check_header(path: str | os.PathLike[str]) -> None:
    """Refuse a safetensors file whose header does not fit it; no tensor is read.

    Raises:
        CheckpointError: If the file is missing, pickled or damaged.
    """
    check_is_safetensors(path)
    try:
        read_header(Path(path))
    except (OSError, ValueError) as error:
        raise build_damage_error(Path(path), first_line(error)) from error


@contextmanager
def _safetensors_file(source: Path) -> Iterator[Any]:
    """Open a file that has passed ``check_is_safetensors``; what is wrong with its header becomes one sentence."""
    try:
        read_header(source)
        with safe_open(source, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise build_damage_error(source, first_line(error)) from error


def _restore_dim_order(tensor: Tensor, order: str | None) -> Tensor:
    """Return the tensor with its noted order of dimensions in memory."""
    if order is None:
        return tensor
    dims = [int(dim) for dim in order.split(",")]
    if sorted(dims) != list(range(tensor.dim())):
        raise ValueError(f"a noted order of dimensions that does not fit: {order}")
    back = [dims.index(dim) for dim in range(tensor.dim())]
    return tensor.permute(dims).contiguous().permute(back)


def _find_tied(model_tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return, for each key of the model that the file lacks, the key in it that names the same tensor."""

    def place(tensor: Tensor) -> tuple[Any, ...]:
        return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype

    names_by_memory = {
        place(tensor): name for name, tensor in model_tensors.items() if name in state and tensor.data_ptr()
    }
    return [
        (name, names_by_memory[place(model_tensors[name])])
        for name in model_tensors
        if name not in state and place(model_tensors[name]) in names_by_memory
    ]


def _find_mismatches(model_tensors: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield what differs; a dtype may differ if the model's holds every value of the file's."""
    for name, tensor in model_tensors.items():
        file_tensor = state[name]
        exact = torch.promote_types(file_tensor.dtype, tensor.dtype) == tensor.dtype
        if (
            file_tensor.shape != tensor.shape
            or not exact
            or file_tensor.is_floating_point() != tensor.is_floating_point()
        ):
            yield f"'{name}' is {_describe_tensor(file_tensor)} where the model has {_describe_tensor(tensor)}"


def _describe_tensor(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _check_keys(path: str | os.PathLike[str], prefix: str, model_keys: Sequence[str], file_keys: Sequence[str]) -> None:
    """Refuse a file whose names are not the model's, and show those of both that have no partner."""
    missing = [f"'{name}'" for name in model_keys if name not in set(file_keys)]
    extra = [f"'{name}'" for name in file_keys if name not in set(model_keys)]
    if not missing and not extra:
        return
    sides = [f"{_format_some(missing)} missing from the file"] if missing else []
    sides += [f"{_format_some(extra)} in the file alone"] if extra else []
    actual = " and ".join(sides) + (f" (without the prefix '{prefix}')" if prefix else "")
    raise CheckpointError(f"'{path}' to have the keys of the model", actual, _HINT)


def _format_some(items: Sequence[str]) -> str:
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
