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

from expunge.ledger.entry import BudgetRecord, BudgetUnit, Header, LedgerEntry, ModelHashes
from expunge.ledger.forgotten_hashes import unpack_hash_prefixes

PLACEHOLDER_TIME = "1970-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class ChainTotal:
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

    unit: BudgetUnit
    requests: int
    drop: float
    unmeasured: tuple[int, ...]
    bound: float | None
    level: float
    uncertified: tuple[int, ...]
    reopened: tuple[int, ...]
    budget: float | None
    exact: bool = True

    def remaining_budget(self) -> float | None:
        """Return what is left of the budget after the certified bound, or after the measured drop where there is none.

        None if no budget was agreed.
        """
        return None if self.budget is None else self.budget - (self.drop if self.bound is None else self.bound)


def request_chains(entries: Sequence[LedgerEntry]) -> list[list[LedgerEntry]]:
    """Return the streams of a ledger, one for each request whose answer no later request was made to.

    Examples:
        >>> from expunge.ledger.entry import Header, ModelHashes
        >>> a, b, c = ("abc"[i] * 64 for i in range(3))
        >>> models = (ModelHashes(a, b), ModelHashes(b, c))
        >>> headers = [Header("request", "2026-01-01T00:00:00+00:00", "0" * 8, one) for one in models]
        >>> entries = [LedgerEntry(n, header, None, "") for n, header in enumerate(headers, 1)]
        >>> [[entry.number for entry in stream] for stream in request_chains(entries)]
        [[1, 2]]
    """
    requests = [entry for entry in entries if entry.header.models is not None]
    predecessors: dict[int, LedgerEntry] = {}
    answers: dict[str, LedgerEntry] = {}
    for entry in requests:
        candidates = [answers[model] for model in entry.header.originals if model in answers]
        if candidates:
            predecessors[entry.number] = max(candidates, key=lambda earlier: earlier.number)
        answers |= dict.fromkeys(entry.header.answers, entry)
    continued = {entry.number for entry in predecessors.values()}
    return [trace_chain(entry, predecessors) for entry in requests if entry.number not in continued]


def trace_chain(entry: LedgerEntry, predecessors: dict[int, LedgerEntry]) -> list[LedgerEntry]:
    """Return the requests that led to an entry, the first one first."""
    chain = [entry]
    while chain[-1].number in predecessors:
        chain.append(predecessors[chain[-1].number])
    return chain[::-1]


def compute_chain_totals(chain: Sequence[LedgerEntry], entries: Sequence[LedgerEntry]) -> list[ChainTotal]:
    """Return what a stream spent, an account for each unit that occurs in it.

    Args:
        chain: Its entries, from ``streams``.
        entries: All entries of the ledger, to see which held-out examples were opened before.
    """
    units = dict.fromkeys(entry.header.spent.unit for entry in chain if entry.header.spent is not None)
    return [compute_chain_total(chain, unit, find_earlier_openings(entries)) for unit in units]


def compute_chain_total(
    chain: Sequence[LedgerEntry], unit: BudgetUnit, openings: Mapping[int, Collection[int]]
) -> ChainTotal:
    """Return what a stream spent in one unit."""
    drops, bounds, budgets = (select_contributions(chain, unit, what) for what in ("drop", "bound", "budget"))
    reopened = tuple(entry.number for entry, record in bounds if record and openings[entry.number])
    certified = [record for _, record in bounds if record is not None]
    uncertified = tuple(entry.number for entry, record in bounds if record is None)
    is_certified = not uncertified and not reopened
    limits = [record.budget for _, record in budgets if record is not None and record.budget is not None]
    return ChainTotal(
        unit=unit,
        requests=len(chain),
        drop=combine_drops(
            unit, [record.drop for _, record in drops if record is not None and record.drop is not None]
        ),
        unmeasured=tuple(entry.number for entry, record in drops if record is None),
        bound=combine_drops(unit, [record.bound for record in certified if record.bound is not None])
        if is_certified
        else None,
        level=min(1.0, math.fsum(record.level for record in certified if record.level is not None)),
        uncertified=uncertified,
        reopened=reopened,
        budget=combine_drops(unit, limits) if len(limits) == len(budgets) else None,
        exact=all(record.exact for record in certified),
    )


def select_contributions(
    chain: Sequence[LedgerEntry], unit: BudgetUnit, field: str
) -> list[tuple[LedgerEntry, BudgetRecord | None]]:
    """Return the entries that add up to the whole stream, each with its share if it states ``field`` in this unit.

    A share that is stated since the stream's start stands for everything before it.
    """
    contributions: list[tuple[LedgerEntry, BudgetRecord | None]] = []
    for entry in chain:
        record = entry.header.spent
        has_value = record is not None and record.unit == unit and getattr(record, field) is not None
        if has_value and record is not None and record.since == "stream":
            contributions.clear()
        contributions.append((entry, record if has_value else None))
    return contributions


def combine_drops(unit: BudgetUnit, drops: Sequence[float]) -> float:
    """Return what shares are together: relative losses compound, everything else adds up.

    Examples:
        >>> combine_drops("points", [0.5, 0.25]), round(combine_drops("relative loss", [0.1, 0.1]), 4)
        (0.75, 0.21)
    """
    if unit == "relative loss":
        return math.prod(1 + drop for drop in drops) - 1
    return math.fsum(drops)


def find_earlier_openings(entries: Sequence[LedgerEntry]) -> dict[int, tuple[int, ...]]:
    """Return, for each entry, the earlier ones that had opened its held-out examples, all or some of them."""
    splits: dict[str, int] = {}
    examples: dict[bytes, int] = {}
    earlier: dict[int, tuple[int, ...]] = {}
    for entry in entries:
        spent = entry.header.spent
        hashes = unpack_hash_prefixes(spent.opened) if spent is not None else []
        numbers = {examples[mark] for mark in hashes if mark in examples}
        examples |= {mark: entry.number for mark in hashes if mark not in examples}
        if spent is not None and spent.split is not None:
            numbers |= {splits[spent.split]} if spent.split in splits else set()
            splits.setdefault(spent.split, entry.number)
        earlier[entry.number] = tuple(sorted(numbers))
    return earlier


def find_openings(entries: Sequence[LedgerEntry], spent: BudgetRecord) -> tuple[int, ...]:
    """Return the numbers of the entries that have opened held-out examples of a request which is not recorded yet."""
    if spent.split is None and not spent.opened:
        return ()
    new = LedgerEntry(
        len(entries) + 1, Header("request", PLACEHOLDER_TIME, "0" * 8, ModelHashes("0" * 64, "0" * 64), spent), None, ""
    )
    return find_earlier_openings([*entries, new])[new.number]
