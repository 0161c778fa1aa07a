"""Execute: carry out a recipe, stage after stage, on one model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from expunge.batch import Predictor, Split
from expunge.engine.descend import Conditions, Descent
from expunge.engine.randomness import replayed
from expunge.engine.stages import Descend, Edit, Reading, Recipe, Select
from expunge.errors import ConfigError


def execute(predict: Predictor, recipe: Recipe, split: Split, conditions: Conditions) -> None:
    """Carry out a recipe and leave the model in evaluation mode.

    Objectives and masks look at the model before the first stage changes it. A ``Select`` belongs to the descent before
    it.

    Args:
        predict: The model to be changed in place, and how to read its logits.
        recipe: What to do.
        split: The examples.
        conditions: Seed, precision, normalisation policy, callbacks.

    Raises:
        ExpungeError: If the model, the data or a loss does not allow it; before the first update where possible.
    """
    refuse_selection_alone(recipe)
    predict.model.eval()
    for stage in recipe.stages:
        if isinstance(stage, Descend):
            prepare(stage, predict, split)
    following = (*recipe.stages[1:], None)
    for number, (stage, successor) in enumerate(zip(recipe.stages, following, strict=True)):
        if isinstance(stage, Edit):
            edit(stage, predict, split, conditions.seed + number)
        elif isinstance(stage, Descend):
            descend(stage, successor if isinstance(successor, Select) else None, predict, split, conditions)
    predict.model.eval()


def refuse_selection_alone(recipe: Recipe) -> None:
    """Refuse a recipe with a selection that has no iterates to select from.

    Raises:
        ConfigError: If a ``Select`` does not follow a ``Descend``.
    """
    for before, stage in zip((None, *recipe.stages), recipe.stages, strict=False):
        if isinstance(stage, Select) and not isinstance(before, Descend):
            raise ConfigError("a selection right after a descent", f"'{stage.label}' after none", "reorder the recipe")


def descend(stage: Descend, select: Select | None, predict: Predictor, split: Split, conditions: Conditions) -> None:
    """Carry out a descent, and go back to the iterate that the selection after it chooses."""
    if select is None:
        Descent(predict, stage, split, conditions).run()
        return
    iterates = [(read(select, predict, split), state_of(predict.model))]

    def keep(epoch: int) -> None:
        iterates.append((read(select, predict, split), state_of(predict.model)))

    Descent(predict, stage, split, conditions, on_epoch=keep).run()
    chosen = select.rule([reading for reading, _ in iterates])
    predict.model.load_state_dict(iterates[chosen][1])


def read(select: Select, predict: Predictor, split: Split) -> Reading:
    """Measure a model in evaluation mode and put every module's mode back."""
    modes = [(module, module.training) for module in predict.model.modules()]
    predict.model.eval()
    try:
        with torch.no_grad():
            return select.measure(predict, split)
    finally:
        for module, mode in modes:
            module.training = mode


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
        stage.apply(predict.model, split)
