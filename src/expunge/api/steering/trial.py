"""Trials: short runs on a share of the data, judged on control examples."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch

from expunge.api.steering.budget_validation import BudgetOptions, HoldoutSplit
from expunge.api.steering.controller import BudgetController
from expunge.batch import Examples, Predictor, Split
from expunge.budget import ControlEvaluation, EvalResult, ForgettingCriterion, evaluate_model, find_forgotten_classes
from expunge.budget.criterion import MAX_RECOGNIZED, subsample_classes
from expunge.data import Subset
from expunge.engine import RunOptions, run_recipe
from expunge.engine.run_options import noop
from expunge.errors import MetricError, NotFiniteError
from expunge.forward import copy_model
from expunge.methods import Method
from expunge.metrics import class_weights

TIE_TOLERANCE = 1.0
"""Points of distance that trials do not tell apart."""
EVAL_SUBSET_SIZE = 2_000
"""Examples of each kind that a trial is judged on, at most."""
MIN_TRIAL_STEPS = 24
"""Updates of a trial, at least."""
TRIAL_EVALUATIONS = 2
"""Control readings of a trial, at most."""
MIN_EXAMPLES = 512
"""Examples of a share, of the forgotten and of the retained ones, at least: fewer tell no rate from another."""


class Trial(NamedTuple):
    """What a short run came to.

    Args:
        lr: Learning rate.
        loss_increase: Of the held-out loss, in nats; infinite where the run diverged.
        spent: In the budget's own unit.
        recognized: Share of the forgotten classes that is still recognized beyond what is permitted.
        distance: |Δ train accuracy| + |Δ control accuracy| + |accuracy on forgotten single examples − the original's
            on control examples, weighted to the same classes| + 100 |AUC − ½| of telling these apart within classes,
            in points; for whole classes what the control accuracy lost.
        updates: That were made.
        seconds: That they took, readings included.
        pace: Seconds of one update, readings apart; of a run that diverged, of all of it.
        reading: Seconds of looking at one example.
    """

    lr: float
    loss_increase: float
    spent: float = math.inf
    recognized: float = math.inf
    distance: float = math.inf
    updates: int = 1
    seconds: float = 0.0
    pace: float = 0.0
    reading: float = 0.0

    def sort_key(self, allowed: float) -> tuple[bool, float, float]:
        """Return what is to be least: budgets that are broken, then recognition, then distance."""
        return not self.spent <= allowed, self.recognized, self.distance

    def is_tied_with(self, best: Trial) -> bool:
        """Return whether it is within the noise of the best one, so that the smaller rate is to be preferred.

        A trial is shorter than the run, which flatters large rates.
        """
        return self.recognized <= best.recognized and self.distance <= best.distance + TIE_TOLERANCE

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values; what is not finite is None, as JSON has no NaN."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


@dataclass(frozen=True)
class TrialRunner:
    """Runs candidates on a share of the data.

    Args:
        budget_options: The budget.
        original: The model as it was handed in.
        split: The examples of the share.
        control: Held-out examples of the classes that stay.
        conditions: Of the run.
    """

    budget_options: BudgetOptions
    original: Predictor
    split: Split
    control: Examples
    conditions: RunOptions

    @cached_property
    def baseline(self) -> EvalResult:
        """The original on the control examples."""
        return evaluate_model(self.original, self.control, self.budget_options.budget.metric_fn)

    def on_fraction(self, fraction: float) -> TrialRunner:
        """Return the same on a share of the forgotten and of the retained examples, drawn by the run's seed."""
        forget = subsample_by_class(self.split.forget, fraction, MIN_EXAMPLES, self.conditions.seed)
        retain = subsample_by_class(self.split.retain, fraction, MIN_EXAMPLES, self.conditions.seed)
        return replace(self, split=replace(self.split, forget=forget, retain=retain))

    def without_logging(self) -> TrialRunner:
        """Return the same with few control examples and without telling anybody of its updates."""
        conditions = replace(self.conditions, on_step=noop, on_log=noop, log_gradients_every=0, checkpoints=None)
        return replace(
            self,
            control=subsample_by_class(self.control, EVAL_SUBSET_SIZE / len(self.control), 0, 0),
            conditions=conditions,
        )

    def copy_original(self) -> Predictor:
        work = copy.copy(self.original)
        work.model = copy_model(self.original.model)
        return work

    def run(self, method: Method) -> Trial:
        """Return what one run over the share comes to, of one pass or ``MIN_TRIAL_STEPS``."""
        method = replace(
            method, epochs=math.ceil(MIN_TRIAL_STEPS / math.ceil(len(self.split.retain) / method.batch_size))
        )
        start_time = time.perf_counter()
        work, recipe = self.copy_original(), method.recipe(self.conditions.seed)
        halves = HoldoutSplit(self.control, self.control)
        eval_seconds = 0.0
        try:
            controller = BudgetController(
                self.budget_options, self.original, recipe, self.split, halves, num_evaluations=TRIAL_EVALUATIONS
            )
            eval_seconds = time.perf_counter() - start_time
            run_recipe(work, recipe, controller.split, controller.attach(work, self.conditions))
        except (NotFiniteError, MetricError):
            seconds_lost = time.perf_counter() - start_time
            return Trial(
                method.lr,
                math.inf,
                seconds=seconds_lost,
                pace=seconds_lost,
                reading=(eval_seconds or seconds_lost) / self.eval_size,
            )
        evaluation, run_seconds = controller.evaluations[-1], time.perf_counter() - start_time
        seconds_per_step = max(0.0, run_seconds - (1 + TRIAL_EVALUATIONS) * eval_seconds) / evaluation.step
        scores, loss_increase = self.score(work, evaluation), evaluation.loss - self.baseline.loss
        seconds = time.perf_counter() - start_time
        return Trial(
            method.lr,
            loss_increase,
            evaluation.spent,
            *scores,
            evaluation.step,
            seconds,
            seconds_per_step,
            eval_seconds / self.eval_size,
        )

    @property
    def eval_size(self) -> int:
        """How many examples one look reads."""
        return len(self.control) + ForgettingCriterion(self.split, self.control).num_examples

    def score(self, work: Predictor, evaluation: ControlEvaluation) -> tuple[float, float]:
        """Return how much of the classes is still recognized, and how far accuracies are from where they should be."""
        excess_recognition = 0.0 if evaluation.recognized is None else max(0.0, evaluation.recognized - MAX_RECOGNIZED)
        control_change = self.control_accuracy - self.measure_accuracy(work, self.control)
        single = subsample_classes(
            self.split.forget, sorted({*self.split.forget.targets.tolist()} - {*find_forgotten_classes(self.split)})
        )
        if not len(single):
            return excess_recognition, control_change
        retain_change = self.retain_accuracy - self.measure_accuracy(work, self.split.retain)
        separability = 0.0 if evaluation.auc is None else 100 * abs(evaluation.auc - 0.5)
        return excess_recognition, abs(retain_change) + abs(control_change) + abs(
            self.measure_accuracy(work, single) - self.measure_expected_accuracy(single)
        ) + separability

    def measure_expected_accuracy(self, single: Examples) -> float:
        """Return the original's accuracy on control examples with the classes of forgotten ones, in percent.

        A request for many examples of a hard class is compared with that class and not with all of them.
        """
        control = subsample_by_class(self.control, EVAL_SUBSET_SIZE / len(self.control), 0, 0)
        weights = class_weights(single.targets.cpu().numpy(), control.targets.cpu().numpy())[1]
        correct = evaluate_model(self.original, control).correct
        return self.control_accuracy if correct is None or not weights.any() else 100.0 * float(weights @ correct)

    @cached_property
    def control_accuracy(self) -> float:
        """The original's accuracy on the control examples, in percent."""
        return self.measure_accuracy(self.original, self.control)

    @cached_property
    def retain_accuracy(self) -> float:
        """The original's accuracy on the retained examples of the share, in percent."""
        return self.measure_accuracy(self.original, self.split.retain)

    def measure_accuracy(self, predict: Predictor, examples: Examples) -> float:
        """Return the accuracy on some of the examples, in percent."""
        return (
            evaluate_model(predict, subsample_by_class(examples, EVAL_SUBSET_SIZE / len(examples), 0, 0)).accuracy
            or 0.0
        )


def subsample_by_class(examples: Examples, fraction: float, min_examples: int, seed: int) -> Examples:
    """Return a share of the examples, that of every class rounded up; all where the share is 1 or more.

    Examples:
        >>> from expunge.data import TensorExamples
        >>> subsample_classes = subsample_by_class(TensorExamples(torch.zeros(9, 1), [0] * 8 + [1]), 0.25, 0, seed=0)
        >>> subsample_classes.targets.tolist()
        [0, 0, 1]
    """
    fraction = max(fraction, min_examples / max(1, len(examples)))
    if fraction >= 1:
        return examples
    generator = torch.Generator().manual_seed(seed)
    positions = []
    for label in examples.targets.unique().tolist():
        at = (examples.targets == label).nonzero().flatten()
        positions.append(at[torch.randperm(len(at), generator=generator)[: math.ceil(fraction * len(at))]])
    return Subset(examples, torch.cat(positions).sort().values)
