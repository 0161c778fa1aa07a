"""Execute: carry out a recipe, stage after stage, on one model."""

from __future__ import annotations

import torch

from expunge.batch import Predictor, Split
from expunge.engine.descend import Conditions, Descent
from expunge.engine.randomness import replayed
from expunge.engine.stages import Descend, Edit, Recipe


def execute(predict: Predictor, recipe: Recipe, split: Split, conditions: Conditions) -> None:
    """Carry out a recipe and leave the model in evaluation mode.

    Objectives and masks look at the model before the first stage changes it.

    Args:
        predict: The model to be changed in place, and how to read its logits.
        recipe: What to do.
        split: The examples.
        conditions: Seed, precision, normalisation policy, callbacks.

    Raises:
        ExpungeError: If the model, the data or a loss does not allow it; before the first update where possible.
    """
    predict.model.eval()
    for stage in recipe.stages:
        if isinstance(stage, Descend):
            prepare(stage, predict, split)
    for number, stage in enumerate(recipe.stages):
        if isinstance(stage, Edit):
            edit(stage, predict, split, conditions.seed + number)
        else:
            Descent(predict, stage, split, conditions).run()
    predict.model.eval()


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
