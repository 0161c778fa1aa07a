"""Execute: carry out a recipe, stage after stage, on one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batch import Predictor, Split, looking
from expunge.engine.compiled import compiled
from expunge.engine.conditions import Conditions
from expunge.engine.descend import Descent, stream_of
from expunge.engine.layout import laid_out
from expunge.engine.processes import agreed, refuse_alone, take_over
from expunge.engine.randomness import generators_now, mixed_seed, put_generators, replayed
from expunge.engine.savepoints import count_in, reading_state
from expunge.engine.shareable import refuse_unshareable
from expunge.engine.stages import Descend, Edit, Reading, Recipe, Select, Stage
from expunge.errors import ConfigError
from expunge.forward import check_gradients_on
from expunge.surgery import Progress


@torch.enable_grad()
def execute(predict: Predictor, recipe: Recipe, split: Split, conditions: Conditions) -> None:
    """Carry out a recipe and leave the model in evaluation mode.

    Gradients are computed under ``torch.no_grad`` too. Objectives and masks look at the model before the first stage
    changes it. A ``Select`` belongs to the descents right
    before it. The first descent has the run's seed, each later one a seed of its own; the history counts through.

    Args:
        predict: The model to be changed in place, and how to read its logits.
        recipe: What to do.
        split: The examples.
        conditions: Seed, precision, normalisation policy, callbacks.

    Raises:
        ExpungeError: If the model, the data or a loss does not allow it; before the first update where possible.
    """
    check_gradients_on()
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
    Run(recipe.stages, predict, split, conditions).complete()
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
        self.number, self.done = 0, 0
        self.iterates: list[tuple[Reading, dict[str, Any]]] = []
        self.descent: Descent | None = None
        self.begun: Mapping[str, Any] | None = None

    def complete(self) -> None:
        """Carry out every stage, those left over where the run goes on from a savepoint."""
        savepoints = self.conditions.savepoints
        if savepoints is not None:
            savepoints.attach("run", self)
        while self.number < len(self.stages):
            self.carry_out(self.number, self.stages[self.number])
            self.number, self.descent = self.number + 1, None
            if savepoints is not None and savepoints.due():
                savepoints.save()

    def state_dict(self) -> dict[str, Any]:
        """Return where the run stands: stage, iterates, the model's state, and the descent under way."""
        model = self.predict.model
        return {
            "number": self.number,
            "done": self.done,
            "iterates": [(dict(reading), state) for reading, state in self.iterates],
            "model": model.state_dict(),
            "unnamed": unnamed_buffers(model),
            "descent": None if self.descent is None else self.descent.state_dict(),
            "generators": generators_now(device_of(model)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; edits that gave the model other weights than it came with are applied again first."""
        model = self.predict.model
        self.number = count_in(state, "number", len(self.stages))
        self.done = count_in(state, "done", len(self.descents))
        self.iterates = [(reading, weights) for reading, weights in state["iterates"]]
        if shapes(model.state_dict()) != shapes(state["model"]):
            for number, stage in enumerate(self.stages[: self.number]):
                if isinstance(stage, Edit):
                    edit(stage, self.predict, self.split, self.conditions.seed + number)
        model.load_state_dict(state["model"])
        for name, buffer in unnamed_buffers(model).items():
            buffer.copy_(state["unnamed"][name])
        self.begun = None if state["descent"] is None else dict(state["descent"])
        put_generators(state["generators"], device_of(model))

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
        # Only here: what re-initialises weights draws them in the order of memory. Ranks have a layout of their own.
        layout = laid_out(self.predict.model, False if self.conditions.shared else self.conditions.channels_last)
        with layout, compiled(self.predict.model, self.conditions.compile):
            self.descent = Descent(self.predict, stage, self.split, replace(self.conditions, seed=seed), keep, before)
            if self.begun is not None and self.conditions.savepoints is not None:
                with reading_state("descent", self.conditions.savepoints.folder):
                    self.descent.load_state_dict(self.begun)
                self.begun = None
            self.descent.run()
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
    with replayed(seed, device_of(predict.model)), torch.no_grad():
        stage.apply(predict, split)


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's first weight is."""
    return next(model.parameters(), torch.empty(0)).device


def unnamed_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that a model's own state leaves out."""
    named = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name not in named}


def shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of a state's tensors, by name."""
    return {name: getattr(value, "shape", None) for name, value in state.items()}
