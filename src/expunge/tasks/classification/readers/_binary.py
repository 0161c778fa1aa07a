"""The binary versions of CIFAR: records of a few label bytes and 3 x 32 x 32 color bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from expunge.errors import DataError
from expunge.tasks.classification.readers._images import MAX_BYTES, Labels, Pixels, corrupt_file_error

_IMAGE_BYTES = 3 * 32 * 32


def read_records(files: Sequence[Path], label_bytes: int) -> tuple[Pixels, Labels]:
    """Return the pictures and labels of binary files, one after the other."""
    parts = [_read_record_file(file, label_bytes + _IMAGE_BYTES) for file in files]
    records = np.concatenate(parts)
    pixels = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, 3, 32, 32)
    return pixels, records[:, label_bytes - 1].astype(np.int64)


def _read_record_file(file: Path, record_bytes: int) -> Pixels:
    if not file.is_file():
        raise DataError(f"the file '{file.name}' in '{file.parent}'", "none", "copy the data set's files there")
    size = file.stat().st_size
    if not 0 < size <= MAX_BYTES or size % record_bytes:
        raise corrupt_file_error(file, f"whole records of {record_bytes} bytes", f"{size} bytes")
    return np.fromfile(file, np.uint8).reshape(-1, record_bytes)
