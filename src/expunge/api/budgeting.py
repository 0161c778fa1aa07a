"""A request's budget: what was agreed, checked before anything is written, and what is told of it afterwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, cast

import numpy as np
from torch import nn

from expunge.api.loading import error_location
from expunge.api.request_section import find_held_out_tests
from expunge.api.result import get_task
from expunge.api.steering.budget_validation import (
    CERTIFICATE_DELTA,
    BudgetOptions,
    HoldoutSplit,
    adapt_to_task,
    find_controllable_surgery,
    make_holdout_split,
    validate_budget,
)
from expunge.api.steering.criterion import make_criterion
from expunge.batch import Predictor, Split, evaluation_mode
from expunge.budget import Budget, BudgetResult, MetricFn, min_certifiable_drop
from expunge.budget.criterion import ACCURACY_TOLERANCE, MARGIN
from expunge.data import combine_hashes, get_root_indices, hash_examples
from expunge.data.hashing import HASH_BYTES, Hashes
from expunge.data.manifest import hash_indices
from expunge.errors import ConfigError, DataError, ExpungeError
from expunge.ledger import BudgetRecord, Ledger, LedgerEntry, find_openings, pack_hash_prefixes
from expunge.methods import Method
from expunge.metrics import HeldOutTest
from expunge.python_path import import_object
from expunge.request.budgeted_request import BudgetedRequest
from expunge.weights import unwrap_state

ROUNDED_CAVEAT = (
    "The certificate is about the weights before they were rounded to the precision in which the original's came; all "
    "other figures are about the rounded ones."
)


class BudgetPlan(NamedTuple):
    """A budget that a request names, and the examples that it is measured on."""

    budget_options: BudgetOptions
    holdout_split: HoldoutSplit


def prepare_budget(
    config: BudgetedRequest, method: Method | None, predict: Predictor, split: Split
) -> BudgetPlan | None:
    """Return the budget that a request names, None without one.

    Without a method, which is then that of ``auto``, it can be steered.
    """
    budget, average = budget_from_config(config), getattr(config, "ema_decay", None)
    family = get_task(config.task)
    try:
        budget_options = adapt_to_task(
            validate_budget(budget, config.priority, config.method.settings, average), family
        )
    except ExpungeError as error:
        tolerance = "tolerance" in config.method.settings
        line = config.where("ema_decay" if average is not None else "budget")
        error.location = error.location or (config.where_setting("tolerance") if tolerance else line)
        raise
    if budget_options is None:
        return None
    if method is not None:
        with error_location(config, "method"):
            find_controllable_surgery(family.translate_recipe(method.recipe(config.seed)))
    with error_location(config, "budget"):
        holdout_split = make_holdout_split(budget_options.budget, split, config.seed)
    with error_location(config, "holdout"):
        make_criterion(family, split, holdout_split.control)
    with error_location(config, "budget", "metric"), evaluation_mode(predict.model):
        # A metric that fails must not do so after hours of training.
        if budget_options.budget.metric is not None:
            budget_options.budget.measure(predict, holdout_split.control)
    return BudgetPlan(budget_options, holdout_split)


def budget_from_config(config: BudgetedRequest) -> Budget | None:
    """Return the budget of a request file, its metric imported."""
    if config.budget is None:
        return None
    arguments = config.budget.model_dump(exclude_none=True)
    if config.budget.metric is not None:
        with error_location(config, "budget", "metric"):
            arguments["metric"] = load_user_metric(config.budget.metric)
    with error_location(config, "budget"):
        return Budget(**arguments)


def load_user_metric(path: str) -> MetricFn:
    """Return a user's own measure."""
    metric = import_object(path)
    if not callable(metric):
        hint = "name a function of a predictor and examples"
        raise ConfigError(f"'{path}' to be a function", type(metric).__name__, hint)
    return cast(MetricFn, metric)


def build_split_manifest(holdout_split: HoldoutSplit, key: bytes) -> dict[str, Any]:
    """Return what the manifest says of the two halves: sizes and keyed hashes of their indices."""
    return {
        "sizes": {name: len(half) for name, half in holdout_split._asdict().items()},
        "digest": {name: hash_indices(get_root_indices(half), key) for name, half in holdout_split._asdict().items()},
    }


def build_budget_section(
    spending: BudgetResult, holdout_split: HoldoutSplit, search: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a request's part of the result document about its budget.

    Beside what ``BudgetResult`` says these are the sizes of both halves, the least drop that the certify half can
    certify (of accuracy as a share; none where a certificate is approximate), what the stop criterion permits, and what
    ``auto`` tried before, where it did.
    """
    return spending.as_dict() | {
        "examples": {name: len(half) for name, half in holdout_split._asdict().items()},
        "smallest": min_certifiable_drop(spending.budget, len(holdout_split.certify), CERTIFICATE_DELTA),
        "criterion": {
            "recognized": spending.limit,
            "margin": MARGIN,
            "max_accuracy_gap": None if spending.evaluations[0].accuracy is None else ACCURACY_TOLERANCE,
            "uses_model_error": spending.uses_model_error,
        },
        "search": search,
    }


def add_budget_section(
    part: Mapping[str, Any],
    spending: BudgetResult,
    holdout_split: HoldoutSplit,
    search: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a request's part of the result document with the part about its budget.

    The forgetting is tested on the control half, which steered, and on the test data. Where neither decides, both name
    the larger number of examples, which would decide either; where the test data alone decide, none is named.
    """
    tests, spending = find_held_out_tests(part["rows"]), spending.with_class_names(part["classes"])
    needed_counts = [
        None if test is None else test.needed for test in (spending.test, *map(HeldOutTest.from_dict, tests))
    ]
    if len(tests) == 1 and all(number is not None for number in needed_counts):
        needed = max(number for number in needed_counts if number is not None)
        tests[0].update(replace(HeldOutTest.from_dict(tests[0]), needed=needed).as_dict())
        spending = spending.with_needed(needed)
    elif len(tests) == 1 and spending.test is not None and not spending.test.is_decided:
        spending = replace(spending.with_needed(None), on_test=tests[0]["verdict"])
    return {**part, "budget": build_budget_section(spending, holdout_split, search)}


def build_spent_section(spending: BudgetResult, holdout_split: HoldoutSplit, key: bytes) -> dict[str, Any]:
    """Return what the ledger accounts, with the fields of ``Spent``.

    It is the certificate, from the certify half; where nothing could be said, the reading of the model that is handed
    over, on the control half.
    """
    budget, certificate = spending.budget, spending.certificate
    if certificate is not None:
        drop, bound = budget.scale * certificate.drop, budget.scale * certificate.bound
        split, level, count = (
            combine_hashes(hash_holdout(holdout_split, key), key),
            certificate.delta,
            certificate.examples,
        )
        spent = BudgetRecord(budget.unit, drop, bound, level, count, split, budget.allowed, exact=certificate.exact)
        return serialize_budget_record(spent)
    drop = spending.evaluations[spending.chosen].spent
    measured = drop if math.isfinite(drop) else None
    return serialize_budget_record(
        BudgetRecord(budget.unit, measured, examples=len(holdout_split.control), budget=budget.allowed)
    )


def serialize_budget_record(spent: BudgetRecord) -> dict[str, Any]:
    """Return a share of the budget as plain values; the opened examples are the ledger's affair."""
    return {name: value for name, value in asdict(spent).items() if name != "opened"}


def hash_holdout(holdout_split: HoldoutSplit, key: bytes) -> Hashes:
    """Return the keyed hash of every held-out example that a request measures on: what steers is opened too."""
    return np.concatenate([hash_examples(half, key) for half in holdout_split])


def add_opened_hashes(
    spent: BudgetRecord, holdout_split: HoldoutSplit, entries: Sequence[LedgerEntry], key: bytes
) -> BudgetRecord:
    """Return a share of the budget with the held-out examples that were opened for it.

    Where an earlier entry says the same of the same set, they are not written once more.
    """
    parts = [entry.header.spent for entry in entries if entry.header.spent is not None]
    if spent.split is not None and any(part.opened and part.split == spent.split for part in parts):
        return spent
    raw = hash_holdout(holdout_split, key).tobytes()
    return replace(
        spent, opened=pack_hash_prefixes(raw[start : start + HASH_BYTES] for start in range(0, len(raw), HASH_BYTES))
    )


def mark_reopened(spending: BudgetResult, holdout_split: HoldoutSplit, ledger: Ledger, key: bytes) -> BudgetResult:
    """Return what became of a budget with the entries of a ledger that opened the same held-out examples before."""
    if spending.certificate is None:
        return spending
    try:
        entries = ledger.entries()
    except DataError:  # the run is done; that its ledger was lost is said when the entry is added
        return spending
    spent = add_opened_hashes(BudgetRecord(**build_spent_section(spending, holdout_split, key)), holdout_split, (), key)
    return replace(spending, reopened=find_openings(entries, spent))


def is_original_returned(result: Mapping[str, Any]) -> bool:
    """Return whether a result document says that the model is handed back as it came, because of its budget."""
    budget = result["requests"][0].get("budget")
    return budget is not None and budget["chosen"] == 0


def is_rounded(model: nn.Module, saved: Mapping[str, Any]) -> bool:
    """Return whether weights were saved in less precision than the model computes in."""
    return any(value.itemsize > saved[name].itemsize for name, value in unwrap_state(model).items() if name in saved)
