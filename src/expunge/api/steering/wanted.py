"""What a caller wants carried out and under which conditions, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from expunge.api.steering.auto import planned
from expunge.batch import Examples
from expunge.engine import Average, Conditions, Format, checked_policy
from expunge.errors import ConfigError
from expunge.methods import Method, build_method
from expunge.tasks.family import Family


def method_for(
    family: Family,
    method: str | Method | None,
    sides: tuple[Examples, Examples],
    settings: Mapping[str, Any],
    *,
    budgeted: bool = False,
) -> Method:
    """Return the method for a model of a family; with None, what ``auto`` begins with or stands for.

    Args:
        family: Of the model.
        method: The method, its name, or None.
        sides: Examples to forget and to keep.
        settings: Of the method.
        budgeted: Whether it has to be one that keeps a budget, where ``auto`` chooses. Default false.

    Raises:
        ConfigError: If it is neither a name nor a method, or a setting is not understood.
    """
    if method is None and family.votes:
        single = bool({*sides[0].targets.tolist()} & {*sides[1].targets.tolist()})
        return planned(len(sides[1]), dict(settings), single=single)
    named = family.stands_for(budgeted=budgeted) if method is None else method
    return checked_method(named, family.settings(named, settings) if isinstance(named, str) else dict(settings))


def checked_method(method: str | Method, settings: dict[str, Any]) -> Method:
    """Return the method, built from its name where it is one.

    Raises:
        ConfigError: If it is neither a name nor a method, or a setting is not understood.
    """
    if isinstance(method, str):
        return build_method(method, **settings)
    if not isinstance(method, Method):
        found = f"the class {method.__name__}" if isinstance(method, type) else type(method).__name__
        raise ConfigError("the name of a method or a Method", found, "make one first, as in method=EUPMU()")
    if settings:
        raise ConfigError("settings in the Method itself", "settings beside it", "pass the method by name")
    return method


def checked_conditions(conditions: Conditions) -> Conditions:
    """Return the conditions if they can be met.

    Raises:
        ConfigError: If a count is not positive, the decay of an average is out of its range, or the
            precision or the policy has no such name.
    """
    counts = {"micro_batches": conditions.micro_batches, "observe_every": conditions.observe_every}
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"{name} as a whole number of at least 1", f"{count!r}", "use the default")
    formats = get_args(Format)
    if conditions.precision not in formats:
        raise ConfigError(f"a precision ({', '.join(formats)})", f"{conditions.precision!r}", "choose one of them")
    if conditions.compile and conditions.shared:
        raise ConfigError("one process for compile=True", "shared=True beside it", "leave one out")
    if conditions.average is not None:
        Average([], conditions.average)
    checked_policy(conditions.normalisation)
    return conditions
