"""Folders that are written whole or not at all."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expunge.errors import CheckpointError
from expunge.files import temporary_folder

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""


@contextmanager
def atomic_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder to write into, which becomes ``target`` if the body ends well."""
    if target.exists() and not overwrite:
        raise CheckpointError("a folder that is not there yet", f"'{target}'", "choose another, or overwrite=True")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(target) as temporary:
            yield temporary
            replace_folder(temporary, target)
    except OSError as error:
        actual = f"'{error.filename or target}' ({error.strerror or type(error).__name__})"
        raise CheckpointError(f"to write the folder '{target}'", actual, "free the disk or name another") from error


def replace_folder(new: Path, target: Path) -> None:
    """Put a folder in the place of another, which is moved aside first and removed last.

    Where the system cannot exchange two names in one step, a kill in between leaves both, under other names.
    """
    if not os.path.lexists(target):
        new.replace(target)
        return
    if target.is_symlink():
        target.unlink()
        new.replace(target)
        return
    old = new.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    exchanged = exchange_paths(new, target)
    if not exchanged:
        target.replace(old)
        new.replace(target)
    shutil.rmtree(new if exchanged else old, ignore_errors=True)


def exchange_paths(first: Path, second: Path) -> bool:
    """Exchange two names in one step, and return whether this system can."""
    try:
        rename: Any = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    rename.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return bool(
        rename(_AT_FDCWD, os.fsencode(first.absolute()), _AT_FDCWD, os.fsencode(second.absolute()), _RENAME_EXCHANGE)
        == 0
    )
