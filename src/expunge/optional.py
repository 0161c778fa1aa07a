"""Optional packages: imported when asked for; absence and failures are said in one sentence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from expunge.errors import MissingExtraError, ModelError


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
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == package:
            raise MissingExtraError(purpose, package, extra) from error
        message = (str(error).strip().splitlines() or ["no message"])[0][:160].rstrip(". ")
        hint = f"mend its installation (torch, torchvision and {package} must fit each other)"
        raise ModelError(f"to import '{package}'", f"{type(error).__name__} ({message})", hint) from error
