"""Decoded pixels kept between runs, because decoding sixty thousand pictures takes a while.

The cache holds copies of the data, forgotten examples included: ``cache_folder`` says where, and deleting it is safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from expunge.data.mapped import mapped
from expunge.tasks.classification.readers._pictures import Pixels

_SAMPLE = 1 << 16
_VERSION = 1


def cache_folder() -> Path:
    """Return the folder of decoded pixels: ``expunge`` in ``XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "expunge"


def cached(name: str, files: Sequence[Path], shape: tuple[int, ...], decode: Callable[[], Pixels]) -> Pixels:
    """Return decoded pixels from the cache, or decode them and try to keep them.

    Args:
        name: Start of the cache file's name.
        files: What is decoded; the key is made of their sizes and of the first and last 64 KiB of each.
        shape: Shape that the result must have.
        decode: Called if there is no usable entry. A cache that cannot be written is no failure.
    """
    path = cache_folder() / f"{name}-{_key(files, shape)}.npy"
    found = _load(path, shape)
    if found is None:
        found = decode()
        with contextlib.suppress(OSError):
            _save(path, found)
    return found


def _key(files: Sequence[Path], shape: tuple[int, ...]) -> str:
    known = hashlib.sha256(f"{_VERSION} {shape}".encode())
    for file in files:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(_SAMPLE)
            stream.seek(max(0, size - _SAMPLE))
            known.update(size.to_bytes(8, "little") + head + stream.read(_SAMPLE))
    return known.hexdigest()[:24]


def _load(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    try:
        found = mapped(path)
    except (OSError, ValueError):
        return None
    return np.array(found) if found.dtype == np.uint8 and found.shape == shape else None


def _save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            np.save(file, pixels, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
