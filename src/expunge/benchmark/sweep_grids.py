"""The one setting of each method that trades forgetting against utility, with the values to sweep: four for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expunge.benchmark.recipe import Grid, MethodEntry
from expunge.errors import ConfigError
from expunge.methods import Method, build_method
from expunge.methods.composition import MaskedMethod
from expunge.registry import AUTO, find_component

DEFAULT_GRID: Grid = {"lr": [0.001, 0.003, 0.01, 0.03]}
FINETUNE_GRID: Grid = {"lr": [0.01, 0.03, 0.1, 0.3]}
ASCENT_GRID: Grid = {"lr": [0.00001, 0.00003, 0.0001, 0.0003]}
BOUNDARY_GRID: Grid = {"lr": [0.00001, 0.0001, 0.001, 0.01]}
TOLERANCE_GRID: Grid = {"tolerance": [0.01, 0.05, 0.2, 0.5]}

SWEEP_GRIDS: Mapping[str, Grid] = {
    "fine_tune": FINETUNE_GRID,
    "l1_sparse": FINETUNE_GRID,
    "gradient_ascent": ASCENT_GRID,
    "gdr_gma": ASCENT_GRID,
    "neggrad_plus": {"weight": [0.001, 0.005, 0.02, 0.1]},
    "scrub": {"lr": [0.0005, 0.002, 0.008, 0.03]},
    "scrub_rewind": {"lr": [0.0005, 0.002, 0.008, 0.03]},
    "ssd": {"selection": [3.0, 10.0, 40.0, 80.0]},
    "influence": {"step_size": [1.0, 3.0, 10.0, 30.0]},
    "boundary_expand": BOUNDARY_GRID,
    "boundary_shrink": BOUNDARY_GRID,
    "eupmu": {"tolerance": [0.0, 0.03, 0.1, 0.3]},
    "projected_random_labels": {"tolerance": [0.0, 0.03, 0.1, 0.3]},
    "random_labels_with_budget": TOLERANCE_GRID,
    "neighbor_labels": TOLERANCE_GRID,
}
"""Method → its knob; the learning rate, from .001 to .03, for all others."""


def choose_sweep_grid(entry: MethodEntry, overrides: Mapping[str, Grid]) -> Grid:
    """Return what is swept for a method: what the caller asks, the grid of the recipe's entry, or the table's."""
    chosen_grid = overrides.get(entry.id) or overrides.get("") or entry.tune
    if chosen_grid:
        return chosen_grid
    if entry.name == AUTO:
        return TOLERANCE_GRID
    method: Method = build_method(entry.name, **entry.settings)
    base = method.base if isinstance(method, MaskedMethod) else method
    return next(
        (grid for name, grid in SWEEP_GRIDS.items() if find_component("methods", name) is type(base)), DEFAULT_GRID
    )


def parse_params(texts: Sequence[str]) -> dict[str, Grid]:
    """Return the grids that a command line asks for.

    Examples:
        >>> parse_params(["lr=0.01,0.1", "salun:mask_fraction=0.3,0.5"])
        {'': {'lr': [0.01, 0.1]}, 'salun': {'mask_fraction': [0.3, 0.5]}}
    """
    grids: dict[str, Grid] = {}
    for text in texts:
        name, _, values = text.partition("=")
        row, _, param = name.rpartition(":")
        try:
            numbers: list[Any] = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if not param.strip() or not numbers:
            hint = "write for example --param lr=0.01,0.1 or --param salun:mask_fraction=0.3,0.5"
            raise ConfigError("a setting with numbers", f"'{text}'", hint)
        grids[row.strip()] = {param.strip(): numbers}
    return grids


def check_equal_runs(grids: Mapping[str, Grid]) -> None:
    """Refuse a sweep that gives one method more runs than another."""
    counts = {key: len(values) for key, grid in grids.items() for values in grid.values()}
    if len({*counts.values()}) > 1:
        actual = ", ".join(f"{key}: {count}" for key, count in counts.items())
        raise ConfigError("the same number of values for every method", actual, "even them out with --param")
