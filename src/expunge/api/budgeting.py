"""A request's budget: what was agreed, checked before anything is written, and what is told of it afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple, cast

from torch import nn

from expunge.api.digests import keyed
from expunge.api.reading import located
from expunge.api.request.config import DiffusionConfig, RunConfig
from expunge.api.result import family_of
from expunge.api.steering.recognising import forgetting_of
from expunge.api.steering.wish import DELTA, Halves, Wish, checked_wish, halves_of, steered, suited
from expunge.batch import Examples, Predictor, Split, looking
from expunge.budget import Budget, Measure, Spending, smallest_of
from expunge.budget.forgetting import CLOSE, MARGIN
from expunge.data import Subset, fingerprint, root_indices
from expunge.data.manifest import digest
from expunge.errors import ConfigError, ExpungeError
from expunge.ledger import Spent
from expunge.methods import Method
from expunge.python_path import import_object
from expunge.weights import plain_state

ROUNDED = (
    "The certificate is about the weights before they were rounded to the precision in which the original's came; all "
    "other figures are about the rounded ones."
)


class Agreed(NamedTuple):
    """A budget that a request names, and the examples that it is measured on."""

    wish: Wish
    halves: Halves


def agreed(
    config: RunConfig | DiffusionConfig, method: Method | None, predict: Predictor, split: Split
) -> Agreed | None:
    """Return the budget that a request names, None without one.

    Without a method, which is then that of ``auto``, it can be steered.

    Args:
        config: The request.
        method: What it names.
        predict: The original.
        split: The examples.

    Raises:
        ExpungeError: If it cannot be promised, with the line of the request file.
    """
    budget, average = asked_budget(config), getattr(config, "average", None)
    family = family_of(config.task)
    try:
        wish = suited(checked_wish(budget, config.prefer, config.method.settings, average), family)
    except ExpungeError as error:
        tolerance = "tolerance" in config.method.settings
        place = config.where("average" if average is not None else "budget")
        error.where = error.where or (config.where_setting("tolerance") if tolerance else place)
        raise
    if wish is None:
        return None
    if method is not None:
        with located(config, "method"):
            steered(family.recipe(method.recipe(config.seed)))
    with located(config, "budget"):
        halves = halves_of(wish.budget, split, config.seed)
    with located(config, "holdout"):
        forgetting_of(family, split, halves.control)
    with located(config, "budget", "metric"), looking(predict.model):
        # A metric that fails must not do so after hours of training.
        if wish.budget.metric is not None:
            wish.budget.measured(predict, halves.control)
    return Agreed(wish, halves)


def asked_budget(config: RunConfig | DiffusionConfig) -> Budget | None:
    """Return the budget of a request file, its metric imported."""
    if config.budget is None:
        return None
    given = config.budget.model_dump(exclude_none=True)
    if config.budget.metric is not None:
        with located(config, "budget", "metric"):
            given["metric"] = users_metric(config.budget.metric)
    with located(config, "budget"):
        return Budget(**given)


def users_metric(path: str) -> Measure:
    """Return a user's own measure.

    Args:
        path: ``package.module:function``.

    Raises:
        ConfigError: If it cannot be imported, or is no function.
    """
    found = import_object(path)
    if not callable(found):
        cure = "name a function of a predictor and examples"
        raise ConfigError(f"'{path}' to be a function", type(found).__name__, cure)
    return cast(Measure, found)


def halves_record(halves: Halves, key: bytes) -> dict[str, Any]:
    """Return what the manifest says of the two halves: sizes and keyed hashes of their indices."""
    return {
        "sizes": {name: len(half) for name, half in halves._asdict().items()},
        "digest": {name: digest(root_indices(half), key) for name, half in halves._asdict().items()},
    }


def budget_part(spending: Spending, halves: Halves, search: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a request's part of the result document about its budget.

    Beside what ``Spending`` says these are the sizes of both halves, the least drop that the certify half can certify
    (of accuracy as a share; none where a certificate is approximate), what the stop criterion permits, and what
    ``auto`` tried before, where it did.
    """
    return spending.document() | {
        "examples": {name: len(half) for name, half in halves._asdict().items()},
        "smallest": smallest_of(spending.asked, len(halves.certify), DELTA),
        "criterion": {"recognised": spending.limit, "margin": MARGIN, "close": CLOSE, "own": spending.own},
        "search": search,
    }


def spent_part(spending: Spending, halves: Halves, key: bytes) -> dict[str, Any]:
    """Return what the ledger accounts, with the fields of ``Spent``.

    It is the certificate, from the certify half; where nothing could be said, the reading of the model that is handed
    over, on the control half.
    """
    asked, certificate = spending.asked, spending.certificate
    if certificate is not None:
        drop, bound = asked.scale * certificate.drop, asked.scale * certificate.bound
        split, level, count = source_digest(halves.certify, key), certificate.delta, certificate.examples
        told = Spent(asked.unit, drop, bound, level, count, split, asked.allowed, exact=certificate.exact)
        return asdict(told)
    drop = spending.looks[spending.chosen].spent
    measured = drop if math.isfinite(drop) else None
    return asdict(Spent(asked.unit, measured, examples=len(halves.control), budget=asked.allowed))


def source_digest(half: Examples, key: bytes) -> str:
    """Return the keyed hash of the data set that a half was drawn from.

    The halves of two requests to one data set overlap, whatever was held out and whatever classes were left out of
    them; a hash of the half itself would tell them apart and call the second one fresh.
    """
    root = half.root if isinstance(half, Subset) else half
    return keyed(key, "held-out source", [fingerprint(root, key).encode()])


def handed_back(result: Mapping[str, Any]) -> bool:
    """Return whether a result document says that the model is handed back as it came, because of its budget."""
    told = result["requests"][0].get("budget")
    return told is not None and told["chosen"] == 0


def is_rounded(model: nn.Module, saved: Mapping[str, Any]) -> bool:
    """Return whether weights were saved in less precision than the model computes in."""
    return any(value.itemsize > saved[name].itemsize for name, value in plain_state(model).items() if name in saved)
