"""The ledger of requests: one SQLite file, append-only and hash-chained, that holds keyed hashes alone."""

from expunge.ledger.entry import Asked, Content, Entry, Header, Models, Spent
from expunge.ledger.forgotten import Forgotten, pack_marks, unpack_marks
from expunge.ledger.ledger import Ledger
from expunge.ledger.served import ancestors, earlier_requests, not_served, refuse_served, served
from expunge.ledger.streams import Account, accounts, opened_by, streams
from expunge.ledger.verify import Verification

__all__ = [
    "Account",
    "Asked",
    "Content",
    "Entry",
    "Forgotten",
    "Header",
    "Ledger",
    "Models",
    "Spent",
    "Verification",
    "accounts",
    "ancestors",
    "earlier_requests",
    "not_served",
    "opened_by",
    "pack_marks",
    "refuse_served",
    "served",
    "streams",
    "unpack_marks",
]
