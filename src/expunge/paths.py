"""Paths as they come from outside: refused in one sentence where no system call could use them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

from expunge.errors import ConfigError

_MISSING_ERRORS = {errno.ENOENT, errno.ENOTDIR}
"""What is not there yet may be made, or is missed by who needs it."""


def validate_path(path: Any, name: str = "a path") -> Path:
    r"""Return a path that the system can look up, whether or not something is there.

    Examples:
        >>> validate_path("no\0name", "'out'")
        Traceback (most recent call last):
        expunge.errors.ConfigError: Expected a path for 'out', but found 'no\x00name' (with a NUL): name another.
    """
    expected = name if name == "a path" else f"a path for {name}"
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise ConfigError(expected, describe_value(path), "pass a text or a pathlib.Path")
    text = os.fspath(path)
    if not text.strip():
        raise ConfigError(expected, "an empty text", "name a file or folder")
    if "\0" in text:
        raise _path_error(expected, text, "with a NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _path_error(expected, text, "no name in UTF-8") from None
    try:
        os.stat(text)
    except OSError as error:
        if error.errno not in _MISSING_ERRORS:
            raise _path_error(expected, text, error_reason(error)) from None
    return Path(text)


def expand_home(path: Path | str) -> Path:
    """Return a path whose ``~`` is written out."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        actual = f"{describe_value(str(path))}, of a user without a home here"
        raise ConfigError("a path", actual, "write the path out") from None


def check_replaceable(path: Path, *endings: str) -> None:
    """Refuse to write where something is that was not written for the same purpose: weights, a device, a folder.

    Examples:
        >>> check_replaceable(Path("pyproject.toml"), ".md", ".markdown")
        Traceback (most recent call last):
        expunge.errors.ConfigError: Expected a file that ends in .md or .markdown where one is replaced, but found \
'pyproject.toml': name another file.
    """
    if not path.exists() or (path.is_file() and path.suffix.lower() in endings):
        return
    if path.is_file():
        expected = f"a file that ends in {' or '.join(endings)} where one is replaced"
        raise ConfigError(expected, describe_value(str(path)), "name another file")
    what = "a folder" if path.is_dir() else "no plain file"
    raise ConfigError(
        "the name of a file to write", f"{describe_value(str(path))}, which is {what}", "name another file"
    )


def read_bytes(path: Path, limit: int) -> bytes:
    """Return what a plain file holds; a pipe is not waited for, and an endless device not read to its end.

    Examples:
        >>> read_bytes(Path("/dev/zero"), 10)
        Traceback (most recent call last):
        OSError: [Errno 22] Not a plain file: '/dev/zero'
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a plain file", str(path))
        return file.read(limit + 1)


def describe_value(value: Any) -> str:
    """Return a value as it reads in a sentence: short ones as they are, others by their kind.

    Examples:
        >>> describe_value("abc"), describe_value(0.5), describe_value([1, 2]), describe_value(None)
        ("'abc'", '0.5', 'a list', 'None')
    """
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:60]}…'"
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a whole number beyond 64 bits"
    if isinstance(value, os.PathLike):
        return f"the path {describe_value(os.fspath(value))}"
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"the class {kind}" if isinstance(value, type) else f"a{'n' if kind[:1] in 'aeiou' else ''} {kind}"


def error_reason(error: OSError) -> str:
    """Return why the system refused something, in its words.

    Examples:
        >>> error_reason(OSError(28, "No space left on device"))
        'no space left on device'
    """
    return (error.strerror or type(error).__name__).lower()


def _path_error(expected: str, text: str, reason: str) -> ConfigError:
    return ConfigError(expected, f"{describe_value(text)} ({reason})", "name another")
