"""The diffusers library, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from expunge.errors import MissingExtraError


def diffusers(purpose: str) -> Any:
    """Return the module ``diffusers``.

    Args:
        purpose: What it is needed for, for the message.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return import_module("diffusers")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "diffusers":
            raise
        raise MissingExtraError(purpose, "diffusers", "diffusion") from error
