"""The idx files of MNIST and its relatives, plain or compressed."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from expunge.data import Source
from expunge.data.examples import Affine
from expunge.errors import DataError
from expunge.tasks.classification.readers._pictures import Labels, Pixels, damaged, source

_SIDE = 28
_MOST = 1_000_000
_IMAGES, _LABELS = 0x803, 0x801


def read_idx_source(folder: Path, class_names: tuple[str, ...], name: str, licence: str, scale: Affine) -> Source:
    """Return the source in a folder (or its subfolder ``raw``) with the four files of MNIST's form.

    Raises:
        DataError: If a file is missing, damaged, or not of the form it should have.
    """
    place = folder / "raw" if (folder / "raw").is_dir() else folder
    train, test = _part(place, "train"), _part(place, "t10k")
    return source(train, test, class_names, name=name, licence=licence, scale=scale)


def _part(folder: Path, part: str) -> tuple[Pixels, Labels]:
    images, labels = _find(folder, f"{part}-images-idx3-ubyte"), _find(folder, f"{part}-labels-idx1-ubyte")
    pixels, numbers = _read(images, _IMAGES, (_SIDE, _SIDE)), _read(labels, _LABELS, ())
    if len(pixels) != len(numbers):
        raise damaged(labels, f"{len(pixels)} labels", f"{len(numbers)}")
    return pixels[:, None], numbers.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(f"the file '{name}' or '{name}.gz' in '{folder}'", "neither", "copy the data set's files there")


def _read(path: Path, magic: int, item: tuple[int, ...]) -> Pixels:
    """Return the items of a file, after its magic number and sizes were checked; no more is read than they allow."""
    open_file = gzip.open if path.suffix == ".gz" else open
    try:
        with open_file(path, "rb") as file:
            header = np.frombuffer(file.read(8 + 4 * len(item)), ">u4")
            count = _checked(path, header, magic, item)
            wanted = count * int(np.prod(item, dtype=np.int64))
            body = file.read(wanted + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise damaged(path, "a whole idx file", type(error).__name__) from error
    if len(body) != wanted:
        raise damaged(path, f"{wanted} bytes after the header", "fewer" if len(body) < wanted else "more")
    return np.frombuffer(bytearray(body), np.uint8).reshape(count, *item)


def _checked(path: Path, header: np.ndarray[tuple[int], np.dtype[np.uint32]], magic: int, item: tuple[int, ...]) -> int:
    numbers = header.tolist()
    if len(numbers) < 2 or numbers[0] != magic:
        raise damaged(path, f"the magic number {magic:#x} of an idx file", f"{numbers[0]:#x}" if numbers else "nothing")
    if tuple(numbers[2:]) != item or not 1 <= numbers[1] <= _MOST:
        wanted = " x ".join(map(str, (f"1 to {_MOST}", *item)))
        raise damaged(path, f"sizes {wanted}", " x ".join(map(str, numbers[1:])))
    return int(numbers[1])
