"""Entries of a ledger with hashes that are easy to tell apart, and hands that tamper with its file."""

import hashlib
import sqlite3
from contextlib import closing

from expunge.ledger import BudgetRecord, Content, Ledger, ModelHashes, RequestRecord
from expunge.ledger.store import SCHEMA

KEY = bytes(range(32))


def digest(name: object) -> str:
    """A hash that stands for something."""
    return hashlib.sha256(str(name).encode()).hexdigest()


def content(what: object = "ids", **changes: object) -> Content:
    """The content of a request to forget ``what``."""
    asked = RequestRecord(digest(what), digest("data"), "indices", 3, 97)
    return Content(**{"asked": asked, "method": "rl", "evidence": {"result.json": digest("result")}, **changes})


def serve(ledger: Ledger, what: object, before: object, after: object, spent: BudgetRecord | None = None):
    """Record that ``what`` was forgotten by a model."""
    return ledger.append(
        "request", content(what), key=KEY, models=ModelHashes(digest(before), digest(after)), spent=spent
    )


def stream(path, count: int = 4) -> Ledger:
    """A ledger with requests in a row."""
    ledger = Ledger(path)
    for number in range(count):
        serve(ledger, f"ids {number}", number, number + 1)
    return ledger


def tamper(path, *statements: str) -> None:
    """Change a ledger's file as somebody would who wants no trace: without the triggers, which are put back."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for name in ("no_deletion", "no_change"):
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for statement in SCHEMA[2:]:
            connection.execute(statement)


def rows(path) -> list[tuple]:
    """All that the file holds."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT number, header, commitment, hash, salt, content FROM entries ORDER BY number"
        entries = connection.execute(query).fetchall()
        return entries + connection.execute("SELECT count, hash, seal FROM head").fetchall()
