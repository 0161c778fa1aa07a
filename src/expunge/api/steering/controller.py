"""``time_limit``: unlearning inside a budget, driven by readings of held-out examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from expunge.api.steering.budget_validation import (
    CERTIFICATE_DELTA,
    BudgetOptions,
    HoldoutSplit,
    find_controllable_surgery,
)
from expunge.api.steering.cooldown import Cooldown
from expunge.api.steering.evaluation_schedule import MAX_EVALUATIONS, schedule_evaluations
from expunge.batch import Predictor, Split
from expunge.budget import (
    BudgetResult,
    CertificationSample,
    ControlEvaluation,
    Criterion,
    CriterionValue,
    EvalResult,
    ForgettingCriterion,
    Selection,
    ToleranceScaler,
    certify_budget,
    evaluate_model,
    evaluate_model_safely,
    measure_for_certificate,
    pareto_front,
    select_checkpoint,
)
from expunge.engine import CONTINUE, EvalWeights, LoopAction, MethodRecipe, RunOptions, broadcast_from_rank0, run_recipe
from expunge.engine.run_options import noop
from expunge.engine.runner import copy_state
from expunge.errors import DataError
from expunge.surgery import Progress

EMA_DECAY = 0.99
"""β of the running mean of weights that is judged and handed over: the noise of large steps harms it little."""
MIN_COOLDOWN_STEPS = round(1 / (1 - EMA_DECAY))
"""Updates of a cool-down, at least: as far back as that mean reaches, so that it holds no update before."""
COOLDOWN_TOLERANCE = -1.0
"""τ once the request is met, in nats: what is left of the budget is not spent, and the retain loss has all weight."""
ROLLBACK_FACTOR = 2.0
"""A stretch after which more than so many times the budget is spent is undone; less is left to the controller."""
ROLLBACK_LR_FACTOR = 0.5
"""Factor of the learning rate after a stretch that was undone."""


class BudgetController:
    """Keeps one run inside a budget.

    Held-out examples of the classes that stay are split into two halves. At ``num_evaluations`` steps the working
    model is measured in evaluation mode on the control half; the surgery is told the rise of the loss and given the τ
    that the budget amounts to by what has been observed (``ToleranceScaler``), and the best iterate so far is kept in
    the CPU's memory. At the end the best one is handed over and the certify half, which nothing has read before, is
    opened once.

    Args:
        budget_options: The budget.
        original: The model as it was handed in.
        recipe: What is to be carried out: one descent; its surgery has a ``tolerance`` and a ``set_measured_increase``.
        split: Of the request, with all held-out examples.
        holdout_split: Held-out examples of the classes that stay: what steers, and what certifies.
        num_evaluations: Evaluations on the control half, at most. Default ``MAX_EVALUATIONS``.
        distributed: Whether other processes carry out the same run; the figures of the first one count. Default
            false.
        criterion: Says what of the forgetting is missing. Default: ``ForgettingCriterion``, that of classifiers.
        baseline: The original on the control half. Default: it is measured.

    Raises:
        ConfigError: If the recipe cannot be steered.
        DataError: If the held-out loss of the model is not finite, or the metric fails on it.
    """

    def __init__(
        self,
        budget_options: BudgetOptions,
        original: Predictor,
        recipe: MethodRecipe,
        split: Split,
        holdout_split: HoldoutSplit,
        num_evaluations: int = MAX_EVALUATIONS,
        distributed: bool = False,
        criterion: Criterion | None = None,
        baseline: EvalResult | None = None,
    ) -> None:
        self.distributed = distributed
        self.budget_options, self.recipe, self.surgery, self.num_evaluations = (
            budget_options,
            recipe,
            find_controllable_surgery(recipe),
            num_evaluations,
        )
        self.control, self.certify = holdout_split
        self.criterion = ForgettingCriterion(split, self.control) if criterion is None else criterion
        self.split = replace(split, holdout=self.control)
        baseline = (
            evaluate_model(original, self.control, budget_options.budget.metric_fn) if baseline is None else baseline
        )
        self.baseline = broadcast_from_rank0(baseline, distributed)
        if not math.isfinite(self.baseline.loss):
            actual = "a loss of NaN or infinity on held-out examples"
            raise DataError("a finite held-out loss of the model", actual, "repair the held-out inputs")
        self.tolerance_scaler = ToleranceScaler(budget_options.budget.tolerance(self.baseline))
        self.evaluations: list[ControlEvaluation] = []
        self.evaluations.append(self.build_evaluation(original, self.baseline))
        self.checkpoints = {0: copy_state(original.model)}
        self.surgery.tolerance.fill_(self.tolerance_scaler.tolerance)
        self.cooldown: Cooldown | None = None
        self.on_evaluation: Callable[[ControlEvaluation], None] = noop

    def state_dict(self) -> dict[str, Any]:
        """Return evaluations, iterates, tolerance rule and cool-down; the surgery's state belongs to the descent."""
        return {
            "evaluations": [asdict(evaluation) for evaluation in self.evaluations],
            "states": self.checkpoints,
            "rule": asdict(self.tolerance_scaler),
            "cooldown": None if self.cooldown is None else tuple(self.cooldown),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.evaluations = [ControlEvaluation.from_dict(values) for values in state["evaluations"]]
        self.checkpoints, self.tolerance_scaler = dict(state["states"]), ToleranceScaler(**state["rule"])
        self.cooldown = None if state["cooldown"] is None else Cooldown(*state["cooldown"])

    def build_evaluation(self, predict: Predictor, result: EvalResult) -> ControlEvaluation:
        """Return an evaluation with what was spent and what of the forgetting is missing."""
        spent = math.inf if result.failed else self.budget_options.budget.compute_spent(self.baseline, result)
        # The model as handed in decides nothing, so that its evaluation takes no share of the level.
        criterion_value = broadcast_from_rank0(self.measure_forgetting(predict), self.distributed)
        measured = (result.step, result.loss, result.accuracy, result.value)
        return ControlEvaluation(
            *measured, spent, self.tolerance_scaler.tolerance, **criterion_value._asdict(), failed=result.failed
        )

    def measure_forgetting(self, predict: Predictor) -> CriterionValue:
        """Return what of the forgetting is missing; an evaluation that fails in the run finds nothing forgotten."""
        try:
            return self.criterion(predict, max(1, len(self.evaluations)))
        except DataError:
            if not self.evaluations:
                raise
            return CriterionValue(math.inf)

    def attach(self, work: Predictor, conditions: RunOptions) -> RunOptions:
        """Return the conditions with the readings among what happens after an update."""

        def guide(progress: Progress, judged: EvalWeights) -> LoopAction:
            action = CONTINUE
            if self.should_evaluate(progress):
                with judged():
                    action = self.evaluate_and_update(work, progress)
            return (
                action if action.stop or self.cooldown is None else action.scale_lr(self.cooldown.lr_factor(progress))
            )

        return replace(conditions, on_update=guide, ema_decay=EMA_DECAY)

    def should_evaluate(self, progress: Progress) -> bool:
        """Return whether there is a reading after this update."""
        is_cooldown_end = self.cooldown is not None and progress.step + 1 == self.cooldown.end
        return is_cooldown_end or progress.step + 1 in schedule_evaluations(progress.total, self.num_evaluations)

    def evaluate_and_update(self, work: Predictor, progress: Progress) -> LoopAction:
        """Measure the working model, steer the surgery by what is found, and keep the model if it is the best one."""
        result = broadcast_from_rank0(
            evaluate_model_safely(work, self.control, self.budget_options.budget.metric_fn, progress.step + 1),
            self.distributed,
        )
        if math.isfinite(result.loss):
            self.update_tolerance(result)
            self.evaluations.append(self.build_evaluation(work, result))
        else:
            measured = (result.step, result.loss, result.accuracy, result.value)
            self.evaluations.append(ControlEvaluation(*measured, math.inf, self.tolerance_scaler.tolerance, math.inf))
        self.on_evaluation(self.evaluations[-1])
        self.checkpoints[len(self.evaluations) - 1] = copy_state(work.model)
        self.checkpoints = {index: state for index, state in self.checkpoints.items() if not self.is_dominated(index)}
        return self.choose_action(progress)

    def choose_action(self, progress: Progress) -> LoopAction:
        """Return how to go on: land once the request is met, undo a stretch that overran the budget, else go on."""
        newest = self.evaluations[-1]
        if self.cooldown is not None and progress.step + 1 >= self.cooldown.end:
            return LoopAction(stop=True)
        if self.cooldown is None and newest.shortfall <= 0 and newest.spent <= self.budget_options.budget.allowed:
            self.cooldown = Cooldown.starting_after(progress, MIN_COOLDOWN_STEPS)
            self.surgery.tolerance.fill_(COOLDOWN_TOLERANCE)
        if newest.spent <= ROLLBACK_FACTOR * self.budget_options.budget.allowed:
            return CONTINUE
        selection = self.select_best()
        restored = 1 + selection.chosen if selection.within_budget else 0
        self.surgery.set_measured_increase(self.evaluations[restored].loss - self.baseline.loss)
        return LoopAction(lr_factor=ROLLBACK_LR_FACTOR, weights=self.checkpoints[restored])

    def update_tolerance(self, result: EvalResult) -> None:
        """Tell the surgery the rise of the loss, and the τ that the budget amounts to by now."""
        budget, loss_increase = self.budget_options.budget, result.loss - self.baseline.loss
        self.surgery.set_measured_increase(loss_increase)
        if budget.loss_increase is None and not result.failed:
            self.tolerance_scaler = self.tolerance_scaler.update(
                loss_increase, budget.compute_spent(self.baseline, result), budget.allowed
            )
            if self.cooldown is None:
                self.surgery.tolerance.fill_(self.tolerance_scaler.tolerance)

    def is_dominated(self, index: int) -> bool:
        """Return whether a later iterate is as cheap and forgets as much, so that this one is never handed over."""
        evaluation = self.evaluations[index]
        later = self.evaluations[index + 1 :] if index else ()
        return any(
            max(0.0, it.spent) <= max(0.0, evaluation.spent) and it.shortfall <= evaluation.shortfall for it in later
        )

    def select_best(self) -> Selection:
        """Return the choice among the iterates; the model that was handed in is none of them."""
        candidates = [look.as_candidate() for look in self.evaluations[1:]]
        return select_checkpoint(
            candidates, self.budget_options.budget.allowed, self.budget_options.priority, self.criterion.slack
        )

    def finalize(self, work: Predictor) -> BudgetResult:
        """Put the best iterate into the working model, and open the certify half.

        Where no iterate is inside the budget it is the model that was handed in, unless forgetting comes first.
        """
        selection = self.select_best()
        restore_original = not selection.within_budget and self.budget_options.priority == "budget"
        chosen = 0 if restore_original else 1 + selection.chosen
        skip_certificate = restore_original or not self.budget_options.budget.certify
        certification = (
            (None, "")
            if skip_certificate
            else certify_budget(
                self.budget_options.budget, self.make_certificate_evaluator(work), chosen, CERTIFICATE_DELTA
            )
        )
        work.model.load_state_dict(self.checkpoints[chosen])
        target_met = False if restore_original else self.evaluations[chosen].target_met
        pareto_indices = tuple(
            1 + index for index in pareto_front([look.as_candidate() for look in self.evaluations[1:]])
        )
        evaluations = tuple(self.evaluations)
        criterion_fields = self.criterion.limit, self.criterion.uses_model_error
        return BudgetResult(
            *self.budget_options,
            evaluations,
            chosen,
            restore_original or selection.within_budget,
            target_met,
            pareto_indices,
            *certification,
            *criterion_fields,
        )

    def make_certificate_evaluator(self, work: Predictor) -> Callable[[int], CertificationSample]:
        """Return how an iterate is read on the certify half."""

        def measure_checkpoint(index: int) -> CertificationSample:
            work.model.load_state_dict(self.checkpoints[index])
            return measure_for_certificate(self.budget_options.budget, work, self.certify)

        return measure_checkpoint


def run_plan(
    controller: BudgetController | None, work: Predictor, recipe: MethodRecipe, split: Split, conditions: RunOptions
) -> BudgetResult | None:
    """Carry out a recipe, inside a budget if there is one, and return what became of the budget."""
    if controller is None:
        run_recipe(work, recipe, split, conditions)
        return None
    run_recipe(work, recipe, controller.split, controller.attach(work, conditions))
    return controller.finalize(work)
