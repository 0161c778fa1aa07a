"""The diffusers library and what belongs to it, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from expunge.errors import MissingExtraError


def import_diffusers(purpose: str) -> Any:
    """Return the module ``diffusers``.

    Args:
        purpose: What it is needed for, for the message.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return import_optional("diffusers", purpose)


def import_optional(package: str, purpose: str, extra: str = "diffusion") -> Any:
    """Return an optional module.

    Args:
        package: Its name.
        purpose: What it is needed for, for the message.
        extra: The extra that brings it. Default ``diffusion``.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise
        raise MissingExtraError(purpose, package, extra) from error
