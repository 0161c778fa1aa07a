"""What a call of ``unlearn`` comes to: the method with what was left open, and what keeps it inside a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from expunge.api.steering.auto import SearchResult, search_and_fit
from expunge.api.steering.budget_validation import BudgetOptions, find_controllable_surgery, make_budget_split
from expunge.api.steering.controller import BudgetController
from expunge.api.steering.criterion import make_criterion
from expunge.api.steering.lr_range_test import search_generative
from expunge.api.steering.trial import TrialRunner
from expunge.batch import Predictor, Split
from expunge.budget import evaluate_model
from expunge.engine import MethodRecipe, RunOptions
from expunge.errors import ConfigError
from expunge.methods import Method
from expunge.tasks.task import Task


@dataclass(frozen=True)
class UnlearnRequest:
    """What is asked for, checked.

    Args:
        family: Of the model.
        original: The model as it was handed in.
        split: The request.
        method: With the settings that are known.
        settings: Those that the caller wrote.
        conditions: Of the run.
        deadline: When the run has to be done, as ``time.perf_counter`` tells it.
        automatic: Whether ``auto`` chose the method.
    """

    family: Task
    original: Predictor
    split: Split
    method: Method
    settings: Mapping[str, Any]
    conditions: RunOptions
    deadline: float
    automatic: bool

    @property
    def needs_lr_search(self) -> bool:
        """Whether the learning rate is left to be found."""
        return self.automatic and "lr" not in self.settings

    def build_recipe(self, method: Method) -> MethodRecipe:
        """Return the stages of a method for this family."""
        return self.family.translate_recipe(method.recipe(self.conditions.seed))


@dataclass(frozen=True)
class RunPlan:
    """How a request is carried out.

    Args:
        method: With every setting.
        split: The request, as far as the run uses it; a keeper has its own part of it.
        recipe: The stages.
        record: What was tried and found; None where nothing was searched.
        controller: What keeps it inside a budget; None without one.
        cut_short: Whether it was planned shorter for lack of time. Default false.
    """

    method: Method
    split: Split
    recipe: MethodRecipe
    record: dict[str, Any] | None = None
    controller: BudgetController | None = None
    cut_short: bool = False


def plan_run(request: UnlearnRequest, budget_options: BudgetOptions | None) -> RunPlan:
    """Return what is carried out, searched where something was left open."""
    if budget_options is not None:
        return plan_budgeted_run(request, budget_options)
    if not request.needs_lr_search or not request.family.learning_rates:
        return RunPlan(request.method, request.split, request.build_recipe(request.method))
    search_result = search_generative(
        request.family, request.original, request.split, request.settings, request.conditions, request.deadline
    )
    return RunPlan(
        search_result.method, search_result.split, request.build_recipe(search_result.method), search_result.record
    )


def plan_budgeted_run(request: UnlearnRequest, budget_options: BudgetOptions) -> RunPlan:
    """Return what is carried out inside a budget."""
    if request.needs_lr_search and request.conditions.distributed:
        hint = "name a method and its learning rate, such as auto with lr: .01"
        raise ConfigError("nothing to search for on several ranks", "a budget without a learning rate", hint)
    halves = make_budget_split(budget_options, request.split, request.conditions.seed)
    find_controllable_surgery(request.build_recipe(request.method))
    baseline = None
    if budget_options.budget.metric is not None:
        # A metric that fails on the model as it is must not do so after the search.
        baseline = evaluate_model(request.original, halves.control, budget_options.budget.metric_fn)
    search_result = SearchResult(request.method, request.split)
    if request.needs_lr_search and request.family.is_classifier:
        trials = TrialRunner(budget_options, request.original, request.split, halves.control, request.conditions)
        search_result = search_and_fit(request.method, trials, request.deadline)
    elif request.needs_lr_search and request.family.learning_rates:
        control_split = replace(request.split, holdout=halves.control)
        search_result = search_generative(
            request.family,
            request.original,
            control_split,
            request.settings,
            request.conditions,
            request.deadline,
            budget_options.budget,
        )
    recipe, criterion = (
        request.build_recipe(search_result.method),
        make_criterion(request.family, search_result.split, halves.control),
    )
    num_evaluations, shared = search_result.num_evaluations, request.conditions.distributed
    controller = BudgetController(
        budget_options,
        request.original,
        recipe,
        search_result.split,
        halves,
        num_evaluations,
        shared,
        criterion=criterion,
        baseline=baseline,
    )
    return RunPlan(
        search_result.method, request.split, recipe, search_result.record, controller, search_result.cut_short
    )
