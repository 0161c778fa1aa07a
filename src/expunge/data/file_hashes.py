"""Hashes of what files hold, remembered between runs: a file is read again only where its size or times have changed.

The memory lies in the cache folder, readable by its owner alone. It holds keyed hashes of paths and contents, sizes and
times, and nothing else; deleting it is safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.data.npy import load_mmap

READ_CHUNK_BYTES = 2**20
MIN_AGE_SECONDS = 2.0
"""A file that changed later than so long ago is not remembered: it may change again within one tick of its clock."""
MAX_CACHE_BYTES = 2**28
"""Of a memory that is read."""
MAX_OTHER_CACHED_FILES = 100_000
"""Of the same folders that stay in a memory though they are not asked for now."""

_CACHE_DTYPE = np.dtype([("path", "S16"), ("size", "<i8"), ("mtime", "<i8"), ("ctime", "<i8"), ("content", "S16")])


def cache_folder() -> Path:
    """Return the folder of what is kept between runs: ``expunge`` in ``XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "expunge"


def hash_file_contents(files: Sequence[Path], key: bytes) -> NDArray[np.bytes_]:
    """Return the keyed hash of what each file holds: BLAKE2b, 16 bytes, ``(n,)`` of dtype S16.

    Examples:
        >>> file = Path(tempfile.mkdtemp(), "picture")
        >>> _ = file.write_bytes(b"pixels")
        >>> hash_file_contents([file, file], bytes(32))[0] == _hash_content(file, bytes(32))
        True
    """
    paths = [os.path.abspath(file) for file in files]
    folders = sorted({os.path.dirname(path) for path in paths})
    cache_path = cache_folder() / f"files-{_hash_texts(folders, key).hex()}.npy"
    cached_hashes = _read_cache(cache_path)
    rows, num_new = np.zeros(len(files), _CACHE_DTYPE), 0
    for number, path in enumerate(paths):
        stat, name = os.stat(path), _hash_texts([path], key)
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        content = cached_hashes.get((name.rstrip(b"\0"), *stamp))
        if content is None:
            num_new += 1
            content = _hash_content(Path(path), key)
        rows[number] = (name, *stamp, content)
    if num_new:
        with contextlib.suppress(OSError):
            _write_cache(cache_path, rows, cached_hashes)
    return rows["content"].copy()


def read_cached_array(path: Path) -> NDArray[Any] | None:
    """Return the array in a file of the cache; None where there is none of one's own: no link, nobody else's file.

    Examples:
        >>> read_cached_array(Path(tempfile.mkdtemp(), "nothing.npy")) is None
        True
    """
    try:
        stat = path.lstat()
        if path.is_symlink() or stat.st_uid != getattr(os, "getuid", lambda: stat.st_uid)():
            return None
        return load_mmap(path)
    except (OSError, ValueError):
        return None


def write_cached_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array into the cache, readable by its owner alone, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")  # mkstemp gives mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, values, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)  # replaces a link, and does not follow it
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _read_cache(path: Path) -> dict[tuple[bytes, int, int, int], bytes]:
    """Return what is remembered: path, size and times → hash of the content."""
    rows = read_cached_array(path)
    if rows is None or rows.dtype != _CACHE_DTYPE or rows.ndim != 1 or rows.nbytes > MAX_CACHE_BYTES:
        return {}
    columns = (rows[name].tolist() for name in ("path", "size", "mtime", "ctime", "content"))
    return {(path, size, mtime, ctime): content for path, size, mtime, ctime, content in zip(*columns, strict=True)}


def _write_cache(path: Path, rows: NDArray[Any], cached_hashes: dict[tuple[bytes, int, int, int], bytes]) -> None:
    """Remember the files that have not been changed just now, and others of the same folders from before."""
    names = set(rows["path"].tolist())
    others = [(*where, content) for where, content in cached_hashes.items() if where[0] not in names]
    newest_allowed = time.time_ns() - int(MIN_AGE_SECONDS * 1e9)
    unchanged = rows[(rows["mtime"] < newest_allowed) & (rows["ctime"] < newest_allowed)]
    write_cached_array(path, np.concatenate([unchanged, np.array(others[-MAX_OTHER_CACHED_FILES:], _CACHE_DTYPE)]))


def _hash_content(path: Path, key: bytes) -> bytes:
    hasher = hashlib.blake2b(digest_size=16, key=key, person=b"expunge content")
    with path.open("rb", buffering=0) as file:
        while block := file.read(READ_CHUNK_BYTES):
            hasher.update(block)
    return hasher.digest()


def _hash_texts(texts: Iterable[str], key: bytes) -> bytes:
    hasher = hashlib.blake2b(digest_size=16, key=key, person=b"expunge path")
    for text in texts:
        hasher.update(os.fsencode(text) + b"\0")
    return hasher.digest()
