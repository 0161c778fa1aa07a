"""What identifies a computation: versions of packages, hashes of files."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from expunge.errors import CheckpointError


def package_version(package: str) -> str:
    """Return the installed version of a distribution, ``unknown`` where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        actual = (error.strerror or "unreadable").lower()
        raise CheckpointError(f"a weights file at '{path}'", actual, "fetch it and name its path") from error
