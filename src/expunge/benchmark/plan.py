"""The order of the work: trials of tuning first, then seed by seed, so that a study that stops has whole seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from expunge.benchmark.cells import BenchmarkCell, Item, Network, list_retrained_networks
from expunge.benchmark.recipe import BenchmarkRecipe, MethodEntry
from expunge.benchmark.tuning import list_trial_cells, select_setting

LoadFacts = Callable[[BenchmarkCell], dict[str, Any] | None]


def list_request_methods(recipe: BenchmarkRecipe, request: int) -> list[MethodEntry]:
    kind = recipe.requests[request].kind
    return [entry for entry in recipe.methods if entry.requests in (None, kind)]


def list_tuning_items(recipe: BenchmarkRecipe) -> list[Item]:
    """Return what has to be made before anything can be chosen."""
    cells = [
        cell
        for request in range(len(recipe.requests))
        for entry in list_request_methods(recipe, request)
        for group in list_trial_cells(recipe, request, entry)
        for cell in group
    ]
    return list(order_with_dependencies(sorted(cells, key=lambda cell: cell.seed)))


def list_table_items(recipe: BenchmarkRecipe, load_facts: LoadFacts) -> list[Item]:
    """Return the networks and cells of the table, whole seeds first; methods that are not yet tuned are left out."""
    items: list[Item] = []
    requests = range(len(recipe.requests))
    settled = {
        (place, entry.id): select_setting(recipe, place, entry, load_facts)
        for place in requests
        for entry in recipe.methods
    }
    for seed in recipe.seeds:
        items.append(Network(recipe, seed))
        items += [network for place in requests for network in list_retrained_networks(recipe, seed, place)]
        items += [BenchmarkCell(recipe, role, place, seed) for place in requests for role in ("original", "retrained")]
        for place in requests:
            for entry in list_request_methods(recipe, place):
                more = settled[place, entry.id]
                if more is not None:
                    items.append(BenchmarkCell(recipe, "method", place, seed, entry, more))
    return items


def order_with_dependencies(cells: Iterable[BenchmarkCell]) -> Iterator[Item]:
    """Yield cells, each after the networks that it needs, and everything once."""
    yielded_keys: set[str] = set()
    for cell in cells:
        needed: tuple[Item, ...] = (*cell.needs, cell)
        for item in needed:
            if item.key not in yielded_keys:
                yielded_keys.add(item.key)
                yield item


def count_cells(recipe: BenchmarkRecipe) -> int:
    """Return the number of cells of the table, tuned or not."""
    return len(recipe.seeds) * sum(
        2 + len(list_request_methods(recipe, place)) for place in range(len(recipe.requests))
    )
