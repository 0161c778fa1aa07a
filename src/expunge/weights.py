"""Weights on disk: safetensors in and out, whole or not at all, and pickles refused with the one door for them."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from expunge.errors import CheckpointError

HEADER_LIMIT = 100_000_000
"""Longest header in bytes that is read; the format's own bound."""

_PICKLE_SUFFIXES = frozenset({".pth", ".pt", ".bin", ".pkl", ".pickle", ".ckpt", ".tar"})
_STRIDES = "expunge.dim_order."


def save_weights(
    model_or_state: nn.Module | Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a model's ``state_dict`` to one safetensors file, whole or not at all.

    The file has the keys, dtypes and shapes of the state. Tensors that share memory are written once per key. The order
    of the dimensions in memory (channels-last) is noted in the file, and ``load_weights`` gives it back. The bytes go to
    a temporary name in the same folder, are synced, and the file is renamed.

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
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_weights(nn.Linear(2, 3), Path(folder) / "model.safetensors")
        ...     {name: tuple(tensor.shape) for name, tensor in load_weights(path).items()}
        {'bias': (3,), 'weight': (3, 2)}
    """
    target = Path(path)
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    dense = dict(_dense(state))
    header = {"format": "pt", **_dim_orders(state), **(metadata or {})}
    with replacing(target, overwrite=overwrite) as temporary:
        save_file(dense, temporary, metadata=header)
    return target


@contextmanager
def replacing(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Lend a temporary name in the folder of ``target``; afterwards sync what was written there and rename it.

    Args:
        target: The name that the file has in the end.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        CheckpointError: If the file exists already, or the folder is missing or cannot be written; nothing is left.
    """
    if target.exists() and not overwrite:
        raise CheckpointError(
            f"'{target}' not to exist yet", "a file there", "choose another name or allow overwriting"
        )
    if not target.parent.is_dir():
        raise CheckpointError(f"the folder '{target.parent}'", "none", "create it first")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"to write '{target}'", _first_line(error), "free the disk or name a folder of yours"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


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
        return {name: _as_saved(file.get_tensor(name), notes.get(_STRIDES + name)) for name in file.keys()}  # noqa: SIM118


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the text that ``save_weights`` was given to keep in the header.

    Raises:
        CheckpointError: If the file is missing, pickled or damaged.
    """
    source = Path(path)
    check_is_safetensors(source)
    with _reading(source) as file:
        notes = file.metadata() or {}
    return {key: text for key, text in notes.items() if key != "format" and not key.startswith(_STRIDES)}


def load_into(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Copy the weights of a safetensors file into a model of the same architecture.

    Every key, shape and dtype is compared before the first weight is touched. A key may be absent from the file if it is
    another name of a tensor that is there: ``safetensors.torch.save_model`` writes tied weights once.

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


def check_is_safetensors(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is not safetensors, by its content, before anything is parsed.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is missing, pickled (the message names the command that converts it), too short for its
            header, or its header is longer than ``HEADER_LIMIT`` bytes.
    """
    source = Path(path)
    if not source.is_file():
        raise CheckpointError(f"a weights file at '{source}'", "none", "check the path")
    size = source.stat().st_size
    with source.open("rb") as file:
        head = file.read(512)
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= header <= min(size - 8, HEADER_LIMIT):
        return
    if is_pickled(head) or source.suffix.lower() in _PICKLE_SUFFIXES:
        _refuse_pickle(source)
    found = f"{size} bytes whose header would be {header} bytes long" if size >= 8 else f"{size} bytes"
    raise _damaged(source, found)


def is_pickled(head: bytes) -> bool:
    """Return whether a file that starts like this is a pickle: a zip or tar of one, or a bare one.

    Examples:
        >>> import pickle
        >>> is_pickled(pickle.dumps({"weight": 1})), is_pickled(b"PK\\x03\\x04"), is_pickled(b"text")
        (True, True, False)
    """
    bare = head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}
    return bare or head.startswith((b"PK\x03\x04", b"(dp", b"ccollections\n")) or head[257:262] == b"ustar"


def _refuse_pickle(source: Path) -> NoReturn:
    target = source.with_suffix(".safetensors")
    line = shlex.join(["expunge", "convert", str(source), str(target)])
    raise CheckpointError(f"'{source}' to be a safetensors file", "a pickle, which can run code", f"run `{line}`")


def _damaged(source: Path, found: str) -> CheckpointError:
    return CheckpointError(f"'{source}' to be a whole safetensors file", found, "fetch or write it again")


@contextmanager
def _reading(source: Path) -> Iterator[Any]:
    """Open a file that has passed ``check_is_safetensors``; what the parser says becomes one sentence."""
    try:
        with safe_open(source, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(source, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].rstrip(".") or type(error).__name__


def _sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _dense(state: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor contiguous, on the CPU and with memory of its own."""
    seen: set[int] = set()
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            found = f"{type(value).__name__} under '{name}'"
            raise CheckpointError("a state_dict of dense tensors", found, "save the state_dict of a plain module")
        tensor = value.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if memory in seen else tensor
        seen.add(memory)


def _dim_orders(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the order of dimensions in memory, outermost first, of tensors that are permuted but without gaps."""
    orders = {}
    for name, tensor in state.items():
        order = sorted(range(tensor.dim()), key=lambda dim: -tensor.stride(dim))
        if not tensor.is_contiguous() and tensor.permute(order).is_contiguous():
            orders[_STRIDES + name] = ",".join(map(str, order))
    return orders


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
