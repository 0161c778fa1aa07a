"""Decoded pixels kept between runs, because decoding sixty thousand pictures takes a while.

The cache holds copies of the data, forgotten examples included: ``cache_folder`` says where, and deleting it is safe.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from expunge.data.file_hashes import cache_folder, file_hashes, read_array, write_array
from expunge.errors import DataError
from expunge.key import key_at_hand
from expunge.tasks.classification.readers._pictures import Pixels

_VERSION = 2

__all__ = ["cache_folder", "cached"]


def cached(name: str, files: Sequence[Path], shape: tuple[int, ...], decode: Callable[[], Pixels]) -> Pixels:
    """Return decoded pixels from the cache, or decode them and try to keep them.

    Args:
        name: Start of the cache file's name.
        files: What is decoded; the key is made of the hashes of all that they hold.
        shape: Shape that the result must have.
        decode: Called if there is no usable entry. A cache that cannot be written is no failure.
    """
    path = cache_folder() / f"{name}-{_key(files, shape)}.npy"
    pixels = _load(path, shape)
    if pixels is None:
        pixels = decode()
        with contextlib.suppress(OSError):
            write_array(path, pixels)
    return pixels


def _key(files: Sequence[Path], shape: tuple[int, ...]) -> str:
    try:
        secret = key_at_hand() or bytes(32)
    except DataError:  # pixels can be read without it
        secret = bytes(32)
    contents = file_hashes(files, secret).tobytes()
    return hashlib.sha256(f"{_VERSION} {shape}".encode() + contents).hexdigest()[:24]


def _load(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    pixels = read_array(path)
    return np.array(pixels) if pixels is not None and pixels.dtype == np.uint8 and pixels.shape == shape else None
