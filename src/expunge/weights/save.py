"""Writing weights: the keys, dtypes and shapes of a ``state_dict``, and its order of dimensions as a note."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from expunge.errors import CheckpointError
from expunge.type_checks import check_argument_types
from expunge.weights.file import atomic_write
from expunge.weights.names import unwrap_state

DIM_ORDER_PREFIX = "expunge.dim_order."
"""Before a tensor's key, in the header: its dimensions in the order of memory, outermost first."""


@check_argument_types
def save_weights(
    model_or_state: nn.Module | Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a model's ``state_dict`` to one safetensors file, whole or not at all.

    The file has the keys, dtypes and shapes of the state; of a model in ``DataParallel``, ``DistributedDataParallel``,
    ``AveragedModel`` or ``torch.compile``, the keys of the model inside. Tensors that share memory are written once per
    key. The order of the dimensions in memory (channels-last) is noted in the file, and ``load_weights`` gives it back.
    The bytes go to a temporary folder beside the file, are synced, and the file is moved into its place.

    Args:
        model_or_state: A module, or its ``state_dict``.
        path: The file to write; its folder exists.
        metadata: Text to keep in the file's header.
        overwrite: Whether a file of that name may be replaced.

    Returns:
        The path that was written.

    Raises:
        CheckpointError: If the file exists, the folder does not, the disk refuses, or the state holds something that
            is not a dense tensor.

    Examples:
        >>> import tempfile
        >>> from expunge.weights import load_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_weights(nn.Linear(2, 3), Path(folder) / "model.safetensors")
        ...     {name: tuple(tensor.shape) for name, tensor in load_weights(path).items()}
        {'bias': (3,), 'weight': (3, 2)}
    """
    target = Path(path)
    state = unwrap_state(model_or_state) if isinstance(model_or_state, nn.Module) else model_or_state
    dense = dict(_iter_dense(state))
    header = {"format": "pt", **find_dim_orders(state), **(metadata or {})}
    with atomic_write(target, overwrite=overwrite) as temporary:
        save_file(dense, temporary, metadata=header)
    return target


def cast_like(state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values of a ``state_dict`` with the keys, dtypes and order of dimensions of another.

    Args:
        state: The values; every key of ``model`` is in it.
        model: The form: weights as they were read from a file, where tied weights may stand once.

    Examples:
        >>> state = {"weight": torch.ones(2), "tied": torch.ones(2)}
        >>> cast_like(state, {"weight": torch.zeros(2, dtype=torch.bfloat16)})
        {'weight': tensor([1., 1.], dtype=torch.bfloat16)}
    """
    return {name: torch.empty_like(form).copy_(state[name].detach()) for name, form in model.items()}


def check_savable(state: Mapping[str, Any]) -> None:
    """Refuse a ``state_dict`` that safetensors cannot hold, before work is put into it.

    Raises:
        CheckpointError: If something in it is not a dense real tensor.
    """
    for name, value in state.items():
        if not isinstance(name, str) or not _is_dense(value):
            actual = f"{_describe_kind(value)} under '{name}'"
            raise CheckpointError("a state_dict of dense real tensors", actual, "save the state_dict of a plain module")


def _iter_dense(state: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor contiguous, on the CPU and with memory of its own."""
    check_savable(state)
    seen: set[int] = set()
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if memory in seen else tensor
        seen.add(memory)


def _is_dense(value: Any) -> bool:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    return plain and not (value.is_complex() or value.is_quantized)


def _describe_kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"a tensor of {value.dtype}, {value.layout}, on {value.device}".replace("torch.", "")


def find_dim_orders(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the order of dimensions in memory, outermost first, of tensors that are permuted but without gaps."""
    orders = {}
    for name, tensor in state.items():
        strides = tensor.stride()
        order = sorted(range(tensor.dim()), key=strides.__getitem__, reverse=True)
        if not tensor.is_contiguous() and tensor.permute(order).is_contiguous():
            orders[DIM_ORDER_PREFIX + name] = ",".join(map(str, order))
    return orders
