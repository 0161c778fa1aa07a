"""Which entries of the ledger forgot retained examples of a request though they are not of its model's chain."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.api.earlier_requests import find_earlier
from expunge.batch import Examples
from expunge.ledger import LedgerEntry, find_ancestors, find_earlier_requests


def forgotten_elsewhere(examples: Examples, entries: Sequence[LedgerEntry], key: bytes, *model: str) -> dict[int, int]:
    """Return how many of some examples each entry forgot, for a model that the ledger does not know; else nothing.

    Such a model may be the answer of an earlier request in another form: trained further, converted, or rounded.
    """
    if any(not (entry.header.originals | entry.header.answers).isdisjoint(model) for entry in entries):
        return {}
    return _count_forgotten(examples, entries, key)


def forgotten_beside(examples: Examples, entries: Sequence[LedgerEntry], key: bytes, *model: str) -> dict[int, int]:
    """Return how many of some examples each entry forgot that began with a model's original but did not lead to it."""
    own, led = find_ancestors(entries, *model), {entry.number for entry in find_earlier_requests(entries, *model)}
    others = [entry for entry in entries if entry.number not in led and entry.header.originals]
    related = [entry for entry in others if not find_ancestors(entries, *entry.header.originals).isdisjoint(own)]
    return _count_forgotten(examples, related, key)


def _count_forgotten(examples: Examples, entries: Sequence[LedgerEntry], key: bytes) -> dict[int, int]:
    """Return how many of some examples each entry forgot, those alone that forgot some."""
    known = [entry for entry in entries if entry.forgotten is not None]
    counts = {one.entry: len(one.positions) for one in find_earlier(examples, known, key)}
    return {number: count for number, count in counts.items() if number is not None and count}
