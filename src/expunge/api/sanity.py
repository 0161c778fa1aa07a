"""The sanity check before a run: whether the model knows the data that it is said to have been trained on."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from expunge.api.loading import error_location
from expunge.batch import Predictor, Split, device_of
from expunge.budget import BudgetResult
from expunge.engine.randomness import get_rng_states, set_rng_states
from expunge.errors import DuplicateDataWarning, FitWarning, ModelError
from expunge.metrics.inference import preserving_state
from expunge.report.document import MISFIT_LEVELS
from expunge.request.request_file import RequestFile
from expunge.tasks.model_fit import ModelFit
from expunge.tasks.task import Task
from expunge.warnings_location import caller_stack_level


def measure_fit(family: Task, predict: Predictor, split: Split, *, has_budget: bool = False) -> tuple[ModelFit, ...]:
    """Return how well a model knows the examples of a request; model and random numbers are left as they were."""
    device = device_of(predict.model)
    before = get_rng_states(device)
    try:
        with preserving_state(predict.model):
            return family.measure_fit(predict, split, has_budget=has_budget)
    finally:
        set_rng_states(before, device)


def find_misfit(fits: Sequence[ModelFit]) -> ModelFit | None:
    """Return what shows that a model does not know data that figures rest on; None where nothing does.

    That examples to forget are not known is no such thing: they may have been learned badly, or be forgotten already.
    Held-out examples at chance are none either, as with a model that learned its examples by heart; below it they are.
    """
    return next((fit for fit in fits if (fit.side, fit.level) in MISFIT_LEVELS), None)


def check_fit(fits: Sequence[ModelFit]) -> None:
    """Refuse a model that knows the data no better than chance."""
    mismatch = find_misfit(fits)
    if mismatch is not None:
        hint = (
            "check the weights, the order of the labels and the scaling of the inputs, or set sanity_check to false to "
            "go on and be told so in the result"
        )
        raise ModelError("a model that knows the data of the request", f"that {mismatch.description}", hint)


def judge_fit(
    family: Task, predict: Predictor, split: Split, *, has_budget: bool, strict: bool
) -> tuple[ModelFit, ...]:
    """Return how well a model knows the examples of a request, after a warning where it seems not to.

    Where the examples repeat themselves, a warning says so too.
    """
    warn_of_copies(split.caveat)
    fits = measure_fit(family, predict, split, has_budget=has_budget)
    if has_budget and strict:
        check_fit(fits)
    warn_of_misfit(fits)
    return fits


def check_request_fit(
    config: RequestFile, family: Task, predict: Predictor, split: Split, *, key: str = "model"
) -> None:
    """Refuse a request to a model that knows the data no better than chance, unless it says not to look."""
    if config.sanity_check:
        with error_location(config, key):
            check_fit(measure_fit(family, predict, split, has_budget=getattr(config, "budget", None) is not None))


def warn_of_copies(caveat: str) -> None:
    """Warn, at the line of the caller, where data repeat themselves."""
    if caveat:
        warnings.warn(caveat, DuplicateDataWarning, stacklevel=caller_stack_level())


def warn_of_misfit(fits: Sequence[ModelFit]) -> None:
    """Warn, at the line of the caller, where a model seems not to know data of its request."""
    messages = [fit.warning for fit in fits if fit.warning]
    if messages:
        warnings.warn(" ".join(messages), FitWarning, stacklevel=caller_stack_level())


def build_fit_section(fits: Sequence[ModelFit]) -> dict[str, Any]:
    """Return a request's part of the result document about how well the model knew the data; nothing without it."""
    return {"fit": [fit.as_dict() for fit in fits]} if fits else {}


@contextlib.contextmanager
def fit_warning_filter() -> Iterator[None]:
    """Keep warnings of a misfit or of copies back inside the context, for a run that tells of it in its own words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        warnings.simplefilter("ignore", DuplicateDataWarning)
        yield


def apply_misfit(spending: BudgetResult | None, fits: Sequence[ModelFit]) -> BudgetResult | None:
    """Return what became of a budget, neither kept nor met where the model does not know the data."""
    mismatch = find_misfit(fits)
    if spending is None or mismatch is None:
        return spending
    return replace(spending, within_budget=False, target_met=None, misfit=mismatch.description)
