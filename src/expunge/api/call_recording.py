"""A call of ``unlearn`` and the ledger: recognize a request that was served before, and record one that was."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from expunge.api.budgeting import add_opened_hashes, build_spent_section, mark_reopened
from expunge.api.digests import hmac_digest, state_digest
from expunge.api.earlier_requests import build_concept_hashes, build_forgotten_hashes, find_label_names, hash_forgotten
from expunge.api.folder import check_name_length, check_writable
from expunge.api.notes import MAX_NOTE_LENGTH, note_digests
from expunge.api.steering.budget_validation import HoldoutSplit
from expunge.api.steering.controller import BudgetController
from expunge.batch import Split
from expunge.budget import BudgetResult
from expunge.data import combine_hashes, hash_examples
from expunge.errors import ConfigError, DataError, RequestError
from expunge.key import load_or_create_key
from expunge.ledger import (
    BudgetRecord,
    Content,
    ForgottenHashes,
    Ledger,
    LedgerEntry,
    ModelHashes,
    RequestRecord,
    check_not_served,
    find_served,
    make_not_served_check,
)
from expunge.ledger.entry import NOTE_KEYS
from expunge.methods import Method
from expunge.registry import AUTO, snake_case
from expunge.tasks.task import Task
from expunge.warnings_location import caller_stack_level


class CallLedgerRecorder(NamedTuple):
    """The ledger's side of one call.

    Args:
        ledger: Where it is recorded.
        key: The secret.
        request_record: What is to be forgotten.
        original_hash: Keyed hash of the model as it was handed in.
        method: As it was named.
        forgotten: What is to be forgotten, one by one.
        note: What the request says of itself, in keyed hashes.
        force: Whether a request that was served before is answered once more. Default false.
    """

    ledger: Ledger
    key: bytes
    request_record: RequestRecord
    original_hash: str
    method: str
    forgotten: ForgottenHashes
    note: dict[str, str]
    force: bool = False

    def append_entry(
        self, model: nn.Module, controller: BudgetController | None, spending: BudgetResult | None
    ) -> LedgerEntry | None:
        """Add the answered request to the ledger and return the entry.

        None where the model is handed back as it came, because no iterate kept its budget: nothing was answered. None
        too, with a warning, where the ledger cannot be written any more, or another process has answered the request
        meanwhile: the model is worth more than its entry.
        """
        if spending is not None and spending.chosen == 0:
            return None
        spent = None
        models = ModelHashes(self.original_hash, state_digest(model, self.key))
        try:
            if controller is not None and spending is not None:
                holdout_split = HoldoutSplit(controller.control, controller.certify)
                part = BudgetRecord(**build_spent_section(spending, holdout_split, self.key))
                spent = add_opened_hashes(part, holdout_split, self.ledger.entries(), self.key)
            content = Content(self.request_record, self.method, forgotten=self.forgotten, note=self.note)
            admit = None if self.force else make_not_served_check(self.request_record, self.original_hash)
            return self.ledger.append("request", content, key=self.key, models=models, spent=spent, precheck=admit)
        except (DataError, RequestError) as error:
            message = f"The request is answered, but the ledger has no entry of it. {error}"
            warnings.warn(message, stacklevel=caller_stack_level())
            return None


def compare_with_ledger(
    recorder: CallLedgerRecorder | None, controller: BudgetController | None, spending: BudgetResult | None
) -> BudgetResult | None:
    """Return what became of a budget with the ledger's entries that opened the same held-out examples before."""
    if recorder is None or controller is None or spending is None:
        return spending
    return mark_reopened(spending, HoldoutSplit(controller.control, controller.certify), recorder.ledger, recorder.key)


def open_ledger(path: Any) -> Ledger | None:
    """Return the ledger that a call names; None where it names none."""
    if path is None:
        return None
    if not isinstance(path, (str, Path)):
        raise ConfigError("the path of a ledger", type(path).__name__, "write for example ledger='ledger.sqlite'")
    check_writable(Path(path).parent)
    check_name_length(Path(path))
    ledger = Ledger(path)
    ledger.check_writable(load_or_create_key())
    return ledger


def create_call_recorder(
    ledger: Ledger | None,
    force: bool,
    model: nn.Module,
    split: Split,
    method: str | Method | None,
    family: Task,
    request: Any = None,
) -> CallLedgerRecorder | None:
    """Return the ledger's side of a call; None where it names no ledger."""
    note = read_note(request)
    if ledger is None:
        return None
    key = load_or_create_key()
    request_record, original_hash = build_split_record(split, key), state_digest(model, key)
    if not force:
        check_not_served(find_served(ledger.entries(), request_record, original_hash))
    if family.identified_by_prompt:
        names = find_label_names(split.forget)
        forgotten = build_concept_hashes([names[label] for label in split.forget.targets.unique().tolist()], key)
    else:
        forgotten = build_forgotten_hashes(split.forget, split.retain, key)
    return CallLedgerRecorder(
        ledger,
        key,
        request_record,
        original_hash,
        format_method_name(method),
        forgotten,
        note_digests(note, key),
        force,
    )


def read_note(request: Any) -> Mapping[str, str]:
    """Return what a request says of itself: title, ticket and requester, as far as they are given."""
    if request is None:
        return {}
    if not isinstance(request, Mapping) or not set(request) <= set(NOTE_KEYS):
        actual = ", ".join(map(str, request)) if isinstance(request, Mapping) else type(request).__name__
        raise ConfigError(
            "a request with title, ticket and requester", actual[:80], "write request={'ticket': 'T-1234'}"
        )
    texts = {name: text for name, text in request.items() if text is not None}
    if any(not isinstance(text, str) or not 0 < len(text) <= MAX_NOTE_LENGTH for text in texts.values()):
        expected = f"texts of 1 to {MAX_NOTE_LENGTH} characters in request="
        raise ConfigError(expected, "another value", "shorten it, or put it in quotes")
    return texts


def format_method_name(method: str | Method | None) -> str:
    """Return a method as the ledger names it.

    Examples:
        >>> format_method_name(None), format_method_name("eupmu")
        ('auto', 'eupmu')
    """
    if method is None:
        return AUTO
    return method if isinstance(method, str) else snake_case(type(method).__name__)


def build_split_record(split: Split, key: bytes) -> RequestRecord:
    """Return what is to be forgotten, in keyed hashes of what the examples hold, whatever their order."""
    forget, retain = (hash_examples(part, key) for part in (split.forget, split.retain))
    data = hmac_digest(key, "data", [combine_hashes(np.concatenate([forget, retain]), key).encode()])
    forgotten = hash_forgotten(split.forget, split.retain, key)
    return RequestRecord(forgotten, data, "indices", len(forget), len(retain))
