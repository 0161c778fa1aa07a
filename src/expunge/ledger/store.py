"""The file: one SQLite database with a schema of its own and nothing else; a file from outside is data, never code."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from expunge.errors import DataError
from expunge.files import is_regular_file
from expunge.ledger.hash_chain import ChainHead, LedgerRow

APPLICATION_ID = 0x45585047
"""Written into the file's header, so that it is known for a ledger: "EXPG"."""
SCHEMA_VERSION = 1
MAX_FILE_BYTES = 256 * 2**20
"""Most bytes of a file that is opened."""
SIDE_FILE_SUFFIXES = ("-journal", "-wal", "-shm")
"""What SQLite appends to the name of a file for those that it writes beside it."""
MAX_VALUE_BYTES = 16 * 2**20
"""Most bytes of one value: a content names every forgotten example."""
LOCK_TIMEOUT_SECONDS = 30.0
"""How long a process waits for another that is writing."""

SCHEMA = (
    "CREATE TABLE entries (number INTEGER PRIMARY KEY, header TEXT NOT NULL, commitment TEXT NOT NULL, "
    "hash TEXT NOT NULL, salt BLOB, content TEXT)",
    "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL, hash TEXT NOT NULL, "
    "seal TEXT NOT NULL)",
    "CREATE TRIGGER no_deletion BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries of the ledger stay'); END",
    "CREATE TRIGGER no_change BEFORE UPDATE ON entries WHEN NEW.salt IS NOT NULL OR NEW.content IS NOT NULL "
    "OR NEW.number IS NOT OLD.number OR NEW.header IS NOT OLD.header OR NEW.commitment IS NOT OLD.commitment "
    "OR NEW.hash IS NOT OLD.hash BEGIN SELECT RAISE(ABORT, 'entries of the ledger stay'); END",
)
"""The triggers keep an honest program from changing entries; the chain shows what a dishonest one did."""

Mode = Literal["read", "write"]


@contextmanager
def transaction(path: Path, mode: Mode) -> Iterator[sqlite3.Connection]:
    """Lend a connection in one transaction: committed at the end, rolled back if the body fails.

    Args:
        path: The file; made by the first who writes.
        mode: ``write`` waits for other writers and keeps them out until the end.

    Raises:
        DataError: If the file is missing, too large, damaged, locked for long, or no ledger.
    """
    try:
        if mode == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
        check_file(path, mode)
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if mode == 'write' else 'rw'}"
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            set_pragmas(connection)
            connection.execute("BEGIN IMMEDIATE" if mode == "write" else "BEGIN")
            check_schema(connection, path, mode)
            yield connection
            connection.execute("COMMIT")
    except (sqlite3.Error, OSError, ValueError) as error:  # the last where SQLite's message repeats damaged bytes
        actual = f"'{path}' ({(getattr(error, 'strerror', None) or str(error))[:200]})"
        raise DataError(
            "a ledger that can be opened", actual, "check the path, or restore the file from a copy"
        ) from error


def check_file(path: Path, mode: Mode) -> None:
    """Refuse a file that is missing where it is to be read, a link or no file, or too large."""
    exists = path_exists(path)
    if not exists and mode == "read":
        raise not_a_ledger_error(f"none at '{path}'")
    for file in (path, *(path.with_name(path.name + ending) for ending in SIDE_FILE_SUFFIXES)):
        if path_exists(file) and not is_regular_file(file):
            raise not_a_ledger_error(f"'{file}', which is {'a link' if file.is_symlink() else 'no file'}")
    if exists and path.stat().st_size > MAX_FILE_BYTES:
        raise not_a_ledger_error(f"'{path}' of more than {MAX_FILE_BYTES // 2**20} MB")


def path_exists(path: Path) -> bool:
    """Return whether something has this name, if only a link that leads nowhere."""
    return os.path.lexists(path)


def is_unwritten(path: Path) -> bool:
    """Return whether no transaction has written the file yet."""
    return not path_exists(path) or (is_regular_file(path) and path.stat().st_size == 0)


def set_pragmas(connection: sqlite3.Connection) -> None:
    """Bound what a file can make SQLite do, and make erased bytes zeros and commits last.

    Closing a connection rolls a transaction back that was not committed. A write-ahead log would keep erased contents
    and be a second file, so there is none.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    connection.execute("PRAGMA synchronous = EXTRA").fetchall()


def check_schema(connection: sqlite3.Connection, path: Path, mode: Mode) -> None:
    """Refuse a database with another schema than a ledger's, before any of its tables is touched.

    An empty file becomes a ledger where it is to be written, in the transaction of its first entry.
    """
    statements = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema LIMIT 20")}
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if not statements and not application and mode == "write":
        for statement in (
            *SCHEMA,
            f"PRAGMA application_id = {APPLICATION_ID}",
            f"PRAGMA user_version = {SCHEMA_VERSION}",
        ):
            connection.execute(statement)
    elif application != APPLICATION_ID or statements != set(SCHEMA):
        raise not_a_ledger_error(f"a file of another kind at '{path}'")
    elif (version := connection.execute("PRAGMA user_version").fetchone()[0]) != SCHEMA_VERSION:
        raise not_a_ledger_error(f"version {version} of the format, not {SCHEMA_VERSION}")


def not_a_ledger_error(actual: str) -> DataError:
    """Return the error for a file that is none."""
    return DataError("a ledger that Expunge wrote", actual, "name the file that a request's `ledger:` names")


def read_rows(connection: sqlite3.Connection) -> list[LedgerRow]:
    """Return all entries by number, whatever is in their columns."""
    query = "SELECT number, header, commitment, hash, salt, content FROM entries ORDER BY number"
    return [LedgerRow(*columns) for columns in connection.execute(query)]


def read_chain_head(connection: sqlite3.Connection) -> ChainHead | None:
    """Return what the file says about its end."""
    columns = connection.execute("SELECT count, hash, seal FROM head WHERE one = 1").fetchone()
    return None if columns is None else ChainHead(*columns)


def insert(connection: sqlite3.Connection, row: LedgerRow, head: ChainHead) -> None:
    """Add an entry and move the head."""
    columns = (row.number, row.header, row.commitment, row.hash, row.salt, row.content)
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", columns)
    connection.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?)", (head.count, head.hash, head.seal))


def erase_content(connection: sqlite3.Connection, number: int) -> None:
    """Erase the salt and the content of an entry."""
    connection.execute("UPDATE entries SET salt = NULL, content = NULL WHERE number = ?", (number,))
