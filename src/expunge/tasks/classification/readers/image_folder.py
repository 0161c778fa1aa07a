"""A folder of pictures, with a subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from expunge.data import Source, find_root
from expunge.data.source import check_names
from expunge.errors import DataError
from expunge.kinds import kinds_checked
from expunge.tasks.classification.readers._pictures import (
    Labels,
    Pixels,
    check_size,
    fitted,
    opened,
    source,
    stacked,
    statistics,
)

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
_MOST_BYTES = 2**28
FILE = "file"
"""The one column of ids of a folder: the names of its files."""


@kinds_checked
def image_folder(
    root: Path | None = None, *, folder: str = ".", size: int = 64, id_column: str | None = None
) -> Source:
    """Read pictures in ``train/<class>/`` and ``test/<class>/`` (or ``val``) into memory, scaled to one size.

    Each picture is turned upright, cut to its centre square, scaled and normalised with the mean and standard deviation
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
    if id_column not in (None, FILE):
        raise DataError(f"'{FILE}' as id_column of image_folder", f"'{id_column}'", f"write `id_column: {FILE}`")
    place = find_root(root, folder)
    check_names(place.resolve().name)
    test_place = place / "test" if (place / "test").is_dir() else place / "val"
    names = _subfolders(place / "train")
    if unknown := sorted(set(_subfolders(test_place)) - set(names)):
        raise DataError(
            f"the classes of 'train' in '{test_place.name}'", f"'{unknown[0]}' besides", "remove the folder"
        )
    for part in ("train", test_place.name):
        _check_inside(place, part)
    train, test = _read(place / "train", names, size), _read(test_place, names, size)
    licence = "that of the pictures"
    made = source(train, test, names, name=place.resolve().name, licence=licence, scale=statistics(train[0]))
    if id_column is not None:
        ids = [f"{name}/{path.name}" for name in names for path in _pictures(place / "train" / name)]
        made.train.ids = ids  # type: ignore[attr-defined]
    return made


def _subfolders(place: Path) -> tuple[str, ...]:
    names = tuple(sorted(path.name for path in _entries(place) if path.is_dir() and not path.name.startswith(".")))
    if not names:
        cure = "put each class's pictures into a subfolder, under 'train' and under 'test' or 'val'"
        raise DataError(f"a folder '{place.name}' with a subfolder for each class in '{place.parent}'", "none", cure)
    check_names(*names)
    return names


def _read(place: Path, names: Sequence[str], size: int) -> tuple[Pixels, Labels]:
    files = [(path, label) for label, name in enumerate(names) for path in _pictures(place / name)]
    decoded = (fitted(opened(_content(path), f"'{path}'"), size, f"'{path}'") for path, _ in files)
    return stacked(decoded, len(files), size), np.array([label for _, label in files], np.int64)


def _pictures(folder: Path) -> list[Path]:
    plain = (path for path in _entries(folder) if not path.name.startswith("."))
    return sorted(path for path in plain if path.suffix.lower() in _SUFFIXES)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise DataError("a folder that can be read", f"'{folder}' ({error.strerror})", "change its rights") from error


def _check_inside(place: Path, part: str) -> None:
    """Refuse links that lead out of the folder: what they show would be taken for part of the data set."""
    home = os.path.realpath(place)  # unlike resolve() no error where a link leads to itself
    classes = [path for path in _entries(place / part) if path.is_dir()]
    for path in (place / part, *classes, *(picture for folder in classes for picture in _pictures(folder))):
        if not Path(os.path.realpath(path)).is_relative_to(home):
            cure = "copy the files into the folder"
            raise DataError(f"links that stay inside '{place}'", f"'{path.name}', which leads out of it", cure)


def _content(path: Path) -> bytes:
    cure = "replace it, or leave it out"
    if path.exists() and not path.is_file():
        raise DataError("pictures in files", f"'{path}', which is no file", cure)
    try:
        if (length := path.stat().st_size) > _MOST_BYTES:
            raise DataError(
                f"picture files of at most {_MOST_BYTES >> 20} MiB", f"{length >> 20} MiB in '{path}'", cure
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError("a picture file that can be read", f"'{path}' ({error.strerror})", cure) from error
