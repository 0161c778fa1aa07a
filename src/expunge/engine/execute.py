"""Execute: carry out a recipe, stage after stage, on one model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from expunge.batch import Predictor, Split, looking
from expunge.engine.conditions import Conditions
from expunge.engine.descend import Descent, stream_of
from expunge.engine.processes import agreed, refuse_alone, take_over
from expunge.engine.randomness import mixed_seed, replayed
from expunge.engine.shareable import refuse_unshareable
from expunge.engine.stages import Descend, Edit, Reading, Recipe, Select, Stage
from expunge.errors import ConfigError
from expunge.surgery import Progress


def execute(predict: Predictor, recipe: Recipe, split: Split, conditions: Conditions) -> None:
    """Carry out a recipe and leave the model in evaluation mode.

    Objectives and masks look at the model before the first stage changes it. A ``Select`` belongs to the descents right
    before it. The first descent has the run's seed, each later one a seed of its own; the history counts through.

    Args:
        predict: The model to be changed in place, and how to read its logits.
        recipe: What to do.
        split: The examples.
        conditions: Seed, precision, normalisation policy, callbacks.

    Raises:
        ExpungeError: If the model, the data or a loss does not allow it; before the first update where possible.
    """
    refuse_selection_alone(recipe)
    if conditions.shared:
        refuse_alone()
        take_over(predict.model)
    predict.model.eval()
    for stage in recipe.stages:
        if isinstance(stage, Descend) and conditions.shared:
            refuse_unshareable(stage, predict.model, stage.normalisation or conditions.normalisation)
    for stage in recipe.stages:
        if isinstance(stage, Descend):
            prepare(stage, predict, split)
    run = Run(recipe.stages, predict, split, conditions)
    for number, stage in enumerate(recipe.stages):
        run.carry_out(number, stage)
    predict.model.eval()


def refuse_selection_alone(recipe: Recipe) -> None:
    """Refuse a recipe with a selection that has no iterates to select from.

    Raises:
        ConfigError: If a ``Select`` does not follow a ``Descend``.
    """
    for before, stage in zip((None, *recipe.stages), recipe.stages, strict=False):
        if isinstance(stage, Select) and not isinstance(before, Descend):
            raise ConfigError("a selection right after a descent", f"'{stage.label}' after none", "reorder the recipe")


class Run:
    """A recipe under way: what has been done, and the iterates that a selection will choose from.

    Args:
        stages: All stages of the recipe.
        predict: The model to be changed.
        split: The examples.
        conditions: Of the whole run.
    """

    def __init__(self, stages: tuple[Stage, ...], predict: Predictor, split: Split, conditions: Conditions) -> None:
        self.stages, self.predict, self.split, self.conditions = stages, predict, split, conditions
        self.descents = [stage for stage in stages if isinstance(stage, Descend)]
        self.lengths = [stage.epochs * len(stream_of(stage, split, 0)) for stage in self.descents]
        self.done = 0
        self.iterates: list[tuple[Reading, dict[str, Any]]] = []

    def carry_out(self, number: int, stage: Stage) -> None:
        """Carry out the next stage."""
        if isinstance(stage, Edit):
            edit(stage, self.predict, self.split, self.conditions.seed + number)
        elif isinstance(stage, Descend):
            self.descend(stage, selection_after(self.stages, number))
        else:
            chosen = agreed(stage.rule([reading for reading, _ in self.iterates]), self.conditions.shared)
            self.predict.model.load_state_dict(self.iterates[chosen][1])
            self.iterates.clear()

    def descend(self, stage: Descend, select: Select | None) -> None:
        """Carry out a descent, keeping the start and each epoch's end for the selection after it."""

        def keep(_: int) -> None:
            if select is not None:
                self.iterates.append((read(select, self.predict, self.split), state_of(self.predict.model)))

        if not self.iterates:
            keep(0)
        seed = mixed_seed(self.conditions.seed, self.done) if self.done else self.conditions.seed
        epochs = sum(earlier.epochs for earlier in self.descents[: self.done])
        before = Progress(sum(self.lengths[: self.done]), sum(self.lengths), epochs)
        Descent(self.predict, stage, self.split, replace(self.conditions, seed=seed), keep, before).run()
        self.done += 1


def selection_after(stages: tuple[Stage, ...], number: int) -> Select | None:
    """Return the selection that ends the run of descents at ``number``, if one does."""
    rest = (stage for stage in stages[number:] if not isinstance(stage, Descend))
    found = next(rest, None)
    return found if isinstance(found, Select) else None


def read(select: Select, predict: Predictor, split: Split) -> Reading:
    """Measure a model in evaluation mode and put every module's mode back."""
    with looking(predict.model):
        return select.measure(predict, split)


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return a copy of a model's weights and statistics, in the CPU's memory."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def prepare(stage: Descend, predict: Predictor, split: Split) -> None:
    """Let what a stage consists of look at the original and at the data."""
    for objective in stage.objectives:
        objective.prepare(predict, split)
    if stage.mask is not None:
        stage.mask.prepare(predict, split)


def edit(stage: Edit, predict: Predictor, split: Split, seed: int) -> None:
    """Apply a closed-form change with randomness of its own, leaving the global generators as they were."""
    device = next(predict.model.parameters(), torch.empty(0)).device
    with replayed(seed, device), torch.no_grad():
        stage.apply(predict, split)
