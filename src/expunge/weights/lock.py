"""One process at a time: a folder that is in use says by whom."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from expunge.errors import ConfigError
from expunge.files import BUSY_ERRORS, lock_descriptor, open_regular_file

LOCK_NAME = ".lock"
MAX_LOCK_BYTES = 1000
LOCK_MARKER = b"\0"
"""How the file begins: nothing that a user wrote is taken for it and overwritten."""


@contextmanager
def folder_lock(folder: Path, hint: str = "wait for it to end, or choose another folder") -> Iterator[None]:
    """Keep other processes out of a folder while the body runs.

    The operating system holds the lock and lets go of it when the process ends, however it ends; the file ``.lock``
    only tells who it is. Where the file system has no locks there is none.

    Args:
        folder: Which; made if it is not there, and removed again if nothing was written into it.
        hint: What to do if it is in use.

    Raises:
        ConfigError: If another process is at work in it, or it cannot be written.
    """
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = acquire(folder, hint)
    except OSError as error:
        actual = f"'{error.filename or folder}' ({error.strerror or type(error).__name__})"
        raise ConfigError("a folder that can be written", actual, "choose another") from error
    try:
        yield
    finally:
        # Removed while it is held: who opened it meanwhile finds another file, or none, under the name.
        with suppress(OSError):
            (folder / LOCK_NAME).unlink()
        file.close()
        with suppress(OSError):  # something may have been written into it
            if created:
                folder.rmdir()


def acquire(folder: Path, hint: str) -> IO[bytes]:
    """Return the lock's open file, this process's name in it."""
    path = folder / LOCK_NAME
    while True:
        file = open_regular_file(path, "r+b")
        try:
            lock_descriptor(file.fileno())
        except OSError as error:
            if error.errno in BUSY_ERRORS:
                actual = f"{describe_owner(file)} at work in '{folder}'"
                file.close()
                raise ConfigError("a folder that no other process uses", actual, hint) from None
        if is_same_file(file, path):
            break
        file.close()
    if file.read(1) not in (b"", LOCK_MARKER):
        file.close()
        raise OSError(errno.EEXIST, "a file of somebody else's", str(path))
    file.truncate(0)
    file.seek(0)
    file.write(LOCK_MARKER + json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
    file.flush()
    return file


def is_same_file(file: IO[bytes], path: Path) -> bool:
    """Return whether a path still names an open file; who held it before may have removed it in between."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), status)


def describe_owner(file: IO[bytes]) -> str:
    """Return who holds a lock, as it says of itself."""
    try:
        file.seek(1)
        owner = json.loads(file.read(MAX_LOCK_BYTES))
        return f"process {int(owner['pid'])} on '{owner['host']}'"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
