"""Data sets that Hugging Face ``datasets`` has saved to disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from expunge.data import LabeledDataset, find_dataset_folder
from expunge.data.id_file import ids_to_texts
from expunge.data.labeled_dataset import check_unicode_names
from expunge.data.labels import as_labels
from expunge.errors import DataError
from expunge.optional import import_optional
from expunge.tasks.classification.readers._images import (
    Labels,
    Pixels,
    build_dataset,
    center_crop_resize,
    check_label_range,
    check_size,
    compute_normalization,
    open_image,
    stack_images,
)
from expunge.tasks.pretrained import check_pretrained, read_json
from expunge.type_checks import check_argument_types


@check_argument_types
def huggingface_datasets(
    root: Path | None = None,
    *,
    folder: str = ".",
    size: int = 64,
    image: str = "image",
    label: str = "label",
    id_column: str | None = None,
) -> LabeledDataset:
    """Read pictures saved with ``DatasetDict.save_to_disk``, scaled to one size as ``image_folder`` does.

    Args:
        root: Folder of data sets, by default that of ``EXPUNGE_DATA``.
        folder: Name of the saved folder in it; by default ``root`` itself.
        size: Height and width of an input, in pixels.
        image: Name of the column of pictures.
        label: Name of the column of class labels.
        id_column: Name of the column of ids, by which training examples can be forgotten. Default none.

    Raises:
        DataError: If there is no such data set, it lacks the splits or columns, or a row lacks a picture or a label.
        MissingExtraError: If ``datasets`` or Pillow is not installed.
    """
    check_size(size)
    path = find_dataset_folder(root, folder)
    check_unicode_names(path.resolve().name)
    splits = _load_splits(path)
    test_name = next((name for name in ("test", "validation", "val") if name in splits), "test")
    for name in ("train", test_name):
        if name not in splits or not {image, label} <= set(splits[name].column_names):
            actual = ", ".join(f"{split} ({', '.join(data.column_names)})" for split, data in splits.items())
            raise DataError(f"a split '{name}' with columns '{image}' and '{label}'", actual, "name the columns it has")
    parts = ("train", test_name)
    labels = [_read_labels(splits[name], label, f"the split '{name}'") for name in parts]
    names = tuple(getattr(splits["train"].features[label], "names", None) or map(str, range(int(labels[0].max()) + 1)))
    for part, numbers in zip(parts, labels, strict=True):
        check_label_range(numbers, names, f"the split '{part}'")
    train, test = (_read_pixels(splits[name], image, size, f"of the split '{name}'") for name in parts)
    name, license_terms = path.resolve().name, "that of the data set"
    dataset = build_dataset(
        (train, labels[0]),
        (test, labels[1]),
        names,
        name=name,
        license_terms=license_terms,
        scale=compute_normalization(train),
    )
    if id_column is not None:
        dataset.train.ids = read_id_column(splits["train"], id_column)  # type: ignore[attr-defined]
    return dataset


def read_id_column(split: Any, column: str) -> list[str]:
    """Return the ids in a column as texts."""
    if column not in split.column_names:
        raise DataError(f"a column '{column}' of ids", ", ".join(split.column_names), "name a column that it has")
    return ids_to_texts(list(split[column][:]))


def _load_splits(path: Path) -> dict[str, Any]:
    datasets = import_optional("datasets", "reading Hugging Face data sets", "datasets")
    check_pretrained(path)
    _check_not_empty(path)
    try:
        splits = datasets.load_from_disk(str(path))
    except Exception as error:  # somebody's files make the library fail in many ways
        hint = "name a folder that save_to_disk wrote"
        raise DataError(f"a saved data set in '{path}'", type(error).__name__, hint) from error
    if not isinstance(splits, dict):
        raise DataError("a data set with splits 'train' and 'test'", "one without", "save a DatasetDict with both")
    return splits


def _check_not_empty(path: Path) -> None:
    """Refuse splits without rows, which the library cannot load."""
    for state in sorted(path.glob("*/state.json")):
        if not read_json(state)["_data_files"]:
            hint = "save the data set without it, or with rows in it"
            raise DataError("at least one picture in every split", f"none in '{state.parent.name}'", hint)


def _read_labels(split: Any, label: str, where: str) -> Labels:
    if not len(split):
        raise DataError(f"at least one picture in {where}", "none", "save the data set with one")
    values = list(split[label][:])
    if None in values:
        hint = "label it, or filter it out"
        raise DataError(f"a label for every picture in {where}", f"none in row {values.index(None)}", hint)
    labels = np.asarray(values)
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"whole numbers in the column '{label}'", f"{labels.dtype}", "encode it with class_encode_column"
        )
    if int(labels.min()) < 0:
        hint = "name a labeled split, or filter them out"
        raise DataError(f"a label for every picture in {where}", f"the label {int(labels.min())}", hint)
    numbers: Labels = as_labels(labels, len(split)).numpy()
    return numbers


def _read_pixels(split: Any, image: str, size: int, where: str) -> Pixels:
    names = (f"row {row} {where}" for row in range(len(split)))
    decoded = (
        center_crop_resize(open_image(data, row), size, row)
        for row, data in zip(names, _iter_encoded(split, image), strict=True)
    )
    return stack_images(decoded, len(split), size)


def _iter_encoded(split: Any, image: str) -> Iterator[bytes]:
    """Yield the bytes of each picture; a row that names a file or an address instead is refused and never opened."""
    kind = import_optional("datasets", "reading Hugging Face data sets", "datasets").Image
    if not isinstance(split.features[image], kind):
        actual, hint = type(split.features[image]).__name__, "cast the column to datasets.Image()"
        raise DataError(f"pictures in the column '{image}'", actual, hint)
    for number, row in enumerate(split.cast_column(image, kind(decode=False))):
        entry = row[image]
        if entry is None:
            hint = "filter such rows out"
            raise DataError(f"a picture in every row of the column '{image}'", f"none in row {number}", hint)
        if not isinstance(entry["bytes"], bytes):
            hint = "save it with save_to_disk, which copies them in"
            raise DataError("pictures inside the data set", f"none in row {number}", hint)
        yield entry["bytes"]
