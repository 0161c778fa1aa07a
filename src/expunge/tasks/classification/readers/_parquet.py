"""Pictures in Parquet files as Hugging Face writes them: a column of encoded pictures and one of labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.errors import DataError
from expunge.optional import import_optional
from expunge.tasks.classification.readers._cache import load_or_decode
from expunge.tasks.classification.readers._images import (
    Labels,
    Pixels,
    corrupt_file_error,
    decode_exact,
    stack_images,
)

_MAX_GROUP_BYTES = 2**30
_MAX_ROWS = 10_000_000
_ROWS_PER_READ = 64
"""Rows that are read at a time: a value that many rows share is small in the file and large in memory."""
_READ_ERRORS = (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, OverflowError)
"""What pyarrow raises; most of its own errors are ValueErrors."""


def read_images(folder: Path, pattern: str, size: int, *, cache: bool) -> tuple[Pixels, Labels]:
    """Return the pictures ``(n, 3, size, size)`` and labels of all shards that match, in the order of their names."""
    files = sorted(folder.glob(pattern))
    if not files:
        raise DataError(f"files '{pattern}' in '{folder}'", "none", "copy the data set's files there")
    labels = np.concatenate([_read_labels(file) for file in files])

    def decode() -> Pixels:
        every = (picture for file in files for picture in _iter_images(file, size))
        return stack_images(every, len(labels), size)

    shape = (len(labels), 3, size, size)
    return (load_or_decode(folder.name, files, shape, decode) if cache else decode()), labels


def _open_file(file: Path) -> Any:
    parquet = import_optional("pyarrow.parquet", "reading Parquet files", "data")
    try:
        parquet_file = parquet.ParquetFile(file)
    except _READ_ERRORS as error:
        raise corrupt_file_error(file, "a Parquet file", type(error).__name__) from error
    names, arrow_types = (
        parquet_file.schema_arrow.names,
        import_optional("pyarrow.types", "reading Parquet files", "data"),
    )
    if not {"image", "label"} <= set(names):
        raise corrupt_file_error(file, "the columns 'image' and 'label'", ", ".join(names))
    image, label = parquet_file.schema_arrow.field("image").type, parquet_file.schema_arrow.field("label").type
    if not (arrow_types.is_struct(image) and image.get_field_index("bytes") >= 0 and arrow_types.is_integer(label)):
        raise corrupt_file_error(
            file, "a column 'image' with 'bytes' and whole numbers as 'label'", f"{image} and {label}"
        )
    return parquet_file


def _iter_column(file: Path, column: str) -> Iterator[Any]:
    """Yield a column in parts, so that what is in memory at once is bounded."""
    parquet_file = _open_file(file)
    if parquet_file.metadata.num_rows > _MAX_ROWS:
        raise corrupt_file_error(file, f"at most {_MAX_ROWS} rows", f"{parquet_file.metadata.num_rows}")
    if any(
        parquet_file.metadata.row_group(n).total_byte_size > _MAX_GROUP_BYTES
        for n in range(parquet_file.num_row_groups)
    ):
        raise corrupt_file_error(file, f"row groups of at most {_MAX_GROUP_BYTES >> 30} GiB", "a larger one")
    try:
        rows = _ROWS_PER_READ if column == "image" else _MAX_ROWS
        for batch in parquet_file.iter_batches(rows, columns=[column]):
            yield batch.column(column)
    except _READ_ERRORS as error:
        raise corrupt_file_error(file, "readable rows", type(error).__name__) from error


def _read_labels(file: Path) -> Labels:
    chunks: Sequence[Any] = list(_iter_column(file, "label"))
    if any(chunk.null_count for chunk in chunks):
        raise corrupt_file_error(file, "a label for every picture", "missing ones")
    return np.concatenate([np.zeros(0, np.int64), *(chunk.to_numpy().astype(np.int64) for chunk in chunks)])


def _iter_images(file: Path, size: int) -> Iterator[Pixels]:
    row = 0
    for chunk in _iter_column(file, "image"):
        for entry in chunk.field("bytes"):
            yield decode_exact(entry.as_py() or b"", size, f"row {row} of '{file.name}'")
            row += 1
