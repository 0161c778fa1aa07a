"""Expunge: remove chosen training data from trained models, keep what they are good at, hand over the evidence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Batch": "expunge.batch",
    "Budget": "expunge.budget",
    "Callback": "expunge.callbacks",
    "RunConfig": "expunge.api",
    "Pair": "expunge.pair",
    "ExpungeError": "expunge.errors",
    "Stepper": "expunge.engine",
    "unlearn": "expunge.api",
    "evaluate": "expunge.api",
    "audit": "expunge.api",
    "audit_ulira": "expunge.api",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import the public name when it is first asked for, so that ``import expunge`` stays light."""
    if name == "plot":
        return import_module("expunge.plot")
    if name not in _HOMES:
        raise AttributeError(f"module 'expunge' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "plot"])
