"""The secret of this installation: evidence holds hashes under it, which nobody else can compute or check."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

from expunge.errors import DataError

_KEY_BYTES = 32


def key_id(key: bytes) -> str:
    """Return the first 8 hex digits of the key's SHA-256: enough to tell keys apart, too little to find one.

    Examples:
        >>> key_id(bytes(32))
        '66687aad'
    """
    return hashlib.sha256(key).hexdigest()[:8]


def key_file() -> Path:
    """Return where the secret lies, or would."""
    return Path(os.environ.get("EXPUNGE_KEY_FILE") or "~/.config/expunge/key").expanduser()


def key_at_hand() -> bytes | None:
    """Return the secret if there is one; none is made.

    Raises:
        DataError: If its file cannot be read, or does not hold 32 bytes.
    """
    return load_key() if key_file().exists() else None


def load_key() -> bytes:
    """Return the secret of this installation, made on first use, readable by its owner alone.

    It lies in the file that the environment variable ``EXPUNGE_KEY_FILE`` names, else in ``~/.config/expunge/key``.

    Raises:
        DataError: If the file cannot be read or made, or does not hold 32 bytes.
    """
    path = key_file()
    try:
        if not path.exists():
            _create(path)
        key = path.read_bytes()
    except OSError as error:
        raise _refused(f"'{path}' ({error.strerror})") from error
    if len(key) != _KEY_BYTES:
        raise _refused(f"{len(key)} bytes in '{path}'")
    return key


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


def _refused(found: str) -> DataError:
    return DataError(
        f"a key file of {_KEY_BYTES} bytes", found, "name another in EXPUNGE_KEY_FILE; a new one is made where none is"
    )
