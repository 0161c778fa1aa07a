"""``expunge compare``: every method at several values of its own knob, and the front that they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from expunge.api.documents import SCHEMA, hardware, versions
from expunge.api.inputs import device_of
from expunge.api.request.names import AUTO
from expunge.api.steering.auto import VOTES
from expunge.benchmark.items import Cell, Item, Network, Role, retrained_networks
from expunge.benchmark.knobs import equal_budgets, knob_of
from expunge.benchmark.plan import rows
from expunge.benchmark.recipe import Entry, Grid, Recipe
from expunge.benchmark.run import carried_out
from expunge.benchmark.store import FAILURE, Folders
from expunge.benchmark.summarising import question, told
from expunge.errors import DataError
from expunge.methods import build_method
from expunge.metrics import hypervolume, pareto_front, summarise

UTILITIES = ("ra", "ta")
AXES: Mapping[str, tuple[str, float, float]] = {
    "class": ("UA, %", 0.0, 100.0),
    "other": ("−|UA − UA of retrained|, points", -20.0, 20.0),
    "utility": ("accuracy, %", 0.0, 100.0),
}
"""Axis → its name, its coordinate of the reference point, its scale: the same for every study, so that areas compare.

Single examples are forgotten where the model errs on them as often as a retrained one; 20 points off counts nothing.
"""
ROLES: tuple[Role, ...] = ("original", "retrained")


def swept(recipe: Recipe, asked: Mapping[str, Grid]) -> tuple[Recipe, dict[str, Grid]]:
    """Return a recipe without its budget, whose methods are those that can be swept, and the grid of each.

    Raises:
        ConfigError: If methods have different numbers of values, or one refuses a value.
    """
    kept = [entry for entry in recipe.methods if entry.tunable or entry.name == AUTO]
    grids = {entry.key: knob_of(entry, asked) for entry in kept}
    equal_budgets(grids)
    for entry in kept:
        for knob, values in grids[entry.key].items():
            for value in values:
                build_method(VOTES if entry.name == AUTO else entry.name, **{**entry.settings, knob: value})
    alone = recipe.model_copy(update={"budget": None, "within": None, "methods": kept})
    return alone, grids


def points(recipe: Recipe, grids: Mapping[str, Grid], place: int, entry: Entry, seed: int) -> list[Cell]:
    """Return the cells of a method at one seed, one for each value of its knob."""
    pairs = [(knob, value) for knob, values in grids[entry.key].items() for value in values]
    return [Cell(recipe, "method", place, seed, entry, (pair,)) for pair in pairs]


def items(recipe: Recipe, grids: Mapping[str, Grid]) -> list[Item]:
    """Return what has to be made, whole seeds first."""
    found: list[Item] = []
    places = range(len(recipe.requests))
    for seed in recipe.seeds:
        found.append(Network(recipe, seed))
        found += [network for place in places for network in retrained_networks(recipe, seed, place)]
        for place in places:
            found += [Cell(recipe, "original", place, seed), Cell(recipe, "retrained", place, seed)]
            for entry in rows(recipe, place):
                found += points(recipe, grids, place, entry, seed)
    return found


def compare(
    recipe: Recipe,
    folders: Folders,
    asked: Mapping[str, Grid] | None = None,
    *,
    jobs: int = 1,
    threads: int = 1,
    retry_failed: bool = False,
    command: str = "expunge compare",
    console: Console | None = None,
) -> dict[str, Any]:
    """Make what is missing of a sweep, and return its result.

    Cells are those of ``run_recipe``: what one has made the other finds. Budgets and tuning of the recipe are left
    aside; a knob is swept with everything else as it is written.

    Args:
        recipe: The comparison, from ``load_recipe``.
        folders: Where data, networks and cells are.
        asked: Row → knob and values, the row ``""`` standing for all others. Default: each method's own.
        jobs: Processes. Default 1.
        threads: Processor threads of each. Default 1.
        retry_failed: Make again what could not be made before. Default false.
        command: For readers of the result.
        console: Where a line for every item goes. Default: nowhere.

    Raises:
        ConfigError: If methods have different numbers of values.
        ExpungeError: If recipe or data do not fit.
    """
    alone, grids = swept(recipe, asked or {})
    phases = [lambda: items(alone, grids)]
    carried_out(
        alone, folders, phases, jobs=jobs, threads=threads, retry_failed=retry_failed, console=console or quiet()
    )
    parts = [request_part(alone, folders, grids, place) for place in range(len(alone.requests))]
    return {
        "schema": SCHEMA,
        "kind": "compare",
        "title": alone.title,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": versions(),
        "hardware": hardware(str(device_of(alone.device))),
        "recipe": told(alone),
        "requests": parts,
    }


def quiet() -> Console:
    """Return a console that nobody sees."""
    return Console(quiet=True)


def request_part(recipe: Recipe, folders: Folders, grids: Mapping[str, Grid], place: int) -> dict[str, Any]:
    """Return the part of one request: every point with its intervals, the front, and areas.

    Raises:
        DataError: If no reference of it is there.
    """
    kind = recipe.requests[place].kind
    name, start, unit = AXES["class" if kind == "class" else "other"]
    beside = {role: [folders.found(Cell(recipe, role, place, seed)) for seed in recipe.seeds] for role in ROLES}
    about = next((one for one in beside["original"] if one is not None and FAILURE not in one), None)
    if about is None:
        raise DataError(f"an original for {recipe.key(place)}", "none", "correct `train`, and use --retry-failed")
    lacking: list[dict[str, Any]] = []
    found = []
    for entry in rows(recipe, place):
        cells = [points(recipe, grids, place, entry, seed) for seed in recipe.seeds]
        facts = [[folders.found(cell) for cell in row] for row in cells]
        lacking += failures(entry.key, cells, facts)
        found.append(row_part(entry, grids[entry.key], facts, beside["retrained"], kind))
    mark_front(found)
    return {
        "id": recipe.key(place),
        "question": question(recipe, place, about["classes"]),
        "kind": kind,
        "seeds": list(recipe.seeds),
        "axes": {"forgetting": name, "utility": AXES["utility"][0]},
        "reference_point": [start, AXES["utility"][1]],
        "scales": [unit, AXES["utility"][2]],
        "models": {role: point(beside[role], beside["retrained"], kind) for role in ROLES},
        "rows": found,
        "incomplete": lacking,
    }


def failures(key: str, cells: Sequence[Sequence[Cell]], facts: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return the cells without figures, with the reason."""
    return [
        {"row": key, "seed": cell.seed, **dict(cell.more), "sentence": one[FAILURE]["sentence"]}
        for row, known in zip(cells, facts, strict=True)
        for cell, one in zip(row, known, strict=True)
        if one is not None and FAILURE in one
    ]


def place_of(facts: Mapping[str, Any] | None, reference: Mapping[str, Any] | None, kind: str) -> list[float] | None:
    """Return forgetting, retain and test accuracy of a cell; None where one cannot be stated."""
    if facts is None or reference is None or FAILURE in facts or FAILURE in reference:
        return None
    scores, target = facts["scores"], reference["scores"]["ua"]
    across = scores["ua"] if kind == "class" else -abs(scores["ua"] - target)
    found = [across, *(scores[name] for name in UTILITIES)]
    return None if any(value is None for value in found) else found


def point(facts: Sequence[Any], references: Sequence[Any], kind: str) -> dict[str, Any]:
    """Return a point: mean and half-width over paired seeds of forgetting and both utilities."""
    places = [place_of(one, reference, kind) for one, reference in zip(facts, references, strict=True)]
    names = ("forgetting", *UTILITIES)
    parts = {name: [None if one is None else one[at] for one in places] for at, name in enumerate(names)}
    return {name: summarise(values).as_dict() for name, values in parts.items()}


def row_part(
    entry: Entry, grid: Grid, facts: Sequence[Sequence[Any]], references: Sequence[Any], kind: str
) -> dict[str, Any]:
    """Return the points of a method, and the area that they dominate, per seed and summarised."""
    ((knob, values),) = grid.items()
    _, start, unit = AXES["class" if kind == "class" else "other"]
    label = next((one["label"] for row in facts for one in row if one and "label" in one), entry.label or entry.key)
    made = [{"value": value, **point([row[at] for row in facts], references, kind)} for at, value in enumerate(values)]
    areas: dict[str, Any] = {}
    for at, name in enumerate(UTILITIES, start=1):
        found: list[float | None] = []
        for row, reference in zip(facts, references, strict=True):
            places = [place_of(one, reference, kind) for one in row]
            spots = [(one[0], one[at]) for one in places if one is not None]
            whole = (start, AXES["utility"][1]), (unit, AXES["utility"][2])
            found.append(hypervolume(spots, *whole) if spots else None)
        areas[name] = summarise(found).as_dict()
    return {"key": entry.key, "label": label, "knob": knob, "points": made, "hypervolume": areas}


def mark_front(found: Sequence[dict[str, Any]]) -> None:
    """Note at every point for which utilities its mean lies on the front of all methods."""
    every = [one for row in found for one in row["points"]]
    for one in every:
        one["front"] = []
    for name in UTILITIES:
        stated = [one for one in every if one["forgetting"]["mean"] is not None]
        spots = [(one["forgetting"]["mean"], one[name]["mean"]) for one in stated]
        for place in pareto_front(spots):
            stated[place]["front"].append(name)
