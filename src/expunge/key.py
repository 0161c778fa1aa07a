"""The secret of this installation: evidence holds hashes under it, which nobody else can compute or check."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shlex
import stat
import tempfile
from pathlib import Path

from expunge.errors import DataError
from expunge.paths import expand_home

_KEY_BYTES = 32
_FORBIDDEN_MODE_BITS = 0o027
"""Rights that make a secret none: others may read it, or the group may write it."""


def key_id(key: bytes) -> str:
    """Return the first 8 hex digits of the key's SHA-256: enough to tell keys apart, too little to find one.

    Examples:
        >>> key_id(bytes(32))
        '66687aad'
    """
    return hashlib.sha256(key).hexdigest()[:8]


def key_path() -> Path:
    """Return where the secret lies, or would."""
    return expand_home(os.environ.get("EXPUNGE_KEY_FILE") or "~/.config/expunge/key")


def load_key_if_present() -> bytes | None:
    """Return the secret if there is one; none is made."""
    return load_or_create_key() if _exists(key_path()) else None


def load_or_create_key() -> bytes:
    """Return the secret of this installation, made on first use, readable by its owner alone.

    It lies in the file that the environment variable ``EXPUNGE_KEY_FILE`` names, else in ``~/.config/expunge/key``.

    Raises:
        DataError: If the file cannot be read or made, is open to others, or does not hold 32 bytes.
    """
    path = key_path()
    try:
        if not _exists(path):
            _create(path)
        with path.open("rb") as file:
            mode, key = os.fstat(file.fileno()).st_mode, file.read(_KEY_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _key_error(f"'{path}' ({getattr(error, 'strerror', None) or error})") from error
    if len(key) != _KEY_BYTES:
        raise _key_error(f"{'more' if len(key) > _KEY_BYTES else len(key)} bytes in '{path}'")
    if os.name != "nt" and stat.S_IMODE(mode) & _FORBIDDEN_MODE_BITS:
        actual = f"'{path}', which others can read or write (mode {stat.S_IMODE(mode):o})"
        raise DataError("a key file for its owner alone", actual, f"run `chmod 600 {shlex.quote(str(path))}`")
    return key


def _exists(path: Path) -> bool:
    """Return whether something has this name; what cannot even be asked for is told when it is opened."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return True


def _create(path: Path) -> None:
    """Write a new key under a name of its own, then link it: of several first users, one wins and all read its key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".key-")  # mkstemp gives mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _key_error(actual: str) -> DataError:
    return DataError(
        f"a key file of {_KEY_BYTES} bytes", actual, "name another in EXPUNGE_KEY_FILE; a new one is made where none is"
    )
