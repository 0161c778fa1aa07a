"""The user's own pictures in a benchmark: what was made of other files is no answer for these."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from expunge.api.request.sections import DataChoice
from expunge.data.file_hashes import file_hashes
from expunge.data.source import find_root
from expunge.errors import DataError

OF_FOLDERS = frozenset({"image_folder", "huggingface_datasets"})
"""Readers of whatever is in a folder; the others read one data set each, wherever it is."""
_UNKEYED = bytes(32)
"""What is compared is no secret: it is a name beside the recipe."""


def files_hash(data: DataChoice, data_dir: Path | None) -> str | None:
    """Return 32 hex digits over names and contents of the files that a recipe reads; None of a data set with a name.

    Args:
        data: Which data the recipe names.
        data_dir: Folder of the data, where the command names one.
    """
    if data.name not in OF_FOLDERS:
        return None
    try:
        place = find_root(data.dir or data_dir, str(data.options.get("folder", ".")))
        return _hash_of(str(place.absolute()))
    except (DataError, OSError, ValueError):
        return None  # whoever reads them says what is wrong


@cache
def _hash_of(place: str) -> str:
    found_there = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
    files = sorted(path for path in found_there if path.is_file())  # who waits for a pipe waits for ever
    found = hashlib.sha256()
    for path, content in zip(files, file_hashes(files, _UNKEYED), strict=True):
        found.update(os.fsencode(path.relative_to(place)) + b"\0" + content)
    return found.hexdigest()[:32]
