"""The head file: the last hash of a ledger, in a file of its own beside it.

It is written after each entry. A ledger that does not have the hash which the file names is an earlier copy, cut off or
rewritten. Who replaces both files is not found out by it: that takes a head that was noted elsewhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from expunge.errors import DataError
from expunge.files import read_regular_file, sync_to_disk, temporary_file

HEAD_SUFFIX = ".head"
_HASH = re.compile(rb"[0-9a-f]{64}\n?")


def head_path(ledger: Path) -> Path:
    """Return where the head file of a ledger lies.

    Examples:
        >>> head_path(Path("ledger.sqlite")).name
        'ledger.sqlite.head'
    """
    return ledger.with_name(ledger.name + HEAD_SUFFIX)


def read_head_file(ledger: Path) -> str | None:
    """Return the hash that the head file names; None where there is no such file."""
    path = head_path(ledger)
    try:
        content = read_regular_file(path, 65)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable_error(path, getattr(error, "strerror", None) or "unreadable") from error
    if not _HASH.fullmatch(content):
        raise _unreadable_error(path, "something else than a hash")
    return content.decode().strip()


def write_head(ledger: Path, head: str) -> None:
    """Note the last hash of a ledger, whole or not at all."""
    path = head_path(ledger)
    try:
        with temporary_file(path) as temporary:
            temporary.write_text(f"{head}\n", encoding="ascii")
            sync_to_disk(temporary)
            os.replace(temporary, path)
            sync_to_disk(path.parent)
    except OSError as error:
        actual = f"'{path}' ({error.strerror or type(error).__name__})"
        raise DataError("a head file that can be written", actual, "free the disk or mend its rights") from error


def _unreadable_error(path: Path, reason: str) -> DataError:
    hint = "restore it from a copy, or remove it if you are sure of the ledger"
    return DataError("the head file of the ledger", f"'{path}' ({reason})", hint)
