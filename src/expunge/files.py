"""Files on disk: opened through no link, cleared of what a killed process left, removed by name and never as a tree.

Every name that Expunge chooses itself (locks, checkpoints, histories, results) is opened here: who may write into a
folder could otherwise lay a link under such a name and have another file overwritten.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

PARTIAL_SUFFIX = r"\.[0-9a-f]{8}\.tmp"
"""What follows the name of a file, after a dot in front, while it is being written."""
BUSY_ERRORS = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
"""What the system says of a lock that somebody else has."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_FLAGS = {
    "rb": os.O_RDONLY,
    "r+b": os.O_RDWR | os.O_CREAT,
    "wb": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "ab": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "xb": os.O_RDWR | os.O_CREAT | os.O_EXCL,
}
_BUFFER_MODES = {"xb": "r+b"}


def open_regular_file(path: Path, mode: str) -> IO[bytes]:
    """Open a plain file: no link, no folder, no device.

    Examples:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "file")
        >>> with open_regular_file(file, "wb") as opened:
        ...     opened.write(b"text")
        4
        >>> read_regular_file(file, limit=4)
        b'text'
    """
    try:
        descriptor = os.open(path, _FLAGS[mode] | _NO_FOLLOW, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise OSError(errno.ELOOP, "a link", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return os.fdopen(descriptor, _BUFFER_MODES.get(mode, mode))


def read_regular_file(path: Path, limit: int) -> bytes:
    """Return the content of a plain file of at most ``limit`` bytes."""
    with open_regular_file(path, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes", str(path))
    return content


def is_regular_file(path: Path) -> bool:
    """Return whether a path names a plain file itself, not a link to one."""
    with suppress(OSError, ValueError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def is_real_folder(path: Path) -> bool:
    """Return whether a path names a folder itself, not a link to one."""
    with suppress(OSError, ValueError):
        return stat.S_ISDIR(path.lstat().st_mode)
    return False


def lock_descriptor(descriptor: int) -> None:
    """Take the lock on an open file without waiting; the system lets go of it when the process ends."""
    if os.name == "nt":
        system: Any = importlib.import_module("msvcrt")
        system.locking(descriptor, system.LK_NBLCK, 1)
    else:
        system = importlib.import_module("fcntl")
        system.flock(descriptor, system.LOCK_EX | system.LOCK_NB)


def sync_to_disk(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Lend the temporary name of a new empty folder beside ``target``; nothing of that name is left afterwards.

    The folder is locked meanwhile, so that others know it for one that is being written. What killed processes have
    left of the same target is removed first.
    """
    remove_partial(target.parent, [target.name])
    temporary, descriptor = _make_locked_folder(target)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _make_locked_folder(target: Path) -> tuple[Path, int | None]:
    """Return a new temporary folder beside ``target`` and the descriptor that locks it; Windows locks no folders.

    Who clears the same target at the same moment may take the folder for abandoned before it is locked: then it is
    another one's turn.
    """
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        temporary.mkdir()
        if os.name == "nt":
            return temporary, None
        try:
            descriptor = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if _is_locked_by_other(descriptor) or not temporary.exists():
            os.close(descriptor)
            continue
        return temporary, descriptor


def _is_locked_by_other(descriptor: int) -> bool:
    """Take the lock on an open file, and return whether somebody else has it; not every file system has locks."""
    try:
        lock_descriptor(descriptor)
    except OSError as error:
        return error.errno in BUSY_ERRORS
    return False


@contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """Lend a new empty file in a temporary folder beside ``target``; nothing of that folder is left afterwards.

    Libraries write under names of their own beside the file that they are given, which a killed process leaves there:
    so the folder, not the file, is what is known as half written.
    """
    with temporary_folder(target) as folder:
        temporary = folder / target.name
        open_regular_file(temporary, "xb").close()
        yield temporary


def list_partial(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return what lies in a folder under the temporary name of one of these files or folders."""
    pattern = re.compile(rf"\.({'|'.join(map(re.escape, names))}){PARTIAL_SUFFIX}")
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    return []


def remove_partial(folder: Path, names: Iterable[str]) -> list[str]:
    """Remove what killed processes have left half written of these files or folders, and return the names.

    What a living process is writing stays: it holds the lock.
    """
    return [path.name for path in list_partial(folder, names) if remove_abandoned(path)]


def remove_abandoned(path: Path) -> bool:
    """Remove a half-written file or folder unless somebody has its lock; return whether it is gone."""
    if path.is_symlink():
        with suppress(OSError):
            path.unlink()
            return True
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except OSError:
        return False
    try:
        lock_descriptor(descriptor)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def remove_matching(folder: Path, pattern: re.Pattern[str]) -> int:
    """Remove the files of a folder whose names match, and the folder if nothing else is in it.

    Links below such names are removed themselves; a folder that is a link is left alone, and so is everything of
    another name.
    """
    if not is_real_folder(folder):
        return 0
    chosen = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    files = [path for path in chosen if path.is_symlink() or not path.is_dir()]
    for path in files:
        path.unlink(missing_ok=True)
    partial = [path for path in chosen if path not in files and path.name.endswith(".tmp")]
    removed = len(files) + sum(map(remove_abandoned, partial))
    with suppress(OSError):  # something of somebody else's is in it
        folder.rmdir()
    return removed
