"""What a call of ``unlearn`` comes to: the method with what was left open, and what keeps it inside a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from expunge.api.steering.auto import Found, searched
from expunge.api.steering.ranging import ranged
from expunge.api.steering.recognising import forgetting_of
from expunge.api.steering.trial import Trials
from expunge.api.steering.wish import Wish, promised, steered
from expunge.api.steering.within import Keeper
from expunge.batch import Predictor, Split
from expunge.budget import read
from expunge.engine import Conditions, Recipe
from expunge.errors import ConfigError
from expunge.methods import Method
from expunge.tasks.family import Family


@dataclass(frozen=True)
class Call:
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

    family: Family
    original: Predictor
    split: Split
    method: Method
    settings: Mapping[str, Any]
    conditions: Conditions
    deadline: float
    automatic: bool

    @property
    def open(self) -> bool:
        """Whether the learning rate is left to be found."""
        return self.automatic and "rate" not in self.settings

    def recipe(self, method: Method) -> Recipe:
        """Return the stages of a method for this family."""
        return self.family.recipe(method.recipe(self.conditions.seed))


@dataclass(frozen=True)
class Course:
    """How a request is carried out.

    Args:
        method: With every setting.
        split: The request, as far as the run uses it; a keeper has its own part of it.
        recipe: The stages.
        record: What was tried and found; None where nothing was searched.
        keeper: What keeps it inside a budget; None without one.
        hurried: Whether it was planned shorter for lack of time. Default false.
    """

    method: Method
    split: Split
    recipe: Recipe
    record: dict[str, Any] | None = None
    keeper: Keeper | None = None
    hurried: bool = False


def decided(call: Call, wish: Wish | None) -> Course:
    """Return what is carried out, searched where something was left open.

    Raises:
        ConfigError: If several processes share a run whose rate is to be searched.
        ExpungeError: If the budget cannot be promised.
    """
    if wish is not None:
        return inside(call, wish)
    if not call.open or not call.family.rates:
        return Course(call.method, call.split, call.recipe(call.method))
    found = ranged(call.family, call.original, call.split, call.settings, call.conditions, call.deadline)
    return Course(found.method, found.split, call.recipe(found.method), found.record)


def inside(call: Call, wish: Wish) -> Course:
    """Return what is carried out inside a budget.

    Raises:
        ConfigError: If several processes share a run whose rate is to be searched.
        ExpungeError: If the budget cannot be promised.
    """
    if call.open and call.conditions.shared:
        cure = "name a method and its rate, such as auto with rate: .01"
        raise ConfigError("nothing to search for on several ranks", "a budget without a learning rate", cure)
    halves = promised(wish, call.split, call.conditions.seed)
    steered(call.recipe(call.method))
    first = None
    if wish.budget.metric is not None:
        # A metric that fails on the model as it is must not do so after the search.
        first = read(call.original, halves.control, wish.budget.gauge)
    plan = Found(call.method, call.split)
    if call.open and call.family.votes:
        trials = Trials(wish, call.original, call.split, halves.control, call.conditions)
        plan = searched(call.method, trials, call.deadline)
    elif call.open and call.family.rates:
        judged = replace(call.split, holdout=halves.control)
        plan = ranged(call.family, call.original, judged, call.settings, call.conditions, call.deadline, wish.budget)
    recipe, judge = call.recipe(plan.method), forgetting_of(call.family, plan.split, halves.control)
    looks, shared = plan.looks, call.conditions.shared
    keeper = Keeper(wish, call.original, recipe, plan.split, halves, looks, shared, forgetting=judge, first=first)
    return Course(plan.method, call.split, recipe, plan.record, keeper, plan.hurried)
