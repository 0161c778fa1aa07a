"""The runner: a recipe in a file becomes cells, each of them one model, and a result that pages are made of."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "BenchmarkFolders": "expunge.benchmark.store",
    "BenchmarkRecipe": "expunge.benchmark.recipe",
    "run_sweep": "expunge.benchmark.sweep",
    "load_recipe": "expunge.benchmark.recipe",
    "run_benchmark": "expunge.benchmark.run",
    "get_benchmark_state": "expunge.benchmark.run",
    "summarize_benchmark": "expunge.benchmark.summary",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: reading a recipe must not import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'expunge.benchmark' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
