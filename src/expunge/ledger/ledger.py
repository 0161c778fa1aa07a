"""The ledger: requests, when they were done and with which evidence, in one file that only grows."""

from __future__ import annotations

import secrets
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from expunge.errors import DataError
from expunge.key import key_id
from expunge.ledger.chain import GENESIS, SALT_BYTES, Head, Row, commitment, link, seal
from expunge.ledger.entry import Content, Entry, Header, Kind, Models, Spent, read_content, read_header, written
from expunge.ledger.head_file import head_path, noted_head, write_head
from expunge.ledger.store import all_rows, erase, head_of, insert, is_new, is_there, opened
from expunge.ledger.verify import Verification, verify


class Ledger:
    """An append-only, hash-chained file of requests; it holds keyed hashes and never names, examples or indices.

    Each entry is one transaction: it is there as a whole or not at all, and two processes at once wait for each other.
    Before anything is added the whole chain is checked, so that nothing is built upon a ledger that was tampered with.
    Its last hash is noted in a file beside it, ``ledger.sqlite.head``, by which an earlier copy of the ledger in its
    place is noticed.

    Args:
        path: The file. It is made with the first entry.

    Examples:
        >>> import tempfile
        >>> ledger = Ledger(Path(tempfile.mkdtemp(), "ledger.sqlite"))
        >>> models = Models(original="a" * 64, unlearned="b" * 64)
        >>> ledger.append("request", Content(method="eupmu"), key=bytes(32), models=models).number
        1
        >>> ledger.redact(1, key=bytes(32)).number
        2
        >>> ledger.verify(bytes(32)).sound, ledger.entries()[0].content
        (True, None)
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._seen: str | None = None  # the head when it was last read

    def append(
        self,
        kind: Kind,
        content: Content,
        *,
        key: bytes,
        models: Models | None = None,
        spent: Spent | None = None,
        of: int | None = None,
        states: Models | None = None,
        admit: Callable[[Sequence[Entry]], None] | None = None,
    ) -> Entry:
        """Add an entry and return it.

        Args:
            kind: ``request``, ``purge`` or ``redaction``.
            content: What can be redacted.
            key: The secret that its hashes are under; the same for all entries.
            models: Before and after, for a request.
            spent: The share of the budget. Default none.
            of: The earlier entry that it is about. Default none.
            states: The models as they are in memory, where ``models`` is of files. Default none.
            admit: Looks at the entries while nobody else can add one, and raises what speaks against another. Default:
                nothing does.

        Raises:
            DataError: If the chain does not hold, was begun under another key, or the file cannot be written.
        """
        header = Header(kind, datetime.now(UTC).isoformat(timespec="seconds"), key_id(key), models, spent, of, states)
        begun = not is_there(self.path)
        with opened(self.path, "write") as connection:
            rows = self._trusted(connection, key, begun)
            if admit is not None:
                admit([entry_of(row) for row in rows])
            if kind == "redaction":
                erase(connection, self._redactable(rows, of))
            entry = added(connection, rows, header, content, key)
        self._seen = entry.hash
        try:
            self._note()
        except DataError as error:  # the entry is there: to say that it failed would be untrue
            warnings.warn(f"Entry {entry.number} was added. {error}", stacklevel=2)
        return entry

    def redact(self, number: int, *, key: bytes) -> Entry:
        """Erase the content of an entry, and add an entry that says so.

        The time, the models' hashes and the share of the budget stay. The request is no longer recognised, and later
        requests no longer leave out what it forgot. In the file the erased bytes become zeros; copies of it, and blocks
        that the file system has freed, are out of reach.

        Args:
            number: The entry.
            key: The secret.

        Raises:
            DataError: If there is no such entry, it has no content that could be erased, or the chain does not hold.
        """
        return self.append("redaction", Content(), key=key, of=number)

    def entries(self) -> list[Entry]:
        """Return all entries; of a file that is not there yet, or that no entry was added to, none.

        Raises:
            DataError: If the file is no ledger, or an entry cannot be read.
        """
        if is_new(self.path):
            return []
        with opened(self.path, "read") as connection:
            rows = all_rows(connection)
        self._seen = str(rows[-1].hash) if rows else None
        return [entry_of(row) for row in rows]

    def verify(self, key: bytes | None = None, head: str | None = None) -> Verification:
        """Check the whole chain; see ``expunge.ledger.verify.verify`` for what is found and what is not.

        Args:
            key: The secret, to check the seal. Default: it is not checked.
            head: A head that was noted elsewhere. Default none.

        Raises:
            DataError: If the file is missing or no ledger.
        """
        with opened(self.path, "read") as connection:
            return verify(all_rows(connection), head_of(connection), key, head, noted_head(self.path))

    def check(self, key: bytes) -> None:
        """Refuse a ledger that nothing can be added to, without adding anything; one that is not there yet can be.

        Raises:
            DataError: If its chain does not hold or was begun under another key, or it is no ledger or read-only.
        """
        if not is_new(self.path):
            with opened(self.path, "write") as connection:
                self._trusted(connection, key)
        elif is_there(self.path) and noted_head(self.path) is not None:
            raise gone(self.path)

    def _trusted(self, connection: sqlite3.Connection, key: bytes, begun: bool = False) -> list[Row]:
        rows, head, noted = all_rows(connection), head_of(connection), noted_head(self.path)
        if is_new(self.path):
            if noted is not None and not begun:
                raise gone(self.path)
            gone_head = noted or self._seen
            if gone_head is not None:
                told = f"'{self.path}' was removed or moved since its head {gone_head[:8]} was noted"
                warnings.warn(f"{told}; another ledger is begun.", stacklevel=4)
            return rows
        found = verify(rows, head, key, noted=noted)
        if rows and found.key not in (None, key_id(key)):
            cure = "name its key file in EXPUNGE_KEY_FILE, or begin another ledger; nothing was added"
            raise DataError(f"the key that the ledger '{self.path}' was begun with", "another", cure)
        if not found.sound:
            problem = found.problems[0].rstrip(".")
            cure = "restore it from a copy or begin another; nothing was added"
            raise DataError(f"a ledger whose chain holds in '{self.path}'", f"a problem ({problem})", cure)
        return rows

    def _note(self) -> None:
        """Write the head file; who adds an entry at the same time waits, so that it never goes back."""
        with opened(self.path, "write") as connection:
            head = head_of(connection)
            if head is not None:
                write_head(self.path, str(head.hash))

    def _redactable(self, rows: list[Row], number: int | None) -> int:
        named = [row for row in rows if row.number == number and not row.redacted]
        if not named or read_header(named[0].header).kind == "redaction":
            raise DataError("an entry with content", f"number {number} without", "`expunge ledger show` lists them")
        return int(named[0].number)


def gone(path: Path) -> DataError:
    """Return the error for a ledger that is empty, though its head file names an entry."""
    cure = f"restore it from a copy, or remove '{head_path(path).name}' to begin another"
    return DataError(f"the ledger '{path}'", "an empty file, beside a head file that names an entry", cure)


def added(connection: sqlite3.Connection, rows: list[Row], header: Header, content: Content, key: bytes) -> Entry:
    """Add an entry after the last row."""
    previous, number = (rows[-1].hash, len(rows) + 1) if rows else (GENESIS, 1)
    salt, told, kept = secrets.token_bytes(SALT_BYTES), written(header), written(content)
    committed = commitment(salt, kept)
    row = Row(number, told, committed, link(previous, number, committed, told), salt, kept)
    insert(connection, row, Head(number, row.hash, seal(key, number, row.hash)))
    return Entry(number, header, content, row.hash)


def entry_of(row: Row) -> Entry:
    """Return an entry from its row.

    Raises:
        DataError: If the row has another form.
    """
    if not row.well_formed:
        cure = "`expunge ledger verify` says what is wrong"
        raise DataError("entries that can be read", f"something else in entry {row.number}", cure)
    content = None if row.redacted else read_content(row.content)
    return Entry(row.number, read_header(row.header), content, row.hash)
