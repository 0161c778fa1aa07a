"""Execute: carry out a recipe, stage after stage, on one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batch import Predictor, Split, device_of, evaluation_mode
from expunge.engine.channels_last import channels_last_memory
from expunge.engine.checkpoints import read_count, reading_state
from expunge.engine.compiled import compiled
from expunge.engine.control_group import broadcast_from_rank0, broadcast_weights, check_process_group
from expunge.engine.distributed_checks import check_stage_distributed
from expunge.engine.randomness import combine_seeds, get_rng_states, seeded_rng, set_rng_states
from expunge.engine.run_options import RunOptions
from expunge.engine.stages import EditStage, Measurements, MethodRecipe, SelectStage, Stage, TrainStage
from expunge.engine.train_stage import StageRunner, make_sampler
from expunge.errors import ConfigError
from expunge.forward import check_grad_enabled
from expunge.surgery import Progress


@torch.enable_grad()
def run_recipe(predict: Predictor, recipe: MethodRecipe, split: Split, options: RunOptions) -> None:
    """Carry out a recipe and leave the model in evaluation mode.

    Gradients are computed under ``torch.no_grad`` too. Objectives and masks look at the model before the first stage
    changes it. A ``SelectStage`` belongs to the descents right
    before it. The first descent has the run's seed, each later one a seed of its own; the history counts through.

    Args:
        predict: The model to be changed in place, and how to read its logits.
        recipe: What to do.
        split: The examples.
        options: Seed, precision, normalization policy, callbacks.

    Raises:
        ExpungeError: If the model, the data or a loss does not allow it; before the first update where possible.
    """
    check_grad_enabled()
    check_selection(recipe)
    if options.distributed:
        check_process_group()
        broadcast_weights(predict.model)
    predict.model.eval()
    for stage in recipe.stages:
        if isinstance(stage, TrainStage) and options.distributed:
            check_stage_distributed(stage, predict.model, stage.batch_norm or options.batch_norm)
    for stage in recipe.stages:
        if isinstance(stage, TrainStage):
            prepare_stage(stage, predict, split)
    RecipeRunner(recipe.stages, predict, split, options).run()
    predict.model.eval()


def check_selection(recipe: MethodRecipe) -> None:
    """Refuse a recipe with a selection that has no iterates to select from."""
    for before, stage in zip((None, *recipe.stages), recipe.stages, strict=False):
        if isinstance(stage, SelectStage) and not isinstance(before, TrainStage):
            raise ConfigError("a selection right after a descent", f"'{stage.label}' after none", "reorder the recipe")


class RecipeRunner:
    """A recipe under way: what has been done, and the iterates that a selection will choose from.

    Args:
        stages: All stages of the recipe.
        predict: The model to be changed.
        split: The examples.
        options: Of the whole run.
    """

    def __init__(self, stages: tuple[Stage, ...], predict: Predictor, split: Split, options: RunOptions) -> None:
        self.stages, self.predict, self.split, self.options = stages, predict, split, options
        self.train_stages = [stage for stage in stages if isinstance(stage, TrainStage)]
        self.stage_lengths = [stage.epochs * len(make_sampler(stage, split, 0)) for stage in self.train_stages]
        self.stage_index, self.train_stages_done = 0, 0
        self.snapshots: list[tuple[Measurements, dict[str, Any]]] = []
        self.stage_runner: StageRunner | None = None
        self.saved_stage_state: Mapping[str, Any] | None = None

    def run(self) -> None:
        """Carry out every stage, those left over where the run goes on from a checkpoint."""
        checkpoints = self.options.checkpoints
        if checkpoints is not None:
            checkpoints.register("run", self)
        while self.stage_index < len(self.stages):
            self.run_stage(self.stage_index, self.stages[self.stage_index])
            self.stage_index, self.stage_runner = self.stage_index + 1, None
            if checkpoints is not None and checkpoints.is_due():
                checkpoints.save()

    def state_dict(self) -> dict[str, Any]:
        """Return where the run stands: stage, iterates, the model's state, and the descent under way."""
        model = self.predict.model
        return {
            "number": self.stage_index,
            "done": self.train_stages_done,
            "iterates": [(dict(measurements), state) for measurements, state in self.snapshots],
            "model": model.state_dict(),
            "unnamed": non_persistent_buffers(model),
            "descent": None if self.stage_runner is None else self.stage_runner.state_dict(),
            "generators": get_rng_states(device_of(model)),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; edits that gave the model other weights than it came with are applied again first."""
        model = self.predict.model
        self.stage_index = read_count(state, "number", len(self.stages))
        self.train_stages_done = read_count(state, "done", len(self.train_stages))
        self.snapshots = [(measurements, weights) for measurements, weights in state["iterates"]]
        if tensor_shapes(model.state_dict()) != tensor_shapes(state["model"]):
            for number, stage in enumerate(self.stages[: self.stage_index]):
                if isinstance(stage, EditStage):
                    apply_edit(stage, self.predict, self.split, self.options.seed + number)
        model.load_state_dict(state["model"])
        for name, buffer in non_persistent_buffers(model).items():
            buffer.copy_(state["unnamed"][name])
        self.saved_stage_state = None if state["descent"] is None else dict(state["descent"])
        set_rng_states(state["generators"], device_of(model))

    def run_stage(self, index: int, stage: Stage) -> None:
        """Carry out the next stage."""
        if isinstance(stage, EditStage):
            apply_edit(stage, self.predict, self.split, self.options.seed + index)
        elif isinstance(stage, TrainStage):
            self.train(stage, find_selection(self.stages, index))
        else:
            chosen = broadcast_from_rank0(
                stage.rule([measurements for measurements, _ in self.snapshots]), self.options.distributed
            )
            self.predict.model.load_state_dict(self.snapshots[chosen][1])
            self.snapshots.clear()

    def train(self, stage: TrainStage, select: SelectStage | None) -> None:
        """Carry out a descent, keeping the start and each epoch's end for the selection after it."""

        def keep(_: int) -> None:
            if select is not None:
                self.snapshots.append((measure_model(select, self.predict, self.split), copy_state(self.predict.model)))

        if not self.snapshots:
            keep(0)
        seed = combine_seeds(self.options.seed, self.train_stages_done) if self.train_stages_done else self.options.seed
        epochs = sum(earlier.epochs for earlier in self.train_stages[: self.train_stages_done])
        previous = Progress(sum(self.stage_lengths[: self.train_stages_done]), sum(self.stage_lengths), epochs)
        # Only here: what re-initializes weights draws them in the order of memory. Ranks have a layout of their own.
        layout = channels_last_memory(
            self.predict.model, False if self.options.distributed else self.options.channels_last
        )
        with layout, compiled(self.predict.model, self.options.compile):
            self.stage_runner = StageRunner(
                self.predict, stage, self.split, replace(self.options, seed=seed), keep, previous
            )
            if self.saved_stage_state is not None and self.options.checkpoints is not None:
                with reading_state("descent", self.options.checkpoints.folder):
                    self.stage_runner.load_state_dict(self.saved_stage_state)
                self.saved_stage_state = None
            self.stage_runner.run()
        self.train_stages_done += 1


def find_selection(stages: tuple[Stage, ...], index: int) -> SelectStage | None:
    """Return the selection that ends the run of descents at ``index``, if one does."""
    rest = (stage for stage in stages[index:] if not isinstance(stage, TrainStage))
    following = next(rest, None)
    return following if isinstance(following, SelectStage) else None


def measure_model(select: SelectStage, predict: Predictor, split: Split) -> Measurements:
    """Measure a model in evaluation mode and put every module's mode back."""
    with evaluation_mode(predict.model):
        return select.measure(predict, split)


def copy_state(model: nn.Module) -> dict[str, Any]:
    """Return a copy of a model's weights and statistics, in the CPU's memory."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def prepare_stage(stage: TrainStage, predict: Predictor, split: Split) -> None:
    """Let what a stage consists of look at the original and at the data."""
    for objective in stage.objectives:
        objective.prepare(predict, split)
    if stage.mask is not None:
        stage.mask.prepare(predict, split)


def apply_edit(stage: EditStage, predict: Predictor, split: Split, seed: int) -> None:
    """Apply a closed-form change with randomness of its own, leaving the global generators as they were."""
    with seeded_rng(seed, device_of(predict.model)), torch.no_grad():
        stage.apply(predict, split)


def non_persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that a model's own state leaves out."""
    named = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name not in named}


def tensor_shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}
