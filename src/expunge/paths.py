"""Paths as they come from outside: refused in one sentence where no system call could use them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError

_ABSENT = {errno.ENOENT, errno.ENOTDIR}
"""What is not there yet may be made, or is missed by who needs it."""


def checked_path(path: Any, name: str = "a path") -> Path:
    r"""Return a path that the system can look up, whether or not something is there.

    Args:
        path: A text, or what stands for one.
        name: What the path is for, as it is to be called.

    Raises:
        ConfigError: If it is empty or no text, holds what no name can hold, or cannot be looked up: a name that is too
            long, links that lead in a circle, a folder without the right to enter it.

    Examples:
        >>> checked_path("no\0name", "'out'")
        Traceback (most recent call last):
        expunge.errors.ConfigError: Expected a path for 'out', but found 'no\x00name' (with a NUL): name another.
    """
    wanted = name if name == "a path" else f"a path for {name}"
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise ConfigError(wanted, described(path), "pass a text or a pathlib.Path")
    text = os.fspath(path)
    if not text.strip():
        raise ConfigError(wanted, "an empty text", "name a file or folder")
    if "\0" in text:
        raise _refused(wanted, text, "with a NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(wanted, text, "no name in UTF-8") from None
    try:
        os.stat(text)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise _refused(wanted, text, reason_of(error)) from None
    return Path(text)


def described(value: Any) -> str:
    """Return a value as it reads in a sentence: short ones as they are, others by their kind.

    Examples:
        >>> described("abc"), described(0.5), described([1, 2]), described(None)
        ("'abc'", '0.5', 'a list', 'None')
    """
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:60]}…'"
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a whole number beyond 64 bits"
    if isinstance(value, os.PathLike):
        return f"the path {described(os.fspath(value))}"
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"the class {kind}" if isinstance(value, type) else f"a{'n' if kind[:1] in 'aeiou' else ''} {kind}"


def reason_of(error: OSError) -> str:
    """Return why the system refused something, in its words.

    Examples:
        >>> reason_of(OSError(28, "No space left on device"))
        'no space left on device'
    """
    return (error.strerror or type(error).__name__).lower()


def _refused(wanted: str, text: str, reason: str) -> ConfigError:
    return ConfigError(wanted, f"{described(text)} ({reason})", "name another")
