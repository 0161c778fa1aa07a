"""Pictures in Parquet files as Hugging Face writes them: a column of encoded pictures and one of labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.errors import DataError
from expunge.tasks.classification.readers._cache import cached
from expunge.tasks.classification.readers._pictures import Labels, Pixels, damaged, exact, optional, stacked

_GROUP_BYTES = 2**30
_MOST_ROWS = 10_000_000
_ROWS = 64
"""Rows that are read at a time: a value that many rows share is small in the file and large in memory."""
_FAILURES = (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, OverflowError)
"""What pyarrow raises; most of its own errors are ValueErrors."""


def read_pictures(folder: Path, pattern: str, size: int, *, cache: bool) -> tuple[Pixels, Labels]:
    """Return the pictures ``(n, 3, size, size)`` and labels of all shards that match, in the order of their names.

    Args:
        folder: Where the shards are.
        pattern: Their names, with wildcards.
        size: Height and width that every picture must have.
        cache: Whether decoded pixels are kept between runs.

    Raises:
        DataError: If there is no shard, or one is damaged or of another form.
        MissingExtraError: If pyarrow or Pillow is not installed.
    """
    files = sorted(folder.glob(pattern))
    if not files:
        raise DataError(f"files '{pattern}' in '{folder}'", "none", "copy the data set's files there")
    labels = np.concatenate([_labels(file) for file in files])

    def decode() -> Pixels:
        every = (picture for file in files for picture in _pictures(file, size))
        return stacked(every, len(labels), size)

    shape = (len(labels), 3, size, size)
    return (cached(folder.name, files, shape, decode) if cache else decode()), labels


def _opened(file: Path) -> Any:
    parquet = optional("pyarrow.parquet", "reading Parquet files", "data")
    try:
        found = parquet.ParquetFile(file)
    except _FAILURES as error:
        raise damaged(file, "a Parquet file", type(error).__name__) from error
    names, kind = found.schema_arrow.names, optional("pyarrow.types", "reading Parquet files", "data")
    if not {"image", "label"} <= set(names):
        raise damaged(file, "the columns 'image' and 'label'", ", ".join(names))
    image, label = found.schema_arrow.field("image").type, found.schema_arrow.field("label").type
    if not (kind.is_struct(image) and image.get_field_index("bytes") >= 0 and kind.is_integer(label)):
        raise damaged(file, "a column 'image' with 'bytes' and whole numbers as 'label'", f"{image} and {label}")
    return found


def _groups(file: Path, column: str) -> Iterator[Any]:
    """Yield a column in parts, so that what is in memory at once is bounded."""
    found = _opened(file)
    if found.metadata.num_rows > _MOST_ROWS:
        raise damaged(file, f"at most {_MOST_ROWS} rows", f"{found.metadata.num_rows}")
    if any(found.metadata.row_group(n).total_byte_size > _GROUP_BYTES for n in range(found.num_row_groups)):
        raise damaged(file, f"row groups of at most {_GROUP_BYTES >> 30} GiB", "a larger one")
    try:
        rows = _ROWS if column == "image" else _MOST_ROWS
        for batch in found.iter_batches(rows, columns=[column]):
            yield batch.column(column)
    except _FAILURES as error:
        raise damaged(file, "readable rows", type(error).__name__) from error


def _labels(file: Path) -> Labels:
    chunks: Sequence[Any] = list(_groups(file, "label"))
    if any(chunk.null_count for chunk in chunks):
        raise damaged(file, "a label for every picture", "missing ones")
    return np.concatenate([np.zeros(0, np.int64), *(chunk.to_numpy().astype(np.int64) for chunk in chunks)])


def _pictures(file: Path, size: int) -> Iterator[Pixels]:
    row = 0
    for chunk in _groups(file, "image"):
        for entry in chunk.field("bytes"):
            yield exact(entry.as_py() or b"", size, f"row {row} of '{file.name}'")
            row += 1
