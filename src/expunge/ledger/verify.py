"""Is a ledger as it was written? Every way in which it is not, in one sentence each."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from expunge.errors import DataError
from expunge.key import key_id
from expunge.ledger.entry import Header, read_content, read_header
from expunge.ledger.hash_chain import (
    GENESIS_HASH,
    ChainHead,
    LedgerRow,
    compute_commitment,
    compute_entry_hash,
    compute_seal,
)

MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Verification:
    """What was found in a ledger.

    Args:
        count: How many entries it has.
        head: Hash of the last one; note it elsewhere, and ``verify --expect-head`` notices a tail that is cut off.
        problems: What is wrong, a sentence each; the first twenty.
        redacted: Numbers of the entries without content.
        seal_holds: Whether the seal was checked, and holds; None if no key is at hand.
        key: Name of the key that the ledger was begun under; None where no entry says.
        has_head_file: Whether there is a head file beside the ledger, which shows a return to an earlier copy.
    """

    count: int
    head: str
    problems: tuple[str, ...]
    redacted: tuple[int, ...]
    seal_holds: bool | None
    key: str | None = None
    has_head_file: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    rows: Sequence[LedgerRow],
    head: ChainHead | None,
    key: bytes | None = None,
    expected_head: str | None = None,
    head_file_hash: str | None = None,
) -> Verification:
    """Check a chain.

    Found are: an entry changed, added in between, left out or moved; a content changed, or erased without a redaction;
    all entries gone; a tail cut off in the table of entries alone; with the key, a tail cut off or a chain rewritten by
    anybody who has not got it, under whatever key; with a head that was noted elsewhere or in the file beside the
    ledger, the same by anybody, and an earlier copy in the place of the file. Not found is an earlier copy of both
    files, unless a head was noted elsewhere.

    Args:
        rows: All entries by number.
        head: What the file says about its end.
        key: The secret, to check the seal. Default: it is not checked.
        expected_head: A head that was noted elsewhere, 64 hex digits. Default none.
        head_file_hash: The head that the file beside the ledger names. Default: there is no such file.
    """
    problems = [*find_chain_problems(rows), *find_content_problems(rows), *find_end_problems(rows, head)]
    seal_holds, first = (
        verify_seal(rows, head, key),
        try_read_header(rows[0]) if rows and rows[0].is_well_formed else None,
    )
    ledger_key = None if first is None else first.key
    if seal_holds is False:
        problems.append(describe_seal_problem(ledger_key, key))
    hashes = {row.hash for row in rows}
    if expected_head is not None and expected_head not in hashes:
        problems.append(
            f"No entry has the hash {expected_head[:64]}: it was cut off or rewritten since that head was noted."
        )
    if head_file_hash is not None and head_file_hash not in hashes:
        problems.append(
            f"The head file names an end that is not there, {head_file_hash[:8]}: the ledger was replaced by an "
            "earlier copy, cut off or rewritten. If you restored it yourself, remove the head file."
        )
    last = rows[-1].hash if rows and rows[-1].is_well_formed else GENESIS_HASH
    redacted = tuple(row.number for row in rows if row.is_redacted)
    reported = tuple(problems[:MAX_PROBLEMS])
    return Verification(len(rows), last, reported, redacted, seal_holds, ledger_key, head_file_hash is not None)


def describe_seal_problem(ledger_key: str | None, key: bytes | None) -> str:
    """Return why a seal does not hold, in a sentence."""
    given_key = None if key is None else key_id(key)
    if ledger_key is None or ledger_key == given_key:
        return "The seal was not made with this key: the chain was rewritten, or its tail cut off."
    return (
        f"The ledger is under key {ledger_key}, and the key at hand is {given_key}: it was rewritten under another "
        "key, or EXPUNGE_KEY_FILE names the wrong one."
    )


def find_chain_problems(rows: Sequence[LedgerRow]) -> Iterator[str]:
    """Yield what is wrong with the entries' order and hashes; an entry is compared with what its predecessor says."""
    previous = GENESIS_HASH
    for position, row in enumerate(rows, 1):
        if not row.is_well_formed:
            yield f"Entry {position} does not have the form of an entry."
            return
        if row.number != position:
            yield f"Entry {position} is missing: after it comes number {row.number}."
            return
        if compute_entry_hash(previous, row.number, row.commitment, row.header) != row.hash:
            yield f"Entry {position} is not the one that was written there: its hash is another."
        previous = row.hash


def find_content_problems(rows: Sequence[LedgerRow]) -> Iterator[str]:
    """Yield what is wrong with headers and contents: changed, unreadable, erased in silence or not erased."""
    well_formed = [row for row in rows if row.is_well_formed]
    headers = {row.number: try_read_header(row) for row in well_formed}
    keys = dict.fromkeys(header.key for header in headers.values() if header is not None)
    if len(keys) > 1:
        yield f"The entries are under different keys, {' and '.join([*keys][:3])}."
    redacted = {header.of for header in headers.values() if header is not None and header.kind == "redaction"}
    for row in well_formed:
        if headers[row.number] is None:
            yield f"The header of entry {row.number} cannot be read."
        if row.is_redacted and row.number not in redacted:
            yield f"The content of entry {row.number} is gone, and no later entry says that it was redacted."
        if not row.is_redacted and row.number in redacted:
            yield f"The content of entry {row.number} was redacted, and is there again."
        if not row.is_redacted and compute_commitment(row.salt, row.content) != row.commitment:
            yield f"The content of entry {row.number} is not the one that was committed to."
        elif not row.is_redacted and not is_readable(row.content):
            yield f"The content of entry {row.number} cannot be read."


def find_end_problems(rows: Sequence[LedgerRow], head: ChainHead | None) -> Iterator[str]:
    """Yield what is wrong with the end of the ledger as the file itself tells it."""
    last = rows[-1].hash if rows else GENESIS_HASH
    if not rows:
        yield "It has no entry, though a ledger is made with its first one: all were removed."
    if head is None:
        if rows:
            yield "The file does not say how many entries it has."
    elif head.count != len(rows):
        yield f"The file says that it has {str(head.count)[:20]} entries, but {len(rows)} are there."
    elif head.hash != last:
        yield "The file says that it ends with another entry than the last one that is there."


def verify_seal(rows: Sequence[LedgerRow], head: ChainHead | None, key: bytes | None) -> bool | None:
    """Return whether the seal holds under a key; None if there is nothing to check."""
    if key is None or not rows or head is None or not rows[-1].is_well_formed:
        return None
    return isinstance(head.seal, str) and hmac.compare_digest(
        compute_seal(key, len(rows), rows[-1].hash).encode(), head.seal.encode()
    )


def try_read_header(row: LedgerRow) -> Header | None:
    try:
        return read_header(row.header)
    except DataError:
        return None


def is_readable(content: str) -> bool:
    """Return whether a text is the content of an entry."""
    try:
        read_content(content)
    except DataError:
        return False
    return True
