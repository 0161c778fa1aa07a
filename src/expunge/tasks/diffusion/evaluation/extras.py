"""Optional packages: imported when asked for, absence and failures said in one sentence, versions noted."""

from __future__ import annotations

import hashlib
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from expunge.errors import CheckpointError, MissingExtraError, ModelError


def import_optional(module: str, purpose: str, extra: str) -> Any:
    """Return an optional module.

    Args:
        module: Its dotted name.
        purpose: What it is needed for.
        extra: The extra of this distribution that brings it.

    Raises:
        MissingExtraError: If its package is not installed.
        ModelError: If it is and fails on import, as packages do beside a torchvision that does not fit torch.

    Examples:
        >>> import_optional("no_such_package.part", "an example", "metrics")
        Traceback (most recent call last):
        expunge.errors.MissingExtraError: Expected the package 'no_such_package' for an example, but found that it is \
not installed: run pip install 'expunge[metrics]'.
    """
    package = module.split(".")[0]
    try:
        import_module(package)
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name == package:
            raise MissingExtraError(purpose, package, extra) from error
        raise import_failure(package, error) from error
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise import_failure(package, error) from error


def import_failure(package: str, error: Exception) -> ModelError:
    """Return the sentence about a package that fails on import."""
    message = (str(error).strip().splitlines() or ["no message"])[0][:160].rstrip(". ")
    hint = f"mend its installation (torch, torchvision and {package} must fit each other)"
    return ModelError(f"to import '{package}'", f"{type(error).__name__} ({message})", hint)


def package_version(package: str) -> str:
    """Return the installed version of a distribution, ``unknown`` where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        CheckpointError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        actual = (error.strerror or "unreadable").lower()
        raise CheckpointError(f"a weights file at '{path}'", actual, "fetch it and name its path") from error
