"""Is a ledger as it was written? Every way in which it is not, in one sentence each."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from expunge.errors import DataError
from expunge.key import key_id
from expunge.ledger.chain import GENESIS, Head, Row, commitment, link, seal
from expunge.ledger.entry import Header, read_content, read_header

MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Verification:
    """What was found in a ledger.

    Args:
        count: How many entries it has.
        head: Hash of the last one; note it elsewhere, and ``verify --expect-head`` notices a tail that is cut off.
        problems: What is wrong, a sentence each; the first twenty.
        redacted: Numbers of the entries without content.
        sealed: Whether the seal was checked, and holds; None if no key is at hand.
        key: Name of the key that the ledger was begun under; None where no entry says.
        noted: Whether there is a head file beside the ledger, with which a return to an earlier copy is noticed.
    """

    count: int
    head: str
    problems: tuple[str, ...]
    redacted: tuple[int, ...]
    sealed: bool | None
    key: str | None = None
    noted: bool = False

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    rows: Sequence[Row],
    head: Head | None,
    key: bytes | None = None,
    known: str | None = None,
    noted: str | None = None,
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
        known: A head that was noted elsewhere, 64 hex digits. Default none.
        noted: The head that the file beside the ledger names. Default: there is no such file.
    """
    problems = [*problems_of_chain(rows), *problems_of_contents(rows), *problems_of_end(rows, head)]
    checked, first = sealed(rows, head, key), header_of(rows[0]) if rows and rows[0].well_formed else None
    begun = None if first is None else first.key
    if checked is False:
        problems.append(seal_problem(begun, key))
    hashes = {row.hash for row in rows}
    if known is not None and known not in hashes:
        problems.append(f"No entry has the hash {known[:64]}: it was cut off or rewritten since that head was noted.")
    if noted is not None and noted not in hashes:
        problems.append(
            f"The head file names an end that is not there, {noted[:8]}: the ledger was replaced by an earlier copy, "
            "cut off or rewritten. If you restored it yourself, remove the head file."
        )
    last = rows[-1].hash if rows and rows[-1].well_formed else GENESIS
    gone = tuple(row.number for row in rows if row.redacted)
    found = tuple(problems[:MOST_PROBLEMS])
    return Verification(len(rows), last, found, gone, checked, begun, noted is not None)


def seal_problem(begun: str | None, key: bytes | None) -> str:
    """Return why a seal does not hold, in a sentence."""
    own = None if key is None else key_id(key)
    if begun is None or begun == own:
        return "The seal was not made with this key: the chain was rewritten, or its tail cut off."
    return (
        f"The ledger is under key {begun}, and the key at hand is {own}: it was rewritten under another key, or "
        "EXPUNGE_KEY_FILE names the wrong one."
    )


def problems_of_chain(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is wrong with the entries' order and hashes; an entry is compared with what its predecessor says."""
    previous = GENESIS
    for place, row in enumerate(rows, 1):
        if not row.well_formed:
            yield f"Entry {place} does not have the form of an entry."
            return
        if row.number != place:
            yield f"Entry {place} is missing: after it comes number {row.number}."
            return
        if link(previous, row.number, row.commitment, row.header) != row.hash:
            yield f"Entry {place} is not the one that was written there: its hash is another."
        previous = row.hash


def problems_of_contents(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what is wrong with headers and contents: changed, unreadable, erased in silence or not erased."""
    whole = [row for row in rows if row.well_formed]
    headers = {row.number: header_of(row) for row in whole}
    keys = dict.fromkeys(header.key for header in headers.values() if header is not None)
    if len(keys) > 1:
        yield f"The entries are under different keys, {' and '.join([*keys][:3])}."
    redacted = {header.of for header in headers.values() if header is not None and header.kind == "redaction"}
    for row in whole:
        if headers[row.number] is None:
            yield f"The header of entry {row.number} cannot be read."
        if row.redacted and row.number not in redacted:
            yield f"The content of entry {row.number} is gone, and no later entry says that it was redacted."
        if not row.redacted and row.number in redacted:
            yield f"The content of entry {row.number} was redacted, and is there again."
        if not row.redacted and commitment(row.salt, row.content) != row.commitment:
            yield f"The content of entry {row.number} is not the one that was committed to."
        elif not row.redacted and not readable(row.content):
            yield f"The content of entry {row.number} cannot be read."


def problems_of_end(rows: Sequence[Row], head: Head | None) -> Iterator[str]:
    """Yield what is wrong with the end of the ledger as the file itself tells it."""
    last = rows[-1].hash if rows else GENESIS
    if not rows:
        yield "It has no entry, though a ledger is made with its first one: all were removed."
    if head is None:
        if rows:
            yield "The file does not say how many entries it has."
    elif head.count != len(rows):
        yield f"The file says that it has {str(head.count)[:20]} entries, but {len(rows)} are there."
    elif head.hash != last:
        yield "The file says that it ends with another entry than the last one that is there."


def sealed(rows: Sequence[Row], head: Head | None, key: bytes | None) -> bool | None:
    """Return whether the seal holds under a key; None if there is nothing to check."""
    if key is None or not rows or head is None or not rows[-1].well_formed:
        return None
    return isinstance(head.seal, str) and hmac.compare_digest(
        seal(key, len(rows), rows[-1].hash).encode(), head.seal.encode()
    )


def header_of(row: Row) -> Header | None:
    """Return an entry's header; None if it cannot be read."""
    try:
        return read_header(row.header)
    except DataError:
        return None


def readable(content: str) -> bool:
    """Return whether a text is the content of an entry."""
    try:
        read_content(content)
    except DataError:
        return False
    return True
