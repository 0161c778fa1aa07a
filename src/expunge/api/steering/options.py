"""What a caller wants carried out and under which conditions, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from expunge.api.steering.auto import build_default_method
from expunge.batch import Examples
from expunge.engine import ModelEMA, PrecisionName, RunOptions, validate_batch_norm_mode
from expunge.errors import ConfigError
from expunge.methods import Method, build_method
from expunge.tasks.task import Task


def resolve_method(
    family: Task,
    method: str | Method | None,
    sides: tuple[Examples, Examples],
    settings: Mapping[str, Any],
    *,
    budgeted: bool = False,
) -> Method:
    """Return the method for a model of a family; with None, what ``auto`` begins with or stands for."""
    if method is None and family.is_classifier:
        single = bool({*sides[0].targets.tolist()} & {*sides[1].targets.tolist()})
        return build_default_method(len(sides[1]), dict(settings), single=single)
    method_or_name = family.select_default_method(has_budget=budgeted) if method is None else method
    return validate_method(
        method_or_name,
        family.resolve_settings(method_or_name, settings) if isinstance(method_or_name, str) else dict(settings),
    )


def validate_method(method: str | Method, settings: dict[str, Any]) -> Method:
    """Return the method, built from its name where it is one."""
    if isinstance(method, str):
        return build_method(method, **settings)
    if not isinstance(method, Method):
        actual = f"the class {method.__name__}" if isinstance(method, type) else type(method).__name__
        raise ConfigError("the name of a method or a Method", actual, "make one first, as in method=EUPMU()")
    if settings:
        raise ConfigError("settings in the Method itself", "settings beside it", "pass the method by name")
    return method


def validate_options(conditions: RunOptions) -> RunOptions:
    """Return the conditions if they can be met."""
    counts = {
        "gradient_accumulation_steps": conditions.gradient_accumulation_steps,
        "log_gradients_every": conditions.log_gradients_every,
    }
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"{name} as a whole number of at least 1", f"{count!r}", "use the default")
    formats = get_args(PrecisionName)
    if conditions.precision not in formats:
        raise ConfigError(f"a precision ({', '.join(formats)})", f"{conditions.precision!r}", "choose one of them")
    if conditions.compile and conditions.distributed:
        raise ConfigError("one process for compile=True", "distributed=True beside it", "leave one out")
    if conditions.ema_decay is not None:
        ModelEMA([], conditions.ema_decay)
    validate_batch_norm_mode(conditions.batch_norm)
    return conditions
