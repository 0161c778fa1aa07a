"""The idx files of MNIST and its relatives, plain or compressed."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from expunge.data import LabeledDataset, Normalize
from expunge.errors import DataError
from expunge.tasks.classification.readers._images import Labels, Pixels, build_dataset, corrupt_file_error

_IMAGE_SIZE = 28
_MAX_ITEMS = 1_000_000
_IMAGES_MAGIC, _LABELS_MAGIC = 0x803, 0x801


def read_idx_dataset(
    folder: Path, class_names: tuple[str, ...], name: str, license_terms: str, scale: Normalize
) -> LabeledDataset:
    """Return the source in a folder (or its subfolder ``raw``) with the four files of MNIST's form."""
    raw_folder = folder / "raw" if (folder / "raw").is_dir() else folder
    train, test = _read_part(raw_folder, "train"), _read_part(raw_folder, "t10k")
    return build_dataset(train, test, class_names, name=name, license_terms=license_terms, scale=scale)


def _read_part(folder: Path, part: str) -> tuple[Pixels, Labels]:
    images, labels = _find_file(folder, f"{part}-images-idx3-ubyte"), _find_file(folder, f"{part}-labels-idx1-ubyte")
    pixels, numbers = (
        _read_items(images, _IMAGES_MAGIC, (_IMAGE_SIZE, _IMAGE_SIZE)),
        _read_items(labels, _LABELS_MAGIC, ()),
    )
    if len(pixels) != len(numbers):
        raise corrupt_file_error(labels, f"{len(pixels)} labels", f"{len(numbers)}")
    return pixels[:, None], numbers.astype(np.int64)


def _find_file(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(f"the file '{name}' or '{name}.gz' in '{folder}'", "neither", "copy the data set's files there")


def _read_items(path: Path, magic: int, item_shape: tuple[int, ...]) -> Pixels:
    """Return the items of a file, after its magic number and sizes were checked; no more is read than they allow."""
    open_file = gzip.open if path.suffix == ".gz" else open
    try:
        with open_file(path, "rb") as file:
            header = np.frombuffer(file.read(8 + 4 * len(item_shape)), ">u4")
            count = _validate_header(path, header, magic, item_shape)
            body_bytes = count * int(np.prod(item_shape, dtype=np.int64))
            body = file.read(body_bytes + 1)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise corrupt_file_error(path, "a whole idx file", type(error).__name__) from error
    if len(body) != body_bytes:
        raise corrupt_file_error(
            path, f"{body_bytes} bytes after the header", "fewer" if len(body) < body_bytes else "more"
        )
    return np.frombuffer(bytearray(body), np.uint8).reshape(count, *item_shape)


def _validate_header(
    path: Path, header: np.ndarray[tuple[int], np.dtype[np.uint32]], magic: int, item_shape: tuple[int, ...]
) -> int:
    numbers = header.tolist()
    if len(numbers) < 2 or numbers[0] != magic:
        raise corrupt_file_error(
            path, f"the magic number {magic:#x} of an idx file", f"{numbers[0]:#x}" if numbers else "nothing"
        )
    if tuple(numbers[2:]) != item_shape or not 1 <= numbers[1] <= _MAX_ITEMS:
        expected_sizes = " x ".join(map(str, (f"1 to {_MAX_ITEMS}", *item_shape)))
        raise corrupt_file_error(path, f"sizes {expected_sizes}", " x ".join(map(str, numbers[1:])))
    return int(numbers[1])
