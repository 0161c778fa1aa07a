"""``auto`` for models without classes to be right about: a range test of the learning rate on their own loss."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from expunge.api.steering.auto import SearchResult, TimeAllocation
from expunge.api.steering.budget_validation import MIN_BASE_LOSS, find_controllable_surgery
from expunge.api.steering.evaluation_schedule import MAX_EVALUATIONS
from expunge.api.steering.options import resolve_method
from expunge.api.steering.search_state import SearchState
from expunge.api.steering.trial import Trial
from expunge.batch import Examples, Predictor, Split
from expunge.budget import Budget, EvalResult, evaluate_model, find_forgotten_classes
from expunge.data import Subset
from expunge.engine import CONTINUE, EvalWeights, LoopAction, MethodRecipe, RunOptions, run_recipe
from expunge.engine.run_options import noop
from expunge.errors import ConfigError, NotFiniteError
from expunge.forward import copy_model
from expunge.methods import Method
from expunge.surgery import Progress
from expunge.tasks.task import Task

MAX_LOSS_INCREASE = 0.05
"""What the loss on kept examples may rise by in a trial, relative to the original's."""
DEFAULT_TRIAL_BUDGET = Budget(loss_increase=MAX_LOSS_INCREASE, min_base_loss=MIN_BASE_LOSS)
"""The same as a budget, which is what a trial may spend where the caller has none."""
MAX_STEPS = 300
"""Updates of the run, at most."""
BUDGET_STEP_FACTOR = 2
"""How many times as many there may be inside a budget, where forgetting is held back and ends as soon as it is met."""
CHECK_EVERY = 20
"""Updates from one evaluation of the forgotten examples to the next."""
CHECK_SIZE = 64
"""Forgotten examples that are evaluated."""
PATIENCE = 2
"""Evaluations in a row that have to find them forgotten: one alone may be luck."""
TRIAL_STEPS = 20
"""Updates of a trial."""
EVAL_SUBSET_SIZE = 512
"""Examples that a trial is judged on."""
SEARCH_TIME_FRACTION = 0.5
"""Share of the time that the search may take at most."""


@dataclass(frozen=True)
class LearningRateRangeTest:
    """Finds the largest learning rate that leaves the loss on kept examples nearly where it was.

    After L. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017, arXiv 1506.01186): from the smallest
    rate up, ``TRIAL_STEPS`` updates each from the original, until (L(θ) − L(θ₀)) / L(θ₀) exceeds
    ``MAX_LOSS_INCREASE``; L is the mean loss that the model was trained on, over held-out examples of what stays, or
    else over retained ones, with the same noise each time. The largest rate before that is taken, the smallest of all
    where none is. That limit and these rates were set by models that forget other classes than those whose figures are
    shown.

    Args:
        original: The model as it was handed in.
        split: The request.
        build: Makes the method that ``auto`` stands for, of settings that differ from its own.
        recipe: The stages of a method for this model.
        conditions: Of the run.
        deadline: When the run has to be done, as ``time.perf_counter`` tells it.
        state: What the run tried before it was resumed. Default: nothing.
        budget: What a trial may spend on the held-out examples. Default: ``MAX_LOSS_INCREASE`` of the loss.
    """

    original: Predictor
    split: Split
    build: Callable[..., Method]
    recipe: Callable[[Method], MethodRecipe]
    conditions: RunOptions
    deadline: float
    state: SearchState = field(default_factory=SearchState)
    budget: Budget = DEFAULT_TRIAL_BUDGET

    def run(self, lrs: Sequence[float], *, fixed_epochs: bool) -> SearchResult:
        """Return the method with its rate, what the run uses of the data, and what was tried.

        Args:
            lrs: To be tried, from the smallest up.
            fixed_epochs: Whether the caller chose the epochs, so that all retained examples are used.
        """
        if self.state.outcome is None:
            self.state.outcome = self.search(lrs)
            self.state.save()
        lr, record = self.state.outcome["lr"], dict(self.state.outcome["record"])
        num_evaluations: int = self.state.outcome["evaluations"]
        if num_evaluations < MAX_EVALUATIONS:
            record["evaluations"] = num_evaluations
        if fixed_epochs:
            return SearchResult(self.build(lr=lr), self.split, record, num_evaluations)
        retain, epochs = self.select_subset(self.state.outcome["room"])
        if len(retain) < len(self.split.retain):
            record["retain"] = len(retain)
        return SearchResult(
            self.build(lr=lr, epochs=epochs), replace(self.split, retain=retain), record, num_evaluations
        )

    def search(self, lrs: Sequence[float]) -> dict[str, Any]:
        """Return the rate, the updates that there is time for, and the record."""
        start_time = time.perf_counter()
        trials = self.run_trials(lrs, start_time + SEARCH_TIME_FRACTION * (self.deadline - start_time))
        part = {"fraction": self.data_fraction(TRIAL_STEPS), "trials": [trial.as_dict() for trial in trials]}
        seconds = sum(trial.seconds for trial in trials)
        examples_name = "held-out" if self.split.holdout is not None else "retained"
        examples_name = examples_name if self.budget is DEFAULT_TRIAL_BUDGET else "control"
        lr = max((trial.lr for trial in trials if trial.spent <= self.budget.allowed), default=lrs[0])
        num_steps, seconds_per_example = sum(trial.updates for trial in trials), max(trial.reading for trial in trials)
        allocation = self.allocate(seconds / max(1, num_steps), seconds_per_example)
        record = {"rounds": [part], "lr": lr, "seconds": seconds, "examples": examples_name}
        return {"lr": lr, "room": allocation.updates, "evaluations": allocation.num_evaluations, "record": record}

    def allocate(self, seconds_per_step: float, seconds_per_example: float) -> TimeAllocation:
        """Return what there is time for; without a budget there are no control readings.

        Args:
            seconds_per_step: Seconds of an update.
            seconds_per_example: Seconds of looking at one example.
        """
        seconds_left = max(0.0, self.deadline - time.perf_counter())
        if self.budget is DEFAULT_TRIAL_BUDGET or self.split.holdout is None:
            return TimeAllocation(
                max(TRIAL_STEPS, int(min(MAX_STEPS, seconds_left / max(seconds_per_step, 1e-9)))), MAX_EVALUATIONS
            )
        allocation = TimeAllocation.allocate(
            seconds_left, seconds_per_step, seconds_per_example * len(self.split.holdout)
        )
        return allocation._replace(updates=min(BUDGET_STEP_FACTOR * MAX_STEPS, allocation.updates))

    def run_trials(self, lrs: Sequence[float], search_deadline: float) -> list[Trial]:
        """Return a trial of each rate up to the first that is too large, or until the time is up."""
        examples = select_eval_examples(self.split)
        baseline = evaluate_model(self.original, examples, self.budget.metric_fn)
        if not self.state.rounds:
            self.state.rounds.append([])
        trials = self.state.rounds[0]
        for index, lr in enumerate(lrs):
            if index == len(trials):
                trials.append(self.run_trial(lr, examples, baseline))
                self.state.save()
            if not trials[index].spent <= self.budget.allowed or time.perf_counter() > search_deadline:
                break
        return trials

    def run_trial(self, lr: float, examples: Examples, baseline: EvalResult) -> Trial:
        """Return what ``TRIAL_STEPS`` updates come to."""
        start_time, work = time.perf_counter(), copy.copy(self.original)
        work.model = copy_model(self.original.model)
        retain, epochs = self.select_subset(TRIAL_STEPS)
        method = self.build(lr=lr, epochs=epochs)
        recipe = self.recipe(method)
        if self.budget is not DEFAULT_TRIAL_BUDGET:
            find_controllable_surgery(recipe).tolerance.fill_(self.budget.tolerance(baseline))
        without_logging = replace(self.conditions, on_step=noop, on_log=noop, log_gradients_every=0, checkpoints=None)
        try:
            run_recipe(work, recipe, replace(self.split, retain=retain), without_logging)
        except NotFiniteError:
            return Trial(lr, math.inf, seconds=time.perf_counter() - start_time)
        trained_at = time.perf_counter()
        result = evaluate_model(work, examples, self.budget.metric_fn)
        seconds_per_example = (time.perf_counter() - trained_at) / len(examples)
        num_steps = epochs * math.ceil(len(retain) / method.batch_size)
        spent, seconds = self.budget.compute_spent(baseline, result), time.perf_counter() - start_time
        return Trial(
            lr, result.loss - baseline.loss, spent, updates=num_steps, seconds=seconds, reading=seconds_per_example
        )

    def data_fraction(self, steps: int) -> float:
        """Return the share of the retained examples that so many updates need, 1 at most."""
        return min(1.0, steps * self.build().batch_size / len(self.split.retain))

    def select_subset(self, steps: int) -> tuple[Examples, int]:
        """Return the retained examples for so many updates, and the passes over them."""
        batch_size = self.build().batch_size
        retain = subsample(self.split.retain, steps * batch_size, self.conditions.seed)
        return retain, max(1, steps // math.ceil(len(retain) / batch_size))


class EarlyStopping:
    """Ends a run once the forgotten examples are no longer recognized.

    Args:
        family: Of the model.
        split: The request.
        record: What was tried and found; takes the figures of each evaluation, as ``recognized``.
    """

    def __init__(self, family: Task, split: Split, record: dict[str, Any]) -> None:
        self.family, self.examples = family, subsample(split.forget, CHECK_SIZE, 0)
        self.evaluations: list[dict[str, float]] = record.setdefault("recognized", [])

    def state_dict(self) -> dict[str, Any]:
        """Return the evaluations so far."""
        return {"evaluations": self.evaluations}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the record that was lent keeps its list."""
        self.evaluations[:] = state["evaluations"]

    def attach(self, work: Predictor, conditions: RunOptions) -> RunOptions:
        """Return the options with these evaluations after an update."""

        def guide(progress: Progress, judged: EvalWeights) -> LoopAction:
            if (progress.step + 1) % CHECK_EVERY:
                return CONTINUE
            with judged():
                recognition = self.family.measure_recognition(work, self.examples)
            if recognition is None:
                return CONTINUE
            self.evaluations.append({"step": progress.step + 1, **recognition._asdict()})
            newest = self.evaluations[-PATIENCE:]
            return LoopAction(stop=len(newest) == PATIENCE and all(it["fraction"] <= it["limit"] for it in newest))

        return replace(conditions, on_update=guide)


def search_generative(
    family: Task,
    original: Predictor,
    split: Split,
    settings: Mapping[str, Any],
    conditions: RunOptions,
    deadline: float,
    budget: Budget = DEFAULT_TRIAL_BUDGET,
) -> SearchResult:
    """Return what ``auto`` stands for in a family, with a rate that a range test found."""

    def build(**more: Any) -> Method:
        sides, inside = (split.forget, split.retain), budget is not DEFAULT_TRIAL_BUDGET
        return family.validate_method(resolve_method(family, None, sides, {**settings, **more}, budgeted=inside))

    def recipe(method: Method) -> MethodRecipe:
        return family.translate_recipe(method.recipe(conditions.seed))

    if conditions.distributed:
        hint = "name a learning rate, such as auto with lr: .0003"
        raise ConfigError("nothing to search for on several ranks", "auto without a learning rate", hint)
    range_test = LearningRateRangeTest(
        original, split, build, recipe, conditions, deadline, SearchState(conditions.checkpoints), budget
    )
    return range_test.run(family.learning_rates, fixed_epochs="epochs" in settings)


def select_eval_examples(split: Split) -> Examples:
    """Return the examples that a trial is judged on: held-out ones of what stays, or else retained ones."""
    examples = split.retain
    if split.holdout is not None:
        forgotten_classes = set(find_forgotten_classes(split))
        positions = [at for at, label in enumerate(split.holdout.targets.tolist()) if label not in forgotten_classes]
        examples = Subset(split.holdout, positions)
    return subsample(examples, EVAL_SUBSET_SIZE, 0)


def subsample(examples: Examples, count: int, seed: int) -> Examples:
    """Return so many of the examples, drawn at random; all where there are no more."""
    if count >= len(examples):
        return examples
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return Subset(examples, order[:count].sort().values)
