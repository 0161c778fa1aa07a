"""A call of ``unlearn`` and the ledger: recognise a request that was served before, and record one that was."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from expunge.api.budgeting import compared, spent_part, with_opened
from expunge.api.chain import concepts_forgotten, forgotten_hash, forgotten_of, label_names
from expunge.api.digests import keyed, state_digest
from expunge.api.folder import check_name_room, check_writable
from expunge.api.notes import MAX_NOTE_LENGTH, note_digests
from expunge.api.request.names import AUTO
from expunge.api.steering.wish import Halves
from expunge.api.steering.within import Keeper
from expunge.batch import Split
from expunge.budget import Spending
from expunge.data import example_hashes, set_hash
from expunge.errors import ConfigError, DataError, RequestError
from expunge.key import load_key
from expunge.ledger import Asked, Content, Entry, Forgotten, Ledger, Models, Spent, not_served, refuse_served, served
from expunge.ledger.entry import NOTE_KEYS
from expunge.methods import Method
from expunge.registry import snake_case
from expunge.tasks.family import Family


class CallRecording(NamedTuple):
    """The ledger's side of one call.

    Args:
        ledger: Where it is recorded.
        key: The secret.
        asked: What is to be forgotten.
        before: Keyed hash of the model as it was handed in.
        method: As it was named.
        forgotten: What is to be forgotten, one by one.
        note: What the request says of itself, in keyed hashes.
        again: Whether a request that was served before is answered once more. Default false.
    """

    ledger: Ledger
    key: bytes
    asked: Asked
    before: str
    method: str
    forgotten: Forgotten
    note: dict[str, str]
    again: bool = False

    def close(self, model: nn.Module, keeper: Keeper | None, spending: Spending | None) -> Entry | None:
        """Add the answered request to the ledger and return the entry.

        None where the model is handed back as it came, because no iterate kept its budget: nothing was answered. None
        too, with a warning, where the ledger cannot be written any more, or another process has answered the request
        meanwhile: the model is worth more than its entry.
        """
        if spending is not None and spending.chosen == 0:
            return None
        spent = None
        models = Models(self.before, state_digest(model, self.key))
        try:
            if keeper is not None and spending is not None:
                halves = Halves(keeper.control, keeper.certify)
                part = Spent(**spent_part(spending, halves, self.key))
                spent = with_opened(part, halves, self.ledger.entries(), self.key)
            content = Content(self.asked, self.method, forgotten=self.forgotten, note=self.note)
            admit = None if self.again else not_served(self.asked, self.before)
            return self.ledger.append("request", content, key=self.key, models=models, spent=spent, admit=admit)
        except (DataError, RequestError) as error:
            said = f"The request is answered, but the ledger has no entry of it. {error}"
            warnings.warn(said, stacklevel=5)
            return None


def compare_with_ledger(
    recording: CallRecording | None, keeper: Keeper | None, spending: Spending | None
) -> Spending | None:
    """Return what became of a budget with the ledger's entries that opened the same held-out examples before."""
    if recording is None or keeper is None or spending is None:
        return spending
    return compared(spending, Halves(keeper.control, keeper.certify), recording.ledger, recording.key)


def call_ledger(path: Any) -> Ledger | None:
    """Return the ledger that a call names; None where it names none.

    Args:
        path: The ledger's file, or None.

    Raises:
        ConfigError: If the path is none, or its folder cannot be written.
        DataError: If the file is no ledger, its chain does not hold, or it was begun under another key.
    """
    if path is None:
        return None
    if not isinstance(path, (str, Path)):
        raise ConfigError("the path of a ledger", type(path).__name__, "write for example ledger='ledger.sqlite'")
    check_writable(Path(path).parent)
    check_name_room(Path(path))
    ledger = Ledger(path)
    ledger.check(load_key())
    return ledger


def call_recording(
    ledger: Ledger | None,
    again: bool,
    model: nn.Module,
    split: Split,
    method: str | Method | None,
    family: Family,
    request: Any = None,
) -> CallRecording | None:
    """Return the ledger's side of a call; None where it names no ledger.

    Args:
        ledger: The ledger, or None.
        again: Whether a request that was served before is to be answered once more.
        model: As it is handed in.
        split: The request's examples.
        method: As the caller names it.
        family: Of the model.
        request: Title, ticket and requester, as a mapping. Default none.

    Raises:
        ConfigError: If the request says anything else of itself.
        RequestError: If the request was served before, and is not to be answered again.
    """
    note = read_note(request)
    if ledger is None:
        return None
    key = load_key()
    asked, before = asked_of_split(split, key), state_digest(model, key)
    if not again:
        refuse_served(served(ledger.entries(), asked, before))
    if family.by_prompt:
        names = label_names(split.forget)
        forgotten = concepts_forgotten([names[label] for label in split.forget.targets.unique().tolist()], key)
    else:
        forgotten = forgotten_of(split.forget, split.retain, key)
    return CallRecording(ledger, key, asked, before, name_of(method), forgotten, note_digests(note, key), again)


def read_note(request: Any) -> Mapping[str, str]:
    """Return what a request says of itself: title, ticket and requester, as far as they are given.

    Raises:
        ConfigError: If it is no mapping of these to texts.
    """
    if request is None:
        return {}
    if not isinstance(request, Mapping) or not set(request) <= set(NOTE_KEYS):
        shown = ", ".join(map(str, request)) if isinstance(request, Mapping) else type(request).__name__
        raise ConfigError(
            "a request with title, ticket and requester", shown[:80], "write request={'ticket': 'T-1234'}"
        )
    given = {name: text for name, text in request.items() if text is not None}
    if any(not isinstance(text, str) or not 0 < len(text) <= MAX_NOTE_LENGTH for text in given.values()):
        expected = f"texts of 1 to {MAX_NOTE_LENGTH} characters in request="
        raise ConfigError(expected, "another value", "shorten it, or put it in quotes")
    return given


def name_of(method: str | Method | None) -> str:
    """Return a method as the ledger names it.

    Examples:
        >>> name_of(None), name_of("eupmu")
        ('auto', 'eupmu')
    """
    if method is None:
        return AUTO
    return method if isinstance(method, str) else snake_case(type(method).__name__)


def asked_of_split(split: Split, key: bytes) -> Asked:
    """Return what is to be forgotten, in keyed hashes of what the examples hold, whatever their order."""
    forget, retain = (example_hashes(part, key) for part in (split.forget, split.retain))
    data = keyed(key, "data", [set_hash(np.concatenate([forget, retain]), key).encode()])
    forgotten = forgotten_hash(split.forget, split.retain, key)
    return Asked(forgotten, data, "indices", len(forget), len(retain))
