"""Index files: lists of examples as text, JSON or NumPy; never a pickle, never more memory than the file is long."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expunge.data.list_file import read_list, read_list_text
from expunge.data.mapped import mapped
from expunge.errors import RequestError

_WHOLE = re.compile(r"-?[0-9]{1,18}")
_CURE = "write one whole number per line, or a .json list, or an integer .npy array"


def read_indices(path: Path) -> list[int]:
    r"""Return the whole numbers in an index file, in its order.

    Args:
        path: ``.json`` (a list), ``.npy`` (an integer array of one dimension), or text with one number per line, where
            ``#`` starts a comment.

    Raises:
        RequestError: If the file is missing, or holds something else than whole numbers (with the line of it).

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "ids.txt")
        ...     _ = file.write_text("3  # the first\n\n14\n")
        ...     read_indices(file)
        [3, 14]
    """
    return read_list(path, "an index file", _CURE, _READERS.get(path.suffix.lower(), _from_text))


def _from_text(path: Path) -> list[int]:
    found = []
    for number, line in enumerate(read_list_text(path).splitlines(), 1):
        entry = line.split("#", 1)[0].strip()
        if entry and not _WHOLE.fullmatch(entry):
            shown = entry if len(entry) <= 20 else f"{entry[:20]}…"
            raise RequestError("a whole number on every line", f"'{shown}' on line {number} of '{path.name}'", _CURE)
        if entry:
            found.append(int(entry))
    return found


def _from_json(path: Path) -> list[int]:
    values = json.loads(read_list_text(path))
    if not isinstance(values, list):
        raise RequestError("a list in the JSON index file", f"{type(values).__name__}", _CURE)
    return whole_numbers(values)


def _from_numpy(path: Path) -> list[int]:
    values = mapped(path)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise RequestError("an integer array of one dimension", f"{values.dtype} of shape {values.shape}", _CURE)
    found: list[int] = values.tolist()
    return found


def whole_numbers(values: Any) -> list[int]:
    """Return ``values`` as a list of Python integers; numbers with a fraction, booleans and text are refused.

    Raises:
        RequestError: At the first entry that is not a whole number, with its place.

    Examples:
        >>> whole_numbers(np.array([2, 5]))
        [2, 5]
    """
    if isinstance(values, str | bytes | Mapping) or not (hasattr(values, "tolist") or isinstance(values, Iterable)):
        raise RequestError("whole numbers as indices", type(values).__name__, _CURE)
    entries = values.tolist() if hasattr(values, "tolist") else list(values)
    if not isinstance(entries, list):
        raise RequestError("whole numbers as indices", "a single number", _CURE)
    for place, entry in enumerate(entries, 1):
        if isinstance(entry, bool) or not isinstance(entry, int | np.integer):
            raise RequestError("whole numbers as indices", f"{type(entry).__name__} at place {place}", _CURE)
    return [int(entry) for entry in entries]


_READERS: Mapping[str, Callable[[Path], list[int]]] = {".json": _from_json, ".npy": _from_numpy}
