"""The order of the work: trials of tuning first, then seed by seed, so that a study that stops has whole seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from expunge.benchmark.items import Cell, Item, Network, retrained_networks
from expunge.benchmark.recipe import Entry, Recipe
from expunge.benchmark.tuning import chosen, trials

Found = Callable[[Cell], dict[str, Any] | None]


def rows(recipe: Recipe, request: int) -> list[Entry]:
    """Return the methods that a request has a row for."""
    kind = recipe.requests[request].kind
    return [entry for entry in recipe.methods if entry.only in (None, kind)]


def tuning_items(recipe: Recipe) -> list[Item]:
    """Return what has to be made before anything can be chosen."""
    cells = [
        cell
        for request in range(len(recipe.requests))
        for entry in rows(recipe, request)
        for group in trials(recipe, request, entry)
        for cell in group
    ]
    return list(with_needs(sorted(cells, key=lambda cell: cell.seed)))


def shown_items(recipe: Recipe, found: Found) -> list[Item]:
    """Return the networks and cells of the table, whole seeds first; methods that are not yet tuned are left out.

    Args:
        recipe: The comparison.
        found: Returns what is known of a cell.
    """
    items: list[Item] = []
    places = range(len(recipe.requests))
    settled = {(place, entry.key): chosen(recipe, place, entry, found) for place in places for entry in recipe.methods}
    for seed in recipe.seeds:
        items.append(Network(recipe, seed))
        items += [network for place in places for network in retrained_networks(recipe, seed, place)]
        items += [Cell(recipe, role, place, seed) for place in places for role in ("original", "retrained")]
        for place in places:
            for entry in rows(recipe, place):
                more = settled[place, entry.key]
                if more is not None:
                    items.append(Cell(recipe, "method", place, seed, entry, more))
    return items


def with_needs(cells: Iterable[Cell]) -> Iterator[Item]:
    """Yield cells, each after the networks that it needs, and everything once."""
    seen: set[str] = set()
    for cell in cells:
        needed: tuple[Item, ...] = (*cell.needs, cell)
        for item in needed:
            if item.key not in seen:
                seen.add(item.key)
                yield item


def expected(recipe: Recipe) -> int:
    """Return the number of cells of the table, tuned or not."""
    return len(recipe.seeds) * sum(2 + len(rows(recipe, place)) for place in range(len(recipe.requests)))
