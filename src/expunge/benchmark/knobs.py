"""The one setting of each method that trades forgetting against utility, with the values to sweep: four for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expunge.api.request.names import AUTO
from expunge.benchmark.recipe import Entry, Grid
from expunge.errors import ConfigError
from expunge.methods import Method, build_method
from expunge.methods.composition import Masked
from expunge.registry import find

USUAL: Grid = {"rate": [0.001, 0.003, 0.01, 0.03]}
REPAIR: Grid = {"rate": [0.01, 0.03, 0.1, 0.3]}
ASCENT: Grid = {"rate": [0.00001, 0.00003, 0.0001, 0.0003]}
BOUNDARY: Grid = {"rate": [0.00001, 0.0001, 0.001, 0.01]}
ALLOWED: Grid = {"tolerance": [0.01, 0.05, 0.2, 0.5]}

KNOBS: Mapping[str, Grid] = {
    "fine_tune": REPAIR,
    "l1_sparse": REPAIR,
    "gradient_ascent": ASCENT,
    "gdr_gma": ASCENT,
    "neggrad_plus": {"weight": [0.001, 0.005, 0.02, 0.1]},
    "scrub": {"rate": [0.0005, 0.002, 0.008, 0.03]},
    "scrub_rewind": {"rate": [0.0005, 0.002, 0.008, 0.03]},
    "ssd": {"selection": [3.0, 10.0, 40.0, 80.0]},
    "influence": {"scale": [1.0, 3.0, 10.0, 30.0]},
    "boundary_expand": BOUNDARY,
    "boundary_shrink": BOUNDARY,
    "eupmu": {"tolerance": [0.0, 0.03, 0.1, 0.3]},
    "explicit_surgery": {"tolerance": [0.0, 0.03, 0.1, 0.3]},
    "budgeted": ALLOWED,
    "counterfactual": ALLOWED,
}
"""Method → its knob; the learning rate, from .001 to .03, for all others."""


def knob_of(entry: Entry, asked: Mapping[str, Grid]) -> Grid:
    """Return what is swept for a method: what the caller asks, the grid of the recipe's entry, or the table's.

    Args:
        entry: The method.
        asked: Row → grid, the row ``""`` standing for all that are not named.
    """
    found = asked.get(entry.key) or asked.get("") or entry.tune
    if found:
        return found
    if entry.name == AUTO:
        return ALLOWED
    method: Method = build_method(entry.name, **entry.settings)
    base = method.base if isinstance(method, Masked) else method
    return next((grid for name, grid in KNOBS.items() if find("methods", name) is type(base)), USUAL)


def read_knobs(texts: Sequence[str]) -> dict[str, Grid]:
    """Return the grids that a command line asks for.

    Args:
        texts: Each ``rate=0.01,0.1`` for all methods, or ``salun:keep=0.3,0.5`` for one row.

    Raises:
        ConfigError: If one is not of this form.

    Examples:
        >>> read_knobs(["rate=0.01,0.1", "salun:keep=0.3,0.5"])
        {'': {'rate': [0.01, 0.1]}, 'salun': {'keep': [0.3, 0.5]}}
    """
    found: dict[str, Grid] = {}
    for text in texts:
        name, _, values = text.partition("=")
        row, _, knob = name.rpartition(":")
        try:
            numbers: list[Any] = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if not knob.strip() or not numbers:
            cure = "write for example --knob rate=0.01,0.1 or --knob salun:keep=0.3,0.5"
            raise ConfigError("a setting with numbers", f"'{text}'", cure)
        found[row.strip()] = {knob.strip(): numbers}
    return found


def equal_budgets(grids: Mapping[str, Grid]) -> None:
    """Refuse a sweep that gives one method more runs than another.

    Raises:
        ConfigError: If it does.
    """
    counts = {key: len(values) for key, grid in grids.items() for values in grid.values()}
    if len({*counts.values()}) > 1:
        found = ", ".join(f"{key}: {count}" for key, count in counts.items())
        raise ConfigError("the same number of values for every method", found, "even them out with --knob")
