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
from expunge.ledger.entry import (
    BudgetRecord,
    Content,
    EntryKind,
    Header,
    LedgerEntry,
    ModelHashes,
    read_content,
    read_header,
    serialize,
)
from expunge.ledger.hash_chain import (
    GENESIS_HASH,
    SALT_BYTES,
    ChainHead,
    LedgerRow,
    compute_commitment,
    compute_entry_hash,
    compute_seal,
)
from expunge.ledger.head_file import head_path, read_head_file, write_head
from expunge.ledger.store import (
    erase_content,
    insert,
    is_unwritten,
    path_exists,
    read_chain_head,
    read_rows,
    transaction,
)
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
        >>> models = ModelHashes(original="a" * 64, unlearned="b" * 64)
        >>> ledger.append("request", Content(method="eupmu"), key=bytes(32), models=models).number
        1
        >>> ledger.redact(1, key=bytes(32)).number
        2
        >>> ledger.verify(bytes(32)).is_valid, ledger.entries()[0].content
        (True, None)
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._last_head: str | None = None  # the head when it was last read

    def append(
        self,
        kind: EntryKind,
        content: Content,
        *,
        key: bytes,
        models: ModelHashes | None = None,
        spent: BudgetRecord | None = None,
        of: int | None = None,
        states: ModelHashes | None = None,
        precheck: Callable[[Sequence[LedgerEntry]], None] | None = None,
    ) -> LedgerEntry:
        """Add an entry and return it.

        Args:
            kind: ``request``, ``purge`` or ``redaction``.
            content: What can be redacted.
            key: The secret that its hashes are under; the same for all entries.
            models: Before and after, for a request.
            spent: The share of the budget. Default none.
            of: The earlier entry that it is about. Default none.
            states: The models as they are in memory, where ``models`` is of files. Default none.
            precheck: Looks at the entries while nobody else can add one, and raises what speaks against another.
                Default: nothing does.

        Raises:
            DataError: If the chain does not hold, was begun under another key, or the file cannot be written.
        """
        header = Header(kind, datetime.now(UTC).isoformat(timespec="seconds"), key_id(key), models, spent, of, states)
        is_new_file = not path_exists(self.path)
        with transaction(self.path, "write") as connection:
            rows = self._read_verified_rows(connection, key, is_new_file)
            if precheck is not None:
                precheck([entry_from_row(row) for row in rows])
            if kind == "redaction":
                erase_content(connection, self._validate_redactable(rows, of))
            entry = add_entry(connection, rows, header, content, key)
        self._last_head = entry.hash
        try:
            self._update_head_file()
        except DataError as error:  # the entry is there: to say that it failed would be untrue
            warnings.warn(f"Entry {entry.number} was added. {error}", stacklevel=2)
        return entry

    def redact(self, number: int, *, key: bytes) -> LedgerEntry:
        """Erase the content of an entry, and add an entry that says so.

        The time, the models' hashes and the share of the budget stay. The request is no longer recognized, and later
        requests no longer leave out what it forgot. In the file the erased bytes become zeros; copies of it, and blocks
        that the file system has freed, are out of reach.

        Args:
            number: The entry.
            key: The secret.

        Raises:
            DataError: If there is no such entry, it has no content that could be erased, or the chain does not hold.
        """
        return self.append("redaction", Content(), key=key, of=number)

    def entries(self) -> list[LedgerEntry]:
        """Return all entries; of a file that is not there yet, or that no entry was added to, none.

        Raises:
            DataError: If the file is no ledger, or an entry cannot be read.
        """
        if is_unwritten(self.path):
            return []
        with transaction(self.path, "read") as connection:
            rows = read_rows(connection)
        self._last_head = str(rows[-1].hash) if rows else None
        return [entry_from_row(row) for row in rows]

    def verify(self, key: bytes | None = None, expected_head: str | None = None) -> Verification:
        """Check the whole chain; see ``expunge.ledger.verify.verify`` for what is found and what is not.

        Args:
            key: The secret, to check the seal. Default: it is not checked.
            expected_head: A head that was noted elsewhere. Default none.

        Raises:
            DataError: If the file is missing or no ledger.
        """
        with transaction(self.path, "read") as connection:
            return verify(
                read_rows(connection), read_chain_head(connection), key, expected_head, read_head_file(self.path)
            )

    def check_writable(self, key: bytes) -> None:
        """Refuse a ledger that nothing can be added to, without adding anything; one that is not there yet can be.

        Raises:
            DataError: If its chain does not hold or was begun under another key, or it is no ledger or read-only.
        """
        if not is_unwritten(self.path):
            with transaction(self.path, "write") as connection:
                self._read_verified_rows(connection, key)
        elif path_exists(self.path) and read_head_file(self.path) is not None:
            raise build_emptied_error(self.path)

    def _read_verified_rows(
        self, connection: sqlite3.Connection, key: bytes, is_new_file: bool = False
    ) -> list[LedgerRow]:
        rows, head, head_file_hash = read_rows(connection), read_chain_head(connection), read_head_file(self.path)
        if is_unwritten(self.path):
            if head_file_hash is not None and not is_new_file:
                raise build_emptied_error(self.path)
            lost_head = head_file_hash or self._last_head
            if lost_head is not None:
                message = f"'{self.path}' was removed or moved since its head {lost_head[:8]} was noted"
                warnings.warn(f"{message}; another ledger is begun.", stacklevel=4)
            return rows
        verification = verify(rows, head, key, head_file_hash=head_file_hash)
        if rows and verification.key not in (None, key_id(key)):
            hint = "name its key file in EXPUNGE_KEY_FILE, or begin another ledger; nothing was added"
            raise DataError(f"the key that the ledger '{self.path}' was begun with", "another", hint)
        if not verification.is_valid:
            problem = verification.problems[0].rstrip(".")
            hint = "restore it from a copy or begin another; nothing was added"
            raise DataError(f"a ledger whose chain holds in '{self.path}'", f"a problem ({problem})", hint)
        return rows

    def _update_head_file(self) -> None:
        """Write the head file; who adds an entry at the same time waits, so that it never goes back."""
        with transaction(self.path, "write") as connection:
            head = read_chain_head(connection)
            if head is not None:
                write_head(self.path, str(head.hash))

    def _validate_redactable(self, rows: list[LedgerRow], number: int | None) -> int:
        matching = [row for row in rows if row.number == number and not row.is_redacted]
        if not matching or read_header(matching[0].header).kind == "redaction":
            raise DataError("an entry with content", f"number {number} without", "`expunge ledger show` lists them")
        return int(matching[0].number)


def build_emptied_error(path: Path) -> DataError:
    """Return the error for a ledger that is empty, though its head file names an entry."""
    hint = f"restore it from a copy, or remove '{head_path(path).name}' to begin another"
    return DataError(f"the ledger '{path}'", "an empty file, beside a head file that names an entry", hint)


def add_entry(
    connection: sqlite3.Connection, rows: list[LedgerRow], header: Header, content: Content, key: bytes
) -> LedgerEntry:
    previous, number = (rows[-1].hash, len(rows) + 1) if rows else (GENESIS_HASH, 1)
    salt, header_text, content_text = secrets.token_bytes(SALT_BYTES), serialize(header), serialize(content)
    commitment = compute_commitment(salt, content_text)
    row = LedgerRow(
        number,
        header_text,
        commitment,
        compute_entry_hash(previous, number, commitment, header_text),
        salt,
        content_text,
    )
    insert(connection, row, ChainHead(number, row.hash, compute_seal(key, number, row.hash)))
    return LedgerEntry(number, header, content, row.hash)


def entry_from_row(row: LedgerRow) -> LedgerEntry:
    """Return an entry from its row."""
    if not row.is_well_formed:
        hint = "`expunge ledger verify` says what is wrong"
        raise DataError("entries that can be read", f"something else in entry {row.number}", hint)
    content = None if row.is_redacted else read_content(row.content)
    return LedgerEntry(row.number, read_header(row.header), content, row.hash)
