"""``expunge sweep``: every method at several values of its own knob, and the front that they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from expunge.api.documents import SCHEMA_VERSION, collect_versions, describe_hardware
from expunge.api.inputs import resolve_device
from expunge.api.steering.auto import DEFAULT_METHOD
from expunge.benchmark.cells import BenchmarkCell, CellRole, Item, Network, list_retrained_networks
from expunge.benchmark.plan import list_request_methods
from expunge.benchmark.recipe import BenchmarkRecipe, Grid, MethodEntry
from expunge.benchmark.run import run_phases
from expunge.benchmark.store import FAILURE, BenchmarkFolders
from expunge.benchmark.summary import describe_request, to_portable_config
from expunge.benchmark.sweep_grids import check_equal_runs, choose_sweep_grid
from expunge.errors import DataError
from expunge.methods import build_method
from expunge.metrics import hypervolume, pareto_front, summarize
from expunge.registry import AUTO

UTILITIES = ("ra", "ta")
AXES: Mapping[str, tuple[str, float, float]] = {
    "class": ("UA, %", 0.0, 100.0),
    "other": ("−|UA − UA of retrained|, points", -20.0, 20.0),
    "utility": ("accuracy, %", 0.0, 100.0),
}
"""Axis → its name, its coordinate of the reference point, its scale: the same for every study, so that areas compare.

Single examples are forgotten where the model errs on them as often as a retrained one; 20 points off counts nothing.
"""
ROLES: tuple[CellRole, ...] = ("original", "retrained")


def prepare_sweep(recipe: BenchmarkRecipe, overrides: Mapping[str, Grid]) -> tuple[BenchmarkRecipe, dict[str, Grid]]:
    """Return a recipe without its budget, whose methods are those that can be swept, and the grid of each."""
    entries = [entry for entry in recipe.methods if entry.tunable or entry.name == AUTO]
    grids = {entry.id: choose_sweep_grid(entry, overrides) for entry in entries}
    check_equal_runs(grids)
    for entry in entries:
        for param, values in grids[entry.id].items():
            for value in values:
                build_method(DEFAULT_METHOD if entry.name == AUTO else entry.name, **{**entry.settings, param: value})
    sweep_recipe = recipe.model_copy(update={"budget": None, "time_limit": None, "methods": entries})
    return sweep_recipe, grids


def list_sweep_cells(
    recipe: BenchmarkRecipe, grids: Mapping[str, Grid], request: int, entry: MethodEntry, seed: int
) -> list[BenchmarkCell]:
    pairs = [(knob, value) for knob, values in grids[entry.id].items() for value in values]
    return [BenchmarkCell(recipe, "method", request, seed, entry, (pair,)) for pair in pairs]


def list_sweep_items(recipe: BenchmarkRecipe, grids: Mapping[str, Grid]) -> list[Item]:
    """Return what has to be made, whole seeds first."""
    work: list[Item] = []
    requests = range(len(recipe.requests))
    for seed in recipe.seeds:
        work.append(Network(recipe, seed))
        work += [network for place in requests for network in list_retrained_networks(recipe, seed, place)]
        for place in requests:
            work += [BenchmarkCell(recipe, "original", place, seed), BenchmarkCell(recipe, "retrained", place, seed)]
            for entry in list_request_methods(recipe, place):
                work += list_sweep_cells(recipe, grids, place, entry, seed)
    return work


def run_sweep(
    recipe: BenchmarkRecipe,
    folders: BenchmarkFolders,
    overrides: Mapping[str, Grid] | None = None,
    *,
    jobs: int = 1,
    threads: int = 1,
    retry_failed: bool = False,
    command: str = "expunge sweep",
    console: Console | None = None,
) -> dict[str, Any]:
    """Make what is missing of a sweep, and return its result.

    Cells are those of ``run_recipe``: what one has made the other finds. Budgets and tuning of the recipe are left
    aside; a knob is swept with everything else as it is written.

    Args:
        recipe: The comparison, from ``load_recipe``.
        folders: Where data, networks and cells are.
        overrides: Row → knob and values, the row ``""`` standing for all others. Default: each method's own.
        jobs: Processes. Default 1.
        threads: Processor threads of each. Default 1.
        retry_failed: Make again what could not be made before. Default false.
        command: For readers of the result.
        console: Where a line for every item goes. Default: nowhere.

    Raises:
        ConfigError: If methods have different numbers of values.
        ExpungeError: If recipe or data do not fit.
    """
    sweep_recipe, grids = prepare_sweep(recipe, overrides or {})
    phases = [lambda: list_sweep_items(sweep_recipe, grids)]
    run_phases(
        sweep_recipe,
        folders,
        phases,
        jobs=jobs,
        threads=threads,
        retry_failed=retry_failed,
        console=console or make_quiet_console(),
    )
    parts = [build_sweep_section(sweep_recipe, folders, grids, place) for place in range(len(sweep_recipe.requests))]
    return {
        "schema": SCHEMA_VERSION,
        "kind": "sweep",
        "title": sweep_recipe.title,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": collect_versions(),
        "hardware": describe_hardware(str(resolve_device(sweep_recipe.device))),
        "recipe": to_portable_config(sweep_recipe),
        "requests": parts,
    }


def make_quiet_console() -> Console:
    """Return a console that nobody sees."""
    return Console(quiet=True)


def build_sweep_section(
    recipe: BenchmarkRecipe, folders: BenchmarkFolders, grids: Mapping[str, Grid], request: int
) -> dict[str, Any]:
    """Return the part of one request: every point with its intervals, the front, and areas."""
    kind = recipe.requests[request].kind
    name, start, unit = AXES["class" if kind == "class" else "other"]
    baselines = {
        role: [folders.load(BenchmarkCell(recipe, role, request, seed)) for seed in recipe.seeds] for role in ROLES
    }
    original_facts = next((one for one in baselines["original"] if one is not None and FAILURE not in one), None)
    if original_facts is None:
        raise DataError(
            f"an original for {recipe.request_key(request)}", "none", "correct `train`, and use --retry-failed"
        )
    incomplete: list[dict[str, Any]] = []
    row_parts = []
    for entry in list_request_methods(recipe, request):
        cells = [list_sweep_cells(recipe, grids, request, entry, seed) for seed in recipe.seeds]
        facts = [[folders.load(cell) for cell in row] for row in cells]
        incomplete += list_failures(entry.id, cells, facts)
        row_parts.append(build_sweep_row(entry, grids[entry.id], facts, baselines["retrained"], kind))
    mark_pareto(row_parts)
    return {
        "id": recipe.request_key(request),
        "description": describe_request(recipe, request, original_facts["classes"]),
        "kind": kind,
        "seeds": list(recipe.seeds),
        "axes": {"forgetting": name, "utility": AXES["utility"][0]},
        "reference_point": [start, AXES["utility"][1]],
        "scales": [unit, AXES["utility"][2]],
        "models": {role: summarize_point(baselines[role], baselines["retrained"], kind) for role in ROLES},
        "rows": row_parts,
        "incomplete": incomplete,
    }


def list_failures(
    key: str, cells: Sequence[Sequence[BenchmarkCell]], facts: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return the cells without figures, with the reason."""
    return [
        {"row": key, "seed": cell.seed, **dict(cell.tuned_settings), "sentence": one[FAILURE]["sentence"]}
        for row, known in zip(cells, facts, strict=True)
        for cell, one in zip(row, known, strict=True)
        if one is not None and FAILURE in one
    ]


def compute_coordinates(
    facts: Mapping[str, Any] | None, reference: Mapping[str, Any] | None, kind: str
) -> list[float] | None:
    """Return forgetting, retain and test accuracy of a cell; None where one cannot be stated."""
    if facts is None or reference is None or FAILURE in facts or FAILURE in reference:
        return None
    scores, target = facts["scores"], reference["scores"]["ua"]
    forgetting = scores["ua"] if kind == "class" else -abs(scores["ua"] - target)
    values = [forgetting, *(scores[name] for name in UTILITIES)]
    return None if any(value is None for value in values) else values


def summarize_point(facts: Sequence[Any], references: Sequence[Any], kind: str) -> dict[str, Any]:
    """Return a point: mean and half-width over paired seeds of forgetting and both utilities."""
    coordinates = [compute_coordinates(one, reference, kind) for one, reference in zip(facts, references, strict=True)]
    names = ("forgetting", *UTILITIES)
    parts = {name: [None if one is None else one[at] for one in coordinates] for at, name in enumerate(names)}
    return {name: summarize(values).as_dict() for name, values in parts.items()}


def build_sweep_row(
    entry: MethodEntry, grid: Grid, facts: Sequence[Sequence[Any]], references: Sequence[Any], kind: str
) -> dict[str, Any]:
    """Return the points of a method, and the area that they dominate, per seed and summarized."""
    ((param, values),) = grid.items()
    _, start, unit = AXES["class" if kind == "class" else "other"]
    label = next((one["label"] for row in facts for one in row if one and "label" in one), entry.label or entry.id)
    points = [
        {"value": value, **summarize_point([row[at] for row in facts], references, kind)}
        for at, value in enumerate(values)
    ]
    areas: dict[str, Any] = {}
    for at, name in enumerate(UTILITIES, start=1):
        volumes: list[float | None] = []
        for row, reference in zip(facts, references, strict=True):
            coordinates = [compute_coordinates(one, reference, kind) for one in row]
            spots = [(one[0], one[at]) for one in coordinates if one is not None]
            reference_and_scale = (start, AXES["utility"][1]), (unit, AXES["utility"][2])
            volumes.append(hypervolume(spots, *reference_and_scale) if spots else None)
        areas[name] = summarize(volumes).as_dict()
    return {"key": entry.id, "label": label, "knob": param, "points": points, "hypervolume": areas}


def mark_pareto(row_parts: Sequence[dict[str, Any]]) -> None:
    """Note at every point for which utilities its mean lies on the front of all methods."""
    all_points = [one for row in row_parts for one in row["points"]]
    for one in all_points:
        one["front"] = []
    for name in UTILITIES:
        stated = [one for one in all_points if one["forgetting"]["mean"] is not None]
        spots = [(one["forgetting"]["mean"], one[name]["mean"]) for one in stated]
        for index in pareto_front(spots):
            stated[index]["front"].append(name)
