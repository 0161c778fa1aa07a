"""Streams of requests, and what they spent of a utility budget.

A stream is a series of requests of which each was made to the model that answered the one before. Its drop is the sum
of theirs, since acc(θ₀) − acc(θ_K) = Σ (acc(θ_{k−1}) − acc(θ_k)); relative losses multiply instead. If each request k
has an upper bound b_k that is missed with probability at most δ_k, then with probability at least 1 − Σδ_k none is
missed (the union bound), and the stream's drop is at most Σ b_k. This needs fresh certify data each time: a split that
was opened before has chosen what came after. A bound against the stream's first model replaces those before.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from expunge.ledger.entry import Entry, Header, Models, Spent, Unit
from expunge.ledger.forgotten import unpack_marks

NEVER = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Account:
    """What a stream spent, in one unit.

    Args:
        unit: Of drop, bound and budget.
        requests: How many requests there are in the stream.
        drop: Sum of what was measured.
        unmeasured: Requests whose drop is not in the sum.
        bound: Upper bound on the stream's drop; None unless every request is certified on fresh data.
        level: Σδ, the probability with which the bound may be missed; 1 at most.
        exact: Whether all bounds of the sum are exact; else the level is approximate.
        uncertified: Requests without a bound in this unit.
        reopened: Requests whose held-out examples an earlier entry had opened, all or some of them.
        budget: Sum of what the requests were allowed; None unless each was allowed something.
    """

    unit: Unit
    requests: int
    drop: float
    unmeasured: tuple[int, ...]
    bound: float | None
    level: float
    uncertified: tuple[int, ...]
    reopened: tuple[int, ...]
    budget: float | None
    exact: bool = True

    def left(self) -> float | None:
        """Return what is left of the budget after the certified bound, or after the measured drop where there is none.

        None if no budget was agreed.
        """
        return None if self.budget is None else self.budget - (self.drop if self.bound is None else self.bound)


def streams(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the streams of a ledger, one for each request whose answer no later request was made to.

    Examples:
        >>> from expunge.ledger.entry import Header, Models
        >>> a, b, c = ("abc"[i] * 64 for i in range(3))
        >>> headers = [Header("request", "2026-01-01T00:00:00+00:00", "0" * 8, m) for m in (Models(a, b), Models(b, c))]
        >>> entries = [Entry(n, header, None, "") for n, header in enumerate(headers, 1)]
        >>> [[entry.number for entry in stream] for stream in streams(entries)]
        [[1, 2]]
    """
    requests = [entry for entry in entries if entry.header.models is not None]
    before: dict[int, Entry] = {}
    answers: dict[str, Entry] = {}
    for entry in requests:
        led = [answers[model] for model in entry.header.originals if model in answers]
        if led:
            before[entry.number] = max(led, key=lambda earlier: earlier.number)
        answers |= dict.fromkeys(entry.header.answers, entry)
    continued = {entry.number for entry in before.values()}
    return [back_to_the_start(entry, before) for entry in requests if entry.number not in continued]


def back_to_the_start(entry: Entry, before: dict[int, Entry]) -> list[Entry]:
    """Return the requests that led to an entry, the first one first."""
    found = [entry]
    while found[-1].number in before:
        found.append(before[found[-1].number])
    return found[::-1]


def accounts(stream: Sequence[Entry], entries: Sequence[Entry]) -> list[Account]:
    """Return what a stream spent, an account for each unit that occurs in it.

    Args:
        stream: Its entries, from ``streams``.
        entries: All entries of the ledger, to see which held-out examples were opened before.
    """
    units = dict.fromkeys(entry.header.spent.unit for entry in stream if entry.header.spent is not None)
    return [account(stream, unit, opened_before(entries)) for unit in units]


def account(stream: Sequence[Entry], unit: Unit, opened: Mapping[int, Collection[int]]) -> Account:
    """Return what a stream spent in one unit.

    Args:
        stream: Its entries.
        unit: The unit.
        opened: Number of an entry → the earlier ones that had opened some of its held-out examples.
    """
    drops, bounds, budgets = (last_part(stream, unit, what) for what in ("drop", "bound", "budget"))
    reopened = tuple(entry.number for entry, share in bounds if share and opened[entry.number])
    certified = [share for _, share in bounds if share is not None]
    uncertified = tuple(entry.number for entry, share in bounds if share is None)
    whole = not uncertified and not reopened
    allowed = [share.budget for _, share in budgets if share is not None and share.budget is not None]
    return Account(
        unit=unit,
        requests=len(stream),
        drop=together(unit, [share.drop for _, share in drops if share is not None and share.drop is not None]),
        unmeasured=tuple(entry.number for entry, share in drops if share is None),
        bound=together(unit, [share.bound for share in certified if share.bound is not None]) if whole else None,
        level=min(1.0, math.fsum(share.level for share in certified if share.level is not None)),
        uncertified=uncertified,
        reopened=reopened,
        budget=together(unit, allowed) if len(allowed) == len(budgets) else None,
        exact=all(share.exact for share in certified),
    )


def last_part(stream: Sequence[Entry], unit: Unit, what: str) -> list[tuple[Entry, Spent | None]]:
    """Return the entries that add up to the whole stream, each with its share if it states ``what`` in this unit.

    A share that is stated since the stream's start stands for everything before it.
    """
    found: list[tuple[Entry, Spent | None]] = []
    for entry in stream:
        share = entry.header.spent
        stated = share is not None and share.unit == unit and getattr(share, what) is not None
        if stated and share is not None and share.since == "stream":
            found.clear()
        found.append((entry, share if stated else None))
    return found


def together(unit: Unit, shares: Sequence[float]) -> float:
    """Return what shares are together: relative losses compound, everything else adds up.

    Examples:
        >>> together("points", [0.5, 0.25]), round(together("relative loss", [0.1, 0.1]), 4)
        (0.75, 0.21)
    """
    if unit == "relative loss":
        return math.prod(1 + share for share in shares) - 1
    return math.fsum(shares)


def opened_before(entries: Sequence[Entry]) -> dict[int, tuple[int, ...]]:
    """Return, for each entry, the earlier ones that had opened its held-out examples, all or some of them."""
    splits: dict[str, int] = {}
    examples: dict[bytes, int] = {}
    earlier: dict[int, tuple[int, ...]] = {}
    for entry in entries:
        spent = entry.header.spent
        marks = unpack_marks(spent.opened) if spent is not None else []
        numbers = {examples[mark] for mark in marks if mark in examples}
        examples |= {mark: entry.number for mark in marks if mark not in examples}
        if spent is not None and spent.split is not None:
            numbers |= {splits[spent.split]} if spent.split in splits else set()
            splits.setdefault(spent.split, entry.number)
        earlier[entry.number] = tuple(sorted(numbers))
    return earlier


def opened_by(entries: Sequence[Entry], spent: Spent) -> tuple[int, ...]:
    """Return the numbers of the entries that have opened held-out examples of a request which is not recorded yet."""
    if spent.split is None and not spent.opened:
        return ()
    new = Entry(len(entries) + 1, Header("request", NEVER, "0" * 8, Models("0" * 64, "0" * 64), spent), None, "")
    return opened_before([*entries, new])[new.number]
