"""Data sets that Hugging Face ``datasets`` has saved to disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from expunge.data import Source, find_root
from expunge.errors import DataError
from expunge.tasks.classification.readers._pictures import (
    Labels,
    Pixels,
    fitted,
    opened,
    optional,
    source,
    stacked,
    statistics,
)
from expunge.tasks.pretrained import check_pretrained


def huggingface_datasets(
    root: Path | None = None, *, folder: str = ".", size: int = 64, image: str = "image", label: str = "label"
) -> Source:
    """Read pictures saved with ``DatasetDict.save_to_disk``, scaled to one size as ``image_folder`` does.

    Args:
        root: Folder of data sets, by default that of ``EXPUNGE_DATA``.
        folder: Name of the saved folder in it; by default ``root`` itself.
        size: Height and width of an input, in pixels.
        image: Name of the column of pictures.
        label: Name of the column of class labels.

    Raises:
        DataError: If there is no such data set, or it lacks the splits or columns.
        MissingExtraError: If ``datasets`` or Pillow is not installed.
    """
    place = find_root(root, folder)
    splits = _loaded(place)
    test_name = next((name for name in ("test", "validation", "val") if name in splits), "test")
    for name in ("train", test_name):
        if name not in splits or not {image, label} <= set(splits[name].column_names):
            found = ", ".join(f"{split} ({', '.join(data.column_names)})" for split, data in splits.items())
            raise DataError(f"a split '{name}' with columns '{image}' and '{label}'", found, "name the columns it has")
    train, test = (_read(splits[name], image, label, size) for name in ("train", test_name))
    names = getattr(splits["train"].features[label], "names", None) or map(str, range(int(train[1].max()) + 1))
    scale = statistics(train[0])
    return source(train, test, tuple(names), name=place.resolve().name, licence="that of the data set", scale=scale)


def _loaded(place: Path) -> dict[str, Any]:
    datasets = optional("datasets", "reading Hugging Face data sets", "datasets")
    check_pretrained(place)
    try:
        found = datasets.load_from_disk(str(place))
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = "name a folder that save_to_disk wrote"
        raise DataError(f"a saved data set in '{place}'", type(error).__name__, cure) from error
    if not isinstance(found, dict):
        raise DataError("a data set with splits 'train' and 'test'", "one without", "save a DatasetDict with both")
    return found


def _read(split: Any, image: str, label: str, size: int) -> tuple[Pixels, Labels]:
    labels = np.asarray(split[label][:])
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"whole numbers in the column '{label}'", f"{labels.dtype}", "encode it with class_encode_column"
        )
    encoded = _encoded(split, image)
    decoded = (fitted(opened(data, f"row {row}"), size, f"row {row}") for row, data in enumerate(encoded))
    return stacked(decoded, len(split), size), labels.astype(np.int64)


def _encoded(split: Any, image: str) -> Iterator[bytes]:
    """Yield the bytes of each picture; a row that names a file or an address instead is refused and never opened."""
    kind = optional("datasets", "reading Hugging Face data sets", "datasets").Image
    if not isinstance(split.features[image], kind):
        found, cure = type(split.features[image]).__name__, "cast the column to datasets.Image()"
        raise DataError(f"pictures in the column '{image}'", found, cure)
    for number, row in enumerate(split.cast_column(image, kind(decode=False))):
        data = row[image]["bytes"]
        if not isinstance(data, bytes):
            cure = "save it with save_to_disk, which copies them in"
            raise DataError("pictures inside the data set", f"none in row {number}", cure)
        yield data
