"""Decoded pixels kept between runs, because decoding sixty thousand pictures takes a while.

The cache holds copies of the data, forgotten examples included: ``cache_folder`` says where, and deleting it is safe.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from expunge.data.file_hashes import cache_folder, hash_file_contents, read_cached_array, write_cached_array
from expunge.errors import DataError
from expunge.key import load_key_if_present
from expunge.tasks.classification.readers._images import Pixels

_CACHE_VERSION = 2

__all__ = ["cache_folder", "load_or_decode"]


def load_or_decode(name: str, files: Sequence[Path], shape: tuple[int, ...], decode: Callable[[], Pixels]) -> Pixels:
    """Return decoded pixels from the cache, or decode them and try to keep them.

    Args:
        name: Start of the cache file's name.
        files: What is decoded; the key is made of the hashes of all that they hold.
        shape: Shape that the result must have.
        decode: Called if there is no usable entry. A cache that cannot be written is no failure.
    """
    path = cache_folder() / f"{name}-{_cache_key(files, shape)}.npy"
    pixels = _load_pixels(path, shape)
    if pixels is None:
        pixels = decode()
        with contextlib.suppress(OSError):
            write_cached_array(path, pixels)
    return pixels


def _cache_key(files: Sequence[Path], shape: tuple[int, ...]) -> str:
    try:
        secret = load_key_if_present() or bytes(32)
    except DataError:  # pixels can be read without it
        secret = bytes(32)
    contents = hash_file_contents(files, secret).tobytes()
    return hashlib.sha256(f"{_CACHE_VERSION} {shape}".encode() + contents).hexdigest()[:24]


def _load_pixels(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    pixels = read_cached_array(path)
    return np.array(pixels) if pixels is not None and pixels.dtype == np.uint8 and pixels.shape == shape else None
