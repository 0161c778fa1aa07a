"""What a call of ``unlearn`` leaves out because earlier requests forgot it, and what it refuses to learn from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expunge.api.chain import (
    NOTHING_LEFT_OUT,
    EarlierRequest,
    LeftOut,
    entries_without_ids,
    find_forgotten,
    find_forgotten_classes,
    label_names,
    nothing_left,
    positions_of_classes,
    trace_chain,
)
from expunge.api.digests import state_digest
from expunge.api.other_chains import forgotten_beside, forgotten_elsewhere
from expunge.batch import Examples, Split
from expunge.data import ByClass, Subset, as_examples, example_hashes, id_hashes, remembered_hashes
from expunge.errors import RequestError
from expunge.key import load_key
from expunge.kinds import HIGHEST
from expunge.ledger import Entry, Ledger
from expunge.paths import described
from expunge.tasks.family import Family

LEDGER = "ledger"
"""The value of ``exclude`` that leaves out what the ledger knows."""
MAX_LABEL = 2**63 - 1
Find = Callable[[Examples], Tensor]
"""Takes examples and returns the positions of those that were forgotten."""


@dataclass(frozen=True)
class CallChain:
    """The data of a call without what earlier requests forgot.

    Args:
        retain: The retained examples.
        holdout: The held-out ones.
        entries: The ledger's earlier requests of the model's chain.
        classes: Labels that ``exclude`` names.
        earlier: The earlier requests, with what was left out for them, to measure on.
        unsure: Entries that do not say, or not of this model, what they forgot.
    """

    retain: Examples
    holdout: Examples | None
    entries: tuple[Entry, ...] = ()
    classes: tuple[int, ...] = ()
    earlier: tuple[EarlierRequest, ...] = ()
    unsure: LeftOut = NOTHING_LEFT_OUT

    def left_out(self, split: Split) -> LeftOut:
        """Return what was left out, each earlier request with all labels that it forgot as a whole."""
        entries, key = {entry.number: entry for entry in self.entries}, load_key() if self.entries else b""
        earlier = tuple(
            replace(one, classes=find_forgotten_classes(range(split.classes), [entries[one.entry]], key))
            if one.entry in entries
            else one
            for one in self.earlier
        )
        retain = sum(len(one.positions) for one in earlier)
        holdout = sum(len(part) for one in earlier for part in one.held_out)
        return replace(self.unsure, earlier=earlier, retain=retain, holdout=holdout)

    def name_gone_classes(self, split: Split) -> Split:
        """Return the split with the labels of the classes that earlier requests forgot as a whole."""
        known = find_forgotten_classes(range(split.classes), self.entries, load_key()) if self.entries else ()
        labels = tuple(sorted({*known, *self.classes}))
        return replace(split, gone=labels) if labels else split


def call_chain(
    model: Any, retain: Examples, holdout: Examples | None, exclude: Any, ledger: Ledger | None, family: Family
) -> CallChain:
    """Return the data of a call without what ``exclude`` says that earlier requests forgot.

    Args:
        model: As it is handed in.
        retain: The retained examples.
        holdout: The held-out ones, if there are any.
        exclude: ``"ledger"``, a class or a list of them, or examples; None for nothing.
        ledger: The ledger, if one is named.
        family: Of the model.

    Raises:
        RequestError: If nothing is left, or examples that the ledger knows for forgotten are not left out.
    """
    made = CallChain(retain, holdout)
    with remembered_hashes():
        if exclude is not None and not (isinstance(exclude, str) and exclude == LEDGER):
            made = without_named(made, exclude)
        elif exclude is not None and ledger is None:
            raise RequestError("a ledger beside exclude='ledger'", "none", "pass ledger=, or name what to leave out")
        if ledger is None or not isinstance(model, nn.Module):
            return made
        key = load_key()
        entries, digest = ledger.entries(), state_digest(model, key)
        known, unknown = trace_chain(entries, digest)
        elsewhere = forgotten_elsewhere(made.retain, entries, key, digest)
        without_ids = entries_without_ids(made.retain, known)
        unsure = LeftOut(unknown=unknown, elsewhere=elsewhere, without_ids=without_ids)
        made = replace(made, entries=tuple(known))
        for entry in known:
            made = without_entry(made, entry, key, family, allowed=exclude == LEDGER)
        unsure = replace(unsure, beside=forgotten_beside(made.retain, entries, key, digest))
    for sentence in unsure.sentences():
        warnings.warn(sentence, stacklevel=3)
    return replace(made, unsure=unsure)


def without_entry(made: CallChain, entry: Entry, key: bytes, family: Family, *, allowed: bool) -> CallChain:
    """Return the data without what an entry forgot.

    Raises:
        RequestError: If there is such data and it is not to be left out.
    """

    def find(examples: Examples) -> Tensor:
        return find_forgotten(examples, entry, key, by_prompt=family.by_prompt)[0]

    parts = {"retain": made.retain, "holdout": made.holdout}
    counts = {part: len(find(examples)) for part, examples in parts.items() if examples is not None}
    if any(counts.values()) and not allowed:
        sizes = " and ".join(f"{count:,} of {part}" for part, count in counts.items() if count)
        raise RequestError(
            "examples that no earlier request of this model forgot",
            f"{sizes} that entry {entry.number} of the ledger forgot",
            "take them out, or pass exclude='ledger' to leave them out",
        )
    classes = find_forgotten(made.retain, entry, key, by_prompt=family.by_prompt)[1]
    if not any(counts.values()):
        return replace(made, earlier=(*made.earlier, EarlierRequest(entry.number, torch.empty(0, dtype=torch.int64))))
    return without_found(made, entry.number, find, classes)


def without_named(made: CallChain, exclude: Any) -> CallChain:
    """Return the data without the classes or the examples that ``exclude`` names.

    Raises:
        RequestError: If nothing is left, or a class has no name in the data.
    """
    items = [exclude] if isinstance(exclude, (int, str)) else exclude
    if any(isinstance(item, int) and abs(item) >= HIGHEST for item in (items if isinstance(items, list) else ())):
        raise RequestError("classes by number to exclude", described(exclude), "name classes of the data")
    if isinstance(items, (list, tuple, set, frozenset, range)) and all(isinstance(one, (int, str)) for one in items):
        classes = tuple(sorted({ByClass(one).number(label_names(made.retain)) for one in items}))
        if any(not 0 <= label <= MAX_LABEL for label in classes):
            raise RequestError("numbers of classes from 0 to exclude", "others", "number the classes from 0")
        rest = without_found(made, None, lambda some: positions_of_classes(some, classes), classes)
        return replace(rest, classes=classes)
    key, excluded = load_key(), as_examples(exclude)
    hashes, ids = example_hashes(excluded, key), id_hashes(excluded, key)

    def find(examples: Examples) -> Tensor:
        chosen, own = np.isin(example_hashes(examples, key), hashes), id_hashes(examples, key)
        if ids is not None and own is not None:
            chosen |= np.isin(own, ids)
        return torch.from_numpy(chosen.nonzero()[0])

    kept = without_found(made, None, find)
    left = [one.positions for one in kept.earlier]
    held = tuple(part for one in kept.earlier for part in one.held_out)
    return replace(kept, earlier=(EarlierRequest(None, torch.cat([torch.arange(0), *left]), (), excluded, held),))


def without_found(made: CallChain, entry: int | None, find: Find, classes: tuple[int, ...] = ()) -> CallChain:
    """Return the data without the examples that ``find`` finds, which are kept apart to measure on.

    Args:
        made: The data.
        entry: Number of the entry that forgot them; None without one.
        find: Finds them.
        classes: Labels of the classes that it forgot as a whole. Default none.

    Raises:
        RequestError: If none is left.
    """
    retain, lost = take_out(made.retain, find, "retain")
    holdout, held = (None, None) if made.holdout is None else take_out(made.holdout, find, "holdout")
    positions = torch.empty(0, dtype=torch.int64) if lost is None else torch.arange(len(lost))
    earlier = EarlierRequest(entry, positions, classes, lost, () if held is None else (held,))
    if lost is None and held is None:
        return made
    return replace(made, retain=retain, holdout=holdout, earlier=(*made.earlier, earlier))


def take_out(examples: Examples, find: Find, part: str) -> tuple[Examples, Subset | None]:
    """Return the examples without those that ``find`` finds, and those; None if it finds none.

    Raises:
        RequestError: If it finds all of them.
    """
    places, positions = torch.arange(len(examples)), find(examples)
    if not len(positions):
        return examples, None
    if len(positions) == len(examples):
        raise nothing_left(part)
    return Subset(examples, places[~torch.isin(places, positions)]), Subset(examples, positions)
