"""Files of the user's ids: text or JSON, read up to a bound; no message repeats an id."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from expunge.data.list_file import read_list, read_list_text
from expunge.errors import DataError, RequestError

_HINT = "write one id per line, or a .json list of texts and numbers"


def read_ids(path: Path) -> list[str]:
    r"""Return the ids in a file, each as text, in its order.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "ids.txt")
        ...     _ = file.write_text("C-17\nC-25\n")
        ...     read_ids(file)
        ['C-17', 'C-25']
    """
    return read_list(path, "a file of ids", _HINT, _read_json if path.suffix.lower() == ".json" else _read_lines)


def _read_json(path: Path) -> list[str]:
    return ids_to_texts(json.loads(read_list_text(path)))


def _read_lines(path: Path) -> list[str]:
    return [line.strip() for line in read_list_text(path).splitlines() if line.strip()]


def column_to_texts(ids: Any, count: int) -> list[str]:
    """Return the ids of a data set as texts in the order of its examples.

    A column of a table is taken by place, whatever its rows are numbered with, and arrays may be ``(n, 1)``.

    Examples:
        >>> column_to_texts([[7], [8]], 2)
        ['7', '8']
    """
    values = ids.tolist() if hasattr(ids, "tolist") else ids
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Collection):
        raise DataError("ids as a list with one for each example", type(ids).__name__, "pass all ids, in order")
    if len(values) != count:
        raise DataError("one id for each example", f"{len(values)} ids for {count} examples", "pass all ids, in order")
    return [str(one[0] if isinstance(one, list) and len(one) == 1 else one) for one in values]


def ids_to_texts(values: Any) -> list[str]:
    """Return ids as texts, by which they are compared: 25 and "25" are one.

    Examples:
        >>> ids_to_texts([25, "C-17"])
        ['25', 'C-17']
    """
    entries = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(entries, (list, tuple, set, frozenset)):
        raise RequestError("a list of ids", type(values).__name__, _HINT)
    for position, entry in enumerate(entries, 1):
        if isinstance(entry, bool) or not isinstance(entry, (str, int)):
            raise RequestError("texts or whole numbers as ids", f"{type(entry).__name__} at place {position}", _HINT)
    return [str(entry) for entry in entries]
