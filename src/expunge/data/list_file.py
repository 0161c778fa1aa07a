"""Files that list something, one by one: read up to a bound, and refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from expunge.errors import RequestError
from expunge.paths import read_bytes

T = TypeVar("T")

MAX_LIST_BYTES = 2**28


def read_list(path: Path, description: str, hint: str, read: Callable[[Path], list[T]]) -> list[T]:
    """Return what a file lists."""
    try:
        return read(path)
    except OSError as error:
        reason = f"'{path}' ({error.strerror})"
        raise RequestError(f"{description} that can be read", reason, "check its path") from error
    except (ValueError, EOFError, RecursionError) as error:
        reason = f"'{path.name}' ({type(error).__name__})"
        raise RequestError(f"{description} of the kind {path.suffix or 'text'}", reason, hint) from error


def read_list_text(path: Path) -> str:
    """Return the text of a file that lists something, without a byte order mark."""
    content = read_bytes(path, MAX_LIST_BYTES)
    if len(content) > MAX_LIST_BYTES:
        raise RequestError(f"at most {MAX_LIST_BYTES >> 20} MiB in a list", f"more in '{path.name}'", "split the file")
    return content.decode("utf-8-sig")
