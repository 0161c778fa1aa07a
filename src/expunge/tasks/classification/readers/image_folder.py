"""A folder of pictures, with a subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from expunge.data import LabeledDataset, find_dataset_folder
from expunge.data.labeled_dataset import check_unicode_names
from expunge.errors import DataError
from expunge.tasks.classification.readers._images import (
    Labels,
    Pixels,
    build_dataset,
    center_crop_resize,
    check_size,
    compute_normalization,
    open_image,
    stack_images,
)
from expunge.type_checks import check_argument_types

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
_MAX_FILE_BYTES = 2**28
FILE_ID_COLUMN = "file"
"""The one column of ids of a folder: the names of its files."""


@check_argument_types
def image_folder(
    root: Path | None = None, *, folder: str = ".", size: int = 64, id_column: str | None = None
) -> LabeledDataset:
    """Read pictures in ``train/<class>/`` and ``test/<class>/`` (or ``val``) into memory, scaled to one size.

    Each picture is turned upright, cut to its center square, scaled and normalized with the mean and standard deviation
    of the training pictures. Classes are the subfolders in the order of their names, and examples the files in theirs.

    Args:
        root: Folder of data sets, by default that of ``EXPUNGE_DATA``.
        folder: Name of the folder in it; by default ``root`` itself.
        size: Height and width of an input, in pixels.
        id_column: ``file``, to know training pictures by folder and name, such as ``dog/17.png``. Default: no ids.

    Raises:
        DataError: If a folder or class is missing or has no UTF-8 name, a picture cannot be read, or all of them do not
            fit into memory.
        MissingExtraError: If Pillow is not installed.
    """
    check_size(size)
    if id_column not in (None, FILE_ID_COLUMN):
        raise DataError(
            f"'{FILE_ID_COLUMN}' as id_column of image_folder", f"'{id_column}'", f"write `id_column: {FILE_ID_COLUMN}`"
        )
    dataset_folder = find_dataset_folder(root, folder)
    check_unicode_names(dataset_folder.resolve().name)
    test_folder = dataset_folder / "test" if (dataset_folder / "test").is_dir() else dataset_folder / "val"
    names = _find_classes(dataset_folder / "train")
    if unknown := sorted(set(_find_classes(test_folder)) - set(names)):
        raise DataError(
            f"the classes of 'train' in '{test_folder.name}'", f"'{unknown[0]}' besides", "remove the folder"
        )
    for part in ("train", test_folder.name):
        _check_links(dataset_folder, part)
    train, test = _read_images(dataset_folder / "train", names, size), _read_images(test_folder, names, size)
    license_terms = "that of the pictures"
    dataset = build_dataset(
        train,
        test,
        names,
        name=dataset_folder.resolve().name,
        license_terms=license_terms,
        scale=compute_normalization(train[0]),
    )
    if id_column is not None:
        ids = [f"{name}/{path.name}" for name in names for path in _list_images(dataset_folder / "train" / name)]
        dataset.train.ids = ids  # type: ignore[attr-defined]
    return dataset


def _find_classes(folder: Path) -> tuple[str, ...]:
    names = tuple(
        sorted(path.name for path in _list_entries(folder) if path.is_dir() and not path.name.startswith("."))
    )
    if not names:
        hint = "put each class's pictures into a subfolder, under 'train' and under 'test' or 'val'"
        raise DataError(f"a folder '{folder.name}' with a subfolder for each class in '{folder.parent}'", "none", hint)
    check_unicode_names(*names)
    return names


def _read_images(folder: Path, names: Sequence[str], size: int) -> tuple[Pixels, Labels]:
    files = [(path, label) for label, name in enumerate(names) for path in _list_images(folder / name)]
    decoded = (center_crop_resize(open_image(_read_content(path), f"'{path}'"), size, f"'{path}'") for path, _ in files)
    return stack_images(decoded, len(files), size), np.array([label for _, label in files], np.int64)


def _list_images(folder: Path) -> list[Path]:
    visible = (path for path in _list_entries(folder) if not path.name.startswith("."))
    return sorted(path for path in visible if path.suffix.lower() in _SUFFIXES)


def _list_entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError("a folder that can be read", f"'{folder}' ({error.strerror})", "change its rights") from error


def _check_links(place: Path, part: str) -> None:
    """Refuse links that lead out of the folder: what they show would be taken for part of the data set."""
    root = os.path.realpath(place)  # unlike resolve() no error where a link leads to itself
    classes = [path for path in _list_entries(place / part) if path.is_dir()]
    for path in (place / part, *classes, *(picture for folder in classes for picture in _list_images(folder))):
        if not Path(os.path.realpath(path)).is_relative_to(root):
            hint = "copy the files into the folder"
            raise DataError(f"links that stay inside '{place}'", f"'{path.name}', which leads out of it", hint)


def _read_content(path: Path) -> bytes:
    hint = "replace it, or leave it out"
    if path.exists() and not path.is_file():
        raise DataError("pictures in files", f"'{path}', which is no file", hint)
    try:
        if (length := path.stat().st_size) > _MAX_FILE_BYTES:
            raise DataError(
                f"picture files of at most {_MAX_FILE_BYTES >> 20} MiB", f"{length >> 20} MiB in '{path}'", hint
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError("a picture file that can be read", f"'{path}' ({error.strerror})", hint) from error
