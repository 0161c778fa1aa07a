"""What a caller wants of a budget, and whether it can be promised."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, log10
from typing import Any, NamedTuple, Protocol, cast, get_args

import torch
from torch import Tensor

from expunge.api.validation import check_unique
from expunge.batch import Examples, Split
from expunge.budget import (
    Budget,
    Preference,
    count_needed_examples,
    find_forgotten_classes,
    min_certifiable_drop,
    select_one_per_id,
    split_holdout,
)
from expunge.budget.budget_result import format_amount
from expunge.budget.resampling import MIN_EXAMPLES
from expunge.data import Subset, find_duplicates, get_ids
from expunge.engine import MethodRecipe, TrainStage
from expunge.errors import ConfigError, DataError
from expunge.tasks.task import Task

CERTIFICATE_DELTA = 0.05
"""Level of the utility certificate."""
MIN_BASE_LOSS = 1e-9
"""The least loss of models without classes."""


class BudgetOptions(NamedTuple):
    """What the caller wants of the budget.

    Args:
        budget: What may be spent.
        priority: What comes first where the budget cannot be kept at the forgetting that was asked for.
    """

    budget: Budget
    priority: Preference


class HoldoutSplit(NamedTuple):
    """Held-out examples of the classes that stay.

    Args:
        control: They steer.
        certify: They are opened once, at the end.
    """

    control: Examples
    certify: Examples


class ControllableSurgery(Protocol):
    """A surgery that a budget can steer."""

    tolerance: Tensor

    def set_measured_increase(self, increase: float | Tensor) -> None:
        """Take over a measured rise of the retain loss."""


def validate_budget(
    budget: Any, priority: str, settings: dict[str, Any], ema_decay: float | None
) -> BudgetOptions | None:
    """Return what the caller wants of a budget, None without one."""
    if priority not in get_args(Preference):
        raise ConfigError("priority='budget' or 'forgetting'", f"{priority!r}", "choose one of them")
    if budget is None:
        return None
    if not isinstance(budget, Budget):
        raise ConfigError("a Budget", type(budget).__name__, "write for example Budget(accuracy_points=1.0)")
    if "tolerance" in settings or ema_decay is not None:
        actual = "tolerance= beside it" if "tolerance" in settings else "ema_decay= beside it"
        raise ConfigError("a budget that alone decides how far the run goes", actual, "leave one of them out")
    return BudgetOptions(budget, cast(Preference, priority))


def adapt_to_task(budget_options: BudgetOptions | None, family: Task) -> BudgetOptions | None:
    """Return the wish as a family understands it.

    The loss of models without classes has no unit in which a least loss could be stated: a share of it is of all of it.
    """
    if budget_options is None or family.is_classifier:
        return budget_options
    if not family.budget_method:
        raise no_budget_error(family)
    if budget_options.budget.accuracy_points is not None:
        hint = "write for example Budget(loss_increase=0.05), or {loss_increase: 0.05} in a request file"
        raise ConfigError("a budget of the loss, or of your own metric, for a model without classes", "points", hint)
    return budget_options._replace(
        budget=replace(budget_options.budget, min_base_loss=min(budget_options.budget.min_base_loss, MIN_BASE_LOSS))
    )


def no_budget_error(family: Task) -> ConfigError:
    """Return the error about models that no budget can be kept for."""
    expected = "a classifier or a class-conditional diffusion model for a budget"
    return ConfigError(expected, f"a model of the family {family.name}", "leave budget out")


def make_budget_split(budget_options: BudgetOptions, split: Split, seed: int) -> HoldoutSplit:
    """Return the two halves of the held-out examples that a budget is kept and certified on."""
    return make_holdout_split(budget_options.budget, split, seed)


def drop_certify_half(split: Split, holdout_split: HoldoutSplit | None) -> Split:
    """Return a split that holds out what steers alone, where there is a budget: what certifies is opened at the end."""
    return split if holdout_split is None else replace(split, holdout=holdout_split.control)


def hold_out_control_half(split: Split, budget_options: BudgetOptions | None, seed: int) -> Split:
    """Return a split that holds out what steers alone, where a budget is wished for."""
    return drop_certify_half(split, None if budget_options is None else make_budget_split(budget_options, split, seed))


def find_controllable_surgery(recipe: MethodRecipe) -> ControllableSurgery:
    """Return the surgery of a recipe that a budget can steer."""
    stage = recipe.stages[0] if len(recipe.stages) == 1 else None
    surgery = stage.surgery if isinstance(stage, TrainStage) else None
    if not isinstance(getattr(surgery, "tolerance", None), Tensor) or not callable(
        getattr(surgery, "set_measured_increase", None)
    ):
        actual = "several stages or an edit" if surgery is None else type(surgery).__name__
        surgeries = "the surgery pi_controller or budget_schedule"
        hint = f"use method='random_labels_with_budget', 'neighbor_labels', or a composition with {surgeries}"
        raise ConfigError("one descent whose surgery keeps a budget", actual, hint)
    return cast(ControllableSurgery, surgery)


def make_holdout_split(budget: Budget, split: Split, seed: int) -> HoldoutSplit:
    """Return the control and the certify half of the held-out examples of the classes that stay.

    Of a budget that asks for no certificate all of them are control examples, and none is to certify. Where examples
    have ``ids``, all of one id are in the same half, and one of them certifies.
    """
    if split.holdout is None:
        hint = "pass holdout=, examples that the model was never trained on"
        raise DataError("held-out examples to measure the budget on", "none", hint)
    forgotten_classes = find_forgotten_classes(split)
    kept_positions = (
        (~torch.isin(split.holdout.targets, torch.tensor(forgotten_classes, dtype=torch.int64))).nonzero().flatten()
    )
    if not budget.certify:
        if not len(kept_positions):
            raise DataError("held-out examples of the classes that stay", "none", "hold out more examples")
        return HoldoutSplit(Subset(split.holdout, kept_positions), Subset(split.holdout, []))
    if not split.caveat:
        check_unique("hold out", Subset(split.holdout, kept_positions), (split.retain, split.forget))
    # A certificate counts each example as independent of the others: of copies, and of one id, it takes one.
    unique_positions = kept_positions[torch.from_numpy(~find_duplicates(Subset(split.holdout, kept_positions)))]
    ids = get_ids(split.holdout)
    one_per_id_positions = select_one_per_id(ids, unique_positions, seed)
    check_both_halves(budget, len(one_per_id_positions))
    control, certify = (
        one_per_id_positions[half] for half in split_holdout(split.holdout.targets.cpu()[one_per_id_positions], seed)
    )
    check_certifiable(
        budget, len(control), len(certify), len(kept_positions), by_id=len(one_per_id_positions) < len(unique_positions)
    )
    if ids is not None and len(one_per_id_positions) < len(unique_positions):
        control_ids = {ids[place] for place in control.tolist()}
        control = torch.tensor([place for place in unique_positions.tolist() if ids[place] in control_ids])
    return HoldoutSplit(Subset(split.holdout, control), Subset(split.holdout, certify))


def check_both_halves(budget: Budget, num_examples: int) -> None:
    """Refuse held-out examples that are too few for a half that steers and one that certifies."""
    if num_examples < 2:
        needed = 2 * (count_needed_examples(budget, CERTIFICATE_DELTA) or 1)
        expected = f"at least {needed:,} held-out examples of the classes that stay, half to steer and half to certify"
        hint = f"hold out {needed - num_examples:,} more, or set certify to false to let all of them steer"
        raise DataError(expected, f"{num_examples}", hint)


def check_certifiable(budget: Budget, control: int, certify: int, num_holdout: int, *, by_id: bool = False) -> None:
    """Refuse a certify half that could not certify the budget even if no example of it were lost."""
    min_drop, allowed = min_certifiable_drop(budget, certify, CERTIFICATE_DELTA), format_amount(budget, budget.allowed)
    if min_drop is None:
        is_enough, reach, cure = certify >= MIN_EXAMPLES, "are too few for an approximate bound", ""
    else:
        reachable = format_amount(budget, _round_up(budget.scale * min_drop))
        is_enough, cure = budget.scale * min_drop <= budget.allowed, f"allow {reachable}, "
        reach = f"can certify a drop of {reachable} at the least"
    if is_enough:
        return
    hint = f"{cure}or set certify to false to steer and measure without a certificate"
    needed = count_needed_examples(budget, CERTIFICATE_DELTA)
    if needed is None:
        actual = f"one of {allowed}, which no number of examples can certify"
        raise DataError("a budget above 0 with a certificate", actual, hint)
    num_distinct = control + certify
    expected = f"at least {2 * needed:,} held-out examples of the classes that stay to certify a budget of {allowed}"
    counted = (
        f"{num_distinct:,}"
        if num_distinct == num_holdout
        else f"{num_distinct:,} {'ids in' if by_id else 'distinct ones of'} {num_holdout:,}"
    )
    actual = f"{counted}, of which half steer and the other {certify:,} {reach}"
    raise DataError(expected, actual, f"hold out {2 * needed - num_distinct:,} more, {hint}")


def _round_up(value: float) -> float:
    """Return a number of three digits that is not below the value.

    Examples:
        >>> _round_up(5.2781)
        5.28
    """
    unit = 10 ** (floor(log10(value)) - 2)
    return float(f"{ceil(value / unit) * unit:.3g}")
