"""The diffusers library, imported when it is needed."""

from __future__ import annotations

from typing import Any

from expunge.optional import import_optional


def import_diffusers(purpose: str) -> Any:
    """Return the module ``diffusers``.

    Args:
        purpose: What it is needed for, for the message.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return import_optional("diffusers", purpose, "diffusion")
