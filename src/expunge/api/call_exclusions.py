"""What a call of ``unlearn`` leaves out because earlier requests forgot it, and what it refuses to learn from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expunge.api.digests import state_digest
from expunge.api.earlier_requests import (
    NO_EXCLUSIONS,
    EarlierRequest,
    Exclusions,
    find_class_positions,
    find_entries_without_ids,
    find_forgotten,
    find_forgotten_classes,
    find_label_names,
    nothing_left_error,
    trace_chain,
)
from expunge.api.other_chains import forgotten_beside, forgotten_elsewhere
from expunge.batch import Examples, Split
from expunge.data import ByClass, Subset, hash_cache, hash_example_ids, hash_examples
from expunge.errors import RequestError
from expunge.key import load_or_create_key
from expunge.ledger import Ledger, LedgerEntry
from expunge.paths import describe_value
from expunge.tasks.task import Task
from expunge.type_checks import MAX_INT
from expunge.warnings_location import caller_stack_level

EXCLUDE_LEDGER = "ledger"
"""The value of ``exclude`` that leaves out what the ledger knows."""
MAX_LABEL = 2**63 - 1
FindPositions = Callable[[Examples], Tensor]
"""Takes examples and returns the positions of those that were forgotten."""


@dataclass(frozen=True)
class CallData:
    """The data of a call without what earlier requests forgot.

    Args:
        retain: The retained examples.
        holdout: The held-out ones.
        entries: The ledger's earlier requests of the model's chain.
        classes: Labels that ``exclude`` names.
        earlier: The earlier requests, with what was left out for them, to measure on.
        unresolved: Entries that do not say, or not of this model, what they forgot.
    """

    retain: Examples
    holdout: Examples | None
    entries: tuple[LedgerEntry, ...] = ()
    classes: tuple[int, ...] = ()
    earlier: tuple[EarlierRequest, ...] = ()
    unresolved: Exclusions = NO_EXCLUSIONS

    def build_exclusions(self, split: Split) -> Exclusions:
        """Return what was left out, each earlier request with all labels that it forgot as a whole."""
        entries, key = {entry.number: entry for entry in self.entries}, load_or_create_key() if self.entries else b""
        earlier = tuple(
            replace(one, classes=find_forgotten_classes(range(split.num_classes), [entries[one.entry]], key))
            if one.entry in entries
            else one
            for one in self.earlier
        )
        retain = sum(len(one.positions) for one in earlier)
        holdout = sum(len(part) for one in earlier for part in one.held_out)
        return replace(self.unresolved, earlier=earlier, retain=retain, holdout=holdout)

    def mark_forgotten_classes(self, split: Split) -> Split:
        """Return the split with the labels of the classes that earlier requests forgot as a whole."""
        forgotten_classes = (
            find_forgotten_classes(range(split.num_classes), self.entries, load_or_create_key()) if self.entries else ()
        )
        labels = tuple(sorted({*forgotten_classes, *self.classes}))
        return replace(split, forgotten_classes=labels) if labels else split


def prepare_call_data(
    model: Any, retain: Examples, holdout: Examples | None, exclude: Any, ledger: Ledger | None, family: Task
) -> CallData:
    """Return the data of a call without what ``exclude`` says that earlier requests forgot."""
    data = CallData(retain, holdout)
    with hash_cache():
        if exclude is not None and not (isinstance(exclude, str) and exclude == EXCLUDE_LEDGER):
            data = exclude_named(data, exclude, family)
        elif exclude is not None and ledger is None:
            raise RequestError("a ledger beside exclude='ledger'", "none", "pass ledger=, or name what to leave out")
        if ledger is None or not isinstance(model, nn.Module):
            return data
        key = load_or_create_key()
        entries, digest = ledger.entries(), state_digest(model, key)
        known_entries, unknown = trace_chain(entries, digest)
        foreign = forgotten_elsewhere(data.retain, entries, key, digest)
        without_ids = find_entries_without_ids(data.retain, known_entries)
        unsure = Exclusions(unknown=unknown, foreign_entries=foreign, without_ids=without_ids)
        data = replace(data, entries=tuple(known_entries))
        for entry in known_entries:
            data = exclude_entry(data, entry, key, family, allowed=exclude == EXCLUDE_LEDGER)
        unsure = replace(unsure, beside=forgotten_beside(data.retain, entries, key, digest))
    for sentence in unsure.sentences():
        warnings.warn(sentence, stacklevel=caller_stack_level())
    return replace(data, unresolved=unsure)


def exclude_entry(data: CallData, entry: LedgerEntry, key: bytes, family: Task, *, allowed: bool) -> CallData:
    """Return the data without what an entry forgot."""

    def find(examples: Examples) -> Tensor:
        return find_forgotten(examples, entry, key, by_prompt=family.identified_by_prompt)[0]

    parts = {"retain": data.retain, "holdout": data.holdout}
    counts = {part: len(find(examples)) for part, examples in parts.items() if examples is not None}
    if any(counts.values()) and not allowed:
        sizes = " and ".join(f"{count:,} of {part}" for part, count in counts.items() if count)
        raise RequestError(
            "examples that no earlier request of this model forgot",
            f"{sizes} that entry {entry.number} of the ledger forgot",
            "take them out, or pass exclude='ledger' to leave them out",
        )
    classes = find_forgotten(data.retain, entry, key, by_prompt=family.identified_by_prompt)[1]
    if not any(counts.values()):
        return replace(data, earlier=(*data.earlier, EarlierRequest(entry.number, torch.empty(0, dtype=torch.int64))))
    return exclude_matching(data, entry.number, find, classes)


def exclude_named(data: CallData, exclude: Any, family: Task) -> CallData:
    """Return the data without the classes or the examples that ``exclude`` names."""
    items = [exclude] if isinstance(exclude, (int, str)) else exclude
    if any(isinstance(item, int) and abs(item) >= MAX_INT for item in (items if isinstance(items, list) else ())):
        raise RequestError("classes by number to exclude", describe_value(exclude), "name classes of the data")
    if isinstance(items, (list, tuple, set, frozenset, range)) and all(isinstance(one, (int, str)) for one in items):
        classes = tuple(sorted({ByClass(one).class_index(find_label_names(data.retain)) for one in items}))
        if any(not 0 <= label <= MAX_LABEL for label in classes):
            raise RequestError("numbers of classes from 0 to exclude", "others", "number the classes from 0")
        remaining_data = exclude_matching(data, None, lambda some: find_class_positions(some, classes), classes)
        return replace(remaining_data, classes=classes)
    key, excluded = load_or_create_key(), family.read_examples(exclude)
    hashes, ids = hash_examples(excluded, key), hash_example_ids(excluded, key)

    def find(examples: Examples) -> Tensor:
        chosen, own = np.isin(hash_examples(examples, key), hashes), hash_example_ids(examples, key)
        if ids is not None and own is not None:
            chosen |= np.isin(own, ids)
        return torch.from_numpy(chosen.nonzero()[0])

    remaining = exclude_matching(data, None, find)
    positions = [one.positions for one in remaining.earlier]
    excluded_holdout = tuple(part for one in remaining.earlier for part in one.held_out)
    return replace(
        remaining,
        earlier=(EarlierRequest(None, torch.cat([torch.arange(0), *positions]), (), excluded, excluded_holdout),),
    )


def exclude_matching(data: CallData, entry: int | None, find: FindPositions, classes: tuple[int, ...] = ()) -> CallData:
    """Return the data without the examples that ``find`` finds, which are kept apart to measure on."""
    retain, excluded = split_matching(data.retain, find, "retain")
    holdout, excluded_holdout = (None, None) if data.holdout is None else split_matching(data.holdout, find, "holdout")
    positions = torch.empty(0, dtype=torch.int64) if excluded is None else torch.arange(len(excluded))
    earlier = EarlierRequest(
        entry, positions, classes, excluded, () if excluded_holdout is None else (excluded_holdout,)
    )
    if excluded is None and excluded_holdout is None:
        return data
    return replace(data, retain=retain, holdout=holdout, earlier=(*data.earlier, earlier))


def split_matching(examples: Examples, find: FindPositions, part: str) -> tuple[Examples, Subset | None]:
    """Return the examples without those that ``find`` finds, and those; None if it finds none."""
    all_positions, positions = torch.arange(len(examples)), find(examples)
    if not len(positions):
        return examples, None
    if len(positions) == len(examples):
        raise nothing_left_error(part)
    return Subset(examples, all_positions[~torch.isin(all_positions, positions)]), Subset(examples, positions)
