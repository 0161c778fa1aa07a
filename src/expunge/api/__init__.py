"""The verbs of the package: unlearn, evaluate, run a request, convert a checkpoint."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Evaluation": "expunge.api.evaluating",
    "ULiRAResult": "expunge.api.audits.ulira_result",
    "Result": "expunge.api.unlearning",
    "RunConfig": "expunge.run_config",
    "Audit": "expunge.api.audits.auditing",
    "audit": "expunge.api.audits.auditing",
    "audit_request": "expunge.api.audits.audit_run",
    "audit_ulira": "expunge.api.audits.ulira",
    "convert": "expunge.api.convert",
    "estimate_retrain": "expunge.api.estimating",
    "evaluate": "expunge.api.evaluating",
    "run_request": "expunge.api.run",
    "train_request": "expunge.api.training",
    "ulira_request": "expunge.api.audits.ulira_run",
    "unlearn": "expunge.api.unlearning",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a verb when it is first asked for: reading a request file must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'expunge.api' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
