"""Weights files: written under a temporary name and renamed, recognized by their content."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError

from expunge.errors import CheckpointError
from expunge.files import sync_to_disk, temporary_file
from expunge.paths import error_reason

MAX_HEADER_BYTES = 20_000_000
"""Longest header in bytes that is read, with room for every tensor that may be there; the format allows five times."""

_PICKLE_SUFFIXES = frozenset({".pth", ".pt", ".bin", ".pkl", ".pickle", ".ckpt", ".tar"})


@contextmanager
def atomic_write(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Lend a file in a temporary folder beside ``target``; afterwards sync what was written there and move it.

    The file gets the mode that the user's umask gives, whichever library writes it. A link of that name is replaced,
    not followed, and what killed processes left of the same file is removed.

    Args:
        target: The name that the file has in the end.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        CheckpointError: If the file exists already, or the folder is missing or cannot be written; nothing is left.
    """
    if target.exists() and not (target.is_file() or target.is_symlink()):
        raise CheckpointError("the name of a file to write", f"'{target}', which is no plain file", "name another")
    if target.exists() and not overwrite:
        raise CheckpointError(f"'{target}' not to exist yet", "a file there", "name another or allow overwriting")
    if not target.parent.is_dir():
        raise CheckpointError(f"the folder '{target.parent}'", "none", "create it first")
    try:
        with temporary_file(target) as temporary:
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            temporary.chmod(mode)
            sync_to_disk(temporary)
            temporary.replace(target)
            sync_to_disk(target.parent)
    except (OSError, SafetensorError) as error:
        hint = "free the disk or name a folder of yours"
        raise CheckpointError(f"to write '{target}'", first_line(error), hint) from error


def check_is_safetensors(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is not safetensors, by its content, before anything is parsed.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is missing, pickled (the message names the command that converts it), too short for its
            header, or its header is longer than ``MAX_HEADER_BYTES`` bytes.
    """
    source = Path(path)
    if not source.is_file():
        raise CheckpointError(f"a weights file at '{source}'", "none", "check the path")
    try:
        size, head = source.stat().st_size, _read_head(source)
    except OSError as error:
        raise CheckpointError(f"to read '{source}'", error_reason(error), "check the path and its rights") from error
    if _has_valid_size(head, size):
        return
    if is_pickle(head) or source.suffix.lower() in _PICKLE_SUFFIXES:
        _reject_pickle(source)
    header = int.from_bytes(head[:8], "little")
    raise build_damage_error(source, f"{size} bytes" + (f" with a header of {header} bytes" if size >= 8 else ""))


def is_safetensors(source: Path) -> bool:
    """Return whether a file begins as a safetensors file of its size does."""
    return _has_valid_size(_read_head(source), source.stat().st_size)


def _read_head(source: Path) -> bytes:
    with source.open("rb") as file:
        return file.read(512)


def _has_valid_size(head: bytes, size: int) -> bool:
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= min(size - 8, MAX_HEADER_BYTES)


def is_pickle(head: bytes) -> bool:
    r"""Return whether a file that starts like this is a pickle: a zip or tar of one, or a bare one.

    Examples:
        >>> import pickle
        >>> is_pickle(pickle.dumps({"weight": 1})), is_pickle(b"PK\x03\x04"), is_pickle(b"text")
        (True, True, False)
    """
    bare = head[:1] == b"\x80" and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}
    return bare or head.startswith((b"PK\x03\x04", b"(dp", b"ccollections\n")) or head[257:262] == b"ustar"


def _reject_pickle(source: Path) -> NoReturn:
    target = source.with_suffix(".safetensors")
    if target == source:
        target = source.with_suffix(".converted.safetensors")
    line = shlex.join(["expunge", "convert", str(source), str(target)])
    raise CheckpointError(f"'{source}' to be a safetensors file", "a pickle, which can run code", f"run `{line}`")


def build_damage_error(source: Path, actual: str) -> CheckpointError:
    """Return the error for a file that is not safetensors as a whole."""
    return CheckpointError(f"'{source}' to be a whole safetensors file", actual, "fetch or write it again")


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without its full stop."""
    return str(error).split("\n", 1)[0].rstrip(".") or type(error).__name__
