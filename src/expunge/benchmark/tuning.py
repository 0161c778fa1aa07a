"""How a trial of tuning is judged, the same for every method, and which setting follows from the trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from expunge.batch import Examples, Predictor, Split
from expunge.benchmark.cells import BenchmarkCell
from expunge.benchmark.recipe import BenchmarkRecipe, MethodEntry
from expunge.benchmark.store import FAILURE
from expunge.budget import find_forgotten_classes
from expunge.metrics import accuracy, collect_outputs

MAX_FORGET_PERCENT = 0.5
"""Percent of held-out examples of a forgotten class that may still be recognized."""
CRITERION = (
    "Whole classes: the highest accuracy on held-out examples of the others, among trials that recognize at most "
    "0.5 % of the held-out examples of the class. Single examples: the least |Δ accuracy on retained| + |Δ accuracy on "
    "held-out| + |accuracy on forgotten − the original's on held-out|. The held-out examples are those of tuning "
    "alone; neither a retrained model nor the test data of the table is looked at."
)

TuningScores = dict[str, float | None]


def compute_tuning_scores(predict: Predictor, split: Split, tuning_examples: Examples) -> TuningScores:
    """Return the accuracies in percent that tuning may read; those of whole classes where a request has some."""
    tuning_outputs = collect_outputs(predict, tuning_examples)
    parts = {
        "forget": collect_outputs(predict, split.forget),
        "retain": collect_outputs(predict, split.retain),
        "held": tuning_outputs,
    }
    classes = find_forgotten_classes(split)
    if classes:
        forgotten_classes = torch.tensor(classes)
        parts |= {
            "held_class": tuning_outputs.only(forgotten_classes),
            "held_others": tuning_outputs.without(forgotten_classes),
        }
    return {name: accuracy(part.logits, part.targets) for name, part in parts.items()}


def tuning_loss(scores: TuningScores, original_scores: TuningScores) -> tuple[float, float]:
    """Return what tuning minimizes, from the views of a trial and of its original; see ``CRITERION``.

    Examples:
        >>> tuning_loss({"held_class": 0.4, "held_others": 90.0}, {})
        (0.0, -90.0)
        >>> tuning_loss({"forget": 90.0, "retain": 98.0, "held": 89.0}, {"retain": 100.0, "held": 90.0})
        (3.0, 0.0)
    """
    if "held_class" in scores:
        return max(0.0, (scores["held_class"] or 0.0) - MAX_FORGET_PERCENT), -(scores["held_others"] or 0.0)
    first = original_scores["held"] or 0.0
    change = abs((scores["retain"] or 0.0) - (original_scores["retain"] or 0.0)) + abs((scores["held"] or 0.0) - first)
    return change + abs((scores["forget"] or 0.0) - first), 0.0


def list_trial_cells(recipe: BenchmarkRecipe, request: int, entry: MethodEntry) -> list[list[BenchmarkCell]]:
    """Return the tuning cells of a method: for each value of its knob one for each tuning seed."""
    seeds = recipe.tune.seeds if recipe.tune is not None else []
    values = [tuple(value.items()) for value in recipe.tuning_values(entry)]
    return [[BenchmarkCell(recipe, "trial", request, seed, entry, value) for seed in seeds] for value in values]


def select_setting(
    recipe: BenchmarkRecipe,
    request: int,
    entry: MethodEntry,
    load_facts: Callable[[BenchmarkCell], dict[str, Any] | None],
) -> tuple[tuple[str, Any], ...] | None:
    """Return the setting that did best over the tuning seeds; nothing to set where nothing is tuned.

    A value whose trials fail anywhere is out; if all are, it is the first one, whose failure the table then shows.
    """
    grid = list_trial_cells(recipe, request, entry)
    if not grid:
        return ()
    ranked: list[tuple[tuple[float, ...], int, tuple[tuple[str, Any], ...]]] = []
    for cells in grid:
        records = [load_facts(cell) for cell in cells]
        if any(record is None for record in records):
            return None
        views = [record["tuning"] for record in records if record is not None and FAILURE not in record]
        if len(views) == len(cells):
            losses = [tuning_loss(one["now"], one["before"]) for one in views]
            mean = tuple(sum(part) / len(losses) for part in zip(*losses, strict=True))
            ranked.append((mean, len(ranked), cells[0].tuned_settings))
    return min(ranked)[2] if ranked else grid[0][0].tuned_settings
