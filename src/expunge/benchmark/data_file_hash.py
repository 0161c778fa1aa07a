"""The user's own pictures in a benchmark: what was made of other files is no answer for these."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from expunge.data.file_hashes import hash_file_contents
from expunge.data.labeled_dataset import find_dataset_folder
from expunge.errors import DataError
from expunge.request.sections import DataChoice

FOLDER_READERS = frozenset({"image_folder", "huggingface_datasets"})
"""Readers of whatever is in a folder; the others read one data set each, wherever it is."""
_UNKEYED = bytes(32)
"""What is compared is no secret: it is a name beside the recipe."""


def hash_data_files(data: DataChoice, data_dir: Path | None) -> str | None:
    """Return 32 hex digits over names and contents of the files that a recipe reads; None of a data set with a name."""
    if data.name not in FOLDER_READERS:
        return None
    try:
        root = find_dataset_folder(data.dir or data_dir, str(data.options.get("folder", ".")))
        return _hash_folder(str(root.absolute()))
    except (DataError, OSError, ValueError):
        return None  # whoever reads them says what is wrong


@cache
def _hash_folder(root: str) -> str:
    found_there = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    files = sorted(path for path in found_there if path.is_file())  # who waits for a pipe waits for ever
    digest = hashlib.sha256()
    for path, content in zip(files, hash_file_contents(files, _UNKEYED), strict=True):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0" + content)
    return digest.hexdigest()[:32]
