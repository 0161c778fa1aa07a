"""How a trial of tuning is judged, the same for every method, and which setting follows from the trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from expunge.batch import Examples, Predictor, Split
from expunge.benchmark.items import Cell
from expunge.benchmark.recipe import Entry, Recipe
from expunge.benchmark.store import FAILURE
from expunge.budget import whole_classes
from expunge.evaluation import collect
from expunge.metrics import accuracy

RECOGNISED = 0.5
"""Percent of held-out examples of a forgotten class that may still be recognised."""
CRITERION = (
    "Whole classes: the highest accuracy on held-out examples of the others, among trials that recognise at most "
    "0.5 % of the held-out examples of the class. Single examples: the least |Δ accuracy on retained| + |Δ accuracy on "
    "held-out| + |accuracy on forgotten − the original's on held-out|. The held-out examples are those of tuning "
    "alone; neither a retrained model nor the test data of the table is looked at."
)

View = dict[str, float | None]


def view(model: nn.Module, split: Split, held: Examples) -> View:
    """Return the accuracies in percent that tuning may read; those of whole classes where a request has some.

    Args:
        model: The network.
        split: Of the request.
        held: Held-out examples of tuning.
    """
    predict, seen = Predictor(model), collect(Predictor(model), held)
    parts = {"forget": collect(predict, split.forget), "retain": collect(predict, split.retain), "held": seen}
    classes = whole_classes(split)
    if classes:
        gone = torch.tensor(classes)
        parts |= {"held_class": seen.only(gone), "held_others": seen.without(gone)}
    return {name: accuracy(part.logits, part.targets) for name, part in parts.items()}


def badness(now: View, before: View) -> tuple[float, float]:
    """Return what tuning minimises, from the views of a trial and of its original; see ``CRITERION``.

    Examples:
        >>> badness({"held_class": 0.4, "held_others": 90.0}, {})
        (0.0, -90.0)
        >>> badness({"forget": 90.0, "retain": 98.0, "held": 89.0}, {"retain": 100.0, "held": 90.0})
        (3.0, 0.0)
    """
    if "held_class" in now:
        return max(0.0, (now["held_class"] or 0.0) - RECOGNISED), -(now["held_others"] or 0.0)
    first = before["held"] or 0.0
    moved = abs((now["retain"] or 0.0) - (before["retain"] or 0.0)) + abs((now["held"] or 0.0) - first)
    return moved + abs((now["forget"] or 0.0) - first), 0.0


def trials(recipe: Recipe, request: int, entry: Entry) -> list[list[Cell]]:
    """Return the tuning cells of a method: for each value of its knob one for each tuning seed."""
    seeds = recipe.tune.seeds if recipe.tune is not None else []
    values = [tuple(value.items()) for value in recipe.values(entry)]
    return [[Cell(recipe, "trial", request, seed, entry, value) for seed in seeds] for value in values]


def chosen(
    recipe: Recipe, request: int, entry: Entry, found: Callable[[Cell], dict[str, Any] | None]
) -> tuple[tuple[str, Any], ...] | None:
    """Return the setting that did best over the tuning seeds; nothing to set where nothing is tuned.

    A value whose trials fail anywhere is out; if all are, it is the first one, whose failure the table then shows.

    Args:
        recipe: The comparison.
        request: Place of the request.
        entry: The method.
        found: Returns what is known of a cell.

    Returns:
        None while a trial is missing.
    """
    grid = trials(recipe, request, entry)
    if not grid:
        return ()
    ranked: list[tuple[tuple[float, ...], int, tuple[tuple[str, Any], ...]]] = []
    for cells in grid:
        records = [found(cell) for cell in cells]
        if any(record is None for record in records):
            return None
        views = [record["tuning"] for record in records if record is not None and FAILURE not in record]
        if len(views) == len(cells):
            marks = [badness(one["now"], one["before"]) for one in views]
            mean = tuple(sum(part) / len(marks) for part in zip(*marks, strict=True))
            ranked.append((mean, len(ranked), cells[0].more))
    return min(ranked)[2] if ranked else grid[0][0].more
