"""Index files: lists of examples as text, JSON or NumPy; never a pickle, never more memory than the file is long."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expunge.data.list_file import read_list, read_list_text
from expunge.data.npy import load_mmap
from expunge.errors import RequestError

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_HINT = "write one whole number per line, or a .json list, or an integer .npy array"


def read_indices(path: Path) -> list[int]:
    r"""Return the whole numbers in an index file, in its order.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "ids.txt")
        ...     _ = file.write_text("3  # the first\n\n14\n")
        ...     read_indices(file)
        [3, 14]
    """
    return read_list(path, "an index file", _HINT, _READERS.get(path.suffix.lower(), _read_text))


def _read_text(path: Path) -> list[int]:
    indices = []
    for line_number, line in enumerate(read_list_text(path).splitlines(), 1):
        entry = line.split("#", 1)[0].strip()
        if entry and not _INTEGER.fullmatch(entry):
            excerpt = entry if len(entry) <= 20 else f"{entry[:20]}…"
            raise RequestError(
                "a whole number on every line", f"'{excerpt}' on line {line_number} of '{path.name}'", _HINT
            )
        if entry:
            indices.append(int(entry))
    return indices


def _read_json(path: Path) -> list[int]:
    values = json.loads(read_list_text(path))
    if not isinstance(values, list):
        raise RequestError("a list in the JSON index file", f"{type(values).__name__}", _HINT)
    return to_int_list(values)


def _read_npy(path: Path) -> list[int]:
    values = load_mmap(path)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise RequestError("an integer array of one dimension", f"{values.dtype} of shape {values.shape}", _HINT)
    indices: list[int] = values.tolist()
    return indices


def to_int_list(values: Any) -> list[int]:
    """Return ``values`` as a list of Python integers; numbers with a fraction, booleans and text are refused.

    Examples:
        >>> to_int_list(np.array([2, 5]))
        [2, 5]
    """
    if isinstance(values, str | bytes | Mapping) or not (hasattr(values, "tolist") or isinstance(values, Iterable)):
        raise RequestError("whole numbers as indices", type(values).__name__, _HINT)
    entries = values.tolist() if hasattr(values, "tolist") else list(values)
    if not isinstance(entries, list):
        raise RequestError("whole numbers as indices", "a single number", _HINT)
    for position, entry in enumerate(entries, 1):
        if isinstance(entry, bool) or not isinstance(entry, int | np.integer):
            raise RequestError("whole numbers as indices", f"{type(entry).__name__} at place {position}", _HINT)
    return [int(entry) for entry in entries]


_READERS: Mapping[str, Callable[[Path], list[int]]] = {".json": _read_json, ".npy": _read_npy}
