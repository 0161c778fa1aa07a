"""The sanity check before a run: whether the model knows the data that it is said to have been trained on."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.api.reading import located
from expunge.api.request.request_file import RequestFile
from expunge.batch import Predictor, Split
from expunge.budget import Spending
from expunge.engine.randomness import generators_now, put_generators
from expunge.errors import CopyWarning, FitWarning, ModelError
from expunge.evaluation.collecting import home, undisturbed
from expunge.report.document import MISFITS
from expunge.tasks.family import Family
from expunge.tasks.fit import Fit


def measure_fit(family: Family, predict: Predictor, split: Split, *, budgeted: bool = False) -> tuple[Fit, ...]:
    """Return how well a model knows the examples of a request; model and random numbers are left as they were.

    Args:
        family: Of the model.
        predict: The model as it was handed in.
        split: The request.
        budgeted: Whether there is a budget to keep.
    """
    device = home(predict.model)
    before = generators_now(device)
    try:
        with undisturbed(predict.model):
            return family.fit(predict, split, budgeted=budgeted)
    finally:
        put_generators(before, device)


def misfit(fits: Sequence[Fit]) -> Fit | None:
    """Return what shows that a model does not know data that figures rest on; None where nothing does.

    That examples to forget are not known is no such thing: they may have been learned badly, or be forgotten already.
    Held-out examples at chance are none either, as with a model that learned its examples by heart; below it they are.
    """
    return next((fit for fit in fits if (fit.side, fit.level) in MISFITS), None)


def check_fit(fits: Sequence[Fit]) -> None:
    """Refuse a model that knows the data no better than chance.

    Raises:
        ModelError: If it does not.
    """
    found = misfit(fits)
    if found is not None:
        cure = (
            "check the weights, the order of the labels and the scaling of the inputs, or set sanity_check to false to "
            "go on and be told so in the result"
        )
        raise ModelError("a model that knows the data of the request", f"that {found.sentence}", cure)


def judge_fit(family: Family, predict: Predictor, split: Split, *, budgeted: bool, strict: bool) -> tuple[Fit, ...]:
    """Return how well a model knows the examples of a request, after a warning where it seems not to.

    Where the examples repeat themselves, a warning says so too.

    Args:
        family: Of the model.
        predict: The model as it was handed in.
        split: The request.
        budgeted: Whether there is a budget to keep.
        strict: Whether a budget is refused for a model that knows the data no better than chance.

    Raises:
        ModelError: If it is.
    """
    warn_of_copies(split.caveat)
    fits = measure_fit(family, predict, split, budgeted=budgeted)
    if budgeted and strict:
        check_fit(fits)
    warn_of_misfit(fits)
    return fits


def check_request_fit(
    config: RequestFile, family: Family, predict: Predictor, split: Split, *, place: str = "model"
) -> None:
    """Refuse a request to a model that knows the data no better than chance, unless it says not to look.

    Args:
        config: The request.
        family: Of the model.
        predict: The model.
        split: The examples.
        place: Where in the request file the weights are named.

    Raises:
        ModelError: If it does, with the line of the request file.
    """
    if config.sanity_check:
        with located(config, place):
            check_fit(measure_fit(family, predict, split, budgeted=getattr(config, "budget", None) is not None))


def warn_of_copies(caveat: str) -> None:
    """Warn, at the line of the caller, where data repeat themselves."""
    if caveat:
        warnings.warn(caveat, CopyWarning, stacklevel=_callers_level())


def warn_of_misfit(fits: Sequence[Fit]) -> None:
    """Warn, at the line of the caller, where a model seems not to know data of its request."""
    found = [fit.warning for fit in fits if fit.warning]
    if found:
        warnings.warn(" ".join(found), FitWarning, stacklevel=_callers_level())


def _callers_level() -> int:
    """Return the stack level, as its caller sees it, of the first frame outside of this package and its decorators."""
    own = (str(Path(__file__).parents[1]), contextlib.__file__)
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(own):
        level, frame = level + 1, frame.f_back
    return level


def fit_part(fits: Sequence[Fit]) -> dict[str, Any]:
    """Return a request's part of the result document about how well the model knew the data; nothing without it."""
    return {"fit": [fit.document() for fit in fits]} if fits else {}


@contextlib.contextmanager
def told_later() -> Iterator[None]:
    """Keep warnings of a misfit or of copies back inside the context, for a run that tells of it in its own words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        warnings.simplefilter("ignore", CopyWarning)
        yield


def doubted(spending: Spending | None, fits: Sequence[Fit]) -> Spending | None:
    """Return what became of a budget, with neither it kept nor the request met where the model does not know the data.

    Args:
        spending: What the run says of it; None without one.
        fits: How well the model knew the data before the run.
    """
    found = misfit(fits)
    if spending is None or found is None:
        return spending
    return replace(spending, kept=False, reached=None, misfit=found.sentence)
