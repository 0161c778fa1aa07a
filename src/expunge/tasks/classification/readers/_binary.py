"""The binary versions of CIFAR: records of a few label bytes and 3 x 32 x 32 colour bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from expunge.errors import DataError
from expunge.tasks.classification.readers._pictures import MOST_BYTES, Labels, Pixels, damaged

_PICTURE = 3 * 32 * 32


def read_records(files: Sequence[Path], label_bytes: int) -> tuple[Pixels, Labels]:
    """Return the pictures and labels of binary files, one after the other.

    Args:
        files: The files.
        label_bytes: Bytes before each picture; the last of them is the label.

    Raises:
        DataError: If a file is missing, empty or does not hold whole records.
    """
    parts = [_records(file, label_bytes + _PICTURE) for file in files]
    records = np.concatenate(parts)
    pixels = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, 3, 32, 32)
    return pixels, records[:, label_bytes - 1].astype(np.int64)


def _records(file: Path, width: int) -> Pixels:
    if not file.is_file():
        raise DataError(f"the file '{file.name}' in '{file.parent}'", "none", "copy the data set's files there")
    size = file.stat().st_size
    if not 0 < size <= MOST_BYTES or size % width:
        raise damaged(file, f"whole records of {width} bytes", f"{size} bytes")
    return np.fromfile(file, np.uint8).reshape(-1, width)
