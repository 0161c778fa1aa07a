"""A request's budget: what was agreed, checked before anything is written, and what is told of it afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, cast

import numpy as np
from torch import nn

from expunge.api.reading import located
from expunge.api.request.config import DiffusionConfig, RunConfig
from expunge.api.requests import tests_of
from expunge.api.result import family_of
from expunge.api.steering.recognising import forgetting_of
from expunge.api.steering.wish import DELTA, Halves, Wish, checked_wish, halves_of, steered, suited
from expunge.batch import Predictor, Split, looking
from expunge.budget import Budget, Measure, Spending, smallest_of
from expunge.budget.forgetting import CLOSE, MARGIN
from expunge.data import example_hashes, root_indices, set_hash
from expunge.data.identity import HASH_BYTES, Hashes
from expunge.data.manifest import digest
from expunge.errors import ConfigError, DataError, ExpungeError
from expunge.ledger import Entry, Ledger, Spent, opened_by, pack_marks
from expunge.methods import Method
from expunge.metrics import HeldOutTest
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


def with_budget(
    part: Mapping[str, Any], spending: Spending, halves: Halves, search: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a request's part of the result document with the part about its budget.

    The forgetting is tested on the control half, which steered, and on the test data. Where neither decides, both name
    the larger number of examples, which would decide either; where the test data alone decide, none is named.
    """
    tests, spending = tests_of(part["rows"]), spending.named(part["classes"])
    named = [None if test is None else test.needed for test in (spending.test, *map(HeldOutTest.from_plain, tests))]
    if len(tests) == 1 and all(number is not None for number in named):
        needed = max(number for number in named if number is not None)
        tests[0].update(replace(HeldOutTest.from_plain(tests[0]), needed=needed).plain())
        spending = spending.with_needed(needed)
    elif len(tests) == 1 and spending.test is not None and not spending.test.decided:
        spending = replace(spending.with_needed(None), on_test=tests[0]["verdict"])
    return {**part, "budget": budget_part(spending, halves, search)}


def spent_part(spending: Spending, halves: Halves, key: bytes) -> dict[str, Any]:
    """Return what the ledger accounts, with the fields of ``Spent``.

    It is the certificate, from the certify half; where nothing could be said, the reading of the model that is handed
    over, on the control half.
    """
    asked, certificate = spending.asked, spending.certificate
    if certificate is not None:
        drop, bound = asked.scale * certificate.drop, asked.scale * certificate.bound
        split, level, count = set_hash(held_out_hashes(halves, key), key), certificate.delta, certificate.examples
        told = Spent(asked.unit, drop, bound, level, count, split, asked.allowed, exact=certificate.exact)
        return written_part(told)
    drop = spending.looks[spending.chosen].spent
    measured = drop if math.isfinite(drop) else None
    return written_part(Spent(asked.unit, measured, examples=len(halves.control), budget=asked.allowed))


def written_part(spent: Spent) -> dict[str, Any]:
    """Return a share of the budget as plain values; the opened examples are the ledger's affair."""
    return {name: value for name, value in asdict(spent).items() if name != "opened"}


def held_out_hashes(halves: Halves, key: bytes) -> Hashes:
    """Return the keyed hash of every held-out example that a request measures on: what steers is opened too."""
    return np.concatenate([example_hashes(half, key) for half in halves])


def with_opened(spent: Spent, halves: Halves, entries: Sequence[Entry], key: bytes) -> Spent:
    """Return a share of the budget with the held-out examples that were opened for it.

    Where an earlier entry says the same of the same set, they are not written once more.
    """
    parts = [entry.header.spent for entry in entries if entry.header.spent is not None]
    if spent.split is not None and any(part.opened and part.split == spent.split for part in parts):
        return spent
    raw = held_out_hashes(halves, key).tobytes()
    return replace(spent, opened=pack_marks(raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)))


def compared(spending: Spending, halves: Halves, ledger: Ledger, key: bytes) -> Spending:
    """Return what became of a budget with the entries of a ledger that opened the same held-out examples before."""
    if spending.certificate is None:
        return spending
    try:
        entries = ledger.entries()
    except DataError:  # the run is done; that its ledger was lost is said when the entry is added
        return spending
    spent = with_opened(Spent(**spent_part(spending, halves, key)), halves, (), key)
    return replace(spending, reopened=opened_by(entries, spent))


def handed_back(result: Mapping[str, Any]) -> bool:
    """Return whether a result document says that the model is handed back as it came, because of its budget."""
    told = result["requests"][0].get("budget")
    return told is not None and told["chosen"] == 0


def is_rounded(model: nn.Module, saved: Mapping[str, Any]) -> bool:
    """Return whether weights were saved in less precision than the model computes in."""
    return any(value.itemsize > saved[name].itemsize for name, value in plain_state(model).items() if name in saved)
