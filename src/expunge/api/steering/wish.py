"""What a caller wants of a budget, and whether it can be promised."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, log10
from typing import Any, NamedTuple, Protocol, cast, get_args

import torch
from torch import Tensor

from expunge.api.admission import refuse_repeats
from expunge.batch import Examples, Split
from expunge.budget import Budget, Preference, examples_needed, one_per_id, smallest_of, split_holdout, whole_classes
from expunge.budget.resampling import LEAST
from expunge.budget.spending import amount
from expunge.data import Subset, ids_of, repeats
from expunge.engine import Descend, Recipe
from expunge.errors import ConfigError, DataError
from expunge.tasks.family import Family

DELTA = 0.05
"""Level of the utility certificate."""
NO_FLOOR = 1e-9
"""The least loss of models without classes."""


class Wish(NamedTuple):
    """What the caller wants of the budget.

    Args:
        budget: What may be spent.
        prefer: What comes first where the budget cannot be kept at the forgetting that was asked for.
    """

    budget: Budget
    prefer: Preference


class Halves(NamedTuple):
    """Held-out examples of the classes that stay.

    Args:
        control: They steer.
        certify: They are opened once, at the end.
    """

    control: Examples
    certify: Examples


class Steered(Protocol):
    """A surgery that a budget can steer."""

    tolerance: Tensor

    def anchor(self, rise: float | Tensor) -> None:
        """Take over a measured rise of the retain loss."""


def checked_wish(budget: Any, prefer: str, settings: dict[str, Any], average: float | None) -> Wish | None:
    """Return what the caller wants of a budget, None without one.

    Raises:
        ConfigError: If it does not fit together.
    """
    if prefer not in get_args(Preference):
        raise ConfigError("prefer='budget' or 'forgetting'", f"{prefer!r}", "choose one of them")
    if budget is None:
        return None
    if not isinstance(budget, Budget):
        raise ConfigError("a Budget", type(budget).__name__, "write for example Budget(points=1.0)")
    if "tolerance" in settings or average is not None:
        found = "tolerance= beside it" if "tolerance" in settings else "average= beside it"
        raise ConfigError("a budget that alone decides how far the run goes", found, "leave one of them out")
    return Wish(budget, cast(Preference, prefer))


def suited(wish: Wish | None, family: Family) -> Wish | None:
    """Return the wish as a family understands it.

    The loss of models without classes has no unit in which a least loss could be stated: a share of it is of all of it.

    Raises:
        ConfigError: If the unit makes no sense there, or the family can keep no budget.
    """
    if wish is None or family.votes:
        return wish
    if not family.steerable:
        raise unbudgeted(family)
    if wish.budget.points is not None:
        cure = "write for example Budget(relative=0.05), or {loss: 0.05} in a request file"
        raise ConfigError("a budget of the loss, or of your own metric, for a model without classes", "points", cure)
    return wish._replace(budget=replace(wish.budget, floor=min(wish.budget.floor, NO_FLOOR)))


def unbudgeted(family: Family) -> ConfigError:
    """Return the error about models that no budget can be kept for."""
    expected = "a classifier or a class-conditional diffusion model for a budget"
    return ConfigError(expected, f"a model of the family {family.name}", "leave budget out")


def promised(wish: Wish, split: Split, seed: int) -> Halves:
    """Return the two halves of the held-out examples that a budget is kept and certified on.

    Raises:
        DataError: If there are no held-out examples, or too few to certify the budget.
    """
    return halves_of(wish.budget, split, seed)


def without_certify(split: Split, halves: Halves | None) -> Split:
    """Return a split that holds out what steers alone, where there is a budget: what certifies is opened at the end."""
    return split if halves is None else replace(split, holdout=halves.control)


def steering(split: Split, wish: Wish | None, seed: int) -> Split:
    """Return a split that holds out what steers alone, where a budget is wished for."""
    return without_certify(split, None if wish is None else promised(wish, split, seed))


def steered(recipe: Recipe) -> Steered:
    """Return the surgery of a recipe that a budget can steer.

    Raises:
        ConfigError: If there is none.
    """
    stage = recipe.stages[0] if len(recipe.stages) == 1 else None
    surgery = stage.surgery if isinstance(stage, Descend) else None
    if not isinstance(getattr(surgery, "tolerance", None), Tensor) or not callable(getattr(surgery, "anchor", None)):
        found = "several stages or an edit" if surgery is None else type(surgery).__name__
        cure = "use method='budgeted', 'counterfactual', or a composition with the surgery cumulative or scheduled"
        raise ConfigError("one descent whose surgery keeps a budget", found, cure)
    return cast(Steered, surgery)


def halves_of(budget: Budget, split: Split, seed: int) -> Halves:
    """Return the control and the certify half of the held-out examples of the classes that stay.

    Of a budget that asks for no certificate all of them are control examples, and none is to certify. Where examples
    have ``ids``, all of one id are in the same half, and one of them certifies.

    Raises:
        DataError: If there are none, or too few to certify the budget.
        RequestError: If some are there more than once, and not because the data repeat themselves.
    """
    if split.holdout is None:
        cure = "pass holdout=, examples that the model was never trained on"
        raise DataError("held-out examples to measure the budget on", "none", cure)
    whole = whole_classes(split)
    stays = (~torch.isin(split.holdout.targets, torch.tensor(whole, dtype=torch.int64))).nonzero().flatten()
    if not budget.certify:
        if not len(stays):
            raise DataError("held-out examples of the classes that stay", "none", "hold out more examples")
        return Halves(Subset(split.holdout, stays), Subset(split.holdout, []))
    if not split.caveat:
        refuse_repeats("hold out", Subset(split.holdout, stays), (split.retain, split.forget))
    # A certificate counts each example as independent of the others: of copies, and of one id, it takes one.
    once = stays[torch.from_numpy(~repeats(Subset(split.holdout, stays)))]
    ids = ids_of(split.holdout)
    each = one_per_id(ids, once, seed)
    check_both(budget, len(each))
    control, certify = (each[half] for half in split_holdout(split.holdout.targets.cpu()[each], seed))
    check_enough(budget, len(control), len(certify), len(stays), by_id=len(each) < len(once))
    if ids is not None and len(each) < len(once):
        steering = {ids[place] for place in control.tolist()}
        control = torch.tensor([place for place in once.tolist() if ids[place] in steering])
    return Halves(Subset(split.holdout, control), Subset(split.holdout, certify))


def check_both(budget: Budget, passed: int) -> None:
    """Refuse held-out examples that are too few for a half that steers and one that certifies.

    Raises:
        DataError: If there is not one for each, with the number of examples that would do.
    """
    if passed < 2:
        needed = 2 * (examples_needed(budget, DELTA) or 1)
        expected = f"at least {needed:,} held-out examples of the classes that stay, half to steer and half to certify"
        cure = f"hold out {needed - passed:,} more, or set certify to false to let all of them steer"
        raise DataError(expected, f"{passed}", cure)


def check_enough(budget: Budget, control: int, certify: int, given: int, *, by_id: bool = False) -> None:
    """Refuse a certify half that could not certify the budget even if no example of it were lost.

    Args:
        budget: What may be spent.
        control: Examples of the control half.
        certify: Examples of the certify half.
        given: Held-out examples of the classes that stay, those that repeat others included.
        by_id: Whether those counted are ids, of which some have several examples. Default false.

    Raises:
        DataError: If it is too small, with the number of examples that would do.
    """
    least, wanted = smallest_of(budget, certify, DELTA), amount(budget, budget.allowed)
    if least is None:
        is_enough, reach, cure = certify >= LEAST, "are too few for an approximate bound", ""
    else:
        reachable = amount(budget, _rounded_up(budget.scale * least))
        is_enough, cure = budget.scale * least <= budget.allowed, f"allow {reachable}, "
        reach = f"can certify a drop of {reachable} at the least"
    if is_enough:
        return
    without = f"{cure}or set certify to false to steer and measure without a certificate"
    needed = examples_needed(budget, DELTA)
    if needed is None:
        found = f"one of {wanted}, which no number of examples can certify"
        raise DataError("a budget above 0 with a certificate", found, without)
    passed = control + certify
    expected = f"at least {2 * needed:,} held-out examples of the classes that stay to certify a budget of {wanted}"
    counted = f"{passed:,}" if passed == given else f"{passed:,} {'ids in' if by_id else 'distinct ones of'} {given:,}"
    found = f"{counted}, of which half steer and the other {certify:,} {reach}"
    raise DataError(expected, found, f"hold out {2 * needed - passed:,} more, {without}")


def _rounded_up(value: float) -> float:
    """Return a number of three digits that is not below the value.

    Examples:
        >>> _rounded_up(5.2781)
        5.28
    """
    unit = 10 ** (floor(log10(value)) - 2)
    return float(f"{ceil(value / unit) * unit:.3g}")
